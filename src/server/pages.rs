//! The pages that can be read: `/health`, `/ready`, `/stats`, the Prometheus exposition at `GET /metrics`,
//! and `/`, which draws the statistics in a browser.
//!
//! Promises: both forms of the statistics show the same [`Figures`], taken once; docs/monitoring.md names
//! each. The exposition follows Prometheus' conventions (base units, `_total` for counts); text format 0.0.4.
//! Leaves to the caller: who may read them.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::clock::Instant;
use crate::monitor::QUANTILES;
use crate::monitor::alerts::State;
use crate::monitor::figures::{COUNTS, Figure, FigureId, GAUGES, LIMITS, Reading};
use crate::monitor::latency::Quantiles;
use crate::monitor::{self, EndpointSummary, Summary};

use super::Shared;
use super::reply::{self, Form, Said};
use super::routes::Page;

/// Everything the pages show, at about one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// The version of the server.
    pub version: &'static str,
    /// Seconds since the start.
    #[serde(serialize_with = "number")]
    pub uptime_s: f64,
    /// Whether the server takes metrics now.
    pub ready: bool,
    /// Why not, when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_because: Option<&'static str>,
    /// Counts since the start, by name.
    pub counts: Group,
    /// Values of the moment, by name.
    pub gauges: Group,
    /// Values over the recent window, by name.
    pub recent: Group,
    /// Requests by endpoint, status and reason.
    pub responses: Vec<Responses>,
    /// Latency by endpoint.
    pub latency: Vec<Latency>,
    /// The flushes of the log to the disk.
    pub log_sync: Latency,
    /// How near each limit is.
    pub limits: Vec<Limit>,
    /// The busiest clients.
    pub clients: Clients,
    /// Every rule of alerts and how it stands.
    pub alerts: Vec<Alert>,
    /// What the exposition is made of.
    #[serde(skip)]
    pub reading: Reading,
}

/// Numbers by name.
#[derive(Clone, Debug, Default)]
pub struct Group(Vec<(String, f64)>);

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Number(*value))))
    }
}

/// Whole numbers without a fraction, others with three digits of it.
struct Number(f64);

impl Serialize for Number {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number in the range is exact"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT_MAX: f64 = 9e15;
        if self.0.fract() == 0.0 && (0.0..EXACT_MAX).contains(&self.0) {
            serializer.serialize_u64(self.0 as u64)
        } else {
            serializer.serialize_f64((self.0 * 1e3).round() / 1e3)
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Number(*value).serialize(serializer)
}

/// Requests of one endpoint answered alike.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Responses {
    /// The endpoint.
    pub endpoint: &'static str,
    /// The status.
    pub status: u16,
    /// The code of the refusal, if it was one.
    pub reason: Option<&'static str>,
    /// How many.
    pub count: u64,
}

/// The latency of one endpoint, or of the flushes to the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The endpoint, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<&'static str>,
    /// The sum since the start, in seconds.
    pub sum_s: f64,
    /// Since the start.
    pub since_start: Percentiles,
    /// Over the recent window.
    pub recent: Percentiles,
}

/// The latencies of some requests.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// Requests measured.
    pub count: u64,
    /// The median, in microseconds.
    pub p50_us: u64,
    /// 95% were at most this, in microseconds.
    pub p95_us: u64,
    /// 99% were at most this, in microseconds.
    pub p99_us: u64,
    /// 99.9% were at most this, in microseconds.
    pub p999_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

/// How near a limit is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limit {
    /// What is limited.
    pub limit: &'static str,
    /// How much is in use.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// How much may be.
    #[serde(serialize_with = "number")]
    pub max: f64,
    /// The share of it in use.
    #[serde(serialize_with = "number")]
    pub ratio: f64,
    /// What to change.
    pub setting: &'static str,
}

/// The busiest clients.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Clients {
    /// The time that the rates are over, in seconds.
    #[serde(serialize_with = "number")]
    pub window_s: f64,
    /// Requests that a client may have made besides those counted for it, at most.
    pub missed_max: u64,
    /// The busiest first.
    pub top: Vec<Client>,
}

/// One client.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Its name in the token table, its address, or a mark of its credential; nothing secret.
    pub client: String,
    /// Requests answered with success.
    pub allowed: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests a second answered with success.
    #[serde(serialize_with = "number")]
    pub allowed_per_s: f64,
    /// Requests a second refused.
    #[serde(serialize_with = "number")]
    pub refused_per_s: f64,
}

