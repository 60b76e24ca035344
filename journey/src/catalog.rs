//! What the stages are: their names, what each changes, what its success promises, what the learning path
//! expects of it.
//!
//! Promises: every stage is here once, in the order of the path. Leaves to the caller: to start one.

use std::io;

use crate::common::Place;
use crate::stages::s4_rate_limit::{Global, Striped, TwoLocks};
use crate::stages::s5_events::{Locked, Rings};
use crate::stages::s7_product::Level;
use crate::stages::{
    s0_sequential, s1_thread_per_request, s2_background_writer, s3_state_machine, s4_rate_limit, s5_events,
    s6_thread_pool, s7_product,
};

/// One stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The same in a word or two, for the key of a plot.
    pub label: &'static str,
    /// What a success of it says about the lines.
    pub promise: &'static str,
    /// What the learning path expects at this phase, in its words; empty where it names nothing.
    pub expected: &'static str,
    /// Whether `run` measures it unless told otherwise. A stage that may stop for ever is not.
    pub measured: bool,
    serve: fn(&Place) -> io::Result<()>,
}

impl Stage {
    /// The number of the stage, without the letter that tells its ways apart.
    #[must_use]
    pub fn number(&self) -> usize {
        let digits = self
            .name
            .trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        digits.parse().expect("a name begins with its number")
    }

    /// Serves at `place` until the process is ended.
    ///
    /// # Errors
    /// When the port, the file or a thread cannot be had.
    pub fn serve(&self, place: &Place) -> io::Result<()> {
        (self.serve)(place)
    }
}

const ON_DISK: &str = "on the disk";
const IN_MEMORY: &str = "in memory";

/// What the path expects between the sequential server and the parser, where it names no phase.
const BETWEEN: &str = "81 to 88% at 20 clients, 59 to 66% at 50";

/// All stages, in order.
pub const STAGES: [Stage; 12] = [
    Stage {
        name: "0",
        title: "sequential, synchronous write, naive parser",
        label: "sequential",
        promise: ON_DISK,
        expected: "50 to 100 requests/s",
        measured: true,
        serve: s0_sequential::serve,
    },
    Stage {
        name: "1",
        title: "a thread for each request, mutex around the file",
        label: "thread each",
        promise: ON_DISK,
        expected: BETWEEN,
        measured: true,
        serve: s1_thread_per_request::serve,
    },
    Stage {
        name: "2",
        title: "background writer",
        label: "background writer",
        promise: IN_MEMORY,
        expected: BETWEEN,
        measured: true,
        serve: s2_background_writer::serve,
    },
    Stage {
        name: "3",
        title: "state-machine parser",
        label: "state machine",
        promise: IN_MEMORY,
        expected: "64.8%, 2.25 ms at 50 clients; 80.2%, 2.73 ms at 100",
        measured: true,
        serve: s3_state_machine::serve,
    },
    Stage {
        name: "4a",
        title: "rate limiter, one global mutex",
        label: "global mutex",
        promise: IN_MEMORY,
        expected: "",
        measured: true,
        serve: s4_rate_limit::serve::<Global>,
    },
    Stage {
        name: "4b",
        title: "rate limiter, two locks in opposite order: can deadlock",
        label: "two locks",
        promise: IN_MEMORY,
        expected: "",
        measured: false,
        serve: s4_rate_limit::serve::<TwoLocks>,
    },
    Stage {
        name: "4",
        title: "rate limiter, mutex pool",
        label: "mutex pool",
        promise: IN_MEMORY,
        expected: "",
        measured: true,
        serve: s4_rate_limit::serve::<Striped>,
    },
    Stage {
        name: "5a",
        title: "events under a mutex",
        label: "events, mutex",
        promise: IN_MEMORY,
        expected: "",
        measured: true,
        serve: s5_events::serve::<Locked>,
    },
    Stage {
        name: "5",
        title: "events through lock-free rings",
        label: "events, rings",
        promise: IN_MEMORY,
        expected: "",
        measured: true,
        serve: s5_events::serve::<Rings>,
    },
    Stage {
        name: "6",
        title: "thread pool with backpressure",
        label: "thread pool",
        promise: IN_MEMORY,
        expected: "",
        measured: true,
        serve: s6_thread_pool::serve,
    },
    Stage {
        name: "7",
        title: "the product: keep-alive, readiness, group commit",
        label: "product",
        promise: "in the kernel",
        expected: "",
        measured: true,
        serve: |place| s7_product::run(place, Level::Written),
    },
    Stage {
        name: "7s",
        title: "the product with --ack-level synced",
        label: "product, synced",
        promise: ON_DISK,
        expected: "",
        measured: true,
        serve: |place| s7_product::run(place, Level::Synced),
    },
];

/// The stage of that name.
///
/// # Errors
/// When there is none: says which there are.
pub fn find(name: &str) -> Result<&'static Stage, String> {
    STAGES
        .iter()
        .find(|stage| stage.name == name)
        .ok_or_else(|| format!("no stage is called '{name}'; there are {}", names()))
}

/// All names, for people.
#[must_use]
pub fn names() -> String {
    STAGES.map(|stage| stage.name).join(", ")
}
