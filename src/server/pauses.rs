//! The connections that are left unread for a while, since a request on them was refused for overload.
//!
//! A refusal costs: its request is read before it can be refused. So a client that sends on regardless is not
//! read again before `Retry-After` is over, or the workers have nothing else to do, whichever is first; what
//! it sends meanwhile waits in the kernel, which tells it so by the window of TCP.
//!
//! Promises: the connection paused first comes back first; a worker that finds the queue empty has the
//! reactor look here ([`Pauses::wake_if_any`]), so that no time-out is needed for a pause to end
//! (PAUSE-ENDS). There are never more entries than open connections, but for those that a stop closed.
//! Leaves to the caller: to lay the connection to rest before it is entered, unarmed, and to arm it when it
//! is taken out; an entry names a slot, whose connection may be gone.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::limits;
use crate::net::{Poller, Token};
use crate::sync::shim::Mutex;

/// The pauses under way, oldest first.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Under a lock for the order that it makes: the reactor enters a pause and then looks at the workers'
    /// queue; a worker looks at the queue and then, holding it, here. So one of the two sees the other.
    waiting: Mutex<VecDeque<Pause>>,
}

/// A connection that is not read for now.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    token: Token,
}

impl Pauses {
    /// The connection at rest under `token` is not to be read before `until`.
    pub fn enter(&self, token: Token, until: Instant) {
        self.waiting.lock().push_back(Pause { until, token });
    }

    /// Ends the pauses whose time is over at `now` and `early_max` of the others, oldest first: calls `ended`
    /// with the token of each. Answers how many ended early.
    pub fn end(&self, now: Instant, early_max: usize, mut ended: impl FnMut(Token)) -> usize {
        let mut early = 0;
        loop {
            let mut waiting = self.waiting.lock();
            let Some(first) = waiting.front().copied() else {
                waiting.shrink_to(ENTRIES_KEPT);
                return early;
            };
            if first.until > now {
                if early == early_max {
                    return early;
                }
                early += 1;
            }
            waiting.pop_front();
            // A connection is armed without this lock: it has one of its own.
            drop(waiting);
            ended(first.token);
        }
    }

    /// How many connections are paused.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has the reactor look here, if there is anything to see.
    pub fn wake_if_any(&self, poller: &Poller) {
        if !self.is_empty() && !crate::seeded!(PAUSE_NOT_WOKEN) {
            poller.wake();
        }
    }
}

/// When those come back who are refused while the workers' queue is full: one after the other, so slowly that
/// what they cost stays a small share of what the workers do, and no sooner than `Retry-After` can say.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    last: Instant,
    spacing: Duration,
    /// Connections that the workers' queue took in this stretch of time.
    taken: u32,
    /// Whether it was full in it: only then did the workers do what they can.
    was_full: bool,
    stretch_began: Instant,
}

impl Pacer {
    /// A pacer that knows of no work yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            last: now,
            spacing: SPACING_DEFAULT,
            taken: 0,
            was_full: false,
            stretch_began: now,
        }
    }

    /// The workers' queue took a connection.
    pub fn note_taken(&mut self) {
        self.taken = self.taken.saturating_add(1);
    }

    /// Learns from the stretch of time since the call before; to be called a few times a second.
    pub fn adapt(&mut self, now: Instant) {
        if self.was_full {
            let time = now.since(self.stretch_began);
            let spacing = time.saturating_mul(limits::OVERLOAD_TAKEN_A_RETURN) / self.taken.max(1);
            // Half of what was known stays: one slow moment is not yet a slow server.
            self.spacing = (self.spacing / 2).saturating_add(spacing / 2).min(SPACING_MAX);
        }
        self.taken = 0;
        self.was_full = false;
        self.stretch_began = now;
    }

    /// When one who is refused at `now` is read again.
    pub fn next_return(&mut self, now: Instant) -> Instant {
        let earliest = now.after(RETRY_AFTER_MIN);
        let latest = now.after(RETRY_AFTER_MAX);
        self.was_full = true;
        self.last = self.last.after(self.spacing).clamp(earliest, latest);
        self.last
    }
}

const SPACING_MAX: Duration = Duration::from_nanos(1_000_000_000 / limits::OVERLOAD_RETURNS_PER_S_MIN);
const SPACING_DEFAULT: Duration =
    Duration::from_nanos(1_000_000_000 / limits::OVERLOAD_RETURNS_PER_S_DEFAULT);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(limits::OVERLOAD_RETRY_AFTER_S);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(limits::OVERLOAD_RETRY_AFTER_S_MAX);

/// Room for entries that is kept when there are none.
const ENTRIES_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The returns of so many who are refused at `now`, from `now`.
    fn returns(pacer: &mut Pacer, now: Instant, count: usize) -> Vec<Duration> {
        (0..count).map(|_| pacer.next_return(now).since(now)).collect()
    }

    #[test]
    fn who_is_refused_comes_back_one_for_each_eight_taken() {
        let mut pacer = Pacer::new(Instant::ZERO);
        let mut now = Instant::ZERO;
        for _ in 0..40 {
            (0..200).for_each(|_| pacer.note_taken());
            pacer.next_return(Instant::ZERO);
            now = now.after(SECOND / 4);
            pacer.adapt(now);
        }
        // 800 a second are taken, so 100 a second come back. A quiet stretch says nothing of it.
        pacer.adapt(now.after(SECOND));
        let returns = returns(&mut pacer, now, 301);
        assert_eq!(returns[0], SECOND);
        for (index, expected) in [(100, 2.0), (200, 3.0), (300, 4.0)] {
            let seen = returns[index].as_secs_f64();
            assert!((seen - expected).abs() < 0.01, "{index}: {seen}");
        }
        let later = now.after(10 * SECOND);
        assert_eq!(
            pacer.next_return(later),
            later.after(SECOND),
            "nobody is left to wait for"
        );
    }

    #[test]
    fn nobody_is_sent_away_for_longer_than_the_bound() {
        let mut pacer = Pacer::new(Instant::ZERO);
        assert_eq!(
            returns(&mut pacer, Instant::ZERO, 257)[256],
            2 * SECOND,
            "the default"
        );
        let mut now = Instant::ZERO;
        for _ in 0..20 {
            now = now.after(100 * SECOND);
            pacer.adapt(now);
            pacer.next_return(now);
        }
        now = now.after(100 * SECOND);
        let returns = returns(&mut pacer, now, 1000);
        assert_eq!(returns[16], 2 * SECOND, "16 a second at the least");
        assert_eq!(returns[999], 10 * SECOND);
        assert!(returns.is_sorted());
    }

    #[test]
    fn pauses_end_in_order_in_time_or_early() {
        let pauses = Pauses::default();
        for (token, nanos) in [(7, 30), (3, 20), (5, 40), (9, 50), (1, 60)] {
            pauses.enter(token, Instant::from_nanos(nanos));
        }
        let end = |nanos, early_max| {
            let mut ended = Vec::new();
            let early = pauses.end(Instant::from_nanos(nanos), early_max, |token| ended.push(token));
            (ended, early, pauses.len())
        };
        assert_eq!(end(29, 0), (vec![], 0, 5), "the first decides");
        assert_eq!(end(30, 0), (vec![7, 3], 0, 3), "in time");
        assert_eq!(end(40, 1), (vec![5, 9], 1, 1), "one in time, one early");
        assert_eq!(end(40, 9), (vec![1], 1, 0), "no more than there are");
        assert_eq!(end(99, 9), (vec![], 0, 0));
        assert!(pauses.is_empty());
    }
}
