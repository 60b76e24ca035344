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
pub mod reactor;
pub mod reply;
pub mod routes;
pub mod rules;
pub mod servant;
pub mod table;
pub mod turn;

use crate::clock::{Instant, SystemClock};
use crate::http;
use crate::ingest::Ingest;
use crate::limits;
use crate::monitor::Monitor;
use crate::net::Poller;
use crate::stats::{Counter, Stats};
use crate::sync::shim::{Arc, Mutex};
use crate::sync::stop::Stop;

use self::budget::Budget;
use self::connection::{Connection, Fate};
use self::pages::{Figure, Figures};
use self::reactor::Workers;
use self::rules::{Latest, Rules, Timeouts};
use self::servant::Log;
use self::table::Table;

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
    /// Memory for partly received requests.
    pub buffers: Arc<Budget>,
    /// The data path.
    pub ingest: Ingest,
    /// The exact counters.
    pub stats: Arc<Stats>,
    /// The measured figures.
    pub monitor: Monitor,
    /// Requested once: the server stops.
    pub stopping: Stop,
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
            buffers: Arc::new(Budget::new(bounds.request_buffer_bytes_max)),
            ingest,
            stats,
            monitor,
            stopping: Stop::new(),
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
                Fate::KeepAlive if connection.is_idle() && self.stopping.is_requested() => {
                    return drop(connection);
                }
                Fate::Linger if !connection.lingering => {
                    connection.socket().finish_sending();
                    connection.lingering = true;
                    connection.deadline = now.after(limits::LINGER);
                }
                Fate::KeepAlive | Fate::Linger => {}
            }
        }
        if !connection.lingering {
            connection.deadline = deadline(&connection, now, timeouts);
        }
        let (token, interest) = (connection.token(), connection.interest());
        // Not armed: the peer is gone, and dropping the connection closes it.
        #[allow(clippy::borrowed_box, reason = "the table holds boxes")]
        let armed = |resting: &Box<Connection>| self.poller.arm(resting.socket(), token, interest).is_ok();
        drop(self.table.rest(token, connection, armed));
    }

    /// What the statistics show.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let threads = self.threads.lock().clone();
        let not_ready_because = self.reason_not_ready(threads.as_ref());
        let mut figures = Figures {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.clock.now().since(self.started).as_secs_f64(),
            ready: not_ready_because.is_none(),
            not_ready_because,
            counts: self.counts(),
            gauges: self.gauges(),
            ..Figures::default()
        };
        if let Some(Threads { workers, log }) = &threads {
            add_threads(&mut figures, workers, log);
        }
        figures.add_summary(&self.monitor.summary());
        figures
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
            Some(threads) if threads.log.status().refusing.is_some() => {
                Some("the log is closed until a restart")
            }
            Some(_) => None,
        }
    }

    fn counts(&self) -> Vec<Figure> {
        let stats = &self.stats;
        let figure = |name, counter: &Counter, help| Figure {
            name,
            value: counter.get(),
            help,
        };
        vec![
            figure(
                "connections_accepted",
                &stats.connections_accepted,
                "Connections accepted and served.",
            ),
            figure(
                "connections_refused",
                &stats.connections_refused,
                "Connections refused: all were taken.",
            ),
            figure(
                "connections_timed_out",
                &stats.connections_timed_out,
                "Connections closed at a deadline.",
            ),
            figure(
                "received_bytes",
                &stats.received_bytes,
                "Bytes read from clients.",
            ),
            figure("sent_bytes", &stats.sent_bytes, "Bytes written to clients."),
            figure("requests", &stats.requests, "Requests answered."),
            figure(
                "metrics_acknowledged",
                &stats.metrics_acknowledged,
                "Metrics stored and acknowledged.",
            ),
            figure(
                "refused_rate_limited",
                &stats.refused_rate_limited,
                "Requests over a client's limit (429).",
            ),
            figure(
                "refused_queue_full",
                &stats.refused_queue_full,
                "Requests refused: no worker free (503).",
            ),
            figure(
                "refused_log_full",
                &stats.refused_log_full,
                "Requests refused: the log's queue full (503).",
            ),
            figure(
                "refused_log_failed",
                &stats.refused_log_failed,
                "Requests refused: the log failed (503).",
            ),
            figure(
                "reactor_panics",
                &stats.reactor_panics,
                "Panics of the reactor: each is a bug, and cost one connection.",
            ),
            figure(
                "events_dropped",
                &stats.events_dropped,
                "Request events that found their ring full.",
            ),
        ]
    }

    fn gauges(&self) -> Vec<Figure> {
        let figure = |name, value: usize, help| Figure {
            name,
            value: value as u64,
            help,
        };
        let bounds = &self.bounds;
        vec![
            figure("connections_open", self.table.open(), "Connections open."),
            figure(
                "connections_max",
                bounds.connections_max,
                "Connections that may be open.",
            ),
            figure(
                "request_buffer_bytes",
                self.buffers.used(),
                "Bytes of partly received requests.",
            ),
            figure(
                "request_buffer_bytes_max",
                self.buffers.limit(),
                "Bytes they may take.",
            ),
            figure(
                "clients",
                self.ingest.clients(),
                "Clients the rate limiter tracks.",
            ),
            figure("clients_max", self.ingest.clients_max(), "Clients it may track."),
        ]
    }
}

/// When to give up on the client of a connection that is laid to rest at `now`.
fn deadline(connection: &Connection, now: Instant, timeouts: &Timeouts) -> Instant {
    if connection.has_unsent() {
        return now.after(timeouts.write_timeout);
    }
    match connection.request_began {
        Some(began) => began.after(timeouts.request_timeout),
        None => now.after(timeouts.idle_timeout),
    }
}

fn add_threads(figures: &mut Figures, workers: &Workers, log: &Log) {
    let figure = |name, value: u64, help| Figure { name, value, help };
    let status = log.status();
    let progress = status.progress;
    figures.counts.extend([
        figure(
            "worker_panics",
            workers.panics(),
            "Panics of a worker: each is a bug, and cost one connection.",
        ),
        figure("log_records", progress.records, "Lines written to the log."),
        figure(
            "log_groups",
            progress.groups,
            "Groups they were written in, one write call each.",
        ),
        figure(
            "log_failures",
            progress.failures,
            "Groups that could not be written.",
        ),
    ]);
    figures.gauges.extend([
        figure(
            "queue_jobs",
            workers.queue_depth() as u64,
            "Connections that wait for a worker.",
        ),
        figure(
            "queue_jobs_max",
            workers.queue_jobs_max() as u64,
            "Connections that may wait for a worker.",
        ),
        figure(
            "log_queue_bytes",
            status.queue_bytes as u64,
            "Bytes that wait for the log's writer.",
        ),
        figure(
            "log_queue_batches",
            status.queue_batches as u64,
            "Batches that wait for the log's writer.",
        ),
        figure(
            "log_written_bytes",
            progress.file_bytes,
            "Length of the log, in bytes.",
        ),
        figure(
            "log_synced_bytes",
            progress.synced_bytes,
            "Length of the log that is on the disk, in bytes.",
        ),
    ]);
}
