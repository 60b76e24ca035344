//! What is watched over time, besides the requests: rates, the log's lag, the process, alerts.
//!
//! Promises: everything here is a function of what was looked at and when; no clock is read.
//! Leaves to the caller: to look at the log often ([`crate::limits::COLLECT_INTERVAL`]) and to take a reading
//! once a second ([`Watch::tick`]).

use std::time::Duration;

use crate::clock::Instant;

use super::alerts::{Alert, Alerts, Change, Rule, State};
use super::figures::{History, Lag, Reading};
use super::process::Process;

/// The state of the watch.
#[derive(Debug, Default)]
pub struct Watch {
    history: History,
    lag: Lag,
    process: Process,
    alerts: Alerts,
}

impl Watch {
    /// Looks at the log: the positions of the last batch accepted and of the last one decided.
    pub fn look_at_log(&mut self, now: Instant, accepted: u64, settled: u64) {
        self.lag.look(now, accepted, settled);
    }

    /// Sets what only the watch knows: the log's lag, the process, and the rates once all counts are set.
    /// Answers with the time that the rates are over.
    pub fn complete(&self, now: Instant, reading: &mut Reading) -> Duration {
        let Process {
            resident_memory_bytes,
            open_files,
            open_files_max,
            cpu_ms,
        } = self.process;
        reading.set_gauge("log_lag_ms", self.lag.oldest(now).as_secs_f64() * 1e3);
        reading.set_whole("resident_memory_bytes", resident_memory_bytes);
        reading.set_whole("open_files", open_files);
        reading.set_whole("open_files_max", open_files_max);
        reading.set_count("cpu_ms", cpu_ms);
        let firing = self
            .alerts()
            .iter()
            .filter(|alert| matches!(alert.state, State::Firing(_)));
        reading.set_whole("alerts_firing", firing.count() as u64);
        reading.set_ratios();
        self.history.set_rates(now, reading)
    }

    /// Takes in what the operating system says of the process.
    pub fn set_process(&mut self, process: Process) {
        self.process = process;
    }

    /// Keeps a reading of `now` for the rates, and evaluates the rules of alerts by it. Answers with the
    /// alerts that changed.
    pub fn tick(&mut self, now: Instant, reading: &Reading) -> Vec<Change> {
        self.history.keep(now, reading);
        self.alerts.evaluate(now, reading)
    }

    /// Puts `rules` in the place of those there are; see [`Alerts::set_rules`].
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        self.alerts.set_rules(rules);
    }

    /// Every rule and how it stands.
    #[must_use]
    pub fn alerts(&self) -> &[Alert] {
        self.alerts.all()
    }
}
