//! The limiter's decisions equal a brute-force count, alone and under many threads.

use metricstream::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use metricstream::clock::Instant;
use metricstream::sync::shim::{Arc, thread};
use metricstream_proptests::rate_limit::{Plan, Step, check, client, window_nanos};
use metricstream_proptests::seeds;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use std::num::NonZeroU32;

/// `PROPTEST_CASES` makes a run longer.
fn config() -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if set {
            ProptestConfig::default().cases
        } else {
            3_000
        })
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decisions_equal_a_count_of_everything(raw in prop::collection::vec(any::<u8>(), 0..1500)) {
        check(&Plan::of(&raw));
    }
}

/// The generator reaches what it is for: if it stopped refusing or filling stripes, the test above would
/// pass for no reason.
#[test]
fn the_generated_plans_meet_every_decision() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let raw = prop::collection::vec(any::<u8>(), 1500);
    let mut seen = [0; 3];
    for _ in 0..200 {
        let raw = raw.new_tree(&mut runner).unwrap();
        let met = check(&Plan::of(&raw.current()));
        (0..3).for_each(|decision| seen[decision] += met[decision]);
    }
    println!(
        "allowed {}, refused {}, turned away {}",
        seen[0], seen[1], seen[2]
    );
    assert!(seen.iter().all(|&count| count > 1000), "{seen:?}");
}

#[test]
fn a_long_burst_with_a_large_limit() {
    let window = window_nanos();
    let at = |index: u64| (index * 7919 % 1000) + index * window / 3000;
    let mut steps: Vec<_> = (0..6000).map(|index| (at(index), Step::Allow(1))).collect();
    steps.sort_unstable_by_key(|step| step.0);
    let plan = Plan {
        requests_max: 1000,
        clients_max: 2,
        stripes: 2,
        steps,
    };
    let [allowed, refused, _] = check(&plan);
    assert!(allowed >= 2000 && refused > 2000, "{allowed} {refused}");
}

/// Threads that ask for the same clients, sweep and look on: in each second each client is allowed its
/// limit exactly, neither less (a lost place) nor more (a window forgotten while it counted).
#[test]
fn threads_together_are_allowed_exactly_the_limit() {
    const THREADS: u64 = 4;
    const CLIENTS: u32 = 50;
    const LIMIT: u32 = 25;
    const ROUNDS: u64 = 40;
    let limiter = Arc::new(RateLimiter::new(RateLimits {
        requests_max: NonZeroU32::new(LIMIT),
        clients_max: 1000,
        stripes: 7,
    }));
    for round in 0..ROUNDS {
        // A new second for all: every request of the last round is a window old at its start.
        let start = round * 2 * window_nanos();
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let limiter = Arc::clone(&limiter);
                let work = move || {
                    let mut allowed = vec![0_u32; CLIENTS as usize];
                    for step in 0..u64::from(2 * LIMIT * CLIENTS) {
                        // Not in order between the threads, and all within one window.
                        let now = Instant::from_nanos(start + (step * 7919 + worker * 13) % window_nanos());
                        let number =
                            u32::try_from((step * (worker + 1) + worker) % u64::from(CLIENTS)).unwrap();
                        if limiter.allow(client(number), now) == Decision::Allowed {
                            allowed[number as usize] += 1;
                        }
                        if step % 97 == worker {
                            limiter.sweep(now);
                            assert!(limiter.top(3, now).len() <= 3);
                        }
                    }
                    allowed
                };
                thread::spawn("worker", work).unwrap()
            })
            .collect();
        let mut allowed = vec![0; CLIENTS as usize];
        for worker in workers {
            for (sum, count) in allowed.iter_mut().zip(worker.join().unwrap()) {
                *sum += count;
            }
        }
        assert_eq!(allowed, vec![LIMIT; CLIENTS as usize], "round {round}");
    }
}

#[test]
fn the_fuzzers_seeds_and_past_crashes_pass() {
    let count = seeds::replay("rate_limit", |raw| {
        check(&Plan::of(raw));
    });
    assert!(count > 0, "the seeds are where they are looked for");
}
