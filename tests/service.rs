//! The real server under a service manager that is this test: told over a datagram socket, handed a listening
//! socket, stopped under load.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Client, PATIENCE, PROGRAM, TempDir, body, eventually, post};

/// A service manager's end of the line.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    /// The next message that begins with `start`; status and watchdog messages in between are passed over.
    fn expect(&self, start: &str) -> String {
        loop {
            let message = self.message();
            if message.starts_with(start) {
                return message;
            }
            assert!(
                message.starts_with("STATUS=") || message.starts_with("WATCHDOG=1"),
                "{message:?} where {start:?} was due"
            );
        }
    }

    fn message(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The program with the line, in `dir`.
    fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.dir.path().join("data"))
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("data/metrics.jsonl")).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// A process that is ended when dropped.
struct Process(Child);

impl Process {
    fn start(mut command: Command) -> (Self, SocketAddr) {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line:?}"));
        let address = address.split(' ').next().unwrap().parse().unwrap();
        (Self(child), address)
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_manager_is_told_of_every_change_of_state() {
    let manager = Manager::new();
    let settings = manager.dir.path().join("m.toml");
    std::fs::write(&settings, "").unwrap();
    let mut command = manager.command(&[]);
    command.arg("--config").arg(&settings);
    let (mut server, address) = Process::start(command);
    let ready = manager.expect("READY=1\nSTATUS=serving: ");
    assert!(
        ready.ends_with("0 connections, 0 metrics acknowledged"),
        "{ready}"
    );
    let mut client = Client::connect(address);
    client.send(&post(&body("m", 7)));
    assert_eq!(client.response().status, 200);
    eventually("the status goes with the server", || {
        manager.message() == "STATUS=serving: 1 connections, 7 metrics acknowledged"
    });
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime_s: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    server.signal("-HUP");
    let reloading = manager.expect("RELOADING=1\nMONOTONIC_USEC=");
    let micros: f64 = reloading.lines().nth(1).unwrap()[15..].parse().unwrap();
    assert!(
        (micros / 1e6 - uptime_s).abs() < 600.0,
        "{reloading} at {uptime_s} s"
    );
    manager.expect("READY=1\nSTATUS=serving: ");
    std::fs::write(&settings, "workers = 'x'\n").unwrap();
    server.signal("-HUP");
    manager.expect("RELOADING=1");
    manager.expect("READY=1\nSTATUS=the reload was refused");
    server.signal("-TERM");
    manager.expect("STOPPING=1");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_until_the_process_hangs() {
    let manager = Manager::new();
    let (server, _) = Process::start(manager.command(&[("WATCHDOG_USEC", "1200000")]));
    manager.expect("READY=1");
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
    // Stopped as a whole, it says nothing; what a single hung thread does is tested in the watchdog itself.
    server.signal("-STOP");
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(1500)))
        .unwrap();
    let mut buffer = [0; 4096];
    let drained = (0..10)
        .take_while(|_| manager.socket.recv(&mut buffer).is_ok())
        .count();
    assert!(drained < 5, "{drained} messages of a stopped process");
    server.signal("-CONT");
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.expect("WATCHDOG=1");
}

#[test]
fn another_processes_watchdog_is_not_fed() {
    let manager = Manager::new();
    let variables = [("WATCHDOG_USEC", "400000"), ("WATCHDOG_PID", "1")];
    let (mut server, _) = Process::start(manager.command(&variables));
    manager.expect("READY=1");
    thread::sleep(Duration::from_millis(500));
    server.signal("-TERM");
    loop {
        let message = manager.message();
        assert!(!message.starts_with("WATCHDOG"), "{message}");
        if message.starts_with("STOPPING=1") {
            break;
        }
    }
    assert_eq!(server.exit_code(), Some(0));
}

/// Clients that post one metric after another, each with a name of its own, until the server is gone; the
/// names acknowledged.
fn load(address: SocketAddr, acknowledged: &Arc<AtomicUsize>) -> Vec<thread::JoinHandle<Vec<String>>> {
    let client = |number: usize| {
        let acknowledged = Arc::clone(acknowledged);
        move || {
            let mut names = Vec::new();
            let mut asked = 0;
            while let Some(mut client) = Client::try_connect(address) {
                loop {
                    let name = format!("c{number}.n{asked}");
                    asked += 1;
                    if !client.try_send(&post(&body(&name, 1))) {
                        break;
                    }
                    match client.try_response() {
                        Some(reply) if reply.status == 200 => {
                            names.push(name);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
                        None => break,
                    }
                }
            }
            names
        }
    };
    (0..8).map(|number| thread::spawn(client(number))).collect()
}

#[test]
fn a_stop_under_load_loses_no_acknowledged_line() {
    for level in ["written", "synced", "queued"] {
        let manager = Manager::new();
        let mut command = manager.command(&[]);
        command.args(["--ack-level", level, "--client-requests-per-second-max=0"]);
        let (mut server, address) = Process::start(command);
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let clients = load(address, &acknowledged);
        eventually("a load", || acknowledged.load(Ordering::Relaxed) > 500);
        server.signal("-TERM");
        assert_eq!(server.exit_code(), Some(0), "{level}");
        let stored = manager.lines();
        let stored: std::collections::HashSet<_> = stored
            .iter()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["name"].as_str().unwrap().to_owned()
            })
            .collect();
        for client in clients {
            for name in client.join().unwrap() {
                assert!(
                    stored.contains(&name),
                    "{level}: {name} was acknowledged and is gone"
                );
            }
        }
    }
}

