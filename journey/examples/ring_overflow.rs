//! Lesson 5.3: a full ring. Either the new item is dropped and counted, or the old one is overwritten while
//! somebody may be reading it.

use std::process::ExitCode;

use metricstream::sync::ring::ring;
use metricstream::sync::shim::atomic::{AtomicUsize, Ordering};
use metricstream::sync::shim::{Arc, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

/// The product's ring: three events, room for two, a consumer that may be slow.
fn drop_and_count() -> Explored {
    lesson::explore(|| {
        let (mut producer, mut consumer) = ring(2);
        let recording = thread::spawn("recording", move || {
            (1..=3).filter(|event| producer.push(*event).is_err()).count()
        })
        .expect("a thread");
        let mut seen: Vec<u32> = consumer.pop().into_iter().collect();
        let dropped = recording.join().expect("it ends");
        seen.extend(std::iter::from_fn(|| consumer.pop()));
        assert!(seen.is_sorted(), "[LESSON] in the order in which they went in");
        assert_eq!(
            seen.len() + dropped,
            3,
            "[LESSON] every event is seen or counted as dropped"
        );
        (seen, dropped)
    })
}

/// A ring of two slots whose producer never looks where the consumer is.
fn overwrite() -> Explored {
    lesson::explore(|| {
        let shared = Arc::new((AtomicUsize::new(0), [AtomicUsize::new(0), AtomicUsize::new(0)]));
        let theirs = Arc::clone(&shared);
        let recording = thread::spawn("recording", move || {
            let (pushed, slots) = &*theirs;
            for event in 1..=3 {
                slots[(event - 1) % 2].store(event, Ordering::Release);
                pushed.store(event, Ordering::Release);
            }
        })
        .expect("a thread");
        let (pushed, slots) = &*shared;
        let events = pushed.load(Ordering::Acquire).min(2);
        let seen: Vec<_> = (0..events)
            .map(|number| slots[number].load(Ordering::Acquire))
            .collect();
        assert!(
            seen.is_sorted(),
            "[LESSON] in the order in which they went in, not {seen:?}"
        );
        recording.join().expect("it ends");
        seen
    })
}

fn main() -> ExitCode {
    lesson::main(
        "ring_overflow",
        &[
            Variant {
                name: "right",
                about: "a full ring refuses the new event, and that is counted",
                run: drop_and_count,
            },
            Variant {
                name: "wrong",
                about: "a full ring overwrites the oldest event",
                run: overwrite,
            },
        ],
    )
}
