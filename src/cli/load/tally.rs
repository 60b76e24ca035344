//! What a run counted.
//!
//! Promises: every request is counted once; latencies are kept to three significant digits from one
//! nanosecond to one hour; two tallies add up without loss. Leaves to the caller: one tally for a thread,
//! and adding them up.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::response::Response;

/// Longest latency told apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// Why a request got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens at the address.
    ConnectRefused,
    /// No connection within the time allowed.
    ConnectTimeout,
    /// No local port is left to connect from: too many connections made, or still in TIME_WAIT.
    NoLocalPort,
    /// No connection, for another reason.
    ConnectFailed,
    /// No whole reply within the time allowed.
    Timeout,
    /// The connection was reset while the reply was awaited.
    Reset,
    /// The connection was closed before the reply was whole.
    Closed,
    /// What came back is no response of HTTP/1.1.
    BadResponse,
    /// Due by the rate, and not sent before the end of the run.
    Unsent,
}

impl Failure {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoLocalPort => "no_local_port",
            Self::ConnectFailed => "connect_failed",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::BadResponse => "bad_response",
            Self::Unsent => "unsent",
        }
    }

    /// Why a connection could not be made.
    #[must_use]
    pub const fn of_connect(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::NoLocalPort,
            _ => Self::ConnectFailed,
        }
    }

    /// How a connection in use broke.
    #[must_use]
    pub const fn of_connection(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Reset,
        }
    }
}

/// The times of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whether it counts: not in the warm-up.
    pub measured: bool,
    /// From the moment the request was due (open loop) or begun (closed loop) to the whole reply.
    pub latency: Duration,
    /// From the moment the request was begun to the whole reply, the connecting included.
    pub service: Duration,
}

/// Counts and latencies.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Replies, by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a reply, by reason.
    pub failures: BTreeMap<Failure, u64>,
    /// Metrics acknowledged by 2xx replies.
    pub metrics: u64,
    /// Requests of the warm-up that ended, and what they acknowledged.
    pub warmup: Warmup,
    /// Connections made.
    pub connections: u64,
    /// Attempts to connect that failed and were repeated.
    pub connect_retries: u64,
    /// Bytes handed to the kernel.
    pub bytes_sent: u64,
    /// Bytes taken from the kernel.
    pub bytes_received: u64,
    /// Latency of 2xx replies, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Service time of 2xx replies, in nanoseconds: what an open loop's latency leaves out of account.
    pub service: Histogram<u64>,
    /// Latency of all other replies, in nanoseconds.
    pub refused_latency: Histogram<u64>,
}

/// What is not measured is still counted: the server stored it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmup {
    /// Requests that ended.
    pub requests: u64,
    /// Requests that ended without a 2xx reply.
    pub failed: u64,
    /// Metrics acknowledged.
    pub metrics: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Tally {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            metrics: 0,
            warmup: Warmup::default(),
            connections: 0,
            connect_retries: 0,
            bytes_sent: 0,
            bytes_received: 0,
            latency: histogram(),
            service: histogram(),
            refused_latency: histogram(),
        }
    }

    /// Counts a reply.
    pub fn reply(&mut self, sample: &Sample, response: &Response) {
        let success = is_success(response.status);
        if !sample.measured {
            self.warmup.requests += 1;
            self.warmup.failed += u64::from(!success);
            self.warmup.metrics += response.metrics;
            return;
        }
        *self.statuses.entry(response.status).or_default() += 1;
        self.metrics += response.metrics;
        if success {
            record(&mut self.latency, sample.latency);
            record(&mut self.service, sample.service);
        } else {
            record(&mut self.refused_latency, sample.latency);
        }
    }

    /// Counts a request without a reply.
    pub fn failure(&mut self, measured: bool, failure: Failure) {
        if measured {
            self.failures_add(failure, 1);
        } else {
            self.warmup.requests += 1;
            self.warmup.failed += 1;
        }
    }

    /// Counts `count` failed requests.
    pub fn failures_add(&mut self, failure: Failure, count: u64) {
        if count > 0 {
            *self.failures.entry(failure).or_default() += count;
        }
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            self.failures_add(*failure, *count);
        }
        self.metrics += other.metrics;
        self.warmup.requests += other.warmup.requests;
        self.warmup.failed += other.warmup.failed;
        self.warmup.metrics += other.warmup.metrics;
        self.connections += other.connections;
        self.connect_retries += other.connect_retries;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        add_histogram(&mut self.latency, &other.latency);
        add_histogram(&mut self.service, &other.service);
        add_histogram(&mut self.refused_latency, &other.refused_latency);
    }

    /// Requests measured: replies and failures.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.values().sum::<u64>() + self.failures.values().sum::<u64>()
    }

    /// Requests answered with 2xx.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }
}

