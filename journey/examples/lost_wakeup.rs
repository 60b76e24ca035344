//! Lesson 2.3: what a waiter looks at is changed under the waiter's lock, or the notification can come
//! between its look and its sleep.

use std::process::ExitCode;

use metricstream::sync::shim::atomic::{AtomicBool, Ordering};
use metricstream::sync::shim::{Arc, Condvar, Mutex, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

struct Flag {
    raised: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

fn one_waiter(raised_under_the_lock: bool) -> Explored {
    lesson::explore(move || {
        let flag = Arc::new(Flag {
            raised: AtomicBool::new(false),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&flag);
        let waiter = thread::spawn("waiter", move || {
            let lock = theirs.lock.lock();
            let _lock = theirs
                .changed
                .wait_while("LESSON_WAIT", lock, |()| !theirs.raised.load(Ordering::Acquire));
        })
        .expect("a thread");
        let lock = raised_under_the_lock.then(|| flag.lock.lock());
        flag.raised.store(true, Ordering::Release);
        drop(lock);
        flag.changed.notify_one("LESSON_RAISED");
        // If the waiter sleeps for ever, so does this; the checker calls it a deadlock.
        waiter.join().expect("it ends");
    })
}

fn main() -> ExitCode {
    lesson::main(
        "lost_wakeup",
        &[
            Variant {
                name: "right",
                about: "raises the flag with the waiter's lock held",
                run: || one_waiter(true),
            },
            Variant {
                name: "wrong",
                about: "raises the flag without the lock: it is atomic, after all",
                run: || one_waiter(false),
            },
        ],
    )
}
