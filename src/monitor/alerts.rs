//! Alerts: rules about figures, and which of them hold now.
//!
//! Promises: a rule fires when its condition held at every reading over its duration, and is resolved at the
//! first reading at which it does not; each change is told once. Everything is a function of the readings and
//! their moments. A rule that is kept by a reload keeps its state.
//! Leaves to the caller: a reading once a second, and to whom a change is told.
//!
//! ```text
//!        holds              held for its duration            holds no more
//!   ok ---------> pending ------------------------> firing ----------------> resolved --> ok
//!    ^               | holds no more                   ^                         | holds   (after a while)
//!    +---------------+                                 +--- pending <------------+
//! ```

use std::fmt;
use std::time::Duration;

use crate::clock::Instant;
use crate::limits::RESOLVED_SHOWN;

use super::figures::{FigureId, Reading};

/// How a figure is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Self; 4] = [Self::Above, Self::AtLeast, Self::Below, Self::AtMost];

    /// As it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// Whether it holds; never for what is no number.
    #[must_use]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// Every severity.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// When to alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What the alert is called.
    pub name: String,
    /// What is looked at.
    pub figure: FigureId,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what; a number.
    pub threshold: f64,
    /// How long the condition must hold.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Rule {
    /// The condition: `ingest_p99_us > 250000 for 30 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (figure, sign, threshold) = (self.figure.name(), self.comparison.sign(), self.threshold);
        write!(f, "{figure} {sign} {threshold}")?;
        if !self.hold.is_zero() {
            write!(f, " for {} s", self.hold.as_secs_f64())?;
        }
        Ok(())
    }
}

/// The rules that a server has unless told otherwise: name, figure, comparison, threshold, seconds, severity.
#[rustfmt::skip]
pub const READY_MADE: &[(&str, &str, Comparison, f64, u64, Severity)] = &[
    ("not_ready", "ready", Comparison::Below, 1.0, 10, Severity::Critical),
    ("log_failing", "log_failures_per_s", Comparison::Above, 0.0, 0, Severity::Critical),
    ("panicking", "worker_panics_per_s", Comparison::Above, 0.0, 0, Severity::Critical),
    ("reactor_panicking", "reactor_panics_per_s", Comparison::Above, 0.0, 0, Severity::Critical),
    ("refusing", "refused_unavailable_per_s", Comparison::Above, 1.0, 10, Severity::Warning),
    ("slow", "ingest_p99_us", Comparison::Above, 250_000.0, 30, Severity::Warning),
    ("log_resting", "log_breaker_state", Comparison::Above, 0.0, 5, Severity::Critical),
    ("disk_slow", "log_sync_p99_us", Comparison::Above, 1_000_000.0, 30, Severity::Warning),
    ("log_rotation_failing", "log_rotation_failures_per_s", Comparison::Above, 0.0, 30, Severity::Warning),
    ("log_keeper_failing", "log_keeper_failing", Comparison::Above, 0.0, 60, Severity::Warning),
    ("log_lagging", "log_lag_ms", Comparison::Above, 1_000.0, 10, Severity::Warning),
    ("log_queue_filling", "log_queue_bytes_ratio", Comparison::Above, 0.8, 10, Severity::Warning),
    ("queue_filling", "queue_jobs_ratio", Comparison::Above, 0.8, 10, Severity::Warning),
    ("request_buffers_filling", "request_buffer_bytes_ratio", Comparison::Above, 0.8, 10, Severity::Warning),
    ("connections_filling", "connections_ratio", Comparison::Above, 0.9, 30, Severity::Warning),
    ("clients_filling", "clients_ratio", Comparison::Above, 0.9, 30, Severity::Warning),
    ("files_filling", "open_files_ratio", Comparison::Above, 0.9, 30, Severity::Warning),
    ("events_dropped", "events_dropped_per_s", Comparison::Above, 0.0, 30, Severity::Info),
];

/// The ready-made rules.
#[must_use]
pub fn ready_made() -> Vec<Rule> {
    let rule = |&(name, figure, comparison, threshold, seconds, severity): &_| Rule {
        name: str::to_owned(name),
        figure: FigureId::find(figure).expect("a figure of the catalogue"),
        comparison,
        threshold,
        hold: Duration::from_secs(seconds),
        severity,
    };
    READY_MADE.iter().map(rule).collect()
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not hold.
    Ok,
    /// It holds since then, not long enough yet.
    Pending(Instant),
    /// It fires since then.
    Firing(Instant),
    /// It fired and was resolved then.
    Resolved(Instant),
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending(_) => "pending",
            Self::Firing(_) => "firing",
            Self::Resolved(_) => "resolved",
        }
    }

    /// Since when, if it is not [`State::Ok`].
    #[must_use]
    pub const fn since(self) -> Option<Instant> {
        match self {
            Self::Ok => None,
            Self::Pending(since) | Self::Firing(since) | Self::Resolved(since) => Some(since),
        }
    }

    /// The state at `now`, when the condition of a rule that must hold for `hold` does or does not hold.
    #[must_use]
    pub fn next(self, holds: bool, hold: Duration, now: Instant) -> Self {
        match (self, holds) {
            (Self::Firing(_), true) => self,
            (Self::Firing(_), false) => Self::Resolved(now),
            (Self::Pending(since), true) if now.since(since) >= hold => Self::Firing(now),
            (Self::Pending(_), true) => self,
            (Self::Ok | Self::Resolved(_), true) if hold.is_zero() => Self::Firing(now),
            (Self::Ok | Self::Resolved(_), true) => Self::Pending(now),
            (Self::Resolved(at), false) if now.since(at) < RESOLVED_SHOWN => self,
            (Self::Ok | Self::Pending(_) | Self::Resolved(_), false) => Self::Ok,
        }
    }
}

