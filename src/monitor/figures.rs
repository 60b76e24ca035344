//! Every number that the server tells of itself, by name: what `GET /stats` shows, what the exposition for
//! Prometheus shows, and what the rules of alerts may use.
//!
//! Promises: a figure has one name everywhere, its unit last; [`FigureId::find`] knows each and nothing else;
//! a [`Reading`] has a value for each.
//! Leaves to the caller: to take the values.
//!
//! There are three groups: counts, which only rise while the server runs; gauges, which are of the moment;
//! and recent figures, which are of the last [`RECENT_WINDOW`]: `NAME_per_s` for each count, and
//! `ENDPOINT_p99_us` and its like for the latency of each endpoint and of the flushes to the disk.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::limits::{RECENT_SLOT, RECENT_WINDOW};

use super::latency::Quantiles;
use super::{Endpoint, EndpointSummary};

/// A figure as it is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The name, unit last.
    pub name: &'static str,
    /// The name in the exposition where it is not `metricstream_` and the name with base units.
    pub exposed_as: Option<&'static str>,
    /// What it means.
    pub help: &'static str,
}

const fn figure(name: &'static str, help: &'static str) -> Figure {
    Figure {
        name,
        exposed_as: None,
        help,
    }
}

/// Counts since the start of the server.
pub const COUNTS: &[Figure] = &[
    figure("connections_accepted", "Connections accepted and served."),
    figure(
        "connections_refused",
        "Connections refused: all were taken (503).",
    ),
    figure("connections_timed_out", "Connections closed at a deadline."),
    figure("tls_handshakes", "TLS handshakes that succeeded."),
    figure(
        "tls_handshakes_failed",
        "TLS handshakes that failed or were not done in time.",
    ),
    figure("received_bytes", "Bytes read from clients."),
    figure("sent_bytes", "Bytes written to clients."),
    figure("requests", "Requests answered."),
    figure("metrics_acknowledged", "Metrics stored and acknowledged."),
    figure("refused", "Requests refused, for whatever reason."),
    figure(
        "refused_unavailable",
        "Requests refused with 503: overload, disk trouble, stopping.",
    ),
    figure("refused_rate_limited", "Requests over a client's limit (429)."),
    figure("refused_queue_full", "Requests refused: no worker free (503)."),
    figure(
        "refused_log_full",
        "Requests refused: the log's queue full (503).",
    ),
    figure("refused_log_failed", "Requests refused: the log failed (503)."),
    figure(
        "reactor_panics",
        "Panics of the reactor: each is a bug, and cost one connection.",
    ),
    figure(
        "worker_panics",
        "Panics of a worker: each is a bug, and cost one connection.",
    ),
    figure("events_dropped", "Request events that found their ring full."),
    figure("log_records", "Lines written to the log."),
    figure("log_groups", "Groups they were written in, one write call each."),
    figure("log_syncs", "Flushes of the log to the disk."),
    figure("webhooks_sent", "Messages about alerts that the webhook took."),
    figure(
        "webhooks_failed",
        "Messages about alerts that the webhook did not take.",
    ),
    figure(
        "webhooks_dropped",
        "Messages about alerts that were not sent: too many waited, or a stop.",
    ),
    figure("log_failures", "Failures of the disk under the log."),
    figure("log_rotations", "Segments of the log sealed."),
    figure("log_rotation_failures", "Rotations that failed and were put off."),
    figure("log_removed_segments", "Sealed segments that retention removed."),
    figure("log_removed_bytes", "Bytes in them."),
    figure("log_compressed_segments", "Sealed segments that were compressed."),
    figure(
        "log_keeper_failures",
        "Removals and compressions that failed and were put off.",
    ),
    figure(
        "log_breaker_openings",
        "Times that the disk was left alone after groups failed in a row.",
    ),
    Figure {
        name: "cpu_ms",
        exposed_as: Some("process_cpu_seconds_total"),
        help: "Processor time of all threads.",
    },
];