#[test]
fn a_second_signal_ends_a_stop_that_waits_and_a_deadline_does_too() {
    // A request that never becomes whole holds the stop.
    let hold = |address| {
        let mut client = Client::connect(address);
        client.send(b"POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n{");
        thread::sleep(Duration::from_millis(100));
        client
    };
    let manager = Manager::new();
    let (mut server, address) = Process::start(manager.command(&[]));
    let held = hold(address);
    server.signal("-TERM");
    manager.expect("READY=1");
    manager.expect("STOPPING=1");
    // SIGHUP means nothing any more.
    server.signal("-HUP");
    thread::sleep(Duration::from_millis(200));
    assert!(server.0.try_wait().unwrap().is_none(), "it waits for the client");
    server.signal("-INT");
    assert_eq!(server.exit_code(), Some(130));
    drop(held);
    let mut command = manager.command(&[]);
    command.args(["--stop-timeout-ms", "300"]);
    let (mut server, address) = Process::start(command);
    let _held = hold(address);
    let begun = Instant::now();
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

/// The program with `listener` as descriptor 3, as a service manager starts it: the shell keeps its process
/// id over exec, and that is what `LISTEN_PID` has to be.
fn activated(dir: &Path, listener: &TcpListener, names: Option<&str>) -> Command {
    let socket: OwnedFd = listener.try_clone().unwrap().into();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null",
            PROGRAM,
        ])
        .args(["serve", "--listen", "127.0.0.1:1", "--data-dir"])
        .arg(dir.join("data"))
        .stdin(socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(names) = names {
        command.env("LISTEN_FDNAMES", names);
    }
    command
}

#[test]
fn an_upgrade_over_a_passed_socket_refuses_no_connection_and_loses_no_line() {
    let dir = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut old, announced) = Process::start(activated(dir.path(), &listener, Some("http")));
    assert_eq!(announced, address, "the socket passed and not --listen");
    let mut before = Client::connect(address);
    before.send(&post(&body("before", 1)));
    assert_eq!(before.response().status, 200);
    old.signal("-TERM");
    assert_eq!(old.exit_code(), Some(0));
    // Nobody runs: the socket takes the connection and the request, and they wait.
    let mut between = Client::connect(address);
    between.send(&post(&body("between", 1)));
    let (mut new, _) = Process::start(activated(dir.path(), &listener, None));
    assert_eq!(between.response().status, 200);
    new.signal("-TERM");
    assert_eq!(new.exit_code(), Some(0));
    let text = std::fs::read_to_string(dir.path().join("data/metrics.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_passed_socket_that_cannot_be_used_is_refused() {
    let dir = TempDir::new();
    let connected = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(connected.local_addr().unwrap()).unwrap();
    let mut command = Command::new("sh");
    let output = command
        .args([
            "-c",
            "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null",
            PROGRAM,
        ])
        .args(["serve", "--data-dir"])
        .arg(dir.path().join("data"))
        .stdin(OwnedFd::from(client))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("the socket passed by the service manager"),
        "{errors}"
    );
}

#[test]
fn a_limit_of_file_sizes_is_a_disk_that_is_full_and_not_the_end() {
    let Some(prlimit) = support::tool("prlimit") else {
        return;
    };
    let mut server = support::Server::start(&[]);
    let status = || server.post(&body("m", 1)).status;
    let limit = |bytes: &str| {
        let mut command = Command::new(&prlimit);
        command.args(["--pid", &server.pid().to_string()]);
        let done = command.arg(format!("--fsize={bytes}:unlimited")).status();
        assert!(done.unwrap().success());
    };
    assert_eq!(status(), 200);
    limit("1");
    assert_eq!(status(), 503);
    limit("unlimited");
    eventually("it stores again", || status() == 200);
    assert!(server.stop().success());
}