/// A rule with its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The rule.
    pub rule: Rule,
    /// How it stands.
    pub state: State,
    /// The figure at the last reading.
    pub value: f64,
}

/// A rule began to fire or was resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The rule, with its new state: firing or resolved.
    pub alert: Alert,
    /// When.
    pub at: Instant,
}

/// All rules with their states.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Vec<Alert>);

impl Alerts {
    /// Puts `rules` in the place of those there are. A rule that is the same keeps its state.
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        let before = std::mem::take(&mut self.0);
        let alert = |rule: Rule| {
            let same = before.iter().find(|alert| alert.rule == rule);
            same.cloned().unwrap_or(Alert {
                rule,
                state: State::Ok,
                value: 0.0,
            })
        };
        self.0 = rules.into_iter().map(alert).collect();
    }

    /// Looks at a reading of `now`; answers with what began to fire and what was resolved.
    pub fn evaluate(&mut self, now: Instant, reading: &Reading) -> Vec<Change> {
        let mut changes = Vec::new();
        for alert in &mut self.0 {
            alert.value = reading.value(alert.rule.figure);
            let holds = alert.rule.comparison.holds(alert.value, alert.rule.threshold);
            let before = std::mem::discriminant(&alert.state);
            alert.state = alert.state.next(holds, alert.rule.hold, now);
            let told = matches!(alert.state, State::Firing(_) | State::Resolved(_));
            if told && std::mem::discriminant(&alert.state) != before {
                let alert = alert.clone();
                changes.push(Change { alert, at: now });
            }
        }
        changes
    }

    /// All of them, in the order of the rules.
    #[must_use]
    pub fn all(&self) -> &[Alert] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    fn rule(seconds: u64) -> Rule {
        Rule {
            name: "busy".to_owned(),
            figure: FigureId::find("queue_jobs").unwrap(),
            comparison: Comparison::Above,
            threshold: 5.0,
            hold: Duration::from_secs(seconds),
            severity: Severity::Warning,
        }
    }

    fn reading(jobs: u64) -> Reading {
        let mut reading = Reading::default();
        reading.set_whole("queue_jobs", jobs);
        reading
    }

    fn evaluate(alerts: &mut Alerts, second: u64, jobs: u64) -> &'static str {
        let changes = alerts.evaluate(at(second), &reading(jobs));
        let state = alerts.all()[0].state;
        for change in &changes {
            assert_eq!((change.alert.state, change.at), (state, at(second)));
        }
        if changes.is_empty() {
            state.name()
        } else {
            ["", "told firing", "told resolved"][match state {
                State::Firing(_) => 1,
                State::Resolved(_) => 2,
                State::Ok | State::Pending(_) => panic!("{state:?} is not told"),
            }]
        }
    }

    #[test]
    fn a_rule_goes_through_its_states() {
        let mut alerts = Alerts::default();
        alerts.set_rules(vec![rule(2)]);
        let timeline = [
            (0, 5, "ok"),
            (1, 6, "pending"),
            (2, 5, "ok"),
            (3, 6, "pending"),
            (4, 6, "pending"),
            (5, 6, "told firing"),
            (6, 6, "firing"),
            (7, 0, "told resolved"),
            (8, 0, "resolved"),
            (9, 6, "pending"),
            (11, 6, "told firing"),
            (12, 0, "told resolved"),
            (1000, 0, "ok"),
        ];
        for (second, jobs, state) in timeline {
            assert_eq!(evaluate(&mut alerts, second, jobs), state, "at {second} s");
        }
    }

    #[test]
    fn without_a_duration_a_rule_fires_at_once() {
        let mut alerts = Alerts::default();
        alerts.set_rules(vec![rule(0)]);
        assert_eq!(evaluate(&mut alerts, 0, 6), "told firing");
        assert_eq!(evaluate(&mut alerts, 1, 0), "told resolved");
        assert_eq!(evaluate(&mut alerts, 2, 6), "told firing");
    }

    #[test]
    fn a_rule_that_is_kept_keeps_its_state() {
        let mut alerts = Alerts::default();
        alerts.set_rules(vec![rule(0)]);
        evaluate(&mut alerts, 0, 6);
        alerts.set_rules(vec![rule(0), rule(1)]);
        let states: Vec<_> = alerts.all().iter().map(|alert| alert.state.name()).collect();
        assert_eq!(states, ["firing", "ok"]);
        alerts.set_rules(vec![rule(3)]);
        assert_eq!(
            alerts.all()[0].state,
            State::Ok,
            "another duration is another rule"
        );
    }

    #[test]
    fn what_is_no_number_holds_never() {
        for comparison in Comparison::ALL {
            assert!(!comparison.holds(f64::NAN, 0.0));
        }
        assert!(Comparison::AtLeast.holds(1.0, 1.0) && !Comparison::Above.holds(1.0, 1.0));
        assert!(Comparison::AtMost.holds(1.0, 1.0) && !Comparison::Below.holds(1.0, 1.0));
    }

    #[test]
    fn the_ready_made_rules_are_rules() {
        let rules = ready_made();
        assert_eq!(rules.len(), READY_MADE.len());
        assert_eq!(rules[5].to_string(), "ingest_p99_us > 250000 for 30 s");
        let mut names: Vec<_> = rules.iter().map(|rule| &rule.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), rules.len());
    }
}
