//! A hash of keys of a fixed number of words that nobody outside can steer.
//!
//! Promises: for two different keys that were chosen without knowledge of the secret, every pair of hashes is
//! equally likely over the secrets (*strong universality*). So two keys share their hash with probability
//! 2^-64, any 32 bits of it with 2^-32, and a remainder modulo `n` with 1/n + 2^-64 at most.
//! Does not promise: anything of keys chosen by someone who knows the secret or has seen hashes, or their
//! effects; a few hashes give the secret away, as those of `SipHash` would not. Nor anything of more than two
//! keys at once: that a table of many regular keys has short neighbourhoods is tested and not proved.
//! Leaves to the caller: to let no hash out. What can be seen of one from outside is time: that a request
//! waited for a lock it shares, or looked through a neighbourhood; nanoseconds, behind a network.
//!
//! # How it works
//! Lemire and Kaser, "Strongly universal string hashing is fast" (2014), `Multilinear`: with random numbers
//! of 128 bits, a first one and one for each word of 64, the upper half of `first + sum of number * word`
//! modulo 2^128 is strongly universal. Where two keys differ, the difference times that word's number is
//! spread evenly over the upper halves whatever the other words are, and `first` makes one of the two any.
//!
//! Such a sum is regular: keys at equal distances have hashes at equal distances, and under some secrets next
//! to each other (1,024 in 2,048 slots, over random distances: more than four slots to go on average under
//! one secret of thirty, at worst 510). So the lower half of it is mixed with the upper one and then
//! multiplied by an odd number; both can be undone, which makes the step one-to-one and takes nothing
//! from what is promised. (Of 40,000 secrets none was left under which it was one slot.)

use std::fmt;

/// 2^64 divided by the golden ratio: odd, and its bits are in no order.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The secret of one table: 16 bytes for each word, and 16 more.
pub struct KeyedHash<const WORDS: usize> {
    first: u128,
    numbers: [u128; WORDS],
}

impl<const WORDS: usize> KeyedHash<WORDS> {
    /// A hash with a secret of its own; under a model checker always the same one, so that an execution can
    /// be repeated.
    ///
    /// # Panics
    /// When the operating system gives no random bytes.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "a default that is another one each time would surprise"
    )]
    pub fn new() -> Self {
        if cfg!(any(metricstream_loom, metricstream_shuttle)) {
            let mut number = u128::from(ODD);
            Self::with_secret(|| {
                number = number.wrapping_mul(u128::from(ODD) << 64 | u128::from(ODD));
                number
            })
        } else {
            Self::with_secret(random_number)
        }
    }

    /// A hash whose secret is made of what `number` gives. If that is not random nothing is promised.
    pub fn with_secret(mut number: impl FnMut() -> u128) -> Self {
        Self {
            first: number(),
            numbers: std::array::from_fn(|_| number()),
        }
    }

    /// The hash of a key.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "64 of 128 bits are left")]
    pub fn hash(&self, key: [u64; WORDS]) -> u64 {
        let mut sum = self.first;
        for (number, word) in self.numbers.iter().zip(key) {
            sum = sum.wrapping_add(number.wrapping_mul(u128::from(word)));
        }
        let upper = (sum >> 64) as u64;
        (upper ^ (upper >> 32)).wrapping_mul(ODD)
    }
}

/// Without the secret.
impl<const WORDS: usize> fmt::Debug for KeyedHash<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHash").finish_non_exhaustive()
    }
}

fn random_number() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u128::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words computed by hand, with numbers of any size (Python).
    #[test]
    fn it_is_the_upper_half_of_the_sum_mixed() {
        let mut numbers = [
            0x0123_4567_89AB_CDEF_0F1E_2D3C_4B5A_6978_u128,
            0xFEDC_BA98_7654_3210_F0E1_D2C3_B4A5_9687,
            0x1357_9BDF_0246_8ACE_CA86_420F_DB97_5313,
        ]
        .into_iter();
        let hash = KeyedHash::with_secret(|| numbers.next().unwrap());
        for (key, expected) in [
            ([0, 0], 0x1296_FD1B_44A5_1328),
            ([1, 0], 0x80B5_83EB_0000_0000),
            ([0, u64::MAX], 0x4D04_4887_2188_2307),
            (
                [0xDEAD_BEEF_CAFE_F00D, 0x0102_0304_0506_0708],
                0x75A0_4889_A4F1_6B0B,
            ),
        ] {
            assert_eq!(hash.hash(key), expected, "{key:x?}");
        }
    }

    #[test]
    fn every_hash_has_a_secret_of_its_own() {
        let [one, other] = [KeyedHash::<1>::new(), KeyedHash::<1>::new()];
        assert_ne!(one.first, other.first);
        assert_ne!(one.numbers, other.numbers);
        assert_ne!(one.first, one.numbers[0]);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let hash = KeyedHash::<1>::with_secret(|| 77);
        assert_eq!(format!("{hash:?}"), "KeyedHash { .. }");
    }
}
