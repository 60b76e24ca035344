//! The connections that are left unread for a while, since a request on them was refused for overload.
//!
//! A refusal costs: its request is read before it can be refused. So a client that sends on regardless is not
//! read again before `Retry-After` is over, or the workers have nothing else to do, whichever is first; what
//! it sends meanwhile waits in the kernel, which tells it so by the window of TCP.
//!
//! Promises: the connection paused first comes back first; a worker that finds the queue empty has the reactor
//! look here ([`Pauses::wake_if_any`]), so that no time-out is needed for a pause to end (PAUSE-ENDS). There are
//! never more entries than open connections, but for those that a stop closed.
//! Leaves to the caller: to lay the connection to rest before it is entered, unarmed, and to arm it when it is
//! taken out; an entry names a slot, whose connection may be gone.

use std::collections::VecDeque;

use crate::clock::Instant;
use crate::net::{Poller, Token};
use crate::sync::shim::Mutex;

/// The pauses under way, oldest first.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Under a lock for the order that it makes: the reactor enters a pause and then looks at the workers' queue;
    /// a worker looks at the queue and then, holding it, here. So one of the two sees the other.
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

    /// Ends the pauses whose time is over at `now` and `early_max` of the others, oldest first: calls `ended` with
    /// the token of each. Answers how many ended early.
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

/// Room for entries that is kept when there are none.
const ENTRIES_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

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
