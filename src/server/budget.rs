//! A bound on memory shared by all connections.
//!
//! Promises: the sum of what is reserved never exceeds the bound (BUDGET-BOUND), though a reservation may be
//! refused because of a sum that is true no more (BUDGET-STALE); a reservation is given back when dropped.
//! Leaves to the caller: to reserve before the memory is taken.

use crate::sync::shim::Arc;
use crate::sync::shim::atomic::AtomicUsize;

/// So many bytes for all.
#[derive(Debug)]
pub struct Budget {
    /// Bytes reserved now. Writers and readers: any thread, by compare-and-exchange. Range: `0 ..= limit`.
    /// PROOFS.md BUDGET_READ, BUDGET_TAKE, BUDGET_GIVE: relaxed, since the count guards no other memory.
    used: AtomicUsize,
    limit: usize,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    /// The bound, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(crate::ord!(BUDGET_READ, Relaxed))
    }

    /// An empty reservation.
    #[must_use]
    pub fn reserve_none(budget: &Arc<Self>) -> Reserved {
        Reserved {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        let mut used = self.used();
        loop {
            let wanted = used.saturating_add(bytes);
            if wanted > self.limit {
                return Err(Exhausted {
                    limit: self.limit,
                    seen: wanted,
                });
            }
            let (success, failure) = (
                crate::ord!(BUDGET_TAKE, Relaxed),
                crate::ord!(BUDGET_READ, Relaxed),
            );
            match self.used.compare_exchange_weak(used, wanted, success, failure) {
                Ok(_) => return Ok(()),
                Err(now) => used = now,
            }
        }
    }

    fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, crate::ord!(BUDGET_GIVE, Relaxed));
        debug_assert!(before >= bytes, "only what was taken is given back");
    }
}

impl Reserved {
    /// Changes the reservation to `bytes`; on failure it stays as it was.
    ///
    /// # Errors
    /// When the budget has not that much left.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.budget.take(more)?,
            None => self.budget.give(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes != 0 && !crate::seeded!(BUDGET_LEAKED) {
            self.budget.give(self.bytes);
        }
    }
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The bound, in bytes.
    pub limit: usize,
    /// What the reservations would have become, in bytes.
    pub seen: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_reservations_is_bounded_exactly() {
        let budget = Arc::new(Budget::new(10));
        let (mut first, mut second) = (Budget::reserve_none(&budget), Budget::reserve_none(&budget));
        first.resize(6).expect("fits");
        second.resize(4).expect("fits");
        assert_eq!(second.resize(5), Err(Exhausted { limit: 10, seen: 11 }));
        assert_eq!(budget.used(), 10);
        first.resize(2).expect("shrinks");
        second.resize(8).expect("fits now");
        drop(first);
        assert_eq!(budget.used(), 8);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_reservation_beyond_the_range_is_refused() {
        let budget = Arc::new(Budget::new(10));
        let mut reserved = Budget::reserve_none(&budget);
        reserved.resize(1).expect("fits");
        assert_eq!(reserved.resize(usize::MAX).map_err(|error| error.limit), Err(10));
        assert_eq!(budget.used(), 1);
    }
}
