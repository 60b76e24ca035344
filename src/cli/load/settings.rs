//! The flags of `metricstream load`, and what they amount to once checked.
//!
//! Promises: a [`Settings`] is a run that can be made; what is wrong with the flags is said with the value
//! seen and the values allowed. Leaves to the caller: whether the server is there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::client::Conduct;
use super::plan::{Extent, Pace, Plan};
use super::request::Credential;

/// Most clients: their number has five digits in what they send.
const CLIENTS_MAX: u32 = 99_999;

/// Most metrics in a request: ten times what a server takes by default, to see it refuse.
const BATCH_MAX: u32 = 100_000;

/// Most generator threads.
const THREADS_MAX: u32 = 64;

/// Fastest open loop, in requests per second.
const RATE_MAX: f64 = 10_000_000.0;

/// Slowest open loop, in requests per second.
const RATE_MIN: f64 = 0.001;

/// Longest duration that a flag takes.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Send metrics to a server and report how it did
///
/// Closed loop unless --rate is given: each client sends its next request when it has the reply to the last
/// one. With --rate requests fall due at that rate whatever the server does, and latency counts from then
/// (corrected for coordinated omission).
///
/// Exit code: 0 when every request succeeded, 1 when some did not or the server cannot be reached, 2 when
/// the run cannot be made as asked.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Host of the server
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the server
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Target of the requests
    #[arg(long, default_value = "/metrics")]
    path: String,
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = up_to(CLIENTS_MAX))]
    clients: u32,
    /// Requests from each client [default: 10, unless --duration is given]
    #[arg(long, value_name = "COUNT", conflicts_with = "duration", value_parser = up_to(u32::MAX))]
    requests: Option<u32>,
    /// Send for this long instead, as in 500ms, 10s, 2m
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Send for this long first, without measuring
    #[arg(long, value_parser = parse_duration, default_value = "0s")]
    warmup: Duration,
    /// Pause between the reply to a client and its next request, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "rate")]
    interval_ms: u32,
    /// Open loop: requests per second, summed over all clients
    #[arg(long, value_name = "REQUESTS_PER_SECOND", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Metrics in each request
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = up_to(BATCH_MAX))]
    batch: u32,
    /// Whether a connection serves all requests of its client, or one
    #[arg(long, value_name = "LIFE", value_enum, default_value_t = Connection::KeepAlive)]
    connection: Connection,
    /// Send `Authorization: Bearer TOKEN` from all clients
    #[arg(long, conflicts_with_all = ["token_prefix", "anonymous"], value_parser = parse_token)]
    token: Option<String>,
    /// Send `Authorization: Bearer PREFIX<client>`, so that each client has limits of its own
    #[arg(long, value_name = "PREFIX", default_value = "load-", conflicts_with = "anonymous", value_parser = parse_token)]
    token_prefix: String,
    /// Send no Authorization: clients are told apart by their address
    #[arg(long)]
    anonymous: bool,
    /// Longest wait for a connection and for a reply, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    timeout_ms: u32,
    /// Further attempts to connect, for each request, before it fails
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=16))]
    connect_retries: u32,
    /// Wait as long as Retry-After says before the next request
    #[arg(long)]
    obey_retry_after: bool,
    /// Let 429 and 503 pass as success for the exit code
    #[arg(long)]
    allow_refusals: bool,
    /// Hold so many idle connections during the run; each must answer GET /health at its end
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    idle: u32,
    /// Generator threads
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = up_to(THREADS_MAX))]
    threads: u32,
    /// Form of the report on stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// No progress bar, no text report
    #[arg(long)]
    quiet: bool,
}

/// How long a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Connection {
    /// As long as its client.
    KeepAlive,
    /// For one request.
    PerRequest,
}

/// Form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A checked run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Target of the requests.
    pub path: String,
    /// What is due when.
    pub plan: Plan,
    /// How clients behave.
    pub conduct: Conduct,
    /// Metrics in a request.
    pub batch: u32,
    /// Who the clients say they are.
    pub credential: Credential,
    /// Whether 429 and 503 pass as success.
    pub allow_refusals: bool,
    /// Idle connections.
    pub idle: u32,
    /// Generator threads; no more than clients.
    pub threads: u32,
    /// Whether stdout gets JSON.
    pub print_json: bool,
    /// Where else JSON goes.
    pub json: Option<PathBuf>,
    /// No progress bar, no text.
    pub quiet: bool,
}

/// What is wrong with the flags, beyond what each flag by itself shows.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The target is no path.
    #[error("--path must begin with '/' and hold no spaces or control characters, not '{0}'")]
    Path(String),
    /// Nothing would fall due.
    #[error("--duration at --rate makes no request: lengthen the one or raise the other")]
    NoRequests,
}

