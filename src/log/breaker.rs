//! A circuit breaker around the disk: after failures in a row it is given a rest, then tried again.
//!
//! | state | what happens to a batch | it ends |
//! |---|---|---|
//! | closed | it is queued | when so many groups have failed in a row: open |
//! | open | it is refused at once | after the delay: half open |
//! | half open | it is queued, until the writer takes what waits | with that group: closed, or open again |
//!
//! Promises: a plain state machine; time is an argument. What was queued before it opened is still tried, and
//! a success of it closes the breaker too.
//! Leaves to the caller: to tell it of each group, and to refuse.

use crate::clock::Instant;
use std::time::Duration;

/// The state, as the statistics show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// All is well, or not bad enough.
    #[default]
    Closed,
    /// Everything is refused until the delay is over.
    Open,
    /// The next group is tried.
    HalfOpen,
}

/// A circuit breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    failures_max: u32,
    delay: Duration,
    failures: u32,
    opened: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` failures in a row, for `delay`. Zero: it never opens.
    #[must_use]
    pub fn new(failures_max: u32, delay: Duration) -> Self {
        Self {
            failures_max,
            delay,
            failures: 0,
            opened: 0,
            state: State::Closed,
        }
    }

    /// A group was written.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.state = State::Closed;
    }

    /// A group failed at `now`.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures_max > 0 && self.failures >= self.failures_max {
            self.opened += u64::from(matches!(self.state, State::Closed));
            self.state = State::Open {
                until: now.after(self.delay),
            };
        }
    }

    /// It is `now`: an open breaker is half open once its delay is over.
    pub fn keep_time(&mut self, now: Instant) {
        if self.time_left(now) == Some(Duration::ZERO) {
            self.state = State::HalfOpen;
        }
    }

    /// Time until the delay of an open breaker is over.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until.since(now)),
            State::Closed | State::HalfOpen => None,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long it stays open.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// How often it opened, from closed.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_success() {
        let mut breaker = Breaker::new(3, Duration::from_millis(100));
        for _ in 0..5 {
            breaker.failed(at(0));
            breaker.failed(at(1));
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.succeeded();
        }
        for now in 1..=3 {
            breaker.failed(at(now));
        }
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 1));
        assert_eq!(breaker.time_left(at(3)), Some(Duration::from_millis(100)));
        breaker.keep_time(at(102));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.keep_time(at(103));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.failed(at(110));
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 1));
        assert_eq!(breaker.time_left(at(110)), Some(Duration::from_millis(100)));
        breaker.keep_time(at(210));
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.failures()), (BreakerState::Closed, 0));
    }

    #[test]
    fn with_zero_it_never_opens() {
        let mut breaker = Breaker::new(0, Duration::from_millis(1));
        (0..100).for_each(|_| breaker.failed(at(0)));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
