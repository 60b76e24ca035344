//! Lesson 4.2: two locks taken in opposite order, and how soon the checker finds the day on which it matters.
//!
//! `wrong` is stage 4b's limiter as it stands in the stage, `right` is stage 4's.

use std::num::NonZeroU32;
use std::process::ExitCode;

use metricstream::clock::Instant;
use metricstream::sync::shim::{Arc, thread};
use metricstream_journey::lesson::{self, Explored, Variant};
use metricstream_journey::stages::s4_rate_limit::{Global, Limiter, TwoLocks};

/// A request is asked about while somebody looks at the statistics.
fn request_and_statistics<L: Limiter>() -> Explored {
    lesson::explore(|| {
        let limiter = Arc::new(L::new());
        let theirs = Arc::clone(&limiter);
        let statistics = thread::spawn("statistics", move || theirs.totals().allowed).expect("a thread");
        assert!(
            limiter.allow("a", NonZeroU32::MIN, Instant::ZERO),
            "nothing was asked before"
        );
        let seen = statistics.join().expect("it ends");
        (seen, limiter.totals().allowed)
    })
}

fn main() -> ExitCode {
    lesson::main(
        "deadlock",
        &[
            Variant {
                name: "right",
                about: "one mutex around all (stage 4a)",
                run: request_and_statistics::<Global>,
            },
            Variant {
                name: "wrong",
                about: "windows, then totals; totals, then windows (stage 4b)",
                run: request_and_statistics::<TwoLocks>,
            },
        ],
    )
}
