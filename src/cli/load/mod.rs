//! `metricstream load`: the load generator.
//!
//! Promises: bounded in time and connections; every request is counted once, as a reply by its status or as
//! a failure by its reason; the exit code is 0 when every request succeeded, 1 when some did not or the
//! server cannot be reached, 2 when the run cannot be made as asked (bad flags, too few open files).
//! Leaves to the caller: the server, and not to aim it at someone else's.
//!
//! The modules in reading order: [`plan`] says what is due when, [`request`] has the bytes to send,
//! [`response`] reads the replies, [`client`] is the state of one client, [`tally`] counts, [`report`] says
//! it; all of these are pure. [`drive`] moves bytes, [`idle`] holds idle connections, [`watch`] shows the
//! progress and hears the signals.

pub mod client;
pub mod drive;
pub mod idle;
pub mod plan;
pub mod report;
pub mod request;
pub mod response;
pub mod settings;
pub mod tally;
pub mod watch;

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use crate::clock::{Instant, SystemClock};
use crate::net::raise_open_files_limit;

use drive::Setup;
use idle::Idle;
use report::{Course, Report, Title};
use request::Form;
pub use settings::{LoadArgs, Settings};
use tally::Tally;

/// Descriptors that are not connections: the standard streams, a poller and its line for each thread, the
/// signals.
const FILES_BESIDE_CONNECTIONS: u64 = 256;

/// Why a run was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no address.
    #[error("cannot resolve host '{host}': {error}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {address}: {error}; is `metricstream serve` running there?")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// Too few open files allowed.
    #[error(
        "{wanted} open files are needed (--clients and --idle), {limit} are allowed: \
         raise the hard limit (`ulimit -Hn`) or lower the flags"
    )]
    OpenFiles {
        /// Descriptors needed.
        wanted: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The idle connections could not be opened.
    #[error("cannot open the idle connections (--idle): {0}")]
    Idle(io::Error),
    /// The kernel refused a thread or a descriptor.
    #[error("cannot start the generator: {0}")]
    Start(io::Error),
    /// The report could not be written.
    #[error("cannot write the report to {path}: {error}")]
    Report {
        /// The file.
        path: String,
        /// What the kernel said.
        error: io::Error,
    },
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unreachable { .. } | Self::Idle(_) | Self::Report { .. } => ExitCode::from(1),
            Self::Resolve { .. } | Self::OpenFiles { .. } | Self::Start(_) => ExitCode::from(2),
        }
    }
}

/// Makes the run that the arguments ask for, prints its report and answers with the exit code.
pub fn run(args: LoadArgs) -> ExitCode {
    let settings = match Settings::try_from(args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match measure(&settings).and_then(|report| print(&settings, &report).map(|()| report)) {
        Ok(report) if report.is_success(settings.allow_refusals) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

/// Makes a run and answers with its report; nothing is printed but the progress, where `settings` lets it.
///
/// # Errors
/// [`Error`], when the run was not made.
pub fn measure(settings: &Settings) -> Result<Report, Error> {
    let wanted = u64::from(settings.plan.clients) + u64::from(settings.idle) + FILES_BESIDE_CONNECTIONS;
    let limit = raise_open_files_limit();
    if wanted > limit {
        return Err(Error::OpenFiles { wanted, limit });
    }
    let address = reach(settings)?;
    let timeout = settings.conduct.timeout;
    let idle = Idle::open(address, settings.idle, timeout).map_err(Error::Idle)?;
    let clock = SystemClock::new();
    let form = Form {
        host: settings.host.clone(),
        address,
        path: settings.path.clone(),
        batch: settings.batch,
        credential: settings.credential.clone(),
        keep_alive: settings.conduct.keep_alive,
    };
    let authority = form.authority();
    let setup = Setup {
        address,
        form,
        plan: settings.plan,
        conduct: settings.conduct,
        start: clock.now(),
        clock,
    };
    let watched = watch::run(&setup, settings.threads, settings.quiet).map_err(Error::Start)?;
    let mut tally = Tally::new();
    let mut end = Instant::ZERO;
    for outcome in &watched.outcomes {
        tally.add(&outcome.tally);
        end = end.max(outcome.end);
    }
    let held = idle.len() as u64;
    let course = Course {
        elapsed: end.since(setup.start.after(settings.plan.warmup)),
        interrupted: watched.interrupted,
        idle: (held > 0).then(|| (held, idle.alive(&authority, timeout, &clock) as u64)),
    };
    let title = Title {
        url: format!("http://{authority}{}", settings.path),
        clients: settings.plan.clients,
        threads: settings.threads,
        batch: settings.batch,
        keep_alive: settings.conduct.keep_alive,
        requests_per_second: settings.requests_per_second(),
    };
    Ok(Report::new(&title, &course, &tally))
}

/// The first address of the host where somebody answers.
fn reach(settings: &Settings) -> Result<SocketAddr, Error> {
    let resolve = |error| Error::Resolve {
        host: settings.host.clone(),
        error,
    };
    let addresses = (settings.host.as_str(), settings.port)
        .to_socket_addrs()
        .map_err(resolve)?;
    let mut failure = resolve(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, settings.conduct.timeout.min(Duration::from_secs(5))) {
            Ok(_) => return Ok(address),
            Err(error) => failure = Error::Unreachable { address, error },
        }
    }
    Err(failure)
}

fn print(settings: &Settings, report: &Report) -> Result<(), Error> {
    if let Some(path) = &settings.json {
        std::fs::write(path, report.json() + "\n").map_err(|error| Error::Report {
            path: path.display().to_string(),
            error,
        })?;
    }
    let mut text = if settings.print_json {
        report.json() + "\n"
    } else {
        report.text()
    };
    if settings.quiet && !settings.print_json {
        text.clear();
    }
    // A reader that went away, as `head` does, has what it wants.
    let _ = io::Write::write_all(&mut io::stdout(), text.as_bytes());
    Ok(())
}
