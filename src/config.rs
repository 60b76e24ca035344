//! The settings: as given ([`Settings`]) and as checked ([`Config`]).
//!
//! Promises: a [`Config`] is within every range and its settings fit each other, so nothing later checks
//! them again. Leaves to the caller: where the settings come from.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};

use crate::admission::addresses::AddressList;
use crate::limits;
use crate::monitor::alerts::{self as rules, Rule};
use crate::net::client::{Url, UrlError};

pub mod alerts;
pub mod sources;

/// The settings that a reload (SIGHUP) puts in force; the others take a restart. The files that they name are
/// read again by every reload.
pub const RELOADABLE: &[&str] = &[
    "client_requests_per_second_max",
    "tokens_file",
    "admin_addresses",
    "tls_certificate_file",
    "tls_key_file",
    "idle_timeout_ms",
    "request_timeout_ms",
    "write_timeout_ms",
    "stop_timeout_ms",
    "ready_made_alerts",
    "log_filter",
];

/// What a successful reply promises about the lines of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AckLevel {
    /// They wait in memory for the log writer: lost with the process.
    Queued,
    /// They are in the kernel: survive kill -9, not a power cut.
    Written,
    /// They are on the disk (fdatasync): survive a power cut.
    Synced,
}

/// What happens to a segment of the log once it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SegmentCompression {
    /// It stays as it is.
    None,
    /// It is compressed (RFC 8878).
    Zstd,
}

/// How log messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// How the kernel schedules the server's threads (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SchedulingPolicy {
    /// `SCHED_BATCH`: a thread that is woken does not interrupt one that runs.
    Batch,
    /// What the server was started with, mostly `SCHED_OTHER`.
    Inherited,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

fn parse_url(text: &str) -> Result<Url, UrlError> {
    text.parse()
}

