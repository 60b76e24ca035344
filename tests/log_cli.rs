//! The tools of the log with the real program: on logs that a server wrote, beside one that runs, and on
//! damage.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads; what fails is the test"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Client, PROGRAM, Server, TempDir, body, eventually, post};

/// `metricstream log` with these arguments: its exit code, standard output and standard error.
fn log(arguments: &[&str], data: &Path) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("log").args(arguments).arg("--data-dir").arg(data);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(arguments: &[&str], data: &Path) -> (i32, serde_json::Value) {
    let (code, out, errors) = log(&[arguments, &["--format", "json"]].concat(), data);
    let value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {errors}"));
    (code, value)
}

fn line(value: u32) -> String {
    format!(
        "{{\"timestamp\":\"2026-01-02T03:04:05.{:03}Z\",\"name\":\"m{}\",\"value\":{value},\"type\":\"gauge\",\
         \"tags\":{{\"parity\":\"{}\"}}}}\n",
        value % 1000,
        value % 3,
        value % 2
    )
}

fn lines(values: std::ops::Range<u32>) -> String {
    values.map(line).collect()
}

fn compress(content: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A log of four segments with 100 lines, one segment compressed.
fn sample() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(
        data.join("metrics.000000000001.jsonl.zst"),
        compress(&lines(0..30)),
    )
    .unwrap();
    fs::write(data.join("metrics.000000000002.jsonl"), lines(30..60)).unwrap();
    fs::write(data.join("metrics.000000000004.jsonl"), lines(60..90)).unwrap();
    fs::write(data.join("metrics.jsonl"), lines(90..100)).unwrap();
    (dir, data)
}

#[test]
fn inspect_counts_lines_bytes_and_times() {
    let (_dir, data) = sample();
    let (code, report) = json(&["inspect"], &data);
    assert_eq!(code, 0);
    assert_eq!(
        (&report["lines"], &report["damaged_lines"]),
        (&100.into(), &0.into())
    );
    assert_eq!(report["bytes"], lines(0..100).len());
    assert_eq!(report["oldest"], "2026-01-02T03:04:05.000Z");
    assert_eq!(report["newest"], "2026-01-02T03:04:05.099Z");
    assert_eq!(report["missing_segments"], serde_json::json!([[3, 3]]));
    let segments = report["segments"].as_array().unwrap();
    let of = |index: usize| {
        (
            segments[index]["name"].as_str().unwrap(),
            segments[index]["lines"].as_u64().unwrap(),
        )
    };
    assert_eq!(segments.len(), 4);
    assert_eq!(of(0), ("metrics.000000000001.jsonl.zst", 30));
    assert_eq!(of(3), ("metrics.jsonl", 10));
    assert_eq!(segments[0]["compressed"], true);
    let (code, text, _) = log(&["inspect"], &data);
    assert_eq!(code, 0);
    assert!(
        text.contains("100 lines in 4 segments") && text.contains("segment 3 is not there"),
        "{text}"
    );
}

