//! Stage 0: one request after the other, each on the disk before it is answered.
//!
//! Changes: nothing; this is where it begins. Accept a connection, read the request, parse it, append the
//! lines to the file, wait for the disk, reply, accept the next.
//!
//! Right: a success means that the lines are on the disk. No thread, so no race.
//!
//! Still wrong:
//! - while the disk works the processor waits, and so does everybody else: the rate is one request for each
//!   write to the disk, whatever the machine;
//! - a client that connects and sends nothing holds up all for as long as it likes (here five seconds);
//! - whoever waits does so in the kernel's backlog. When that is full the kernel drops the connection
//!   request; the client learns of it only by its own patience;
//! - the parser is the naive one.

use std::io::{self, Write as _};

use metricstream::clock::SystemClock;

use crate::common::{BACKLOG, Counters, Place};
use crate::naive;
use crate::wire::{self, Reply, Route};

/// Serves until the process is ended.
///
/// # Errors
/// When the port or the file cannot be had.
pub fn serve(place: &Place) -> io::Result<()> {
    let mut file = place.open()?;
    let listener = place.listen(BACKLOG)?;
    let (clock, counters) = (SystemClock::new(), Counters::default());
    for stream in listener.incoming() {
        // A connection that ended before it was accepted is nobody's concern.
        let Ok(stream) = stream else { continue };
        counters.accepted.add(1);
        let success = wire::serve_one(stream, |request| match request.route {
            Route::Metrics => match naive::lines(&request.body, clock.wall()) {
                Err(reason) => Reply::Refused(400, reason),
                Ok((metrics, lines)) => match store(&mut file, &lines) {
                    Err(error) => Reply::Refused(503, error.to_string()),
                    Ok(()) => {
                        counters.metrics.add(metrics.into());
                        Reply::Taken(metrics)
                    }
                },
            },
            Route::Stats => Reply::Page(counters.page("")),
            other => Reply::to_other(other),
        });
        counters.note(success);
    }
    Ok(())
}

/// Appends and waits for the disk.
fn store(file: &mut std::fs::File, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines)?;
    file.sync_data()
}
