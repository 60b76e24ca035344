//! The whole server: started in order, stopped in reverse.
//!
//! Promises: after [`App::start`] the address is bound and requests are served; [`App::stop`] refuses new
//! connections, finishes what is in flight, drains the workers, then the log, and only then returns, so
//! that nothing acknowledged is lost. A deadline bounds the wait for clients; the log is drained whatever
//! it takes.
//! Leaves to the caller: when to stop.

mod housekeeper;
mod log_watch;

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admission::auth::{Authenticator, TokenTable, TokenTableError};
use crate::admission::rate_limit::RateLimits;
use crate::clock::SystemClock;
use crate::config::{AckLevel, Config, SegmentCompression, TlsFiles};
use crate::http;
use crate::ingest::{Admission, Ingest};
use crate::limits;
use crate::log;
use crate::log::fs::{Filesystem, SystemDisk};
use crate::log::recovery::Recovery;
use crate::metric;
use crate::monitor::sync_time::{SyncTimes, TimedDisk};
use crate::monitor::webhook::Webhook;
use crate::monitor::{Monitor, Recorder};
use crate::net::client::Url;
use crate::net::tls::{Identity, IdentityError};
use crate::net::{Listener, Poller, raise_open_files_limit};
use crate::server::reactor::{Reactor, Stopped, Workers};
use crate::server::rules::{Rules, Timeouts};
use crate::server::servant::{Log, Sender, Servant};
use crate::server::turn::Outcome;
use crate::server::turns::Watched;
use crate::server::{Bounds, Shared, Threads};
use crate::stats::Stats;
use crate::sync::shim::Arc;
use crate::sync::shim::thread::{self, JoinHandle};
use crate::sync::stop::Stop;
use crate::sync::thread_pool::ThreadPool;

use housekeeper::Housekeeper;

/// Descriptors besides connections: the log, the poller, standard streams, libraries.
const OTHER_FILES: u64 = 64;

/// What a server stands on: the machine's clock, sockets and disk, or the simulation's.
#[derive(Debug)]
pub struct Platform<F> {
    /// The clocks.
    pub clock: SystemClock,
    /// Bound and listening.
    pub listener: Listener,
    /// An empty set.
    pub poller: Poller,
    /// Where the log is kept.
    pub disk: F,
}

/// A running server.
#[derive(Debug)]
pub struct App {
    threads: Running,
    reactor: JoinHandle<Stopped>,
    address: SocketAddr,
}

