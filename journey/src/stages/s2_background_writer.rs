//! Stage 2: a thread that writes, so that requests need not.
//!
//! Changes: a request leaves its lines in a buffer and is answered. One thread takes what is in the buffer
//! and writes it, when there is much of it ([`FLUSH_BYTES`]) or when some time has passed
//! ([`FLUSH_INTERVAL`]): many requests share one wait for the disk.
//!
//! Better: no request waits for the disk.
//!
//! Still wrong:
//! - a success no longer says that anything is stored: what is in the buffer is lost with the process. The
//!   stage is fast because it promises less;
//! - a write that fails has nobody left to tell;
//! - the buffer has no bound: when clients are faster than the disk, memory grows until there is none;
//! - the parser is the naive one, a thread for each request.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use metricstream::clock::SystemClock;
use metricstream::sync::shim::{Arc, Condvar, Mutex, thread};

use crate::common::{BACKLOG, Counters, Place};
use crate::naive;
use crate::wire::{self, Reply, Request, Route};

/// So much waiting is written at once, in bytes.
pub const FLUSH_BYTES: usize = 256 * 1024;

/// Longest time that lines wait to be written.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// The buffer between those who bring lines and the one who writes them.
#[derive(Debug, Default)]
pub struct Buffer {
    state: Mutex<State>,
    enough_or_stop: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    stopped: bool,
}

impl Buffer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            enough_or_stop: Condvar::new(),
        }
    }

    /// Leaves lines to be written. Wakes the writer when `enough` bytes wait: below that its timer will do.
    pub fn append(&self, lines: &[u8], enough: usize) {
        let mut state = self.state.lock();
        state.waiting.extend_from_slice(lines);
        let wake = state.waiting.len() >= enough;
        drop(state);
        if wake {
            self.enough_or_stop.notify_one("JOURNEY_BUFFER_ENOUGH");
        }
    }

    /// Lets the writer go once it has taken all.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.enough_or_stop.notify_all("JOURNEY_BUFFER_STOP");
    }

    /// Waits until `enough` bytes wait, the interval has passed or the buffer was stopped, and takes what is
    /// there, which may be nothing; `None` when it was stopped and nothing is left.
    pub fn take(&self, enough: usize) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let (mut state, _late) =
            self.enough_or_stop
                .wait_timeout_while("JOURNEY_BUFFER_WAIT", state, FLUSH_INTERVAL, |state| {
                    state.waiting.len() < enough && !state.stopped
                });
        if state.stopped && state.waiting.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut state.waiting))
    }
}

/// Starts the thread that writes.
///
/// # Errors
/// When the system refuses a thread.
pub fn start_writer(buffer: &Arc<Buffer>, mut file: File) -> io::Result<()> {
    let buffer = Arc::clone(buffer);
    thread::spawn("writer", move || {
        while let Some(lines) = buffer.take(FLUSH_BYTES) {
            if lines.is_empty() {
                continue;
            }
            if let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data()) {
                // Their senders have long been told that all is well.
                eprintln!("{} bytes of acknowledged lines are lost: {error}", lines.len());
            }
        }
    })?;
    Ok(())
}

/// What the threads share.
struct Shared {
    buffer: Arc<Buffer>,
    clock: SystemClock,
    counters: Counters,
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port, the file or the writer's thread cannot be had.
pub fn serve(place: &Place) -> io::Result<()> {
    let shared = Arc::new(Shared {
        buffer: Arc::new(Buffer::new()),
        clock: SystemClock::new(),
        counters: Counters::default(),
    });
    start_writer(&shared.buffer, place.open()?)?;
    let listener = place.listen(BACKLOG)?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        shared.counters.accepted.add(1);
        let theirs = Arc::clone(&shared);
        let started = thread::spawn("request", move || {
            let success = wire::serve_one(stream, |request| theirs.handle(request));
            theirs.counters.note(success);
        });
        if started.is_err() {
            shared.counters.shed.add(1);
        }
    }
    Ok(())
}

impl Shared {
    fn handle(&self, request: &Request) -> Reply {
        match request.route {
            Route::Metrics => match naive::lines(&request.body, self.clock.wall()) {
                Err(reason) => Reply::Refused(400, reason),
                Ok((metrics, lines)) => {
                    self.buffer.append(&lines, FLUSH_BYTES);
                    self.counters.metrics.add(metrics.into());
                    Reply::Taken(metrics)
                }
            },
            Route::Stats => Reply::Page(self.counters.page("")),
            other => Reply::to_other(other),
        }
    }
}
