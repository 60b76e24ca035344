//! Models of `sync::ring`.

use crate::note::Note;
use metricstream::sync::ring::{Consumer, Producer, ring, ring_from};
use metricstream::sync::shim::thread;
use metricstream_verification::harness::{Bounds, explore};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, Tally, pairs, sequences};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sequential ring: numbered items and a capacity.
///
/// RING-STALE, the weaker outcomes: each side's view of the other may be out of date, though it never goes
/// back. A push may then be refused while the consumer has already made room, and in the same execution a
/// pop may find nothing though that push was refused after others went in. What went in and what came out is
/// never affected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Model {
    capacity: usize,
    origin: usize,
    /// Push calls so far: the next item's number.
    made: u8,
    /// The items that went in and are still inside.
    inside: VecDeque<u8>,
    /// Items that went in and came out, and how many of each the other side knows of.
    pushed: usize,
    popped: usize,
    pushed_seen: usize,
    popped_seen: usize,
}

impl Model {
    fn new(capacity: usize, origin: usize) -> Self {
        Self {
            capacity,
            origin,
            made: 0,
            inside: VecDeque::new(),
            pushed: 0,
            popped: 0,
            pushed_seen: 0,
            popped_seen: 0,
        }
    }

    fn push(mut self) -> (Self, Return) {
        let number = self.made;
        self.made += 1;
        if self.pushed - self.popped_seen == self.capacity {
            return (self, Return::Full);
        }
        self.pushed += 1;
        self.inside.push_back(number);
        (self, Return::Pushed)
    }

    fn pop(mut self) -> (Self, Return) {
        if self.popped == self.pushed_seen {
            return (self, Return::Empty);
        }
        self.popped += 1;
        let number = self.inside.pop_front().expect("a seen item is inside");
        (self, Return::Item(number))
    }

    /// Every view the producer may have of the pops now.
    fn views_of_pops(&self, world: World) -> impl Iterator<Item = Self> {
        let oldest = if world.stale {
            self.popped_seen
        } else {
            self.popped
        };
        (oldest..=self.popped).map(|popped_seen| Self {
            popped_seen,
            ..self.clone()
        })
    }

