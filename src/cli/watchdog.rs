//! Whether the server makes progress, for a service manager that restarts one that does not.
//!
//! Promises: [`Watchdog::is_alive`] says no when, for half the interval, the reactor took no step, a worker
//! stayed in one turn or the log's writer settled nothing of what it had. A disk that answers late makes the
//! writer late, at the latest when a segment is full: the interval must be longer than twice what the slowest
//! flush may take. What flushes without being waited for, keeps sealed segments, collects figures and sends
//! alerts is not watched: without it metrics are stored all the same.
//! Leaves to the caller: to look several times an interval, and to read the clock.

use std::time::Duration;

use super::systemd::Notifier;
use crate::clock::Instant;
use crate::log::Position;
use crate::server::Shared;
use crate::server::servant::Log;
use crate::server::turns;
use crate::sync::shim::Arc;
use crate::sync::stop::Stop;

/// Looks in one interval.
const LOOKS: u32 = 4;

/// Time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// What progress is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Steps of the reactor so far.
    pub reactor_steps: u64,
    /// The server is stopping: then the reactor may have ended.
    pub stopping: bool,
    /// Where each worker is, see [`turns::Turns::count`]. None once they have ended.
    pub turns: Vec<u64>,
    /// The last batch the log accepted.
    pub accepted: Position,
    /// The last batch whose outcome is decided.
    pub settled: Position,
}

/// The judge.
#[derive(Debug)]
pub struct Watchdog {
    patience: Duration,
    last: Look,
    reactor_moved: Instant,
    workers_moved: Vec<Instant>,
    writer_moved: Instant,
}

impl Watchdog {
    /// A judge for a manager that waits for `interval`, with a first look at `now`.
    #[must_use]
    pub fn new(interval: Duration, first: Look, now: Instant) -> Self {
        Self {
            patience: interval / 2,
            workers_moved: vec![now; first.turns.len()],
            last: first,
            reactor_moved: now,
            writer_moved: now,
        }
    }

    /// Takes a look at `now` into account; says whether everything that must move does.
    pub fn is_alive(&mut self, look: Look, now: Instant) -> bool {
        let last = &self.last;
        if look.stopping || look.reactor_steps != last.reactor_steps {
            self.reactor_moved = now;
        }
        let had_nothing = last.accepted == last.settled;
        if had_nothing || look.settled != last.settled {
            self.writer_moved = now;
        }
        self.workers_moved.resize(look.turns.len(), now);
        for (index, moved) in self.workers_moved.iter_mut().enumerate() {
            let count = look.turns[index];
            if !turns::is_in_turn(count) || last.turns.get(index) != Some(&count) {
                *moved = now;
            }
        }
        self.last = look;
        let is_late = |moved: Instant| now.since(moved) >= self.patience;
        let mut workers = self.workers_moved.iter();
        !is_late(self.reactor_moved) && !is_late(self.writer_moved) && !workers.any(|moved| is_late(*moved))
    }
}

/// Tells the manager of progress and of what the server does, until told to stop. Without an `interval` only
/// the latter.
pub fn watch(
    notifier: &Notifier,
    interval: Option<Duration>,
    (shared, log): (&Arc<Shared>, &Arc<Log>),
    stop: &Stop,
) {
    let clock = shared.clock;
    let look = || {
        // Before what is settled, so that nothing is settled that was not accepted.
        let status = log.status();
        Look {
            reactor_steps: shared.reactor_steps.get(),
            stopping: shared.stopping.is_requested(),
            turns: shared.turns(),
            accepted: status.accepted,
            settled: status.progress.settled,
        }
    };
    let mut watchdog = interval.map(|interval| Watchdog::new(interval, look(), clock.now()));
    let pause = interval.map_or(STATUS_INTERVAL, |interval| {
        (interval / LOOKS).min(STATUS_INTERVAL)
    });
    let mut next_status = clock.now();
    let mut said = String::new();
    while !stop.wait_timeout(pause) {
        let now = clock.now();
        if let Some(watchdog) = &mut watchdog {
            if watchdog.is_alive(look(), now) {
                notifier.alive();
            } else {
                tracing::error!("no progress; the service manager is not told that all is well");
            }
        }
        if now >= next_status && !shared.stopping.is_requested() {
            next_status = now.after(STATUS_INTERVAL);
            let status = status_line(shared);
            if status != said {
                notifier.status(&status);
                said = status;
            }
        }
    }
}

