//! The atomic that is compared and exchanged, under loom and shuttle: the checker's, with weak failures.
//!
//! Promises: as the checker's, except that [`AtomicUsize::compare_exchange_weak`] fails without need where
//! the armed plan says so; in both checkers it never does.

use super::backend;
use super::faults::{self, Fault};
use std::sync::atomic::Ordering;

/// The checker's atomic `usize`; what the crate uses of it.
#[derive(Debug)]
pub struct AtomicUsize(backend::sync::atomic::AtomicUsize);

impl AtomicUsize {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: usize) -> Self {
        Self(backend::sync::atomic::AtomicUsize::new(value))
    }

    /// As std's.
    pub fn load(&self, order: Ordering) -> usize {
        self.0.load(order)
    }

    /// As std's.
    pub fn store(&self, value: usize, order: Ordering) {
        self.0.store(value, order);
    }

    /// As std's.
    pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }

    /// As std's.
    pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_sub(value, order)
    }

    /// As std's; fails without need where the armed plan says so.
    ///
    /// # Errors
    /// With the value found.
    pub fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        if faults::happens(Fault::WeakFailure) {
            return Err(self.0.load(failure));
        }
        self.0.compare_exchange_weak(current, new, success, failure)
    }
}
