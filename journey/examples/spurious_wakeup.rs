//! Lesson 2.2: a wait may return though nobody notified.
//!
//! One taker, one item, one notification after it: here `if` is wrong only because of wake-ups without a
//! reason. No checker makes them by itself; the product's shim does, one wait at a time.

use std::process::ExitCode;

use metricstream::sync::shim::{Arc, Condvar, Mutex, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

fn one_taker(looks_again: bool) -> Explored {
    lesson::explore(move || {
        let shelf = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&shelf);
        let taker = thread::spawn("taker", move || {
            let (full, filled) = &*theirs;
            let guard = full.lock();
            let guard = if looks_again {
                filled.wait_while("LESSON_WAIT", guard, |full| !*full)
            } else {
                lesson::wait_if(filled, guard, |full| !*full)
            };
            assert!(*guard, "[LESSON] woken for no reason: nobody has filled it");
        })
        .expect("a thread");
        let (full, filled) = &*shelf;
        *full.lock() = true;
        filled.notify_one("LESSON_FILLED");
        taker.join().expect("it ends");
    })
}

fn main() -> ExitCode {
    lesson::main(
        "spurious_wakeup",
        &[
            Variant {
                name: "right",
                about: "looks again when it wakes",
                run: || one_taker(true),
            },
            Variant {
                name: "wrong",
                about: "believes that whoever wakes was woken",
                run: || one_taker(false),
            },
        ],
    )
}
