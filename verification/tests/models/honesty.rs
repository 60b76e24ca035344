//! What the checkers themselves are held to, and where they are known to be blind.
//!
//! The outcomes of each model are compared with the oracle's where the models are; here is the rest.

use crate::child;
use std::collections::BTreeMap;
use std::process::Command;

/// Tests of each module under this checker; an emptied or forgotten file changes the table.
const TESTS: &[(&str, usize)] = if cfg!(metricstream_loom) {
    &[
        ("budget", 1),
        ("honesty", 4),
        ("log_flusher", 4),
        ("log_queue", 3),
        ("must_fail", 10),
        ("mutation", 2),
        ("mutex_pool", 2),
        ("rate_limit", 1),
        ("ring", 6),
        ("rules", 2),
        ("stop", 3),
        ("thread_pool", 8),
        ("watermark", 3),
    ]
} else {
    &[
        ("budget", 1),
        ("honesty", 2),
        ("log_flusher", 4),
        ("log_queue", 3),
        ("log_segments", 2),
        ("mutex_pool", 2),
        ("rate_limit", 1),
        ("ring", 6),
        ("rules", 2),
        ("simulation", 40),
        ("stop", 3),
        ("thread_pool", 10),
        ("watermark", 3),
    ]
};

/// HONEST-COUNT: so many tests and no fewer.
#[test]
fn every_model_is_there() {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let mut counts = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((module, _)) = line.strip_suffix(": test").and_then(|name| name.split_once("::")) {
            *counts.entry(module.to_owned()).or_insert(0) += 1;
        }
    }
    let expected: BTreeMap<_, _> = TESTS
        .iter()
        .map(|(module, count)| ((*module).to_owned(), *count))
        .collect();
    assert_eq!(counts, expected, "[HONEST-COUNT] tests in each module");
}

/// HONEST-BOUNDS: with a variable set that bounds loom, no model passes.
#[test]
fn variables_that_bound_loom_are_refused() {
    let failure = child::run("stop::happens_before", &[("LOOM_MAX_PREEMPTIONS", "1")], false);
    let failure = failure.expect("a bounded run does not pass");
    assert!(
        failure.message.contains("LOOM_MAX_PREEMPTIONS is set"),
        "{failure:?}"
    );
}

/// HONEST-BLIND, loom's issue 392: a load before a store of the same atomic hides the other thread's choices.
/// When this fails, loom was mended: take `loom_is_blind` out of the models.
#[cfg(metricstream_loom)]
#[test]
fn loom_misses_a_store_after_a_load() {
    use loom::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    let outcomes = |with_load: bool| {
        let outcomes = outcomes_of(move || {
            let flag = std::sync::Arc::new(AtomicBool::new(false));
            let theirs = std::sync::Arc::clone(&flag);
            let thread = loom::thread::spawn(move || {
                if with_load {
                    theirs.load(Relaxed);
                }
                theirs.store(true, Relaxed);
            });
            let seen = flag.load(Relaxed);
            thread.join().unwrap();
            seen
        });
        outcomes.len()
    };
    assert_eq!(outcomes(false), 2, "both values are possible");
    assert_eq!(outcomes(true), 1, "loom used to miss one of them");
}

/// HONEST-BLIND: a yield makes loom run fewer executions, not more.
#[cfg(metricstream_loom)]
#[test]
fn a_yield_hides_executions_from_loom() {
    use loom::sync::Mutex;
    let outcomes = |with_yield: bool| {
        outcomes_of(move || {
            let locks = std::sync::Arc::new([Mutex::new(0), Mutex::new(0)]);
            let theirs = std::sync::Arc::clone(&locks);
            let walker = loom::thread::spawn(move || [0, 1].map(|index| *theirs[index].lock().unwrap()));
            for lock in locks.iter() {
                let mut count = lock.lock().unwrap();
                if with_yield {
                    loom::thread::yield_now();
                }
                *count += 1;
            }
            walker.join().unwrap()
        })
    };
    assert_eq!(outcomes(false).len(), 4, "the walker sees any of the four");
    assert!(outcomes(true).len() < 4, "loom used to miss some");
}

/// Runs loom itself, past the harness.
#[cfg(metricstream_loom)]
fn outcomes_of<O: Ord + Send + 'static>(
    scenario: impl Fn() -> O + Send + Sync + 'static,
) -> std::collections::BTreeSet<O> {
    let outcomes = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let collected = std::sync::Arc::clone(&outcomes);
    loom::model::Builder::new().check(move || {
        let outcome = scenario();
        collected.lock().unwrap().insert(outcome);
    });
    std::mem::take(&mut *outcomes.lock().unwrap())
}
