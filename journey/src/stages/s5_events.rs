//! Stage 5: how long requests take is recorded. First under a mutex, then through lock-free rings.
//!
//! Changes: each request leaves an event, its latency, and `GET /stats` shows p50 and p99.
//!
//! - [`Locked`] (stage 5a): a list behind a mutex. Whoever reads the statistics sorts the list with the mutex
//!   held, and every request that ends meanwhile waits for that. The list has no bound.
//! - [`Rings`] (stage 5): the product's rings. Recording never waits; a full ring drops the event and counts
//!   the drop. A thread of its own empties them into a histogram.
//!
//! Still wrong:
//! - a ring has one producer, and a thread that lives for one request can own none for long: the producers
//!   are behind the stripes of a mutex pool, so the way to a lock-free ring is a lock. It is nearly never
//!   contended; the next stage makes it unnecessary;
//! - threads without bound, a buffer without bound, a success before anything is stored, as before.

use std::io;
use std::time::Duration;

use metricstream::metric::Scratch;
use metricstream::stats::Counter;
use metricstream::sync::mutex_pool::MutexPool;
use metricstream::sync::ring::{Consumer, Producer, ring};
use metricstream::sync::shim::{Arc, Mutex, thread};
use metricstream::sync::stop::Stop;

use super::s4_rate_limit::{Gate, Striped, hash};
use crate::common::{BACKLOG, Place};
use crate::wire::{self, Reply, Request, Route};

/// Rings; a prime, as the mutex pool wants it.
const RINGS: usize = 61;

/// Events in a ring.
pub const RING_EVENTS: usize = 1024;

/// Time between two times that the rings are emptied.
pub const COLLECT_INTERVAL: Duration = Duration::from_millis(25);

/// What is known of the latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Events seen.
    pub events: u64,
    /// Events that found no room.
    pub dropped: u64,
    /// Half of the requests took at most this, in microseconds.
    pub p50_us: u64,
    /// Of a hundred requests one took longer, in microseconds.
    pub p99_us: u64,
}

impl Latencies {
    /// Further members for the page of statistics.
    #[must_use]
    pub fn json(&self) -> String {
        format!(
            ",\"events\":{},\"events_dropped\":{},\"p50_us\":{},\"p99_us\":{}",
            self.events, self.dropped, self.p50_us, self.p99_us
        )
    }
}

/// One way to record.
pub trait Recorder: Send + Sync + 'static {
    /// One that has seen nothing; starts what it needs.
    ///
    /// # Errors
    /// When the system refuses a thread.
    fn start() -> io::Result<Self>
    where
        Self: Sized;

    /// Records that a request of `client` took so long.
    fn record(&self, client: &str, latency: Duration);

    /// What is known.
    fn latencies(&self) -> Latencies;
}

/// A list behind a mutex.
#[derive(Debug, Default)]
pub struct Locked(Mutex<Vec<u64>>);

impl Recorder for Locked {
    fn start() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn record(&self, _client: &str, latency: Duration) {
        self.0.lock().push(micros(latency));
    }

    fn latencies(&self) -> Latencies {
        let mut events = self.0.lock();
        events.sort_unstable();
        let at = |share: usize| events.get(events.len() * share / 100).copied().unwrap_or(0);
        Latencies {
            events: events.len() as u64,
            dropped: 0,
            p50_us: at(50),
            p99_us: at(99),
        }
    }
}

/// Rings, each producer behind a stripe, and what was collected from them.
#[derive(Debug)]
pub struct Rings {
    producers: MutexPool<Producer<u64>>,
    collected: Arc<Mutex<Histogram>>,
    dropped: Counter,
}

impl Recorder for Rings {
    fn start() -> io::Result<Self> {
        let (mut producers, consumers): (Vec<_>, Vec<_>) = (0..RINGS).map(|_| ring(RING_EVENTS)).unzip();
        let collected = Arc::new(Mutex::new(Histogram::new()));
        start_collector(consumers, &collected)?;
        Ok(Self {
            producers: MutexPool::new(RINGS, |_| producers.pop().expect("one for each")),
            collected,
            dropped: Counter::default(),
        })
    }

