//! The service of MetricStream as one would write it on a web framework: what the two peers share.
//!
//! Honest, not naive: serde_json reads into borrowed fields, every bound of the product is checked, the
//! limiter is the product's own, one thread writes what all requests brought in one call, and a reply waits
//! until its lines are in the kernel. Promises: the same answers to the same requests as the product's, in
//! what the benches send. Leaves to the callers, the two programs: HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use metricstream::admission::auth::Authenticator;
use metricstream::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use metricstream::clock::SystemClock;
use metricstream::limits;
use metricstream::metric::time::Formatter;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Batches that may wait for the writer: the product's default.
const QUEUE_BATCHES_MAX: usize = limits::LOG_QUEUE_BATCHES_MAX_DEFAULT;
/// Bytes written in one call at most.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a program is started with: `PROGRAM PORT FILE WORKERS`.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it appends to.
    pub file: PathBuf,
    /// Threads that serve.
    pub workers: usize,
}

impl Arguments {
    /// Of this process.
    ///
    /// # Panics
    /// When they are not three, or no numbers where numbers are due.
    #[must_use]
    pub fn of_process() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [port, file, workers] = arguments.as_slice() else {
            panic!("usage: PROGRAM PORT FILE WORKERS");
        };
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port"))),
            file: file.into(),
            workers: workers.parse().expect("a number of threads"),
        }
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Deserialize)]
struct Metric<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    value: f64,
    #[serde(default, rename = "type")]
    kind: Kind,
    #[serde(default, borrow)]
    tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    timestamp: Option<i64>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Gauge,
    Counter,
    Histogram,
    Summary,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    name: &'a str,
    value: f64,
    #[serde(rename = "type")]
    kind: Kind,
    tags: &'a BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

impl Reply {
    fn refused(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"success":false,"error":{{"code":"{code}"}}}}"#);
        Self { status, body }
    }
}

/// Lines that wait for the writer, and who waits for them.
struct Batch {
    lines: Vec<u8>,
    done: oneshot::Sender<bool>,
}

/// The service. Shared by reference.
pub struct Service {
    clock: SystemClock,
    authenticator: Authenticator,
    limiter: RateLimiter,
    writer: Sender<Batch>,
}

impl Service {
    /// Opens the file and starts its writer.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// When there are no random bytes.
    pub fn start(file: &PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(file)?;
        let (writer, batches) = crossbeam_channel::bounded(QUEUE_BATCHES_MAX);
        thread::Builder::new()
            .name("writer".into())
            .spawn(move || write(file, &batches))?;
        Ok(Self {
            clock: SystemClock::new(),
            authenticator: Authenticator::new(None).expect("random bytes"),
            limiter: RateLimiter::new(RateLimits {
                requests_max: NonZeroU32::new(1_000_000),
                clients_max: limits::CLIENTS_MAX_DEFAULT,
                stripes: limits::CLIENT_STRIPES,
            }),
            writer,
        })
    }

    /// Answers a request, once its lines are in the kernel.
    pub async fn ingest(&self, authorization: Option<&[u8]>, peer: IpAddr, body: &[u8]) -> Reply {
        let Ok(client) = self.authenticator.identify(authorization, peer) else {
            return Reply::refused(401, "unauthorized");
        };
        if self.limiter.allow(client, self.clock.now()) != Decision::Allowed {
            return Reply::refused(429, "rate_limited");
        }
        let Ok(document) = serde_json::from_slice::<Document<'_>>(body) else {
            return Reply::refused(400, "bad_json");
        };
        let count = document.metrics.len();
        if count == 0 || count > limits::BATCH_METRICS_MAX_DEFAULT {
            return Reply::refused(400, "batch");
        }
        if !document.metrics.iter().all(is_within_bounds) {
            return Reply::refused(400, "bounds");
        }
        let lines = self.encode(&document, body.len());
        let (done, stored) = oneshot::channel();
        match self.writer.try_send(Batch { lines, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return Reply::refused(503, "overloaded");
            }
        }
        if stored.await != Ok(true) {
            return Reply::refused(503, "disk");
        }
        Reply {
            status: 200,
            body: format!(r#"{{"success":true,"metrics_processed":{count}}}"#),
        }
    }

    fn encode(&self, document: &Document<'_>, body_bytes: usize) -> Vec<u8> {
        let mut lines = Vec::with_capacity(2 * body_bytes);
        let arrival = self.clock.wall().epoch_millis();
        let mut formatter = Formatter::default();
        for metric in &document.metrics {
            let timestamp = formatter.format(metric.timestamp.unwrap_or(arrival));
            let line = Line {
                timestamp: str::from_utf8(timestamp).expect("digits and marks"),
                name: &metric.name,
                value: metric.value,
                kind: metric.kind,
                tags: &metric.tags,
            };
            serde_json::to_writer(&mut lines, &line).expect("memory takes all");
            lines.push(b'\n');
        }
        lines
    }
}

fn is_within_bounds(metric: &Metric<'_>) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&metric.name.len())
        && metric.tags.len() <= limits::TAGS_MAX
        && metric.tags.iter().all(|(key, value)| {
            (1..=limits::TAG_KEY_BYTES_MAX).contains(&key.len()) && value.len() <= limits::TAG_VALUE_BYTES_MAX
        })
}

/// Takes all that waits, writes it in one call, and tells those who wait.
fn write(mut file: File, batches: &Receiver<Batch>) {
    let (mut lines, mut waiting) = (Vec::new(), Vec::new());
    while let Ok(first) = batches.recv() {
        let mut next = Some(first);
        while let Some(batch) = next {
            lines.extend_from_slice(&batch.lines);
            waiting.push(batch.done);
            next = if lines.len() < GROUP_BYTES_MAX {
                batches.try_recv().ok()
            } else {
                None
            };
        }
        let stored = file.write_all(&lines).is_ok();
        lines.clear();
        for done in waiting.drain(..) {
            // Who went away meanwhile needs no answer.
            let _ = done.send(stored);
        }
    }
}
