//! The keyed hash: over its secrets the hashes of a key and the differences of two keys' are evenly spread, and
//! tables of regular keys have short neighbourhoods.
//!
//! Promises: two keys that share what is made of a hash too often, or a regular sequence that falls together under one secret of
//! some dozens, is found. What is counted is a sample; the bounds are so wide that chance does not reach them
//! (eight standard deviations).
//! Does not show: a preference of less than some percent. The theorem is what excludes it.

use metricstream::admission::keyed_hash::KeyedHash;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Secrets for one case.
const SECRETS: usize = 4096;

/// Of a random sequence that differs from case to case and is in no order (`SplitMix64`).
fn numbers(mut state: u64) -> impl FnMut() -> u128 {
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    move || u128::from(next()) << 64 | u128::from(next())
}

/// Words as an outsider would choose them: near each other, with few bits, or any.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        (0..64_u32).prop_map(|bit| 1 << bit),
        any::<u32>().prop_map(u64::from),
        any::<u32>().prop_map(|upper| u64::from(upper) << 32),
        any::<u64>(),
    ]
}

/// What is made of a hash, each with how many values it has: the stripe; places and the rest of the tag; bits
/// of either end.
fn parts(hash: u64) -> [(u64, usize); 5] {
    [
        (hash % 61, 61),
        (hash >> 32 & 31, 32),
        (hash >> 43 & 31, 32),
        (hash & 31, 32),
        (hash >> 59, 32),
    ]
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each value of a part is as frequent as every other, and so is each difference of the parts of two keys:
    /// none of them is preferred, 0 in particular.
    #[test]
    fn hashes_and_their_differences_are_evenly_spread_over_the_secrets(
        one in [word(), word(), word()],
        other in [word(), word(), word()],
        change in 0..3_usize,
        seed in any::<u64>(),
    ) {
        // The same but for one word, or all different.
        let mut near = one;
        near[change] = other[change];
        for other in [near, other] {
            if one == other {
                continue;
            }
            let mut number = numbers(seed);
            let mut counts: [Vec<[u32; 2]>; 5] = std::array::from_fn(|_| vec![[0; 2]; 64]);
            for _ in 0..SECRETS {
                let hash = KeyedHash::with_secret(&mut number);
                let (first, second) = (parts(hash.hash(one)), parts(hash.hash(other)));
                for ((counts, (first, values)), (second, _)) in counts.iter_mut().zip(first).zip(second) {
                    counts[index(first)][0] += 1;
                    counts[(index(first) + values - index(second)) % values][1] += 1;
                }
            }
            for (part, (counts, (_, values))) in counts.iter().zip(parts(0)).enumerate() {
                let expected = f64::from(u32::try_from(SECRETS / values).unwrap());
                for (value, [alone, apart]) in counts[..values].iter().enumerate() {
                    for count in [*alone, *apart] {
                        let off = (f64::from(count) - expected).abs();
                        prop_assert!(off < 8.0 * expected.sqrt(), "part {part}, {value}: {count} for {expected}");
                    }
                }
            }
        }
    }

    /// 1,024 keys at equal distances, in 2,048 slots, each in the first vacant one from its own on: half a slot
    /// to go on average if they are spread by chance. And no stripe gets more than thrice its share.
    #[test]
    fn regular_keys_have_short_neighbourhoods(
        start in [word(), word(), word()],
        step in prop_oneof![1..1_000_u64, (0..54_u32).prop_map(|bit| 1 << bit), any::<u64>().prop_map(|odd| odd | 1)],
        which in 0..3_usize,
        seed in any::<u64>(),
    ) {
        let mut number = numbers(seed);
        for _ in 0..16 {
            let hash = KeyedHash::with_secret(&mut number);
            let mut key = start;
            let mut vacant: BTreeSet<usize> = (0..4096).collect();
            let mut to_go = 0;
            let mut stripes = [0; 61];
            for _ in 0..1024 {
                let hash = hash.hash(key);
                let home = index(hash >> 32 & 2047);
                // Around the end, unless a neighbourhood goes there twice.
                let slot = *vacant.range(home..).next().unwrap();
                vacant.remove(&slot);
                vacant.remove(&((slot + 2048) % 4096));
                to_go += slot - home;
                stripes[index(hash % 61)] += 1;
                key[which] = key[which].wrapping_add(step);
            }
            prop_assert!(to_go < 2 * 1024, "{to_go}");
            prop_assert!(stripes.iter().all(|&count| count < 3 * 1024 / 61), "{stripes:?}");
        }
    }
}
