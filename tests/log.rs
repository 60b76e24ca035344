//! The real server's log: levels by request, segments, compression, retention, and a disk that is left alone.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod support;

use std::path::Path;

use support::{Server, body, eventually, post_as};

/// The names of the log's segments, sorted.
fn names(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.dir.path().join("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "metrics.lock").collect();
    names.sort();
    names
}

/// The lines of a segment.
fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let bytes = match path.extension().is_some_and(|extension| extension == "zst") {
        true => zstd::decode_all(bytes.as_slice()).unwrap(),
        false => bytes,
    };
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(ToOwned::to_owned).collect()
}

/// Every line, by the rule for readers: `.jsonl` sorts before `.jsonl.zst`, and the active one comes last.
fn all_lines(server: &Server) -> Vec<String> {
    let mut names = names(server);
    names.retain(|name| !name.ends_with(".tmp"));
    names.dedup_by_key(|name| name.trim_end_matches(".zst").to_owned());
    let data = server.dir.path().join("data");
    names.iter().flat_map(|name| lines(&data.join(name))).collect()
}

/// The values, in order, of metrics that [`send`] sent.
fn values(server: &Server) -> Vec<u64> {
    let lines = all_lines(server).into_iter();
    lines
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&line).unwrap()["value"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

/// Sends metrics of these values, one a request.
fn send(server: &Server, values: std::ops::Range<u64>) {
    for value in values {
        let reply = server.post(&format!(
            r#"{{"metrics":[{{"name":"segment","value":{value}}}]}}"#
        ));
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[test]
fn a_request_may_ask_for_its_level() {
    let server = Server::start(&["--flush-interval-ms", "0"]);
    let ask = |value: &str| server.ask(&post_as(&format!("Metricstream-Ack: {value}\r\n"), &body("m", 1)));
    for (value, syncs) in [("queued", 0), ("written", 0), ("synced", 1), ("Synced", 2)] {
        assert_eq!(ask(value).status, 200);
        // The writer tells of what it did after it has answered.
        eventually(value, || server.figure("log_syncs") == syncs);
    }
    let refused = ask("twice");
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad_ack_level"));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "Metricstream-Ack is \"twice\": it must be queued, written or synced"
    );
    let repeated = ask("written\r\nMetricstream-Ack: synced");
    assert_eq!((repeated.status, repeated.code().as_str()), (400, "bad_request"));
    eventually("all are stored", || all_lines(&server).len() == 4);
}

#[test]
fn requests_that_are_pipelined_have_the_strongest_level_of_them() {
    let server = Server::start(&["--flush-interval-ms", "0"]);
    let one = |level: &str| post_as(&format!("Metricstream-Ack: {level}\r\n"), &body("m", 1));
    let mut client = server.connect();
    client.send(&[one("queued"), one("synced"), one("written")].concat());
    for _ in 0..3 {
        assert_eq!(client.response().status, 200);
    }
    eventually("it was flushed", || server.figure("log_syncs") >= 1);
    eventually("all are stored", || all_lines(&server).len() == 3);
}

#[test]
fn segments_are_sealed_by_size_and_all_lines_survive_kill_9() {
    let flags = ["--segment-bytes-max", "1024"];
    let mut server = Server::start(&flags);
    let mut next = 0;
    for _ in 0..3 {
        send(&server, next..next + 50);
        next += 50;
        // This is a kill -9.
        server = Server::start_in(server.into_dir(), &flags);
        assert_eq!(values(&server), (0..next).collect::<Vec<_>>());
    }
    let names = names(&server);
    assert!(names.len() > 10, "{names:?}");
    let sealed = names.len() as u64 - 1;
    assert_eq!(server.figure("log_segments"), sealed);
    for name in &names {
        let bytes = std::fs::metadata(server.dir.path().join("data").join(name))
            .unwrap()
            .len();
        assert!(bytes <= 1024, "{name} has {bytes} bytes");
    }
    send(&server, next..next + 50);
    assert!(server.figure("log_rotations") > 0);
    eventually("it is said", || {
        server.errors().contains("sealed a segment of the log")
    });
    assert_eq!(values(&server).len() as u64, next + 50);
}

#[test]
fn a_segment_is_sealed_by_age_while_nothing_comes() {
    let server = Server::start(&["--segment-age-ms-max", "100"]);
    send(&server, 0..1);
    eventually("it is sealed", || names(&server).len() == 2);
    assert_eq!(values(&server), [0]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(names(&server).len(), 2, "an empty one never is");
}

#[test]
fn sealed_segments_are_compressed_and_say_the_same() {
    let mut server = Server::start(&["--segment-bytes-max", "4096", "--segment-compression", "zstd"]);
    send(&server, 0..300);
    let sealed = server.figure("log_segments");
    assert!(sealed > 3, "{sealed}");
    eventually("all are compressed", || {
        server.figure("log_compressed_segments") == sealed
    });
    let compressed = names(&server)
        .iter()
        .filter(|name| name.ends_with(".jsonl.zst"))
        .count();
    assert_eq!(compressed as u64, sealed);
    assert_eq!(values(&server), (0..300).collect::<Vec<_>>());
    assert!(server.stop().success());
}

#[test]
fn retention_keeps_the_newest_segments() {
    let server = Server::start(&["--segment-bytes-max", "1024", "--retention-bytes-max", "4096"]);
    send(&server, 0..200);
    eventually("the oldest are removed", || {
        server.figure("log_removed_segments") > 0 && server.figure("log_segment_bytes") <= 4096
    });
    eventually("it is said", || {
        server.errors().contains("retention removed the oldest segments")
    });
    let values = values(&server);
    assert!(values.len() > 10 && values[0] > 0, "{values:?}");
    assert_eq!(
        values,
        (values[0]..200).collect::<Vec<_>>(),
        "the newest, without a gap"
    );
}
