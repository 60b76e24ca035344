//! Models of `log::queue`, the hand-over to the log's writer.

use metricstream::log::queue::{Group, Queue, Taken};
use metricstream::log::{Appended, Level, Refusal};
use metricstream::sync::shim::thread;
use metricstream_verification::harness::{Bounds, explore};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, pairs, sequences};
use std::sync::Arc;
use std::time::Duration;

/// Most batches that wait, in the programs.
const BATCHES_MAX: u64 = 2;

/// The sequential queue: the positions accepted and not taken are those from `taken` to `accepted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model {
    producers: usize,
    accepted: u64,
    taken: u64,
    stopped: bool,
    nudged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Push,
    Stop,
    Nudge,
    Take,
    TakeTimed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    At(u64),
    Full,
    Stopped,
    Nudged,
    /// All of these positions, in order.
    Group(Vec<u64>),
    Nothing,
    End,
}

impl Spec for Model {
    type Call = Call;
    type Return = Return;

    fn step(&self, call: &Call, world: World) -> Vec<(Self, Return)> {
        let mut next = self.clone();
        let idle = self.taken == self.accepted;
        match call {
            Call::Push if self.stopped => vec![(next, Return::Stopped)],
            Call::Push if self.accepted - self.taken == BATCHES_MAX => vec![(next, Return::Full)],
            Call::Push => {
                next.accepted += 1;
                vec![(next.clone(), Return::At(next.accepted))]
            }
            Call::Stop => {
                next.stopped = true;
                vec![(next, Return::Stopped)]
            }
            Call::Nudge => {
                next.nudged = true;
                vec![(next, Return::Nudged)]
            }
            Call::Take | Call::TakeTimed if !idle => {
                next.taken = self.accepted;
                next.nudged = false;
                vec![(next, Return::Group((self.taken + 1..=self.accepted).collect()))]
            }
            Call::Take | Call::TakeTimed if self.stopped => {
                next.nudged = false;
                vec![(next, Return::End)]
            }
            Call::Take | Call::TakeTimed if self.nudged => {
                next.nudged = false;
                vec![(next, Return::Nothing)]
            }
            Call::TakeTimed if world.late => vec![(next, Return::Nothing)],
            Call::Take | Call::TakeTimed => vec![],
        }
    }
}

fn push(queue: &Queue<()>) -> Return {
    match queue.push(b"{}\n", 1, Level::Written, ()) {
        Ok(Appended::Pending(position)) => Return::At(position.get()),
        Ok(Appended::Acknowledged(())) => panic!("[LOG_QUEUE-ONCE] acknowledged before it was written"),
        Err(refused) => match refused.refusal {
            Refusal::Stopped => Return::Stopped,
            Refusal::FullOfBatches { .. } => Return::Full,
            other => panic!("[LOG_QUEUE-BOUND] {other}"),
        },
    }
}

fn take(queue: &Queue<()>, timeout: Option<Duration>) -> Return {
    let mut group = Group::new();
    match queue.take(&mut group, timeout) {
        Taken::Group => Return::Group(
            group
                .drain_tokens()
                .map(|(position, ())| position.get())
                .collect(),
        ),
        Taken::Nothing => Return::Nothing,
        Taken::End => Return::End,
    }
}

fn actor(queue: Arc<Queue<()>>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, Return>| {
        recorder.call(call.clone(), |call| match call {
            Call::Push => push(&queue),
            Call::Stop => {
                queue.stop();
                Return::Stopped
            }
            Call::Nudge => {
                queue.nudge();
                Return::Nudged
            }
            Call::Take => take(&queue, None),
            Call::TakeTimed => take(&queue, Some(Duration::from_micros(100))),
        });
    })
}

fn subject(producers: usize) -> Subject<Model> {
    Subject {
        id: "LOG_QUEUE-ONCE",
        spec: Model {
            producers,
            ..Model::default()
        },
        actors: |model| {
            let queue = Arc::new(Queue::new(64, usize::try_from(BATCHES_MAX).unwrap()));
            (0..=model.producers).map(|_| actor(Arc::clone(&queue))).collect()
        },
        steps: |_, call| vec![call.clone()],
        loom_is_blind: |_| false,
    }
}

/// LOG_QUEUE-ONCE, LOG_QUEUE-BOUND and LOG_QUEUE-WAKES: every program of up to three pushes, stops and
/// nudges against every program of up to two takes that cannot rightly wait for ever.
#[test]
fn one_producer() {
    let choices = pairs(
        &sequences(&[Call::Push, Call::Stop, Call::Nudge], 3),
        &sequences(&[Call::Take, Call::TakeTimed], 2),
    );
    subject(1)
        .check(Bounds::PROGRAM.with_dfs(), choices)
        .expect(280, 42_379, 288, 0, 0);
}

/// The same with two producers of one call each and a writer.
#[test]
fn two_producers() {
    let calls = [vec![Call::Push], vec![Call::Stop], vec![Call::Nudge]];
    let takes = [vec![Call::Take], vec![Call::Take, Call::Take]];
    let choices = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        .into_iter()
        .flat_map(|(a, b)| takes.iter().map(move |take| (a, b, take)))
        .map(|(a, b, take)| vec![calls[a].clone(), calls[b].clone(), take.clone()])
        .collect();
    subject(2)
        .check(Bounds::PROGRAM, choices)
        .expect(12, 20_436, 17, 0, 0);
}

/// LOG_QUEUE-ONCE to the end: a writer that takes until the end gets every batch accepted, in order, whenever
/// the stop comes.
#[test]
fn nothing_accepted_is_left_at_the_stop() {
    let report = explore(Bounds::SCENARIO, || {
        let queue = Arc::new(Queue::new(64, 4));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn("producer", move || (push(&theirs), push(&theirs))).unwrap();
        let theirs = Arc::clone(&queue);
        let stopper = thread::spawn("stopper", move || theirs.stop()).unwrap();
        let mut got = Vec::new();
        loop {
            match take(&queue, None) {
                Return::Group(positions) => got.extend(positions),
                Return::End => break,
                other => panic!("[LOG_QUEUE-ONCE] {other:?}"),
            }
        }
        stopper.join().unwrap();
        let (first, second) = producer.join().unwrap();
        let accepted: Vec<u64> = [first, second]
            .into_iter()
            .filter_map(|pushed| {
                if let Return::At(position) = pushed {
                    Some(position)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(got, accepted, "[LOG_QUEUE-ONCE] taken and accepted differ");
        accepted.len()
    });
    if report.exhaustive {
        assert_eq!(
            report.outcomes.into_iter().collect::<Vec<_>>(),
            [0, 1, 2],
            "[HONEST-OUTCOMES]"
        );
    }
}
