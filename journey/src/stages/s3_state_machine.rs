//! Stage 3: the product's parser, a state machine that looks at each byte once.
//!
//! Changes: the naive parser is gone. The product's reads the body from front to back; what it is looking for
//! follows from where it is. Names and tags are copied as the checked text they arrived in.
//!
//! Better: the work grows with the body and not with its square, and what is accepted is JSON of the schema:
//! every stored line is valid.
//!
//! Still wrong:
//! - the memory that parsing reuses has nowhere to stay, because the thread ends with its request;
//! - one client can take all there is: nobody counts who asks how often;
//! - a success before anything is stored, a buffer and threads without bound, as before.

use std::io;

use metricstream::clock::{SystemClock, WallTime};
use metricstream::metric::{Limits, Scratch, decode};
use metricstream::sync::shim::{Arc, thread};

use super::s2_background_writer::{Buffer, FLUSH_BYTES, start_writer};
use crate::common::{BACKLOG, Counters, Place};
use crate::wire::{self, Reply, Request, Route};

/// Adds the lines of a body to `lines`; says how many.
///
/// # Errors
/// What is wrong with the body, in words.
pub fn add_lines(
    body: &[u8],
    arrival: WallTime,
    scratch: &mut Scratch,
    lines: &mut Vec<u8>,
) -> Result<u32, String> {
    let draft = decode(body, &Limits::default(), scratch).map_err(|error| error.to_string())?;
    let batch = draft.validate().map_err(|error| error.to_string())?;
    batch.encode(arrival, lines);
    Ok(u32::try_from(batch.len()).unwrap_or(u32::MAX))
}

/// What takes metrics: the stages that follow put more before it and around it.
#[derive(Debug)]
pub struct Intake {
    /// Where lines wait for the writer.
    pub buffer: Arc<Buffer>,
    /// When things happen.
    pub clock: SystemClock,
    /// What happened.
    pub counters: Counters,
}

impl Intake {
    /// Starts the writer and opens the intake.
    ///
    /// # Errors
    /// When the file or the writer's thread cannot be had.
    pub fn start(place: &Place) -> io::Result<Self> {
        let intake = Self {
            buffer: Arc::new(Buffer::new()),
            clock: SystemClock::new(),
            counters: Counters::default(),
        };
        start_writer(&intake.buffer, place.open()?)?;
        Ok(intake)
    }

    /// Parses with memory that the caller keeps, and leaves the lines to the writer.
    pub fn take(&self, body: &[u8], scratch: &mut Scratch, lines: &mut Vec<u8>) -> Reply {
        lines.clear();
        match add_lines(body, self.clock.wall(), scratch, lines) {
            Err(reason) => Reply::Refused(400, reason),
            Ok(metrics) => {
                self.buffer.append(lines, FLUSH_BYTES);
                self.counters.metrics.add(metrics.into());
                Reply::Taken(metrics)
            }
        }
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When the port, the file or the writer's thread cannot be had.
pub fn serve(place: &Place) -> io::Result<()> {
    let intake = Arc::new(Intake::start(place)?);
    let listener = place.listen(BACKLOG)?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        intake.counters.accepted.add(1);
        let theirs = Arc::clone(&intake);
        let started = thread::spawn("request", move || {
            let success = wire::serve_one(stream, |request| handle(&theirs, request));
            theirs.counters.note(success);
        });
        if started.is_err() {
            intake.counters.shed.add(1);
        }
    }
    Ok(())
}

fn handle(intake: &Intake, request: &Request) -> Reply {
    match request.route {
        // New memory for each request: the thread that could keep it is about to end.
        Route::Metrics => intake.take(&request.body, &mut Scratch::default(), &mut Vec::new()),
        Route::Stats => Reply::Page(intake.counters.page("")),
        other => Reply::to_other(other),
    }
}
