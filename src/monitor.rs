//! Request events: from the threads that answer requests to the figures that operators read.
//!
//! Promises: recording never waits and never allocates; each recording thread owns its ring's one producer
//! and the monitor all consumers, so "single producer" is a matter of ownership. When a ring is full the
//! event is dropped and the drop counted.
//! Leaves to the caller: to collect often enough ([`crate::limits::COLLECT_INTERVAL`]).

pub mod alerts;
pub mod clients;
pub mod figures;
pub mod latency;
pub mod process;
pub mod repeats;
pub mod sync_time;
pub mod watch;
pub mod webhook;

use std::time::Duration;

use crate::admission::auth::ClientId;
use crate::clock::Instant;
use crate::limits::{CLIENTS_SHOWN_MAX, EVENT_RING_CAPACITY};
use crate::stats::Stats;
use crate::sync::ring::{Consumer, Producer, ring};
use crate::sync::shim::{Arc, Mutex};

use clients::{ClientCounts, Clients};
pub use latency::QUANTILES;
use latency::{Latency, Quantiles, Slots};
use sync_time::{SyncSummary, SyncTimes};

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
    /// `GET /`
    Page,
    /// Anything else, and what could not be read as a request.
    Other,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 6] = [
        Self::Ingest,
        Self::Metrics,
        Self::Stats,
        Self::Health,
        Self::Page,
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
            Self::Page => "page",
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
    /// Why it was refused: the code of the refusal.
    pub reason: Option<&'static str>,
    /// Who made it, as far as that was asked.
    pub client: Option<ClientId>,
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
    sync_times: Arc<SyncTimes>,
}

#[derive(Debug)]
struct State {
    rings: Vec<Consumer<Event>>,
    /// In the order in which they came first; few, since endpoints, statuses and reasons are.
    responses: Vec<Responses>,
    latency: [Latency; Endpoint::ALL.len()],
    slots: Slots,
    clients: Clients,
}

/// Requests of one endpoint answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Responses {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The status.
    pub status: u16,
    /// The code of the refusal, if it was one.
    pub reason: Option<&'static str>,
    /// How many.
    pub count: u64,
}

/// The latency of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointSummary {
    /// Which.
    pub endpoint: Endpoint,
    /// Sum of the latencies since the start.
    pub sum: Duration,
    /// Since the start.
    pub since_start: Quantiles,
    /// Over the recent window.
    pub recent: Quantiles,
}

/// What the monitor knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests by endpoint, status and reason, since the start.
    pub responses: Vec<Responses>,
    /// Latencies of the endpoints that had a request.
    pub endpoints: Vec<EndpointSummary>,
    /// The time that the recent latencies are of.
    pub recent_time: Duration,
    /// The busiest clients.
    pub clients: Vec<ClientCounts>,
    /// The time that the recent requests of the clients are of.
    pub clients_recent_time: Duration,
    /// Requests that a client may have made besides those counted for it, at most.
    pub clients_missed_max: u64,
    /// The flushes of the log to the disk.
    pub syncs: SyncSummary,
}

impl Monitor {
    /// A monitor and `recorders` recording halves.
    #[must_use]
    pub fn new(recorders: usize, stats: &Arc<Stats>) -> (Self, Vec<Recorder>) {
        let (producers, rings): (Vec<_>, Vec<_>) = (0..recorders).map(|_| ring(EVENT_RING_CAPACITY)).unzip();
        let state = State {
            rings,
            responses: Vec::new(),
            latency: Default::default(),
            slots: Slots::default(),
            clients: Clients::default(),
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
                sync_times: Arc::default(),
            },
            recorders,
        )
    }

    /// Where the times of the disk's flushes go.
    #[must_use]
    pub fn sync_times(&self) -> Arc<SyncTimes> {
        Arc::clone(&self.sync_times)
    }

    /// Takes what the rings hold into the figures; it counts as of `now`.
    pub fn collect(&self, now: Instant) {
        self.state.lock().collect(now);
    }

    /// The figures at `now`, events up to now included.
    #[must_use]
    pub fn summary(&self, now: Instant) -> Summary {
        let mut state = self.state.lock();
        state.collect(now);
        let mut responses = state.responses.clone();
        responses.sort_unstable();
        Summary {
            responses,
            endpoints: state.endpoints(),
            recent_time: state.slots.covered(now),
            clients: state.clients.top(CLIENTS_SHOWN_MAX),
            clients_recent_time: state.clients.recent_time(now),
            clients_missed_max: state.clients.missed_max(),
            syncs: self.sync_times.summary(now),
        }
    }
}

