//! Stage 6: a fixed number of threads and a bounded queue before them. Full is said at once.
//!
//! Changes: the thread that accepts hands each connection to a pool. When the pool's queue is full, the
//! connection goes to one thread that does nothing but read requests and answer 503; when even that one has
//! too many, the connection is closed. The kernel's backlog is long now, because nobody waits in it.
//!
//! Better: memory and threads have a bound, and beyond it a client is told so in time to do something else.
//! A worker lives as long as the server: the memory of the parser stays with it, and each worker owns the one
//! producer of its ring, so nothing is locked to record an event.
//!
//! Still wrong:
//! - a worker waits for its client: [`WORKERS`] clients that send nothing hold up all others;
//! - a connection serves one request, so each request pays for a connection;
//! - a success before anything is stored, and a buffer without bound; stopping loses what is in it.

use std::io;
use std::net::TcpStream;

use metricstream::metric::Scratch;
use metricstream::stats::Counter;
use metricstream::sync::ring::{Producer, ring};
use metricstream::sync::shim::{Arc, Mutex};
use metricstream::sync::thread_pool::{Refused, ThreadPool, Worker};

use super::s4_rate_limit::{Gate, Striped};
use super::s5_events::{Histogram, RING_EVENTS, start_collector};
use crate::common::Place;
use crate::wire::{self, Reply, Route};

/// Threads that serve. More than processors, because a worker waits while its client sends.
pub const WORKERS: usize = 8;

/// Connections that wait for a worker.
pub const QUEUE_CONNECTIONS_MAX: usize = 128;

/// Connections that wait to be told 503.
const SHEDDING_MAX: usize = 128;

/// Connections that wait in the kernel.
const BACKLOG: i32 = 1024;

/// What the threads share.
struct Shared {
    gate: Gate<Striped>,
    latencies: Arc<Mutex<Histogram>>,
    dropped: Counter,
}

/// What a thread of the pool keeps from one connection to the next.
struct Serving {
    shared: Arc<Shared>,
    events: Producer<u64>,
    scratch: Scratch,
    lines: Vec<u8>,
}

impl Worker for Serving {
    type Job = TcpStream;

    fn run(&mut self, stream: TcpStream) {
        let Self {
            shared,
            events,
            scratch,
            lines,
        } = self;
        let intake = &shared.gate.intake;
        let begun = intake.clock.now();
        let success = wire::serve_one(stream, |request| match request.route {
            Route::Stats => Reply::Page(shared.page()),
            _ => shared.gate.handle(request, scratch, lines),
        });
        intake.counters.note(success);
        let micros = u64::try_from(intake.clock.now().since(begun).as_micros()).unwrap_or(u64::MAX);
        if events.push(micros).is_err() {
            shared.dropped.add(1);
        }
    }
}

impl Shared {
    fn page(&self) -> String {
        let latencies = self.latencies.lock().latencies(self.dropped.get());
        let more = self.gate.totals_json() + &latencies.json();
        self.gate.intake.counters.page(&more)
    }
}

/// The thread that says no. It reads the request first: closing with bytes unread would reset the connection,
/// and the client would see that and not the answer.
struct Shedding;

impl Worker for Shedding {
    type Job = TcpStream;

    fn run(&mut self, stream: TcpStream) {
        wire::serve_one(stream, |_| {
            Reply::Refused(
                503,
                format!("{QUEUE_CONNECTIONS_MAX} connections wait for a worker"),
            )
        });
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port, the file or a thread cannot be had.
pub fn serve(place: &Place) -> io::Result<()> {
    let (producers, consumers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| ring(RING_EVENTS)).unzip();
    let shared = Arc::new(Shared {
        gate: Gate::start(place)?,
        latencies: Arc::new(Mutex::new(Histogram::new())),
        dropped: Counter::default(),
    });
    start_collector(consumers, &shared.latencies)?;
    let workers = producers
        .into_iter()
        .map(|events| Serving {
            shared: Arc::clone(&shared),
            events,
            scratch: Scratch::default(),
            lines: Vec::new(),
        })
        .collect();
    let workers = ThreadPool::start("worker", workers, QUEUE_CONNECTIONS_MAX)?;
    let shedding = ThreadPool::start("shedding", vec![Shedding], SHEDDING_MAX)?;
    let listener = place.listen(BACKLOG)?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let counters = &shared.gate.intake.counters;
        counters.accepted.add(1);
        if let Err(Refused::Full(stream) | Refused::Stopped(stream)) = workers.submit(stream) {
            counters.shed.add(1);
            // Beyond this bound not even a no can be said: the connection closes.
            drop(shedding.submit(stream));
        }
    }
    Ok(())
}
