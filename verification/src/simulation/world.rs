//! What the tasks of one execution share, and the task that moves the time.

use super::chance;
use super::client::Conversation;
use super::plan::{Plan, Timers};
use super::schedule::yield_until_quiet;
use metricstream::log::simulated::SimulatedDisk;
use metricstream::net::simulated::Network;
use metricstream::server::Shared;
use metricstream::sync::shim::{Arc, Condvar, Mutex, thread, time};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// More timers than a stop needs: its deadline over the reactor's interval, and the housekeeper's in between.
const STOP_FIRINGS_MAX: u32 = 60;

/// What the tasks share.
#[derive(Debug)]
pub struct World {
    /// What is to happen.
    pub plan: Plan,
    /// Between the clients and the server.
    pub network: Network,
    /// Under the server.
    pub disk: SimulatedDisk,
    /// What the server shows.
    pub server: Arc<Shared>,
    /// Where the reload is.
    pub reload: Progress,
    phase: Mutex<Phase>,
    phase_changed: Condvar,
    /// Not of the shim: nothing waits with it held.
    notes: std::sync::Mutex<Notes>,
}

/// Where something is that begins once and is done once. Of std, not of the shim: no step of the schedule.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    /// It begins.
    pub fn begin(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    /// It is done, or its effect was seen.
    pub fn finish(&self) {
        self.0.store(2, Ordering::SeqCst);
    }

    /// Whether it began.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Whether it is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 1
    }
}

#[derive(Debug)]
struct Phase {
    clients_talking: usize,
    timers_left: bool,
    stop_began: Option<u64>,
    over: bool,
}

/// What the tasks saw.
#[derive(Debug, Default)]
pub struct Notes {
    /// Every connection that was tried.
    pub conversations: Vec<Conversation>,
    /// What must not be.
    pub violations: Vec<String>,
}

impl World {
    /// A world in which nothing happened yet.
    #[must_use]
    pub fn new(plan: Plan, network: Network, disk: SimulatedDisk, server: Arc<Shared>) -> Self {
        Self {
            phase: Mutex::new(Phase {
                clients_talking: plan.clients.len(),
                timers_left: true,
                stop_began: None,
                over: false,
            }),
            plan,
            network,
            disk,
            server,
            reload: Progress::default(),
            phase_changed: Condvar::new(),
            notes: std::sync::Mutex::default(),
        }
    }

    /// Writes down what must not be.
    pub fn violation(&self, what: impl Into<String>) {
        self.notes().violations.push(what.into());
    }

    /// Writes down a connection that has ended.
    pub fn note(&self, conversation: Conversation) {
        self.notes().conversations.push(conversation);
    }

    /// Takes what was written down.
    pub fn take_notes(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().expect("nothing panics with it held")
    }

    /// One client has nothing more to say.
    pub fn finish_talking(&self) {
        self.phase.lock().clients_talking -= 1;
        self.phase_changed.notify_all("SIMULATION_PHASE");
    }

    /// Waits until no client has anything to say and the budget of timers is used up.
    pub fn wait_for_clients(&self) {
        let talking = |phase: &mut Phase| phase.clients_talking > 0 || phase.timers_left;
        let phase = self.phase.lock();
        drop(
            self.phase_changed
                .wait_while("SIMULATION_CLIENTS", phase, talking),
        );
    }

    /// The server is told to stop.
    pub fn begin_stop(&self) {
        let mut phase = self.phase.lock();
        phase.stop_began = Some(time::now_nanos());
        drop(phase);
        self.phase_changed.notify_all("SIMULATION_PHASE");
    }

    /// The server has stopped.
    pub fn end(&self) {
        self.phase.lock().over = true;
        self.phase_changed.notify_all("SIMULATION_PHASE");
    }

    /// How long the stop has been going on, if it has begun.
    #[must_use]
    pub fn stopping_for(&self) -> Option<Duration> {
        let began = self.phase.lock().stop_began?;
        Some(Duration::from_nanos(time::now_nanos() - began))
    }

    fn is_over(&self) -> bool {
        self.phase.lock().over
    }

    /// Moves the time, within a budget before the stop and one while it goes on. A wait that needs a timer
    /// beyond them never ends, and the checker says so.
    pub fn move_time(&self) {
        let timers = self.plan.timers;
        for _ in 0..timers.firings {
            pause(timers.quiet);
            // With the lock held: a timer of before the stop does not run out in it.
            let phase = self.phase.lock();
            if phase.stop_began.is_some() {
                break;
            }
            advance(timers);
            drop(phase);
            expire(timers.quiet);
        }
        let mut phase = self.phase.lock();
        phase.timers_left = false;
        self.phase_changed.notify_all("SIMULATION_PHASE");
        let before = |phase: &mut Phase| phase.stop_began.is_none();
        drop(self.phase_changed.wait_while("SIMULATION_STOP", phase, before));
        // First as the plan says, then when nothing else can go on: a slow thread needs no more timers.
        for number in 0..2 * STOP_FIRINGS_MAX {
            let quiet = timers.stop_quiet || number >= STOP_FIRINGS_MAX;
            pause(quiet);
            if self.is_over() {
                break;
            }
            advance(Timers {
                quiet: true,
                far: false,
                ..timers
            });
            expire(quiet);
        }
    }
}

/// Lets the others go on: until nothing can, or for a few steps.
#[allow(
    clippy::disallowed_methods,
    reason = "clippy looks through the shim's re-export"
)]
fn pause(quiet: bool) {
    if quiet {
        return yield_until_quiet();
    }
    for _ in 0..=chance::below(30) {
        thread::yield_now();
    }
}

/// Moves the time to where a timer runs out: the first, one by chance, or the last.
fn advance(timers: Timers) {
    let deadlines = time::deadlines();
    let Some(&last) = deadlines.last() else { return };
    let to = if timers.far {
        last
    } else if timers.quiet {
        deadlines[0]
    } else {
        deadlines[chance::below(deadlines.len())]
    };
    time::advance_to(to);
}

/// Wakes whoever's time has run out.
fn expire(quiet: bool) {
    while time::wake_expired() {
        pause(quiet);
    }
}
