//! Data spread over a prime number of locks, each lock around its own share.
//!
//! Promises: a value is reached only with its stripe's lock held, because the data live inside the mutex
//! (MUTEX_POOL-EXCLUSIVE); callers whose hashes fall on different stripes do not wait for each other; one
//! stripe is held at a time, by [`MutexPool::with`] and by the walk alike, so that no order of locking
//! exists that could deadlock (MUTEX_POOL-ORDER); a panic in a closure leaves the stripe usable.
//! Leaves to the caller: a good 64-bit hash of its keys (a table that outsiders can choose keys for needs a
//! keyed hash), and not to enter the pool again from inside a closure: that would hold two stripes.
//!
//! # Why a prime number of stripes
//! The stripe is `hash % stripes`. A hash whose values fall on multiples of some step (keys that are
//! addresses, counters with a stride, a hash that leaves low bits constant) reaches only
//! `stripes / gcd(step, stripes)` stripes: with 64 stripes and a step of 16 that is 4 of them. With a prime
//! count the divisor is 1 for every step that is no multiple of the count itself, so every stripe is
//! reached. That is no stand-in for a good hash; it removes the most common way for a bad one to put all
//! the callers on one lock.

use crate::sync::cache_line::CacheLine;
use crate::sync::shim::Mutex;

/// A prime number of stripes, each a mutex around a `T`.
#[derive(Debug)]
pub struct MutexPool<T> {
    stripes: Box<[CacheLine<Mutex<T>>]>,
}

impl<T> MutexPool<T> {
    /// A pool of `stripes` stripes; `make` gives the data of each, by index.
    ///
    /// # Panics
    /// When `stripes` is not prime.
    #[must_use]
    pub fn new(stripes: usize, make: impl FnMut(usize) -> T) -> Self {
        assert!(is_prime(stripes), "the number of stripes is prime, not {stripes}");
        Self {
            stripes: (0..stripes)
                .map(make)
                .map(|data| CacheLine(Mutex::new(data)))
                .collect(),
        }
    }

    /// How many stripes there are; a prime.
    #[must_use]
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// The stripe that `hash` falls on; below [`MutexPool::stripes`].
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn stripe_of(&self, hash: u64) -> usize {
        (hash % self.stripes.len() as u64) as usize
    }

    /// Runs `access` on the data of the stripe that `hash` falls on, with its lock held.
    ///
    /// `access` must not enter this pool again.
    #[inline]
    pub fn with<R>(&self, hash: u64, access: impl FnOnce(&mut T) -> R) -> R {
        access(&mut self.stripes[self.stripe_of(hash)].lock())
    }

    /// Runs `visit` on each stripe's data in index order, holding one lock at a time.
    ///
    /// What `visit` sees of one stripe was true while it held that stripe: the walk is no snapshot of the
    /// whole pool. `visit` must not enter this pool again.
    pub fn for_each(&self, mut visit: impl FnMut(usize, &mut T)) {
        for (index, stripe) in self.stripes.iter().enumerate() {
            visit(index, &mut stripe.lock());
        }
    }
}

/// Trial division: called once for each pool.
fn is_prime(number: usize) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_always_reaches_the_same_stripe() {
        let pool = MutexPool::new(7, |_| 0_u32);
        for hash in [0, 1, 6, 7, u64::MAX] {
            pool.with(hash, |count| *count += 1);
            pool.with(hash, |count| *count += 1);
        }
        let mut seen = Vec::new();
        pool.for_each(|index, count| seen.push((index, *count)));
        // u64::MAX is 1 modulo 7.
        assert_eq!(seen, [(0, 4), (1, 4), (2, 0), (3, 0), (4, 0), (5, 0), (6, 2)]);
        assert_eq!(pool.stripes(), 7);
    }

    #[test]
    fn every_stride_below_the_count_reaches_every_stripe() {
        let pool = MutexPool::new(61, |_| false);
        for stride in (1..61_u64).chain([64, 4096, 1 << 32]) {
            pool.for_each(|_, reached| *reached = false);
            (0..61).for_each(|n| pool.with(n * stride, |reached| *reached = true));
            pool.for_each(|index, reached| assert!(*reached, "stride {stride} misses stripe {index}"));
        }
    }

    #[test]
    fn a_panic_in_a_closure_leaves_the_stripe_usable() {
        let pool = MutexPool::new(2, |_| 0);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.with(0, |_| panic!("expected by this test"));
        }));
        assert!(result.is_err());
        pool.with(0, |value| *value += 1);
        assert_eq!(pool.with(0, |value| *value), 1);
    }

    #[test]
    fn primes() {
        let found: Vec<usize> = (0..32).filter(|&number| is_prime(number)).collect();
        assert_eq!(found, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31]);
        assert!(is_prime(crate::limits::CLIENT_STRIPES));
    }

    #[test]
    #[should_panic(expected = "is prime, not 64")]
    fn a_count_that_is_not_prime_is_refused() {
        let _ = MutexPool::new(64, |_| ());
    }
}
