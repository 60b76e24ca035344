//! Where sockets meet requests.
//!
//! One reactor thread owns the connections at rest; a readable one becomes a job of the bounded thread
//! pool; a worker serves every whole request in it and hands the lines to the log, with the connection as
//! the token; the log's writer gives it back when the lines are at the configured level, and sends the
//! replies. So a connection belongs to exactly one thread or to the table, and no thread waits for a client
//! or for the disk but the log's own.
//!
//! ```text
//!            readable           submit            append (lines, connection)
//!   table ------------> reactor -------> worker ---------------------------> log writer
//!     ^                    | full: 503     | no lines: replies                  | committed: replies
//!     +--------------------+---------------+------------------------------------+
//! ```
//!
//! Promises: a success is sent after its lines are at the level the configuration names, and never before;
//! every queue is bounded and refuses when full; every connection has a deadline.
//! Leaves to the caller ([`crate::app`]): the order of starting and stopping.

pub mod budget;
pub mod connection;
pub mod date;
pub mod pages;
pub mod pauses;
pub mod reactor;
pub mod reply;
pub mod request_id;
pub mod routes;
pub mod rules;
pub mod servant;
pub mod spares;
pub mod table;
pub mod turn;
pub mod turns;

use std::time::Duration;

use crate::clock::{Instant, SystemClock};
use crate::http;
use crate::ingest::Ingest;
use crate::limits;
use crate::log::breaker::BreakerState;
use crate::monitor::figures::{FigureId, Reading};
use crate::monitor::watch::Watch;
use crate::monitor::{Monitor, Summary};
use crate::net::{Poller, Token};
use crate::stats::{Counter, Stats};
use crate::sync::shim::{Arc, Mutex};
use crate::sync::stop::Stop;

use self::budget::Budget;
use self::connection::{Connection, Fate};
use self::pages::{Figures, Group};
use self::pauses::Pauses;
use self::reactor::Workers;
use self::rules::{Latest, Rules, Timeouts};
use self::servant::Log;
use self::spares::Spares;
use self::table::Table;
use self::turn::Decision;
use self::turns::Turns;

/// The bounds of a server, each a setting of the same name, for as long as it runs.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bounds of a request's framing.
    pub http: http::Limits,
    /// Connections open at once.
    pub connections_max: usize,
    /// Readable connections that may wait for a worker.
    pub queue_jobs_max: usize,
    /// Bytes of partly received requests over all connections.
    pub request_buffer_bytes_max: usize,
    /// Bytes that may wait for the log's writer.
    pub log_queue_bytes_max: usize,
    /// Batches that may wait for the log's writer.
    pub log_queue_batches_max: usize,
}

/// What all threads of the server share.
#[derive(Debug)]
pub struct Shared {
    /// The clocks.
    pub clock: SystemClock,
    /// When the server started.
    pub started: Instant,
    /// Readiness of the connections at rest.
    pub poller: Poller,
    /// The connections at rest.
    pub table: Arc<Table<Box<Connection>>>,
    /// Which of them are not read for now.
    pub pauses: Pauses,
    /// Memory for partly received requests.
    pub buffers: Arc<Budget>,
    /// Emptied buffers of such requests.
    pub spare_buffers: Spares<u8>,
    /// Emptied lists of the decisions of long turns.
    pub spare_turns: Spares<Decision>,
    /// The data path.
    pub ingest: Ingest,
    /// The exact counters.
    pub stats: Arc<Stats>,
    /// The measured figures.
    pub monitor: Monitor,
    /// The figures over time.
    pub watch: Mutex<Watch>,
    /// What a browser may do with the page at `/`.
    pub dashboard_policy: String,
    /// Requested once: the server stops.
    pub stopping: Stop,
    /// Steps of the reactor, one each [`limits::SWEEP_INTERVAL`] at least until the stop: that it makes
    /// progress.
    pub reactor_steps: Counter,
    /// The server's bounds.
    pub bounds: Bounds,
    /// What can change while it runs; threads that serve keep a view of their own.
    pub rules: Latest<Rules>,
    /// The threads behind, for the statistics: set once they run, cleared once they are drained, which
    /// breaks the cycle of owners.
    pub threads: Mutex<Option<Threads>>,
}

