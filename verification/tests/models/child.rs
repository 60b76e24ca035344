//! Runs models in a process of their own and says how they failed.
//!
//! A model that fails leaves its checker in no state to go on, and a broken site is broken for the whole
//! process: so each gets one.

use std::process::Command;

/// How a model failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The test that failed first.
    pub(crate) test: String,
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

/// What counts as noticing, by the beginning or a part of the message. A branch or step limit and a time-out
/// are not here: they say that the model did not end, not that it saw something.
const CLASSES: [(&str, &str); 6] = [
    ("Causality violation", "causality violation"),
    ("deadlock", "deadlock"),
    ("[HONEST-", "outcome missing"),
    ("[", "named assertion"),
    ("exceeded", "inconclusive: a limit"),
    ("", "inconclusive: another panic"),
];

impl Failure {
    pub(crate) fn is_verdict(&self) -> bool {
        !self.class.starts_with("inconclusive") && self.class != "outcome missing"
    }
}

/// Runs the tests whose names begin with `filter`, one after the other, with `variables` set; the first
/// failure, or `None` when all passed. `ignored` runs those that fail on purpose.
pub(crate) fn run(filter: &str, variables: &[(&str, &str)], ignored: bool) -> Option<Failure> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([filter, "--test-threads=1", "--nocapture"]);
    if ignored {
        command.args(["--ignored", "--exact"]);
    }
    command.env(metricstream_verification::harness::FIRST_PANIC_ENDS, "1");
    command.env("RUST_BACKTRACE", "0");
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.contains("running 0 tests"), "no model is called {filter}");
    if output.status.success() {
        return None;
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = |key: &str| {
        let found = stderr.lines().find_map(|line| line.strip_prefix(key));
        found.map(|text| text.trim().to_owned())
    };
    let message = line("first panic:").unwrap_or_else(|| format!("no panic, {}: {stderr}", output.status));
    let class = CLASSES
        .iter()
        .find(|(part, _)| message.contains(part))
        .map_or("inconclusive: unknown", |(_, class)| *class);
    Some(Failure {
        test: line("first panic in:").unwrap_or_default(),
        class,
        message,
    })
}
