//! The real program with settings from flags, environment and file: the nearer wins, and what is wrong is
//! said with its place.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::{PROGRAM, Server, TempDir};

/// The program's output with these arguments and variables and a file of this text.
fn run(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> (i32, String, String) {
    let dir = TempDir::new();
    let path = dir.path().join("m.toml");
    fs::write(&path, file).unwrap();
    let output = Command::new(PROGRAM)
        .args(arguments)
        .args(["--config", "m.toml"])
        .envs(variables.iter().copied())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn the_nearer_source_wins_and_its_place_is_shown() {
    let file = "workers = 1\nqueue_jobs_max = 11\nclients_max = 111\n";
    let variables = [
        ("METRICSTREAM_WORKERS", "2"),
        ("METRICSTREAM_QUEUE_JOBS_MAX", "22"),
    ];
    let (code, shown, errors) = run(
        &["config", "--format", "json", "--workers", "3"],
        &variables,
        file,
    );
    assert_eq!((code, errors.as_str()), (0, ""));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let of = |key: &str| {
        (
            shown[key]["value"].as_str().unwrap(),
            shown[key]["origin"].as_str().unwrap(),
        )
    };
    assert_eq!(of("workers"), ("3", "flag"));
    assert_eq!(of("queue_jobs_max"), ("22", "METRICSTREAM_QUEUE_JOBS_MAX"));
    assert_eq!(of("clients_max"), ("111", "m.toml:3"));
    assert_eq!(of("data_dir"), ("data", "default"));
    assert_eq!(shown["tokens_file"]["value"], serde_json::Value::Null);
}

#[test]
fn check_says_everything_that_is_wrong_and_where() {
    let file = "ack_levle = 'synced'\nqueue_jobs_max = 'few'\n";
    let (code, out, errors) = run(&["check"], &[("METRICSTREAM_WORKERS", "many")], file);
    assert_eq!((code, out.as_str()), (2, ""));
    let errors: Vec<_> = errors.lines().collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(
        errors[0],
        "metricstream: m.toml:1: there is no setting ack_levle; did you mean ack_level?"
    );
    let (code, _, errors) = run(&["check"], &[], "workers = 5000\n");
    let expected = "metricstream: m.toml:1: --workers is 5000: it must be from 0 to 1024\n";
    assert_eq!((code, errors.as_str()), (2, expected));
    let (code, out, _) = run(&["check"], &[("METRICSTREAM_WORKERS", "2")], "");
    assert_eq!(
        (code, out.as_str()),
        (0, "settings are usable: 1 set, the others have their defaults\n")
    );
}

#[test]
fn check_reads_the_tokens_and_prints_none() {
    let dir = TempDir::new();
    let tokens = dir.path().join("tokens");
    fs::write(&tokens, "one s3cr3t-token-of-one\ntwo\n").unwrap();
    let (code, out, errors) = run(&["check", "--tokens-file", tokens.to_str().unwrap()], &[], "");
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("--tokens-file") && !errors.contains("s3cr3t") && out.is_empty(),
        "{errors}"
    );
}

#[test]
fn a_server_takes_its_settings_from_a_file_and_refuses_a_bad_one() {
    let dir = TempDir::new();
    fs::write(dir.path().join("m.toml"), "batch_metrics_max = 2\n").unwrap();
    let file = dir.path().join("m.toml");
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    assert_eq!(server.post(&support::body("a", 2)).status, 200);
    let refused = server.post(&support::body("a", 3));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (413, "batch_too_large")
    );
    let (code, out, errors) = run(&["serve"], &[], "batch_metrics_max = []\n");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        errors.starts_with("metricstream: m.toml:1: batch_metrics_max is an array"),
        "{errors}"
    );
    let (code, _, errors) = run(&["check", "--config", "/nonexistent/m.toml"], &[], "");
    assert_eq!(code, 2);
    assert!(
        errors.contains("--config"),
        "given twice is clap's to refuse: {errors}"
    );
}

#[test]
fn a_file_longer_than_its_limit_is_refused() {
    let (code, _, errors) = run(&["check"], &[], &"# comment\n".repeat(110_000));
    assert_eq!(code, 2);
    assert!(
        errors.contains("longer than the limit of 1048576 bytes"),
        "{errors}"
    );
}
