//! The condition variable under loom and shuttle: the checker's, plus what neither checker does.
//!
//! Promises: the same interface as the std one; in addition a wait wakes for no reason or times out where
//! the armed plan says so ([`super::faults`]), a `while` becomes an `if` and a notification is lost where
//! [`super::mutation`] says so. Without a plan and without a mutation no wait ever times out: a lost
//! wake-up shows as a deadlock and no timer hides it.

use super::faults::{self, Fault};
use super::{MutexGuard, backend, mutation};
use std::sync::PoisonError;
use std::time::Duration;

/// A condition variable. Waits take the predicate, so that no caller can forget the loop; the names of
/// the sites are those of PROOFS.md.
#[derive(Debug, Default)]
pub struct Condvar(backend::sync::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    #[must_use]
    pub fn new() -> Self {
        Self(backend::sync::Condvar::new())
    }

    /// Waits while `unready` holds. It is called with the lock held; the lock is released in between.
    pub fn wait_while<'a, T>(
        &self,
        site: &'static str,
        mut guard: MutexGuard<'a, T>,
        mut unready: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while unready(&mut guard) {
            guard = self.wait(guard);
            if mutation::at(site) == Some("if") {
                break;
            }
        }
        guard
    }

    /// As [`Condvar::wait_while`], until the armed plan lets the time run out; the flag says that it did
    /// with `unready` still true. `_timeout` is not looked at: to a checker every moment may be late.
    pub fn wait_timeout_while<'a, T>(
        &self,
        site: &'static str,
        mut guard: MutexGuard<'a, T>,
        _timeout: Duration,
        mut unready: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        while unready(&mut guard) {
            if faults::happens(Fault::TimeOut) {
                guard = relock(guard);
                let late = unready(&mut guard);
                return (guard, late);
            }
            guard = self.wait(guard);
            if mutation::at(site) == Some("if") {
                break;
            }
        }
        (guard, false)
    }

    /// Wakes one waiter, if there is one.
    pub fn notify_one(&self, site: &'static str) {
        if mutation::at(site) != Some("none") {
            self.0.notify_one();
        }
    }

    /// Wakes every waiter.
    pub fn notify_all(&self, site: &'static str) {
        match mutation::at(site) {
            Some("none") => {}
            Some("one") => self.0.notify_one(),
            _ => self.0.notify_all(),
        }
    }

    fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        if faults::happens(Fault::SpuriousWake) {
            return relock(guard);
        }
        let mutex = guard.mutex;
        let guard = self.0.wait(guard.guard).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { guard, mutex }
    }
}

/// Lets the others at the lock once. A wait that ends for no reason is this: whatever happens between the
/// waiter going to sleep and waking may happen here.
fn relock<T>(guard: MutexGuard<'_, T>) -> MutexGuard<'_, T> {
    let mutex = guard.mutex;
    drop(guard);
    mutex.lock()
}
