//! The settings against a second reading of the same flags.
//!
//! Promises: [`check`] takes any flags and panics exactly when a [`Config`] is out of the documented ranges,
//! differs from what was given, or a refusal does not name the flag it is about.

use std::time::Duration;

use metricstream::config::{Config, ConfigError, Settings};
use metricstream::limits;

/// The numeric flags with their documented ranges: the table an operator reads, written once more by hand.
pub const RANGES: [(&str, u64, u64); 18] = [
    ("flush-interval-ms", 0, 86_400_000),
    ("log-queue-bytes-max", 65_536, 64 << 30),
    ("log-queue-batches-max", 1, 1 << 24),
    ("workers", 0, 1024),
    ("queue-jobs-max", 1, 1 << 20),
    ("connections-max", 1, 1 << 20),
    ("head-bytes-max", 256, 1 << 20),
    ("body-bytes-max", 1, 1 << 30),
    ("request-buffer-bytes-max", 65_536, 64 << 30),
    ("batch-metrics-max", 1, 10_000_000),
    ("client-requests-per-second-max", 0, u32::MAX as u64),
    ("clients-max", 61, 100_000_000),
    ("idle-timeout-ms", 1, 86_400_000),
    ("request-timeout-ms", 1, 86_400_000),
    ("write-timeout-ms", 1, 86_400_000),
    ("stop-timeout-ms", 1, 86_400_000),
    ("summary-interval-ms", 0, 86_400_000),
    // Not a number: its value is checked where it is used. Here so that every flag has a row.
    ("log-filter", 0, u64::MAX),
];

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// clap refused the flags.
    NotFlags,
    /// A range or a relation was not kept.
    Refused,
    /// A configuration.
    Config,
}

/// Checks `flags` both ways.
///
/// # Panics
/// When the two differ.
pub fn check(flags: &[String]) -> Found {
    let Ok(settings) = Settings::from_flags(flags) else {
        return Found::NotFlags;
    };
    match settings.check(4) {
        Ok(config) => {
            check_given(flags, &config);
            check_relations(&config);
            Found::Config
        }
        Err(error) => {
            check_refusal(flags, &error);
            Found::Refused
        }
    }
}

/// The value that the last of `flags` called `name` gives.
fn given(flags: &[String], name: &str) -> Option<u64> {
    let mut value = None;
    for (index, flag) in flags.iter().enumerate() {
        let Some(rest) = flag.strip_prefix("--").and_then(|rest| rest.strip_prefix(name)) else {
            continue;
        };
        let text = match rest.strip_prefix('=') {
            Some(text) => Some(text),
            None if rest.is_empty() => flags.get(index + 1).map(String::as_str),
            None => None,
        };
        value = text.and_then(|text| text.parse().ok()).or(value);
    }
    value
}

fn effective(config: &Config, name: &str) -> Option<u64> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
    let count = |count: usize| u64::try_from(count).ok();
    match name {
        "flush-interval-ms" => Some(config.flush_interval_ms),
        "log-queue-bytes-max" => count(config.log_queue_bytes_max),
        "log-queue-batches-max" => count(config.log_queue_batches_max),
        "workers" => count(config.workers),
        "queue-jobs-max" => count(config.queue_jobs_max),
        "connections-max" => count(config.connections_max),
        "head-bytes-max" => count(config.head_bytes_max),
        "body-bytes-max" => count(config.body_bytes_max),
        "request-buffer-bytes-max" => count(config.request_buffer_bytes_max),
        "batch-metrics-max" => count(config.batch_metrics_max),
        "client-requests-per-second-max" => Some(
            config
                .client_requests_per_second_max
                .map_or(0, |limit| u64::from(limit.get())),
        ),
        "clients-max" => count(config.clients_max),
        "idle-timeout-ms" => millis(config.idle_timeout),
        "request-timeout-ms" => millis(config.request_timeout),
        "write-timeout-ms" => millis(config.write_timeout),
        "stop-timeout-ms" => millis(config.stop_timeout),
        "summary-interval-ms" => config.summary_interval.map_or(Some(0), millis),
        _ => None,
    }
}

fn check_given(flags: &[String], config: &Config) {
    for (name, least, most) in RANGES {
        let Some(value) = effective(config, name) else {
            continue;
        };
        assert!(
            (least..=most).contains(&value),
            "--{name} is {value}, outside {least} to {most}"
        );
        match given(flags, name) {
            // 0 workers means one a core.
            Some(0) if name == "workers" => assert_eq!(value, 4),
            Some(wanted) => assert_eq!(value, wanted, "--{name}"),
            None => {}
        }
    }
}

fn check_relations(config: &Config) {
    let metrics = config.batch_metrics_max.min(config.body_bytes_max / 2);
    let lines = limits::TURN_LINE_BYTES + config.body_bytes_max + 128 * metrics;
    assert!(config.log_queue_bytes_max >= lines, "a turn fits the log's queue");
    let request = config.head_bytes_max + config.body_bytes_max + limits::READ_BYTES;
    assert!(config.request_buffer_bytes_max >= 2 * request);
}

fn check_refusal(flags: &[String], error: &ConfigError) {
    let (setting, seen) = match *error {
        ConfigError::Range {
            setting,
            seen,
            least,
            most,
        } => {
            let row = RANGES
                .iter()
                .find(|row| row.0 == setting)
                .expect("every range is in the table");
            assert_eq!((row.1, row.2), (least, most), "--{setting}");
            assert!(
                !(least..=most).contains(&seen),
                "--{setting} {seen} is in its range"
            );
            (setting, seen)
        }
        ConfigError::Relation {
            setting, seen, least, ..
        } => {
            assert!(seen < least, "--{setting} {seen} is enough");
            (setting, seen)
        }
        ConfigError::Alone { setting, missing } => {
            let is_given = |name: &str| {
                let long = format!("--{name}");
                let is_it = |flag: &String| *flag == long || flag.starts_with(&format!("{long}="));
                flags.iter().any(is_it)
            };
            assert!(is_given(setting) && !is_given(missing), "{error}");
            return;
        }
    };
    if let Some(value) = given(flags, setting) {
        assert_eq!(value, seen, "--{setting}");
    }
    let text = error.to_string();
    assert!(text.starts_with(&format!("--{setting} is {seen}: ")), "{text}");
}

/// Flags of any bytes: a line each.
#[must_use]
pub fn flags_of(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .take(64)
        .map(str::to_owned)
        .collect()
}
