//! Models of `sync::watermark`.

use crate::note::Note;
use metricstream::sync::shim::thread;
use metricstream::sync::watermark::{Closed, Watermark};
use metricstream_verification::harness::{Bounds, explore};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, sequences, unordered_pairs};
use std::sync::Arc;
use std::time::Duration;

/// The sequential watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model {
    reached: u64,
    closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Advance(u64),
    Get,
    Wait(u64),
    WaitTimeout(u64),
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    Done,
    At(u64),
    Reached,
    Late,
    Closed(u64),
}

impl Spec for Model {
    type Call = Call;
    type Return = Return;

    fn step(&self, call: &Call, world: World) -> Vec<(Self, Return)> {
        let wait = |position: u64| {
            if self.reached >= position {
                Some((self.clone(), Return::Reached))
            } else {
                self.closed.then(|| (self.clone(), Return::Closed(self.reached)))
            }
        };
        match *call {
            Call::Advance(to) if to > self.reached && !self.closed => vec![(
                Self {
                    reached: to,
                    ..self.clone()
                },
                Return::Done,
            )],
            Call::Advance(_) => vec![(self.clone(), Return::Done)],
            Call::Get => vec![(self.clone(), Return::At(self.reached))],
            Call::Close => vec![(
                Self {
                    closed: true,
                    ..self.clone()
                },
                Return::Done,
            )],
            Call::Wait(position) => wait(position).into_iter().collect(),
            Call::WaitTimeout(position) => {
                let waiting = self.reached < position && !self.closed;
                let late = (world.late && waiting).then(|| (self.clone(), Return::Late));
                wait(position).into_iter().chain(late).collect()
            }
        }
    }
}

fn wait_outcome(result: Result<bool, Closed>) -> Return {
    match result {
        Ok(true) => Return::Reached,
        Ok(false) => Return::Late,
        Err(Closed { reached }) => Return::Closed(reached),
    }
}

fn actor(watermark: Arc<Watermark>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, Return>| {
        recorder.call(call.clone(), |call| match *call {
            Call::Advance(to) => {
                watermark.advance(to);
                Return::Done
            }
            Call::Get => Return::At(watermark.get()),
            Call::Wait(position) => wait_outcome(watermark.wait(position).map(|()| true)),
            Call::WaitTimeout(position) => {
                wait_outcome(watermark.wait_timeout(position, Duration::from_micros(100)))
            }
            Call::Close => {
                watermark.close();
                Return::Done
            }
        });
    })
}

fn subject(threads: usize) -> Subject<Model> {
    fn make(threads: usize) -> Vec<Actor<Model>> {
        let watermark = Arc::new(Watermark::new(0));
        (0..threads).map(|_| actor(Arc::clone(&watermark))).collect()
    }
    Subject {
        id: "WATERMARK-WAKES",
        spec: Model::default(),
        actors: if threads == 2 { |_| make(2) } else { |_| make(3) },
        steps: |_, call| vec![call.clone()],
        loom_is_blind: |programs| {
            let loads = |call: &Call| matches!(call, Call::Get | Call::Wait(_) | Call::WaitTimeout(_));
            let stores = |call: &Call| matches!(call, Call::Advance(_));
            programs
                .iter()
                .any(|program| program.iter().any(loads) && program.iter().any(stores))
        },
    }
}

/// WATERMARK-RISES and WATERMARK-WAKES: every pair of programs of up to two calls that cannot rightly wait
/// for ever.
#[test]
fn all_programs_of_two_calls() {
    let alphabet = [
        Call::Advance(1),
        Call::Advance(2),
        Call::Get,
        Call::Wait(1),
        Call::Wait(2),
        Call::WaitTimeout(1),
        Call::Close,
    ];
    subject(2)
        .check(
            Bounds::PROGRAM.with_dfs(),
            unordered_pairs(&sequences(&alphabet, 2)),
        )
        .expect(1653, 60_425, 1372, 0, 15);
}

/// The same with three threads of one call: two that wait and one that lets them go.
#[test]
fn two_waiters() {
    let choices = vec![
        vec![vec![Call::Wait(2)], vec![Call::Wait(2)], vec![Call::Advance(2)]],
        vec![vec![Call::Wait(2)], vec![Call::Wait(2)], vec![Call::Close]],
        vec![
            vec![Call::Wait(1)],
            vec![Call::WaitTimeout(2)],
            vec![Call::Advance(1), Call::Close],
        ],
    ];
    subject(3)
        .check(Bounds::PROGRAM, choices)
        .expect(3, 186_298, 3, 0, 0);
}

/// WATERMARK-HB: what was done before the position was reached is seen by one who reads the position,
/// without a lock, and by one who waits for it.
#[test]
fn happens_before() {
    for waiting in [false, true] {
        let report = explore(Bounds::SCENARIO.with_dfs(), move || {
            let watermark = Arc::new(Watermark::new(0));
            let note = Arc::new(Note::new());
            let writer = {
                let (watermark, note) = (Arc::clone(&watermark), Arc::clone(&note));
                thread::spawn("writer", move || {
                    note.write(7);
                    watermark.advance(1);
                })
                .unwrap()
            };
            let reached = if waiting {
                watermark.wait(1).is_ok()
            } else {
                watermark.get() >= 1
            };
            let seen = reached.then(|| note.read());
            writer.join().unwrap();
            seen
        });
        let expected = if waiting {
            vec![Some(7)]
        } else {
            vec![None, Some(7)]
        };
        assert!(
            report.outcomes.iter().all(|seen| expected.contains(seen)),
            "[WATERMARK-HB] {report:?}"
        );
        if report.exhaustive {
            assert_eq!(
                report.outcomes.into_iter().collect::<Vec<_>>(),
                expected,
                "[HONEST-OUTCOMES]"
            );
        }
    }
}
