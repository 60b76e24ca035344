//! The report of a run: text for people, one JSON object for programs.
//!
//! Promises: pure; units stand last in the names of JSON fields; a latency percentile is the latency that
//! so many of the 2xx replies did not exceed, to three significant digits. In an open loop latency runs from
//! the moment a request was due, so a server that stalls shows the wait of every request it held up
//! (corrected for coordinated omission); `service_*_us` has the time from the actual start.
//! Leaves to the caller: printing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::Tally;

/// What the run was, for the reader of its report.
#[derive(Clone, Debug)]
pub struct Title {
    /// The target, as a URL.
    pub url: String,
    /// Clients.
    pub clients: u32,
    /// Generator threads.
    pub threads: u32,
    /// Metrics in a request.
    pub batch: u32,
    /// Whether a connection served more than one request.
    pub keep_alive: bool,
    /// The rate of an open loop.
    pub requests_per_second: Option<f64>,
}

/// How the run went as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    /// From the end of the warm-up to the last reply.
    pub elapsed: Duration,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Idle connections: held, and still open at the end.
    pub idle: Option<(u64, u64)>,
}

/// The report; serialised, the JSON output.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The target.
    pub url: String,
    /// Clients.
    pub clients: u32,
    /// Generator threads.
    pub threads: u32,
    /// Metrics in a request.
    pub batch_metrics: u32,
    /// `keep-alive` or `per-request`.
    pub connection: &'static str,
    /// `open` or `closed`.
    pub r#loop: &'static str,
    /// The rate asked for, in an open loop.
    pub rate_requests_per_second: Option<f64>,
    /// Whether the run was ended early.
    pub interrupted: bool,
    /// From the end of the warm-up to the last reply.
    pub elapsed_s: f64,
    /// Requests measured: replies and failures.
    pub requests: u64,
    /// Requests answered with 2xx.
    pub requests_succeeded: u64,
    /// Share of those, `0 ..= 100`.
    pub success_percent: f64,
    /// Replies in a second, whatever their status.
    pub requests_per_second: f64,
    /// Metrics acknowledged by 2xx replies.
    pub metrics_acknowledged: u64,
    /// The same in a second.
    pub metrics_per_second: f64,
    /// Replies, by status code.
    pub status: BTreeMap<u16, u64>,
    /// Requests without a reply, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// Latency of 2xx replies.
    #[serde(flatten)]
    pub latency: Latency,
    /// Time from the actual start of the request, in microseconds: its 99th percentile.
    pub service_p99_us: f64,
    /// The same: the longest.
    pub service_max_us: f64,
    /// Latency of replies other than 2xx, in microseconds: its median.
    pub refused_latency_p50_us: f64,
    /// The same: the 99th percentile.
    pub refused_latency_p99_us: f64,
    /// Connections made.
    pub connections: u64,
    /// Attempts to connect that failed and were repeated.
    pub connect_retries: u64,
    /// Bytes handed to the kernel, warm-up included.
    pub sent_bytes: u64,
    /// Bytes taken from the kernel, warm-up included.
    pub received_bytes: u64,
    /// Requests of the warm-up.
    pub warmup_requests: u64,
    /// Those of them not answered with 2xx.
    pub warmup_requests_failed: u64,
    /// Metrics they acknowledged: stored as well.
    pub warmup_metrics_acknowledged: u64,
    /// Idle connections held during the run.
    pub idle_connections: u64,
    /// Those that still answered at the end.
    pub idle_connections_alive: u64,
}