/// What `systemctl status` shows.
#[must_use]
pub fn status_line(shared: &Shared) -> String {
    let (open, metrics) = (shared.table.open(), shared.stats.metrics_acknowledged.get());
    let state = shared.not_ready_because().unwrap_or("serving");
    format!("{state}: {open} connections, {metrics} metrics acknowledged")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn position(number: u64) -> Position {
        (0..number).fold(Position::START, |position, _| position.next())
    }

    fn look(reactor_steps: u64, accepted: u64, settled: u64) -> Look {
        Look {
            reactor_steps,
            stopping: false,
            turns: Vec::new(),
            accepted: position(accepted),
            settled: position(settled),
        }
    }

    /// The verdicts on looks a second apart, for an interval of four.
    fn verdicts(looks: &[Look]) -> Vec<bool> {
        let at = |second: usize| Instant::from_nanos(second as u64 * SECOND);
        let mut watchdog = Watchdog::new(Duration::from_secs(4), looks[0].clone(), at(0));
        let rest = looks.iter().enumerate().skip(1);
        rest.map(|(second, look)| watchdog.is_alive(look.clone(), at(second)))
            .collect()
    }

    #[test]
    fn a_reactor_that_takes_no_step_is_found_at_half_the_interval() {
        let looks = [look(1, 0, 0), look(2, 0, 0), look(2, 0, 0), look(2, 0, 0)];
        assert_eq!(verdicts(&looks), [true, true, false]);
        let stopping = looks.map(|look| Look {
            stopping: true,
            ..look
        });
        assert_eq!(verdicts(&stopping), [true, true, true]);
    }

    #[test]
    fn a_writer_is_late_only_while_it_has_work() {
        let stuck = [look(1, 5, 5), look(2, 6, 5), look(3, 7, 5), look(4, 8, 5)];
        assert_eq!(verdicts(&stuck), [true, true, false]);
        let slow = [look(1, 5, 5), look(2, 6, 5), look(3, 9, 6), look(4, 9, 6)];
        assert_eq!(verdicts(&slow), [true, true, true]);
        let idle = [
            look(1, 5, 5),
            look(2, 5, 5),
            look(3, 5, 5),
            look(4, 5, 5),
            look(5, 6, 5),
        ];
        assert_eq!(verdicts(&idle), [true; 4]);
    }

    #[test]
    fn a_worker_is_late_only_in_a_turn_that_does_not_end() {
        let workers = |second: u64, turns: [u64; 2]| Look {
            turns: turns.to_vec(),
            ..look(second, 0, 0)
        };
        let at = |counts: [[u64; 2]; 5]| {
            let looks: Vec<_> = (0..)
                .zip(counts)
                .map(|(second, turns)| workers(second, turns))
                .collect();
            verdicts(&looks)
        };
        let hung = at([[1, 0], [3, 1], [5, 1], [7, 1], [9, 1]]);
        assert_eq!(hung, [true, true, false, false], "the other one gets on");
        let hung_from_the_first = at([[1, 0], [1, 1], [1, 3], [1, 5], [1, 7]]);
        assert_eq!(hung_from_the_first, [true, false, false, false]);
        let waiting = at([[2, 4], [2, 4], [2, 4], [2, 4], [2, 4]]);
        assert_eq!(waiting, [true; 4]);
        let busy = at([[1, 1], [1, 3], [3, 3], [3, 5], [5, 5]]);
        assert_eq!(busy, [true; 4]);
    }

    #[test]
    fn workers_that_have_ended_are_not_late() {
        let with = |turns: &[u64]| Look {
            turns: turns.to_vec(),
            ..look(0, 0, 0)
        };
        let mut watchdog = Watchdog::new(Duration::from_secs(2), with(&[1, 1]), Instant::from_nanos(0));
        let mut alive = |second, steps, turns: &[u64]| {
            let look = Look {
                reactor_steps: steps,
                ..with(turns)
            };
            watchdog.is_alive(look, Instant::from_nanos(second * SECOND))
        };
        assert!(!alive(1, 1, &[1, 1]));
        assert!(alive(2, 2, &[]));
        assert!(alive(3, 3, &[1]), "a first look at one is no verdict");
        assert!(!alive(4, 4, &[1]));
    }

    #[test]
    fn progress_after_a_silence_is_life_again() {
        let looks = [look(1, 1, 0), look(2, 1, 0), look(3, 1, 0), look(4, 1, 1)];
        assert_eq!(verdicts(&looks), [true, false, true]);
    }
}
