//! `metricstream serve`: runs the server until SIGINT or SIGTERM.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ArgMatches;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::BAD_USAGE;
use super::settings::{self, SettingsArgs, Unusable};
use crate::app::{App, StopReport};
use crate::config::{Config, LogFormat};
use crate::sync::shim::thread;

/// Exit code of a process ended by its second signal, as a shell reports SIGINT.
const FORCED: i32 = 130;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the server. Exit codes: 0 after a graceful stop, 1 when it cannot start or lines were lost, 2 for a
/// setting that cannot be used, 130 when a second signal ended it at once.
#[must_use]
pub fn run(args: &ServeArgs, matches: &ArgMatches) -> ExitCode {
    let config = match settings::check(&args.settings, matches) {
        Ok((_, config)) => config,
        Err(Unusable) => return ExitCode::from(BAD_USAGE),
    };
    if let Err(error) = start_messages(&config) {
        return fail(&error, BAD_USAGE);
    }
    let mut signals = match Signals::new([SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format_args!("cannot watch for signals: {error}"), 1),
    };
    let app = match App::start(&config) {
        Ok(app) => app,
        Err(error) => return fail(&error, 1),
    };
    announce(&app, &config);
    let signal = signals.forever().next();
    tracing::info!(
        signal,
        "stopping: no new connections, finishing what is in flight"
    );
    // A second signal means now; it must work while the stop is waiting.
    let second = thread::spawn("signals", move || {
        if signals.forever().next().is_some() {
            std::process::exit(FORCED);
        }
    });
    if let Err(error) = second {
        tracing::warn!(%error, "a second signal will not force the stop");
    }
    report(app.stop())
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("metricstream: {error}");
    ExitCode::from(code)
}

fn start_messages(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|error| format!("--log-filter {:?} is not a filter: {error}", config.log_filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let result = match config.log_format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    result.map_err(|error| format!("cannot start logging: {error}"))
}

/// The start-up line goes to standard output, so that a script can wait for it and learn the port.
fn announce(app: &App, config: &Config) {
    let mut out = std::io::stdout().lock();
    let path = config.data_dir.join("metrics.jsonl");
    // A closed standard output is no reason not to serve.
    let _ = writeln!(
        out,
        "metricstream listens on http://{} and appends to {}",
        app.address(),
        path.display()
    );
    let _ = out.flush();
    tracing::info!(
        address = %app.address(),
        path = %path.display(),
        workers = config.workers,
        ack_level = ?config.ack_level,
        tokens = config.tokens_file.is_some(),
        "started"
    );
}

fn report(stop: StopReport) -> ExitCode {
    let StopReport {
        connections_cut,
        metrics_acknowledged,
        log_complete,
    } = stop;
    if connections_cut > 0 {
        tracing::warn!(
            connections_cut,
            "the deadline passed before these connections were done"
        );
    }
    tracing::info!(metrics_acknowledged, log_complete, "stopped");
    if log_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}