/// Percentiles in microseconds; all 0 when there was nothing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Shortest.
    pub latency_min_us: f64,
    /// Mean.
    pub latency_mean_us: f64,
    /// Median.
    pub latency_p50_us: f64,
    /// 95 of 100 were no longer.
    pub latency_p95_us: f64,
    /// 99 of 100 were no longer.
    pub latency_p99_us: f64,
    /// 999 of 1000 were no longer.
    pub latency_p999_us: f64,
    /// Longest.
    pub latency_max_us: f64,
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            latency_min_us: micros(histogram.min()),
            latency_mean_us: round(histogram.mean() / 1e3),
            latency_p50_us: quantile(0.5),
            latency_p95_us: quantile(0.95),
            latency_p99_us: quantile(0.99),
            latency_p999_us: quantile(0.999),
            latency_max_us: micros(histogram.max()),
        }
    }
}

impl Report {
    /// Puts together what was asked and what was counted.
    #[must_use]
    pub fn new(title: &Title, course: &Course, tally: &Tally) -> Self {
        let elapsed_s = course.elapsed.as_secs_f64();
        let per_second = |count: u64| {
            if elapsed_s > 0.0 {
                round(count as f64 / elapsed_s)
            } else {
                0.0
            }
        };
        let requests = tally.requests();
        let succeeded = tally.successes();
        let (idle, idle_alive) = course.idle.unwrap_or((0, 0));
        Self {
            url: title.url.clone(),
            clients: title.clients,
            threads: title.threads,
            batch_metrics: title.batch,
            connection: if title.keep_alive {
                "keep-alive"
            } else {
                "per-request"
            },
            r#loop: if title.requests_per_second.is_some() {
                "open"
            } else {
                "closed"
            },
            rate_requests_per_second: title.requests_per_second,
            interrupted: course.interrupted,
            elapsed_s,
            requests,
            requests_succeeded: succeeded,
            success_percent: percent(succeeded, requests),
            requests_per_second: per_second(tally.statuses.values().sum()),
            metrics_acknowledged: tally.metrics,
            metrics_per_second: per_second(tally.metrics),
            status: tally.statuses.clone(),
            errors: tally
                .failures
                .iter()
                .map(|(failure, count)| (failure.name(), *count))
                .collect(),
            latency: Latency::of(&tally.latency),
            service_p99_us: micros(tally.service.value_at_quantile(0.99)),
            service_max_us: micros(tally.service.max()),
            refused_latency_p50_us: micros(tally.refused_latency.value_at_quantile(0.5)),
            refused_latency_p99_us: micros(tally.refused_latency.value_at_quantile(0.99)),
            connections: tally.connections,
            connect_retries: tally.connect_retries,
            sent_bytes: tally.bytes_sent,
            received_bytes: tally.bytes_received,
            warmup_requests: tally.warmup.requests,
            warmup_requests_failed: tally.warmup.failed,
            warmup_metrics_acknowledged: tally.warmup.metrics,
            idle_connections: idle,
            idle_connections_alive: idle_alive,
        }
    }

    /// Whether every request was answered with 2xx, or, with `allow_refusals`, with 429 or 503; and every
    /// idle connection still answered. A run that measured nothing did not succeed.
    #[must_use]
    pub fn is_success(&self, allow_refusals: bool) -> bool {
        let refused = if allow_refusals { self.refusals() } else { 0 };
        self.requests > 0
            && self.requests_succeeded + refused == self.requests
            && self.idle_connections == self.idle_connections_alive
    }

    /// The JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        // Maps with number keys and finite floats: nothing here can fail to serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| _ = writeln!(text, "{name:<12}{value}");
        line("target", self.headline());
        line(
            "requests",
            format!(
                "{} in {:.2} s, {:.1}/s",
                self.requests, self.elapsed_s, self.requests_per_second
            ),
        );
        line(
            "success",
            format!(
                "{:.2}% ({} of {})",
                self.success_percent, self.requests_succeeded, self.requests
            ),
        );
        line("status", list(self.status.iter()));
        line("errors", list(self.errors.iter()));
        line(
            "metrics",
            format!(
                "{} acknowledged, {:.1}/s",
                self.metrics_acknowledged, self.metrics_per_second
            ),
        );
        line("latency", self.latency_text());
        if self.rate_requests_per_second.is_some() {
            line(
                "service",
                format!(
                    "p99 {}  max {}",
                    time(self.service_p99_us),
                    time(self.service_max_us)
                ),
            );
        }
        line(
            "connections",
            format!(
                "{} made, {} attempts repeated",
                self.connections, self.connect_retries
            ),
        );
        line(
            "bytes",
            format!("{} sent, {} received", self.sent_bytes, self.received_bytes),
        );
        self.push_extras(&mut line);
        text
    }

    /// What only some runs have to say.
    fn push_extras(&self, line: &mut impl FnMut(&str, String)) {
        if self.refused_latency_p99_us > 0.0 {
            let (p50, p99) = (self.refused_latency_p50_us, self.refused_latency_p99_us);
            line(
                "refused",
                format!(
                    "p50 {}  p99 {}: latency of other replies than 2xx",
                    time(p50),
                    time(p99)
                ),
            );
        }
        if self.warmup_requests > 0 {
            line(
                "warm-up",
                format!(
                    "{} requests ({} failed), {} metrics acknowledged: not in the figures above",
                    self.warmup_requests, self.warmup_requests_failed, self.warmup_metrics_acknowledged
                ),
            );
        }
        if self.idle_connections > 0 {
            line(
                "idle",
                format!(
                    "{} of {} connections still open",
                    self.idle_connections_alive, self.idle_connections
                ),
            );
        }
        if self.interrupted {
            line("interrupted", "the run was ended early".to_owned());
        }
    }

    fn refusals(&self) -> u64 {
        [429, 503]
            .iter()
            .filter_map(|status| self.status.get(status))
            .sum()
    }

    fn headline(&self) -> String {
        let pace = match self.rate_requests_per_second {
            Some(rate) => format!("open loop at {rate} requests/s"),
            None => "closed loop".to_owned(),
        };
        let connection = self.connection;
        format!(
            "{}, {} clients, {} metrics a request, {connection}, {pace}",
            self.url, self.clients, self.batch_metrics
        )
    }

    fn latency_text(&self) -> String {
        let latency = &self.latency;
        format!(
            "p50 {}  p95 {}  p99 {}  p99.9 {}  max {}",
            time(latency.latency_p50_us),
            time(latency.latency_p95_us),
            time(latency.latency_p99_us),
            time(latency.latency_p999_us),
            time(latency.latency_max_us)
        )
    }
}

