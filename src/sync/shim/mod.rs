//! The one door to threads, locks and atomics: std, loom or shuttle behind one interface.
//!
//! Promises: in a normal build everything here is std's, at no cost; built with
//! `--cfg metricstream_loom` it is loom's, with `--cfg metricstream_shuttle` shuttle's. A lock is never
//! poisoned: a panic while one is held leaves the data as it was, and each module states its own invariant
//! so that this is harmless (the thread pool contains panics outside its lock).
//! Leaves to the caller: the orderings. Every atomic access names its site with [`crate::ord!`] and has an
//! entry in PROOFS.md.
//!
//! No other file names `std::sync` or `std::thread`; clippy's disallowed types and `tests/tidy.rs` check it.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the door"
)]

#[cfg(all(metricstream_loom, metricstream_shuttle))]
compile_error!("choose one of metricstream_loom and metricstream_shuttle");

pub mod ordering;

#[cfg(metricstream_loom)]
use loom as backend;
#[cfg(metricstream_shuttle)]
use shuttle as backend;
#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
use std as backend;

use std::sync::PoisonError;
use std::time::Duration;

pub use backend::sync::{Arc, MutexGuard};

/// Atomic integers; loads and stores take their ordering from [`crate::ord!`].
pub mod atomic {
    pub use super::backend::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub use std::sync::atomic::Ordering;
}

/// Shared memory without a lock.
pub mod cell {
    #[cfg(metricstream_loom)]
    pub use loom::cell::UnsafeCell;

    /// std's `UnsafeCell` behind loom's interface: access by closure, so that loom can see when it begins
    /// and ends.
    #[cfg(not(metricstream_loom))]
    #[derive(Debug)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    #[cfg(not(metricstream_loom))]
    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `read` with a pointer that is valid for reads while no other thread writes.
        #[inline(always)]
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// Calls `write` with a pointer that is valid for writes while no other thread reads or writes.
        #[inline(always)]
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

/// A mutual exclusion lock around its data. Never poisoned.
#[derive(Debug, Default)]
pub struct Mutex<T>(backend::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(backend::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data, without locking: the exclusive borrow is the proof that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable. A wait may return for no reason: always wait in a loop over a predicate.
#[derive(Debug, Default)]
pub struct Condvar(backend::sync::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    #[must_use]
    pub fn new() -> Self {
        Self(backend::sync::Condvar::new())
    }

    /// Releases the lock, waits for a notification and takes the lock again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Condvar::wait`], for at most `timeout`; the flag says whether the time ran out. Under both
    /// checkers it never does: every wait has a notifier.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = self
            .0
            .wait_timeout(guard, timeout)
            .unwrap_or_else(PoisonError::into_inner);
        (guard, result.timed_out())
    }

    /// Wakes one waiter, if there is one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Threads.
pub mod thread {
    pub use super::backend::thread::{JoinHandle, yield_now};

    /// Starts a thread named `name`.
    ///
    /// # Errors
    /// When the operating system refuses another thread.
    pub fn spawn<T: Send + 'static>(
        name: &str,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<JoinHandle<T>> {
        super::backend::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
    }
}