/// Whether a reply acknowledges the request.
#[must_use]
pub fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn histogram() -> Histogram<u64> {
    // The bounds are constants within what the library takes; were they not, every test would show it.
    Histogram::new_with_bounds(1, nanos(LATENCY_MAX), 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

fn add_histogram(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    // Both have the same bounds, which is the only thing that can be wrong.
    let added = to.add(from);
    debug_assert!(added.is_ok(), "same bounds");
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(nanos(time));
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(measured: bool, micros: u64) -> Sample {
        Sample {
            measured,
            latency: Duration::from_micros(micros),
            service: Duration::from_micros(micros / 2),
        }
    }

    fn response(status: u16, metrics: u64) -> Response {
        Response {
            status,
            metrics,
            retry_after_s: None,
            keep_alive: true,
        }
    }

    #[test]
    fn each_request_is_counted_where_it_belongs() {
        let mut tally = Tally::new();
        tally.reply(&sample(true, 100), &response(200, 3));
        tally.reply(&sample(true, 200), &response(204, 0));
        tally.reply(&sample(true, 300), &response(503, 0));
        tally.failure(true, Failure::Reset);
        tally.reply(&sample(false, 400), &response(200, 5));
        tally.reply(&sample(false, 400), &response(429, 0));
        tally.failure(false, Failure::Reset);
        assert_eq!((tally.requests(), tally.successes(), tally.metrics), (4, 2, 3));
        assert_eq!((tally.latency.len(), tally.refused_latency.len()), (2, 1));
        let warmup = Warmup {
            requests: 3,
            failed: 2,
            metrics: 5,
        };
        assert_eq!(tally.warmup, warmup);
    }

    #[test]
    fn two_threads_add_up_to_one() {
        let (mut one, mut first, mut second) = (Tally::new(), Tally::new(), Tally::new());
        for index in 1..=1000_u64 {
            let half = if index % 2 == 0 { &mut first } else { &mut second };
            for tally in [half, &mut one] {
                match index % 10 {
                    0 => tally.failure(index % 20 == 0, Failure::Closed),
                    1 => tally.reply(&sample(true, index), &response(503, 0)),
                    _ => tally.reply(&sample(index % 7 != 0, index), &response(200, 3)),
                }
                tally.bytes_sent += index;
            }
        }
        first.add(&second);
        assert_eq!((&first.statuses, &first.failures), (&one.statuses, &one.failures));
        assert_eq!(
            (first.warmup, first.metrics, first.bytes_sent),
            (one.warmup, one.metrics, one.bytes_sent)
        );
        assert_eq!(first.latency, one.latency);
        assert_eq!(first.service, one.service);
        assert_eq!(first.refused_latency, one.refused_latency);
    }

    #[test]
    fn a_latency_beyond_the_range_counts_as_the_longest() {
        let mut tally = Tally::new();
        let sample = Sample {
            latency: Duration::MAX,
            ..sample(true, 1)
        };
        tally.reply(&sample, &response(200, 0));
        assert!(tally.latency.max() >= nanos(LATENCY_MAX) / 1000 * 999);
    }
}