/// What runs behind the reactor.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    log: Arc<Log>,
    housekeeper: JoinHandle<()>,
    housekeeping_stop: Arc<Stop>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("{0}; choose another directory with --data-dir")]
    Log(#[from] log::OpenError),
    /// The tokens cannot be read.
    #[error("cannot read --tokens-file {path}: {source}")]
    TokensFile {
        /// The file wanted.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The tokens are not what they must be.
    #[error("--tokens-file {path}: {source}")]
    Tokens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenTableError,
    },
    /// A file of TLS cannot be read.
    #[error("cannot read --{setting} {path}: {source}")]
    TlsFile {
        /// The flag without its dashes.
        setting: &'static str,
        /// The file wanted.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or the key is not what it must be.
    #[error("--{setting} {path}: {source}")]
    Tls {
        /// The flag without its dashes.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// A reload would change what is spoken.
    #[error("TLS cannot be switched on or off while the server runs: restart it")]
    TlsSwitched,
    /// The system gives no random bytes, which keep credentials apart.
    #[error("cannot start: no random bytes: {0}")]
    Random(getrandom::Error),
    /// The system refuses descriptors or threads.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What a stop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Connections cut off because they were not done at the deadline.
    pub connections_cut: usize,
    /// Metrics acknowledged since the start.
    pub metrics_acknowledged: u64,
    /// Whether everything accepted by the log is in the file.
    pub log_complete: bool,
}

impl App {
    /// Starts everything on this machine: listener, log, workers, reactor. A listener that was `passed` by a
    /// service manager takes the place of one on `config.listen`.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is stopped again.
    pub fn start(config: &Config, passed: Option<Listener>) -> Result<Self, StartError> {
        warn_of_few_files(config);
        let listener = match passed {
            Some(listener) => listener,
            None => Listener::bind(config.listen).map_err(|source| StartError::Listen {
                address: config.listen,
                source,
            })?,
        };
        let platform = Platform {
            clock: SystemClock::new(),
            listener,
            poller: Poller::new()?,
            disk: SystemDisk,
        };
        Self::start_on(config, platform)
    }

    /// Starts everything on `platform`: log, workers, reactor. `config.listen` is what the listener of
    /// `platform` was bound to; nothing here looks at it.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is stopped again.
    pub fn start_on<F: Filesystem>(config: &Config, platform: Platform<F>) -> Result<Self, StartError> {
        let Platform {
            clock,
            listener,
            poller,
            disk,
        } = platform;
        let rules = rules(config, None)?;
        let address = listener.address();
        let stats = Arc::new(Stats::default());
        // The workers, the reactor and the log's writer answer requests.
        let (monitor, mut recorders) = Monitor::new(config.workers + 2, &stats);
        let ingest = ingest(config);
        let shared = Shared::new(bounds(config), rules, clock, poller, ingest, monitor, stats);
        let shared = Arc::new(shared);
        shared.watch.lock().set_rules(config.alerts.clone());
        let mut recorder = move || recorders.pop().expect("one for each thread that answers");
        let sender = Sender::new(Arc::clone(&shared), recorder());
        let log = Arc::new(open_log(
            config,
            &disk,
            clock,
            shared.monitor.sync_times(),
            sender,
        )?);
        tell_of_recovery(log.recovery());
        let servants = (0..config.workers)
            .map(|_| Watched::new(Servant::new(Arc::clone(&shared), Arc::clone(&log), recorder())))
            .collect();
        let keeper = housekeeper(config, &shared, address)?;
        let threads = Running::start(config, shared, log, servants, keeper)?;
        match threads.start_reactor(recorder(), listener) {
            Ok(reactor) => Ok(Self {
                threads,
                reactor,
                address,
            }),
            Err(error) => {
                threads.stop();
                Err(error.into())
            }
        }
    }

    /// The address in force.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts in force what of `config` can change while the server runs (see [`crate::config::RELOADABLE`]),
    /// all of it at once: requests that a turn has begun with are answered by what was in force before.
    ///
    /// # Errors
    /// [`StartError`] about a file that the settings name; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        let latest = &self.threads.shared.rules;
        let before = latest.get();
        if before.tls.is_some() != config.tls.is_some() {
            return Err(StartError::TlsSwitched);
        }
        let next = rules(config, Some(&before))?;
        if crate::seeded!(RULES_IN_PARTS) {
            // The tokens and limits of the one, the rest of the other, for long enough to be met.
            let mut mixed = rules(config, Some(&before))?;
            mixed.admin_addresses = before.admin_addresses.clone();
            latest.replace(mixed);
            (0..40).for_each(|_| drop(latest.get()));
        }
        latest.replace(next);
        self.threads.shared.watch.lock().set_rules(config.alerts.clone());
        Ok(())
    }

    /// What the threads share: for those who look on, such as tests.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.threads.shared
    }

    /// The log, for those who look on.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.threads.log
    }

    /// Stops in the reverse order of starting.
    #[must_use]
    pub fn stop(self) -> StopReport {
        let Self { threads, reactor, .. } = self;
        threads.shared.stopping.request();
        if !crate::seeded!(STOP_NOT_WOKEN) {
            threads.shared.poller.wake();
        }
        let stopped = reactor.join().unwrap_or(Stopped { connections_cut: 0 });
        let (shared, log) = (Arc::clone(&threads.shared), Arc::clone(&threads.log));
        let connections_cut = stopped.connections_cut + threads.stop();
        StopReport {
            connections_cut,
            metrics_acknowledged: shared.stats.metrics_acknowledged.get(),
            log_complete: !matches!(log.status().refusing, Some(log::Refusal::Poisoned(_))),
        }
    }
}

