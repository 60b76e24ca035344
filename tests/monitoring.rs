//! Alerts, the web page and `top` against the real server.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{PROGRAM, Server, TempDir, body, eventually};

const RULE: &str = "[[alert]]\nname = \"busy\"\nfigure = \"requests\"\ncomparison = \">\"\nthreshold = 3\n\
                    severity = \"critical\"\n";

fn settings(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn alert(stats: &Value, name: &str) -> Value {
    let alerts = stats["alerts"].as_array().unwrap();
    let found = alerts.iter().find(|alert| alert["name"] == name);
    found
        .unwrap_or_else(|| panic!("no alert {name}: {stats}"))
        .clone()
}

#[test]
fn an_alert_fires_in_the_log_the_statistics_and_at_the_webhook_which_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/secret-path", listener.local_addr().unwrap());
    let dir = TempDir::new();
    let file = settings(&dir, &format!("alert_webhook_url = \"{hook}\"\n{RULE}"));
    let server = Server::start_in(dir, &["--config", &file]);
    for _ in 0..4 {
        assert_eq!(server.post(&body("m", 1)).status, 200);
    }
    let mut messages = Vec::new();
    for status in ["503 Service Unavailable", "200 OK"] {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut block = [0; 4096];
            let count = stream.read(&mut block).unwrap();
            assert!(count > 0, "{text}");
            text.push_str(std::str::from_utf8(&block[..count]).unwrap());
        }
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        messages.push(text);
    }
    let (head, json) = messages[1].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /secret-path HTTP/1.1\r\n"), "{head}");
    let message: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&message["alert"], &message["state"], &message["severity"]),
        (&"busy".into(), &"firing".into(), &"critical".into())
    );
    assert_eq!(message["server"], server.address.to_string());
    assert!(message["value"].as_f64().unwrap() > 3.0, "{message}");
    assert!(messages[0].ends_with(json), "the same message again");
    let busy = alert(&server.get("/stats").json(), "busy");
    assert_eq!(busy["state"], "firing");
    assert_eq!(busy["condition"], "requests > 3");
    eventually("it is counted", || server.figure("webhooks_sent") == 1);
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(
        text.contains("metricstream_alert_state{alert=\"busy\",severity=\"critical\"} 2\n"),
        "{text}"
    );
    let errors = server.errors();
    assert!(errors.contains("alert fires alert=\"busy\""), "{errors}");
    assert!(!errors.contains("secret-path"), "{errors}");
}

#[test]
fn a_reload_takes_new_rules_and_keeps_the_state_of_old_ones() {
    let dir = TempDir::new();
    let file = settings(&dir, RULE);
    let server = Server::start_in(dir, &["--config", &file, "--ready-made-alerts", "off"]);
    for _ in 0..4 {
        server.post(&body("m", 1));
    }
    let firing = |name: &str| alert(&server.get("/stats").json(), name)["state"] == "firing";
    eventually("it fires", || firing("busy"));
    let second = RULE.replace("busy", "busier").replace("= 3", "= 1e9");
    std::fs::write(&file, format!("{RULE}{second}")).unwrap();
    server.signal("-HUP");
    let alerts = || server.get("/stats").json()["alerts"].as_array().unwrap().len();
    eventually("the second is there", || alerts() == 2);
    assert!(firing("busy"));
    assert!(!firing("busier"));
    std::fs::write(&file, RULE.replace("requests", "request")).unwrap();
    server.signal("-HUP");
    eventually("it is refused", || {
        server.errors().contains("did you mean requests?")
    });
    assert_eq!(alerts(), 2, "nothing changed");
    let fired = server.errors().matches("alert fires").count();
    assert_eq!(fired, 1, "it is told once");
}

#[test]
fn what_is_wrong_with_a_rule_is_said_by_check() {
    let dir = TempDir::new();
    let file = settings(&dir, &RULE.replace("= 3", "= \"many\""));
    let output = Command::new(PROGRAM)
        .args(["check", "--config", &file])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(":5: threshold is \"many\"; it must be a number"),
        "{said}"
    );
}

