//! Lesson 5.3: why a ring for one producer has one producer.
//!
//! `wrong` is the ring's algorithm with the ownership taken away: two threads push on the same one.

use std::process::ExitCode;

use metricstream::sync::ring::ring;
use metricstream::sync::shim::atomic::{AtomicUsize, Ordering};
use metricstream::sync::shim::{Arc, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

/// Room for two, and a tail that each pusher reads and then writes.
struct Shared {
    tail: AtomicUsize,
    slots: [AtomicUsize; 2],
}

impl Shared {
    fn push(&self, item: usize) {
        let tail = self.tail.load(Ordering::Acquire);
        self.slots[tail % 2].store(item, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
    }
}

fn one_ring_for_both() -> Explored {
    lesson::explore(|| {
        let shared = Arc::new(Shared {
            tail: AtomicUsize::new(0),
            slots: [AtomicUsize::new(0), AtomicUsize::new(0)],
        });
        let theirs = Arc::clone(&shared);
        let other = thread::spawn("other", move || theirs.push(1)).expect("a thread");
        shared.push(2);
        other.join().expect("it ends");
        let items = shared.tail.load(Ordering::Acquire);
        assert_eq!(items, 2, "[LESSON] two items were pushed, and one is gone");
        items
    })
}

fn a_ring_each() -> Explored {
    lesson::explore(|| {
        let ((mut mine, mut first), (mut theirs, mut second)) = (ring(2), ring(2));
        let other = thread::spawn("other", move || theirs.push(1).is_ok()).expect("a thread");
        assert!(mine.push(2).is_ok(), "there is room");
        assert!(other.join().expect("it ends"), "there is room");
        let items = (first.pop(), second.pop());
        assert_eq!(items, (Some(2), Some(1)), "[LESSON] both items come out");
        items
    })
}

fn main() -> ExitCode {
    lesson::main(
        "two_producers",
        &[
            Variant {
                name: "right",
                about: "each thread owns the producer of a ring of its own",
                run: a_ring_each,
            },
            Variant {
                name: "wrong",
                about: "both threads push on one ring",
                run: one_ring_for_both,
            },
        ],
    )
}
