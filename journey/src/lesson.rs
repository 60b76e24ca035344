//! The frame of the examples: runs one variant of a lesson under loom and says what came of it.
//!
//! A lesson has variants, some right and some wrong on purpose. Run with the name of one, it tries every
//! execution that loom distinguishes, and every wait that wakes for no reason.
//!
//! Promises: exit code 0 when every execution held, 1 when one failed, with the number of the execution and
//! what failed in it; 2 when there is no such variant, or when the program was not built for loom.
//! Leaves to the caller: scenarios small enough to be tried whole.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use metricstream::clock::SystemClock;
use metricstream::sync::shim::{Condvar, MutexGuard};
use metricstream_verification::harness::{self, Bounds};

/// Exit code when there is nothing to run.
const BAD_USAGE: u8 = 2;

/// Executions begun so far. Not the shim's: the checker is not to see it.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// One variant of a lesson.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Tries it.
    pub run: fn() -> Explored,
}

/// What came of a variant in which nothing failed.
#[derive(Clone, Debug)]
pub struct Explored {
    executions: u64,
    outcomes: BTreeSet<String>,
}

/// Tries every execution of `scenario`; a panic in one of them is what the lesson is about.
pub fn explore<O: Ord + Debug + Send + 'static>(
    scenario: impl Fn() -> O + Send + Sync + 'static,
) -> Explored {
    let report = harness::explore(Bounds::SCENARIO, move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        scenario()
    });
    let outcomes = report
        .outcomes
        .iter()
        .chain(&report.outcomes_spurious)
        .chain(&report.outcomes_late);
    Explored {
        executions: report.executions,
        outcomes: outcomes.map(|outcome| format!("{outcome:?}")).collect(),
    }
}

/// Runs a scenario once that has nothing to try: no threads.
pub fn once<O: Debug>(scenario: impl FnOnce() -> O) -> Explored {
    EXECUTIONS.fetch_add(1, Ordering::Relaxed);
    Explored {
        executions: 1,
        outcomes: [format!("{:?}", scenario())].into(),
    }
}

/// What many write where [`Condvar::wait_while`] belongs: `if unready { wait }`. It looks once.
pub fn wait_if<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    mut unready: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let mut looked = false;
    condvar.wait_while("LESSON_IF", guard, |state| {
        !std::mem::replace(&mut looked, true) && unready(state)
    })
}

/// Runs the variant that the command line names.
#[must_use]
pub fn main(lesson: &str, variants: &[Variant]) -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some(variant) = variants.iter().find(|variant| variant.name == wanted) else {
        eprintln!("usage: cargo lesson {lesson} VARIANT, where VARIANT is one of");
        for Variant { name, about, .. } in variants {
            eprintln!("  {name:<14} {about}");
        }
        return ExitCode::from(BAD_USAGE);
    };
    if !cfg!(metricstream_loom) {
        eprintln!(
            "this was built for real threads, which rarely show it: run `cargo lesson {lesson} {wanted}` (with \
             RUSTFLAGS unset: it takes precedence over the flags of the alias)"
        );
        return ExitCode::from(BAD_USAGE);
    }
    println!("{lesson} {}: {}", variant.name, variant.about);
    let clock = SystemClock::new();
    let begun = clock.now();
    let seconds = move || clock.now().since(begun).as_secs_f64();
    end_at_first_panic(seconds);
    let explored = (variant.run)();
    for outcome in &explored.outcomes {
        println!("  seen: {outcome}");
    }
    let executions = explored.executions;
    println!(
        "holds: {executions} executions tried in {:.2} s, none failed",
        seconds()
    );
    ExitCode::SUCCESS
}

/// After a failed execution loom unwinds threads that were in the middle of something, and what they say
/// then is no verdict: so the first panic is the last.
fn end_at_first_panic(seconds: impl Fn() -> f64 + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |info| {
        // A panic without a message is how loom ends a thread that has nothing left to do.
        let Some(message) = info.payload_as_str() else {
            return;
        };
        let message = message.lines().next().unwrap_or_default();
        let execution = EXECUTIONS.load(Ordering::Relaxed);
        println!(
            "caught in execution {execution}, after {:.2} s: {message}",
            seconds()
        );
        std::process::exit(1);
    }));
}