/// A rule of alerts and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// What it is called.
    pub name: String,
    /// `ok`, `pending`, `firing` or `resolved`.
    pub state: &'static str,
    /// `info`, `warning` or `critical`.
    pub severity: &'static str,
    /// The figure that is looked at.
    pub figure: String,
    /// How it is compared.
    pub comparison: &'static str,
    /// With what.
    #[serde(serialize_with = "number")]
    pub threshold: f64,
    /// How long the condition must hold, in ms.
    pub for_ms: u64,
    /// The condition as one text.
    pub condition: String,
    /// The figure at the last look.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// How long it has been in its state, in seconds; none while it is ok.
    pub since_s: Option<f64>,
    #[serde(skip)]
    level: u8,
}

impl Alert {
    /// Each of `alerts` at `now`.
    pub fn all(alerts: &[monitor::alerts::Alert], now: Instant) -> Vec<Self> {
        let row = |alert: &monitor::alerts::Alert| Self {
            name: alert.rule.name.clone(),
            state: alert.state.name(),
            severity: alert.rule.severity.name(),
            figure: alert.rule.figure.name(),
            comparison: alert.rule.comparison.sign(),
            threshold: alert.rule.threshold,
            for_ms: u64::try_from(alert.rule.hold.as_millis()).unwrap_or(u64::MAX),
            condition: alert.rule.to_string(),
            value: alert.value,
            since_s: alert.state.since().map(|since| now.since(since).as_secs_f64()),
            level: match alert.state {
                State::Ok | State::Resolved(_) => 0,
                State::Pending(_) => 1,
                State::Firing(_) => 2,
            },
        };
        alerts.iter().map(row).collect()
    }
}

impl From<Quantiles> for Percentiles {
    fn from(quantiles: Quantiles) -> Self {
        let [p50_us, p95_us, p99_us, p999_us] = quantiles.quantiles_us;
        Self {
            count: quantiles.count,
            p50_us,
            p95_us,
            p99_us,
            p999_us,
            max_us: quantiles.max_us,
        }
    }
}

impl Group {
    /// The figures `ids` of `reading`.
    pub fn of(ids: impl Iterator<Item = FigureId>, reading: &Reading) -> Self {
        Self(ids.map(|id| (id.name(), reading.value(id))).collect())
    }

    /// With one more number.
    #[must_use]
    pub fn and(mut self, name: &str, value: f64) -> Self {
        self.0.push((name.to_owned(), value));
        self
    }
}

impl Responses {
    /// As the monitor has them.
    pub fn of(summary: &Summary) -> Vec<Self> {
        let row = |row: &monitor::Responses| Self {
            endpoint: row.endpoint.name(),
            status: row.status,
            reason: row.reason,
            count: row.count,
        };
        summary.responses.iter().map(row).collect()
    }
}

impl Latency {
    /// As the monitor has them.
    pub fn of(summary: &Summary) -> Vec<Self> {
        let row = |row: &EndpointSummary| Self {
            endpoint: Some(row.endpoint.name()),
            sum_s: row.sum.as_secs_f64(),
            since_start: row.since_start.into(),
            recent: row.recent.into(),
        };
        summary.endpoints.iter().map(row).collect()
    }

    /// That of the flushes to the disk.
    #[must_use]
    pub fn of_syncs(summary: &Summary) -> Self {
        Self {
            endpoint: None,
            sum_s: summary.syncs.sum.as_secs_f64(),
            since_start: summary.syncs.since_start.into(),
            recent: summary.syncs.recent.into(),
        }
    }
}

impl Limit {
    /// Each limit by `reading`.
    pub fn all(reading: &Reading) -> Vec<Self> {
        let row = |limit: &monitor::figures::Limit| Self {
            limit: limit.name,
            value: reading.named(limit.value),
            max: reading.named(&format!("{}_max", limit.name)),
            ratio: reading.named(&format!("{}_ratio", limit.name)),
            setting: limit.setting,
        };
        LIMITS.iter().map(row).collect()
    }
}

