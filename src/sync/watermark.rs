//! A position that only rises, and threads that wait for it to pass theirs.
//!
//! Promises: the position never falls (WATERMARK-RISES); whoever sees a position sees everything that was
//! done before it was reached (WATERMARK-HB); every waiter whose position is reached wakes, and at
//! [`Watermark::close`] every other one does, with [`Closed`] (WATERMARK-WAKES). Reading is one load.
//! Leaves to the caller: what a position counts, and to close when nothing will rise any more.

use crate::ord;
use crate::sync::shim::atomic::AtomicU64;
use crate::sync::shim::{Condvar, Mutex};
use std::time::Duration;

/// A `u64` that only rises, with waiters.
#[derive(Debug)]
pub struct Watermark {
    /// The position, for those who do not wait. Written under the lock by [`Watermark::advance`], read by
    /// anyone; rises only. The Release store publishes what was done before the position was reached
    /// (WATERMARK_PUBLISH, WATERMARK_OBSERVE).
    reached: AtomicU64,
    state: Mutex<State>,
    risen_or_closed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The same position, for those who hold the lock.
    reached: u64,
    closed: bool,
    /// Threads in a wait: with none there is nobody to notify.
    waiters: usize,
}

/// The watermark was closed below the position waited for: it will not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watermark was closed at {reached}, below the position waited for")]
pub struct Closed {
    /// Where it stopped.
    pub reached: u64,
}

impl Watermark {
    /// A watermark at `position`.
    #[must_use]
    pub fn new(position: u64) -> Self {
        Self {
            reached: AtomicU64::new(position),
            state: Mutex::new(State {
                reached: position,
                closed: false,
                waiters: 0,
            }),
            risen_or_closed: Condvar::new(),
        }
    }

    /// The position reached. Everything done before it was reached is visible to the caller.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.reached.load(ord!(WATERMARK_OBSERVE, Acquire))
    }

    /// Raises the position to `to` and wakes the waiters; nothing happens when it is there already or when
    /// the watermark is closed. Any thread may call it.
    pub fn advance(&self, to: u64) {
        let mut state = self.state.lock();
        if state.closed || to <= state.reached {
            return;
        }
        state.reached = to;
        self.reached.store(to, ord!(WATERMARK_PUBLISH, Release));
        let waiters = state.waiters;
        drop(state);
        if waiters > 0 {
            self.risen_or_closed.notify_all("WATERMARK_RISEN");
        }
    }

    /// Ends it: the position stays where it is and every waiter above it gets [`Closed`]. Again does nothing.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.risen_or_closed.notify_all("WATERMARK_CLOSED");
    }

    /// Waits until `position` is reached.
    ///
    /// # Errors
    /// [`Closed`] when the watermark was closed below `position`.
    pub fn wait(&self, position: u64) -> Result<(), Closed> {
        if self.get() >= position {
            return Ok(());
        }
        let mut state = self.state.lock();
        state.waiters += 1;
        let mut state = self
            .risen_or_closed
            .wait_while("WATERMARK_WAIT", state, |state| state.is_below(position));
        state.waiters -= 1;
        state.verdict(position)
    }

    /// As [`Watermark::wait`], for at most `timeout`; says whether `position` was reached.
    ///
    /// # Errors
    /// [`Closed`] when the watermark was closed below `position`.
    pub fn wait_timeout(&self, position: u64, timeout: Duration) -> Result<bool, Closed> {
        if self.get() >= position {
            return Ok(true);
        }
        let mut state = self.state.lock();
        state.waiters += 1;
        let (mut state, timed_out) =
            self.risen_or_closed
                .wait_timeout_while("WATERMARK_WAIT_TIMEOUT", state, timeout, |state| {
                    state.is_below(position)
                });
        state.waiters -= 1;
        if timed_out {
            return Ok(false);
        }
        state.verdict(position).map(|()| true)
    }
}

impl State {
    /// Whether a waiter for `position` has something to wait for.
    fn is_below(&self, position: u64) -> bool {
        self.reached < position && !self.closed
    }

    fn verdict(&self, position: u64) -> Result<(), Closed> {
        if self.reached >= position {
            Ok(())
        } else {
            Err(Closed {
                reached: self.reached,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::shim::{Arc, thread};

    #[test]
    fn only_rises() {
        let watermark = Watermark::new(5);
        watermark.advance(3);
        assert_eq!(watermark.get(), 5);
        watermark.advance(u64::MAX);
        assert_eq!(watermark.get(), u64::MAX);
        assert_eq!(watermark.wait(u64::MAX), Ok(()));
    }

    #[test]
    fn after_closing_only_what_was_reached_is_granted() {
        let watermark = Watermark::new(5);
        watermark.close();
        watermark.advance(9);
        watermark.close();
        assert_eq!(watermark.wait(5), Ok(()));
        assert_eq!(watermark.wait(6), Err(Closed { reached: 5 }));
        assert_eq!(
            watermark.wait_timeout(6, Duration::ZERO),
            Err(Closed { reached: 5 })
        );
    }

    #[test]
    fn a_timed_wait_gives_up() {
        let watermark = Watermark::new(0);
        assert_eq!(watermark.wait_timeout(1, Duration::from_millis(1)), Ok(false));
        watermark.advance(1);
        assert_eq!(watermark.wait_timeout(1, Duration::ZERO), Ok(true));
    }

    #[test]
    fn every_waiter_below_the_mark_wakes() {
        let watermark = Arc::new(Watermark::new(0));
        let waiters: Vec<_> = (1..=4)
            .map(|position| {
                let watermark = Arc::clone(&watermark);
                thread::spawn("waiter", move || watermark.wait(position)).unwrap()
            })
            .collect();
        watermark.advance(2);
        watermark.advance(3);
        watermark.close();
        let results: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        assert_eq!(results, [Ok(()), Ok(()), Ok(()), Err(Closed { reached: 3 })]);
    }
}
