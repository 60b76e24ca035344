//! Looking at many bytes at once: where a string's plain text stops.
//!
//! Promises: the vector form and its scalar twin give the same answer for every input (the test below and
//! `proptests/tests/json_scan.rs`). Leaves to the caller: what the byte found there means.
//!
//! This is the one file of the parser with `unsafe`: the load of a vector register.

#![allow(unsafe_code, reason = "loads of vector registers")]

/// Whether a byte ends a run of plain text in a string (RFC 8259 section 7: `unescaped`).
#[inline]
const fn stops(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Offset of the first `"`, `\` or control character at or after `at`; `bytes.len()` when there is none.
#[inline]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let mut at = at;
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
            let stops = sse2::stops(chunk);
            if stops != 0 {
                return at + stops.trailing_zeros() as usize;
            }
            at += 16;
        }
        text_end_scalar(bytes, at)
    }
    #[cfg(not(target_arch = "x86_64"))]
    text_end_scalar(bytes, at)
}

/// The scalar twin of [`text_end`].
#[inline(never)]
pub(crate) fn text_end_scalar(bytes: &[u8], at: usize) -> usize {
    bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|&byte| stops(byte)))
        .map_or(bytes.len(), |length| at + length)
}

/// The vector form for every x86-64 processor: SSE2 is part of the architecture.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    /// One bit for each byte that stops a run of plain text, lowest bit first.
    #[inline]
    pub(super) fn stops(chunk: &[u8; 16]) -> u32 {
        // SAFETY: SSE2 is part of the x86-64 architecture.
        unsafe { stops_sse2(chunk) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    #[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "bit patterns")]
    fn stops_sse2(chunk: &[u8; 16]) -> u32 {
        // SAFETY: `chunk` is 16 readable bytes, and the instruction asks for no alignment.
        let bytes = unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) };
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // A byte is at most 1F when the lesser of it and 1F is the byte itself.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_and_scalar_agree_on_every_byte_at_every_place() {
        for length in 0..70 {
            let plain = vec![b'x'; length];
            assert_eq!(text_end(&plain, 0), length);
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = plain.clone();
                    bytes[place] = byte;
                    for at in [0, place / 2, place, place + 1, length] {
                        assert_eq!(
                            text_end(&bytes, at),
                            text_end_scalar(&bytes, at),
                            "{bytes:?} {at}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_scalar_twin_stops_where_the_grammar_says() {
        for byte in 0..=255u8 {
            // RFC 8259 section 7: unescaped = %x20-21 / %x23-5B / %x5D-10FFFF
            let unescaped = matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0xFF);
            assert_eq!(text_end_scalar(&[b'a', byte], 0), if unescaped { 2 } else { 1 });
        }
    }
}