/// Every setting of the server as given.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Directory that holds metrics.jsonl; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,

    /// What a success promises: queued (in memory), written (survives kill -9), synced (survives power loss)
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = AckLevel::Written)]
    pub ack_level: AckLevel,

    /// Longest time from a write until its fdatasync begins, in ms; 0 leaves it to the kernel
    #[arg(long, value_name = "MS", default_value_t = limits::FLUSH_INTERVAL_MS_DEFAULT)]
    pub flush_interval_ms: u64,

    /// Bytes of lines that may wait for the log writer; beyond, 503
    #[arg(long, value_name = "BYTES", default_value_t = limits::LOG_QUEUE_BYTES_MAX_DEFAULT)]
    pub log_queue_bytes_max: usize,

    /// Batches that may wait for the log writer; beyond, 503
    #[arg(long, value_name = "COUNT", default_value_t = limits::LOG_QUEUE_BATCHES_MAX_DEFAULT)]
    pub log_queue_batches_max: usize,

    /// Longest segment of the log, in bytes; the next group goes to a new one; 0 sets no limit
    #[arg(long, value_name = "BYTES", default_value_t = limits::SEGMENT_BYTES_MAX_DEFAULT)]
    pub segment_bytes_max: u64,

    /// A segment is sealed this long after its first line, in ms; 0 never does for its age
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub segment_age_ms_max: u64,

    /// What happens to sealed segments: none leaves them, zstd compresses them
    #[arg(long, value_name = "METHOD", value_enum, default_value_t = SegmentCompression::None)]
    pub segment_compression: SegmentCompression,

    /// The oldest sealed segments are removed while all of them have more bytes than this; 0 keeps all
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub retention_bytes_max: u64,

    /// A sealed segment is removed this long after its last line, in ms; 0 keeps all
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub retention_age_ms_max: u64,

    /// Groups that may fail in a row before the log refuses for a while with 503; 0 never does
    #[arg(long, value_name = "COUNT", default_value_t = limits::BREAKER_FAILURES_MAX_DEFAULT)]
    pub breaker_failures_max: u32,

    /// For so long the log then refuses before it tries the disk again, in ms
    #[arg(long, value_name = "MS", default_value_t = limits::BREAKER_RETRY_MS_DEFAULT)]
    pub breaker_retry_ms: u64,

    /// Threads that serve requests; 0 starts one a core
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub workers: usize,

    /// Readable connections that may wait for a worker; beyond, 503
    #[arg(long, value_name = "COUNT", default_value_t = limits::QUEUE_JOBS_MAX_DEFAULT)]
    pub queue_jobs_max: usize,

    /// Connections open at once; beyond, 503
    #[arg(long, value_name = "COUNT", default_value_t = limits::CONNECTIONS_MAX_DEFAULT)]
    pub connections_max: usize,

    /// Longest request head, in bytes; beyond, 431
    #[arg(long, value_name = "BYTES", default_value_t = limits::HEAD_BYTES_MAX_DEFAULT)]
    pub head_bytes_max: usize,

    /// Longest request body, in bytes; beyond, 413
    #[arg(long, value_name = "BYTES", default_value_t = limits::BODY_BYTES_MAX_DEFAULT)]
    pub body_bytes_max: usize,

    /// Bytes of partly received requests over all connections; beyond, 503
    #[arg(long, value_name = "BYTES", default_value_t = limits::REQUEST_BUFFER_BYTES_MAX_DEFAULT)]
    pub request_buffer_bytes_max: usize,

    /// Most metrics in one request; beyond, 413
    #[arg(long, value_name = "COUNT", default_value_t = limits::BATCH_METRICS_MAX_DEFAULT)]
    pub batch_metrics_max: usize,

    /// Requests a client may make in any one second; beyond, 429; 0 sets no limit
    #[arg(long, value_name = "COUNT", default_value_t = limits::CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT)]
    pub client_requests_per_second_max: u32,

    /// Clients tracked by the rate limiter at once
    #[arg(long, value_name = "COUNT", default_value_t = limits::CLIENTS_MAX_DEFAULT)]
    pub clients_max: usize,

    /// File of accepted tokens, `NAME TOKEN [REQUESTS-PER-SECOND]` a line; without it any client may send
    #[arg(long, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,

    /// Who may read the statistics: addresses and networks with commas between; without it whoever connects
    #[arg(long, value_name = "ADDRESSES")]
    pub admin_addresses: Option<AddressList>,

    /// PEM file with the certificates of HTTPS, the server's own first; without it HTTP
    #[arg(long, value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,

    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// A connection without a request is closed after this, in ms
    #[arg(long, value_name = "MS", default_value_t = limits::IDLE_TIMEOUT_MS_DEFAULT)]
    pub idle_timeout_ms: u64,

    /// A request must be whole this long after its first byte, in ms; then 408. A TLS handshake has as long
    #[arg(long, value_name = "MS", default_value_t = limits::REQUEST_TIMEOUT_MS_DEFAULT)]
    pub request_timeout_ms: u64,

    /// A client must take some of its reply within this, in ms; then the connection is closed
    #[arg(long, value_name = "MS", default_value_t = limits::WRITE_TIMEOUT_MS_DEFAULT)]
    pub write_timeout_ms: u64,

    /// A graceful stop lets what is in flight finish for at most this, in ms
    #[arg(long, value_name = "MS", default_value_t = limits::STOP_TIMEOUT_MS_DEFAULT)]
    pub stop_timeout_ms: u64,

    /// Time between two lines of summary in the log, in ms; 0 writes none
    #[arg(long, value_name = "MS", default_value_t = limits::SUMMARY_INTERVAL_MS_DEFAULT)]
    pub summary_interval_ms: u64,

    /// Rules of alerts that need no file: on, or off; a rule in a file takes the place of one of the same
    /// name
    #[arg(long, value_name = "SWITCH", value_enum, default_value_t = Switch::On)]
    pub ready_made_alerts: Switch,

    /// Where to tell of alerts, by POST of JSON: http://HOST:PORT/PATH
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub alert_webhook_url: Option<Url>,

    /// The rules of alerts in the file: no flag and no variable gives them.
    #[arg(skip)]
    pub alerts: Vec<Rule>,

    /// Messages to log, as a tracing filter: error, warn, info, debug, metricstream::server=trace
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_filter: String,

    /// How the kernel schedules the threads (sched(7)); batch serves more when the processors are full
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = SchedulingPolicy::Batch)]
    pub scheduling_policy: SchedulingPolicy,

    /// How log messages look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
}

