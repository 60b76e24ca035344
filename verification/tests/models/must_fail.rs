//! The faults of naive designs: each is caught by the model that the real module passes, in the same bounds.
//!
//! Each seeded fault is a test of its own that fails on purpose; they are ignored, and
//! [`every_seeded_fault_is_caught`] runs each in a process of its own and looks at how it failed.

#![allow(unsafe_code, reason = "some of the faults are only possible with it")]

use crate::mutex_pool::{Counters, STRIPES};
use crate::rules::{Pair, Rules};
use crate::stop::Flag;
use crate::thread_pool::{Noting, Pool};
use crate::{child, mutex_pool, rules, stop, thread_pool};
use metricstream::sync::ring::{Producer, ring};
use metricstream::sync::shim::atomic::{AtomicBool, AtomicUsize, Ordering};
use metricstream::sync::shim::cell::UnsafeCell;
use metricstream::sync::shim::{Condvar, Mutex, thread};
use metricstream::sync::thread_pool::{Refused, Worker};
use metricstream_verification::harness::{Bounds, explore};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Each fault and how it has to show.
const FAULTS: [(&str, &str); 9] = [
    ("map_beside_its_locks", "causality violation"),
    ("two_producers", "causality violation"),
    ("lapped_reader", "causality violation"),
    ("locks_in_any_order", "deadlock"),
    ("if_for_while", "named assertion"),
    ("flag_set_outside_the_lock", "deadlock"),
    ("queue_left_at_stop", "named assertion"),
    ("count_raised_before_the_lock", "named assertion"),
    ("rules_replaced_in_parts", "named assertion"),
];

#[test]
fn every_seeded_fault_is_caught() {
    for (fault, class) in FAULTS {
        let failure = child::run(&format!("must_fail::{fault}"), &[], true);
        let failure = failure.unwrap_or_else(|| panic!("[MUST-FAIL] {fault} was not noticed"));
        assert_eq!(failure.class, class, "[MUST-FAIL] {fault}: {failure:?}");
        println!("{fault}: {class}: {}", failure.message);
    }
}

/// One map shared by all, and an array of locks beside it: whoever holds "its" lock changes everybody's map.
struct MapBesideItsLocks {
    locks: [Mutex<()>; STRIPES],
    map: UnsafeCell<[u32; STRIPES]>,
}

// SAFETY: none; that is the fault.
unsafe impl Sync for MapBesideItsLocks {}

impl Counters for MapBesideItsLocks {
    fn new() -> Self {
        Self {
            locks: std::array::from_fn(|_| Mutex::new(())),
            map: UnsafeCell::new([0; STRIPES]),
        }
    }

    fn add(&self, key: u64) -> u32 {
        let stripe = usize::try_from(key).unwrap() % STRIPES;
        let _held = self.locks[stripe].lock();
        self.map.with_mut(|map| {
            // SAFETY: none; that is the fault.
            let map = unsafe { &mut *map };
            map[stripe] += 1;
            map[stripe] - 1
        })
    }

    fn walk(&self, mut visit: impl FnMut(u32)) {
        for (stripe, lock) in self.locks.iter().enumerate() {
            let _held = lock.lock();
            // SAFETY: none; that is the fault.
            visit(self.map.with(|map| unsafe { (*map)[stripe] }));
        }
    }
}

#[test]
#[ignore = "fails on purpose"]
fn map_beside_its_locks() {
    mutex_pool::programs::<MapBesideItsLocks>(3);
}

/// `add` takes its stripe and then the journal; `walk` takes the journal and then the stripes.
struct LocksInAnyOrder {
    stripes: [Mutex<u32>; STRIPES],
    journal: Mutex<u32>,
}

impl Counters for LocksInAnyOrder {
    fn new() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::new(0)),
            journal: Mutex::new(0),
        }
    }

    fn add(&self, key: u64) -> u32 {
        let mut count = self.stripes[usize::try_from(key).unwrap() % STRIPES].lock();
        *self.journal.lock() += 1;
        *count += 1;
        *count - 1
    }

    fn walk(&self, mut visit: impl FnMut(u32)) {
        let _journal = self.journal.lock();
        for stripe in &self.stripes {
            visit(*stripe.lock());
        }
    }
}