#[test]
fn verify_says_what_is_damaged_and_where() {
    let (_dir, data) = sample();
    let (code, text, errors) = log(&["verify"], &data);
    assert_eq!(
        (code, errors.as_str()),
        (0, ""),
        "no bar where there is no terminal"
    );
    assert!(text.starts_with("no damage, 100 sound lines"), "{text}");
    let good = lines(30..60);
    let third = line(30).len() + line(31).len();
    let mut bad = good.clone().into_bytes();
    bad[third..third + 4].fill(0);
    fs::write(data.join("metrics.000000000002.jsonl"), &bad).unwrap();
    let mut active = lines(90..100).into_bytes();
    active.extend_from_slice(&line(100).as_bytes()[..40]);
    fs::write(data.join("metrics.jsonl"), &active).unwrap();
    let (code, report) = json(&["verify"], &data);
    assert_eq!(code, 1);
    assert_eq!((&report["sound"], &report["lines"]), (&false.into(), &99.into()));
    let damage = report["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 2);
    assert_eq!(damage[0]["segment"], "metrics.000000000002.jsonl");
    assert_eq!(
        (&damage[0]["offset"], &damage[0]["line"]),
        (&third.into(), &3.into())
    );
    assert!(
        damage[0]["what"].as_str().unwrap().contains("4 NUL bytes"),
        "{report}"
    );
    assert_eq!(damage[1]["offset"], lines(90..100).len());
    assert!(damage[1]["what"].as_str().unwrap().contains("torn"), "{report}");
    let (code, text, _) = log(&["verify"], &data);
    assert_eq!(code, 1);
    assert!(
        text.contains("metrics.000000000002.jsonl line 3 at byte"),
        "{text}"
    );
}

#[test]
fn repair_writes_beside_what_is_whole_and_a_server_takes_it() {
    let (dir, data) = sample();
    let mut content = lines(90..100).into_bytes();
    let cut = line(90).len() + 10..line(90).len() + line(91).len();
    content.drain(cut);
    content.extend_from_slice(b"\0\0\0");
    fs::write(data.join("metrics.jsonl"), &content).unwrap();
    let before = fs::read(data.join("metrics.jsonl")).unwrap();

    let (code, text, _) = log(&["repair", "--dry-run"], &data);
    assert!(
        code == 0 && text.contains("99 metrics are whole") && text.contains("nothing was written"),
        "{text}"
    );
    let (code, report) = json(&["repair"], &data);
    assert_eq!(code, 0);
    assert_eq!(
        (&report["records_kept"], &report["records_saved"]),
        (&99.into(), &1.into())
    );
    assert_eq!(report["bytes_left_out"], 10 + 3);
    assert_eq!(
        fs::read(data.join("metrics.jsonl")).unwrap(),
        before,
        "the log is as it was"
    );

    let output = dir.path().join("data.repaired");
    let kept = fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    assert_eq!(kept, line(90) + &lines(92..100));
    let side = fs::read(output.join("metrics.jsonl.damaged")).unwrap();
    assert_eq!(side, [&line(91).as_bytes()[..10], b"\0\0\0"].concat());
    assert_eq!(
        fs::read(output.join("metrics.000000000001.jsonl.zst")).unwrap(),
        fs::read(data.join("metrics.000000000001.jsonl.zst")).unwrap()
    );
    assert_eq!(log(&["verify"], &output).0, 0);
    let (code, _, errors) = log(&["repair"], &data);
    assert!(code == 2 && errors.contains("is not empty"), "{errors}");

    fs::rename(&data, dir.path().join("data.damaged")).unwrap();
    fs::rename(&output, &data).unwrap();
    let server = Server::start_in(dir, &[]);
    assert_eq!(server.post(&body("next", 1)).status, 200);
    assert_eq!(json(&["verify"], &data).1["lines"], 100);
}

#[test]
fn repair_of_a_sound_log_writes_nothing_and_beside_a_server_it_refuses() {
    let (dir, data) = sample();
    let (code, text, _) = log(&["repair"], &data);
    assert!(code == 0 && text.contains("nothing to write"), "{text}");
    assert!(!dir.path().join("data.repaired").exists());
    let server = Server::start_in(dir, &[]);
    let (code, _, errors) = log(&["repair"], &data);
    assert!(code == 1 && errors.contains("a server is running"), "{errors}");
    assert_eq!(server.post(&body("m", 1)).status, 200);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let dir = TempDir::new();
    let nowhere = dir.path().join("nowhere");
    for command in ["inspect", "verify", "repair", "tail"] {
        let (code, out, errors) = log(&[command], &nowhere);
        assert_eq!(
            (code, out.as_str(), errors.lines().count()),
            (2, "", 1),
            "{command}: {errors}"
        );
        assert!(
            errors.contains("there is no directory") && errors.contains("--data-dir"),
            "{errors}"
        );
        let (code, out, errors) = log(&[command], dir.path());
        assert_eq!(
            (code, out.as_str(), errors.lines().count()),
            (2, "", 1),
            "{command}: {errors}"
        );
        assert!(errors.contains("there is no log in"), "{errors}");
    }
    assert_eq!(log(&["verify", "--line-bytes-max", "1"], dir.path()).0, 2);
    assert_eq!(log(&["tail", "--tag", "novalue"], dir.path()).0, 2);
}

#[test]
fn the_directory_comes_from_the_servers_settings() {
    let (dir, data) = sample();
    let run = |command: &mut Command| command.args(["log", "verify"]).output().unwrap();
    let from_variable = run(Command::new(PROGRAM).env("METRICSTREAM_DATA_DIR", &data));
    assert!(from_variable.status.success(), "{from_variable:?}");
    let file = dir.path().join("m.toml");
    fs::write(&file, format!("data_dir = {:?}\n", data.to_str().unwrap())).unwrap();
    let from_file = run(Command::new(PROGRAM).env("METRICSTREAM_CONFIG", &file));
    assert!(from_file.status.success(), "{from_file:?}");
    let from_default = run(Command::new(PROGRAM).current_dir(dir.path()));
    assert!(from_default.status.success(), "{from_default:?}");
}

/// Clients that send until they are asked to stop.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..4)
            .map(|_| {
                let (stop, address) = (Arc::clone(&stop), server.address);
                thread::spawn(move || {
                    let mut client = Client::connect(address);
                    let request = post(&body("load", 20));
                    while !stop.load(Ordering::Relaxed) {
                        client.send(&request);
                        assert_eq!(client.response().status, 200);
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn verify_beside_a_server_under_load_finds_no_damage() {
    let server = Server::start(&["--client-requests-per-second-max=0"]);
    let data = server.dir.path().join("data");
    let load = Load::start(&server);
    eventually("there are lines", || {
        fs::metadata(data.join("metrics.jsonl")).is_ok_and(|file| file.len() > 100_000)
    });
    for _ in 0..20 {
        let (code, report) = json(&["verify"], &data);
        assert_eq!(code, 0, "{report}");
        assert_eq!(report["server_pid"], server.pid());
        assert!(report["lines"].as_u64().unwrap() > 0);
    }
    load.stop();
}

#[test]
fn tail_shows_the_last_lines_across_segments() {
    let (_dir, data) = sample();
    let tail = |arguments: &[&str]| {
        let (code, out, errors) = log(&[&["tail"], arguments].concat(), &data);
        assert_eq!((code, errors.as_str()), (0, ""));
        out
    };
    assert_eq!(tail(&[]), lines(90..100));
    for count in [0, 1, 9, 10, 11, 39, 40, 41, 70, 71, 100] {
        assert_eq!(
            tail(&["-n", &count.to_string()]),
            lines(100 - count..100),
            "{count}"
        );
    }
    assert_eq!(tail(&["-n", "1000"]), lines(0..100));
    let odd: String = (0..100).filter(|value| value % 2 == 1).map(line).collect();
    assert_eq!(tail(&["-n", "1000", "--tag", "parity=1"]), odd);
    let named: Vec<_> = (0..100)
        .filter(|value| value % 3 == 2 && value % 2 == 0)
        .collect();
    for count in [1, 2, 5, 16, 100] {
        let last = &named[named.len().saturating_sub(count)..];
        let expected: String = last.iter().copied().map(line).collect();
        let arguments = ["--name", "m2", "--tag", "parity=0", "-n", &count.to_string()];
        assert_eq!(tail(&arguments), expected, "{count}");
    }
}

/// A tail that follows, ended when dropped.
struct Tail {
    child: Child,
    out: Option<BufReader<std::process::ChildStdout>>,
}

impl Tail {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["log", "tail", "-n", "1", "-f", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tail_follows_across_rotation_and_ends_cleanly() {
    let (_dir, data) = sample();
    let active = data.join("metrics.jsonl");
    let append = |content: &str| {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&active)
            .unwrap();
        file.write_all(content.as_bytes()).unwrap();
    };
    let mut tail = Tail::start(&data);
    assert_eq!(tail.line(), line(99));
    let (first, second) = (line(100), line(101));
    append(&(first.clone() + &second[..20]));
    assert_eq!(tail.line(), first);
    append(&second[20..]);
    assert_eq!(tail.line(), second);
    // Rotated twice between two looks, the first of them compressed at once.
    append(&line(102));
    fs::rename(&active, data.join("metrics.000000000005.jsonl")).unwrap();
    let unfinished = data.join("metrics.000000000006.jsonl.zst.tmp");
    fs::write(&unfinished, compress(&line(103))).unwrap();
    fs::rename(unfinished, data.join("metrics.000000000006.jsonl.zst")).unwrap();
    append(&line(104));
    for value in 102..105 {
        assert_eq!(tail.line(), line(value));
    }
    // A line that was written and cut off again, and another in its place.
    append("{\"timestamp\":\"a part");
    let whole = line(104).len() as u64;
    fs::OpenOptions::new()
        .write(true)
        .open(&active)
        .unwrap()
        .set_len(whole)
        .unwrap();
    append(&line(105));
    assert_eq!(tail.line(), line(105));
    let status = Command::new("kill")
        .args(["-INT", &tail.child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    assert!(
        tail.child.wait().unwrap().success(),
        "an interrupt ends it with 0"
    );
}

#[test]
fn tail_ends_when_nobody_reads() {
    let (_dir, data) = sample();
    let mut tail = Tail::start(&data);
    assert_eq!(tail.line(), line(99));
    drop(tail.out.take());
    let mut status = None;
    eventually("it ends, though no line comes", || {
        status = tail.child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    // The same while it has much to say.
    let shell = format!(
        "{PROGRAM} log tail -n 1000000 --data-dir {} | head -n 1",
        data.display()
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), line(0));
}

#[test]
fn tail_of_a_running_server_shows_each_line_once_in_order() {
    let server = Server::start(&["--client-requests-per-second-max=0"]);
    let data = server.dir.path().join("data");
    server.post("{\"metrics\":[{\"name\":\"first\",\"value\":0}]}");
    let mut tail = Tail::start(&data);
    assert!(tail.line().contains("\"first\""));
    let mut client = server.connect();
    for request in 0..200 {
        let metrics: Vec<_> = (0..10)
            .map(|place| format!("{{\"name\":\"n\",\"value\":{}}}", request * 10 + place))
            .collect();
        client.send(&post(&format!("{{\"metrics\":[{}]}}", metrics.join(","))));
        assert_eq!(client.response().status, 200);
    }
    for value in 0..2000 {
        let line: serde_json::Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!(line["value"], value);
    }
}
