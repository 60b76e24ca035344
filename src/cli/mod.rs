//! The command line: one program, a subcommand for each thing it does.
//!
//! Promises: what cannot be done is one clear line on standard error and a non-zero exit code: 2 for bad
//! flags and settings; the commands say what else they answer with.

pub mod serve;

pub mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A metrics ingestion server whose promises can be checked.
#[derive(Debug, Parser)]
#[command(name = "metricstream", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take metrics over HTTP and append them to metrics.jsonl
    Serve(Box<serve::ServeArgs>),
    Load(Box<load::LoadArgs>),
}

/// Parses the arguments, runs the command and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Load(args) => load::run(*args),
    }
}