#[test]
#[ignore = "fails on purpose"]
fn locks_in_any_order() {
    mutex_pool::programs::<LocksInAnyOrder>(3);
}

/// One producer end in two threads' hands.
struct Stolen(std::cell::UnsafeCell<Producer<u32>>);

// SAFETY: none; that is the fault.
unsafe impl Sync for Stolen {}
// SAFETY: a producer may change threads.
unsafe impl Send for Stolen {}

impl Stolen {
    fn push(&self, item: u32) -> bool {
        // SAFETY: none; that is the fault.
        let producer = unsafe { &mut *self.0.get() };
        producer.push(item).is_ok()
    }
}

#[test]
#[ignore = "fails on purpose"]
fn two_producers() {
    explore(Bounds::SCENARIO, || {
        let (producer, mut consumer) = ring(2);
        let producer = Arc::new(Stolen(std::cell::UnsafeCell::new(producer)));
        let pushing: Vec<_> = (0..2)
            .map(|item| {
                let producer = Arc::clone(&producer);
                thread::spawn("producer", move || producer.push(item)).unwrap()
            })
            .collect();
        let popped = [consumer.pop(), consumer.pop()];
        for thread in pushing {
            assert!(thread.join().unwrap(), "[RING-BOUND] there was room");
        }
        popped
    });
}

/// A ring of one slot that never looks where its reader is.
struct Lapping {
    pushed: AtomicUsize,
    slot: UnsafeCell<usize>,
}

// SAFETY: none; that is the fault.
unsafe impl Sync for Lapping {}

#[test]
#[ignore = "fails on purpose"]
fn lapped_reader() {
    explore(Bounds::SCENARIO, || {
        let ring = Arc::new(Lapping {
            pushed: AtomicUsize::new(0),
            slot: UnsafeCell::new(0),
        });
        let theirs = Arc::clone(&ring);
        let producer = thread::spawn("producer", move || {
            for item in 1..=2 {
                // SAFETY: none; that is the fault.
                theirs.slot.with_mut(|slot| unsafe { *slot = item });
                theirs.pushed.store(item, Ordering::Release);
            }
        })
        .unwrap();
        if ring.pushed.load(Ordering::Acquire) > 0 {
            // SAFETY: none; that is the fault.
            ring.slot.with(|slot| unsafe { *slot });
        }
        producer.join().unwrap();
    });
}

/// A flag whose waiters look once, or whose request is made without the lock.
struct FaultyStop<const LOOKS_ONCE: bool, const LOCKED: bool> {
    requested: AtomicBool,
    lock: Mutex<()>,
    raised: Condvar,
}

impl<const LOOKS_ONCE: bool, const LOCKED: bool> Flag for FaultyStop<LOOKS_ONCE, LOCKED> {
    fn new() -> Self {
        Self {
            requested: AtomicBool::new(false),
            lock: Mutex::new(()),
            raised: Condvar::new(),
        }
    }

    fn request(&self) {
        let held = LOCKED.then(|| self.lock.lock());
        self.requested.store(true, Ordering::Release);
        drop(held);
        self.raised.notify_all("FAULTY");
    }

    fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    fn wait(&self) {
        let mut looked = false;
        let _held = self.raised.wait_while("FAULTY", self.lock.lock(), |()| {
            !std::mem::replace(&mut looked, LOOKS_ONCE) && !self.is_requested()
        });
    }

    fn wait_timeout(&self, timeout: Duration) -> bool {
        let held = self.lock.lock();
        let unready = |_: &mut ()| !self.is_requested();
        let _held = self.raised.wait_timeout_while("FAULTY", held, timeout, unready);
        self.is_requested()
    }
}

#[test]
#[ignore = "fails on purpose"]
fn if_for_while() {
    stop::programs::<FaultyStop<true, true>>(2);
}

