//! `metricstream load` against a server that counts what it gets and misbehaves on demand: what the report
//! says is what the server saw.

#![allow(
    clippy::disallowed_methods,
    reason = "a test server that is slow on purpose sleeps and reads the clock"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use metricstream::sync::shim::{Arc, Mutex, thread};
use serde_json::Value;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Replies, in two pieces.
    Reply(u16),
    /// Replies, says that it closes, and closes.
    ReplyAndClose,
    /// Replies and closes without saying so.
    ReplyAndLeave,
    /// Closes without a reply.
    Close,
    /// Closes after a part of the reply.
    CloseWithin,
    /// Says what is no HTTP.
    Nonsense,
    /// Replies before it has read the body, then reads it.
    RefuseEarly,
    /// Replies before it has read the body, and closes without reading it: the kernel resets the connection.
    RefuseAndLeave,
    /// Never replies.
    Silence,
    /// Replies after this long; nobody else is served meanwhile.
    Stall(Duration),
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    connections: u64,
    requests: u64,
    health: u64,
    acknowledged: u64,
    statuses: BTreeMap<u16, u64>,
    acts: Vec<Act>,
    credentials: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

type Script = fn(u64) -> Act;

impl Server {
    /// Starts a server that does `script(n)` with its `n`-th request, from 0.
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        thread::spawn("accept", move || {
            for stream in listener.incoming() {
                let stream = stream.expect("accept");
                shared.lock().connections += 1;
                let shared = Arc::clone(&shared);
                // A client that leaves in the middle is no concern of the server.
                thread::spawn("serve", move || serve(stream, script, &shared)).expect("spawn");
            }
        })
        .expect("spawn");
        Self { address, seen }
    }

    fn load(&self, flags: &str) -> Run {
        Run::of(self.command(flags).output().expect("run"))
    }

    fn command(&self, flags: &str) -> Command {
        let mut command = load(&format!("--port {} --format json {flags}", self.address.port()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn load(flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metricstream"));
    command.arg("load").args(flags.split_whitespace());
    command
}

/// How a run ended.
struct Run {
    code: Option<i32>,
    report: Value,
    stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    fn count(&self, pointer: &str) -> u64 {
        match self.report.pointer(pointer) {
            Some(value) => value.as_u64().expect("a count"),
            None => 0,
        }
    }

    fn millis(&self, pointer: &str) -> f64 {
        self.report
            .pointer(pointer)
            .and_then(Value::as_f64)
            .expect("a time")
            / 1e3
    }
}

fn serve(stream: TcpStream, script: Script, seen: &Mutex<Seen>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader)? {
        let field = |name: &str| {
            head.iter()
                .find_map(|line| line.strip_prefix(name).map(str::trim))
        };
        if head[0].starts_with("GET /health ") {
            seen.lock().health += 1;
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let length: usize = field("Content-Length:")
            .expect("a length")
            .parse()
            .expect("a number");
        let act = choose(script, field("Authorization:"), &mut seen.lock());
        if matches!(act, Act::RefuseEarly | Act::RefuseAndLeave) {
            let reply = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            reader.get_mut().write_all(reply)?;
            if act == Act::RefuseAndLeave {
                return Ok(());
            }
            std::io::copy(&mut reader, &mut std::io::sink())?;
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let count = note_metrics(&body, &mut seen.lock());
        if !act_on(act, count, reader.get_mut(), seen)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<String>>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => return Ok(Some(head)),
            line => head.push(line.to_owned()),
        }
    }
}

/// Decides about a request; a stall keeps the lock, and so everyone else out.
fn choose(script: Script, credential: Option<&str>, seen: &mut Seen) -> Act {
    let act = script(seen.requests);
    seen.requests += 1;
    seen.acts.push(act);
    seen.credentials.extend(credential.map(str::to_owned));
    if let Act::Stall(time) = act {
        std::thread::sleep(time);
    }
    act
}

/// Checks a body and notes what identifies its metrics.
fn note_metrics(body: &[u8], seen: &mut Seen) -> u64 {
    let body: Value = serde_json::from_slice(body).expect("the body is JSON");
    let metrics = body["metrics"].as_array().expect("metrics");
    for metric in metrics {
        assert!(metric["name"].is_string() && metric["value"].is_f64(), "{metric}");
        let fresh = seen.metrics.insert(metric["tags"].to_string());
        assert!(fresh, "sent twice: {metric}");
    }
    metrics.len() as u64
}

/// Says whether the connection goes on.
fn act_on(act: Act, metrics: u64, stream: &mut TcpStream, seen: &Mutex<Seen>) -> std::io::Result<bool> {
    let status = match act {
        Act::Reply(status) => status,
        Act::ReplyAndClose | Act::ReplyAndLeave | Act::Stall(_) => 200,
        Act::Close => return Ok(false),
        Act::CloseWithin => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"success\"")?;
            return Ok(false);
        }
        Act::Nonsense => {
            stream.write_all(b"what?\r\n\r\n")?;
            return Ok(false);
        }
        Act::Silence | Act::RefuseEarly | Act::RefuseAndLeave => {
            std::io::copy(stream, &mut std::io::sink())?;
            return Ok(false);
        }
    };
    {
        let mut seen = seen.lock();
        *seen.statuses.entry(status).or_default() += 1;
        seen.acknowledged += if status == 200 { metrics } else { 0 };
    }
    let body = format!("{{\"success\":true,\"metrics_processed\":{metrics}}}");
    let close = if act == Act::ReplyAndClose {
        "Connection: close\r\n"
    } else {
        ""
    };
    let length = body.len();
    let reply =
        format!("HTTP/1.1 {status} X\r\nRetry-After: 1\r\n{close}Content-Length: {length}\r\n\r\n{body}");
    let (first, second) = reply.as_bytes().split_at(reply.len() / 2);
    stream.write_all(first)?;
    thread::yield_now();
    stream.write_all(second)?;
    Ok(!matches!(act, Act::ReplyAndClose | Act::ReplyAndLeave))
}

#[test]
fn every_request_and_metric_is_counted_as_the_server_counts_it() {
    for (connection, connections) in [("keep-alive", 7), ("per-request", 35)] {
        for threads in [1, 3] {
            let server = Server::start(|_| Act::Reply(200));
            let run = server.load(&format!(
                "--clients 7 --requests 5 --batch 4 --connection {connection} --threads {threads}"
            ));
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            assert_eq!(run.stderr, "", "no progress bar where there is no terminal");
            assert_eq!(
                (run.count("/requests"), run.count("/requests_succeeded")),
                (35, 35)
            );
            assert_eq!(
                (run.count("/status/200"), run.count("/metrics_acknowledged")),
                (35, 140)
            );
            assert_eq!(run.count("/connections"), connections);
            assert_eq!(run.report["errors"], serde_json::json!({}));
            let seen = server.seen.lock();
            assert_eq!((seen.requests, seen.metrics.len()), (35, 140));
            assert_eq!(
                seen.connections,
                connections + 1,
                "one more looks whether the server is there"
            );
            let credentials: BTreeSet<_> = (0..7).map(|client| format!("Bearer load-{client}")).collect();
            assert_eq!(seen.credentials, credentials);
        }
    }
}

#[test]
fn misbehaviour_is_counted_by_its_kind() {
    for connection in ["keep-alive", "per-request"] {
        let server = Server::start(|number| match number % 10 {
            0 => Act::Close,
            1 => Act::CloseWithin,
            2 => Act::Nonsense,
            3 => Act::Reply(503),
            4 => Act::Reply(429),
            5 => Act::ReplyAndClose,
            6 => Act::Reply(500),
            _ => Act::Reply(200),
        });
        let run = server.load(&format!("--clients 5 --requests 40 --connection {connection}"));
        assert_eq!(run.code, Some(1));
        let seen = server.seen.lock();
        let acts = |wanted: Act| seen.acts.iter().filter(|act| **act == wanted).count() as u64;
        assert_eq!((seen.requests, run.count("/requests")), (200, 200));
        for status in [200, 429, 500, 503] {
            assert_eq!(
                run.count(&format!("/status/{status}")),
                seen.statuses[&status],
                "{status}"
            );
        }
        assert_eq!(run.count("/metrics_acknowledged"), seen.acknowledged);
        assert_eq!(
            run.count("/errors/closed"),
            acts(Act::Close) + acts(Act::CloseWithin)
        );
        assert_eq!(run.count("/errors/bad_response"), acts(Act::Nonsense));
    }
}

#[test]
fn a_server_that_leaves_between_requests_costs_none_of_them() {
    // Long enough between the requests for the client to see the end before it sends the next one.
    let server = Server::start(|_| Act::ReplyAndLeave);
    let run = server.load("--clients 2 --requests 10 --interval-ms 50");
    assert_eq!(
        (run.code, run.count("/requests_succeeded")),
        (Some(0), 20),
        "{}",
        run.report
    );
    assert_eq!(run.count("/connections"), 20);
}

#[test]
fn refusals_pass_only_when_allowed() {
    for (flags, code) in [("", 1), ("--allow-refusals", 0)] {
        let server = Server::start(|number| Act::Reply(if number % 2 == 0 { 429 } else { 503 }));
        let run = server.load(&format!("--clients 2 --requests 5 {flags}"));
        assert_eq!((run.code, run.count("/status/429")), (Some(code), 5));
        assert_eq!(
            (run.count("/status/503"), run.count("/metrics_acknowledged")),
            (5, 0)
        );
    }
}

#[test]
fn retry_after_is_obeyed_on_demand_only() {
    for (flags, least_s) in [("", 0.0), ("--obey-retry-after", 1.0)] {
        let server = Server::start(|number| Act::Reply(if number == 0 { 429 } else { 200 }));
        let run = server.load(&format!("--clients 1 --requests 2 --allow-refusals {flags}"));
        let elapsed = run.report["elapsed_s"].as_f64().expect("a time");
        assert!((least_s..least_s + 0.9).contains(&elapsed), "{flags}: {elapsed}");
    }
}

#[test]
fn a_reply_before_the_body_was_read_is_a_reply() {
    let server = Server::start(|_| Act::RefuseEarly);
    let run = server.load("--clients 2 --requests 3 --batch 50000");
    assert_eq!(
        (run.code, run.count("/status/413")),
        (Some(1), 6),
        "{}",
        run.report
    );
    assert_eq!(run.report["errors"], serde_json::json!({}));
}

#[test]
fn a_body_larger_than_the_socket_buffers_arrives_whole() {
    let server = Server::start(|_| Act::Reply(200));
    let run = server.load("--clients 2 --requests 2 --batch 60000");
    assert_eq!(
        (run.code, run.count("/metrics_acknowledged")),
        (Some(0), 240_000),
        "{}",
        run.report
    );
    assert_eq!(server.seen.lock().metrics.len(), 240_000);
}

#[test]
fn a_server_that_stalls_shows_in_an_open_loop() {
    // One reply in the middle takes half a second, and nobody is served meanwhile. In a closed loop only
    // the requests under way wait; a third of those due in the open loop do.
    const STALL: Act = Act::Stall(Duration::from_millis(500));
    let script: Script = |number| if number == 50 { STALL } else { Act::Reply(200) };
    let open = Server::start(script);
    let run = open.load("--clients 4 --rate 200 --duration 1500ms");
    assert_eq!(
        (run.code, run.count("/requests"), open.seen.lock().requests),
        (Some(0), 300, 300)
    );
    assert!(run.millis("/latency_p95_us") > 300.0, "{}", run.report);
    assert!(run.millis("/latency_max_us") > 450.0);
    let closed = Server::start(script);
    let run = closed.load("--clients 4 --requests 75 --interval-ms 20");
    assert_eq!(run.code, Some(0));
    assert!(run.millis("/latency_p95_us") < 200.0, "{}", run.report);
    assert!(run.millis("/latency_max_us") > 450.0);
}

#[test]
fn an_open_loop_keeps_its_rate_to_the_request() {
    let server = Server::start(|_| Act::Reply(200));
    let run = server.load("--clients 8 --rate 500 --duration 1s --warmup 200ms --threads 2");
    assert_eq!(
        (run.code, run.count("/requests"), run.count("/warmup_requests")),
        (Some(0), 500, 100)
    );
    let elapsed = run.report["elapsed_s"].as_f64().expect("a time");
    assert!((0.99..2.0).contains(&elapsed), "{elapsed}");
    let seen = server.seen.lock();
    assert_eq!(seen.requests, 600);
    let acknowledged = run.count("/metrics_acknowledged") + run.count("/warmup_metrics_acknowledged");
    assert_eq!(acknowledged, seen.acknowledged);
}

#[test]
fn what_is_due_and_never_sent_is_a_failure() {
    let server = Server::start(|_| Act::Silence);
    let begun = Instant::now();
    let run = server.load("--clients 2 --rate 100 --duration 500ms --timeout-ms 300");
    assert!(begun.elapsed() < Duration::from_secs(5), "the run is bounded");
    assert_eq!((run.code, run.count("/requests")), (Some(1), 50));
    assert_eq!(run.count("/errors/timeout"), server.seen.lock().requests);
    assert_eq!(run.count("/errors/timeout") + run.count("/errors/unsent"), 50);
    assert!(run.count("/errors/unsent") > 30, "{}", run.report);
}

#[test]
fn idle_connections_are_held_and_asked_at_the_end() {
    let server = Server::start(|_| Act::Reply(200));
    let run = server.load("--clients 2 --requests 5 --idle 50");
    assert_eq!((run.code, run.count("/idle_connections_alive")), (Some(0), 50));
    let seen = server.seen.lock();
    assert_eq!((seen.health, seen.connections), (50, 53));
}

#[test]
fn idle_connections_that_were_closed_fail_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    thread::spawn("accept", move || {
        let _look = listener.accept().expect("accept");
        drop(listener.accept().expect("the idle one"));
        let (stream, _) = listener.accept().expect("the client's");
        serve(stream, |_| Act::Reply(200), &Mutex::new(Seen::default())).expect("serve");
    })
    .expect("spawn");
    let output = load(&format!(
        "--port {port} --clients 1 --requests 3 --idle 1 --format json"
    ))
    .output();
    let run = Run::of(output.expect("run"));
    assert_eq!((run.code, run.count("/requests_succeeded")), (Some(1), 3));
    assert_eq!(
        (
            run.count("/idle_connections"),
            run.count("/idle_connections_alive")
        ),
        (1, 0)
    );
}

