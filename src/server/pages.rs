//! The pages that can be read: `/health`, `/ready`, `/stats` and the Prometheus exposition at `GET /metrics`.
//!
//! Promises: both forms of the statistics show the same [`Figures`], taken once. Names follow Prometheus'
//! conventions (base units, `_total` for counts); text format 0.0.4.
//! Leaves to the caller: who may read them.

use std::fmt::Write as _;

use serde::Serialize;

use crate::monitor::{QUANTILES, Summary};

use super::Shared;
use super::reply::{self, Form};
use super::routes::Page;

/// Everything the pages show, at about one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// The version of the server.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Whether the server takes metrics now.
    pub ready: bool,
    /// Why not, when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_because: Option<&'static str>,
    /// Counts that only rise.
    pub counts: Vec<Figure>,
    /// Values that rise and fall, many beside their bound.
    pub gauges: Vec<Figure>,
    /// Requests by endpoint and status.
    pub responses: Vec<Responses>,
    /// Latency by endpoint.
    pub latency: Vec<Latency>,
}

/// One number with its name and meaning.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// The name, unit last.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// What it means.
    #[serde(skip)]
    pub help: &'static str,
}

/// Requests of one endpoint answered with one status.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Responses {
    /// The endpoint.
    pub endpoint: &'static str,
    /// The status.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// The latency of one endpoint, since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The endpoint.
    pub endpoint: &'static str,
    /// Requests measured.
    pub count: u64,
    /// The sum of their latencies, in seconds.
    pub sum_s: f64,
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

impl Figures {
    /// Takes the monitor's figures in.
    pub fn add_summary(&mut self, summary: &Summary) {
        let responses = summary.responses.iter();
        self.responses = responses
            .map(|&(endpoint, status, count)| Responses {
                endpoint: endpoint.name(),
                status,
                count,
            })
            .collect();
        self.latency = summary
            .endpoints
            .iter()
            .map(|figures| {
                let [p50_us, p95_us, p99_us, p999_us] = figures.quantiles_us;
                let (endpoint, count, max_us) = (figures.endpoint.name(), figures.count, figures.max_us);
                Latency {
                    endpoint,
                    count,
                    sum_s: figures.sum.as_secs_f64(),
                    p50_us,
                    p95_us,
                    p99_us,
                    p999_us,
                    max_us,
                }
            })
            .collect();
    }
}

/// Writes a page about `shared`; answers with the status. Only the statistics gather the figures, so that a
/// probe of health or readiness costs no walk over the clients and the rings.
pub fn write(page: Page, shared: &Shared, form: Form, out: &mut Vec<u8>) -> u16 {
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

/// The figures in Prometheus' text format.
fn exposition(figures: &Figures) -> String {
    let mut text = String::with_capacity(8 * 1024);
    let metadata = |text: &mut String, name: &str, kind: &str, help: &str| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP metricstream_{name} {help}\n# TYPE metricstream_{name} {kind}\n"
        );
    };
    metadata(
        &mut text,
        "uptime_seconds",
        "gauge",
        "Time since the start of the server.",
    );
    let _ = writeln!(text, "metricstream_uptime_seconds {}", figures.uptime_s);
    metadata(
        &mut text,
        "ready",
        "gauge",
        "1 when the server takes metrics, 0 when not.",
    );
    let _ = writeln!(text, "metricstream_ready {}", u8::from(figures.ready));
    for figure in &figures.counts {
        let name = format!("{}_total", figure.name);
        metadata(&mut text, &name, "counter", figure.help);
        let _ = writeln!(text, "metricstream_{name} {}", figure.value);
    }
    for figure in &figures.gauges {
        metadata(&mut text, figure.name, "gauge", figure.help);
        let _ = writeln!(text, "metricstream_{} {}", figure.name, figure.value);
    }
    metadata(
        &mut text,
        "responses_total",
        "counter",
        "Requests answered, by endpoint and status.",
    );
    for Responses {
        endpoint,
        status,
        count,
    } in &figures.responses
    {
        let _ = writeln!(
            text,
            "metricstream_responses_total{{endpoint=\"{endpoint}\",status=\"{status}\"}} {count}"
        );
    }
    let help = "From the read that completed a request to its reply, since the start.";
    metadata(&mut text, "request_duration_seconds", "summary", help);
    for latency in &figures.latency {
        write_latency(&mut text, latency);
    }
    text
}

fn write_latency(text: &mut String, latency: &Latency) {
    const NAME: &str = "metricstream_request_duration_seconds";
    let Latency {
        endpoint,
        count,
        sum_s,
        p50_us,
        p95_us,
        p99_us,
        p999_us,
        ..
    } = latency;
    for (quantile, micros) in QUANTILES.iter().zip([p50_us, p95_us, p99_us, p999_us]) {
        #[allow(clippy::cast_precision_loss, reason = "latencies are bounded by a minute")]
        let seconds = *micros as f64 / 1e6;
        let _ = writeln!(
            text,
            "{NAME}{{endpoint=\"{endpoint}\",quantile=\"{quantile}\"}} {seconds}"
        );
    }
    let _ = writeln!(text, "{NAME}_sum{{endpoint=\"{endpoint}\"}} {sum_s}");
    let _ = writeln!(text, "{NAME}_count{{endpoint=\"{endpoint}\"}} {count}");
}
