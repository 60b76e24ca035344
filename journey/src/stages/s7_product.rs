//! Stage 7: the product, `metricstream::app`, started by its own command.
//!
//! Changes: one thread waits for all connections at once (readiness), so an idle or slow client holds no
//! worker, and a connection serves many requests. The log's writer takes all that waits, writes it in one
//! call and only then lets the replies go (group commit): a success says again that the lines are stored, as
//! at stage 0, and the wait for it is shared. Every queue is bounded, clients are forgotten when they are
//! idle, the hash has a key, stopping loses nothing.
//!
//! Stage 7 promises what the product does by default: the lines are in the kernel and survive `kill -9`.
//! Stage 7s promises what stages 0 and 1 do: the lines are on the disk and survive a power cut.
//!
//! Still wrong: see PROOFS.md, "Known limits"; what is not listed there as proved is not claimed.

use std::io;
use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches as _};
use metricstream::cli::serve::{self, ServeArgs};

use crate::common::Place;

/// What a success promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Survives `kill -9`.
    Written,
    /// Survives a power cut.
    Synced,
}

/// Serves until SIGINT or SIGTERM, then stops in good order.
///
/// # Errors
/// When the product does not start; it has said why.
pub fn run(place: &Place, level: Level) -> io::Result<()> {
    let address = place.address().to_string();
    let directory = place.directory.display().to_string();
    let level = match level {
        Level::Written => "written",
        Level::Synced => "synced",
    };
    let requests_max = place.requests_max.to_string();
    let flags = [
        "--listen",
        &address,
        "--data-dir",
        &directory,
        "--ack-level",
        level,
        "--client-requests-per-second-max",
        &requests_max,
        "--log-filter",
        "error",
    ];
    let command = ServeArgs::augment_args(Command::new("serve").no_binary_name(true));
    let matches = command.try_get_matches_from(flags).map_err(io::Error::other)?;
    let args = ServeArgs::from_arg_matches(&matches).map_err(io::Error::other)?;
    if serve::run(&args, &matches) == ExitCode::SUCCESS {
        Ok(())
    } else {
        Err(io::Error::other("the product ended with an error"))
    }
}
