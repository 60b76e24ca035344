//! The requests that simulated clients send, and what each may be answered with.
//!
//! Promises: every request is of a kind whose fate is known beforehand; every metric has a name that no other
//! has. Leaves to the caller: how the bytes are split on their way.

use super::chance::Stream;
use super::plan::BODY_BYTES_MAX;
use metricstream::config::AckLevel;
use std::fmt::{self, Write as _};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Metrics to be stored.
    Metrics,
    /// `GET /health`: 200 whatever happens.
    Page,
    /// `GET /stats` or `GET /metrics`: 200, or 403 by strict rules.
    Statistics,
    /// `GET /ready`: 200 or 503.
    Ready,
    /// A body that is not JSON: 400, the connection goes on.
    BadJson,
    /// JSON that is no metrics: 400, the connection goes on.
    BadMetrics,
    /// A path that does not exist: 404.
    NotFound,
    /// A method that the path does not take: 405.
    BadMethod,
    /// A POST that does not say how long its body is: 411.
    NoLength,
    /// A head that cannot be followed: 400, the connection ends.
    Malformed,
    /// A body over the limit: 413, the connection ends.
    TooLarge,
}

/// A metric as its line must say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: i64,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// What goes over the wire.
    pub bytes: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
    /// Whether it is the last of its connection by its own word.
    pub close: bool,
    /// Whose it is to the rate limiter; zero brings no credential.
    pub credential: usize,
    /// The level it asks for.
    pub level: Option<AckLevel>,
    /// The metrics it brings, if they are to be stored.
    pub metrics: Vec<Metric>,
}

impl Request {
    /// Whether the rate limiter is asked about it.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(self.kind, Kind::Metrics | Kind::BadJson | Kind::BadMetrics)
    }

    /// Draws request `prefix`, the last of its connection or not; `reloads` when the rules change meanwhile.
    pub fn draw(stream: &mut Stream, prefix: &str, credential: usize, last: bool, reloads: bool) -> Self {
        let kind = match draw_kind(stream, last) {
            // The long ones take many steps on a narrow link.
            Kind::Page if stream.one_in(4) => Kind::Statistics,
            Kind::Metrics if reloads && stream.one_in(3) => Kind::Statistics,
            kind => kind,
        };
        let close = last && stream.one_in(3);
        let mut request = Self {
            bytes: Vec::new(),
            kind,
            close,
            credential,
            level: None,
            metrics: Vec::new(),
        };
        let mut head = String::new();
        let version = if close && stream.one_in(3) { "1.0" } else { "1.1" };
        let target = match kind {
            Kind::Statistics => stream.pick(&["GET /stats", "GET /metrics"]),
            Kind::Page => "GET /health",
            Kind::Ready => "GET /ready",
            Kind::NotFound => stream.pick(&["GET /none", "POST /none"]),
            Kind::BadMethod => "PUT /metrics",
            _ => "POST /metrics",
        };
        let _ = write!(head, "{target} HTTP/{version}\r\nHost: s\r\n");
        if kind == Kind::Malformed {
            head.push_str("Bad Field: 1\r\n");
        }
        if credential > 0 {
            let _ = write!(head, "Authorization: Bearer key-{credential}\r\n");
        }
        if close && version == "1.1" {
            head.push_str("Connection: close\r\n");
        }
        if kind == Kind::Metrics && stream.one_in(2) {
            let (level, name) = stream.pick(&[
                (AckLevel::Queued, "queued"),
                (AckLevel::Written, "written"),
                (AckLevel::Synced, "synced"),
            ]);
            request.level = Some(level);
            let _ = write!(head, "MetricStream-Ack: {name}\r\n");
        }
        request.bytes = head.into_bytes();
        let has_body = target.starts_with('P') && kind != Kind::NoLength;
        if has_body {
            request.add_body(stream, prefix, version);
        } else {
            request.bytes.extend_from_slice(b"\r\n");
        }
        request
    }

    fn add_body(&mut self, stream: &mut Stream, prefix: &str, version: &str) {
        let body = self.draw_body(stream, prefix);
        if version == "1.1" && stream.one_in(4) {
            self.bytes.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        if version == "1.1" && self.kind != Kind::TooLarge && stream.one_in(3) {
            self.bytes
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = body.as_slice();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + stream.below(rest.len()));
                self.bytes
                    .extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                self.bytes.extend_from_slice(chunk);
                self.bytes.extend_from_slice(b"\r\n");
                rest = after;
            }
            self.bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            let field = format!("Content-Length: {}\r\n\r\n", body.len());
            self.bytes.extend_from_slice(field.as_bytes());
            self.bytes.extend_from_slice(&body);
        }
    }

    fn draw_body(&mut self, stream: &mut Stream, prefix: &str) -> Vec<u8> {
        match self.kind {
            Kind::BadJson => return b"{\"metrics\":[{\"name\":\"bad\",}]}".to_vec(),
            Kind::BadMetrics => return b"{\"metrics\":[{\"name\":\"bad\"}]}".to_vec(),
            Kind::TooLarge => return vec![b' '; BODY_BYTES_MAX + 1],
            _ => {}
        }
        let mut body = String::from("{\"metrics\":[");
        for number in 0..1 + stream.below(3) {
            let metric = Metric {
                name: format!("{prefix}.{number}"),
                value: i64::try_from(stream.below(2_000)).expect("small") - 1_000,
            };
            let more = stream.pick(&["", ",\"type\":\"counter\"", ",\"tags\":{\"a\":\"\\u00e9\"}"]);
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(
                body,
                "{comma}{{\"name\":\"{}\",\"value\":{}{more}}}",
                metric.name, metric.value
            );
            if self.kind == Kind::Metrics {
                self.metrics.push(metric);
            }
        }
        body.push_str("]}");
        body.into_bytes()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        write!(f, "{:?} of {} bytes: {:.300?}", self.kind, self.bytes.len(), text)
    }
}

fn draw_kind(stream: &mut Stream, last: bool) -> Kind {
    match stream.below(20) {
        0 => Kind::Page,
        1 | 2 => Kind::Ready,
        3 => Kind::BadJson,
        4 => Kind::BadMetrics,
        5 => Kind::NotFound,
        6 => stream.pick(&[Kind::BadMethod, Kind::NoLength]),
        7 if last => stream.pick(&[Kind::Malformed, Kind::TooLarge]),
        _ => Kind::Metrics,
    }
}
