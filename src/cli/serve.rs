//! `metricstream serve`: runs the server until SIGINT or SIGTERM; SIGHUP reloads its settings.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ArgMatches;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry, reload};

use super::BAD_USAGE;
use super::reload::{Reloader, SetFilter};
use super::scheduling;
use super::settings::{self, Checked, SettingsArgs, Unusable};
use super::systemd::{self, Notifier};
use super::watchdog;
use crate::app::{App, StopReport};
use crate::config::{Config, LogFormat};
use crate::sync::shim::Arc;
use crate::sync::shim::thread::{self, JoinHandle};
use crate::sync::stop::Stop;

/// Exit code of a process ended by its second signal, as a shell reports SIGINT.
const FORCED: i32 = 130;

/// What stands below the flags in the help and in the manual page.
const AFTER_HELP: &str = "\
Signals: SIGHUP reads the settings again and puts in force what can change at run time, all or nothing. \
SIGTERM and SIGINT stop: what is in flight is finished, what was accepted is written; a second one ends the \
process at once.

Under a service manager: NOTIFY_SOCKET (ready, reloading, stopping, status), WATCHDOG_USEC and LISTEN_FDS \
(a listening socket in place of --listen) are heeded.

Exit codes: 0 after a graceful stop, 1 when it cannot start or lines were lost, 2 for settings that cannot be \
used, 130 when a second signal ended it.";

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the server. Exit codes: 0 after a graceful stop, 1 when it cannot start or lines were lost, 2 for a
/// setting that cannot be used, 130 when a second signal ended it at once.
#[must_use]
pub fn run(args: &ServeArgs, matches: &ArgMatches) -> ExitCode {
    let Checked {
        merged,
        config,
        filter,
    } = match settings::check(&args.settings, matches) {
        Ok(checked) => checked,
        Err(Unusable) => return ExitCode::from(BAD_USAGE),
    };
    let set_filter = match start_messages(filter, config.log_format) {
        Ok(set_filter) => set_filter,
        Err(error) => return fail(&error, 1),
    };
    let passed = match systemd::activated_listener() {
        Ok(passed) => passed,
        Err(error) => return fail(&error, 1),
    };
    if passed.is_some() {
        tracing::info!(
            "listening on the socket that the service manager passed; the setting listen is unused"
        );
    }
    // Before the first thread is started.
    if let Err(error) = scheduling::apply(config.scheduling_policy) {
        tracing::warn!(%error, "the scheduling policy stays as it was: scheduling_policy is not in force");
    }
    // The last so that a limit of file sizes (RLIMIT_FSIZE) is a failure of the disk and not the end.
    let signals = match Signals::new([SIGHUP, SIGINT, SIGTERM, SIGXFSZ]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format_args!("cannot watch for signals: {error}"), 1),
    };
    let app = match App::start(&config, passed) {
        Ok(app) => app,
        Err(error) => return fail(&error, 1),
    };
    announce(&app, &config);
    let reloader = Reloader::new(&args.settings, matches, set_filter, merged.effective);
    report(run_until_stopped(app, signals, reloader))
}

/// From ready to stopped.
fn run_until_stopped(app: App, mut signals: Signals, mut reloader: Reloader<'_>) -> StopReport {
    let notifier = Arc::new(Notifier::from_environment());
    let watching = Watching::start(&notifier, &app);
    notifier.ready(&watchdog::status_line(app.shared()));
    for signal in signals.forever() {
        match signal {
            SIGXFSZ => continue,
            SIGHUP => {}
            _ => {
                tracing::info!(
                    signal,
                    "stopping: no new connections, finishing what is in flight"
                );
                break;
            }
        }
        notifier.reloading();
        let status = if reloader.reload(&app) {
            watchdog::status_line(app.shared())
        } else {
            "the reload was refused, see the log; everything is as it was".to_owned()
        };
        notifier.ready(&status);
    }
    notifier.stopping();
    // A second signal means now; it must work while the stop is waiting.
    let second = thread::spawn("signals", move || {
        if signals
            .forever()
            .any(|signal| signal == SIGINT || signal == SIGTERM)
        {
            std::process::exit(FORCED);
        }
    });
    if let Err(error) = second {
        tracing::warn!(%error, "a second signal will not force the stop");
    }
    let report = app.stop();
    watching.end();
    report
}

/// The thread that tells the service manager how it goes, if there is one to tell.
struct Watching {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    fn start(notifier: &Arc<Notifier>, app: &App) -> Self {
        let stop = Arc::new(Stop::new());
        if !notifier.is_heard() {
            return Self { stop, thread: None };
        }
        let interval = systemd::watchdog_interval();
        let (notifier, stopping) = (Arc::clone(notifier), Arc::clone(&stop));
        let (shared, log) = (Arc::clone(app.shared()), Arc::clone(app.log()));
        let started = thread::spawn("watchdog", move || {
            watchdog::watch(&notifier, interval, (&shared, &log), &stopping);
        });
        if let Err(error) = &started {
            tracing::error!(%error, "the service manager will not be told of progress");
        }
        Self {
            stop,
            thread: started.ok(),
        }
    }

    fn end(self) {
        self.stop.request();
        if let Some(thread) = self.thread {
            // It has no result; a panic of it was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("metricstream: {error}");
    ExitCode::from(code)
}

/// Begins to log, and answers with what replaces the filter.
fn start_messages(filter: EnvFilter, format: LogFormat) -> Result<SetFilter, String> {
    let (filter, handle) = reload::Layer::new(filter);
    let messages = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let messages = match format {
        LogFormat::Human => messages.boxed(),
        LogFormat::Json => messages.json().boxed(),
    };
    registry()
        .with(filter)
        .with(messages)
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))?;
    Ok(Box::new(move |filter| {
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

/// The start-up line goes to standard output, so that a script can wait for it and learn the port.
fn announce(app: &App, config: &Config) {
    let mut out = std::io::stdout().lock();
    let path = config.data_dir.join("metrics.jsonl");
    // A closed standard output is no reason not to serve.
    let _ = writeln!(
        out,
        "metricstream listens on {}://{} and appends to {}",
        if config.tls.is_some() { "https" } else { "http" },
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
        tls = config.tls.is_some(),
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