    /// Every view the consumer may have of the pushes now.
    fn views_of_pushes(&self, world: World) -> impl Iterator<Item = Self> {
        let oldest = if world.stale {
            self.pushed_seen
        } else {
            self.pushed
        };
        (oldest..=self.pushed).map(|pushed_seen| Self {
            pushed_seen,
            ..self.clone()
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    /// Pushes the next number: 0, 1, 2 and so on, those refused included.
    Push,
    Pop,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    Pushed,
    Full,
    Item(u8),
    Empty,
}

impl Spec for Model {
    type Call = Call;
    type Return = Return;

    fn step(&self, call: &Call, world: World) -> Vec<(Self, Return)> {
        match call {
            Call::Push => self.views_of_pops(world).map(Self::push).collect(),
            Call::Pop => self.views_of_pushes(world).map(Self::pop).collect(),
        }
    }
}

/// An item that counts its drops, so that one lost or dropped twice shows.
struct Counted {
    number: u8,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The drops of one execution; checked when the last of the two ends and the test let go of it.
struct Ledger {
    made: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let (made, dropped) = (
                self.made.load(Ordering::Relaxed),
                self.dropped.load(Ordering::Relaxed),
            );
            assert_eq!(made, dropped, "[RING-DROP] {made} items made, {dropped} dropped");
        }
    }
}

/// An end of the ring, dropped before its share of the ledger.
struct End<E> {
    end: E,
    ledger: Arc<Ledger>,
}

impl End<Producer<Counted>> {
    fn push(&mut self) -> Return {
        let made = self.ledger.made.fetch_add(1, Ordering::Relaxed);
        let item = Counted {
            number: u8::try_from(made).unwrap(),
            dropped: Arc::clone(&self.ledger.dropped),
        };
        match self.end.push(item) {
            Ok(()) => Return::Pushed,
            Err(_) => Return::Full,
        }
    }
}

impl End<Consumer<Counted>> {
    fn pop(&mut self) -> Return {
        match self.end.pop() {
            Some(item) => Return::Item(item.number),
            None => Return::Empty,
        }
    }
}

fn actors(model: &Model) -> Vec<Actor<Model>> {
    let (producer, consumer) = ring_from(model.capacity, model.origin);
    let ledger = Arc::new(Ledger {
        made: AtomicUsize::new(0),
        dropped: Arc::default(),
    });
    let mut producer = End {
        end: producer,
        ledger: Arc::clone(&ledger),
    };
    let mut consumer = End {
        end: consumer,
        ledger,
    };
    vec![
        Box::new(move |call, recorder: &mut Recorder<_, _>| recorder.call(call.clone(), |_| producer.push())),
        Box::new(move |call, recorder: &mut Recorder<_, _>| recorder.call(call.clone(), |_| consumer.pop())),
    ]
}

/// RING-FIFO, RING-BOUND, RING-WRAP, RING-DROP and RING-STALE: every number of pushes against every number
/// of pops. The counters begin at `origin`, so near the end of the range they wrap on the way.
fn check_programs(capacity: usize, origin: usize, pushes_max: usize, pops_max: usize) -> Tally {
    let subject = Subject {
        id: "RING-FIFO",
        spec: Model::new(capacity, origin),
        actors,
        steps: |_, call| vec![call.clone()],
        loom_is_blind: |_| false,
    };
    let choices = pairs(
        &sequences(&[Call::Push], pushes_max),
        &sequences(&[Call::Pop], pops_max),
    );
    subject.check(Bounds::PROGRAM.with_dfs(), choices)
}

#[test]
fn programs_of_capacity_one() {
    check_programs(1, 0, 4, 4).expect(25, 19_057, 251, 0, 0);
}

#[test]
fn programs_of_capacity_one_wrapping() {
    check_programs(1, usize::MAX - 1, 4, 4).expect(25, 19_057, 251, 0, 0);
}

#[test]
fn programs_of_capacity_two_wrapping() {
    check_programs(2, usize::MAX - 1, 4, 4).expect(25, 69_371, 186, 36, 0);
}

#[test]
fn programs_of_capacity_four_wrapping() {
    check_programs(4, usize::MAX - 2, 5, 3).expect(24, 37_575, 84, 5, 0);
}

/// RING-HB: what the producer did before the push, the consumer sees after the pop; what the consumer did
/// before the pop, the producer sees when the room it made lets a push through.
#[test]
fn happens_before_in_both_directions() {
    let report = explore(Bounds::SCENARIO.with_dfs(), || {
        let (mut producer, mut consumer) = ring(1);
        let notes = Arc::new([Note::new(), Note::new()]);
        let theirs = Arc::clone(&notes);
        let pushing = thread::spawn("producer", move || {
            theirs[0].write(7);
            assert!(producer.push(0).is_ok());
            // Full until the consumer has taken the first.
            producer.push(1).is_ok().then(|| theirs[1].read())
        })
        .unwrap();
        notes[1].write(9);
        let seen = consumer.pop().map(|_| notes[0].read());
        (pushing.join().unwrap(), seen)
    });
    for (made_room, seen) in &report.outcomes {
        assert!(
            matches!(seen, None | Some(7)),
            "[RING-HB] the consumer read {seen:?}"
        );
        assert!(
            matches!(made_room, None | Some(9)),
            "[RING-HB] the producer read {made_room:?}"
        );
    }
    if report.exhaustive {
        let expected = [(None, None), (None, Some(7)), (Some(9), Some(7))];
        assert_eq!(
            report.outcomes.into_iter().collect::<Vec<_>>(),
            expected,
            "[HONEST-OUTCOMES]"
        );
    }
}

/// Two rings between two threads, one each way. That both find their ring empty is no outcome of a
/// sequentially consistent machine; Release and Acquire allow it, and nothing here promises otherwise. It is
/// the one weaker outcome allowed, and loom has to show it: a checker that never does is not checking the
/// memory model.
#[test]
fn two_rings_are_not_sequentially_consistent() {
    let report = explore(Bounds::SCENARIO.with_dfs(), || {
        let (mut there, mut arriving) = ring(1);
        let (mut back, mut returning) = ring(1);
        let other = thread::spawn("other", move || {
            assert!(there.push(1).is_ok());
            returning.pop()
        })
        .unwrap();
        assert!(back.push(2).is_ok());
        let here = arriving.pop();
        (here, other.join().unwrap())
    });
    let consistent = [(None, Some(2)), (Some(1), None), (Some(1), Some(2))];
    let weaker = (None, None);
    for outcome in &report.outcomes {
        assert!(
            consistent.contains(outcome) || *outcome == weaker && !cfg!(metricstream_shuttle),
            "[RING-FIFO] {outcome:?}"
        );
    }
    if report.exhaustive {
        assert!(
            consistent.iter().all(|outcome| report.outcomes.contains(outcome)),
            "[HONEST-OUTCOMES]"
        );
    }
    if cfg!(metricstream_loom) {
        assert!(
            report.outcomes.contains(&weaker),
            "[HONEST-WEAK] loom shows no weaker outcome"
        );
    }
}
