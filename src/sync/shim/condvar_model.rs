//! The condition variable under loom and shuttle: the checker's, plus what neither checker does.
//!
//! Promises: the same interface as the std one; in addition a wait wakes for no reason or times out where
//! the armed plan says so ([`super::faults`]), a `while` becomes an `if` and a notification is lost where
//! [`super::mutation`] says so. Without a plan and without a mutation no wait ever times out: a lost
//! wake-up shows as a deadlock and no timer hides it. Only in the simulation of the whole server, under
//! shuttle, is there a time that somebody moves (`super::time`).

use super::faults::{self, Fault};
use super::{MutexGuard, backend, mutation};
use std::sync::PoisonError;
use std::time::Duration;

/// A condition variable. Waits take the predicate, so that no caller can forget the loop; the names of
/// the sites are those of PROOFS.md.
#[derive(Debug, Default)]
pub struct Condvar(Backend);

#[cfg(metricstream_loom)]
type Backend = backend::sync::Condvar;
/// Shared with the time of the simulation, which ends timed waits.
#[cfg(metricstream_shuttle)]
type Backend = std::sync::Arc<backend::sync::Condvar>;

impl Condvar {
    /// A condition variable nobody waits on.
    #[must_use]
    pub fn new() -> Self {
        Self(Backend::default())
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
    /// with `unready` still true. Only the simulation looks at `timeout`: to a checker every moment may be
    /// late.
    pub fn wait_timeout_while<'a, T>(
        &self,
        site: &'static str,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut unready: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let timer = Timer::start(self, timeout);
        while unready(&mut guard) {
            if timer.is_over() {
                return (guard, true);
            }
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

/// The end of a timed wait in the simulation.
struct Timer(#[cfg(metricstream_shuttle)] Option<super::time::Registered>);

impl Timer {
    #[cfg(metricstream_shuttle)]
    fn start(condvar: &Condvar, timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(super::time::register(&condvar.0, nanos))
    }

    #[cfg(metricstream_shuttle)]
    fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(super::time::Registered::is_over)
    }

    #[cfg(metricstream_loom)]
    fn start(_condvar: &Condvar, _timeout: Duration) -> Self {
        Self()
    }

    #[cfg(metricstream_loom)]
    fn is_over(&self) -> bool {
        false
    }
}

/// Lets the others at the lock once. A wait that ends for no reason is this: whatever happens between the
/// waiter going to sleep and waking may happen here.
fn relock<T>(guard: MutexGuard<'_, T>) -> MutexGuard<'_, T> {
    let mutex = guard.mutex;
    drop(guard);
    mutex.lock()
}
