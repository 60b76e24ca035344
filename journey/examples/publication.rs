//! Lesson 5.2: a flag that says "it is there" has to carry what it speaks of with it.
//!
//! One thread stores a value and raises a flag; the other sees the flag and reads the value.

use std::process::ExitCode;

use metricstream::sync::shim::atomic::{AtomicBool, AtomicU64, Ordering};
use metricstream::sync::shim::{Arc, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

fn publish(raise: Ordering, look: Ordering) -> Explored {
    lesson::explore(move || {
        let shared = Arc::new((AtomicU64::new(0), AtomicBool::new(false)));
        let theirs = Arc::clone(&shared);
        let publisher = thread::spawn("publisher", move || {
            let (value, flag) = &*theirs;
            value.store(42, Ordering::Relaxed);
            flag.store(true, raise);
        })
        .expect("a thread");
        let (value, flag) = &*shared;
        let seen = flag.load(look).then(|| value.load(Ordering::Relaxed));
        assert_ne!(
            seen,
            Some(0),
            "[LESSON] the flag is up and the value is not there"
        );
        publisher.join().expect("it ends");
        seen
    })
}

fn main() -> ExitCode {
    lesson::main(
        "publication",
        &[
            Variant {
                name: "right",
                about: "raised with Release, looked at with Acquire",
                run: || publish(Ordering::Release, Ordering::Acquire),
            },
            Variant {
                name: "wrong",
                about: "raised with Relaxed, looked at with Relaxed",
                run: || publish(Ordering::Relaxed, Ordering::Relaxed),
            },
            Variant {
                name: "wrong-raise",
                about: "raised with Relaxed, looked at with Acquire",
                run: || publish(Ordering::Relaxed, Ordering::Acquire),
            },
            Variant {
                name: "wrong-look",
                about: "raised with Release, looked at with Relaxed",
                run: || publish(Ordering::Release, Ordering::Relaxed),
            },
        ],
    )
}
