//! The real server, driven over real sockets: the wire, the refusals, the bounds, the stop.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod support;

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Client, PROGRAM, Server, TempDir, body, eventually, post, post_as};

/// For the tests that send as fast as they can.
const NO_RATE_LIMIT: &str = "--client-requests-per-second-max=0";

#[test]
fn a_metric_is_stored_as_one_line_and_acknowledged() {
    let mut server = Server::start(&[]);
    let reply = server.post(
        r#"{"metrics":[{"name":"cpu","value":0.93,"type":"gauge","tags":{"host":"a"},"timestamp":1767323045678},
                       {"name":"hits","value":7}]}"#,
    );
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, &br#"{"success":true,"metrics_processed":2}"#[..])
    );
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert!(
        reply
            .field("date")
            .is_some_and(|date| date.len() == 29 && date.ends_with(" GMT"))
    );
    let lines = server.lines();
    assert_eq!(
        lines[0],
        serde_json::json!({"timestamp":"2026-01-02T03:04:05.678Z","name":"cpu","value":0.93,"type":"gauge","tags":{"host":"a"}})
    );
    assert_eq!(
        (&lines[1]["name"], &lines[1]["value"]),
        (&"hits".into(), &7.into())
    );
    assert_eq!(lines.len(), 2);
    assert!(server.stop().success());
}

