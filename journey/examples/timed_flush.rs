//! Lesson 2.3: a writer that waits for enough needs a timer, or what is never enough is never written.
//!
//! The buffer is stage 2's. Under the checker time does not pass by itself: a timed wait runs out where the
//! plan of faults says so, and nowhere else.

use std::process::ExitCode;

use metricstream::sync::shim::{Arc, Condvar, Mutex, thread};
use metricstream_journey::lesson::{self, Explored, Variant};
use metricstream_journey::stages::s2_background_writer::Buffer;

/// A request leaves five bytes, less than the eight that are enough; then the server stops.
fn with_timer() -> Explored {
    lesson::explore(|| {
        let buffer = Arc::new(Buffer::new());
        let theirs = Arc::clone(&buffer);
        let writer = thread::spawn("writer", move || {
            let mut writes = Vec::new();
            while let Some(lines) = theirs.take(8) {
                writes.push(lines.len());
            }
            writes
        })
        .expect("a thread");
        buffer.append(b"line\n", 8);
        buffer.stop();
        let writes = writer.join().expect("it ends");
        assert_eq!(
            writes.iter().sum::<usize>(),
            5,
            "[LESSON] every byte is written once"
        );
        writes
    })
}

/// The same without the timer, and nobody stops it: the line has to be written because time passes.
fn without_timer() -> Explored {
    lesson::explore(|| {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let writer = thread::spawn("writer", move || {
            let (waiting, enough) = &*theirs;
            let waiting = enough.wait_while("LESSON_ENOUGH", waiting.lock(), |lines: &mut Vec<u8>| {
                lines.len() < 8
            });
            waiting.len()
        })
        .expect("a thread");
        let (waiting, enough) = &*shared;
        waiting.lock().extend_from_slice(b"line\n");
        enough.notify_one("LESSON_LINES");
        writer.join().expect("it ends")
    })
}

fn main() -> ExitCode {
    lesson::main(
        "timed_flush",
        &[
            Variant {
                name: "right",
                about: "waits for enough, for a while (stage 2)",
                run: with_timer,
            },
            Variant {
                name: "wrong",
                about: "waits for enough",
                run: without_timer,
            },
        ],
    )
}
