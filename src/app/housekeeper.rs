//! The housekeeper: the thread that looks on, and tells.
//!
//! Promises: it collects the request events every [`limits::COLLECT_INTERVAL`], and once a second it forgets
//! idle clients, takes a reading of all figures and says what the messages are to say: trouble at once, what
//! goes on happening as a count once in a while, a line of summary each interval. It holds nobody up.
//! Leaves to the caller: the clock's moments as arguments, and to end it after the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Instant;
use crate::limits;
use crate::log;
use crate::metric::time;
use crate::monitor::Summary;
use crate::monitor::alerts::{Alert, Change, Severity, State};
use crate::monitor::figures::Reading;
use crate::monitor::process::Process;
use crate::monitor::repeats::{Repeats, Say};
use crate::monitor::webhook::Webhook;
use crate::server::Shared;
use crate::server::servant::Log;
use crate::sync::stop::Stop;

use super::log_watch::LogWatch;

/// Time between two readings.
const READING_INTERVAL: Duration = limits::RATE_WINDOW;

/// What the housekeeper knows.
#[derive(Debug)]
pub(super) struct Housekeeper {
    next_reading: Instant,
    summary_interval: Option<Duration>,
    next_summary: Instant,
    told: Told,
    /// Where the server listens: its name in messages.
    address: SocketAddr,
    webhook: Option<Webhook>,
}

impl Housekeeper {
    /// A housekeeper of the server at `address` that begins at `now`, writes a line of summary each
    /// `summary_interval` and tells `webhook` of alerts.
    pub(super) fn new(
        now: Instant,
        summary_interval: Option<Duration>,
        address: SocketAddr,
        webhook: Option<Webhook>,
    ) -> Self {
        Self {
            next_reading: now,
            summary_interval,
            next_summary: now.after(summary_interval.unwrap_or_default()),
            told: Told::default(),
            address,
            webhook,
        }
    }

    /// Keeps house until told to stop.
    pub(super) fn run(mut self, shared: &Shared, log: &Log, stop: &Stop) {
        while !stop.wait_timeout(limits::COLLECT_INTERVAL) {
            self.step(shared.clock.now(), shared, log);
        }
        // What went wrong since the last reading is told too.
        self.told.tell_of_failures(&log.status());
        if let Some(webhook) = &self.webhook {
            webhook.stop();
        }
    }

    /// What the webhook is told: docs/monitoring.md has it.
    fn message(&self, change: &Change, shared: &Shared) -> Vec<u8> {
        let Alert { rule, state, value } = &change.alert;
        let value = rounded(*value);
        let at = time::format(shared.clock.wall().epoch_millis());
        let state = state.name();
        let message = serde_json::json!({
            "text": format!("{state}: {} at {}: {rule}, now {value}", rule.name, self.address),
            "server": self.address.to_string(),
            "alert": rule.name,
            "state": state,
            "severity": rule.severity.name(),
            "figure": rule.figure.name(),
            "comparison": rule.comparison.sign(),
            "threshold": rule.threshold,
            "for_ms": u64::try_from(rule.hold.as_millis()).unwrap_or(u64::MAX),
            "value": value,
            "at": String::from_utf8_lossy(&at),
        });
        message.to_string().into_bytes()
    }

    fn step(&mut self, now: Instant, shared: &Shared, log: &Log) {
        shared.monitor.collect(now);
        let log::Status {
            accepted, progress, ..
        } = log.status();
        let (accepted, settled) = (accepted.get(), progress.settled.get());
        shared.watch.lock().look_at_log(now, accepted, settled);
        if now < self.next_reading {
            return;
        }
        self.next_reading = now.after(READING_INTERVAL);
        shared.ingest.sweep(now);
        let process = Process::read();
        shared.watch.lock().set_process(process);
        let summary = shared.monitor.summary(now);
        let (reading, _) = shared.reading(now, &summary);
        let changes = shared.watch.lock().tick(now, &reading);
        for change in &changes {
            tell_of_alert(change);
            if let Some(webhook) = &self.webhook {
                webhook.tell(self.message(change, shared));
            }
        }
        self.told.tell_of_log(log);
        let unserved = shared.stats.connections_refused.get();
        self.told.tell_of_refusals(now, &summary, unserved);
        if let Some(interval) = self.summary_interval
            && now >= self.next_summary
        {
            self.next_summary = now.after(interval);
            tell_summary(&reading);
        }
    }
}

