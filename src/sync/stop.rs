//! A request to stop, made once and seen by all.
//!
//! Promises: once requested it stays requested (STOP-STAYS); every waiter wakes, also one that comes to
//! wait while the request is made (STOP-WAKES); whoever sees the request sees everything done before it
//! (STOP-HB). Asking is one load.
//! Leaves to the caller: to stop. Not for use inside a signal handler: it takes a lock.

use crate::ord;
use crate::sync::shim::atomic::AtomicBool;
use crate::sync::shim::{Condvar, Mutex};
use std::time::Duration;

/// A flag that is raised once.
#[derive(Debug, Default)]
pub struct Stop {
    /// Whether it was raised, for those who do not wait. Written under the lock by [`Stop::request`], read
    /// by anyone; false, then true. The Release store publishes what was done before the request
    /// (STOP_PUBLISH, STOP_OBSERVE).
    requested: AtomicBool,
    /// The same, for those who wait: raised under the lock, so that no waiter can look, find it down and
    /// fall asleep after the notification.
    state: Mutex<bool>,
    raised: Condvar,
}

impl Stop {
    /// Not requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            requested: AtomicBool::new(false),
            state: Mutex::new(false),
            raised: Condvar::new(),
        }
    }

    /// Asks everyone to stop and wakes the waiters. Again does nothing.
    pub fn request(&self) {
        let mut state = self.state.lock();
        *state = true;
        self.requested.store(true, ord!(STOP_PUBLISH, Release));
        drop(state);
        self.raised.notify_all("STOP_RAISED");
    }

    /// Whether a stop was requested. If so, everything done before the request is visible to the caller.
    #[inline]
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.load(ord!(STOP_OBSERVE, Acquire))
    }

    /// Waits until a stop is requested.
    pub fn wait(&self) {
        let _raised = self
            .raised
            .wait_while("STOP_WAIT", self.state.lock(), |requested| !*requested);
    }

    /// As [`Stop::wait`], for at most `timeout`; says whether a stop was requested.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let (state, _) =
            self.raised
                .wait_timeout_while("STOP_WAIT_TIMEOUT", self.state.lock(), timeout, |requested| {
                    !*requested
                });
        *state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::shim::{Arc, thread};

    #[test]
    fn a_timed_wait_gives_up_until_the_request() {
        let stop = Stop::new();
        assert!(!stop.is_requested());
        assert!(!stop.wait_timeout(Duration::from_millis(1)));
        stop.request();
        stop.request();
        assert!(stop.is_requested());
        assert!(stop.wait_timeout(Duration::ZERO));
        stop.wait();
    }

    #[test]
    fn every_waiter_wakes() {
        let stop = Arc::new(Stop::new());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn("waiter", move || {
                    stop.wait();
                    stop.is_requested()
                })
                .unwrap()
            })
            .collect();
        stop.request();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    }
}
