//! HTTPS on the real server, with real clients: curl, Python's ssl, openssl.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{PATIENCE, PROGRAM, TempDir, body, eventually};

/// A certificate for 127.0.0.1 that signs itself, and its key, in `dir`.
fn make_identity(dir: &Path, name: &str, algorithm: &[&str]) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey"])
        .args(algorithm)
        .args([
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(dir.join(format!("{name}.key")))
        .arg("-out")
        .arg(dir.join(format!("{name}.pem")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

const ECDSA: [&str; 3] = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const RSA: [&str; 1] = ["rsa:2048"];

/// A server under TLS, ended when dropped.
struct Secure {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Secure {
    fn start(algorithm: &[&str], flags: &[&str]) -> Self {
        let dir = TempDir::new();
        make_identity(dir.path(), "first", algorithm);
        make_identity(dir.path(), "second", algorithm);
        for kind in ["pem", "key"] {
            let from = dir.path().join(format!("first.{kind}"));
            fs::copy(from, dir.path().join(format!("server.{kind}"))).unwrap();
        }
        let errors = fs::File::create(dir.path().join("stderr")).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("--tls-certificate-file")
            .arg(dir.path().join("server.pem"))
            .arg("--tls-key-file")
            .arg(dir.path().join("server.key"))
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
            .split("https://")
            .nth(1)
            .unwrap_or_else(|| panic!("{line:?}"));
        let address = address.split(' ').next().unwrap().parse().unwrap();
        Self { child, address, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// curl, which trusts `certificate` alone.
    fn curl(&self, certificate: &str, arguments: &[&str]) -> Output {
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--cacert"])
            .arg(self.path(certificate))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn figure(&self, name: &str) -> u64 {
        let output = self.curl("server.pem", &[&self.url("/stats")]);
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        ["counts", "gauges"]
            .iter()
            .find_map(|group| stats[*group].get(name))
            .unwrap_or_else(|| panic!("no figure {name} in {stats}"))
            .as_u64()
            .unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    fn lines(&self) -> usize {
        let text = fs::read_to_string(self.path("data/metrics.jsonl")).unwrap();
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        );
        text.lines().count()
    }

    fn python(&self, program: &str) -> String {
        let output = Command::new("python3")
            .args(["-c", program])
            .arg(self.address.port().to_string())
            .arg(self.path("server.pem"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{}\n{}",
            text(&output.stderr),
            self.errors()
        );
        text(&output.stdout)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn curl_posts_and_reads_under_both_versions_and_kinds_of_key() {
    for algorithm in [&ECDSA[..], &RSA[..]] {
        let server = Secure::start(algorithm, &[]);
        for version in ["1.2", "1.3"] {
            let (tls, tls_max) = (format!("--tlsv{version}"), version);
            let arguments = [
                tls.as_str(),
                "--tls-max",
                tls_max,
                "-d",
                &body("m", 3),
                &server.url("/metrics"),
            ];
            let output = server.curl("server.pem", &arguments);
            let reply = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                reply, r#"{"success":true,"metrics_processed":3}"#,
                "{version} {output:?}"
            );
        }
        let distrusted = server.curl("second.pem", &[&server.url("/health")]);
        assert_eq!(distrusted.status.code(), Some(60), "{distrusted:?}");
        assert_eq!(server.lines(), 6);
        // Those of curl, and the one that asks.
        assert!(server.figure("tls_handshakes") >= 3);
    }
}

/// Python's own TLS and HTTP: what it sends and expects, over `s`, a connected TLS socket.
const PYTHON: &str = r"
import json, socket, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=ca)
context.set_alpn_protocols(['http/1.1'])
def connect(buffer=None):
    raw = socket.socket()
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    raw.settimeout(30)
    raw.connect(('127.0.0.1', port))
    # An end without the goodbye of TLS is an error.
    return context.wrap_socket(raw, server_hostname='127.0.0.1', suppress_ragged_eofs=False)
def post(body):
    return b'POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % len(body) + body
def body(count):
    return json.dumps({'metrics': [{'name': 'm', 'value': i} for i in range(count)]}).encode()
def reply(file):
    status = int(file.readline().split()[1])
    length = 0
    for line in iter(file.readline, b'\r\n'):
        name, _, value = line.partition(b':')
        if name.lower() == b'content-length':
            length = int(value)
    return status, file.read(length)
";

#[test]
fn requests_of_any_size_and_cut_pass_in_order_on_one_connection() {
    let server = Secure::start(&ECDSA, &["--client-requests-per-second-max=0"]);
    let program = r"
s = connect()
assert s.selected_alpn_protocol() == 'http/1.1'
file = s.makefile('rb')
# One at a time, from one record to many.
for count in [1, 2, 300, 1000, 9999]:
    s.sendall(post(body(count)))
    assert reply(file) == (200, b'{\x22success\x22:true,\x22metrics_processed\x22:%d}' % count), count
# A byte a record.
for byte in post(body(1)):
    s.sendall(bytes([byte]))
assert reply(file)[0] == 200
# Many in one write: more than one turn takes.
s.sendall(post(body(2)) * 700)
for _ in range(700):
    assert reply(file)[0] == 200
print('ok')
";
    assert_eq!(server.python(&format!("{PYTHON}{program}")), "ok\n");
    assert_eq!(server.lines(), 1 + 2 + 300 + 1000 + 9999 + 1 + 1400);
}

#[test]
fn a_slow_reader_gets_every_reply_and_a_goodbye() {
    let server = Secure::start(&ECDSA, &[]);
    let program = r"
import time
s = connect(buffer=4096)
get = b'GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n'
count = 800
s.sendall(get * (count - 1) + get.replace(b'Host', b'Connection: close\r\nHost'))
time.sleep(1)
file = s.makefile('rb')
total = 0
for _ in range(count):
    status, page = reply(file)
    assert status == 200 and page.endswith(b'\n'), status
    total += len(page)
# Not a cut: Python raises an error when TLS does not say goodbye.
assert s.recv(1) == b''
assert total > 2_000_000, total
print('ok')
";
    assert_eq!(server.python(&format!("{PYTHON}{program}")), "ok\n");
}

#[test]
fn what_waits_encrypted_when_a_reply_ends_is_sent_too() {
    let server = Secure::start(&ECDSA, &[]);
    // How much the kernel and TLS take for a client that does not read; then replies that end about there.
    let program = r"
import time
get = b'GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n'
last = get.replace(b'Host', b'Connection: close\r\nHost')
def stats():
    s = connect()
    s.sendall(b'GET /stats HTTP/1.1\r\nHost: t\r\n\r\n')
    return json.loads(reply(s.makefile('rb'))[1])
def page():
    s = connect()
    s.sendall(last)
    return len(s.makefile('rb').read())
size = page()
before = stats()['counts']['sent_bytes']
full = connect(buffer=4096)
full.sendall(get * 1500)
taken, now = 0, before
# Until no more is taken than what asking takes.
while now - taken > 65536:
    time.sleep(0.5)
    taken, now = now, stats()['counts']['sent_bytes']
fits = (now - before) // size
assert fits < 1400, (fits, size)
full.close()
for count in range(max(1, fits - 24), fits + 6, 2):
    s = connect(buffer=4096)
    s.sendall(get * (count - 1) + last)
    time.sleep(0.15)
    replies = s.makefile('rb').read()
    assert replies.count(b'HTTP/1.1 200 ') == count, (count, replies.count(b'HTTP/1.1 200 '))
print('ok')
";
    assert_eq!(server.python(&format!("{PYTHON}{program}")), "ok\n");
}

#[test]
fn the_goodbye_of_a_client_is_answered_and_ends_the_connection() {
    let server = Secure::start(&ECDSA, &[]);
    let program = r"
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname='127.0.0.1')
raw = socket.create_connection(('127.0.0.1', port), timeout=30)
def pump(step):
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            if outgoing.pending:
                raw.sendall(outgoing.read())
            data = raw.recv(65536)
            assert data, 'ended'
            incoming.write(data)
pump(tls.do_handshake)
# The goodbye in the same flight as the request; the socket stays open.
tls.write(post(body(5)))
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
raw.sendall(outgoing.read())
seen = b''
while True:
    data = raw.recv(65536)
    if not data:
        break
    incoming.write(data)
    seen += data
assert seen
print('ok')
";
    let begun = Instant::now();
    assert_eq!(server.python(&format!("{PYTHON}{program}")), "ok\n");
    // Not the idle timeout of 75 s.
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(server.lines() >= 5);
}

#[test]
fn what_is_no_handshake_or_never_ends_is_closed_and_counted() {
    let server = Secure::start(&ECDSA, &["--request-timeout-ms", "400"]);
    let ended_after = |send: &[u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(send).unwrap();
        let begun = Instant::now();
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut rest);
        (begun.elapsed(), rest)
    };
    // Plain HTTP: the alert of TLS, at once.
    let (after, rest) = ended_after(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(after < Duration::from_millis(380), "{after:?}");
    assert!(rest.first().is_none_or(|kind| *kind == 21), "{rest:?}");
    // Nothing, and the beginning of something: at the deadline.
    for start in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let (after, rest) = ended_after(start);
        assert!(
            after >= Duration::from_millis(380) && after < Duration::from_secs(20),
            "{after:?}"
        );
        assert!(
            rest.first().is_none_or(|kind| *kind == 21),
            "no HTTP in clear: {rest:?}"
        );
    }
    // After the handshake it is the idle timeout that counts, until a request begins.
    let program = r"
import time
s = connect()
time.sleep(1.2)
s.sendall(post(body(1)))
print(reply(s.makefile('rb'))[0])
";
    assert_eq!(server.python(&format!("{PYTHON}{program}")), "200\n");
    eventually("three failed handshakes", || {
        server.figure("tls_handshakes_failed") == 3
    });
}

#[test]
fn a_reload_changes_the_certificate_and_fails_nothing() {
    let server = Secure::start(&ECDSA, &[]);
    let verdict = |files: &str| {
        for kind in ["pem", "key"] {
            fs::copy(
                server.path(&format!("{files}.{kind}")),
                server.path(&format!("server.{kind}")),
            )
            .unwrap();
        }
        let before = server.errors().len();
        server.signal("-HUP");
        let said = || server.errors()[before..].to_owned();
        eventually("a verdict", || said().contains("reload"));
        eventually("a whole line", || said().ends_with('\n'));
        said()
    };
    let trusts = |name: &str| server.curl(name, &[&server.url("/health")]).status.success();
    assert!(trusts("first.pem") && !trusts("second.pem"));
    // A connection of before goes on under what it was begun with.
    let mut old = Command::new("python3")
        .args([
            "-c",
            &format!(
                "{PYTHON}
s = connect()
file = s.makefile('rb')
for line in sys.stdin:
    s.sendall(post(body(1)))
    print(reply(file)[0], flush=True)
"
            ),
        ])
        .arg(server.address.port().to_string())
        .arg(server.path("first.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(old.stdout.take().unwrap());
    let mut ask = |old: &mut Child| {
        old.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(ask(&mut old), "200\n");
    assert!(verdict("second").contains(" reloaded "));
    assert!(!trusts("first.pem") && trusts("second.pem"));
    assert_eq!(ask(&mut old), "200\n");
    // A key that does not belong to the certificate: refused, and everything as it was.
    fs::copy(server.path("first.key"), server.path("mixed.key")).unwrap();
    fs::copy(server.path("second.pem"), server.path("mixed.pem")).unwrap();
    let said = verdict("mixed");
    assert!(
        said.contains("the reload is refused") && said.contains("cannot be used together"),
        "{said}"
    );
    fs::write(server.path("broken.key"), "no key").unwrap();
    fs::copy(server.path("first.pem"), server.path("broken.pem")).unwrap();
    let said = verdict("broken");
    assert!(
        said.contains("--tls-key-file") && !said.contains("no key\""),
        "{said}"
    );
    assert!(!trusts("first.pem") && trusts("second.pem"));
    drop(old.stdin.take());
    assert!(old.wait().unwrap().success());
}

#[test]
fn a_server_refuses_to_start_with_half_of_an_identity() {
    let dir = TempDir::new();
    make_identity(dir.path(), "one", &ECDSA);
    let run = |flags: &[&str]| {
        let output = Command::new(PROGRAM)
            .arg("check")
            .args(flags)
            .current_dir(dir.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["--tls-certificate-file", "one.pem"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--tls-key-file is not: TLS needs both"), "{said}");
    let (code, said) = run(&["--tls-certificate-file", "one.key", "--tls-key-file", "one.key"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--tls-certificate-file one.key: it holds no certificate"),
        "{said}"
    );
    let (code, said) = run(&["--tls-certificate-file", "one.pem", "--tls-key-file", "none.key"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("cannot read --tls-key-file none.key"), "{said}");
    let (code, said) = run(&["--tls-certificate-file", "one.pem", "--tls-key-file", "one.key"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
}
