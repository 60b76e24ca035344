//! The condition variable of normal builds: std's, with the loop over the predicate built in.
//!
//! Promises: no wait returns before its predicate fell (or its time ran out), so a spurious wake-up is
//! never seen by the caller.
//! Leaves to the caller: to change what the predicate reads only under the lock, and to notify after.

use super::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// A condition variable. Waits take the predicate, so that no caller can forget the loop; the names of
/// the sites are those of PROOFS.md and cost nothing here.
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    #[must_use]
    pub fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    /// Waits while `unready` holds. It is called with the lock held; the lock is released in between.
    #[inline]
    pub fn wait_while<'a, T>(
        &self,
        _site: &'static str,
        guard: MutexGuard<'a, T>,
        unready: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let guard = self
            .0
            .wait_while(guard.guard, unready)
            .unwrap_or_else(PoisonError::into_inner);
        MutexGuard { guard }
    }

    /// As [`Condvar::wait_while`], for at most `timeout`; the flag says that the time ran out with
    /// `unready` still true.
    #[inline]
    pub fn wait_timeout_while<'a, T>(
        &self,
        _site: &'static str,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        unready: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = self
            .0
            .wait_timeout_while(guard.guard, timeout, unready)
            .unwrap_or_else(PoisonError::into_inner);
        (MutexGuard { guard }, result.timed_out())
    }

    /// Wakes one waiter, if there is one. A system call even when nobody waits: on a hot path keep count
    /// of the waiters under the lock.
    #[inline]
    pub fn notify_one(&self, _site: &'static str) {
        self.0.notify_one();
    }

    /// Wakes every waiter.
    #[inline]
    pub fn notify_all(&self, _site: &'static str) {
        self.0.notify_all();
    }
}