impl Running {
    /// Starts the workers and the housekeeper.
    fn start(
        config: &Config,
        shared: Arc<Shared>,
        log: Arc<Log>,
        servants: Vec<Watched<Servant>>,
        keeper: Housekeeper,
    ) -> io::Result<Self> {
        let turns = servants.iter().map(Watched::turns).collect();
        let workers = Arc::new(ThreadPool::start("worker", servants, config.queue_jobs_max)?);
        let housekeeping_stop = Arc::new(Stop::new());
        let housekeeper = {
            let (shared, log, stop) = (
                Arc::clone(&shared),
                Arc::clone(&log),
                Arc::clone(&housekeeping_stop),
            );
            thread::spawn("housekeeper", move || keeper.run(&shared, &log, &stop))?
        };
        *shared.threads.lock() = Some(Threads {
            workers: Arc::clone(&workers),
            turns,
            log: Arc::clone(&log),
        });
        Ok(Self {
            shared,
            workers,
            log,
            housekeeper,
            housekeeping_stop,
        })
    }

    fn start_reactor(&self, recorder: Recorder, listener: Listener) -> io::Result<JoinHandle<Stopped>> {
        let (shared, log) = (Arc::clone(&self.shared), Arc::clone(&self.log));
        let servant = Servant::new(Arc::clone(&shared), log, recorder);
        let reactor = Reactor::new(shared, Arc::clone(&self.workers), servant, listener)?;
        thread::spawn("reactor", move || reactor.run())
    }

    /// Drains the workers, then the log, and ends the housekeeper, once the reactor is gone. Answers with the
    /// connections cut off: those that came to rest when nobody could wait for their clients any more.
    fn stop(self) -> usize {
        self.workers.drain();
        self.log.drain();
        let mut connections_cut = 0;
        // A connection left in the table would keep itself alive: its lease holds the table.
        self.shared.table.take_each(|_| true, |_| connections_cut += 1);
        self.housekeeping_stop.request();
        // It has no result; a panic of it was reported when it happened.
        let _ = self.housekeeper.join();
        *self.shared.threads.lock() = None;
        connections_cut
    }
}

fn housekeeper(config: &Config, shared: &Shared, address: SocketAddr) -> io::Result<Housekeeper> {
    let (clock, stats) = (shared.clock, &shared.stats);
    let start = |url: &Url| Webhook::start(url.clone(), clock, Arc::clone(stats));
    let webhook = config.alert_webhook_url.as_ref().map(start).transpose()?;
    Ok(Housekeeper::new(
        clock.now(),
        config.summary_interval,
        address,
        webhook,
    ))
}

fn tell_of_recovery(recovery: Recovery) {
    let Recovery {
        cut_bytes,
        file_bytes,
        leftover_files,
    } = recovery;
    if leftover_files > 0 {
        tracing::info!(
            leftover_files,
            "removed what a crash left of an unfinished compression"
        );
    }
    if cut_bytes > 0 {
        tracing::warn!(
            cut_bytes,
            file_bytes,
            "cut off a torn last line, which was never acknowledged"
        );
    }
}

fn warn_of_few_files(config: &Config) {
    let (limit, wanted) = (
        raise_open_files_limit(),
        config.connections_max as u64 + OTHER_FILES,
    );
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "the limit of open files is below connections_max; raise it (ulimit -n) or lower --connections-max"
        );
    }
}

/// Reads the files that settings name, as a server does at its start, and keeps nothing.
///
/// # Errors
/// As [`App::start`].
pub fn check_files(config: &Config) -> Result<(), StartError> {
    rules(config, None).map(drop)
}

/// What can change while the server runs, made whole before any of it is in force: a setting that is to be
/// changed by a reload has its place here. `before` are the rules in force, if there are any.
fn rules(config: &Config, before: Option<&Rules>) -> Result<Rules, StartError> {
    let table = match &config.tokens_file {
        None => None,
        Some(path) => Some(token_table(path)?),
    };
    let authenticator = match before {
        Some(before) => before.admission.authenticator.successor(table.as_ref()),
        None => Authenticator::new(table.as_ref()).map_err(StartError::Random)?,
    };
    Ok(Rules {
        admission: Admission {
            authenticator,
            requests_max: config.client_requests_per_second_max,
        },
        admin_addresses: config.admin_addresses.clone(),
        timeouts: Timeouts {
            idle_timeout: config.idle_timeout,
            request_timeout: config.request_timeout,
            write_timeout: config.write_timeout,
            stop_timeout: config.stop_timeout,
        },
        tls: config.tls.as_ref().map(identity).transpose()?,
    })
}

