//! The command line: `metricstream load`.
//!
//! Promises: a bad flag is one clear message and exit code 2. Leaves to the commands: everything else.

pub mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A metrics ingestion server whose promises can be checked.
#[derive(Debug, Parser)]
#[command(name = "metricstream", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(load::LoadArgs),
}

/// Parses the arguments, runs the command and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Load(args) => load::run(args),
    }
}