impl Clients {
    /// As the monitor has them; `label` says what to call one.
    #[allow(clippy::cast_precision_loss, reason = "requests of some seconds")]
    pub fn of(summary: &Summary, label: impl Fn(&monitor::clients::ClientCounts) -> String) -> Self {
        // Less than a second of time makes no rate.
        let window_s = summary.clients_recent_time.as_secs_f64();
        let per_second = |count: u64| count as f64 / window_s.max(1.0);
        let row = |counts: &monitor::clients::ClientCounts| Client {
            client: label(counts),
            allowed: counts.allowed,
            refused: counts.refused,
            allowed_per_s: per_second(counts.recent_allowed),
            refused_per_s: per_second(counts.recent_refused),
        };
        Self {
            window_s,
            missed_max: summary.clients_missed_max,
            top: summary.clients.iter().map(row).collect(),
        }
    }
}

/// The page that draws the statistics: one file, from memory.
const DASHBOARD: &str = include_str!("page.html");

/// What a browser may do with the page at `/`: run its script and its style, which are known by their
/// digests, and ask this server. Whatever else should get into the page does nothing.
#[must_use]
pub fn dashboard_policy() -> String {
    let digest = |tag: &str| {
        let (_, rest) = DASHBOARD
            .split_once(&format!("<{tag}>"))
            .expect("the page has one");
        let (text, _) = rest.split_once(&format!("</{tag}>")).expect("the page has one");
        base64(&Sha256::digest(text))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest("script"),
        digest("style"),
    )
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes(group);
        for place in 0..4 {
            let letter = LETTERS[usize::try_from(number >> (18 - 6 * place)).unwrap_or_default() % 64];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

/// Writes a page about `shared`. Only the statistics gather the figures, so that a probe of health or
/// readiness costs no walk over the clients and the rings.
pub fn write(page: Page, shared: &Shared, form: Form, out: &mut Vec<u8>) -> Said {
    match page {
        Page::Health => reply::page(reply::JSON, b"{\"status\":\"ok\"}", form, out),
        Page::Ready => match shared.not_ready_because() {
            None => reply::page(reply::JSON, b"{\"status\":\"ready\"}", form, out),
            Some(reason) => {
                let body = format!("{{\"status\":\"not ready\",\"reason\":\"{reason}\"}}");
                reply::not_ready(body.as_bytes(), form, out)
            }
        },
        Page::Stats => {
            let mut body = serde_json::to_vec(&shared.figures()).unwrap_or_default();
            body.push(b'\n');
            reply::page(reply::JSON, &body, form, out)
        }
        Page::Dashboard => reply::browser_page(DASHBOARD.as_bytes(), &shared.dashboard_policy, form, out),
        Page::Exposition => {
            let body = exposition(&shared.figures());
            reply::page(
                "text/plain; version=0.0.4; charset=utf-8",
                body.as_bytes(),
                form,
                out,
            )
        }
    }
}

/// The figures in Prometheus' text format. Writing to a `String` cannot fail, so results are dropped.
fn exposition(figures: &Figures) -> String {
    let mut text = String::with_capacity(16 * 1024);
    for (figure, value) in COUNTS.iter().zip(figures.reading.counts()) {
        #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        let value = *value as f64;
        write_figure(&mut text, figure, "counter", value);
    }
    for (figure, value) in GAUGES.iter().zip(figures.reading.gauges()) {
        write_figure(&mut text, figure, "gauge", *value);
    }
    let help = "Requests answered, by endpoint, status and, when refused, reason.";
    metadata(&mut text, "metricstream_responses_total", "counter", help);
    for row in &figures.responses {
        let (endpoint, status, reason) = (row.endpoint, row.status, row.reason.unwrap_or_default());
        let _ = writeln!(
            text,
            "metricstream_responses_total{{endpoint=\"{endpoint}\",status=\"{status}\",reason=\"{reason}\"}} {}",
            row.count
        );
    }
    let help = "From the read that completed a request to its reply; quantiles over the recent window.";
    metadata(&mut text, DURATION, "summary", help);
    for latency in &figures.latency {
        write_latency(&mut text, DURATION, latency);
    }
    let help = "Time of a flush of the log to the disk; quantiles over the recent window.";
    metadata(&mut text, SYNC_DURATION, "summary", help);
    write_latency(&mut text, SYNC_DURATION, &figures.log_sync);
    let help = "Requests of the busiest clients, by outcome; other clients have no series.";
    metadata(&mut text, "metricstream_client_requests_total", "counter", help);
    for row in &figures.clients.top {
        let client = escaped(&row.client);
        for (outcome, count) in [("allowed", row.allowed), ("refused", row.refused)] {
            let _ = writeln!(
                text,
                "metricstream_client_requests_total{{client=\"{client}\",outcome=\"{outcome}\"}} {count}"
            );
        }
    }
    let help = "State of each rule of alerts: 0 ok or resolved, 1 pending, 2 firing.";
    metadata(&mut text, "metricstream_alert_state", "gauge", help);
    for Alert {
        name,
        severity,
        level,
        ..
    } in &figures.alerts
    {
        let _ = writeln!(
            text,
            "metricstream_alert_state{{alert=\"{name}\",severity=\"{severity}\"}} {level}"
        );
    }
    text
}

fn metadata(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn write_figure(text: &mut String, figure: &Figure, kind: &str, value: f64) {
    let (name, scale) = exposed(figure, kind == "counter");
    metadata(text, &name, kind, figure.help);
    let _ = writeln!(text, "{name} {}", value * scale);
}

/// The name in base units, and what to multiply the value by.
fn exposed(figure: &Figure, is_count: bool) -> (String, f64) {
    let (stem, scale) = match figure.name.rsplit_once('_') {
        Some((stem, "us")) => (format!("{stem}_seconds"), 1e-6),
        Some((stem, "ms")) => (format!("{stem}_seconds"), 1e-3),
        Some((stem, "s")) => (format!("{stem}_seconds"), 1.0),
        _ => (figure.name.to_owned(), 1.0),
    };
    let name = match figure.exposed_as {
        Some(name) => name.to_owned(),
        None if is_count => format!("metricstream_{stem}_total"),
        None => format!("metricstream_{stem}"),
    };
    (name, scale)
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

const DURATION: &str = "metricstream_request_duration_seconds";
const SYNC_DURATION: &str = "metricstream_log_sync_duration_seconds";

fn write_latency(text: &mut String, name: &str, latency: &Latency) {
    let recent = &latency.recent;
    let endpoint = latency
        .endpoint
        .map(|endpoint| format!("endpoint=\"{endpoint}\""));
    let quantiles_us = [recent.p50_us, recent.p95_us, recent.p99_us, recent.p999_us];
    for (quantile, micros) in QUANTILES.iter().zip(quantiles_us) {
        #[allow(clippy::cast_precision_loss, reason = "latencies are bounded by a minute")]
        let seconds = if recent.count > 0 {
            micros as f64 / 1e6
        } else {
            f64::NAN
        };
        let comma = endpoint
            .as_ref()
            .map_or_else(String::new, |label| format!("{label},"));
        let _ = writeln!(text, "{name}{{{comma}quantile=\"{quantile}\"}} {seconds}");
    }
    let label = endpoint.map_or_else(String::new, |label| format!("{{{label}}}"));
    let _ = writeln!(text, "{name}_sum{label} {}", latency.sum_s);
    let _ = writeln!(text, "{name}_count{label} {}", latency.since_start.count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exposed_in_base_units() {
        let find = |name: &str| {
            COUNTS
                .iter()
                .chain(GAUGES)
                .find(|figure| figure.name == name)
                .unwrap()
        };
        let shown = |name: &str, is_count| exposed(find(name), is_count);
        assert_eq!(
            shown("requests", true),
            ("metricstream_requests_total".to_owned(), 1.0)
        );
        assert_eq!(
            shown("log_lag_ms", false),
            ("metricstream_log_lag_seconds".to_owned(), 1e-3)
        );
        assert_eq!(
            shown("uptime_s", false),
            ("metricstream_uptime_seconds".to_owned(), 1.0)
        );
        assert_eq!(
            shown("cpu_ms", true),
            ("process_cpu_seconds_total".to_owned(), 1e-3)
        );
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648 section 10.
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_label_cannot_end_itself() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn numbers_are_whole_where_they_can_be() {
        let group = Group(vec![
            ("a".to_owned(), 3.0),
            ("b".to_owned(), 0.12345),
            ("c".to_owned(), -1.0),
        ]);
        assert_eq!(
            serde_json::to_string(&group).unwrap(),
            r#"{"a":3,"b":0.123,"c":-1.0}"#
        );
    }
}