fn list<K: std::fmt::Display>(counts: impl Iterator<Item = (K, impl std::fmt::Display)>) -> String {
    let all: Vec<_> = counts.map(|(name, count)| format!("{name}: {count}")).collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

/// Microseconds in the unit that reads best.
fn time(micros: f64) -> String {
    match micros {
        0.0..1_000.0 => format!("{micros:.0} us"),
        1_000.0..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

fn micros(nanos: u64) -> f64 {
    round(nanos as f64 / 1e3)
}

/// To a tenth: the histogram keeps three digits, and nobody reads more.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::super::response::Response;
    use super::super::tally::{Failure, Sample};
    use super::*;

    fn title(rate: Option<f64>) -> Title {
        Title {
            url: "http://127.0.0.1:8080/metrics".to_owned(),
            clients: 2,
            threads: 1,
            batch: 3,
            keep_alive: true,
            requests_per_second: rate,
        }
    }

    fn tally(latencies: &[Duration]) -> Tally {
        let mut tally = Tally::new();
        for latency in latencies {
            let sample = Sample {
                measured: true,
                latency: *latency,
                service: *latency,
            };
            let response = Response {
                status: 200,
                metrics: 3,
                retry_after_s: None,
                keep_alive: true,
            };
            tally.reply(&sample, &response);
        }
        tally
    }

    fn report(tally: &Tally, course: Course) -> Report {
        Report::new(&title(None), &course, tally)
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        // Skewed latencies between 20 us and 2.2 s.
        let mut latencies: Vec<_> = (0..10_007_u64)
            .map(|index| {
                let index = (index * 7919) % 10_007;
                Duration::from_nanos(20_000 + index * index * 22 + (index / 9_990) * 1_000_000_000)
            })
            .collect();
        let latency = report(&tally(&latencies), Course::default()).latency;
        latencies.sort();
        for (per_mille, reported) in [
            (500, latency.latency_p50_us),
            (950, latency.latency_p95_us),
            (990, latency.latency_p99_us),
            (999, latency.latency_p999_us),
            (1000, latency.latency_max_us),
        ] {
            // Nearest rank: the smallest value that so many do not exceed.
            let rank = (latencies.len() * per_mille).div_ceil(1000) - 1;
            let expected = latencies[rank].as_nanos() as f64 / 1e3;
            let error = (reported - expected).abs() / expected;
            assert!(
                error < 0.002,
                "{per_mille}: {reported} us, {expected} us in the sorted list"
            );
        }
    }

    #[test]
    fn rates_are_counts_over_the_time() {
        let course = Course {
            elapsed: Duration::from_millis(500),
            ..Course::default()
        };
        let mut tally = tally(&[Duration::from_millis(1); 9]);
        tally.failure(true, Failure::Timeout);
        let report = report(&tally, course);
        assert_eq!((report.requests, report.requests_succeeded), (10, 9));
        assert_eq!(
            (report.requests_per_second, report.metrics_per_second),
            (18.0, 54.0)
        );
        assert_eq!(report.success_percent, 90.0);
        assert!(!report.is_success(true));
    }

    #[test]
    fn refusals_are_failures_unless_allowed() {
        let mut tally = tally(&[Duration::from_millis(1)]);
        assert!(report(&tally, Course::default()).is_success(false));
        tally.statuses.insert(429, 2);
        tally.statuses.insert(503, 1);
        let refused = report(&tally, Course::default());
        assert!(!refused.is_success(false));
        assert!(refused.is_success(true));
        tally.statuses.insert(500, 1);
        assert!(!report(&tally, Course::default()).is_success(true));
    }

    #[test]
    fn nothing_measured_or_an_idle_connection_lost_is_no_success() {
        assert!(!report(&Tally::new(), Course::default()).is_success(true));
        for (alive, success) in [(4, true), (3, false)] {
            let course = Course {
                idle: Some((4, alive)),
                ..Course::default()
            };
            let report = report(&tally(&[Duration::from_millis(1)]), course);
            assert_eq!(report.is_success(false), success);
        }
    }

    #[test]
    fn json_is_one_flat_object_with_units_in_its_names() {
        let mut tally = tally(&[Duration::from_micros(250); 4]);
        tally.failure(true, Failure::NoLocalPort);
        let json = Report::new(&title(Some(12.5)), &Course::default(), &tally).json();
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["status"]["200"], 4);
        assert_eq!(value["errors"]["no_local_port"], 1);
        assert_eq!(
            (&value["loop"], &value["connection"]),
            (&"open".into(), &"keep-alive".into())
        );
        assert_eq!(value["rate_requests_per_second"], 12.5);
        let p99 = value["latency_p99_us"].as_f64().expect("number");
        assert!((249.0..251.0).contains(&p99), "{p99}");
    }

    #[test]
    fn the_text_says_what_went_wrong() {
        let mut tally = tally(&[Duration::from_micros(250)]);
        tally.statuses.insert(503, 2);
        tally.refused_latency.saturating_record(2_000_000);
        tally.failure(true, Failure::Reset);
        let course = Course {
            interrupted: true,
            idle: Some((5, 4)),
            ..Course::default()
        };
        let text = report(&tally, course).text();
        for part in [
            "200: 1, 503: 2",
            "reset: 1",
            "25.00%",
            "4 of 5",
            "interrupted",
            "p99.9 250 us",
            "refused     p50 2.00 ms",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
