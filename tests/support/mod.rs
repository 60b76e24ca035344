//! The real server as a child process, and a small client that sees every byte.
//!
//! Promises: a server is stopped and its directory removed when dropped, also by a failing test.

#![allow(unreachable_pub, reason = "one module of many test programs")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_metricstream");

/// Where a program is, or nothing: then the test says that it is skipped, and with `CI=true` fails.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!in_ci, "{name} is not installed, and CI=true");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// A directory of this test's own, removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "metricstream-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub dir: TempDir,
    child: Child,
}

impl Server {
    /// Starts a server with `flags` on a free port and waits for its start-up line.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(TempDir::new(), flags)
    }

    /// As [`Server::start`], in a directory that may hold an earlier server's file.
    pub fn start_in(dir: TempDir, flags: &[&str]) -> Self {
        let errors = std::fs::File::create(dir.path().join("stderr")).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no start-up line: {line:?}, {}", read(&dir.path().join("stderr"))));
        Self { address, dir, child }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    pub fn post(&self, body: &str) -> Response {
        self.ask(&post(body))
    }

    pub fn get(&self, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes())
    }

    /// A count or gauge of `/stats`.
    pub fn figure(&self, name: &str) -> u64 {
        let stats: serde_json::Value = serde_json::from_slice(&self.get("/stats").body).unwrap();
        ["counts", "gauges"]
            .iter()
            .find_map(|group| stats[*group].get(name))
            .unwrap_or_else(|| panic!("no figure {name} in {stats}"))
            .as_u64()
            .unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not end: {}",
                self.errors()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks for a graceful stop and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }

    /// What the server said on standard error.
    pub fn errors(&self) -> String {
        read(&self.dir.path().join("stderr"))
    }

    /// The stored lines, each checked to be JSON.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let text = read(&self.dir.path().join("data/metrics.jsonl"));
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Gives up the directory, for another server.
    pub fn into_dir(mut self) -> TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.dir, TempDir::new())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A POST of `body` that keeps the connection.
pub fn post(body: &str) -> Vec<u8> {
    post_as("", body)
}

/// As [`post`], with more header fields (each ended by CRLF).
pub fn post_as(fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A body of `count` metrics named `name`, with values 0, 1, 2 and so on.
pub fn body(name: &str, count: usize) -> String {
    let metrics: Vec<_> = (0..count)
        .map(|value| format!("{{\"name\":\"{name}\",\"value\":{value}}}"))
        .collect();
    format!("{{\"metrics\":[{}]}}", metrics.join(","))
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// One reply.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// As [`Client::connect`], or `None` when nobody listens any more.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends unless the connection is broken, and says whether it could.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The next reply; the connection must not end before it.
    pub fn response(&mut self) -> Response {
        self.try_response().expect("a reply")
    }

    /// The next reply to a request that has no body in its reply (HEAD).
    pub fn response_without_body(&mut self) -> Response {
        self.read_response(true).expect("a reply")
    }

    /// The next reply, or `None` when the connection ends.
    pub fn try_response(&mut self) -> Option<Response> {
        self.read_response(false)
    }

    fn read_response(&mut self, head_only: bool) -> Option<Response> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                assert!(head.is_empty(), "a reply broke off: {head:?}");
                return None;
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response {
            status,
            head,
            body: Vec::new(),
        };
        let length = response
            .field("content-length")
            .map_or(0, |value| value.parse().unwrap());
        if !head_only {
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body).ok()?;
        }
        Some(response)
    }

    /// Whether the server closes the connection without another byte.
    pub fn ends(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Calls `check` until it holds.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