/// Values of the moment.
pub const GAUGES: &[Figure] = &[
    figure("alerts_firing", "Alerts that are firing."),
    figure("ready", "1 when the server takes metrics, 0 when not."),
    figure("uptime_s", "Time since the start of the server."),
    figure("connections_open", "Connections open."),
    figure(
        "connections_paused",
        "Connections left unread after a refusal for overload.",
    ),
    figure("connections_max", "Connections that may be open."),
    figure("connections_ratio", "Share of connections_max in use."),
    figure("queue_jobs", "Connections that wait for a worker."),
    figure("queue_jobs_max", "Connections that may wait for a worker."),
    figure("queue_jobs_ratio", "Share of queue_jobs_max in use."),
    figure("request_buffer_bytes", "Bytes of partly received requests."),
    figure("request_buffer_bytes_max", "Bytes they may take."),
    figure(
        "request_buffer_bytes_ratio",
        "Share of request_buffer_bytes_max in use.",
    ),
    figure("clients", "Clients the rate limiter tracks."),
    figure("clients_max", "Clients it may track."),
    figure("clients_ratio", "Share of clients_max in use."),
    figure("log_queue_bytes", "Bytes that wait for the log's writer."),
    figure("log_queue_bytes_max", "Bytes that may wait for the log's writer."),
    figure("log_queue_bytes_ratio", "Share of log_queue_bytes_max in use."),
    figure("log_queue_batches", "Batches that wait for the log's writer."),
    figure(
        "log_queue_batches_max",
        "Batches that may wait for the log's writer.",
    ),
    figure(
        "log_queue_batches_ratio",
        "Share of log_queue_batches_max in use.",
    ),
    figure(
        "log_lag_batches",
        "Batches accepted by the log whose outcome is not decided.",
    ),
    figure(
        "log_lag_ms",
        "How long the oldest of them has waited; exact to 25 ms.",
    ),
    figure("log_written_bytes", "Length of the active segment of the log."),
    figure("log_synced_bytes", "Length of it that is on the disk."),
    figure("log_segments", "Sealed segments of the log."),
    figure("log_segment_bytes", "Bytes in them."),
    figure(
        "log_breaker_state",
        "Whether the disk is left alone: 0 closed, 1 half open, 2 open.",
    ),
    figure(
        "log_keeper_failing",
        "1 while a removal or a compression is put off after a failure.",
    ),
    Figure {
        name: "resident_memory_bytes",
        exposed_as: Some("process_resident_memory_bytes"),
        help: "Memory of the process that is in RAM.",
    },
    Figure {
        name: "open_files",
        exposed_as: Some("process_open_fds"),
        help: "File descriptors in use.",
    },
    Figure {
        name: "open_files_max",
        exposed_as: Some("process_max_fds"),
        help: "File descriptors the process may use.",
    },
    figure("open_files_ratio", "Share of open_files_max in use."),
];

/// A bound of the server that fills up, and what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The gauge; the bound is that name and `_max`, the share that name and `_ratio`.
    pub name: &'static str,
    /// The gauge of the value, where its name is another.
    pub value: &'static str,
    /// What to change.
    pub setting: &'static str,
}

/// Every bound that fills up.
pub const LIMITS: &[Limit] = &[
    limit("connections", "connections_open", "connections_max"),
    limit("queue_jobs", "queue_jobs", "queue_jobs_max"),
    limit(
        "request_buffer_bytes",
        "request_buffer_bytes",
        "request_buffer_bytes_max",
    ),
    limit("clients", "clients", "clients_max"),
    limit("log_queue_bytes", "log_queue_bytes", "log_queue_bytes_max"),
    limit("log_queue_batches", "log_queue_batches", "log_queue_batches_max"),
    limit("open_files", "open_files", "ulimit -n"),
];

const fn limit(name: &'static str, value: &'static str, setting: &'static str) -> Limit {
    Limit { name, value, setting }
}

/// What the names of the figures of the flushes to the disk begin with.
const SYNC: &str = "log_sync";

/// What of an endpoint's recent latency is a figure: the ends of the names.
pub const LATENCIES: [&str; 5] = ["p50_us", "p95_us", "p99_us", "p999_us", "max_us"];

/// One figure of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FigureId(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Place in [`COUNTS`].
    Count(usize),
    /// Place in [`GAUGES`].
    Gauge(usize),
    /// Place in [`COUNTS`] of what it is the rate of.
    Rate(usize),
    /// Endpoint, and place in [`LATENCIES`].
    Latency(Endpoint, usize),
    /// Place in [`LATENCIES`], of the flushes to the disk.
    Sync(usize),
}

impl FigureId {
    /// The figure of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::all().find(|id| id.is_named(name))
    }

    /// Every figure: counts, gauges, recent ones.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::counts().chain(Self::gauges()).chain(Self::recent())
    }

    /// The counts.
    pub fn counts() -> impl Iterator<Item = Self> {
        (0..COUNTS.len()).map(|place| Self(Kind::Count(place)))
    }

    /// The gauges.
    pub fn gauges() -> impl Iterator<Item = Self> {
        (0..GAUGES.len()).map(|place| Self(Kind::Gauge(place)))
    }

    /// The recent ones.
    pub fn recent() -> impl Iterator<Item = Self> {
        let rates = (0..COUNTS.len()).map(Kind::Rate);
        let latencies = Endpoint::ALL
            .into_iter()
            .flat_map(|endpoint| (0..LATENCIES.len()).map(move |which| Kind::Latency(endpoint, which)));
        let syncs = (0..LATENCIES.len()).map(Kind::Sync);
        rates.chain(latencies).chain(syncs).map(Self)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        match self.0 {
            Kind::Count(place) => COUNTS[place].name.to_owned(),
            Kind::Gauge(place) => GAUGES[place].name.to_owned(),
            Kind::Rate(place) => format!("{}_per_s", COUNTS[place].name),
            Kind::Latency(endpoint, which) => format!("{}_{}", endpoint.name(), LATENCIES[which]),
            Kind::Sync(which) => format!("{SYNC}_{}", LATENCIES[which]),
        }
    }

    fn is_named(self, name: &str) -> bool {
        match self.0 {
            Kind::Count(place) => COUNTS[place].name == name,
            Kind::Gauge(place) => GAUGES[place].name == name,
            Kind::Rate(place) => name.strip_suffix("_per_s") == Some(COUNTS[place].name),
            Kind::Latency(endpoint, which) => after(endpoint.name(), name) == Some(LATENCIES[which]),
            Kind::Sync(which) => after(SYNC, name) == Some(LATENCIES[which]),
        }
    }
}