/// The threads that the statistics ask.
#[derive(Clone, Debug)]
pub struct Threads {
    /// The workers.
    pub workers: Arc<Workers>,
    /// How each of them gets on.
    pub turns: Vec<Turns>,
    /// The log.
    pub log: Arc<Log>,
}

impl Shared {
    /// The shared state of a server within `bounds`, which begins by `rules`.
    #[must_use]
    pub fn new(
        bounds: Bounds,
        rules: Rules,
        clock: SystemClock,
        poller: Poller,
        ingest: Ingest,
        monitor: Monitor,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            clock,
            started: clock.now(),
            poller,
            table: Arc::new(Table::new(bounds.connections_max, Arc::clone(&stats))),
            pauses: Pauses::default(),
            buffers: Arc::new(Budget::new(bounds.request_buffer_bytes_max)),
            spare_buffers: Spares::new(limits::SPARE_BUFFERS_MAX, limits::SPARE_BUFFER_BYTES_MAX),
            // The last request of a turn may add two, and a list grows by doubling.
            spare_turns: Spares::new(limits::SPARE_TURNS_MAX, 2 * limits::TURN_REQUESTS_MAX),
            ingest,
            stats,
            monitor,
            watch: Mutex::new(Watch::default()),
            dashboard_policy: pages::dashboard_policy(),
            stopping: Stop::new(),
            reactor_steps: Counter::default(),
            bounds,
            rules: Latest::new(rules),
            threads: Mutex::new(None),
        }
    }

    /// Lays a connection to rest until its client does something, or closes it when it is done.
    pub fn rest(&self, mut connection: Box<Connection>, now: Instant, timeouts: &Timeouts) {
        if !connection.has_unsent() {
            match connection.fate {
                Fate::Close => return drop(connection),
                Fate::Linger if crate::seeded!(LINGER_SKIPPED) => return drop(connection),
                Fate::KeepAlive if connection.is_idle() && self.stopping.is_requested() => {
                    return drop(connection);
                }
                Fate::Linger if !connection.lingering => {
                    connection.finish_sending();
                    connection.lingering = true;
                    crate::reached!(LINGERS);
                    connection.deadline = now.after(limits::LINGER);
                }
                Fate::KeepAlive | Fate::Linger => {}
            }
        }
        if !connection.lingering {
            connection.deadline = deadline(&connection, now, timeouts);
        }
        let token = connection.token();
        let pause = self.pause(&mut connection, now);
        // Not armed: the peer is gone, and dropping the connection closes it.
        drop(self.table.rest(token, connection, |resting, missed| {
            let forgotten = crate::seeded!(PARTIAL_NOT_ARMED) && !resting.partial.is_empty();
            pause.is_some() || forgotten || self.arm(resting, missed)
        }));
        if let Some(until) = pause {
            crate::reached!(CONNECTION_PAUSED);
            self.pauses.enter(token, until);
        }
    }

    /// Has the poller report what a connection at rest waits for; `missed` is whether it reported something
    /// while a thread had it.
    fn arm(&self, connection: &mut Connection, missed: bool) -> bool {
        let token = connection.token();
        let edge = connection.waits_for_news();
        let was_edge = std::mem::replace(&mut connection.edge, edge);
        if !connection.edge {
            let interest = connection.interest();
            return self.poller.arm(connection.socket(), token, interest).is_ok();
        }
        // A system call less for each request of a connection that stays.
        was_edge && !missed || self.poller.arm_edge(connection.socket(), token).is_ok()
    }

    /// Until when `connection` is not to be read, if it is not. Nothing that it waits for counts meanwhile.
    fn pause(&self, connection: &mut Connection, now: Instant) -> Option<Instant> {
        let until = connection.paused_until?;
        let goes_on = connection.fate == Fate::KeepAlive && !connection.has_unsent();
        if !goes_on || self.stopping.is_requested() {
            connection.paused_until = None;
            return None;
        }
        let pause = until.since(now);
        connection.request_began = connection.request_began.map(|began| began.after(pause));
        connection.deadline = connection.deadline.after(pause);
        Some(until)
    }

    /// Ends the pause of the connection in the slot of `token`, if it is there.
    pub fn end_pause(&self, token: Token) {
        // Not armed, as in `rest`.
        drop(self.table.visit(token, |connection| {
            // The slot may have a new connection by now, which is nobody's business here.
            // What came during the pause was reported, perhaps, and left.
            connection.paused_until.take().is_none() || self.arm(connection, true)
        }));
    }

    /// What the statistics show.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let now = self.clock.now();
        let summary = self.monitor.summary(now);
        let (reading, rates_time) = self.reading(now, &summary);
        let not_ready_because = self.not_ready_because();
        let rules = self.rules.get();
        let names = &rules.admission.authenticator;
        Figures {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: now.since(self.started).as_secs_f64(),
            ready: not_ready_because.is_none(),
            not_ready_because,
            counts: Group::of(FigureId::counts(), &reading),
            gauges: Group::of(FigureId::gauges(), &reading),
            recent: Group::of(FigureId::recent(), &reading)
                .and("rates_window_s", rates_time.as_secs_f64())
                .and("latency_window_s", summary.recent_time.as_secs_f64()),
            responses: pages::Responses::of(&summary),
            latency: pages::Latency::of(&summary),
            log_sync: pages::Latency::of_syncs(&summary),
            limits: pages::Limit::all(&reading),
            clients: pages::Clients::of(&summary, |counts| names.label(counts.client).to_string()),
            alerts: pages::Alert::all(self.watch.lock().alerts(), now),
            reading,
        }
    }

    /// The value of every figure at `now`, and the time that the rates are over. `summary` is the monitor's.
    #[must_use]
    pub fn reading(&self, now: Instant, summary: &Summary) -> (Reading, Duration) {
        let threads = self.threads.lock().clone();
        let mut reading = Reading::default();
        self.set_counts(&mut reading);
        self.set_gauges(now, &mut reading);
        reading.set_whole(
            "ready",
            u64::from(self.reason_not_ready(threads.as_ref()).is_none()),
        );
        if let Some(Threads { workers, log, .. }) = &threads {
            set_threads(&mut reading, workers, log);
        }
        let refused = |status: Option<u16>| {
            let rows = summary.responses.iter().filter(|row| row.reason.is_some());
            let rows = rows.filter(|row| status.is_none_or(|status| row.status == status));
            rows.map(|row| row.count).sum()
        };
        reading.set_count("refused", refused(None));
        reading.set_count("refused_unavailable", refused(Some(503)));
        reading.set_latencies(&summary.endpoints);
        reading.set_syncs(summary.syncs.recent);
        let time = self.watch.lock().complete(now, &mut reading);
        (reading, time)
    }

    /// Where each worker is, see [`Turns::count`]; none before the start and after the stop.
    #[must_use]
    pub fn turns(&self) -> Vec<u64> {
        let threads = self.threads.lock();
        let turns = threads.as_ref().map_or(&[][..], |threads| &threads.turns);
        turns.iter().map(Turns::count).collect()
    }

    /// Why the server does not take metrics now, when it does not.
    #[must_use]
    pub fn not_ready_because(&self) -> Option<&'static str> {
        let threads = self.threads.lock().clone();
        self.reason_not_ready(threads.as_ref())
    }

    fn reason_not_ready(&self, threads: Option<&Threads>) -> Option<&'static str> {
        match threads {
            _ if self.stopping.is_requested() => Some("stopping"),
            None => Some("starting"),
            Some(threads) => {
                let status = threads.log.status();
                match status.progress.breaker {
                    _ if status.refusing.is_some() => Some("the log is closed until a restart"),
                    BreakerState::Open => Some("the disk failed and is left alone for a while"),
                    BreakerState::Closed | BreakerState::HalfOpen => None,
                }
            }
        }
    }

    fn set_counts(&self, reading: &mut Reading) {
        let stats = &self.stats;
        for (name, counter) in [
            ("connections_accepted", &stats.connections_accepted),
            ("connections_refused", &stats.connections_refused),
            ("connections_timed_out", &stats.connections_timed_out),
            ("tls_handshakes", &stats.tls_handshakes),
            ("tls_handshakes_failed", &stats.tls_handshakes_failed),
            ("received_bytes", &stats.received_bytes),
            ("sent_bytes", &stats.sent_bytes),
            ("requests", &stats.requests),
            ("metrics_acknowledged", &stats.metrics_acknowledged),
            ("refused_rate_limited", &stats.refused_rate_limited),
            ("refused_queue_full", &stats.refused_queue_full),
            ("refused_log_full", &stats.refused_log_full),
            ("refused_log_failed", &stats.refused_log_failed),
            ("reactor_panics", &stats.reactor_panics),
            ("events_dropped", &stats.events_dropped),
            ("webhooks_sent", &stats.webhooks_sent),
            ("webhooks_failed", &stats.webhooks_failed),
            ("webhooks_dropped", &stats.webhooks_dropped),
        ] {
            reading.set_count(name, counter.get());
        }
    }

    fn set_gauges(&self, now: Instant, reading: &mut Reading) {
        let bounds = &self.bounds;
        reading.set_gauge("uptime_s", now.since(self.started).as_secs_f64());
        for (name, value) in [
            ("connections_open", self.table.open()),
            ("connections_paused", self.pauses.len()),
            ("connections_max", bounds.connections_max),
            ("queue_jobs_max", bounds.queue_jobs_max),
            ("request_buffer_bytes", self.buffers.used()),
            ("request_buffer_bytes_max", self.buffers.limit()),
            ("clients", self.ingest.clients()),
            ("clients_max", self.ingest.clients_max()),
            ("log_queue_bytes_max", bounds.log_queue_bytes_max),
            ("log_queue_batches_max", bounds.log_queue_batches_max),
        ] {
            reading.set_whole(name, value as u64);
        }
    }
}