/// Every setting of the server, checked; the fields are those of [`Settings`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented once, at Settings")]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub ack_level: AckLevel,
    pub flush_interval_ms: u64,
    pub log_queue_bytes_max: usize,
    pub log_queue_batches_max: usize,
    pub segment_bytes_max: u64,
    pub segment_age_ms_max: u64,
    pub segment_compression: SegmentCompression,
    pub retention_bytes_max: u64,
    pub retention_age_ms_max: u64,
    pub breaker_failures_max: u32,
    pub breaker_retry_ms: u64,
    pub workers: usize,
    pub queue_jobs_max: usize,
    pub connections_max: usize,
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
    pub request_buffer_bytes_max: usize,
    pub batch_metrics_max: usize,
    /// `None` sets no limit.
    pub client_requests_per_second_max: Option<NonZeroU32>,
    pub clients_max: usize,
    pub tokens_file: Option<PathBuf>,
    pub admin_addresses: Option<AddressList>,
    pub tls: Option<TlsFiles>,
    pub idle_timeout: Duration,
    pub request_timeout: Duration,
    pub write_timeout: Duration,
    pub stop_timeout: Duration,
    /// `None` writes none.
    pub summary_interval: Option<Duration>,
    pub alert_webhook_url: Option<Url>,
    /// The ready-made rules, if wanted, and those of the file.
    pub alerts: Vec<Rule>,
    pub log_filter: String,
    pub scheduling_policy: SchedulingPolicy,
    pub log_format: LogFormat,
}

/// The files of `tls_certificate_file` and `tls_key_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// A setting that cannot be used; the text names the setting as its flag is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Outside its range.
    #[error("--{setting} is {seen}: it must be from {least} to {most}")]
    Range {
        /// The flag without its dashes.
        setting: &'static str,
        /// The value given.
        seen: u64,
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// Too small beside another setting.
    #[error("--{setting} is {seen}: it must be at least {least}, because {reason}")]
    Relation {
        /// The flag without its dashes.
        setting: &'static str,
        /// The value given.
        seen: u64,
        /// The smallest that fits.
        least: u64,
        /// What it must fit.
        reason: &'static str,
    },
    /// Given without the one it belongs to.
    #[error("--{setting} is set and --{missing} is not: TLS needs both")]
    Alone {
        /// The flag given, without its dashes.
        setting: &'static str,
        /// The flag missing, without its dashes.
        missing: &'static str,
    },
}

impl ConfigError {
    /// The setting that is wrong, as its flag is written without the dashes.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Range { setting, .. } | Self::Relation { setting, .. } | Self::Alone { setting, .. } => {
                setting
            }
        }
    }
}

