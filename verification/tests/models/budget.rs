//! Models of `server::budget`: what all connections have reserved never exceeds the bound.

use metricstream::server::budget::{Budget, Reserved};
use metricstream::sync::shim::Arc as ShimArc;
use metricstream_verification::harness::Bounds;
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, pairs, sequences};

const LIMIT: usize = 2;

/// The sequential budget: what each thread has, and every sum there has been.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Model {
    held: [usize; 2],
    /// The sums so far, oldest first. BUDGET-STALE: a reservation may be refused because of a sum that was
    /// true and is no more. It is never granted because of one.
    sums: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Resize {
    thread: usize,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    Done,
    Exhausted,
}

impl Spec for Model {
    type Call = Resize;
    type Return = Return;

    fn step(&self, call: &Resize, world: World) -> Vec<(Self, Return)> {
        let held = self.held[call.thread];
        let sum = self.held.iter().sum::<usize>();
        let mut steps = Vec::new();
        let exceeds = |sum: usize| call.bytes > held && sum - held + call.bytes > LIMIT;
        if !exceeds(sum) {
            let mut next = self.clone();
            next.held[call.thread] = call.bytes;
            next.sums.push(next.held.iter().sum());
            steps.push((next, Return::Done));
        }
        // A thread's own share is in every sum it can still see.
        let stale = self.sums.iter().filter(|&&old| world.stale && old >= held);
        if exceeds(sum) || stale.copied().any(exceeds) {
            steps.push((self.clone(), Return::Exhausted));
        }
        steps
    }
}

fn actor(mut reserved: Reserved) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Resize, Return>| {
        recorder.call(*call, |call| match reserved.resize(call.bytes) {
            Ok(()) => Return::Done,
            Err(exhausted) => {
                assert!(exhausted.seen > exhausted.limit, "[BUDGET-BOUND] {exhausted:?}");
                Return::Exhausted
            }
        });
    })
}

/// BUDGET-BOUND: every pair of programs of two resizes.
#[test]
fn all_programs_of_two_calls() {
    let subject = Subject {
        id: "BUDGET-BOUND",
        spec: Model {
            held: [0; 2],
            sums: vec![0],
        },
        actors: |_| {
            let budget = ShimArc::new(Budget::new(LIMIT));
            (0..2).map(|_| actor(Budget::reserve_none(&budget))).collect()
        },
        steps: |_, call| vec![*call],
        // Every thread both reads and changes the one sum.
        loom_is_blind: |_| true,
    };
    // At its end a thread's reservation is dropped; each program says so itself, with a last call.
    let programs = |thread| -> Vec<Vec<Resize>> {
        let calls = [0, 1, 2].map(|bytes| Resize { thread, bytes });
        let end = Resize { thread, bytes: 0 };
        let programs = sequences(&calls, 2).into_iter();
        programs.map(|program| [program, vec![end]].concat()).collect()
    };
    subject
        .check(
            Bounds::PROGRAM.with_dfs().without_pct(),
            pairs(&programs(0), &programs(1)),
        )
        .expect(169, 108_453, 400, 8, 8);
}