#[test]
fn every_refusal_has_its_status_and_says_why() {
    let server = Server::start(&[
        "--body-bytes-max",
        "1000",
        "--head-bytes-max",
        "400",
        "--batch-metrics-max",
        "3",
    ]);
    let long_head = format!(
        "GET /health HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n",
        "x".repeat(400)
    );
    let over_batch = String::from_utf8(post(&body("m", 4))).unwrap();
    let cases: [(&str, u16, &str); 22] = [
        ("GET /nothing HTTP/1.1\r\nHost: t\r\n\r\n", 404, "not_found"),
        (
            "DELETE /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        (
            "POST /health HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
            411,
            "length_required",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n",
            413,
            "body_too_large",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
            413,
            "body_too_large",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
            415,
            "media_type",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            415,
            "content_encoding",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n{}",
            417,
            "expectation",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
            "transfer_coding",
        ),
        ("GET /health HTTP/2.0\r\nHost: t\r\n\r\n", 505, "http_version"),
        ("GET /health HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("GET /health HTTP/1.1\nHost: t\n\n", 400, "bad_request"),
        (
            "GET /health HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            400,
            "bad_request",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            400,
            "bad_request",
        ),
        (&long_head, 431, "head_too_large"),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n{",
            400,
            "bad_json",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}",
            400,
            "bad_metrics",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 35\r\n\r\n{\"metrics\":[{\"name\":\"\",\"value\":1}]}",
            400,
            "bad_metrics",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 14\r\n\r\n{\"metrics\":[]}",
            400,
            "bad_metrics",
        ),
        (&over_batch, 413, "batch_too_large"),
    ];
    for (request, status, code) in cases {
        let reply = server.ask(request.as_bytes());
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{request:?} {reply:?}"
        );
        assert!(!reply.json()["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(reply.field("allow").is_some(), status == 405, "{request:?}");
    }
    assert!(server.lines().is_empty());
}

#[test]
fn a_bound_is_named_with_its_value_the_value_seen_and_the_setting() {
    let server = Server::start(&["--body-bytes-max", "1000"]);
    let reply = server.ask(b"POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n");
    let error = &reply.json()["error"];
    assert_eq!(error["limit"], 1000);
    assert_eq!(error["seen"], 1001);
    assert_eq!(error["setting"], "body_bytes_max");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for count in 1..=20 {
        bytes.extend(post(&body("pipelined", count)));
        bytes.extend(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        bytes.extend(post("{\"metrics\":0}"));
    }
    client.send(&bytes);
    for count in 1..=20 {
        assert_eq!(client.response().json()["metrics_processed"], count);
        assert_eq!(client.response().json()["status"], "ok");
        assert_eq!(client.response().status, 400);
    }
    assert_eq!(server.lines().len(), 210);
}

/// A page is far longer than the request for it.
#[test]
fn who_asks_for_pages_and_does_not_read_them_holds_few() {
    // More than the kernel takes of a connection, and more than a turn may answer.
    const PAGES: usize = 4_000;
    const HELD_BYTES_MAX: u64 = 1 << 20;
    let server = Server::start(&[]);
    let page_bytes = server.get("/").body.len();
    let memory = || server.figure("resident_memory_bytes");
    eventually("the memory was looked at", || memory() > 0);
    let before = memory();
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.send(&b"GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(PAGES));
    }
    let mut last = 0;
    eventually("no more can be sent", || {
        // Longer than the memory is looked at in.
        thread::sleep(Duration::from_millis(1_200));
        let before = std::mem::replace(&mut last, server.figure("sent_bytes"));
        last - before < 100_000
    });
    let held = memory().saturating_sub(before) / clients.len() as u64;
    assert!(held < HELD_BYTES_MAX, "{held} bytes a connection");
    for client in &mut clients {
        for _ in 0..PAGES {
            assert_eq!(client.response().body.len(), page_bytes);
        }
    }
}

#[test]
fn more_pipelined_requests_than_a_turn_takes_are_all_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let bytes = post(&body("many", 2)).repeat(2000);
    let mut writer = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || writer.write_all(&bytes).unwrap());
    for _ in 0..2000 {
        assert_eq!(client.response().status, 200);
    }
    sender.join().unwrap();
    assert_eq!(server.lines().len(), 4000);
}

#[test]
fn a_request_in_single_bytes_is_the_same_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for byte in post(&body("slow", 2)) {
        client.send(&[byte]);
    }
    assert_eq!(client.response().status, 200);
    client.send(&post(&body("fast", 1)));
    assert_eq!(client.response().status, 200);
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_chunked_body_is_the_same_body() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"POST /metrics HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in body("chunked", 50).as_bytes().chunks(7) {
        let mut chunk = format!("{:x};ext=1\r\n", part.len()).into_bytes();
        chunk.extend_from_slice(part);
        chunk.extend_from_slice(b"\r\n");
        client.send(&chunk);
    }
    client.send(b"0\r\nTrailer: x\r\n\r\n");
    assert_eq!(client.response().json()["metrics_processed"], 50);
    client.send(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(server.lines().len(), 50);
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends_the_body() {
    let server = Server::start(&["--body-bytes-max", "100"]);
    let mut client = server.connect();
    let text = body("expected", 1);
    let head = |length| {
        format!(
            "POST /metrics HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    client.send(head(text.len()).as_bytes());
    assert_eq!(client.response().status, 100);
    client.send(text.as_bytes());
    assert_eq!(client.response().status, 200);
    client.send(head(101).as_bytes());
    assert_eq!(client.response().status, 413);
    assert!(client.ends());
}

#[test]
fn a_body_that_would_be_refused_is_refused_before_it_is_sent() {
    let server = Server::start(&[]);
    let head = "POST /nothing HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n";
    let mut client = server.connect();
    client.send(head.as_bytes());
    let reply = client.response();
    assert_eq!((reply.status, reply.field("connection")), (404, Some("close")));
    assert!(client.ends());
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.response().field("connection"), Some("keep-alive"));
    client.send(b"GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().field("connection"), Some("close"));
    assert!(client.ends());
    let mut client = server.connect();
    client.send(b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(client.ends());
}

#[test]
fn head_and_options_are_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"HEAD /health HTTP/1.1\r\nHost: t\r\n\r\nGET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.response_without_body();
    let get = client.response();
    assert_eq!(head.field("content-length"), get.field("content-length"));
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\nOPTIONS /stats HTTP/1.1\r\nHost: t\r\n\r\n");
    let reply = client.response();
    assert_eq!(
        (reply.status, reply.field("allow")),
        (204, Some("GET, HEAD, OPTIONS, POST"))
    );
    assert_eq!(client.response().field("allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_reply() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(&post(&body("half", 1)));
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().status, 200);
    assert!(client.ends());
}

#[test]
fn a_refused_upload_is_not_reset_before_its_reply_is_read() {
    let server = Server::start(&["--body-bytes-max", "1000"]);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(b"POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 300000\r\n\r\n");
        // The client goes on sending into a connection that is being closed.
        let _ = client
            .stream()
            .try_clone()
            .unwrap()
            .write_all(&vec![b'x'; 300_000]);
        assert_eq!(client.response().status, 413);
    }
}

#[test]
fn slow_and_silent_clients_are_timed_out() {
    let server = Server::start(&["--request-timeout-ms", "300", "--idle-timeout-ms", "600"]);
    let mut slow = server.connect();
    let mut silent = server.connect();
    slow.send(b"POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Le");
    let reply = slow.response();
    assert_eq!((reply.status, reply.code().as_str()), (408, "timeout"));
    assert!(slow.ends());
    assert!(silent.ends(), "an idle connection is closed without a word");
    eventually("both are counted", || server.figure("connections_timed_out") == 2);
}

#[test]
fn a_trickling_client_does_not_put_its_deadline_off() {
    let server = Server::start(&["--request-timeout-ms", "500"]);
    let mut client = server.connect();
    client.send(b"GET /health HTTP/1.1\r\nX: ");
    let mut writer = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || {
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(50));
            if writer.write_all(b"x").is_err() {
                return;
            }
        }
    });
    assert_eq!(client.response().status, 408);
    sender.join().unwrap();
}

#[test]
fn over_the_limit_is_429_with_retry_after_and_others_are_not_touched() {
    let server = Server::start(&["--client-requests-per-second-max", "10"]);
    let mut client = server.connect();
    client.send(&post(&body("limited", 1)).repeat(20));
    let statuses: Vec<_> = (0..20)
        .map(|_| {
            let reply = client.response();
            assert_eq!(reply.field("retry-after"), (reply.status == 429).then_some("1"));
            reply.status
        })
        .collect();
    assert_eq!(statuses, [[200; 10], [429; 10]].concat());
    let other = post_as("Authorization: Bearer other\r\n", &body("limited", 1));
    assert_eq!(server.ask(&other).status, 200);
    assert_eq!(server.figure("refused_rate_limited"), 10);
    assert_eq!(server.lines().len(), 11);
}

#[test]
fn with_tokens_only_known_clients_are_served() {
    let dir = TempDir::new();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "alpha secret-of-alpha\nbeta secret-of-beta\n").unwrap();
    let mut server = Server::start(&["--tokens-file", path.to_str().unwrap(), "--log-filter", "trace"]);
    let reply = server.post(&body("m", 1));
    assert_eq!((reply.status, reply.code().as_str()), (401, "unauthenticated"));
    assert!(
        reply
            .field("www-authenticate")
            .is_some_and(|value| value.starts_with("Bearer"))
    );
    for (token, status) in [
        ("secret-of-alpha", 200),
        ("secret-of-beta", 200),
        ("secret-of-gamma", 401),
    ] {
        let request = post_as(&format!("Authorization: Bearer {token}\r\n"), &body("m", 1));
        assert_eq!(server.ask(&request).status, status, "{token}");
    }
    assert_eq!(server.get("/health").status, 200, "pages need no token");
    assert!(server.stop().success());
    assert!(!server.errors().contains("secret-of"), "no credential in the log");
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn the_pages_tell_the_state() {
    let server = Server::start(&[]);
    server.post(&body("m", 3));
    server.post("{");
    assert_eq!(server.get("/ready").json()["status"], "ready");
    let stats = server.get("/stats").json();
    assert_eq!(stats["ready"], true);
    let count = |status: u16| {
        let responses = stats["responses"].as_array().unwrap();
        responses
            .iter()
            .find(|row| row["endpoint"] == "ingest" && row["status"] == status)
            .unwrap()["count"]
            .clone()
    };
    assert_eq!((count(200), count(400)), (1.into(), 1.into()));
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(
        text.contains("\nmetricstream_metrics_acknowledged_total 3\n"),
        "{text}"
    );
    for row in [
        "metricstream_responses_total{endpoint=\"ingest\",status=\"200\",reason=\"\"} 1\n",
        "metricstream_responses_total{endpoint=\"ingest\",status=\"400\",reason=\"bad_json\"} 1\n",
        "metricstream_client_requests_total{client=\"127.0.0.1\",outcome=\"refused\"} 1\n",
    ] {
        assert!(text.contains(row), "{row} in {text}");
    }
    let json = server.ask(b"GET /metrics HTTP/1.1\r\nHost: t\r\nAccept: application/json\r\n\r\n");
    assert_eq!(json.json()["ready"], true);
}

#[test]
fn a_refusal_names_the_request_and_the_log_does_too() {
    let server = Server::start(&["--log-filter", "info,metricstream::server=debug"]);
    let taken = server.ask(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nX-Request-ID: a.b-c_1\r\n\r\n");
    assert_eq!(taken.field("x-request-id"), Some("a.b-c_1"));
    assert_eq!(taken.json()["request_id"], "a.b-c_1");
    let replaced = server.ask(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nX-Request-Id: <script>\r\n\r\n");
    let made = replaced.field("x-request-id").unwrap();
    assert_eq!(made.len(), 16, "{made}");
    let errors = server.errors();
    for id in ["a.b-c_1", made] {
        assert!(
            errors.contains(&format!("request_id={id} status=404")),
            "{errors}"
        );
    }
    assert!(!errors.contains("<script>"));
    assert_eq!(
        server.post(&body("m", 1)).field("x-request-id"),
        None,
        "a success has none"
    );
}

#[test]
fn the_statistics_are_those_of_the_documentation() {
    let server = Server::start(&["--summary-interval-ms", "1"]);
    server.post(&body("m", 3));
    server.post("{");
    let stats = server.get("/stats").json();
    let shown = std::fs::read_to_string("docs/monitoring.md").unwrap();
    let names = |heading: &str| -> Vec<String> {
        let (_, section) = shown.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        cells
            .flat_map(|cell| cell.trim_end_matches('`').split("`, `"))
            .map(str::to_owned)
            .collect()
    };
    for (heading, group) in [("Counts", "counts"), ("Gauges", "gauges")] {
        let group: Vec<_> = stats[group].as_object().unwrap().keys().cloned().collect();
        let mut named = names(heading);
        named.sort();
        assert_eq!(named, group, "{heading}");
    }
    let mut fields: Vec<_> = stats.as_object().unwrap().keys().cloned().collect();
    fields.push("not_ready_because".to_owned());
    fields.sort();
    let mut named = names("GET /stats");
    named.sort();
    assert_eq!(named, fields);
    assert_eq!(stats["latency"][0]["recent"]["count"], 2);
    assert_eq!(stats["clients"]["top"][0]["client"], "127.0.0.1");
    assert_eq!(stats["clients"]["top"][0]["allowed"], 1);
    assert_eq!(stats["clients"]["top"][0]["refused"], 1);
    eventually("a reading is taken", || {
        server.figure("resident_memory_bytes") > 1 << 20
    });
    let stats = server.get("/stats").json();
    for limit in stats["limits"].as_array().unwrap() {
        let ratio = limit["ratio"].as_f64().unwrap();
        let share = limit["value"].as_f64().unwrap() / limit["max"].as_f64().unwrap();
        assert!((ratio - share).abs() < 0.001, "{limit}");
    }
    eventually("a summary is written", || {
        server.errors().contains("summary requests_per_s=")
    });
    eventually("the refusal is told", || {
        server.errors().contains("refusing requests reason=\"bad_json\"")
    });
}

#[test]
fn the_last_connection_but_one_is_served_and_the_next_is_refused() {
    let server = Server::start(&["--connections-max", "2"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    for client in [&mut first, &mut second] {
        client.send(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    let mut third = server.connect();
    let reply = third.response();
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.field("retry-after")),
        (503, "connections_full", Some("1"))
    );
    assert!(third.ends());
    drop(first);
    eventually("a place is free again", || {
        let mut client = server.connect();
        client.send(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        client.response().status == 200
    });
}

/// Many clients at once against `flags`: answers with how many were served and how many refused with `code`,
/// each with a `Retry-After` of so many seconds at most.
fn storm(
    server: &Server,
    clients: usize,
    requests: usize,
    code: &str,
    retry_after_s_max: u64,
) -> (usize, usize) {
    let request = post(&body("storm", 200));
    let address = server.address;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (request, code) = (request.clone(), code.to_owned());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let (mut served, mut refused) = (0, 0);
                for _ in 0..requests {
                    client.send(&request);
                    let reply = client.response();
                    match reply.status {
                        200 => served += 1,
                        503 => {
                            assert_eq!(reply.code(), code);
                            let seconds = reply
                                .field("retry-after")
                                .map(|field| field.parse::<u64>().unwrap());
                            assert!(
                                seconds.is_some_and(|seconds| (1..=retry_after_s_max).contains(&seconds)),
                                "{seconds:?}"
                            );
                            refused += 1;
                        }
                        status => panic!("{status}: {reply:?}"),
                    }
                }
                (served, refused)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn a_full_queue_of_jobs_answers_503_and_counts_it() {
    let server = Server::start(&["--workers", "1", "--queue-jobs-max", "1", NO_RATE_LIMIT]);
    let (served, refused) = storm(&server, 32, 50, "queue_full", 10);
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(server.figure("refused_queue_full"), refused as u64);
    assert_eq!(server.lines().len(), served * 200);
}

/// Keeps a worker busy: sends on without waiting for a reply, until `ended`.
fn flood(address: SocketAddr, ended: &AtomicBool) {
    let client = Client::connect(address);
    let (mut sending, mut receiving) = (client.stream(), client.stream());
    thread::scope(|scope| {
        scope.spawn(move || std::io::copy(&mut receiving, &mut std::io::sink()));
        let request = post(&body("flood", 200));
        while !ended.load(Ordering::Relaxed) {
            sending.write_all(&request).unwrap();
        }
        sending.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn who_was_refused_for_want_of_a_worker_is_read_again() {
    let server = Server::start(&["--workers", "1", "--queue-jobs-max", "1", NO_RATE_LIMIT]);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| flood(server.address, &ended));
        }
        let mut refused_times = 0;
        let mut client = server.connect();
        eventually("refused and read again", || {
            client.send(&post(&body("one", 1)));
            refused_times += u32::from(client.response().status == 503);
            refused_times > 2
        });
        let mut watcher = server.connect();
        eventually("paused connections are told of", || {
            watcher.send(b"GET /stats HTTP/1.1\r\nHost: t\r\n\r\n");
            watcher.response().json()["gauges"]["connections_paused"].as_u64() > Some(0)
        });
        ended.store(true, Ordering::Relaxed);
    });
    eventually("none is left alone", || server.figure("connections_paused") == 0);
}

#[test]
fn a_full_queue_of_the_log_answers_503_and_counts_it() {
    let server = Server::start(&[
        "--workers",
        "4",
        "--log-queue-batches-max",
        "1",
        "--ack-level",
        "synced",
    ]);
    let (served, refused) = storm(&server, 32, 50, "log_queue_full", 1);
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(server.figure("refused_log_full"), refused as u64);
    assert_eq!(server.lines().len(), served * 200);
}

#[test]
fn memory_for_partial_requests_is_bounded() {
    let flags = [
        "--body-bytes-max",
        "60000",
        "--head-bytes-max",
        "4000",
        "--request-buffer-bytes-max",
        "262144",
    ];
    let server = Server::start(&flags);
    let head = "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    request.extend([b' '; 50_000]);
    let mut held = Vec::new();
    let mut refused = loop {
        assert!(held.len() < 6, "six of them are more than the bound");
        let before = server.figure("request_buffer_bytes");
        let mut client = server.connect();
        client.send(&request);
        client
            .stream()
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let mut is_answered = false;
        eventually("held or refused", || {
            is_answered = client.stream().peek(&mut [0]).is_ok();
            is_answered || server.figure("request_buffer_bytes") > before
        });
        if is_answered {
            break client;
        }
        held.push(client);
    };
    assert!(!held.is_empty());
    let reply = refused.response();
    assert_eq!((reply.status, reply.code().as_str()), (503, "buffers_full"));
    assert_eq!(reply.json()["error"]["setting"], "request_buffer_bytes_max");
    drop(held);
    eventually("it is given back", || server.figure("request_buffer_bytes") == 0);
}

#[test]
fn a_request_that_trickles_in_holds_its_own_bytes_only() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut sent = 0;
    for piece in post(&body("trickle", 1)).chunks(40) {
        client.send(piece);
        sent += piece.len() as u64;
        let received = server.figure("received_bytes");
        eventually("the piece is there", || {
            server.figure("received_bytes") > received || server.figure("request_buffer_bytes") == 0
        });
        let held = server.figure("request_buffer_bytes");
        assert!(held <= 2 * sent, "{held} bytes held of {sent} sent");
    }
    assert_eq!(client.response().status, 200);
}

/// Clients that send until the server is gone; answers with the metrics acknowledged to them.
fn hammer(server: &Server, clients: usize, until_gone: impl FnOnce(&Server)) -> usize {
    let address = server.address;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            thread::spawn(move || {
                let request = post(&body("hammer", 3));
                let mut acknowledged = 0;
                let Ok(stream) = std::net::TcpStream::connect(address) else {
                    return 0;
                };
                drop(stream);
                let mut client = Client::connect(address);
                loop {
                    let sent = client.stream().try_clone().unwrap().write_all(&request);
                    match client.try_response() {
                        Some(reply) if reply.status == 200 => acknowledged += 3,
                        _ if sent.is_err() => return acknowledged,
                        Some(reply) => panic!("{reply:?}"),
                        None => return acknowledged,
                    }
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    until_gone(server);
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

#[test]
fn a_graceful_stop_under_load_loses_nothing_acknowledged() {
    for level in ["queued", "written", "synced"] {
        let mut server = Server::start(&["--ack-level", level, NO_RATE_LIMIT]);
        let acknowledged = hammer(&server, 8, |server| server.signal("-TERM"));
        let status = server.wait();
        assert!(status.success(), "{status}: {}", server.errors());
        let stored = server.lines().len();
        assert!(
            acknowledged > 0 && stored >= acknowledged,
            "{level}: {stored} stored, {acknowledged} acknowledged"
        );
    }
}

#[test]
fn an_interrupt_is_a_graceful_stop_too() {
    let mut server = Server::start(&["--ack-level", "queued"]);
    assert_eq!(server.post(&body("m", 5)).status, 200);
    server.signal("-INT");
    assert!(server.wait().success());
    assert_eq!(server.lines().len(), 5);
}

#[test]
fn a_torn_last_line_is_cut_off_and_said() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/metrics.jsonl"), "{\"whole\":1}\n{\"torn").unwrap();
    let server = Server::start_in(dir, &[]);
    assert_eq!(server.post(&body("next", 1)).status, 200);
    assert_eq!(server.lines().len(), 2);
    assert!(server.errors().contains("cut_bytes=6"), "{}", server.errors());
}

#[test]
fn a_stop_answers_who_is_in_the_middle_of_a_request() {
    let mut server = Server::start(&[]);
    let request = post(&body("late", 2));
    let (first, rest) = request.split_at(40);
    let mut client = server.connect();
    client.send(first);
    eventually("it has arrived", || server.figure("received_bytes") >= 40);
    server.signal("-TERM");
    thread::sleep(Duration::from_millis(100));
    client.send(rest);
    let reply = client.response();
    assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
    assert!(server.wait().success());
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_stop_has_a_deadline() {
    let mut server = Server::start(&["--stop-timeout-ms", "300"]);
    let mut client = server.connect();
    client.send(b"POST /metrics HTTP/1.1\r\n");
    eventually("it has arrived", || server.figure("received_bytes") > 0);
    assert!(server.stop().success());
    assert!(client.ends());
}

/// Runs `serve` with `flags` where it cannot start; answers with its exit code and its one line.
fn failure(flags: &[&str]) -> (i32, String) {
    let output = Command::new(PROGRAM).arg("serve").args(flags).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "no start-up line");
    (output.status.code().unwrap(), text)
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let server = Server::start(&[]);
    let dir = TempDir::new();
    let data = dir.path().join("data");
    let (data, address) = (data.to_str().unwrap(), server.address.to_string());
    let (code, text) = failure(&["--listen", &address, "--data-dir", data]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");

    let (code, text) = failure(&["--listen", "127.0.0.1:0", "--data-dir", "/dev/null/data"]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(
        text.contains("/dev/null/data") && text.contains("--data-dir"),
        "{text}"
    );

    let taken = server.dir.path().join("data");
    let (code, text) = failure(&["--listen", "127.0.0.1:0", "--data-dir", taken.to_str().unwrap()]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");

    let (code, text) = failure(&["--tokens-file", "/nonexistent"]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains("/nonexistent"), "{text}");

    let (code, text) = failure(&["--queue-jobs-max", "0"]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    let (code, text) = failure(&["--log-filter", "a=b=c"]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    let (code, text) = failure(&["--no-such-flag"]);
    assert!(code == 2 && text.contains("--no-such-flag"), "{text}");
}

#[test]
fn more_clients_than_may_be_tracked_are_asked_to_come_back() {
    // A stripe has one place: two clients that share a stripe within a second are one too many.
    let server = Server::start(&["--clients-max", "61"]);
    let mut client = server.connect();
    let request = |index: u32| post_as(&format!("Authorization: Bearer {index}\r\n"), &body("m", 1));
    // In one piece, so that they arrive within the second.
    client.send(&(0..200).flat_map(request).collect::<Vec<_>>());
    let mut served = 0;
    for _ in 0..200 {
        let reply = client.response();
        if reply.status == 200 {
            served += 1;
            continue;
        }
        assert_eq!(
            (reply.code().as_str(), reply.field("retry-after")),
            ("clients_full", Some("1"))
        );
        assert_eq!(reply.json()["error"]["setting"], "clients_max");
    }
    assert!((1..=61).contains(&served), "{served} of 200 served");
    assert_eq!(server.lines().len(), served);
}