impl Settings {
    /// The rate of an open loop.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        match self.plan.pace {
            Pace::Open { requests_per_second } => Some(requests_per_second),
            Pace::Closed { .. } => None,
        }
    }
}

impl TryFrom<LoadArgs> for Settings {
    type Error = Invalid;

    fn try_from(args: LoadArgs) -> Result<Self, Invalid> {
        if !args.path.starts_with('/') || !args.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::Path(args.path));
        }
        let plan = Plan {
            clients: args.clients,
            warmup: args.warmup,
            extent: args
                .duration
                .map_or(Extent::Requests(args.requests.unwrap_or(10)), Extent::Time),
            pace: match args.rate {
                Some(requests_per_second) => Pace::Open { requests_per_second },
                None => Pace::Closed {
                    interval: Duration::from_millis(args.interval_ms.into()),
                },
            },
        };
        if plan.requests_total() == Some(0) {
            return Err(Invalid::NoRequests);
        }
        let credential = match (args.token, args.anonymous) {
            (Some(token), _) => Credential::Shared(token),
            (None, true) => Credential::Anonymous,
            (None, false) => Credential::Each(args.token_prefix),
        };
        Ok(Self {
            host: args.host,
            port: args.port,
            path: args.path,
            plan,
            conduct: Conduct {
                timeout: Duration::from_millis(args.timeout_ms.into()),
                keep_alive: args.connection == Connection::KeepAlive,
                connect_retries: args.connect_retries,
                obey_retry_after: args.obey_retry_after,
            },
            batch: args.batch,
            credential,
            allow_refusals: args.allow_refusals,
            idle: args.idle,
            threads: args.threads.min(args.clients),
            print_json: args.format == Format::Json,
            json: args.json,
            quiet: args.quiet,
        })
    }
}

/// A number from 1 to `max`.
fn up_to(max: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(max))
}

/// A whole number and its unit: `ms`, `s`, `m` or `h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a whole number and ms, s, m or h, as in 10s".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a whole number before the unit, as in 10s".to_owned())?;
    let duration = Duration::from_millis(number.saturating_mul(unit_ms));
    if duration > DURATION_MAX {
        return Err(format!("at most {} hours", DURATION_MAX.as_secs() / 3600));
    }
    Ok(duration)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "a number of requests per second, {RATE_MIN} to {RATE_MAX}"
        )),
    }
}

/// What may stand in a header field; the value is not repeated in the error.
fn parse_token(text: &str) -> Result<String, String> {
    if text.len() > 1024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("at most 1024 visible ASCII characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn settings(line: &str) -> Result<Settings, String> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Settings::try_from(line.load).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_ten_clients_with_ten_requests() {
        let settings = settings("").expect("valid");
        assert_eq!(settings.plan.requests_total(), Some(100));
        assert_eq!(
            (settings.host.as_str(), settings.port, settings.batch),
            ("127.0.0.1", 8080, 3)
        );
        assert_eq!(settings.credential, Credential::Each("load-".to_owned()));
        assert!(settings.conduct.keep_alive);
        assert_eq!(settings.requests_per_second(), None);
    }

    #[test]
    fn flags_say_what_they_mean() {
        let settings = settings(
            "--clients 3 --duration 2s --rate 50 --warmup 500ms --anonymous --connection per-request --threads 9",
        );
        let settings = settings.expect("valid");
        assert_eq!(settings.plan.requests_total(), Some(100));
        assert_eq!(settings.plan.warmup, Duration::from_millis(500));
        assert_eq!(settings.requests_per_second(), Some(50.0));
        assert_eq!(settings.credential, Credential::Anonymous);
        assert_eq!(settings.threads, 3, "no thread without a client");
        assert!(!settings.conduct.keep_alive);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (line, part) in [
            ("--clients 0", "1..=99999"),
            ("--clients 100000", "1..=99999"),
            ("--requests 0", "1..=4294967295"),
            ("--requests 5 --duration 5s", "cannot be used with"),
            ("--rate 5 --interval-ms 5", "cannot be used with"),
            ("--rate 0", "0.001 to 10000000"),
            ("--rate NaN", "0.001 to 10000000"),
            ("--rate inf", "0.001 to 10000000"),
            ("--duration 5", "as in 10s"),
            ("--duration s", "as in 10s"),
            ("--duration -1s", "unexpected argument"),
            ("--duration 99999999999999999999s", "as in 10s"),
            ("--duration 169h", "168 hours"),
            ("--token a --anonymous", "cannot be used with"),
            ("--token a --token-prefix b", "cannot be used with"),
            ("--token \u{e9}", "visible ASCII"),
            ("--path metrics", "--path must begin with '/'"),
            ("--duration 0s --rate 5", "makes no request"),
            ("--batch 0", "1..=100000"),
        ] {
            let error = settings(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