#[test]
fn a_signal_ends_the_run_and_the_report_comes() {
    let server = Server::start(|_| Act::Reply(200));
    let child = server
        .command("--clients 3 --duration 60s --interval-ms 1")
        .spawn()
        .expect("run");
    let begun = Instant::now();
    while server.seen.lock().requests < 100 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the run began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("kill");
    let run = Run::of(child.wait_with_output().expect("wait"));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(
        (run.code, &run.report["interrupted"]),
        (Some(0), &Value::Bool(true))
    );
    assert_eq!(run.count("/requests"), server.seen.lock().requests);
    assert_eq!(
        run.count("/metrics_acknowledged"),
        server.seen.lock().acknowledged
    );
}

#[test]
fn a_second_signal_does_not_wait_for_replies() {
    let server = Server::start(|_| Act::Silence);
    let child = server
        .command("--clients 3 --timeout-ms 60000")
        .spawn()
        .expect("run");
    let begun = Instant::now();
    let id = rustix::process::Pid::from_child(&child);
    let interrupt = || rustix::process::kill_process(id, rustix::process::Signal::INT).expect("kill");
    while server.seen.lock().requests < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the run began");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Two that come together count as one, hence the pause.
    interrupt();
    std::thread::sleep(Duration::from_millis(500));
    interrupt();
    let output = child.wait_with_output().expect("wait");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
}

