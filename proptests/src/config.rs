//! The settings against a second reading of the same flags, and against themselves written elsewhere.
//!
//! Promises: [`check`] takes any flags and panics exactly when a [`Config`] is out of the documented ranges,
//! differs from what was given, or a refusal does not name the flag it is about; or when the same settings in
//! the environment or in a file, or as `metricstream config` prints them, come to something else.
//! [`check_file`] takes any text for a file.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use metricstream::cli::config::toml;
use metricstream::config::sources::{Effective, Merged, Origin, Sources, merge};
use metricstream::config::{Config, ConfigError, Settings};
use metricstream::limits;

/// The numeric flags with their documented ranges: the table an operator reads, written once more by hand.
pub const RANGES: [(&str, u64, u64); 24] = [
    ("flush-interval-ms", 0, 86_400_000),
    ("log-queue-bytes-max", 65_536, 64 << 30),
    ("log-queue-batches-max", 1, 1 << 24),
    ("segment-bytes-max", 1024, 1 << 50),
    ("segment-age-ms-max", 0, 3_153_600_000_000),
    ("retention-bytes-max", 0, 1 << 50),
    ("retention-age-ms-max", 0, 3_153_600_000_000),
    ("breaker-failures-max", 0, u32::MAX as u64),
    ("breaker-retry-ms", 1, 86_400_000),
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
    check_sources(flags, &settings);
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

/// The path of the file in these checks.
const FILE: &str = "m.toml";

/// The settings are the same as flags, as variables, as a file and as they are printed.
fn check_sources(flags: &[String], settings: &Settings) {
    let matches = Settings::command()
        .try_get_matches_from(flags)
        .expect("they were parsed before");
    let from_flags = merge(&Sources {
        flags: Some(&matches),
        ..Sources::default()
    });
    let from_flags = from_flags.unwrap_or_else(|problems| panic!("{flags:?}: {problems:?}"));
    assert_eq!(shown(&from_flags.settings), shown(settings), "{flags:?}");
    let given: Vec<&Effective> = from_flags
        .effective
        .iter()
        .filter(|setting| setting.origin == Origin::Flag)
        .collect();
    let text = |setting: &Effective| {
        let value = setting.value.clone().unwrap_or_default();
        value.into_string().expect("flags of text")
    };
    let file: String = given
        .iter()
        .map(|setting| format!("{} = {}\n", setting.entry.key, toml_string(&text(setting))))
        .collect();
    assert_same(&from_flags, &from_file(&file), &file);
    check_printed(&from_flags);
    // A variable that is empty is not set.
    if given.iter().any(|setting| text(setting).is_empty()) {
        return;
    }
    let environment: Vec<(OsString, OsString)> = given
        .iter()
        .map(|setting| (setting.entry.variable().into(), text(setting).into()))
        .collect();
    let shown = format!("{environment:?}");
    let from_environment = merge(&Sources {
        environment,
        ..Sources::default()
    });
    assert_same(&from_flags, &from_environment, &shown);
}

/// Checks any text as a file of settings: it is refused with a place in it, or what it says survives being
/// printed. Whether it was taken.
///
/// # Panics
/// When that is not so.
pub fn check_file(text: &str) -> bool {
    match from_file(text) {
        Ok(merged) => {
            check_printed(&merged);
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let problem = problem.to_string();
                let line = problem
                    .strip_prefix(FILE)
                    .and_then(|rest| rest.strip_prefix(':'))
                    .and_then(|rest| rest.split(':').next())
                    .and_then(|line| line.parse::<usize>().ok())
                    .unwrap_or_else(|| panic!("no place in {problem:?}"));
                assert!((1..=text.matches('\n').count() + 1).contains(&line), "{problem}");
            }
            false
        }
    }
}

/// What `metricstream config` prints of the settings gives the same ones.
fn check_printed(merged: &Merged) {
    let printed = toml(merged);
    assert_same(merged, &from_file(&printed), &printed);
}

type MergedOrProblems = Result<Merged, Vec<metricstream::config::sources::Problem>>;

fn from_file(text: &str) -> MergedOrProblems {
    merge(&Sources {
        file: Some((Path::new(FILE), text)),
        ..Sources::default()
    })
}

fn assert_same(expected: &Merged, found: &MergedOrProblems, source: &str) {
    let found = found
        .as_ref()
        .unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    assert_eq!(shown(&found.settings), shown(&expected.settings), "{source}");
    let values = |merged: &Merged| -> Vec<Option<OsString>> {
        merged
            .effective
            .iter()
            .map(|setting| setting.value.clone())
            .collect()
    };
    assert_eq!(values(found), values(expected), "{source}");
}

/// Every field of the settings.
fn shown(settings: &Settings) -> String {
    format!("{settings:?}")
}

/// A string of TOML, the plain way: every character but letters and digits as its code.
#[must_use]
pub fn toml_string(text: &str) -> String {
    let character = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        letter => format!("\\U{:08X}", u32::from(letter)),
    };
    format!("\"{}\"", text.chars().map(character).collect::<String>())
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
        "segment-bytes-max" => Some(config.segment_bytes_max),
        "segment-age-ms-max" => Some(config.segment_age_ms_max),
        "retention-bytes-max" => Some(config.retention_bytes_max),
        "retention-age-ms-max" => Some(config.retention_age_ms_max),
        "breaker-failures-max" => Some(u64::from(config.breaker_failures_max)),
        "breaker-retry-ms" => Some(config.breaker_retry_ms),
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
        let is_off = name == "segment-bytes-max" && value == 0;
        assert!(
            is_off || (least..=most).contains(&value),
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