#[test]
#[ignore = "fails on purpose"]
fn flag_set_outside_the_lock() {
    stop::programs::<FaultyStop<false, false>>(2);
}

/// A pool whose workers go as soon as it is stopped.
struct Leaving {
    shared: Arc<(Mutex<LeavingState>, Condvar)>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    queue_jobs_max: usize,
}

struct LeavingState {
    queue: VecDeque<u8>,
    stopped: bool,
}

impl Pool for Leaving {
    fn start(workers: Vec<Noting>, queue_jobs_max: usize) -> Self {
        let state = LeavingState {
            queue: VecDeque::new(),
            stopped: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let start = |mut worker: Noting| {
            let shared = Arc::clone(&shared);
            thread::spawn("worker", move || {
                loop {
                    let state = shared.0.lock();
                    let mut state = shared
                        .1
                        .wait_while("FAULTY", state, |state| state.queue.is_empty() && !state.stopped);
                    if state.stopped {
                        return;
                    }
                    let job = state.queue.pop_front().unwrap();
                    drop(state);
                    worker.run(job);
                }
            })
            .unwrap()
        };
        let threads = Mutex::new(workers.into_iter().map(start).collect());
        Self {
            shared,
            threads,
            queue_jobs_max,
        }
    }

    fn submit(&self, job: u8) -> Result<(), Refused<u8>> {
        let mut state = self.shared.0.lock();
        if state.stopped {
            return Err(Refused::Stopped(job));
        }
        if state.queue.len() == self.queue_jobs_max {
            return Err(Refused::Full(job));
        }
        state.queue.push_back(job);
        drop(state);
        self.shared.1.notify_one("FAULTY");
        Ok(())
    }

    fn queue_depth(&self) -> usize {
        self.shared.0.lock().queue.len()
    }

    fn drain(&self) {
        self.shared.0.lock().stopped = true;
        self.shared.1.notify_all("FAULTY");
        for thread in self.threads.lock().drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
#[ignore = "fails on purpose"]
fn queue_left_at_stop() {
    thread_pool::one_submitter::<Leaving>(3);
}

/// Rules that are counted before the lock is taken: who looks in between takes the old ones for the new.
struct CountedEarly {
    replacements: AtomicUsize,
    pair: Mutex<Pair>,
}

impl Rules for CountedEarly {
    type View = (usize, Pair);

    fn new(pair: Pair) -> Self {
        Self {
            replacements: AtomicUsize::new(0),
            pair: Mutex::new(pair),
        }
    }

    fn replace(&self, pair: Pair) {
        self.replacements.fetch_add(1, Ordering::Relaxed);
        *self.pair.lock() = pair;
    }

    fn view(&self) -> (usize, Pair) {
        let pair = self.pair.lock();
        (self.replacements.load(Ordering::Relaxed), *pair)
    }

    fn refresh(&self, view: &mut (usize, Pair)) {
        if self.replacements.load(Ordering::Relaxed) != view.0 {
            *view = self.view();
        }
    }

    fn read(view: &(usize, Pair)) -> Pair {
        view.1
    }
}

#[test]
#[ignore = "fails on purpose"]
fn count_raised_before_the_lock() {
    rules::told::<CountedEarly>(1, 2);
}

/// Rules whose parts have a lock each.
struct InParts([Mutex<u8>; 2]);

impl Rules for InParts {
    type View = Pair;

    fn new(pair: Pair) -> Self {
        Self(pair.map(Mutex::new))
    }

    fn replace(&self, pair: Pair) {
        for (part, value) in self.0.iter().zip(pair) {
            *part.lock() = value;
        }
    }

    fn view(&self) -> Pair {
        [*self.0[0].lock(), *self.0[1].lock()]
    }

    fn refresh(&self, view: &mut Pair) {
        *view = self.view();
    }

    fn read(view: &Pair) -> Pair {
        *view
    }
}

#[test]
#[ignore = "fails on purpose"]
fn rules_replaced_in_parts() {
    rules::told::<InParts>(1, 2);
}