impl Settings {
    /// Settings from flags alone, without the name of a program before them; what is not given has its
    /// default.
    ///
    /// # Errors
    /// A flag that does not exist or whose value is not of its type; the text is clap's.
    pub fn from_flags<I: IntoIterator<Item = S>, S: Into<OsString> + Clone>(
        flags: I,
    ) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::command().try_get_matches_from(flags)?)
    }

    /// The flags as clap knows them, without the name of a program before them.
    #[must_use]
    pub fn command() -> clap::Command {
        Self::augment_args(clap::Command::new("settings").no_binary_name(true))
    }

    /// Checks every range and relation. `cores` is the number of processors to start workers for.
    ///
    /// # Errors
    /// The first setting that is out of range or does not fit another.
    pub fn check(self, cores: usize) -> Result<Config, ConfigError> {
        const GIB: usize = 1 << 30;
        let config = Config {
            listen: self.listen,
            data_dir: self.data_dir,
            ack_level: self.ack_level,
            flush_interval_ms: millis("flush-interval-ms", self.flush_interval_ms, 0)?,
            log_queue_bytes_max: within(
                "log-queue-bytes-max",
                self.log_queue_bytes_max,
                64 * 1024..=64 * GIB,
            )?,
            log_queue_batches_max: within("log-queue-batches-max", self.log_queue_batches_max, 1..=1 << 24)?,
            segment_bytes_max: segment_bytes(self.segment_bytes_max)?,
            segment_age_ms_max: age("segment-age-ms-max", self.segment_age_ms_max)?,
            segment_compression: self.segment_compression,
            retention_bytes_max: number(
                "retention-bytes-max",
                self.retention_bytes_max,
                0..=limits::SEGMENT_BYTES_MAX,
            )?,
            retention_age_ms_max: age("retention-age-ms-max", self.retention_age_ms_max)?,
            breaker_failures_max: self.breaker_failures_max,
            breaker_retry_ms: millis("breaker-retry-ms", self.breaker_retry_ms, 1)?,
            workers: match within("workers", self.workers, 0..=limits::WORKERS_MAX)? {
                0 => cores.clamp(1, limits::WORKERS_MAX),
                workers => workers,
            },
            queue_jobs_max: within("queue-jobs-max", self.queue_jobs_max, 1..=1 << 20)?,
            connections_max: within("connections-max", self.connections_max, 1..=1 << 20)?,
            head_bytes_max: within("head-bytes-max", self.head_bytes_max, 256..=1024 * 1024)?,
            body_bytes_max: within("body-bytes-max", self.body_bytes_max, 1..=GIB)?,
            request_buffer_bytes_max: within(
                "request-buffer-bytes-max",
                self.request_buffer_bytes_max,
                64 * 1024..=64 * GIB,
            )?,
            batch_metrics_max: within("batch-metrics-max", self.batch_metrics_max, 1..=10_000_000)?,
            client_requests_per_second_max: NonZeroU32::new(self.client_requests_per_second_max),
            clients_max: within(
                "clients-max",
                self.clients_max,
                limits::CLIENT_STRIPES..=100_000_000,
            )?,
            tokens_file: self.tokens_file,
            admin_addresses: self.admin_addresses,
            tls: tls_files(self.tls_certificate_file, self.tls_key_file)?,
            idle_timeout: time("idle-timeout-ms", self.idle_timeout_ms)?,
            request_timeout: time("request-timeout-ms", self.request_timeout_ms)?,
            write_timeout: time("write-timeout-ms", self.write_timeout_ms)?,
            stop_timeout: time("stop-timeout-ms", self.stop_timeout_ms)?,
            summary_interval: match millis("summary-interval-ms", self.summary_interval_ms, 0)? {
                0 => None,
                interval => Some(Duration::from_millis(interval)),
            },
            alert_webhook_url: self.alert_webhook_url,
            alerts: all_rules(self.ready_made_alerts, self.alerts),
            log_filter: self.log_filter,
            scheduling_policy: self.scheduling_policy,
            log_format: self.log_format,
        };
        config.check_relations()?;
        Ok(config)
    }
}

impl Config {
    /// Bytes of lines that a turn can make: it ends once it has `TURN_LINE_BYTES`, and the request that takes
    /// it there may have the largest body: its text once, and for each metric the members that a line has and
    /// a body need not have.
    fn turn_line_bytes_max(&self) -> usize {
        const ADDED_BYTES_MAX: usize = 128;
        limits::TURN_LINE_BYTES
            + self.body_bytes_max
            + ADDED_BYTES_MAX * self.batch_metrics_max.min(self.body_bytes_max / 2)
    }

    fn check_relations(&self) -> Result<(), ConfigError> {
        at_least(
            "log-queue-bytes-max",
            self.log_queue_bytes_max,
            self.turn_line_bytes_max(),
            "a request of body-bytes-max with batch-metrics-max metrics must fit the log's queue",
        )?;
        at_least(
            "request-buffer-bytes-max",
            self.request_buffer_bytes_max,
            2 * (self.head_bytes_max + self.body_bytes_max + limits::READ_BYTES),
            "one request of head-bytes-max and body-bytes-max must fit, in a buffer that grows by doubling",
        )
    }
}

/// The ready-made rules but those whose place one of the file takes, then the file's.
fn all_rules(ready_made: Switch, of_file: Vec<Rule>) -> Vec<Rule> {
    let mut all = match ready_made {
        Switch::On => rules::ready_made(),
        Switch::Off => Vec::new(),
    };
    all.retain(|rule| of_file.iter().all(|other| other.name != rule.name));
    all.extend(of_file);
    all
}

/// No bound, or one.
fn segment_bytes(seen: u64) -> Result<u64, ConfigError> {
    match seen {
        0 => Ok(0),
        _ => number(
            "segment-bytes-max",
            seen,
            limits::SEGMENT_BYTES_MIN..=limits::SEGMENT_BYTES_MAX,
        ),
    }
}

fn age(setting: &'static str, seen: u64) -> Result<u64, ConfigError> {
    number(setting, seen, 0..=limits::AGE_MS_MAX)
}

fn tls_files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    let alone = |setting, missing| Err(ConfigError::Alone { setting, missing });
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => alone("tls-certificate-file", "tls-key-file"),
        (None, Some(_)) => alone("tls-key-file", "tls-certificate-file"),
    }
}

