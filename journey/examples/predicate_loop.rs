//! Lesson 2.1: a wait looks at its predicate again when it wakes.
//!
//! Two takers wait for one item. Both are woken; the second finds that the first was quicker.

use std::process::ExitCode;

use metricstream::sync::shim::{Arc, Condvar, Mutex, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

/// Items, and somebody to tell when there are more.
struct Shelf {
    items: Mutex<u32>,
    more: Condvar,
}

fn two_takers(looks_again: bool) -> Explored {
    lesson::explore(move || {
        let shelf = Arc::new(Shelf {
            items: Mutex::new(0),
            more: Condvar::new(),
        });
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let shelf = Arc::clone(&shelf);
                let take = move || {
                    let items = shelf.items.lock();
                    let mut items = if looks_again {
                        shelf.more.wait_while("LESSON_WAIT", items, |items| *items == 0)
                    } else {
                        lesson::wait_if(&shelf.more, items, |items| *items == 0)
                    };
                    assert!(*items > 0, "[LESSON] woken, and there is nothing to take");
                    *items -= 1;
                };
                thread::spawn("taker", take).expect("a thread")
            })
            .collect();
        for _ in 0..2 {
            *shelf.items.lock() += 1;
            shelf.more.notify_all("LESSON_MORE");
        }
        for taker in takers {
            taker.join().expect("it ends");
        }
        *shelf.items.lock()
    })
}

fn main() -> ExitCode {
    lesson::main(
        "predicate_loop",
        &[
            Variant {
                name: "right",
                about: "while there is nothing, wait",
                run: || two_takers(true),
            },
            Variant {
                name: "wrong",
                about: "if there is nothing, wait",
                run: || two_takers(false),
            },
        ],
    )
}
