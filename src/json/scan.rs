//! Looking at many bytes at once: where plain text of a string stops, and where digits do.
//!
//! Promises: the vector forms and their scalar twins give the same bits for every input (the tests below); no
//! byte after the document's end is looked at. Leaves to the caller: what the byte found means.
//!
//! Windows of [`WIDTH`] bytes are for a question that waits for the answer to the one before; [`stops`]
//! answers one question for a stretch of the document, ahead of whoever will ask, [`BLOCK`] bytes at a time.
//!
//! This is the one file of the parser with `unsafe`: vector registers, and ASCII taken for text.

#![allow(
    unsafe_code,
    reason = "loads of vector registers, instructions that the processor has, and ASCII as text"
)]

use super::Span;
use std::slice;

/// Bytes looked at in one go.
pub(crate) const WIDTH: usize = 16;

/// The bits above those of a window: always set, so that there is always a stop to count up to.
const BEYOND: u32 = u32::MAX << WIDTH;

#[cfg(not(target_arch = "x86_64"))]
use scalar as vector;
#[cfg(target_arch = "x86_64")]
use sse2 as vector;

/// What `look` says of the [`WIDTH`] bytes at `at`.
#[inline]
fn of_window<T>(bytes: &[u8], at: usize, look: impl Fn(&[u8; WIDTH]) -> T) -> T {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(window) => look(window),
        None => of_last_window(bytes, at, look),
    }
}

/// The same near the document's end: with zeros after it.
#[cold]
fn of_last_window<T>(bytes: &[u8], at: usize, look: impl Fn(&[u8; WIDTH]) -> T) -> T {
    let window = match bytes.last_chunk() {
        // The bytes before `at` are shifted out. Where that is all of them, so are the others.
        Some(last) => {
            let before = u32::try_from(at + WIDTH - bytes.len()).unwrap_or(u32::MAX);
            let rest = u128::from_le_bytes(*last).checked_shr(before.saturating_mul(8));
            rest.unwrap_or(0).to_le_bytes()
        }
        None => {
            let mut window = [0; WIDTH];
            let rest = bytes.get(at..).unwrap_or_default();
            window[..rest.len()].copy_from_slice(rest);
            window
        }
    };
    look(&window)
}

/// One bit for each of the [`WIDTH`] bytes at `at`, lowest first: 1 where plain text of a string stops, at
/// `"`, `\`, a control character or the document's end. All higher bits are 1.
#[inline]
pub(crate) fn text_stops(bytes: &[u8], at: usize) -> u32 {
    of_window(bytes, at, vector::text_stops)
}

/// One bit for each of the [`WIDTH`] bytes at `at`, lowest first: 1 where it is that of `expected`. Beyond
/// the document's end stand zeros.
#[inline]
pub(crate) fn equals(bytes: &[u8], at: usize, expected: &[u8; WIDTH]) -> u32 {
    of_window(bytes, at, |window| vector::equals(window, expected))
}

/// For each of the [`WIDTH`] bytes at `at`, lowest first: 1 where there is no decimal digit; and 1 where
/// there is a decimal point. And the bytes, the first lowest.
#[inline]
pub(crate) fn number_window(bytes: &[u8], at: usize) -> (u32, u32, u128) {
    of_window(bytes, at, |window| {
        (
            vector::digit_stops(window),
            vector::equals(window, &[b'.'; WIDTH]),
            u128::from_le_bytes(*window),
        )
    })
}

/// `bytes` as text; nothing when they are not UTF-8.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8. The standard library's own check takes longer to find that out.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// Offset of the first `"`, `\` or control character at or after `at`; `bytes.len()` when there is none.
/// `at` is at most `bytes.len()`.
#[inline]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> usize {
    let length = text_stops(bytes, at).trailing_zeros() as usize;
    if length < WIDTH {
        return at + length;
    }
    text_end_beyond(bytes, at + WIDTH)
}

/// [`text_end`] after the first window.
#[inline(never)]
fn text_end_beyond(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        let length = text_stops(bytes, at).trailing_zeros() as usize;
        if length < WIDTH {
            return at + length;
        }
        at += WIDTH;
    }
}

/// Bytes that [`stops`] looks at in one go.
pub(crate) const BLOCK: usize = 64;

