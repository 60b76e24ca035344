//! Byte classes of a block of bytes at once, as a bit for each byte.
//!
//! Promises: bit `n` of an answer is set if and only if byte `n` of the block is outside the class (or equals
//! the byte looked for), the same on every processor. On x86-64 a block is sixteen bytes and the answer takes
//! a few SSE2 instructions; elsewhere it is one byte.

#![allow(
    unsafe_code,
    reason = "functions that use SSE2 are unsafe to call where the compiler may not assume it"
)]

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{BYTES, equals, not_name, not_target, not_value};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use portable::{BYTES, equals, not_name, not_target, not_value};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    pub(in crate::http) const BYTES: usize = 16;

    pub(in crate::http) fn equals(bytes: &[u8; BYTES], byte: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { sse2::equals(bytes, byte) }
    }

    pub(in crate::http) fn not_value(bytes: &[u8; BYTES]) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { sse2::not_value(bytes) }
    }

    pub(in crate::http) fn not_target(bytes: &[u8; BYTES]) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { sse2::not_target(bytes) }
    }

    pub(in crate::http) fn not_name(bytes: &[u8; BYTES]) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { sse2::not_name(bytes) }
    }

    mod sse2 {
        use std::arch::x86_64::{
            __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_max_epu8, _mm_min_epu8, _mm_movemask_epi8,
            _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_sub_epi8,
        };

        use super::BYTES;

        /// Becomes one unaligned load.
        #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
        #[target_feature(enable = "sse2")]
        fn load(bytes: &[u8; BYTES]) -> __m128i {
            let word = u128::from_le_bytes(*bytes);
            let (high, low) = ((word >> 64) as u64, word as u64);
            _mm_set_epi64x(high.cast_signed(), low.cast_signed())
        }

        #[target_feature(enable = "sse2")]
        fn each(byte: u8) -> __m128i {
            _mm_set1_epi8(byte.cast_signed())
        }

        #[target_feature(enable = "sse2")]
        fn bits(mask: __m128i) -> u32 {
            _mm_movemask_epi8(mask).cast_unsigned()
        }

        #[target_feature(enable = "sse2")]
        fn equal(bytes: __m128i, byte: u8) -> __m128i {
            _mm_cmpeq_epi8(bytes, each(byte))
        }

        #[target_feature(enable = "sse2")]
        fn at_most(bytes: __m128i, byte: u8) -> __m128i {
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, each(byte)), bytes)
        }

        #[target_feature(enable = "sse2")]
        fn at_least(bytes: __m128i, byte: u8) -> __m128i {
            _mm_cmpeq_epi8(_mm_max_epu8(bytes, each(byte)), bytes)
        }

        #[target_feature(enable = "sse2")]
        pub(super) fn equals(bytes: &[u8; BYTES], byte: u8) -> u32 {
            bits(equal(load(bytes), byte))
        }

        #[target_feature(enable = "sse2")]
        pub(super) fn not_value(bytes: &[u8; BYTES]) -> u32 {
            let bytes = load(bytes);
            let control = _mm_andnot_si128(equal(bytes, b'\t'), at_most(bytes, 0x1f));
            bits(_mm_or_si128(control, equal(bytes, 0x7f)))
        }

        #[target_feature(enable = "sse2")]
        pub(super) fn not_target(bytes: &[u8; BYTES]) -> u32 {
            let bytes = load(bytes);
            let outside = _mm_or_si128(at_most(bytes, b' '), at_least(bytes, 0x7f));
            bits(_mm_or_si128(outside, equal(bytes, b'#')))
        }

        #[target_feature(enable = "sse2")]
        pub(super) fn not_name(bytes: &[u8; BYTES]) -> u32 {
            let bytes = load(bytes);
            let lower = _mm_or_si128(bytes, each(0x20));
            let letter = at_most(_mm_sub_epi8(lower, each(b'a')), 25);
            let digit = at_most(_mm_sub_epi8(bytes, each(b'0')), 9);
            let name = _mm_or_si128(_mm_or_si128(letter, digit), equal(bytes, b'-'));
            bits(name) ^ 0xffff
        }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::super::scan;

    /// A block, and in tests of x86-64 only the argument of what is below.
    pub(in crate::http) const BYTES: usize = 1;

    pub(in crate::http) fn equals(bytes: &[u8; BYTES], byte: u8) -> u32 {
        u32::from(bytes[0] == byte)
    }

    pub(in crate::http) fn not_value(bytes: &[u8; BYTES]) -> u32 {
        u32::from(!scan::is_value(bytes[0]))
    }

    pub(in crate::http) fn not_target(bytes: &[u8; BYTES]) -> u32 {
        u32::from(!scan::is_target(bytes[0]))
    }

    pub(in crate::http) fn not_name(bytes: &[u8; BYTES]) -> u32 {
        u32::from(!scan::is_name(bytes[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, portable};

    /// Every byte value at every place of a block, against one byte at a time.
    #[test]
    fn a_block_answers_as_its_bytes_do() {
        for background in [b'a', 0, 0xff] {
            for at in 0..BYTES {
                for byte in 0..=255 {
                    let mut block = [background; BYTES];
                    block[at] = byte;
                    let each = |one: &dyn Fn(&[u8; 1]) -> u32| {
                        block
                            .iter()
                            .enumerate()
                            .fold(0, |bits, (index, &byte)| bits | one(&[byte]) << index)
                    };
                    assert_eq!(super::not_value(&block), each(&portable::not_value), "{block:?}");
                    assert_eq!(
                        super::not_target(&block),
                        each(&portable::not_target),
                        "{block:?}"
                    );
                    assert_eq!(super::not_name(&block), each(&portable::not_name), "{block:?}");
                    assert_eq!(
                        super::equals(&block, b'\n'),
                        each(&|one| portable::equals(one, b'\n')),
                        "{block:?}"
                    );
                }
            }
        }
    }
}