#[test]
fn a_server_that_is_not_there_is_one_clear_line() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("bind")
        .local_addr()
        .expect("address")
        .port();
    let run = Run::of(load(&format!("--port {port}")).output().expect("run"));
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr
            .contains(&format!("cannot connect to 127.0.0.1:{port}")),
        "{}",
        run.stderr
    );
}

#[test]
fn a_server_that_goes_away_is_connect_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    thread::spawn("accept", move || {
        // Looked at, then gone.
        drop(listener.accept());
        drop(listener);
    })
    .expect("spawn");
    // Of the first attempts some may still meet the listener: its queue is then reset.
    let output = load(&format!("--port {port} --clients 3 --requests 4 --format json")).output();
    let run = Run::of(output.expect("run"));
    let failed =
        run.count("/errors/connect_refused") + run.count("/errors/reset") + run.count("/errors/closed");
    assert_eq!(
        (run.code, run.count("/requests"), failed),
        (Some(1), 12, 12),
        "{}",
        run.report
    );
    assert!(run.count("/errors/connect_refused") >= 9 && run.count("/connect_retries") >= 9);
}

#[test]
fn bad_flags_are_exit_code_2() {
    for flags in [
        "--clients 0",
        "--no-such-flag",
        "--path x",
        "--host no.such.host.invalid",
    ] {
        let run = Run::of(load(flags).output().expect("run"));
        assert_eq!(run.code, Some(2), "{flags}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

#[test]
fn the_report_is_text_for_people_and_a_file_for_programs() {
    let server = Server::start(|_| Act::Reply(200));
    let file = std::env::temp_dir().join(format!("metricstream-load-{}.json", std::process::id()));
    let port = server.address.port();
    let flags = format!("--port {port} --clients 2 --requests 3 --json {}", file.display());
    let output = load(&flags).output().expect("run");
    let text = String::from_utf8(output.stdout).expect("text");
    let written: Value = serde_json::from_slice(&std::fs::read(&file).expect("file")).expect("JSON");
    std::fs::remove_file(&file).expect("remove");
    for part in ["100.00% (6 of 6)", "200: 6", "18 acknowledged", "p99.9"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(written["requests"], 6);
}
