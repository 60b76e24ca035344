//! The command line: one program, a subcommand for each thing it does.
//!
//! Promises: what cannot be done is one clear line on standard error and a non-zero exit code: 2 for bad
//! flags and settings; the commands say what else they answer with.

pub mod serve;

pub mod check;

pub mod config;

pub mod settings;

pub mod scheduling;

pub mod reload;

pub mod systemd;

pub mod watchdog;

pub mod load;

pub mod log;

pub mod top;

pub mod reference;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Exit code for flags and settings that cannot be used; clap's own.
const BAD_USAGE: u8 = 2;

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
    Check(Box<check::CheckArgs>),
    Config(Box<config::ConfigArgs>),
    Load(Box<load::LoadArgs>),
    Log(Box<log::LogArgs>),
    Top(Box<top::TopArgs>),
    Completions(reference::CompletionsArgs),
    Man(reference::ManArgs),
}

/// Parses the arguments, runs the command and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (_, matches) = matches.subcommand().expect("clap requires a subcommand");
    match cli.command {
        Command::Serve(args) => serve::run(&args, matches),
        Command::Check(args) => check::run(&args, matches),
        Command::Config(args) => config::run(&args, matches),
        Command::Load(args) => load::run(*args),
        Command::Log(args) => log::run(&args),
        Command::Top(args) => top::run(&args),

        Command::Completions(args) => reference::completions(&args),
        Command::Man(args) => reference::man(&args),
    }
}

/// Prints to standard output; that it was closed is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
    ExitCode::SUCCESS
}