fn identity(files: &TlsFiles) -> Result<Identity, StartError> {
    let read = |setting, path: &Path| {
        read_bounded(path).map_err(|source| StartError::TlsFile {
            setting,
            path: path.to_owned(),
            source,
        })
    };
    let TlsFiles { certificate, key } = files;
    let certificates = read("tls-certificate-file", certificate)?;
    let key_text = read("tls-key-file", key)?;
    Identity::from_pem(&certificates, &key_text).map_err(|source| {
        let (setting, path) = match source {
            IdentityError::Key(_) => ("tls-key-file", key.clone()),
            _ => ("tls-certificate-file", certificate.clone()),
        };
        StartError::Tls {
            setting,
            path,
            source,
        }
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = limits::TLS_FILE_BYTES_MAX;
    let seen = std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if seen as u64 > limit {
        let text = format!("longer than the limit of {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn token_table(path: &Path) -> Result<TokenTable, StartError> {
    let text = std::fs::read_to_string(path).map_err(|source| StartError::TokensFile {
        path: path.to_owned(),
        source,
    })?;
    TokenTable::parse(&text).map_err(|source| StartError::Tokens {
        path: path.to_owned(),
        source,
    })
}

fn ingest(config: &Config) -> Ingest {
    let rate = RateLimits {
        requests_max: config.client_requests_per_second_max,
        clients_max: config.clients_max,
        stripes: limits::CLIENT_STRIPES,
    };
    let limits = metric::Limits {
        batch_metrics_max: config.batch_metrics_max,
    };
    Ingest::new(rate, limits)
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        http: http::Limits {
            head_bytes_max: config.head_bytes_max,
            body_bytes_max: config.body_bytes_max,
            ..http::Limits::default()
        },
        connections_max: config.connections_max,
        queue_jobs_max: config.queue_jobs_max,
        request_buffer_bytes_max: config.request_buffer_bytes_max,
        log_queue_bytes_max: config.log_queue_bytes_max,
        log_queue_batches_max: config.log_queue_batches_max,
    }
}

/// Opens the log; its writer sends the replies of what it has stored.
fn open_log(
    config: &Config,
    disk: &impl Filesystem,
    clock: SystemClock,
    sync_times: Arc<SyncTimes>,
    mut sender: Sender,
) -> Result<Log, log::OpenError> {
    let settings = log::Settings {
        directory: config.data_dir.clone(),
        level: match config.ack_level {
            AckLevel::Queued => log::Level::Queued,
            AckLevel::Written => log::Level::Written,
            AckLevel::Synced => log::Level::Synced,
        },
        queue_bytes_max: config.log_queue_bytes_max,
        queue_batches_max: config.log_queue_batches_max,
        flush_interval_ms: config.flush_interval_ms,
        segment_bytes_max: config.segment_bytes_max,
        segment_age_ms_max: config.segment_age_ms_max,
        segment_compression: match config.segment_compression {
            SegmentCompression::None => log::Compression::None,
            SegmentCompression::Zstd => log::Compression::Zstd,
        },
        retention_bytes_max: config.retention_bytes_max,
        retention_age_ms_max: config.retention_age_ms_max,
        breaker_failures_max: config.breaker_failures_max,
        breaker_retry_ms: config.breaker_retry_ms,
    };
    let deliver = move |connection, outcome| match outcome {
        log::Outcome::Written(_) => sender.deliver(connection, Outcome::Stored),
        log::Outcome::Failed(failure) => sender.deliver(connection, Outcome::Failed(failure)),
    };
    let disk = TimedDisk::new(disk.clone(), clock, sync_times);
    Log::open(&disk, &settings, clock, deliver)
}