fn tell_of_alert(change: &Change) {
    let Alert { rule, state, value } = &change.alert;
    let value = rounded(*value);
    let (alert, severity) = (&rule.name, rule.severity.name());
    match (state, rule.severity) {
        (State::Firing(_), Severity::Critical) => {
            tracing::error!(alert, severity, condition = %rule, value, "alert fires");
        }
        (State::Firing(_), Severity::Warning) => {
            tracing::warn!(alert, severity, condition = %rule, value, "alert fires");
        }
        (State::Firing(_), Severity::Info) => {
            tracing::info!(alert, severity, condition = %rule, value, "alert fires");
        }
        _ => tracing::info!(alert, severity, condition = %rule, value, "alert is resolved"),
    }
}

/// The line of summary: rates and latencies are recent.
fn tell_summary(reading: &Reading) {
    tracing::info!(
        requests_per_s = whole(reading, "requests_per_s"),
        metrics_per_s = whole(reading, "metrics_acknowledged_per_s"),
        refused_per_s = whole(reading, "refused_per_s"),
        ingest_p50_us = whole(reading, "ingest_p50_us"),
        ingest_p99_us = whole(reading, "ingest_p99_us"),
        connections = whole(reading, "connections_open"),
        clients = whole(reading, "clients"),
        queue_jobs = whole(reading, "queue_jobs"),
        log_queue_bytes = whole(reading, "log_queue_bytes"),
        log_lag_ms = whole(reading, "log_lag_ms"),
        log_written_bytes = whole(reading, "log_written_bytes"),
        resident_memory_bytes = whole(reading, "resident_memory_bytes"),
        open_files = whole(reading, "open_files"),
        alerts_firing = whole(reading, "alerts_firing"),
        "summary"
    );
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a figure is not negative, and the conversion saturates"
)]
fn whole(reading: &Reading, name: &str) -> u64 {
    reading.named(name).round() as u64
}

/// With three digits of fraction, which is what a reader can use.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// What the messages have told so far.
#[derive(Debug, Default)]
struct Told {
    log: LogWatch,
    failures: u64,
    failing: bool,
    poisoned: bool,
    /// By status and code of the refusal: how many were seen, and what was said of them.
    refusals: BTreeMap<(u16, &'static str), (u64, Repeats)>,
}

impl Told {
    fn tell_of_log(&mut self, log: &Log) {
        let status = log.status();
        self.log.tell(&status);
        if !self.tell_of_failures(&status) && self.failing && !self.poisoned {
            tracing::info!("no failure of the log for a second");
            self.failing = false;
        }
    }

    /// Whether there were failures since it was last asked.
    fn tell_of_failures(&mut self, status: &log::Status) -> bool {
        let &log::Status {
            progress, refusing, ..
        } = status;
        if let Some(log::Refusal::Poisoned(failure)) = refusing
            && !std::mem::replace(&mut self.poisoned, true)
        {
            tracing::error!(%failure, "the log is closed; every request is refused until a restart");
        }
        let failed = progress.failures != self.failures;
        if failed {
            let (failures, failure) = (
                progress.failures,
                progress.last_failure.map(tracing::field::display),
            );
            tracing::warn!(
                failures,
                failure,
                "the log could not write; requests are refused with 503"
            );
            (self.failures, self.failing) = (failures, true);
        }
        failed
    }

    /// Refusals, by reason: the first at once, then how many. A 503 is the server's trouble; the others are
    /// the clients' own. `unserved` connections were refused before they made a request.
    fn tell_of_refusals(&mut self, now: Instant, summary: &Summary, unserved: u64) {
        let mut counts = BTreeMap::from([((503, "connections_full"), unserved)]);
        for row in &summary.responses {
            if let Some(reason) = row.reason {
                *counts.entry((row.status, reason)).or_insert(0) += row.count;
            }
        }
        for ((status, reason), count) in counts {
            let (seen, repeats) = self.refusals.entry((status, reason)).or_default();
            let more = count - std::mem::replace(seen, count);
            match (repeats.due(more, now), status) {
                (None, _) => {}
                (Some(Say::First(count)), 503) => {
                    tracing::warn!(reason, status, count, "refusing requests");
                }
                (Some(Say::Again(count)), 503) => {
                    tracing::warn!(
                        reason,
                        status,
                        count,
                        "refusing requests, since this was last said"
                    );
                }
                (Some(Say::First(count)), _) => {
                    tracing::info!(reason, status, count, "refusing requests");
                }
                (Some(Say::Again(count)), _) => {
                    tracing::info!(
                        reason,
                        status,
                        count,
                        "refusing requests, since this was last said"
                    );
                }
            }
        }
    }
}
