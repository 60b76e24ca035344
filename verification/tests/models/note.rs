//! A plain cell for the happens-before models.
//!
//! One thread writes it, passes on through the primitive under test, and the other reads it: loom reports a
//! reader that nothing orders after the writer, and every harness compares the value.

#![allow(unsafe_code, reason = "a race here is what the models look for")]

use metricstream::sync::shim::cell::UnsafeCell;

/// A number without a lock.
pub(crate) struct Note(UnsafeCell<u32>);

// SAFETY: whether the accesses are ordered is what the models check; under loom a race is reported, and on
// real threads only primitives run that loom has passed.
unsafe impl Sync for Note {}

impl Note {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    pub(crate) fn write(&self, value: u32) {
        self.0.with_mut(|cell| {
            // SAFETY: the pointer is valid; the scenario orders the accesses, or loom says that it does not.
            unsafe { *cell = value }
        });
    }

    pub(crate) fn read(&self) -> u32 {
        self.0.with(|cell| {
            // SAFETY: as in `write`.
            unsafe { *cell }
        })
    }
}
