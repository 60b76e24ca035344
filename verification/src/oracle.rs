//! Every outcome that a sequential specification allows.
//!
//! Promises: [`outcomes`] runs the programs of all threads against the specification in every order that
//! keeps each program's own order, one step at a time, and collects what the calls return: the outcomes of a
//! sequentially consistent machine on which each call is one step. It finds out as well whether some order
//! gets stuck.
//! Leaves to the caller: a specification so small that it is obviously right.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

/// A sequential specification: states, calls and what they return.
pub trait Spec: Clone + Eq + Hash {
    /// One call, with its arguments. It is one step.
    type Call: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// What a call returns.
    type Return: Clone + Debug + Ord + Hash + Send + 'static;

    /// Every way `call` can go from this state under `world`; none when it has to wait.
    fn step(&self, call: &Self::Call, world: World) -> Vec<(Self, Self::Return)>;

    /// Every step the object can make on its own (a worker takes a job).
    fn hidden_steps(&self) -> Vec<Self> {
        Vec::new()
    }
}

/// What the world may do to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// A timed wait may run out.
    pub late: bool,
    /// A load may return a value that was overwritten since, as far as `Release` and `Acquire` allow it. The
    /// outcomes that this adds are the weaker ones that the object's documentation admits.
    pub stale: bool,
}

/// The returns of each thread's calls, in the order of its program.
pub type Outcome<R> = Vec<Vec<R>>;

/// What can come out of `programs`, one for each thread, from `start`; `None` when some order gets stuck.
#[must_use]
pub fn outcomes<S: Spec>(
    start: &S,
    programs: &[Vec<S::Call>],
    world: World,
) -> Option<BTreeSet<Outcome<S::Return>>> {
    let mut search = Search {
        programs,
        world,
        seen: HashSet::new(),
        outcomes: BTreeSet::new(),
        stuck: false,
    };
    search.visit(start.clone(), vec![Vec::new(); programs.len()]);
    (!search.stuck).then_some(search.outcomes)
}

struct Search<'a, S: Spec> {
    programs: &'a [Vec<S::Call>],
    world: World,
    seen: HashSet<(S, Outcome<S::Return>)>,
    outcomes: BTreeSet<Outcome<S::Return>>,
    stuck: bool,
}

impl<S: Spec> Search<'_, S> {
    fn visit(&mut self, state: S, returns: Outcome<S::Return>) {
        if !self.seen.insert((state.clone(), returns.clone())) {
            return;
        }
        let mut moved = false;
        for next in state.hidden_steps() {
            moved = true;
            self.visit(next, returns.clone());
        }
        let mut done = true;
        for (thread, program) in self.programs.iter().enumerate() {
            let Some(call) = program.get(returns[thread].len()) else {
                continue;
            };
            done = false;
            for (next, returned) in state.step(call, self.world) {
                moved = true;
                let mut returns = returns.clone();
                returns[thread].push(returned);
                self.visit(next, returns);
            }
        }
        if done {
            self.outcomes.insert(returns);
        } else if !moved {
            self.stuck = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that can be set and read, and waited for.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Register(u32);

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    enum Call {
        Set(u32),
        Get,
        Await(u32),
    }

    impl Spec for Register {
        type Call = Call;
        type Return = u32;

        fn step(&self, call: &Call, _world: World) -> Vec<(Self, u32)> {
            match *call {
                Call::Set(value) => vec![(Self(value), 0)],
                Call::Get => vec![(self.clone(), self.0)],
                Call::Await(value) if self.0 == value => vec![(self.clone(), value)],
                Call::Await(_) => vec![],
            }
        }
    }

    #[test]
    fn every_order_is_tried() {
        let found = outcomes(
            &Register(0),
            &[vec![Call::Set(1), Call::Set(2)], vec![Call::Get, Call::Get]],
            World::default(),
        );
        let reads: Vec<_> = found
            .unwrap()
            .into_iter()
            .map(|mut returns| returns.remove(1))
            .collect();
        assert_eq!(reads, [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]);
    }

    #[test]
    fn a_program_that_can_get_stuck_is_told() {
        let wait_for_one = vec![Call::Await(1)];
        assert!(
            outcomes(
                &Register(0),
                &[wait_for_one.clone(), vec![Call::Set(1)]],
                World::default()
            )
            .is_some()
        );
        assert!(
            outcomes(
                &Register(0),
                &[wait_for_one, vec![Call::Set(1), Call::Set(2)]],
                World::default()
            )
            .is_none()
        );
    }
}