#[test]
fn each_ready_made_rule_has_a_counterpart_for_prometheus() {
    let text = std::fs::read_to_string("deploy/prometheus/metricstream.rules.yml").unwrap();
    let server = Server::start(&[]);
    let stats = server.get("/stats").json();
    let alerts = stats["alerts"].as_array().unwrap();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let name: String = alert["name"]
            .as_str()
            .unwrap()
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        let (_, rule) = text
            .split_once(&format!("- alert: MetricStream{name}\n"))
            .unwrap_or_else(|| panic!("no MetricStream{name}"));
        let rule = rule.split("- alert:").next().unwrap();
        let severity = format!("severity: {}\n", alert["severity"].as_str().unwrap());
        assert!(rule.contains(&severity), "{name}: {severity} {rule}");
        let hold = alert["for_ms"].as_u64().unwrap() / 1000;
        assert!(rule.contains(&format!("for: {hold}s\n")), "{name}: {hold} {rule}");
    }
    // Every name that the rules and the dashboard use is one that is exposed.
    server.post(&body("m", 1));
    let exposed = String::from_utf8(server.get("/metrics").body).unwrap();
    let dashboard = std::fs::read_to_string("deploy/grafana/metricstream.json").unwrap();
    let _: Value = serde_json::from_str(&dashboard).unwrap();
    let mut names = 0;
    for text in [&text, &dashboard] {
        for (at, _) in text
            .match_indices("metricstream_")
            .chain(text.match_indices("process_"))
        {
            let name: String = text[at..]
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            names += 1;
            assert!(
                exposed.contains(&format!("\n{name}")) || exposed.starts_with(&name),
                "{name}"
            );
        }
    }
    assert!(names > 30, "{names}");
}

/// What `promtool` says of `input`; a machine without it skips the check, and with `CI=true` fails.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!in_ci, "promtool is not installed, and CI=true");
        eprintln!("skipped: promtool is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[test]
fn promtool_accepts_the_exposition_and_the_rules() {
    let server = Server::start(&["--ack-level", "synced"]);
    server.post(&body("m", 1));
    server.post("{");
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let rules = "deploy/prometheus/metricstream.rules.yml";
    for (arguments, input) in [
        (["check", "metrics"].as_slice(), text.as_str()),
        (&["check", "rules", rules], ""),
    ] {
        if let Some(output) = promtool(arguments, input) {
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
    let wrong = "# TYPE a counter\na 1\n";
    if let Some(output) = promtool(&["check", "metrics"], wrong) {
        assert!(!output.status.success(), "it tells good from bad");
    }
}

#[test]
fn the_page_uses_fields_that_the_statistics_have() {
    let server = Server::start(&[]);
    server.post(&body("m", 1));
    let page = server.get("/");
    assert_eq!(
        (page.status, page.field("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = page.field("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("script-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.body).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("@import"));
    assert!(html.len() < 32 * 1024);
    let stats = server.get("/stats").json();
    let (mut fields, mut missing) = (0, Vec::new());
    for call in html.split("field(stats, \"").skip(1) {
        let path = call.split('"').next().unwrap();
        fields += 1;
        let pointer = format!("/{}", path.replace('.', "/"));
        if stats.pointer(&pointer).is_none() && path != "not_ready_because" {
            missing.push(path);
        }
    }
    for call in html.split("each(stats, \"").skip(1) {
        let mut texts = call.split('"');
        let (path, keys) = (texts.next().unwrap(), texts.nth(1).unwrap());
        let rows = &stats.pointer(&format!("/{}", path.replace('.', "/"))).unwrap()[0];
        for key in keys.split(' ') {
            fields += 1;
            if rows.get(key).is_none() {
                missing.push(key);
            }
        }
    }
    assert!(fields > 30, "the fields were found: {fields}");
    assert!(missing.is_empty(), "{missing:?} are not in {stats}");
}

fn top(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("top").args(arguments).output().unwrap()
}

#[test]
fn top_prints_a_frame_of_a_running_server() {
    let server = Server::start(&[]);
    for _ in 0..5 {
        server.post(&body("m", 3));
    }
    server.post("{");
    let output = top(&["--once", &server.address.port().to_string()]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "metricstream ",
        "ready",
        "rules, all ok",
        "limits",
        "ingest",
        "127.0.0.1",
        "p99.9",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(
        text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "plain text");
}

#[test]
fn top_says_when_there_is_no_answer() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = top(&["--once", &free.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("no answer from {free}")), "{said}");
    assert_eq!(top(&["https://x"]).status.code(), Some(2));
}
