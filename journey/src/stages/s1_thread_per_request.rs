//! Stage 1: a thread for each request, a mutex around the file.
//!
//! Changes: accepting no longer waits for the request. Each connection gets a thread, which reads, parses,
//! writes and replies; the file is behind a mutex, because two threads may not write at once.
//!
//! Better: the accept loop comes round at once, so the backlog stays short. A slow client holds up nobody
//! but its own thread. Reading and parsing use all processors.
//!
//! Still wrong:
//! - the wait for the disk is inside the mutex: the threads line up there, and the rate is still one request
//!   for each write to the disk. The queue has moved from the kernel to the mutex;
//! - as many threads as clients, each with a stack and a place in the scheduler: nothing bounds them;
//! - the parser is the naive one.

use std::fs::File;
use std::io::{self, Write as _};

use metricstream::clock::SystemClock;
use metricstream::sync::shim::{Arc, Mutex, thread};

use crate::common::{BACKLOG, Counters, Place};
use crate::naive;
use crate::wire::{self, Reply, Request, Route};

/// What the threads share.
struct Shared {
    file: Mutex<File>,
    clock: SystemClock,
    counters: Counters,
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port or the file cannot be had.
pub fn serve(place: &Place) -> io::Result<()> {
    let shared = Arc::new(Shared {
        file: Mutex::new(place.open()?),
        clock: SystemClock::new(),
        counters: Counters::default(),
    });
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
            // No thread to be had. The connection closes without an answer: there is nobody to give it.
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
                Ok((metrics, lines)) => match self.store(&lines) {
                    Err(error) => Reply::Refused(503, error.to_string()),
                    Ok(()) => {
                        self.counters.metrics.add(metrics.into());
                        Reply::Taken(metrics)
                    }
                },
            },
            Route::Stats => Reply::Page(self.counters.page("")),
            other => Reply::to_other(other),
        }
    }

    /// Appends and waits for the disk, all others waiting outside.
    fn store(&self, lines: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock();
        file.write_all(lines)?;
        file.sync_data()
    }
}
