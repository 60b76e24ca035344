//! One value to a cache line.
//!
//! Promises: two neighbours never share a line, so a thread that writes one does not slow the reader of the
//! other. 128 bytes: x86-64 fetches lines in pairs of 64, and some aarch64 lines are 128 long.

use std::ops::Deref;

/// A value alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct CacheLine<T>(pub(super) T);

impl<T> Deref for CacheLine<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