    fn record(&self, client: &str, latency: Duration) {
        let full = self
            .producers
            .with(hash(client), |producer| producer.push(micros(latency)).is_err());
        self.dropped.add(u64::from(full));
    }

    fn latencies(&self) -> Latencies {
        self.collected.lock().latencies(self.dropped.get())
    }
}

/// Starts the thread that empties the rings. It owns the consumers, so that nobody else can touch them.
///
/// # Errors
/// When the system refuses a thread.
pub fn start_collector(
    mut consumers: Vec<Consumer<u64>>,
    collected: &Arc<Mutex<Histogram>>,
) -> io::Result<()> {
    let (collected, never) = (Arc::clone(collected), Stop::new());
    thread::spawn("collector", move || {
        while !never.wait_timeout(COLLECT_INTERVAL) {
            for consumer in &mut consumers {
                while let Some(micros) = consumer.pop() {
                    collected.lock().add(micros);
                }
            }
        }
    })?;
    Ok(())
}

/// Counts latencies in buckets a quarter of a power of two wide.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    events: u64,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: vec![0; 4 * 64],
            events: 0,
        }
    }

    /// One more.
    pub fn add(&mut self, micros: u64) {
        let power = micros.max(1).ilog2() as usize;
        let quarter = if power < 2 {
            0
        } else {
            usize::from((micros >> (power - 2)).to_le_bytes()[0] & 3)
        };
        self.counts[4 * power + quarter] += 1;
        self.events += 1;
    }

    /// What is known.
    #[must_use]
    pub fn latencies(&self, dropped: u64) -> Latencies {
        Latencies {
            events: self.events,
            dropped,
            p50_us: self.at(50),
            p99_us: self.at(99),
        }
    }

    /// The upper end of the bucket below which `share` of a hundred events lie.
    fn at(&self, share: u64) -> u64 {
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below * 100 >= self.events * share && below > 0 {
                let (power, quarter) = (bucket / 4, bucket as u64 % 4);
                return (1_u64 << power).saturating_mul(5 + quarter) / 4;
            }
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port, the file or a thread cannot be had.
pub fn serve<R: Recorder>(place: &Place) -> io::Result<()> {
    let shared = Arc::new((Gate::<Striped>::start(place)?, R::start()?));
    let listener = place.listen(BACKLOG)?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let (gate, _) = &*shared;
        gate.intake.counters.accepted.add(1);
        let begun = gate.intake.clock.now();
        let theirs = Arc::clone(&shared);
        let started = thread::spawn("request", move || {
            let (gate, recorder) = &*theirs;
            let mut client = String::new();
            let success = wire::serve_one(stream, |request| {
                client.clone_from(&request.client);
                handle(gate, recorder, request)
            });
            gate.intake.counters.note(success);
            recorder.record(&client, gate.intake.clock.now().since(begun));
        });
        if started.is_err() {
            gate.intake.counters.shed.add(1);
        }
    }
    Ok(())
}

fn handle(gate: &Gate<Striped>, recorder: &impl Recorder, request: &Request) -> Reply {
    if request.route == Route::Stats {
        let more = gate.totals_json() + &recorder.latencies().json();
        return Reply::Page(gate.intake.counters.page(&more));
    }
    gate.handle(request, &mut Scratch::default(), &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_tell_the_same_latencies() {
        let (locked, mut histogram) = (Locked::default(), Histogram::new());
        for micros in 1..=1000 {
            locked.record("a", Duration::from_micros(micros));
            histogram.add(micros);
        }
        let (exact, near) = (locked.latencies(), histogram.latencies(0));
        assert_eq!((exact.events, exact.p50_us, exact.p99_us), (1000, 501, 991));
        assert_eq!(near.events, 1000);
        for (exact, near) in [(exact.p50_us, near.p50_us), (exact.p99_us, near.p99_us)] {
            assert!(near >= exact - 1 && near <= exact * 5 / 4, "{exact} and {near}");
        }
        assert_eq!(Histogram::new().latencies(0), Latencies::default());
    }
}
