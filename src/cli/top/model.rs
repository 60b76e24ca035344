//! What `top` knows: the last answer of the server, and some numbers of those before.
//!
//! Promises: rates are over the time between two answers; a restart of the server, or an answer that did not
//! come, is a gap and no peak. Leaves to the caller: to ask.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;

use super::Wish;

/// Numbers kept for the sparklines: more than the columns of a wide terminal.
const POINTS_MAX: usize = 300;

const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What of `GET /stats` is shown; docs/monitoring.md has the meaning of each field.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Stats {
    pub(super) version: String,
    pub(super) uptime_s: f64,
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) not_ready_because: Option<String>,
    pub(super) counts: BTreeMap<String, f64>,
    pub(super) gauges: BTreeMap<String, f64>,
    pub(super) recent: BTreeMap<String, f64>,
    pub(super) latency: Vec<Latency>,
    /// Missing before a server measured it.
    #[serde(default)]
    pub(super) log_sync: Option<LogSync>,
    pub(super) limits: Vec<Limit>,
    pub(super) clients: Clients,
    pub(super) alerts: Vec<Alert>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Latency {
    pub(super) endpoint: String,
    pub(super) recent: Percentiles,
}

/// The flushes of the log to the disk.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LogSync {
    pub(super) recent: Percentiles,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50_us: u64,
    pub(super) p95_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Limit {
    pub(super) limit: String,
    pub(super) value: f64,
    pub(super) max: f64,
    pub(super) ratio: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Clients {
    pub(super) top: Vec<Client>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Client {
    pub(super) client: String,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) allowed_per_s: f64,
    pub(super) refused_per_s: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) severity: String,
    pub(super) condition: String,
    pub(super) value: f64,
    pub(super) since_s: Option<f64>,
}

impl Stats {
    pub(super) fn gauge(&self, name: &str) -> f64 {
        self.gauges.get(name).copied().unwrap_or_default()
    }

    fn count(&self, name: &str) -> f64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// What has a recent latency: the endpoints with requests and the flushes to the disk.
    pub(super) fn latencies(&self) -> impl Iterator<Item = (&str, &Percentiles)> {
        let endpoints = self
            .latency
            .iter()
            .map(|row| (row.endpoint.as_str(), &row.recent));
        let syncs = self.log_sync.iter().map(|row| ("flush to disk", &row.recent));
        endpoints.chain(syncs).filter(|(_, recent)| recent.count > 0)
    }

    /// Latency of the requests that bring metrics, at 99%, in microseconds; none without one.
    fn ingest_p99_us(&self) -> Option<u64> {
        let mut rows = self.latency.iter();
        let row = rows.find(|row| row.endpoint == "ingest")?;
        (row.recent.count > 0).then_some(row.recent.p99_us)
    }
}

/// A number over time, the newest last; none where it is not known.
pub(super) type Line = VecDeque<Option<u64>>;

/// What is known.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: String,
    pub(super) stats: Option<Stats>,
    pub(super) problem: Option<String>,
    pub(super) paused: bool,
    pub(super) interval: Duration,
    pub(super) requests_per_s: Line,
    pub(super) metrics_per_s: Line,
    pub(super) refused_per_s: Line,
    pub(super) p99_us: Line,
    pub(super) log_queue_bytes: Line,
}

impl Model {
    pub(super) fn new(server: String, interval: Duration) -> Self {
        Self {
            server,
            stats: None,
            problem: None,
            paused: false,
            interval,
            requests_per_s: Line::new(),
            metrics_per_s: Line::new(),
            refused_per_s: Line::new(),
            p99_us: Line::new(),
            log_queue_bytes: Line::new(),
        }
    }

    /// Takes an answer in, or the reason why there is none.
    pub(super) fn take(&mut self, answer: Result<Stats, String>) {
        match answer {
            Err(problem) => {
                self.problem = Some(problem);
                for line in self.lines() {
                    push(line, None);
                }
            }
            Ok(stats) => {
                // What was before a gap is too old to compare with.
                let is_first = self.stats.is_none() && self.problem.is_none();
                let before = self.stats.take().filter(|_| self.problem.is_none());
                let rate = |name: &str| {
                    if is_first {
                        // The server's own rate over the last seconds, which is all that --once will see.
                        return stats.recent.get(&format!("{name}_per_s")).copied().map(whole);
                    }
                    rate(before.as_ref(), &stats, name)
                };
                let values = [
                    rate("requests"),
                    rate("metrics_acknowledged"),
                    rate("refused"),
                    stats.ingest_p99_us(),
                    Some(whole(stats.gauge("log_queue_bytes"))),
                ];
                for (line, value) in self.lines().into_iter().zip(values) {
                    push(line, value);
                }
                self.problem = None;
                self.stats = Some(stats);
            }
        }
    }

    pub(super) fn heed(&mut self, wish: Wish) {
        match wish {
            Wish::Pause => self.paused = !self.paused,
            Wish::Faster => self.interval = (self.interval / 2).max(INTERVAL_MIN),
            Wish::Slower => self.interval = (self.interval * 2).min(INTERVAL_MAX),
            Wish::Quit | Wish::Redraw => {}
        }
    }

    fn lines(&mut self) -> [&mut Line; 5] {
        [
            &mut self.requests_per_s,
            &mut self.metrics_per_s,
            &mut self.refused_per_s,
            &mut self.p99_us,
            &mut self.log_queue_bytes,
        ]
    }
}

fn push(line: &mut Line, value: Option<u64>) {
    if line.len() >= POINTS_MAX {
        line.pop_front();
    }
    line.push_back(value);
}

/// How fast a count rose between two answers.
fn rate(before: Option<&Stats>, now: &Stats, name: &str) -> Option<u64> {
    let before = before?;
    let seconds = now.uptime_s - before.uptime_s;
    let more = now.count(name) - before.count(name);
    // A server that started anew has a younger clock and smaller counts.
    (seconds > 0.0 && more >= 0.0).then(|| whole(more / seconds))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion to an integer saturates"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(uptime_s: f64, requests: f64) -> Stats {
        Stats {
            uptime_s,
            counts: BTreeMap::from([("requests".to_owned(), requests)]),
            ..Stats::default()
        }
    }

    #[test]
    fn the_first_rate_is_the_servers_own() {
        let mut model = Model::new(String::new(), Duration::from_secs(1));
        let recent = BTreeMap::from([("requests_per_s".to_owned(), 41.6)]);
        model.take(Ok(Stats {
            recent,
            ..stats(1.0, 100.0)
        }));
        assert_eq!(model.requests_per_s, [Some(42)]);
    }

    #[test]
    fn a_rate_is_over_the_time_between_two_answers() {
        let mut model = Model::new(String::new(), Duration::from_secs(1));
        for answer in [
            Ok(stats(1.0, 100.0)),
            Ok(stats(3.0, 300.0)),
            Err("gone".to_owned()),
            Ok(stats(9.0, 900.0)),
            Ok(stats(10.0, 950.0)),
            Ok(stats(0.5, 10.0)),
            Ok(stats(1.5, 10.0)),
        ] {
            model.take(answer);
        }
        let expected = [None, Some(100), None, None, Some(50), None, Some(0)];
        assert_eq!(model.requests_per_s, expected);
        for _ in 0..2 * POINTS_MAX {
            model.take(Err(String::new()));
        }
        assert_eq!(model.requests_per_s.len(), POINTS_MAX);
    }
}
