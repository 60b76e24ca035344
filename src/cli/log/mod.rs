//! `metricstream log`: the tools around the log, for the files of a server that runs or one that does not.
//!
//! Promises: nothing here writes to a log's directory but its lock file; memory is bounded whatever the size
//! of the log. Exit codes: 0 when all is well, 1 when the log is damaged or cannot be read, 2 for flags that
//! cannot be used and for a directory without a log.
//! Leaves to the caller: what to do about damage.
//!
//! The modules in reading order: [`scan`] tells lines from damage, [`survey`] counts both over a whole log,
//! [`inspect`] and [`verify`] print that, [`repair`] writes what is whole elsewhere, [`tail`] shows the
//! newest lines; [`running`] knows whether a server has the log, [`progress`] shows how far a command is.

pub mod scan;

pub mod survey;

pub mod inspect;

pub mod verify;

pub mod repair;

pub mod tail;

pub mod running;

pub mod progress;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::BAD_USAGE;
use super::settings::{self, Unusable};
use crate::limits::LOG_LINE_BYTES_MAX_DEFAULT;
use crate::log::reader::Bounds;
use crate::metric::stored;

/// Look at the log, check it, repair it, follow it
#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Tail(tail::TailArgs),
}

/// Which log.
#[derive(Debug, Args)]
struct LogDirectory {
    /// The server's data directory [default: that of the settings: METRICSTREAM_DATA_DIR, the file, or data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// TOML file with the server's settings, for its data_dir; also METRICSTREAM_CONFIG
    #[arg(long = "config", value_name = "FILE", conflicts_with = "data_dir")]
    config_file: Option<PathBuf>,
    /// Longest line in bytes; raise it when the server's --body-bytes-max was raised
    #[arg(long, value_name = "BYTES", default_value_t = LOG_LINE_BYTES_MAX_DEFAULT,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1024..=1 << 30))]
    line_bytes_max: usize,
}

impl LogDirectory {
    fn path(&self) -> Result<PathBuf, Unusable> {
        match &self.data_dir {
            Some(path) => Ok(path.clone()),
            None => settings::data_dir(self.config_file.as_deref()),
        }
    }

    const fn bounds(&self) -> Bounds {
        bounds(self.line_bytes_max)
    }
}

/// How the log's lines are cut.
#[must_use]
pub const fn bounds(line_bytes_max: usize) -> Bounds {
    Bounds {
        line_bytes_max,
        record_start: stored::START,
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object, for programs
    Json,
}

/// Runs the command and answers with its exit code.
#[must_use]
pub fn run(args: &LogArgs) -> ExitCode {
    match &args.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Repair(args) => repair::run(args),
        Command::Tail(args) => tail::run(args),
    }
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such directory.
    #[error("there is no directory {}; --data-dir names the server's", .0.display())]
    NoDirectory(PathBuf),
    /// There is nothing of a log in it.
    #[error("there is no log in {}: it has no metrics.jsonl and no sealed segment", .0.display())]
    NoLog(PathBuf),
    /// A server has it.
    #[error("a server is running on {}; stop it first", .0.display())]
    InUse(PathBuf),
    /// The directory to write to has something in it.
    #[error("{} is not empty; --output names another place", .0.display())]
    OutputTaken(PathBuf),
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::NotFound if action == "list" => Self::NoDirectory(path),
            _ => Self::Io { action, path, source },
        }
    }

    fn exit(&self) -> ExitCode {
        eprintln!("metricstream: {self}");
        match self {
            Self::NoDirectory(_) | Self::NoLog(_) | Self::OutputTaken(_) => ExitCode::from(BAD_USAGE),
            Self::InUse(_) | Self::Io { .. } => ExitCode::from(1),
        }
    }
}

/// A count of bytes as people read it.
#[derive(Clone, Copy, Debug)]
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        indicatif::BinaryBytes(self.0).fmt(f)
    }
}

/// A count with its noun in the right number.
fn counted(count: u64, one: &str, many: &str) -> String {
    let count_text = indicatif::HumanCount(count);
    format!("{count_text} {}", if count == 1 { one } else { many })
}
