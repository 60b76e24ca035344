//! The tests of a module, as programs, and what they say to a mutant.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// Processor time that one run of a program may take, in seconds; a sound one takes a few.
const QUICK_SECONDS: u32 = 6;
/// The same for a run with as many cases as everyday runs have.
const EVERYDAY_SECONDS: u32 = 90;
/// Address space of a program, in KiB: a mutant that gathers without an end stops here.
const ADDRESS_SPACE_KIB: u32 = 6 << 20;
/// Cases of each property in the quick runs.
const QUICK_CASES: &str = "1000";

/// The test programs of the crate `metricstream-proptests` that look at each module, quickest first.
const TESTS: [(&str, &[&str]); 4] = [
    ("json", &["json_conformance", "json", "metric"]),
    ("http", &["http_cases", "http"]),
    ("admission", &["rate_limit", "auth"]),
    ("metric", &["metric", "clock", "metric_allocations"]),
];

/// Tests that are slow for what they add: left to the everyday runs.
const SLOW: [&str; 4] = [
    "a_long_burst_with_a_large_limit",
    "work_is_linear_when_bytes_come_one_by_one",
    "damaged_streams_meet_every_refusal",
    "the_generated_plans_meet_every_decision",
];

/// What a program said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every test passed.
    Passed,
    /// One failed, or the program died.
    Failed,
    /// It used up its processor time.
    OutOfTime,
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// Unit tests, cases, and each property with a few cases.
    Quick,
    /// Cases and properties as an everyday run has them.
    Everyday,
}

/// Every test program that is needed.
pub fn all() -> Vec<&'static str> {
    let mut all: Vec<_> = TESTS.iter().flat_map(|(_, tests)| *tests).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The programs, once built.
#[derive(Serialize, Deserialize)]
pub struct Programs {
    /// The unit tests of metricstream.
    pub unit: PathBuf,
    /// The others by name.
    pub others: HashMap<String, PathBuf>,
    /// Where they are run.
    pub directory: PathBuf,
}

impl Programs {
    /// Sees that the tests of `module` pass when no mutant is active.
    pub fn pass_without_a_mutant(&self, module: &str, thoroughness: Thoroughness) {
        let (outcome, program) = self.outcome(module, usize::MAX, thoroughness);
        assert_eq!(outcome, Outcome::Passed, "without a mutant: {program}");
    }

    /// What the tests of `module` say to the mutant `number`, and the program that decided.
    pub fn outcome(
        &self,
        module: &str,
        number: usize,
        thoroughness: Thoroughness,
    ) -> (Outcome, &'static str) {
        let tests = TESTS
            .iter()
            .find(|(name, _)| *name == module)
            .map_or(&[][..], |(_, tests)| tests);
        let quick = thoroughness == Thoroughness::Quick;
        if quick {
            let unit = run(
                &self.unit,
                &[&format!("{module}::")],
                &self.directory,
                number,
                quick,
            );
            if unit != Outcome::Passed {
                return (unit, "unit");
            }
        }
        let skip: Vec<&str> = SLOW.iter().flat_map(|test| ["--skip", *test]).collect();
        let arguments = if quick { &skip[..] } else { &[] };
        for test in tests {
            let outcome = run(&self.others[*test], arguments, &self.directory, number, quick);
            if outcome != Outcome::Passed {
                return (outcome, test);
            }
        }
        (Outcome::Passed, "all")
    }
}

fn run(program: &Path, arguments: &[&str], directory: &Path, number: usize, quick: bool) -> Outcome {
    let seconds = if quick { QUICK_SECONDS } else { EVERYDAY_SECONDS };
    let limits = format!("ulimit -t {seconds}; ulimit -v {ADDRESS_SPACE_KIB}; ulimit -c 0; exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limits, "sh"])
        .arg(program)
        .args(["--test-threads", "1"])
        .args(arguments)
        .current_dir(directory)
        .env("METRICSTREAM_MUTANT", number.to_string())
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if quick {
        command.env("PROPTEST_CASES", QUICK_CASES);
    }
    let status = command.status().expect("sh runs");
    // SIGKILL and SIGXCPU: the limit on processor time.
    match (status.success(), status.signal()) {
        (true, _) => Outcome::Passed,
        (false, Some(9 | 24)) => Outcome::OutOfTime,
        (false, _) => Outcome::Failed,
    }
}
