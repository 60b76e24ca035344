//! Stage 4: each client may so often. Three ways to hold the clients' windows, the second one wrong.
//!
//! Changes: before parsing, the window of its client is asked (`admission::window`, the product's,
//! exact over the last second). All requests of all clients meet here, so how the windows are locked matters.
//!
//! - [`Global`] (stage 4a): one mutex around everything. Right, and every request waits for every other.
//! - [`TwoLocks`] (stage 4b): totals get a lock of their own, so that they can be read without the windows.
//!   A request takes windows, then totals; the statistics take totals, then windows. Some day each holds what
//!   the other wants. `cargo lesson deadlock wrong` finds that day in its first executions.
//! - [`Striped`] (stage 4): a pool of a prime number of mutexes. A client's windows and totals are inside
//!   its stripe; one stripe is held at a time, so there is no order to get wrong.
//!
//! Still wrong:
//! - clients are never forgotten: whoever sends many names gets much memory;
//! - the hash has no key, so whoever can choose names can put them all on one stripe;
//! - what happened is known only as totals: nobody knows how long requests took.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::num::NonZeroU32;

use metricstream::admission::window::{Verdict, Window};
use metricstream::clock::Instant;
use metricstream::limits::CLIENT_STRIPES;
use metricstream::metric::Scratch;
use metricstream::sync::mutex_pool::MutexPool;
use metricstream::sync::shim::{Arc, Mutex, thread};

use super::s3_state_machine::Intake;
use crate::common::{BACKLOG, Place};
use crate::wire::{self, Reply, Request, Route};

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests let in.
    pub allowed: u64,
    /// Requests turned away.
    pub refused: u64,
    /// Clients known.
    pub clients: u64,
}

impl Totals {
    fn note(&mut self, allowed: bool) {
        self.allowed += u64::from(allowed);
        self.refused += u64::from(!allowed);
    }
}

/// One way to hold the windows.
pub trait Limiter: Send + Sync + 'static {
    /// One that knows nobody.
    fn new() -> Self;

    /// Whether `client`, which may so often in any one second, may now; counts it if so.
    fn allow(&self, client: &str, requests_max: NonZeroU32, now: Instant) -> bool;

    /// What was decided so far.
    fn totals(&self) -> Totals;
}

type Windows = HashMap<String, Window>;

fn ask(windows: &mut Windows, client: &str, requests_max: NonZeroU32, now: Instant) -> bool {
    if !windows.contains_key(client) {
        windows.insert(client.to_owned(), Window::new());
    }
    let window = windows.get_mut(client).expect("it is there now");
    window.allow(requests_max, now) == Verdict::Allowed
}

/// Everything behind one mutex.
#[derive(Debug)]
pub struct Global(Mutex<(Windows, Totals)>);

impl Limiter for Global {
    fn new() -> Self {
        Self(Mutex::new(Default::default()))
    }

    fn allow(&self, client: &str, requests_max: NonZeroU32, now: Instant) -> bool {
        let (windows, totals) = &mut *self.0.lock();
        let allowed = ask(windows, client, requests_max, now);
        totals.note(allowed);
        allowed
    }

    fn totals(&self) -> Totals {
        let (windows, totals) = &*self.0.lock();
        Totals {
            clients: windows.len() as u64,
            ..*totals
        }
    }
}

/// Two mutexes, taken in one order here and in the other there. Wrong on purpose.
#[derive(Debug)]
pub struct TwoLocks {
    windows: Mutex<Windows>,
    totals: Mutex<Totals>,
}

impl Limiter for TwoLocks {
    fn new() -> Self {
        Self {
            windows: Mutex::new(Windows::default()),
            totals: Mutex::new(Totals::default()),
        }
    }

    fn allow(&self, client: &str, requests_max: NonZeroU32, now: Instant) -> bool {
        let mut windows = self.windows.lock();
        let allowed = ask(&mut windows, client, requests_max, now);
        // Here the windows are held and the totals are wanted.
        self.totals.lock().note(allowed);
        allowed
    }

    fn totals(&self) -> Totals {
        let totals = self.totals.lock();
        // And here the totals are held and the windows are wanted.
        let clients = self.windows.lock().len() as u64;
        Totals { clients, ..*totals }
    }
}

/// A pool of mutexes, each around the windows and the totals of its clients.
#[derive(Debug)]
pub struct Striped(MutexPool<(Windows, Totals)>);

impl Limiter for Striped {
    fn new() -> Self {
        Self(MutexPool::new(CLIENT_STRIPES, |_| Default::default()))
    }

    fn allow(&self, client: &str, requests_max: NonZeroU32, now: Instant) -> bool {
        self.0.with(hash(client), |(windows, totals)| {
            let allowed = ask(windows, client, requests_max, now);
            totals.note(allowed);
            allowed
        })
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        self.0.for_each(|_, (windows, totals)| {
            sum.allowed += totals.allowed;
            sum.refused += totals.refused;
            sum.clients += windows.len() as u64;
        });
        sum
    }
}

/// Without a key, so that everybody can compute it.
#[must_use]
pub fn hash(client: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(client.as_bytes());
    hasher.finish()
}

/// What the threads share.
#[derive(Debug)]
pub struct Gate<L> {
    /// Who may.
    pub limiter: L,
    /// How often each may in any one second.
    pub requests_max: NonZeroU32,
    /// Where it goes.
    pub intake: Intake,
}

impl<L: Limiter> Gate<L> {
    /// Starts what is behind the gate.
    ///
    /// # Errors
    /// When the file or the writer's thread cannot be had.
    pub fn start(place: &Place) -> io::Result<Self> {
        Ok(Self {
            limiter: L::new(),
            requests_max: place.requests_max,
            intake: Intake::start(place)?,
        })
    }

    /// Answers a request; what is parsed is parsed with memory that the caller keeps.
    pub fn handle(&self, request: &Request, scratch: &mut Scratch, lines: &mut Vec<u8>) -> Reply {
        match request.route {
            Route::Metrics => {
                let (requests_max, now) = (self.requests_max, self.intake.clock.now());
                if self.limiter.allow(&request.client, requests_max, now) {
                    self.intake.take(&request.body, scratch, lines)
                } else {
                    Reply::Refused(429, format!("more than {requests_max} requests in a second"))
                }
            }
            Route::Stats => Reply::Page(self.intake.counters.page(&self.totals_json())),
            other => Reply::to_other(other),
        }
    }

    /// Further members for the page of statistics.
    pub fn totals_json(&self) -> String {
        let Totals {
            allowed,
            refused,
            clients,
        } = self.limiter.totals();
        format!(",\"allowed\":{allowed},\"refused\":{refused},\"clients\":{clients}")
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port, the file or the writer's thread cannot be had.
pub fn serve<L: Limiter>(place: &Place) -> io::Result<()> {
    let gate = Arc::new(Gate::<L>::start(place)?);
    let listener = place.listen(BACKLOG)?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        gate.intake.counters.accepted.add(1);
        let theirs = Arc::clone(&gate);
        let started = thread::spawn("request", move || {
            let success = wire::serve_one(stream, |request| {
                theirs.handle(request, &mut Scratch::default(), &mut Vec::new())
            });
            theirs.intake.counters.note(success);
        });
        if started.is_err() {
            gate.intake.counters.shed.add(1);
        }
    }
    Ok(())
}
