//! Whether each worker gets on: a turn on a connection is brief, so one that does not end is a hang.
//!
//! Promises: [`Turns::count`] is odd from the beginning of a turn until the worker waits for the next one,
//! and another number in every turn; a panic in a turn changes nothing of that.
//! Leaves to the caller: how long a turn may take.

use std::fmt;

use crate::stats::Counter;
use crate::sync::shim::Arc;
use crate::sync::thread_pool::Worker;

/// What one worker has done so far, for those who look on.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Counter>);

impl Turns {
    /// Where the worker is.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

/// Whether a worker whose [`Turns::count`] is `count` has a connection in its hands.
#[must_use]
pub fn is_in_turn(count: u64) -> bool {
    !count.is_multiple_of(2)
}

/// A worker that others can see get on.
pub struct Watched<W> {
    worker: W,
    turns: Turns,
    /// The count is odd. The worker's own copy: nobody else writes the count.
    in_turn: bool,
}

impl<W> Watched<W> {
    /// A worker that waits for its first turn.
    #[must_use]
    pub fn new(worker: W) -> Self {
        Self {
            worker,
            turns: Turns::default(),
            in_turn: false,
        }
    }

    /// For those who look on.
    #[must_use]
    pub fn turns(&self) -> Turns {
        self.turns.clone()
    }
}

impl<W: Worker> Worker for Watched<W> {
    type Job = W::Job;

    fn run(&mut self, job: W::Job) {
        // From one turn to the next, also when that one panicked, it stays odd.
        self.turns.0.add(if self.in_turn { 2 } else { 1 });
        self.in_turn = true;
        self.worker.run(job);
    }

    fn idle(&mut self) {
        if self.in_turn {
            self.turns.0.add(1);
            self.in_turn = false;
        }
        self.worker.idle();
    }
}

impl<W> fmt::Debug for Watched<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::shim::panic;

    /// Says where it is while it runs, then panics if told to.
    struct Probe(Option<Turns>, Vec<u64>);

    impl Worker for Probe {
        type Job = bool;

        fn run(&mut self, panics: bool) {
            self.1.extend(self.0.as_ref().map(Turns::count));
            assert!(!panics, "expected by this test");
        }
    }

    #[test]
    fn the_count_is_odd_in_a_turn_and_moves_with_each_also_past_a_panic() {
        let mut watched = Watched::new(Probe(None, Vec::new()));
        let turns = watched.turns();
        watched.worker.0 = Some(turns.clone());
        watched.idle();
        assert!(!is_in_turn(turns.count()));
        watched.run(false);
        watched.run(false);
        assert!(!panic::contain(|| watched.run(true)));
        watched.run(false);
        watched.idle();
        assert!(!is_in_turn(turns.count()));
        watched.idle();
        watched.run(false);
        assert_eq!(watched.worker.1, [1, 3, 5, 7, 9]);
        assert!(watched.worker.1.iter().all(|count| is_in_turn(*count)));
    }
}