/// What follows `start` and an underscore in `name`.
fn after<'a>(start: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(start)?.strip_prefix('_')
}

/// The value of every figure at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    counts: Vec<u64>,
    gauges: Vec<f64>,
    rates: Vec<f64>,
    latencies: [Quantiles; Endpoint::ALL.len()],
    syncs: Quantiles,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            counts: vec![0; COUNTS.len()],
            gauges: vec![0.0; GAUGES.len()],
            rates: vec![0.0; COUNTS.len()],
            latencies: [Quantiles::default(); Endpoint::ALL.len()],
            syncs: Quantiles::default(),
        }
    }
}

impl Reading {
    /// Sets a count.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn set_count(&mut self, name: &str, value: u64) {
        let place = COUNTS.iter().position(|figure| figure.name == name);
        self.counts[place.expect("a count of the catalogue")] = value;
    }

    /// Sets a gauge.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn set_gauge(&mut self, name: &str, value: f64) {
        let place = GAUGES.iter().position(|figure| figure.name == name);
        self.gauges[place.expect("a gauge of the catalogue")] = value;
    }

    /// Sets a gauge to a whole number.
    ///
    /// # Panics
    /// When there is none of this name.
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, which is 8 PiB")]
    pub fn set_whole(&mut self, name: &str, value: u64) {
        self.set_gauge(name, value as f64);
    }

    /// Sets the recent times of the flushes to the disk.
    pub fn set_syncs(&mut self, recent: Quantiles) {
        self.syncs = recent;
    }

    /// Sets the recent latencies.
    pub fn set_latencies(&mut self, endpoints: &[EndpointSummary]) {
        for summary in endpoints {
            self.latencies[summary.endpoint as usize] = summary.recent;
        }
    }

    /// Sets the share of each limit in use; its value and its bound are set.
    pub fn set_ratios(&mut self) {
        for limit in LIMITS {
            let value = self.named(limit.value);
            let bound = self.named(&format!("{}_max", limit.name));
            let ratio = if bound > 0.0 { value / bound } else { 0.0 };
            self.set_gauge(&format!("{}_ratio", limit.name), ratio);
        }
    }

    /// The counts, in the order of [`COUNTS`].
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The gauges, in the order of [`GAUGES`].
    #[must_use]
    pub fn gauges(&self) -> &[f64] {
        &self.gauges
    }

    /// The value of a figure.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    pub fn value(&self, figure: FigureId) -> f64 {
        match figure.0 {
            Kind::Count(place) => self.counts[place] as f64,
            Kind::Gauge(place) => self.gauges[place],
            Kind::Rate(place) => self.rates[place],
            Kind::Latency(endpoint, which) => micros(&self.latencies[endpoint as usize], which),
            Kind::Sync(which) => micros(&self.syncs, which),
        }
    }

    /// The value of the figure `name`.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> f64 {
        self.value(FigureId::find(name).expect("a figure of the catalogue"))
    }
}

/// The one of [`LATENCIES`] at `which`, in microseconds.
#[allow(clippy::cast_precision_loss, reason = "latencies are bounded by a minute")]
fn micros(quantiles: &Quantiles, which: usize) -> f64 {
    *quantiles.quantiles_us.get(which).unwrap_or(&quantiles.max_us) as f64
}

/// The counts of the recent window, from which the rates are.
#[derive(Debug, Default)]
pub struct History {
    /// The oldest first.
    past: VecDeque<(Instant, Vec<u64>)>,
}