/// When to give up on the client of a connection that is laid to rest at `now`.
fn deadline(connection: &Connection, now: Instant, timeouts: &Timeouts) -> Instant {
    if connection.has_unsent() && !connection.is_handshaking() {
        return now.after(timeouts.write_timeout);
    }
    match connection.request_began {
        Some(began) => began.after(timeouts.request_timeout),
        None => now.after(timeouts.idle_timeout),
    }
}

fn set_threads(reading: &mut Reading, workers: &Workers, log: &Log) {
    let status = log.status();
    let progress = status.progress;
    for (name, value) in [
        ("worker_panics", workers.panics()),
        ("log_records", progress.records),
        ("log_groups", progress.groups),
        ("log_syncs", progress.syncs),
        ("log_failures", progress.failures),
        ("log_rotations", progress.rotations),
        ("log_rotation_failures", progress.rotation_failures),
        ("log_removed_segments", status.kept.removed_segments),
        ("log_removed_bytes", status.kept.removed_bytes),
        ("log_compressed_segments", status.kept.compressed_segments),
        ("log_keeper_failures", status.kept.failures),
        ("log_breaker_openings", progress.breaker_opened),
    ] {
        reading.set_count(name, value);
    }
    let breaker = match progress.breaker {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    };
    let lag = status.accepted.get().saturating_sub(progress.settled.get());
    for (name, value) in [
        ("queue_jobs", workers.queue_depth() as u64),
        ("log_queue_bytes", status.queue_bytes as u64),
        ("log_queue_batches", status.queue_batches as u64),
        ("log_lag_batches", lag),
        ("log_written_bytes", progress.file_bytes),
        ("log_synced_bytes", progress.synced_bytes),
        ("log_segments", status.segments()),
        ("log_segment_bytes", status.segment_bytes()),
        ("log_breaker_state", breaker),
        ("log_keeper_failing", u64::from(status.kept.failing)),
    ] {
        reading.set_whole(name, value);
    }
}
