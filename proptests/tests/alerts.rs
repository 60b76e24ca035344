//! The rules of alerts over random timelines, against a reading of the whole timeline at once.

use std::time::Duration;

use metricstream::clock::Instant;
use metricstream::monitor::alerts::{Alerts, Comparison, Rule, Severity, State};
use metricstream::monitor::figures::{FigureId, Reading};
use proptest::prelude::*;

/// A look: so many milliseconds after the one before, and the value then.
type Timeline = Vec<(u64, u64)>;

fn timeline() -> impl Strategy<Value = Timeline> {
    prop::collection::vec((0_u64..3_000, 0_u64..4), 0..60)
}

fn rule(hold_ms: u64, comparison: Comparison) -> Rule {
    Rule {
        name: "rule".to_owned(),
        figure: FigureId::find("queue_jobs").expect("a figure"),
        comparison,
        threshold: 2.0,
        hold: Duration::from_millis(hold_ms),
        severity: Severity::Info,
    }
}

fn holds(comparison: Comparison, value: u64) -> bool {
    match comparison {
        Comparison::Above => value > 2,
        Comparison::AtLeast => value >= 2,
        Comparison::Below => value < 2,
        Comparison::AtMost => value <= 2,
    }
}

/// Whether the rule fires at each look: the condition held at this look and at all before it, back to one that is
/// at least its duration ago.
fn firing(looks: &[(u64, bool)], hold_ms: u64) -> Vec<bool> {
    let fires = |index: usize| {
        let (now, _) = looks[index];
        (0..=index).any(|first| {
            now - looks[first].0 >= hold_ms && looks[first..=index].iter().all(|(_, holds)| *holds)
        })
    };
    (0..looks.len()).map(fires).collect()
}

fn run(timeline: &Timeline, hold_ms: u64, comparison: Comparison) {
    let mut alerts = Alerts::default();
    alerts.set_rules(vec![rule(hold_ms, comparison)]);
    let mut now_ms = 0;
    let looks: Vec<_> = timeline
        .iter()
        .map(|(gap_ms, value)| {
            now_ms += gap_ms;
            (now_ms, holds(comparison, *value))
        })
        .collect();
    let expected = firing(&looks, hold_ms);
    let mut before = false;
    for (index, (_, value)) in timeline.iter().enumerate() {
        let now = Instant::ZERO.after(Duration::from_millis(looks[index].0));
        let mut reading = Reading::default();
        reading.set_whole("queue_jobs", *value);
        let changes = alerts.evaluate(now, &reading);
        let state = alerts.all()[0].state;
        assert_eq!(
            matches!(state, State::Firing(_)),
            expected[index],
            "at look {index}"
        );
        let told: Vec<_> = changes.iter().map(|change| change.alert.state.name()).collect();
        let wanted: &[&str] = match (before, expected[index]) {
            (false, true) => &["firing"],
            (true, false) => &["resolved"],
            _ => &[],
        };
        assert_eq!(told, wanted, "at look {index}");
        if matches!(state, State::Pending(_)) {
            assert!(looks[index].1, "what is pending holds");
        }
        before = expected[index];
    }
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(Comparison::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_rule_fires_when_it_held_over_its_duration_and_each_change_is_told_once(
        timeline in timeline(),
        hold_ms in prop_oneof![Just(0), 1_u64..10_000],
        comparison in comparison(),
    ) {
        run(&timeline, hold_ms, comparison);
    }

    #[test]
    fn a_reload_of_the_same_rules_changes_nothing(
        timeline in timeline(),
        reload_at in 0_usize..60,
        hold_ms in 0_u64..10_000,
    ) {
        let (mut kept, mut reloaded) = (Alerts::default(), Alerts::default());
        for alerts in [&mut kept, &mut reloaded] {
            alerts.set_rules(vec![rule(hold_ms, Comparison::AtLeast)]);
        }
        let mut now = Instant::ZERO;
        for (index, (gap_ms, value)) in timeline.into_iter().enumerate() {
            now = now.after(Duration::from_millis(gap_ms));
            let mut reading = Reading::default();
            reading.set_whole("queue_jobs", value);
            if index == reload_at {
                reloaded.set_rules(vec![rule(1, Comparison::Below), rule(hold_ms, Comparison::AtLeast)]);
                reloaded.set_rules(vec![rule(hold_ms, Comparison::AtLeast)]);
            }
            prop_assert_eq!(kept.evaluate(now, &reading), reloaded.evaluate(now, &reading));
        }
    }
}