impl State {
    fn collect(&mut self, now: Instant) {
        let latency = &mut self.latency;
        self.slots.advance(now, |slot| {
            latency.iter_mut().for_each(|latency| latency.begin(slot))
        });
        self.clients.advance(now);
        for index in 0..self.rings.len() {
            // At most one ring's worth, so that a busy recorder cannot hold the collector.
            for _ in 0..EVENT_RING_CAPACITY {
                let Some(event) = self.rings[index].pop() else {
                    break;
                };
                self.count(&event);
            }
        }
    }

    fn count(&mut self, event: &Event) {
        let Event {
            endpoint,
            status,
            reason,
            client,
            latency,
        } = *event;
        let alike = |seen: &&mut Responses| {
            seen.endpoint == endpoint && seen.status == status && seen.reason == reason
        };
        match self.responses.iter_mut().find(alike) {
            Some(seen) => seen.count += 1,
            None => self.responses.push(Responses {
                endpoint,
                status,
                reason,
                count: 1,
            }),
        }
        self.latency[endpoint as usize].record(latency, self.slots.current());
        if let Some(client) = client {
            self.clients.record(client, reason.is_none());
        }
    }

    fn endpoints(&self) -> Vec<EndpointSummary> {
        let all = Endpoint::ALL.iter().zip(&self.latency);
        let summaries = all.map(|(endpoint, latency)| EndpointSummary {
            endpoint: *endpoint,
            sum: latency.sum(),
            since_start: latency.since_start(),
            recent: latency.recent(),
        });
        summaries
            .filter(|summary| summary.since_start.count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const NOW: Instant = Instant::ZERO;

    fn event(endpoint: Endpoint, status: u16, micros: u64) -> Event {
        Event {
            endpoint,
            status,
            reason: (status == 429).then_some("rate_limited"),
            client: Some(ClientId::from_address(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            latency: Duration::from_micros(micros),
        }
    }

    fn responses(summary: &Summary) -> Vec<(Endpoint, u16, Option<&'static str>, u64)> {
        let rows = summary.responses.iter();
        rows.map(|row| (row.endpoint, row.status, row.reason, row.count))
            .collect()
    }

    #[test]
    fn events_of_all_recorders_are_summed() {
        let stats = Arc::new(Stats::default());
        let (monitor, mut recorders) = Monitor::new(2, &stats);
        for micros in 1..=100 {
            recorders[0].record(event(Endpoint::Ingest, 200, micros));
        }
        recorders[1].record(event(Endpoint::Ingest, 429, 5));
        let summary = monitor.summary(NOW);
        assert_eq!(
            responses(&summary),
            [
                (Endpoint::Ingest, 200, None, 100),
                (Endpoint::Ingest, 429, Some("rate_limited"), 1)
            ]
        );
        let [ingest] = summary.endpoints.as_slice() else {
            panic!("one endpoint: {summary:?}")
        };
        assert_eq!(ingest.since_start.count, 101);
        assert_eq!(ingest.since_start, ingest.recent);
        assert_eq!(ingest.sum, Duration::from_micros(5055));
        assert_eq!((ingest.recent.quantiles_us[0], ingest.recent.max_us), (50, 100));
        let [client] = summary.clients.as_slice() else {
            panic!("one client: {summary:?}")
        };
        assert_eq!((client.allowed, client.refused), (100, 1));
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
        let whole = EVENT_RING_CAPACITY as u64;
        assert_eq!(
            responses(&monitor.summary(NOW)),
            [(Endpoint::Health, 200, None, whole)]
        );
        recorders[0].record(event(Endpoint::Health, 200, 1));
        assert_eq!(
            responses(&monitor.summary(NOW)),
            [(Endpoint::Health, 200, None, whole + 1)]
        );
    }
}
