//! All sequences of operations up to a length, run on the real object and judged by its specification.
//!
//! Promises: for each choice of one program per thread that cannot get stuck by the specification, the
//! object is explored ([`explore`]) and its outcomes compared with the oracle's. Where the harness is
//! exhaustive they must be the same set: one too many is a bug of the object, one too few means that the
//! checker missed an execution. Elsewhere they must be among the oracle's, and every history linearizable.
//! Leaves to the caller: operations and specification.

use crate::harness::{Bounds, StartLine, explore};
use crate::history::{Event, Recorder, is_linearizable};
use crate::oracle::{Outcome, Spec, World, outcomes};
use metricstream::sync::shim::thread;
use std::collections::BTreeSet;
// std's, not the shim's: what only the harness shares is no part of the model.
use std::sync::Arc;

/// One thread's end of the object: makes a call and returns what it returned.
pub type Actor<S> =
    Box<dyn FnMut(&<S as Spec>::Call, &mut Recorder<<S as Spec>::Call, <S as Spec>::Return>) + Send>;

/// An object under test: its specification and how to make it.
pub struct Subject<S: Spec> {
    /// The id of the property in PROOFS.md.
    pub id: &'static str,
    /// The specification in its first state.
    pub spec: S,
    /// Makes the object and gives one actor for each thread; the last one is the main thread's.
    pub actors: fn(&S) -> Vec<Actor<S>>,
    /// The steps that a call consists of, when it is not one step (a walk over stripes).
    pub steps: fn(&S, &S::Call) -> Vec<S::Call>,
    /// Whether a thread of these programs loads an atomic that it also stores. There loom misses executions
    /// (its issues 166 and 392; `honesty.rs` shows it), so a missing outcome is counted and not a failure;
    /// shuttle's search has to show those.
    pub loom_is_blind: fn(&[Vec<S::Call>]) -> bool,
}

/// How much was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Choices of programs.
    pub programs: u64,
    /// Of those, the ones left out because the specification itself can get stuck.
    pub stuck: u64,
    /// Executions of the object.
    pub executions: u64,
    /// Outcomes, distinct for each choice.
    pub outcomes: u64,
    /// Outcomes that the oracle has and loom does not show, in programs where it is known to be blind.
    pub missed: u64,
    /// Of the outcomes, the ones that no sequentially consistent machine gives; only under loom.
    pub weaker: u64,
}

impl Tally {
    /// Checks the number of choices in every harness and, under loom, what an exhaustive run comes to: at
    /// least so many executions (fewer would mean that the model shrank or loom skips more) and exactly so
    /// many outcomes, `weaker` of them beyond sequential consistency.
    pub fn expect(self, programs: u64, executions_min: u64, outcomes: u64, weaker: u64, missed: u64) {
        println!("{self:?}");
        assert_eq!(self.programs, programs, "[HONEST-COUNT] choices of programs");
        if cfg!(metricstream_loom) {
            assert!(
                self.executions >= executions_min,
                "[HONEST-COUNT] {self:?}, expected {executions_min}"
            );
            assert_eq!(self.outcomes, outcomes, "[HONEST-COUNT] {self:?}");
            assert_eq!(self.weaker, weaker, "[HONEST-COUNT] {self:?}");
            assert_eq!(self.missed, missed, "[HONEST-COUNT] {self:?}");
        }
    }
}

