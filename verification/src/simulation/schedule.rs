//! The schedules of the simulation: which task goes on at each step, from a seed.
//!
//! Promises: one execution, the same for the same seed. The way of choosing is drawn too: any task at each
//! step; a task stays for a while; or priorities that change at a few steps (PCT: Burckhardt et al., "A
//! Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010). A task that asked for
//! it ([`yield_until_quiet`]) goes on only when no other can: that is how time is moved only when the
//! server has nothing left to do.
//! Leaves to the caller: one task at most that waits for quiet.

use super::chance::Stream;
use metricstream::sync::shim::thread;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::cell::Cell;

/// Steps within which priorities change; executions are mostly shorter.
const CHANGES_WITHIN: usize = 4_096;

thread_local! {
    static WAITS_FOR_QUIET: Cell<bool> = const { Cell::new(false) };
    static TRACE: Cell<Trace> = const { Cell::new(Trace { steps: 0, hash: 0 }) };
}

/// What an execution was, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Steps: how often a task was chosen.
    pub steps: u64,
    /// A digest of the choices.
    pub hash: u64,
}

/// The trace of the execution that ended last on this thread.
#[must_use]
pub fn trace() -> Trace {
    TRACE.get()
}

/// Lets the others go on until none can, or only those that wait for a timer.
#[allow(
    clippy::disallowed_methods,
    reason = "clippy looks through the shim's re-export"
)]
pub fn yield_until_quiet() {
    WAITS_FOR_QUIET.set(true);
    thread::yield_now();
}

/// One execution.
#[derive(Debug)]
pub struct OneExecution {
    seed: u64,
    begun: bool,
    stream: Stream,
    way: Way,
    quiet: Option<TaskId>,
    trace: Trace,
}

#[derive(Debug)]
enum Way {
    /// The running task goes on unless one in so many says otherwise.
    Stay { one_in: usize },
    /// The first in the order; at the steps named the running task goes to its end.
    Priorities { order: Vec<TaskId>, changes: Vec<u64> },
}

impl OneExecution {
    /// The execution of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed, 1);
        let way = match stream.below(4) {
            0 => Way::Stay { one_in: 1 },
            1 => Way::Stay { one_in: 4 },
            2 => Way::Stay { one_in: 24 },
            _ => Way::Priorities {
                order: Vec::new(),
                changes: (0..1 + stream.below(6))
                    .map(|_| stream.below(CHANGES_WITHIN) as u64)
                    .collect(),
            },
        };
        TRACE.set(Trace::default());
        WAITS_FOR_QUIET.set(false);
        Self {
            seed,
            begun: false,
            stream,
            way,
            quiet: None,
            trace: Trace::default(),
        }
    }

    fn choose(&mut self, able: &[TaskId], current: Option<TaskId>, is_yielding: bool) -> TaskId {
        let running = current.filter(|current| !is_yielding && able.contains(current));
        match &mut self.way {
            Way::Stay { one_in } => match running {
                Some(running) if *one_in > 1 && !self.stream.one_in(*one_in) => running,
                _ => self.stream.pick(able),
            },
            Way::Priorities { order, changes } => {
                for task in able {
                    if !order.contains(task) {
                        order.insert(self.stream.below(order.len() + 1), *task);
                    }
                }
                if let Some(task) = current
                    && (is_yielding || changes.contains(&self.trace.steps))
                {
                    order.retain(|other| *other != task);
                    order.push(task);
                }
                *order
                    .iter()
                    .find(|task| able.contains(task))
                    .expect("one is able")
            }
        }
    }
}

impl Scheduler for OneExecution {
    fn new_execution(&mut self) -> Option<Schedule> {
        let first = !std::mem::replace(&mut self.begun, true);
        first.then(|| Schedule::new(self.seed))
    }

    fn next_task(&mut self, able: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        if WAITS_FOR_QUIET.replace(false) {
            self.quiet = current;
        }
        let mut tasks: Vec<_> = able.iter().map(|task| task.id()).collect();
        if tasks.len() > 1 {
            tasks.retain(|task| Some(*task) != self.quiet);
        }
        let chosen = self.choose(&tasks, current, is_yielding);
        if self.quiet == Some(chosen) {
            self.quiet = None;
        }
        self.trace.steps += 1;
        let hash = self.trace.hash ^ usize::from(chosen) as u64;
        self.trace.hash = hash.wrapping_mul(0x100_0000_01b3).rotate_left(7);
        TRACE.set(self.trace);
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }
}