/// Whether plain text of a string stops at `byte`. RFC 8259 section 7: unescaped = %x20-21 / %x23-5B /
/// %x5D-10FFFF
pub(crate) const fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Writes the offset of every stop of plain text (see [`is_stop`]) from `from` on to `offsets`, in order,
/// until these have no room for another [`BLOCK`] or the document ends: how many there are, and up to where.
/// What is in `offsets` after them is overwritten.
pub(crate) fn stops(bytes: &[u8], from: usize, offsets: &mut [u32]) -> (usize, usize) {
    let rest = bytes.get(from..).unwrap_or_default();
    let (blocks, last) = rest.as_chunks();
    let (mut count, seen) = of_blocks(blocks, 0, from, offsets);
    let mut to = from + seen * BLOCK;
    if seen == blocks.len() && offsets.len() - count >= BLOCK {
        // Plain text after the end, where there are no bytes before it that make it a block.
        let mut padded = [b'x'; BLOCK];
        let (block, skip) = match bytes.last_chunk() {
            Some(block) => (block, BLOCK - last.len()),
            None => {
                padded[..last.len()].copy_from_slice(last);
                (&padded, 0)
            }
        };
        count += of_blocks(slice::from_ref(block), skip, to, &mut offsets[count..]).0;
        to += last.len();
    }
    (count, to)
}

/// [`stops`] of whole blocks, the first `skip` bytes of each left out. The first byte that is not is at
/// `from`. How many there are, and in how many blocks.
fn of_blocks(blocks: &[[u8; BLOCK]], skip: usize, from: usize, offsets: &mut [u32]) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = avx512::Avx512::detect() {
        return avx512.of_blocks(blocks, skip, from, offsets);
    }
    of_blocks_by_windows(blocks, skip, from, offsets)
}

/// [`of_blocks`] on any processor.
fn of_blocks_by_windows(
    blocks: &[[u8; BLOCK]],
    skip: usize,
    from: usize,
    offsets: &mut [u32],
) -> (usize, usize) {
    let (mut count, mut seen) = (0, 0);
    for block in blocks {
        let Some(room) = offsets.get_mut(count..).and_then(<[u32]>::first_chunk_mut) else {
            break;
        };
        let (windows, _) = block.as_chunks();
        let window = |bits, window| bits << WIDTH | u64::from(vector::text_stops(window) & !BEYOND);
        let bits = without(windows.iter().rev().fold(0, window), skip);
        write_offsets(bits, offset(from + seen * BLOCK), room);
        count += bits.count_ones() as usize;
        seen += 1;
    }
    (count, seen)
}

/// The bits of a block after the first `skip`; these may be all of them.
#[inline]
fn without(bits: u64, skip: usize) -> u64 {
    u32::try_from(skip)
        .ok()
        .and_then(|skip| bits.checked_shr(skip))
        .unwrap_or(0)
}

/// An offset as it is kept.
#[inline]
const fn offset(at: usize) -> u32 {
    Span::new(at, at).start
}

/// Writes `from` plus the place of each bit that is set, in order; more is overwritten.
///
/// Eight at a time whether there are as many or not: how many there are cannot be foreseen, and a branch that
/// was taken wrongly costs more than what is written in vain.
#[inline]
fn write_offsets(bits: u64, from: u32, offsets: &mut [u32; BLOCK]) {
    let mut rest = bits;
    for eight in offsets.as_chunks_mut::<8>().0 {
        for offset in eight {
            *offset = from.wrapping_add(rest.trailing_zeros());
            rest &= rest.wrapping_sub(1);
        }
        if rest == 0 {
            return;
        }
    }
}

/// The scalar twins: the definition of what the vector forms compute, and their stand-in elsewhere.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod scalar {
    use super::{BEYOND, WIDTH};

    fn bits(window: &[u8; WIDTH], stops: impl Fn(u8) -> bool) -> u32 {
        let add = |bits, &byte: &u8| bits << 1 | u32::from(stops(byte));
        window.iter().rev().fold(0, add) | BEYOND
    }

    pub(super) fn text_stops(window: &[u8; WIDTH]) -> u32 {
        bits(window, super::is_stop)
    }

    pub(super) fn digit_stops(window: &[u8; WIDTH]) -> u32 {
        bits(window, |byte| !byte.is_ascii_digit())
    }

    pub(super) fn equals(window: &[u8; WIDTH], expected: &[u8; WIDTH]) -> u32 {
        let pairs = window.iter().zip(expected).rev();
        pairs.fold(0, |bits, (byte, expected)| {
            bits << 1 | u32::from(byte == expected)
        })
    }
}

