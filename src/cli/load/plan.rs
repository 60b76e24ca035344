//! The plan: which request each client sends, and when it is due.
//!
//! Promises: pure; a client's schedule follows from the plan and the moments at which the client became
//! free, so threads share nothing to keep a rate. In an open loop request `k` of the whole run is due at
//! `start + k / rate` whatever the server does, and belongs to client `k mod clients`.
//! Leaves to the caller: waiting for the moment, and sending.

use std::time::Duration;

use crate::clock::Instant;

/// How much each client sends after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// So many requests from each client.
    Requests(u32),
    /// All that fall due in this time.
    Time(Duration),
}

/// What makes a request due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: a client's next request is due `interval` after its last one ended.
    Closed {
        /// Pause between the end of a request and the next one of the same client.
        interval: Duration,
    },
    /// Open loop: requests fall due at a steady rate, summed over all clients.
    Open {
        /// Requests in a second; `0.001 ..= 10_000_000`.
        requests_per_second: f64,
    },
}

/// The whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Clients; at least one.
    pub clients: u32,
    /// What is sent in this time at the start is not measured.
    pub warmup: Duration,
    /// When a client is finished.
    pub extent: Extent,
    /// When its requests are due.
    pub pace: Pace,
}

/// One request of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it is to be sent.
    pub at: Instant,
    /// Its number among the requests of its client, from 0.
    pub number: u64,
    /// Whether it counts: it is due after the warm-up.
    pub measured: bool,
}

impl Plan {
    /// Requests that will be measured, where the plan alone decides it: not in a closed loop by time.
    #[must_use]
    pub fn requests_total(&self) -> Option<u64> {
        match (self.extent, self.pace) {
            (Extent::Requests(each), _) => Some(u64::from(each) * u64::from(self.clients)),
            (Extent::Time(_), Pace::Open { requests_per_second }) => {
                Some(self.due_total(requests_per_second) - self.warmup_total(requests_per_second))
            }
            (Extent::Time(_), Pace::Closed { .. }) => None,
        }
    }

    /// How long after its start the run ends, where time decides it.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        match self.extent {
            Extent::Time(time) => Some(self.warmup.saturating_add(time)),
            Extent::Requests(_) => None,
        }
    }

    /// Requests of the open loop, those of the warm-up included.
    fn due_total(&self, requests_per_second: f64) -> u64 {
        match self.extent {
            Extent::Requests(each) => {
                self.warmup_total(requests_per_second) + u64::from(each) * u64::from(self.clients)
            }
            Extent::Time(time) => due_within(self.warmup.saturating_add(time), requests_per_second),
        }
    }

    fn warmup_total(&self, requests_per_second: f64) -> u64 {
        due_within(self.warmup, requests_per_second)
    }
}

/// How many of the requests `0, 1, 2, ..` of an open loop are due before `time` has passed.
#[allow(
    clippy::cast_possible_truncation,
    reason = "saturates, by the definition of the cast"
)]
fn due_within(time: Duration, requests_per_second: f64) -> u64 {
    (time.as_secs_f64() * requests_per_second).ceil() as u64
}

/// One client's part of the plan.
#[derive(Clone, Debug)]
pub struct Schedule {
    plan: Plan,
    client: u32,
    start: Instant,
    number: u64,
    measured: u64,
    ended: bool,
}

impl Schedule {
    /// The schedule of client `client` (`0 .. plan.clients`) in a run that starts at `start`.
    #[must_use]
    pub fn new(plan: Plan, client: u32, start: Instant) -> Self {
        assert!(client < plan.clients, "a client of the plan");
        Self {
            plan,
            client,
            start,
            number: 0,
            measured: 0,
            ended: false,
        }
    }

    /// The next request of a client that has been free since `free`, or `None` when it is finished. In an
    /// open loop a request may be due before its client was free: that wait is part of its latency.
    pub fn next(&mut self, free: Instant) -> Option<Due> {
        let (at, measured) = match self.plan.pace {
            Pace::Closed { interval } => self.next_closed(free, interval)?,
            Pace::Open { requests_per_second } => self.next_open(requests_per_second)?,
        };
        let due = Due {
            at,
            number: self.number,
            measured,
        };
        self.number += 1;
        self.measured += u64::from(measured);
        Some(due)
    }

    /// Hands out nothing any more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Requests of an open loop that will be handed out; 0 in a closed loop, where none is owed.
    #[must_use]
    pub fn owed(&self) -> u64 {
        if self.ended {
            return 0;
        }
        let Pace::Open { requests_per_second } = self.plan.pace else {
            return 0;
        };
        let all = self.plan.due_total(requests_per_second);
        let mine = all
            .saturating_sub(u64::from(self.client))
            .div_ceil(u64::from(self.plan.clients));
        mine - self.number
    }

    fn next_closed(&self, free: Instant, interval: Duration) -> Option<(Instant, bool)> {
        if self.ended {
            return None;
        }
        let at = if self.number == 0 {
            free.max(self.start)
        } else {
            free.after(interval)
        };
        let passed = at.since(self.start);
        let finished = match self.plan.extent {
            Extent::Requests(each) => self.measured >= u64::from(each),
            Extent::Time(time) => passed >= self.plan.warmup.saturating_add(time),
        };
        (!finished).then_some((at, passed >= self.plan.warmup))
    }

