//! Request events: from the threads that answer requests to the figures that operators read.
//!
//! Promises: recording never waits and never allocates; each recording thread owns its ring's one producer
//! and the monitor all consumers, so "single producer" is a matter of ownership. When a ring is full the
//! event is dropped and the drop counted.
//! Leaves to the caller: to collect often enough ([`crate::limits::COLLECT_INTERVAL`]).

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::EVENT_RING_CAPACITY;
use crate::stats::Stats;
use crate::sync::ring::{Consumer, Producer, ring};
use crate::sync::shim::{Arc, Mutex};

/// Longest latency told apart from longer ones, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What a request was for; the label `endpoint` of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /metrics`
    Ingest,
    /// `GET /metrics`
    Metrics,
    /// `GET /stats`
    Stats,
    /// `GET /health` and `GET /ready`
    Health,
    /// Anything else, and what could not be read as a request.
    Other,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] = [
        Self::Ingest,
        Self::Metrics,
        Self::Stats,
        Self::Health,
        Self::Other,
    ];

    /// The name in the exposition and in `/stats`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Metrics => "metrics",
            Self::Stats => "stats",
            Self::Health => "health",
            Self::Other => "other",
        }
    }
}

/// One request answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it was for.
    pub endpoint: Endpoint,
    /// The status of the reply.
    pub status: u16,
    /// From the read that completed the request to the reply's hand-over to the kernel.
    pub latency: Duration,
}

/// The recording half; one for each thread that answers requests.
#[derive(Debug)]
pub struct Recorder {
    events: Producer<Event>,
    stats: Arc<Stats>,
}

impl Recorder {
    /// Records an event, or counts it as dropped when the ring is full.
    #[inline]
    pub fn record(&mut self, event: Event) {
        self.stats.requests.add(1);
        if self.events.push(event).is_err() {
            self.stats.events_dropped.add(1);
        }
    }
}

/// The collecting half.
#[derive(Debug)]
pub struct Monitor {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rings: Vec<Consumer<Event>>,
    responses: BTreeMap<(Endpoint, u16), u64>,
    latency: Vec<Latency>,
}

#[derive(Debug)]
struct Latency {
    histogram: Histogram<u64>,
    sum: Duration,
}

/// The figures of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSummary {
    /// Which.
    pub endpoint: Endpoint,
    /// Requests in the figures below.
    pub count: u64,
    /// Sum of their latencies.
    pub sum: Duration,
    /// Latency at each of [`QUANTILES`], in microseconds.
    pub quantiles_us: [u64; QUANTILES.len()],
    /// The longest latency, in microseconds.
    pub max_us: u64,
}

/// The quantiles of a summary.
pub const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// What the monitor knows, since the start of the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests by endpoint and status.
    pub responses: Vec<(Endpoint, u16, u64)>,
    /// Latencies of the endpoints that had a request.
    pub endpoints: Vec<EndpointSummary>,
}

impl Monitor {
    /// A monitor and `recorders` recording halves.
    #[must_use]
    pub fn new(recorders: usize, stats: &Arc<Stats>) -> (Self, Vec<Recorder>) {
        let (producers, rings): (Vec<_>, Vec<_>) = (0..recorders).map(|_| ring(EVENT_RING_CAPACITY)).unzip();
        let latency = Endpoint::ALL.iter().map(|_| Latency::new()).collect();
        let state = State {
            rings,
            responses: BTreeMap::new(),
            latency,
        };
        let recorders = producers
            .into_iter()
            .map(|events| Recorder {
                events,
                stats: Arc::clone(stats),
            })
            .collect();
        (
            Self {
                state: Mutex::new(state),
            },
            recorders,
        )
    }

    /// Takes what the rings hold into the figures.
    pub fn collect(&self) {
        self.state.lock().collect();
    }

    /// The figures, events up to now included.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut state = self.state.lock();
        state.collect();
        Summary {
            responses: state
                .responses
                .iter()
                .map(|((endpoint, status), count)| (*endpoint, *status, *count))
                .collect(),
            endpoints: Endpoint::ALL
                .iter()
                .zip(&state.latency)
                .filter(|(_, latency)| !latency.histogram.is_empty())
                .map(|(endpoint, latency)| latency.summary(*endpoint))
                .collect(),
        }
    }
}

impl State {
    fn collect(&mut self) {
        for index in 0..self.rings.len() {
            // At most one ring's worth, so that a busy recorder cannot hold the collector.
            for _ in 0..EVENT_RING_CAPACITY {
                let Some(event) = self.rings[index].pop() else {
                    break;
                };
                *self.responses.entry((event.endpoint, event.status)).or_default() += 1;
                self.latency[event.endpoint as usize].record(event.latency);
            }
        }
    }
}

impl Latency {
    fn new() -> Self {
        // Two significant figures: percentiles within 1%, in 20 KiB an endpoint.
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are constants");
        Self {
            histogram,
            sum: Duration::ZERO,
        }
    }

    fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros.max(1));
        self.sum = self.sum.saturating_add(latency);
    }

    fn summary(&self, endpoint: Endpoint) -> EndpointSummary {
        EndpointSummary {
            endpoint,
            count: self.histogram.len(),
            sum: self.sum,
            quantiles_us: QUANTILES.map(|quantile| self.histogram.value_at_quantile(quantile)),
            max_us: self.histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(endpoint: Endpoint, status: u16, micros: u64) -> Event {
        Event {
            endpoint,
            status,
            latency: Duration::from_micros(micros),
        }
    }

    #[test]
    fn events_of_all_recorders_are_summed() {
        let stats = Arc::new(Stats::default());
        let (monitor, mut recorders) = Monitor::new(2, &stats);
        for micros in 1..=100 {
            recorders[0].record(event(Endpoint::Ingest, 200, micros));
        }
        recorders[1].record(event(Endpoint::Ingest, 429, 5));
        let summary = monitor.summary();
        assert_eq!(
            summary.responses,
            [(Endpoint::Ingest, 200, 100), (Endpoint::Ingest, 429, 1)]
        );
        let [ingest] = summary.endpoints.as_slice() else {
            panic!("one endpoint: {summary:?}")
        };
        assert_eq!(ingest.count, 101);
        assert_eq!(ingest.sum, Duration::from_micros(5055));
        assert_eq!((ingest.quantiles_us[0], ingest.max_us), (50, 100));
        assert_eq!(stats.requests.get(), 101);
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let stats = Arc::new(Stats::default());
        let (monitor, mut recorders) = Monitor::new(1, &stats);
        for _ in 0..EVENT_RING_CAPACITY + 3 {
            recorders[0].record(event(Endpoint::Health, 200, 1));
        }
        assert_eq!(stats.events_dropped.get(), 3);
        assert_eq!(
            monitor.summary().responses,
            [(Endpoint::Health, 200, EVENT_RING_CAPACITY as u64)]
        );
        recorders[0].record(event(Endpoint::Health, 200, 1));
        assert_eq!(
            monitor.summary().responses,
            [(Endpoint::Health, 200, EVENT_RING_CAPACITY as u64 + 1)]
        );
    }

    #[test]
    fn a_latency_beyond_the_histogram_counts_as_its_longest() {
        let stats = Arc::new(Stats::default());
        let (monitor, mut recorders) = Monitor::new(1, &stats);
        recorders[0].record(Event {
            endpoint: Endpoint::Other,
            status: 200,
            latency: Duration::MAX,
        });
        assert_eq!(monitor.summary().endpoints[0].count, 1);
    }
}
