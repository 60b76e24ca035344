//! A few rounds of the crash test on the real program, as it runs by `just crash-rounds` at any length:
//! `kill -9` under load, a full disk, and the loss that the comparison has to see where nothing is promised.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::ops::ControlFlow;
use std::time::Duration;

use metricstream_verification::crash::disk::{Ballast, SmallDisk};
use metricstream_verification::crash::{Error, Loss, Plan, Summary, full_rounds, kill_rounds};
use support::{PROGRAM, Server, TempDir};

fn plan(dir: &TempDir, level: &str, loss: Loss) -> Plan {
    Plan {
        program: PROGRAM.into(),
        directory: dir.path().to_owned(),
        level: level.to_owned(),
        flags: Vec::new(),
        clients: 4,
        seed: 1,
        loss,
    }
}

fn go_on(_: &metricstream_verification::crash::Round) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn check(summary: &Summary, rounds: u32) {
    assert_eq!(summary.rounds, rounds);
    assert!(
        summary.sum.acknowledged > 0,
        "the load reached the server: {summary:?}"
    );
    assert_eq!(summary.sum.lost, 0);
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    for level in ["written", "synced"] {
        let dir = TempDir::new();
        let summary = kill_rounds(&plan(&dir, level, Loss::Forbidden), 5, &mut go_on).unwrap();
        check(&summary, 5);
        assert!(summary.sum.kills >= 5 && summary.sum.undecided > 0, "{summary:?}");
    }
}

/// Where the level promises nothing, lines are lost, and the comparison sees it: it would see it above.
#[test]
fn at_queued_a_kill_loses_lines_and_that_is_seen() {
    let dir = TempDir::new();
    let mut until_loss = |round: &metricstream_verification::crash::Round| match round.lost {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let summary = kill_rounds(&plan(&dir, "queued", Loss::Counted), 100, &mut until_loss).unwrap();
    assert!(summary.sum.lost > 0, "{summary:?}");
    assert!(summary.rounds < 100);
}

#[test]
fn a_full_disk_is_503_and_the_service_resumes_when_there_is_space() {
    let dir = TempDir::new();
    let disk = match SmallDisk::mount(&dir.path().join("disk"), 8) {
        Ok(disk) => disk,
        Err(Error::Setup(why)) => {
            eprintln!("skipped: {why}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let summary = full_rounds(&plan(&dir, "written", Loss::Forbidden), &disk, 3, &mut go_on).unwrap();
    check(&summary, 3);
    assert!(summary.sum.refused > 0, "{summary:?}");
    let said = std::fs::read_to_string(dir.path().join("stderr")).unwrap();
    assert!(said.contains("could not write"), "{said}");
}

/// Trouble that comes just before the stop is told as well: nobody waits for the next reading.
#[test]
fn a_failure_just_before_the_stop_is_told() {
    let dir = TempDir::new();
    let disk = match SmallDisk::mount(&dir.path().join("data"), 1) {
        Ok(disk) => disk,
        Err(Error::Setup(why)) => {
            eprintln!("skipped: {why}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let _ballast = Ballast::fill(&disk, 0).unwrap();
    let mut server = Server::start_in(dir, &[]);
    // Past the first reading of the figures, which is at once.
    std::thread::sleep(Duration::from_millis(200));
    let response = server.post(r#"{"metrics":[{"name":"a","value":1}]}"#);
    assert_eq!(response.status, 503);
    server.stop();
    let said = server.errors();
    assert!(said.contains("could not write"), "{said}");
    let dir = server.into_dir();
    drop(disk);
    drop(dir);
}
