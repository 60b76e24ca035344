//! The threads of a run, its progress and the signals that end it early.
//!
//! Promises: SIGINT or SIGTERM ends the run, and what was counted is still reported; a second one ends the
//! program at once. The progress bar is on stderr and only where that is a terminal.
//! Leaves to the caller: the report.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::net::system::{Poller, Ready};
use crate::sync::shim::{Arc, thread};

use super::drive::{self, Board, Outcome, Setup};

/// Time between two looks at the boards.
const LOOK: Duration = Duration::from_millis(100);

/// What came out of the threads.
#[derive(Debug)]
pub struct Watched {
    /// Of each thread.
    pub outcomes: Vec<Outcome>,
    /// Whether a signal ended the run.
    pub interrupted: bool,
}

/// Runs the plan on `threads` threads, its clients dealt out in turn.
///
/// # Errors
/// When the kernel refuses a thread, a descriptor or a signal handler.
pub fn run(setup: &Setup, threads: u32, quiet: bool) -> io::Result<Watched> {
    let signals = Signals::new()?;
    let boards: Vec<_> = (0..threads).map(|_| Arc::new(Board::default())).collect();
    let mut handles = Vec::new();
    for (first, board) in (0..threads).zip(&boards) {
        let ids: Vec<u32> = (first..setup.plan.clients).step_by(threads as usize).collect();
        let (setup, board, done) = (setup.clone(), Arc::clone(board), Arc::clone(&signals.poller));
        handles.push(thread::spawn(&format!("load-{first}"), move || {
            let outcome = drive::drive(&setup, &ids, &board);
            board.finish();
            done.wake();
            outcome
        })?);
    }
    let bar = progress_bar(setup, quiet);
    let interrupted = watch(&signals, &boards, &bar, setup);
    bar.finish_and_clear();
    let outcomes = handles
        .into_iter()
        .map(|handle| {
            handle
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a generator thread panicked")))
        })
        .collect::<io::Result<_>>()?;
    Ok(Watched {
        outcomes,
        interrupted,
    })
}

/// Waits for the threads; says whether a signal came first.
fn watch(signals: &Signals, boards: &[Arc<Board>], bar: &ProgressBar, setup: &Setup) -> bool {
    let mut ready = Ready::new();
    let mut interrupted = false;
    loop {
        // A wait that fails is a look that comes early.
        let _ = signals.poller.wait(&mut ready, LOOK);
        if signals.take() {
            if interrupted {
                std::process::exit(128 + SIGINT);
            }
            interrupted = true;
            boards.iter().for_each(|board| board.stop());
        }
        let notes: Vec<_> = boards.iter().map(|board| board.notes()).collect();
        let requests: u64 = notes.iter().map(|notes| notes.requests).sum();
        let failed: u64 = notes.iter().map(|notes| notes.failed).sum();
        bar.set_message(format!("{requests} requests, {failed} failed"));
        bar.set_position(match setup.plan.requests_total() {
            Some(_) => requests,
            None => millis(setup.clock.now().since(setup.start)),
        });
        if notes.iter().all(|notes| notes.finished) {
            return interrupted;
        }
    }
}

fn progress_bar(setup: &Setup, quiet: bool) -> ProgressBar {
    // By requests where their number is known, else by time.
    let length = match (setup.plan.requests_total(), setup.plan.time()) {
        (Some(requests), _) => requests,
        (None, time) => time.map_or(0, millis),
    };
    // Indicatif hides it by itself where stderr is no terminal.
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {percent:>3}% {msg}");
    ProgressBar::with_draw_target(Some(length), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The signals, as bytes in a pipe that the poller watches.
struct Signals {
    poller: Arc<Poller>,
    pipe: UnixStream,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (pipe, far) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let poller = Poller::new()?;
        poller.add_repeating(&pipe, 0)?;
        signal_hook::low_level::pipe::register(SIGINT, far.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGTERM, far)?;
        Ok(Self {
            poller: Arc::new(poller),
            pipe,
        })
    }

    /// Whether one came since the last look.
    fn take(&self) -> bool {
        let mut byte = [0; 16];
        matches!(io::Read::read(&mut &self.pipe, &mut byte), Ok(1..))
    }
}
