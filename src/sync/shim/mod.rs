//! The one door to threads, locks and atomics: std, loom or shuttle behind one interface.
//!
//! Promises: in a normal build everything here is std's, at no cost; built with
//! `--cfg metricstream_loom` it is loom's, with `--cfg metricstream_shuttle` shuttle's, and then waits can
//! be made to wake for no reason or to time out (`faults`) and single sites can be broken on purpose
//! (`mutation`). A lock is never poisoned: a panic while one is held leaves the data as it was, and each
//! module states its own invariant so that this is harmless (the thread pool contains panics outside its
//! lock).
//! Leaves to the caller: the orderings and the predicates. Every atomic access names its site with
//! [`crate::ord!`], every wait and notification with a string; each site has an entry in PROOFS.md.
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
pub mod seeded;

#[cfg(any(metricstream_loom, metricstream_shuttle))]
mod atomic_model;
#[cfg(any(metricstream_loom, metricstream_shuttle))]
pub mod faults;
#[cfg(any(metricstream_loom, metricstream_shuttle, metricstream_tsan))]
pub mod mutation;
#[cfg(metricstream_shuttle)]
pub mod time;

#[cfg(any(metricstream_loom, metricstream_shuttle))]
#[path = "condvar_model.rs"]
mod condvar;
#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
#[path = "condvar_std.rs"]
mod condvar;

#[cfg(metricstream_loom)]
use loom as backend;
#[cfg(metricstream_shuttle)]
use shuttle as backend;
#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
use std as backend;

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

pub use backend::sync::Arc;
pub use condvar::Condvar;

/// What other libraries' interfaces are made of, under every backend: std's, as they ask for it.
pub mod library {
    pub use std::sync::Arc;
}

/// Atomic integers; loads and stores take their ordering from [`crate::ord!`].
pub mod atomic {
    #[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
    pub use std::sync::atomic::AtomicUsize;

    #[cfg(any(metricstream_loom, metricstream_shuttle))]
    pub use super::atomic_model::AtomicUsize;
    pub use super::backend::sync::atomic::{AtomicBool, AtomicU64};
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
        MutexGuard {
            guard: self.0.lock().unwrap_or_else(PoisonError::into_inner),
            #[cfg(any(metricstream_loom, metricstream_shuttle))]
            mutex: self,
        }
    }

    /// The data, without locking: the exclusive borrow is the proof that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock held; dropping it releases.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    guard: backend::sync::MutexGuard<'a, T>,
    /// What a spurious wake-up unlocks and locks again.
    #[cfg(any(metricstream_loom, metricstream_shuttle))]
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Containment of panics.
pub mod panic {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The only payload that is contained under loom and shuttle: every other panic there is the checker's
    /// verdict and must reach it.
    #[cfg(any(metricstream_loom, metricstream_shuttle))]
    #[derive(Debug)]
    pub struct Injected;

    /// Runs `body` and says whether it came back; a panic in it ends here.
    ///
    /// What `body` was changing is left as the panic found it: the caller says why that is harmless.
    pub fn contain(body: impl FnOnce()) -> bool {
        let result = catch_unwind(AssertUnwindSafe(body));
        #[cfg(any(metricstream_loom, metricstream_shuttle))]
        if let Err(payload) = result {
            if !payload.is::<Injected>() {
                std::panic::resume_unwind(payload);
            }
            return false;
        }
        result.is_ok()
    }
}

/// Threads.
pub mod thread {
    pub use super::backend::thread::{JoinHandle, yield_now};

    /// Processors this process may run on; at least 1.
    #[must_use]
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    }

    /// Lets other threads run, for one that looks for something again and again. Nothing under loom: it
    /// switches at every access anyway, and a yield makes it run fewer executions, not more (HONEST-BLIND).
    #[inline]
    pub fn give_way() {
        #[cfg(not(metricstream_loom))]
        yield_now();
    }

    /// Lets a moment pass without giving way: `times` hints to the processor, some 25 ns each. Nothing in the
    /// checkers, where no time passes.
    #[inline]
    pub fn pause(times: u32) {
        #[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
        (0..times).for_each(|_| std::hint::spin_loop());
        #[cfg(any(metricstream_loom, metricstream_shuttle))]
        let _ = times;
    }

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