/// The vector forms for every x86-64 processor: SSE2 is part of the architecture.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::{BEYOND, WIDTH};

    #[inline]
    pub(super) fn text_stops(window: &[u8; WIDTH]) -> u32 {
        // SAFETY: SSE2 is part of the x86-64 architecture.
        unsafe { text_stops_sse2(window) }
    }

    #[inline]
    pub(super) fn digit_stops(window: &[u8; WIDTH]) -> u32 {
        // SAFETY: SSE2 is part of the x86-64 architecture.
        unsafe { digit_stops_sse2(window) }
    }

    #[inline]
    pub(super) fn equals(window: &[u8; WIDTH], expected: &[u8; WIDTH]) -> u32 {
        // SAFETY: SSE2 is part of the x86-64 architecture.
        unsafe { equals_sse2(window, expected) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equals_sse2(window: &[u8; WIDTH], expected: &[u8; WIDTH]) -> u32 {
        bits(_mm_cmpeq_epi8(load(window), load(expected)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(window: &[u8; WIDTH]) -> __m128i {
        // SAFETY: the window is 16 readable bytes, and the instruction asks for no alignment.
        unsafe { _mm_loadu_si128(window.as_ptr().cast()) }
    }

    /// The highest bit of each byte.
    #[inline]
    #[target_feature(enable = "sse2")]
    #[allow(clippy::cast_sign_loss, reason = "bit patterns")]
    fn bits(marks: __m128i) -> u32 {
        _mm_movemask_epi8(marks) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    #[allow(clippy::cast_possible_wrap, reason = "bit patterns")]
    fn text_stops_sse2(window: &[u8; WIDTH]) -> u32 {
        let bytes = load(window);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // A byte is at most 1F when the lesser of it and 1F is the byte itself.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        bits(_mm_or_si128(_mm_or_si128(quote, backslash), control)) | BEYOND
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    #[allow(clippy::cast_possible_wrap, reason = "bit patterns")]
    fn digit_stops_sse2(window: &[u8; WIDTH]) -> u32 {
        let value = _mm_sub_epi8(load(window), _mm_set1_epi8(b'0' as i8));
        !bits(_mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value))
    }
}

/// Blocks on processors that have AVX-512 with VBMI2: the bits and their places without a loop.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use core::arch::x86_64::{
        __m128i, __m512i, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask,
        _mm512_cmplt_epu8_mask, _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32, _mm512_loadu_si512,
        _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_storeu_si512,
    };

    use super::{BLOCK, offset, without};

    /// The places of the bytes in a block.
    static PLACES: [u8; BLOCK] = {
        let mut places = [0; BLOCK];
        let mut place = 1;
        while place < BLOCK {
            places[place] = places[place - 1] + 1;
            place += 1;
        }
        places
    };

    /// Says that the processor has AVX-512 with VBMI2.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(());

    impl Avx512 {
        /// Asks the processor, once; the answer is remembered.
        #[inline]
        pub(super) fn detect() -> Option<Self> {
            let is_there = is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("popcnt");
            is_there.then_some(Self(()))
        }

        /// See [`of_blocks`](super::of_blocks).
        #[inline]
        pub(super) fn of_blocks(
            self,
            blocks: &[[u8; BLOCK]],
            skip: usize,
            from: usize,
            offsets: &mut [u32],
        ) -> (usize, usize) {
            // SAFETY: the processor has these features: `self` was made of that.
            unsafe { of_blocks(blocks, skip, from, offsets) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    fn of_blocks(blocks: &[[u8; BLOCK]], skip: usize, from: usize, offsets: &mut [u32]) -> (usize, usize) {
        let places = load(&PLACES);
        let (mut count, mut seen) = (0, 0);
        for block in blocks {
            let Some(room) = offsets.get_mut(count..).and_then(<[u32]>::first_chunk_mut) else {
                break;
            };
            let bits = without(text_stops(load(block)), skip);
            let from = offset(from + seen * BLOCK);
            write_offsets(
                _mm512_maskz_compress_epi8(bits, places),
                bits.count_ones(),
                from,
                room,
            );
            count += bits.count_ones() as usize;
            seen += 1;
        }
        (count, seen)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    #[allow(clippy::cast_possible_wrap, reason = "bit patterns")]
    fn text_stops(bytes: __m512i) -> u64 {
        _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'"' as i8))
            | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\\' as i8))
            | _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20))
    }

    /// Writes `from` plus each of the `count` places; more is overwritten. Sixteen at least: rarely are there
    /// more in a block, so that branch is foreseen.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn write_offsets(places: __m512i, count: u32, from: u32, offsets: &mut [u32; BLOCK]) {
        let (sixteens, _) = offsets.as_chunks_mut();
        write(_mm512_castsi512_si128(places), from, &mut sixteens[0]);
        if count > 16 {
            write(_mm512_extracti32x4_epi32::<1>(places), from, &mut sixteens[1]);
            if count > 32 {
                write(_mm512_extracti32x4_epi32::<2>(places), from, &mut sixteens[2]);
                write(_mm512_extracti32x4_epi32::<3>(places), from, &mut sixteens[3]);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    #[allow(clippy::cast_possible_wrap, reason = "bit patterns")]
    fn write(places: __m128i, from: u32, offsets: &mut [u32; 16]) {
        let sum = _mm512_add_epi32(_mm512_cvtepu8_epi32(places), _mm512_set1_epi32(from as i32));
        // SAFETY: the offsets are 64 writable bytes, and the instruction asks for no alignment.
        unsafe { _mm512_storeu_si512(offsets.as_mut_ptr().cast(), sum) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(block: &[u8; BLOCK]) -> __m512i {
        // SAFETY: the block is 64 readable bytes, and the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digit_stops(bytes: &[u8], at: usize) -> u32 {
        number_window(bytes, at).0
    }

    #[test]
    fn vector_and_scalar_agree_on_every_byte_at_every_place() {
        for other in [b'x', b'5', b'"'] {
            for place in 0..WIDTH {
                for byte in 0..=255u8 {
                    let mut window = [other; WIDTH];
                    window[place] = byte;
                    assert_eq!(
                        text_stops(&window, 0),
                        scalar::text_stops(&window),
                        "{byte} at {place}"
                    );
                    assert_eq!(
                        digit_stops(&window, 0),
                        scalar::digit_stops(&window),
                        "{byte} at {place}"
                    );
                    let plain = [other; WIDTH];
                    assert_eq!(
                        equals(&window, 0, &plain),
                        scalar::equals(&window, &plain),
                        "{byte} at {place}"
                    );
                    let points = scalar::equals(&window, &[b'.'; WIDTH]);
                    let expected = (scalar::digit_stops(&window), points, u128::from_le_bytes(window));
                    assert_eq!(number_window(&window, 0), expected, "{byte} at {place}");
                }
            }
        }
    }

    /// Every way to look at blocks that this processor has.
    fn each_way(blocks: &[[u8; BLOCK]], skip: usize, from: usize, room: usize) -> Vec<(usize, Vec<u32>)> {
        let way = |of_blocks: &dyn Fn(&mut [u32]) -> (usize, usize)| {
            let mut offsets = vec![u32::MAX; room];
            let (count, seen) = of_blocks(&mut offsets);
            offsets.truncate(count);
            (seen, offsets)
        };
        let mut all = vec![way(&|offsets| of_blocks_by_windows(blocks, skip, from, offsets))];
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = avx512::Avx512::detect() {
            all.push(way(&|offsets| avx512.of_blocks(blocks, skip, from, offsets)));
        }
        all
    }

    #[test]
    fn blocks_are_looked_at_alike_in_every_way() {
        for other in [b'x', b'"'] {
            for place in 0..BLOCK {
                for byte in 0..=255u8 {
                    let mut block = [other; BLOCK];
                    block[place] = byte;
                    let skip = usize::from(byte) % (BLOCK + 1);
                    let expected: Vec<_> = (skip..BLOCK).filter(|&at| is_stop(block[at])).collect();
                    let expected: Vec<_> = expected.into_iter().map(|at| offset(1000 + at - skip)).collect();
                    for (seen, offsets) in each_way(&[block], skip, 1000, BLOCK) {
                        assert_eq!((seen, &offsets), (1, &expected), "{byte} at {place} of {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_are_looked_at_while_there_is_room_for_another() {
        let blocks = [[b'"'; BLOCK], [b'x'; BLOCK], [b'"'; BLOCK], [b'x'; BLOCK]];
        for (room, expected) in [
            (0, 0),
            (BLOCK - 1, 0),
            (BLOCK, 1),
            (2 * BLOCK - 1, 1),
            (2 * BLOCK, 3),
            (3 * BLOCK, 4),
        ] {
            for (seen, offsets) in each_way(&blocks, 0, 1000, room) {
                assert_eq!(seen, expected, "{room}");
                let stops = (0..seen * BLOCK).filter(|at| is_stop(blocks.as_flattened()[*at]));
                let stops: Vec<_> = stops.map(|at| offset(1000 + at)).collect();
                assert_eq!(offsets, stops, "{room}");
            }
        }
    }

    #[test]
    fn stops_are_those_of_the_bytes_up_to_the_end() {
        for length in (0..300).chain([1000]) {
            let bytes: Vec<u8> = (0..length)
                .map(|at| if at % 3 == 0 { b'\n' } else { b'x' })
                .collect();
            for from in [0, length / 3, length / 2, length] {
                let mut offsets = [0; 1000];
                let (count, to) = stops(&bytes, from, &mut offsets);
                let expected = (from..length).filter(|at| at % 3 == 0).map(offset);
                assert!(
                    to == length && expected.eq(offsets[..count].iter().copied()),
                    "{from} {length}"
                );
            }
        }
        assert_eq!(stops(b"ab", 7, &mut [0; BLOCK]), (0, 7));
        // No room for what is after the last whole block: it is not looked at.
        let bytes = [b'"'; BLOCK + 10];
        assert_eq!(stops(&bytes, 0, &mut [0; 2 * BLOCK - 1]), (BLOCK, BLOCK));
        assert_eq!(stops(&bytes, 0, &mut [0; 2 * BLOCK]), (BLOCK + 10, BLOCK + 10));
    }

    #[test]
    fn text_is_what_the_standard_library_says() {
        for bytes in [&b"plain"[..], "gr\u{fc}n".as_bytes(), b"\xff", b"a\xc3", b""] {
            assert_eq!(text(bytes), std::str::from_utf8(bytes).ok());
        }
    }

    #[test]
    fn text_ends_where_the_grammar_says() {
        for length in 0..100 {
            let mut bytes = vec![b'x'; length];
            for at in 0..=length {
                assert_eq!(text_end(&bytes, at), length);
            }
            for place in 0..length {
                for byte in 0..=255u8 {
                    bytes[place] = byte;
                    let unescaped = matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0xFF);
                    assert_eq!(text_end(&bytes, 0), if unescaped { length } else { place });
                }
                bytes[place] = b'x';
            }
        }
    }

    #[test]
    fn after_the_end_everything_stops() {
        for length in 0..WIDTH {
            let beyond = u32::MAX << length;
            assert_eq!(text_stops(&vec![b'x'; length], 0), beyond);
            assert_eq!(digit_stops(&vec![b'5'; length + 3], 3), beyond);
        }
        assert_eq!(text_stops(b"abc", 7), u32::MAX);
        let long = [b'x'; 3 * WIDTH];
        for at in 0..=3 * WIDTH + 2 {
            let left = long.len().saturating_sub(at).min(WIDTH);
            assert_eq!(text_stops(&long, at), u32::MAX << left, "{at}");
        }
        assert_eq!(text_stops(&long, usize::MAX / 2), u32::MAX);
        assert_eq!(equals(b"abc", 1, b"bc\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0xFFFF);
        assert_eq!(
            number_window(b"a1.", 1),
            (!1, 2, u128::from(u16::from_le_bytes(*b"1.")))
        );
    }
}
