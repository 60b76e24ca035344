//! The mutex pool against an array indexed by the remainder.

use metricstream::sync::mutex_pool::MutexPool;
use proptest::prelude::*;

fn primes() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![2_usize, 3, 5, 7, 61, 127])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A hash always reaches the data of its stripe, and the walk sees all of them in index order.
    #[test]
    fn behaves_as_an_array(stripes in primes(), hashes in prop::collection::vec(any::<u64>(), 0..200)) {
        let pool = MutexPool::new(stripes, |index| vec![index as u64]);
        let mut model: Vec<Vec<u64>> = (0..stripes as u64).map(|index| vec![index]).collect();
        for hash in hashes {
            let stripe = usize::try_from(u128::from(hash) % stripes as u128).unwrap();
            prop_assert_eq!(pool.stripe_of(hash), stripe);
            model[stripe].push(hash);
            pool.with(hash, |data| data.push(hash));
        }
        let mut walked = Vec::new();
        pool.for_each(|index, data| {
            assert_eq!(index, walked.len());
            walked.push(data.clone());
        });
        prop_assert_eq!(walked, model);
    }

    /// Why prime: keys at any stride that is no multiple of the count reach every stripe.
    #[test]
    fn any_stride_reaches_every_stripe(stripes in primes(), stride in 1_u64..1 << 40, start in 0_u64..1 << 40) {
        prop_assume!(stride % stripes as u64 != 0);
        let pool = MutexPool::new(stripes, |_| 0_u32);
        for n in 0..stripes as u64 {
            pool.with(start + n * stride, |count| *count += 1);
        }
        pool.for_each(|index, count| assert_eq!(*count, 1, "stripe {index}"));
    }
}