    fn next_open(&self, requests_per_second: f64) -> Option<(Instant, bool)> {
        if self.owed() == 0 {
            return None;
        }
        let index = u64::from(self.client) + self.number * u64::from(self.plan.clients);
        let after = Duration::try_from_secs_f64(index as f64 / requests_per_second).unwrap_or(Duration::MAX);
        let measured = index >= self.plan.warmup_total(requests_per_second);
        Some((self.start.after(after), measured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(5_000_000_000);

    fn plan(clients: u32, extent: Extent, pace: Pace) -> Plan {
        Plan {
            clients,
            warmup: Duration::ZERO,
            extent,
            pace,
        }
    }

    /// All requests of all clients, each client free the moment its request is due.
    fn drained(plan: Plan) -> Vec<(Due, u32)> {
        let mut all = Vec::new();
        for client in 0..plan.clients {
            let mut schedule = Schedule::new(plan, client, START);
            let mut free = START;
            while let Some(due) = schedule.next(free) {
                free = due.at;
                all.push((due, client));
            }
            assert_eq!(schedule.owed(), 0);
        }
        all.sort_by_key(|(due, client)| (due.at, *client));
        all
    }

    #[test]
    fn an_open_loop_is_one_steady_row_over_all_clients() {
        for clients in [1, 3, 7] {
            let pace = Pace::Open {
                requests_per_second: 1000.0,
            };
            let plan = plan(clients, Extent::Time(Duration::from_millis(100)), pace);
            let all = drained(plan);
            assert_eq!(all.len(), 100);
            assert_eq!(plan.requests_total(), Some(100));
            for (index, (due, client)) in (0_u32..).zip(&all) {
                assert_eq!(due.at, START.after(Duration::from_millis(index.into())));
                assert_eq!(*client, index % clients);
                assert!(due.measured);
            }
        }
    }

    #[test]
    fn an_open_loop_does_not_wait_for_a_busy_client() {
        let pace = Pace::Open {
            requests_per_second: 10.0,
        };
        let mut schedule = Schedule::new(plan(2, Extent::Requests(3), pace), 1, START);
        let late = START.after(Duration::from_secs(60));
        let due: Vec<_> = std::iter::from_fn(|| schedule.next(late))
            .map(|due| due.at.since(START))
            .collect();
        assert_eq!(due, [100, 300, 500].map(Duration::from_millis));
    }

    #[test]
    fn what_an_open_loop_owes_is_counted() {
        let pace = Pace::Open {
            requests_per_second: 10.0,
        };
        // 25 requests: the first client has 9 of them, the others 8.
        let plan = plan(3, Extent::Time(Duration::from_millis(2500)), pace);
        let mut schedules: Vec<_> = (0..3).map(|client| Schedule::new(plan, client, START)).collect();
        assert_eq!(
            schedules.iter().map(Schedule::owed).collect::<Vec<_>>(),
            [9, 8, 8]
        );
        schedules[0].next(START).expect("the first");
        assert_eq!(schedules[0].owed(), 8);
    }

    #[test]
    fn a_closed_loop_waits_for_the_end_of_the_last_and_the_interval() {
        let pace = Pace::Closed {
            interval: Duration::from_millis(7),
        };
        let mut schedule = Schedule::new(plan(1, Extent::Requests(2), pace), 0, START);
        assert_eq!(schedule.next(START).expect("first").at, START);
        let free = START.after(Duration::from_secs(1));
        let second = schedule.next(free).expect("second");
        assert_eq!(
            (second.at, second.number),
            (free.after(Duration::from_millis(7)), 1)
        );
        assert_eq!(schedule.next(second.at), None);
        assert_eq!(schedule.owed(), 0);
    }

    #[test]
    fn a_closed_loop_by_time_ends_at_its_time() {
        let pace = Pace::Closed {
            interval: Duration::from_millis(10),
        };
        let plan = plan(1, Extent::Time(Duration::from_millis(100)), pace);
        assert_eq!(drained(plan).len(), 10);
        assert_eq!(plan.requests_total(), None);
    }

    #[test]
    fn the_warm_up_is_sent_and_not_measured() {
        let warmup = Duration::from_millis(50);
        for pace in [
            Pace::Closed {
                interval: Duration::from_millis(10),
            },
            Pace::Open {
                requests_per_second: 100.0,
            },
        ] {
            for extent in [Extent::Requests(20), Extent::Time(Duration::from_millis(200))] {
                let plan = Plan {
                    warmup,
                    ..plan(1, extent, pace)
                };
                let all = drained(plan);
                let measured = all.iter().filter(|(due, _)| due.measured).count();
                assert_eq!((all.len(), measured), (25, 20), "{plan:?}");
                for (due, _) in all {
                    assert_eq!(due.measured, due.at.since(START) >= warmup);
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_schedules_too() {
        let pace = Pace::Open {
            requests_per_second: 0.001,
        };
        let plan = plan(100_000, Extent::Requests(u32::MAX), pace);
        let mut schedule = Schedule::new(plan, 99_999, START);
        schedule.number = u64::from(u32::MAX) - 1;
        assert!(schedule.next(START).expect("the last").at > START);
        assert_eq!(schedule.next(START), None);
    }
}
