//! What the log acknowledged is in the file after anything that can happen to it.

use metricstream_proptests::log::{Driver, Plan, Seen, check, check_recovery};
use metricstream_proptests::seeds;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// `PROPTEST_CASES` makes a run longer.
fn config(cases: u32) -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if set {
            ProptestConfig::default().cases
        } else {
            cases
        })
    }
}

fn raw() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #![proptest_config(config(20_000))]

    #[test]
    fn acknowledged_lines_survive_step_by_step(raw in raw()) {
        check(&Plan::of(&raw), Driver::Steps);
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn any_file_is_opened_and_keeps_its_whole_lines(content in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60)) {
        check_recovery(&content);
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn acknowledged_lines_survive_with_the_writers_thread(raw in raw()) {
        check(&Plan::of(&raw), Driver::Thread);
    }
}

/// If the generator stopped failing, refusing, tearing or losing, the tests above would pass for no reason.
#[test]
fn the_generated_plans_meet_every_kind_of_trouble() {
    let mut runner = TestRunner::deterministic();
    for driver in [Driver::Steps, Driver::Thread] {
        let mut sum = Seen::default();
        for _ in 0..1000 {
            let raw = prop::collection::vec(any::<u8>(), 600)
                .new_tree(&mut runner)
                .unwrap();
            let seen = check(&Plan::of(&raw.current()), driver);
            sum += seen;
        }
        println!("{driver:?}: {sum:?}");
        assert!(
            sum.acknowledged > 1000 && sum.failed > 500 && sum.refused > 500,
            "{sum:?}"
        );
        assert!(
            sum.torn > 20 && sum.lost_lines > 500 && sum.failed_openings > 20,
            "{sum:?}"
        );
        assert!(
            sum.rotations > 500 && sum.compressed > 20 && sum.removed > 20 && sum.breaks > 50,
            "{sum:?}"
        );
        assert!(
            sum.rotation_failures > 20 && sum.keeper_failures > 20 && sum.leftovers > 5,
            "{sum:?}"
        );
    }
}

#[test]
fn the_fuzzers_seeds_and_past_crashes_pass() {
    let count = seeds::replay("log_recovery", |raw| {
        check_recovery(raw);
        check(&Plan::of(raw), Driver::Steps);
    });
    assert!(count > 0, "the seeds are where they are looked for");
}