impl History {
    /// Keeps the counts of `reading`, taken at `now`; at most once a [`RECENT_SLOT`].
    pub fn keep(&mut self, now: Instant, reading: &Reading) {
        let due = self
            .past
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= RECENT_SLOT);
        if !due {
            return;
        }
        self.past.push_back((now, reading.counts.clone()));
        // The one that is as old as the window or older is the last that is of use.
        while self
            .past
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= RECENT_WINDOW)
        {
            self.past.pop_front();
        }
    }

    /// Sets the rates of `reading`, taken at `now`; answers with the time that they are over. Without a
    /// history they are zero.
    #[allow(clippy::cast_precision_loss, reason = "a difference within seconds")]
    pub fn set_rates(&self, now: Instant, reading: &mut Reading) -> Duration {
        let Some((at, counts)) = self.past.front() else {
            return Duration::ZERO;
        };
        let time = now.since(*at);
        // In the first second a few requests are no rate yet.
        let seconds = time.max(RECENT_SLOT).as_secs_f64();
        for (place, rate) in reading.rates.iter_mut().enumerate() {
            let more = reading.counts[place].saturating_sub(counts[place]);
            *rate = more as f64 / seconds;
        }
        time
    }
}

/// How far the log's writer is behind, by looking at it again and again.
#[derive(Debug, Default)]
pub struct Lag {
    /// When so many batches had been accepted, the oldest first; each was not settled at the last look.
    seen: VecDeque<(Instant, u64)>,
}

impl Lag {
    /// Looks: `accepted` and `settled` are positions in the log. Answers with how long the oldest batch that
    /// is not settled has been waiting for certain.
    pub fn look(&mut self, now: Instant, accepted: u64, settled: u64) -> Duration {
        while self
            .seen
            .front()
            .is_some_and(|(_, position)| *position <= settled)
        {
            self.seen.pop_front();
        }
        let news = self.seen.back().is_none_or(|(_, position)| *position < accepted);
        if accepted > settled && news {
            if self.seen.len() >= LOOKS_MAX {
                // The oldest one stays: it is the answer.
                self.seen.remove(1);
            }
            self.seen.push_back((now, accepted));
        }
        self.oldest(now)
    }

    /// How long the oldest batch that was not settled at the last look had waited, at `now`.
    #[must_use]
    pub fn oldest(&self, now: Instant) -> Duration {
        self.seen.front().map_or(Duration::ZERO, |(at, _)| now.since(*at))
    }
}

/// Looks remembered: a writer that is behind by more shows some of the waiting too late.
const LOOKS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn each_name_is_of_one_figure_and_finds_it() {
        let names: BTreeSet<_> = FigureId::all().map(FigureId::name).collect();
        assert_eq!(names.len(), FigureId::all().count());
        for id in FigureId::all() {
            assert_eq!(FigureId::find(&id.name()), Some(id));
        }
        for name in [
            "",
            "_per_s",
            "request",
            "ingest_",
            "ingest_p98_us",
            "requests_per_s_per_s",
        ] {
            assert_eq!(FigureId::find(name), None, "{name}");
        }
    }

    #[test]
    fn every_limit_has_its_figures() {
        let mut reading = Reading::default();
        for (limit, value) in LIMITS.iter().zip(1..) {
            reading.set_whole(limit.value, value);
            reading.set_whole(&format!("{}_max", limit.name), 4);
        }
        reading.set_ratios();
        assert!((reading.named("queue_jobs_ratio") - 0.5).abs() < 1e-9);
        assert!((reading.named("open_files_ratio") - 1.75).abs() < 1e-9);
    }

    #[test]
    fn rates_are_over_the_window() {
        let (mut history, mut reading) = (History::default(), Reading::default());
        assert_eq!(history.set_rates(at(0), &mut reading), Duration::ZERO);
        for second in 0..=30_u64 {
            // 100 a second for 20 s, then 10.
            let requests = 100 * second.min(20) + 10 * second.saturating_sub(20);
            reading.set_count("requests", requests);
            history.keep(at(second * 1000), &reading);
            history.keep(at(second * 1000 + 400), &reading);
        }
        assert_eq!(history.past.len(), 11);
        let time = history.set_rates(at(30_000), &mut reading);
        assert_eq!(time, RECENT_WINDOW);
        assert!((reading.named("requests_per_s") - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_lag_is_that_of_the_oldest_batch() {
        let mut lag = Lag::default();
        assert_eq!(lag.look(at(0), 5, 5), Duration::ZERO);
        assert_eq!(lag.look(at(10), 6, 5), Duration::ZERO);
        assert_eq!(lag.look(at(20), 9, 5), Duration::from_millis(10));
        assert_eq!(lag.look(at(30), 9, 6), Duration::from_millis(10), "9 came by 20");
        assert_eq!(lag.look(at(40), 9, 9), Duration::ZERO);
        for look in 0..10_000 {
            lag.look(at(100 + look), 10 + look, 9);
        }
        assert_eq!(lag.oldest(at(10_100)), Duration::from_millis(10_000));
        assert!(lag.seen.len() <= LOOKS_MAX);
    }
}
