//! Looking at many bytes at once: where plain text of a string stops, and where digits do.
//!
//! Promises: the vector forms and their scalar twins give the same bits for every input (the tests below); no
//! byte after the document's end is looked at. Leaves to the caller: what the byte found means.
//!
//! This is the one file of the parser with `unsafe`: the load of a vector register.

#![allow(
    unsafe_code,
    reason = "loads of vector registers, and instructions every x86-64 has"
)]

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
#[inline(never)]
fn of_last_window<T>(bytes: &[u8], at: usize, look: impl Fn(&[u8; WIDTH]) -> T) -> T {
    let mut window = [0; WIDTH];
    let rest = bytes.get(at..).unwrap_or_default();
    window[..rest.len()].copy_from_slice(rest);
    look(&window)
}

/// One bit for each of the [`WIDTH`] bytes at `at`, lowest first: 1 where plain text of a string stops, at
/// `"`, `\`, a control character or the document's end. All higher bits are 1.
#[inline]
pub(crate) fn text_stops(bytes: &[u8], at: usize) -> u32 {
    of_window(bytes, at, vector::text_stops)
}

/// One bit for each of the [`WIDTH`] bytes at `at`, lowest first: 1 where there is no decimal digit.
/// All higher bits are 1.
#[inline]
pub(crate) fn digit_stops(bytes: &[u8], at: usize) -> u32 {
    of_window(bytes, at, vector::digit_stops)
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

/// The scalar twins: the definition of what the vector forms compute, and their stand-in elsewhere.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod scalar {
    use super::{BEYOND, WIDTH};

    fn bits(window: &[u8; WIDTH], stops: impl Fn(u8) -> bool) -> u32 {
        let add = |bits, &byte: &u8| bits << 1 | u32::from(stops(byte));
        window.iter().rev().fold(0, add) | BEYOND
    }

    /// RFC 8259 section 7: unescaped = %x20-21 / %x23-5B / %x5D-10FFFF
    pub(super) fn text_stops(window: &[u8; WIDTH]) -> u32 {
        bits(window, |byte| byte == b'"' || byte == b'\\' || byte < 0x20)
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(equals(b"abc", 1, b"bc\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0xFFFF);
        assert_eq!(
            number_window(b"a1.", 1),
            (!1, 2, u128::from(u16::from_le_bytes(*b"1.")))
        );
    }
}