/// All sequences over `alphabet` of length zero to `length_max`, shortest first.
#[must_use]
pub fn sequences<C: Clone>(alphabet: &[C], length_max: usize) -> Vec<Vec<C>> {
    let mut all = vec![vec![]];
    let mut longest = all.clone();
    for _ in 0..length_max {
        longest = longest
            .iter()
            .flat_map(|sequence: &Vec<C>| {
                alphabet
                    .iter()
                    .map(|call| [sequence.as_slice(), std::slice::from_ref(call)].concat())
            })
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

/// All choices of one of `first` and one of `second`.
#[must_use]
pub fn pairs<C: Clone>(first: &[Vec<C>], second: &[Vec<C>]) -> Vec<Vec<Vec<C>>> {
    first
        .iter()
        .flat_map(|a| second.iter().map(|b| vec![a.clone(), b.clone()]))
        .collect()
}

/// All choices of two of `programs` for two threads that are alike: the order does not matter.
#[must_use]
pub fn unordered_pairs<C: Clone>(programs: &[Vec<C>]) -> Vec<Vec<Vec<C>>> {
    programs
        .iter()
        .enumerate()
        .flat_map(|(i, a)| programs[i..].iter().map(|b| vec![a.clone(), b.clone()]))
        .collect()
}

impl<S: Spec + Send + Sync + 'static> Subject<S> {
    /// Runs every choice of `choices` (one program per thread each).
    pub fn check(self, bounds: Bounds, choices: Vec<Vec<Vec<S::Call>>>) -> Tally {
        // Both checkers take closures without borrows; one subject for each test is no leak to mind.
        let subject: &'static Self = Box::leak(Box::new(self));
        let mut tally = Tally::default();
        for programs in choices {
            tally.programs += 1;
            if subject.expected(&programs, World::default()).is_some() {
                subject.check_one(bounds, programs, &mut tally);
            } else {
                tally.stuck += 1;
            }
        }
        tally
    }

    fn expected(&self, programs: &[Vec<S::Call>], world: World) -> Option<BTreeSet<Outcome<S::Return>>> {
        let steps: Vec<Vec<S::Call>> = programs
            .iter()
            .map(|program| {
                program
                    .iter()
                    .flat_map(|call| (self.steps)(&self.spec, call))
                    .collect()
            })
            .collect();
        outcomes(&self.spec, &steps, world)
    }

    fn check_one(&'static self, bounds: Bounds, programs: Vec<Vec<S::Call>>, tally: &mut Tally) {
        let id = self.id;
        let shown = format!("{programs:?}");
        let in_world = |late, stale| {
            self.expected(&programs, World { late, stale })
                .expect("neither time-outs nor old values get a program stuck")
        };
        // Only loom has old values; only real threads have a clock that runs out unasked.
        let stale = cfg!(metricstream_loom);
        let late = !cfg!(any(metricstream_loom, metricstream_shuttle));
        let expected = in_world(late, stale);
        let blind = cfg!(metricstream_loom) && (self.loom_is_blind)(&programs);
        let expected_late = in_world(true, stale);
        tally.weaker += (expected.len() - in_world(late, false).len()) as u64;
        // PCT refuses a run in which only one thread does anything.
        let alone = programs.iter().filter(|program| !program.is_empty()).count() < 2;
        let bounds = if alone { bounds.without_pct() } else { bounds };
        let programs = Arc::new(programs);
        let report = explore(bounds, move || self.run(&programs));
        for outcome in &report.outcomes {
            assert!(
                expected.contains(outcome),
                "[{id}] {shown} gave {outcome:?}, which no order explains"
            );
        }
        for outcome in &report.outcomes_spurious {
            assert!(
                expected.contains(outcome),
                "[{id}] {shown} gave {outcome:?}, with a spurious wake-up or failure"
            );
        }
        for outcome in &report.outcomes_late {
            assert!(
                expected_late.contains(outcome),
                "[{id}] {shown} gave {outcome:?}, with a time-out"
            );
        }
        if report.exhaustive {
            let missed: Vec<_> = expected.difference(&report.outcomes).collect();
            assert!(
                blind || missed.is_empty(),
                "[HONEST-OUTCOMES] {shown} never gave {missed:?}: the checker missed an execution"
            );
            tally.missed += missed.len() as u64;
        }
        tally.executions += report.executions;
        tally.outcomes += report.outcomes.len() as u64;
    }

    /// One execution: each program on its own thread, the last on this one.
    fn run(&'static self, programs: &Arc<Vec<Vec<S::Call>>>) -> Outcome<S::Return> {
        let mut actors = (self.actors)(&self.spec);
        assert_eq!(actors.len(), programs.len(), "one program for each actor");
        let start = Arc::new(StartLine::new());
        let count = programs.len();
        let main = actors.pop().expect("there is an actor");
        let others: Vec<_> = actors
            .into_iter()
            .enumerate()
            .map(|(index, actor)| {
                let (start, programs) = (Arc::clone(&start), Arc::clone(programs));
                thread::spawn("actor", move || {
                    start.wait(count);
                    play::<S>(actor, &programs[index])
                })
                .expect("a thread starts")
            })
            .collect();
        start.wait(count);
        let last = play::<S>(main, &programs[count - 1]);
        let mut histories: Vec<_> = others
            .into_iter()
            .map(|thread| thread.join().expect("an actor does not panic"))
            .collect();
        histories.push(last);
        let outcome: Outcome<S::Return> = histories
            .iter()
            .map(|events| events.iter().map(|event| event.returned.clone()).collect())
            .collect();
        if !cfg!(metricstream_loom) {
            let history: Vec<_> = histories.into_iter().flatten().collect();
            let id = self.id;
            assert!(
                is_linearizable(&self.spec, &history),
                "[{id}] no order explains the history {history:?}"
            );
        }
        outcome
    }
}

/// Plays one program and drops the actor, as a thread's end would.
fn play<S: Spec>(mut actor: Actor<S>, program: &[S::Call]) -> Vec<Event<S::Call, S::Return>> {
    let mut recorder = Recorder::new();
    for call in program {
        actor(call, &mut recorder);
    }
    recorder.into_events()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sequences_up_to_a_length() {
        assert_eq!(
            sequences(&[1, 2], 2),
            [
                vec![],
                vec![1],
                vec![2],
                vec![1, 1],
                vec![1, 2],
                vec![2, 1],
                vec![2, 2]
            ]
        );
        assert_eq!(unordered_pairs(&sequences(&[1, 2], 1)).len(), 6);
        assert_eq!(pairs(&sequences(&[1], 1), &sequences(&[2], 2)).len(), 6);
    }
}
