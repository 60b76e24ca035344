//! Every stage answers the same requests, and every file of a stage keeps to its size and to the shim.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use metricstream_journey::catalog::STAGES;

const PROGRAM: &str = env!("CARGO_BIN_EXE_metricstream-journey");

/// Lines of its own that a stage may have.
const STAGE_LINES_MAX: usize = 300;

/// A stage's process, ended when dropped.
struct Server(Child, String);

impl Server {
    fn start(stage: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("journey-{}-{stage}", std::process::id()));
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--stage", stage, "--port", "0", "--directory"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let word = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://"));
        Self(child, word.expect("it says where it listens").to_owned())
    }

    fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_stage_takes_metrics_and_refuses_what_is_none() {
    for stage in &STAGES {
        let server = Server::start(stage.name);
        let body = r#"{"metrics":[{"name":"a","value":1},{"name":"b","value":2}]}"#;
        let reply = server.ask("POST /metrics", body);
        assert!(reply.starts_with("HTTP/1.1 200"), "stage {}: {reply}", stage.name);
        assert!(
            reply.contains("\"metrics_processed\":2"),
            "stage {}: {reply}",
            stage.name
        );
        let reply = server.ask("POST /metrics", "nothing");
        assert!(reply.starts_with("HTTP/1.1 400"), "stage {}: {reply}", stage.name);
        let reply = server.ask("GET /nowhere", "");
        assert!(reply.starts_with("HTTP/1.1 404"), "stage {}: {reply}", stage.name);
        assert!(server.ask("GET /stats", "").contains('2'), "stage {}", stage.name);
    }
}

#[test]
fn stages_are_short_and_use_the_shim() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stages");
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines < STAGE_LINES_MAX, "{}: {lines} lines", path.display());
        for door in ["std::sync", "std::thread"] {
            assert!(!text.contains(door), "{} names {door}", path.display());
        }
        if !path.ends_with("mod.rs") {
            assert!(
                text.contains("Changes:"),
                "{} says what it changes",
                path.display()
            );
            assert!(
                text.contains("Still wrong:"),
                "{} says what is wrong",
                path.display()
            );
        }
        files += 1;
    }
    assert_eq!(files, 9);
}