fn within(setting: &'static str, seen: usize, range: RangeInclusive<usize>) -> Result<usize, ConfigError> {
    number(setting, seen as u64, *range.start() as u64..=*range.end() as u64)?;
    Ok(seen)
}

fn number(setting: &'static str, seen: u64, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    if range.contains(&seen) {
        return Ok(seen);
    }
    let (least, most) = range.into_inner();
    Err(ConfigError::Range {
        setting,
        seen,
        least,
        most,
    })
}

fn at_least(
    setting: &'static str,
    seen: usize,
    least: usize,
    reason: &'static str,
) -> Result<(), ConfigError> {
    if seen >= least {
        return Ok(());
    }
    Err(ConfigError::Relation {
        setting,
        seen: seen as u64,
        least: least as u64,
        reason,
    })
}

fn time(setting: &'static str, seen: u64) -> Result<Duration, ConfigError> {
    millis(setting, seen, 1).map(Duration::from_millis)
}

fn millis(setting: &'static str, seen: u64, least: u64) -> Result<u64, ConfigError> {
    number(setting, seen, least..=limits::TIMEOUT_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        Settings::from_flags(flags).expect("flags")
    }

    fn refusal(flags: &[&str]) -> String {
        settings(flags).check(2).expect_err("refused").to_string()
    }

    #[test]
    fn the_defaults_are_within_their_ranges() {
        let config = settings(&[]).check(2).expect("the defaults");
        assert_eq!(config.workers, 2);
        assert_eq!(config.ack_level, AckLevel::Written);
        assert_eq!(config.flush_interval_ms, 1000);
    }

    #[test]
    fn a_value_out_of_range_names_the_setting_the_value_and_the_range() {
        assert_eq!(
            refusal(&["--queue-jobs-max", "0"]),
            "--queue-jobs-max is 0: it must be from 1 to 1048576"
        );
        assert_eq!(
            refusal(&["--idle-timeout-ms", "0"]),
            "--idle-timeout-ms is 0: it must be from 1 to 86400000"
        );
        assert_eq!(
            refusal(&["--flush-interval-ms", "86400001"]),
            "--flush-interval-ms is 86400001: it must be from 0 to 86400000"
        );
    }

    #[test]
    fn a_bound_of_segments_is_none_or_leaves_room_for_lines() {
        let given = |value| {
            settings(&["--segment-bytes-max", value])
                .check(2)
                .expect("allowed")
        };
        assert_eq!(given("0").segment_bytes_max, 0);
        assert_eq!(given("1024").segment_bytes_max, 1024);
        assert_eq!(
            refusal(&["--segment-bytes-max", "1023"]),
            "--segment-bytes-max is 1023: it must be from 1024 to 1125899906842624"
        );
    }

    #[test]
    fn the_largest_request_must_fit_the_queues() {
        let text = refusal(&[
            "--body-bytes-max",
            "67108864",
            "--request-buffer-bytes-max",
            "134217728",
        ]);
        assert!(
            text.starts_with("--log-queue-bytes-max is 33554432: it must be at least "),
            "{text}"
        );
        let text = refusal(&["--request-buffer-bytes-max", "65536"]);
        assert!(
            text.starts_with("--request-buffer-bytes-max is 65536: it must be at least "),
            "{text}"
        );
    }

    #[test]
    fn a_certificate_needs_a_key_and_a_key_a_certificate() {
        assert_eq!(
            refusal(&["--tls-key-file", "k"]),
            "--tls-key-file is set and --tls-certificate-file is not: TLS needs both"
        );
        assert!(refusal(&["--tls-certificate-file", "c"]).starts_with("--tls-certificate-file is set"));
        let both = settings(&["--tls-certificate-file", "c", "--tls-key-file", "k"]).check(2);
        assert_eq!(both.expect("both").tls.expect("tls").key, PathBuf::from("k"));
    }

    #[test]
    fn zero_means_no_limit_where_the_help_says_so() {
        let config = settings(&[
            "--client-requests-per-second-max",
            "0",
            "--flush-interval-ms",
            "0",
        ]);
        let config = config.check(2).expect("checked");
        assert_eq!(config.client_requests_per_second_max, None);
        assert_eq!(config.flush_interval_ms, 0);
    }
}
