//! The files of `deploy/`, by the programs that read them: systemd's own checks, nginx and HAProxy before a
//! real server. Ports, paths and addresses take the place of those of an installation; nothing else differs.
//!
//! A tool that is not installed skips its test and says so; with `CI=true` it fails instead.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::{PROGRAM, Server, TempDir, body, eventually, tool};

const NO_RATE_LIMIT: &str = "--client-requests-per-second-max=0";

/// A file of `deploy/` with each of `replaced` put in place of what it stands for, which must be there.
fn deployed(name: &str, replaced: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A process that is ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for 127.0.0.1 and its key, as the fronts want them.
fn make_identity(dir: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=front"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(dir.join("privkey.pem"))
        .arg("-out")
        .arg(dir.join("fullchain.pem"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let both = ["fullchain.pem", "privkey.pem"].map(|name| fs::read_to_string(dir.join(name)).unwrap());
    fs::write(dir.join("haproxy.pem"), both.concat()).unwrap();
}

/// curl through a front at `address`: the status and the body.
fn curl(dir: &Path, address: SocketAddr, path: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--cacert"])
        .arg(dir.join("fullchain.pem"))
        .args(["--write-out", "\n%{http_code} HTTP/%{http_version}"])
        .args(arguments)
        .arg(format!("https://{address}{path}"))
        .output()
        .unwrap();
    let text = said(&output);
    let (reply, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), reply.to_owned())
}

/// What both fronts let through, and what not.
fn check_front(server: &Server, dir: &Path, address: SocketAddr) {
    let success = |count| format!("{{\"success\":true,\"metrics_processed\":{count}}}");
    let bearer = ["-H", "Authorization: Bearer t-one"];
    let post = |metrics: usize| {
        let data = dir.join("data");
        fs::write(&data, body("m", metrics)).unwrap();
        let data = format!("@{}", data.display());
        curl(
            dir,
            address,
            "/metrics",
            &[&bearer[..], &["--data-binary", &data]].concat(),
        )
    };
    for metrics in [1, 300, 9000] {
        assert_eq!(post(metrics), ("200 HTTP/1.1".to_owned(), success(metrics)));
    }
    let refused = curl(
        dir,
        address,
        "/metrics",
        &["-H", "Authorization: Bearer other", "-d", "{}"],
    );
    assert!(
        refused.0.starts_with("401") && refused.1.contains("unauthenticated"),
        "{refused:?}"
    );
    assert!(curl(dir, address, "/health", &[]).0.starts_with("200"));
    for path in ["/stats", "/", "/ready"] {
        assert!(curl(dir, address, path, &[]).0.starts_with("404"), "{path}");
    }
    let read = curl(dir, address, "/metrics", &[]).0;
    assert!(read.starts_with("403") || read.starts_with("405"), "{read}");
    assert_eq!(server.lines().len(), 9301);
    // Many requests of one client over few connections to the server.
    let accepted = server.figure("connections_accepted");
    let data = dir.join("data");
    fs::write(&data, body("m", 1)).unwrap();
    let data = format!("@{}", data.display());
    let url = format!("https://{address}/metrics");
    let mut arguments = [&bearer[..], &["--data-binary", &data]].concat();
    arguments.extend([url.as_str(); 9]);
    let (_, replies) = curl(dir, address, "/metrics", &arguments);
    assert_eq!(replies.matches(&success(1)).count(), 10, "{replies}");
    let more = server.figure("connections_accepted") - accepted;
    assert!(more <= 3, "{more} connections for ten requests");
}

fn server_with_token() -> Server {
    let dir = TempDir::new();
    let tokens = dir.path().join("tokens");
    fs::write(&tokens, "one t-one\n").unwrap();
    Server::start_in(dir, &[NO_RATE_LIMIT, "--tokens-file", tokens.to_str().unwrap()])
}

#[test]
fn nginx_as_it_is_deployed_serves_https() {
    let Some(nginx) = tool("nginx") else { return };
    let server = server_with_token();
    let dir = TempDir::new();
    make_identity(dir.path());
    let (at, address) = (dir.path().to_str().unwrap(), free_address());
    let front = deployed(
        "nginx/metricstream.conf",
        &[
            ("127.0.0.1:8080", &server.address.to_string()),
            ("listen 443 ssl", &format!("listen {address} ssl")),
            ("    listen [::]:443 ssl;\n", ""),
            ("/etc/metricstream/tls", at),
        ],
    );
    fs::write(dir.path().join("front.conf"), front).unwrap();
    let around = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; include {at}/front.conf; }}\n"
    );
    let settings = dir.path().join("nginx.conf");
    fs::write(&settings, around).unwrap();
    let arguments = ["-p", at, "-c", settings.to_str().unwrap()];
    let checked = Command::new(&nginx).args(arguments).arg("-t").output().unwrap();
    let text = said(&checked);
    assert!(checked.status.success() && !text.contains("[warn]"), "{text}");
    let child = Command::new(&nginx).args(arguments).stderr(Stdio::null()).spawn();
    let _nginx = Process(child.unwrap());
    eventually("nginx listens", || TcpStream::connect(address).is_ok());
    check_front(&server, dir.path(), address);
}

#[test]
fn haproxy_as_it_is_deployed_serves_https_and_heeds_readiness() {
    let Some(haproxy) = tool("haproxy") else { return };
    let mut server = server_with_token();
    let dir = TempDir::new();
    make_identity(dir.path());
    let (at, address) = (dir.path().to_str().unwrap(), free_address());
    let front = deployed(
        "haproxy/haproxy.cfg",
        &[
            ("127.0.0.1:8080", &server.address.to_string()),
            ("bind :443", &format!("bind {address}")),
            ("/etc/metricstream/tls", at),
            // The client that is compared below speaks HTTP/1.1 to both fronts.
            ("alpn h2,http/1.1", "alpn http/1.1"),
            ("maxconn 20000", "maxconn 200"),
        ],
    );
    let settings = dir.path().join("haproxy.cfg");
    fs::write(&settings, front).unwrap();
    let checked = Command::new(&haproxy)
        .arg("-c")
        .arg("-f")
        .arg(&settings)
        .output()
        .unwrap();
    let text = said(&checked);
    assert!(checked.status.success() && !text.contains("WARNING"), "{text}");
    let mut command = Command::new(&haproxy);
    command.arg("-f").arg(&settings);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _haproxy = Process(child.unwrap());
    eventually("haproxy serves", || {
        TcpStream::connect(address).is_ok() && curl(dir.path(), address, "/health", &[]).0.starts_with("200")
    });
    check_front(&server, dir.path(), address);
    assert!(server.stop().success());
    eventually("haproxy says that nobody is there", || {
        curl(dir.path(), address, "/health", &[]).0.starts_with("503")
    });
}

/// The units in a directory of their own, with paths that are there on this machine.
fn units(dir: &Path) -> PathBuf {
    let settings = dir.join("metricstream.toml");
    fs::write(&settings, deployed("metricstream.toml", &[])).unwrap();
    let service = deployed(
        "systemd/metricstream.service",
        &[
            ("/usr/bin/metricstream", PROGRAM),
            ("/etc/metricstream/metricstream.toml", settings.to_str().unwrap()),
        ],
    );
    fs::write(dir.join("metricstream.service"), service).unwrap();
    fs::write(
        dir.join("metricstream.socket"),
        deployed("systemd/metricstream.socket", &[]),
    )
    .unwrap();
    dir.join("metricstream.service")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_exposed() {
    let Some(analyze) = tool("systemd-analyze") else {
        return;
    };
    let dir = TempDir::new();
    let service = units(dir.path());
    let output = Command::new(&analyze)
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&service)
        .arg(dir.path().join("metricstream.socket"))
        .output()
        .unwrap();
    assert!(
        output.status.success() && said(&output).is_empty(),
        "{}",
        said(&output)
    );
    // 10 is everything exposed, 0 nothing; the threshold is in tenths.
    let output = Command::new(&analyze)
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(&service)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_settings_deployed_are_right() {
    let dir = TempDir::new();
    let settings = dir.path().join("metricstream.toml");
    // With what is commented out, too: the files are those of an installation.
    let text = deployed("metricstream.toml", &[]);
    fs::write(&settings, &text).unwrap();
    let check = || {
        let output = Command::new(PROGRAM)
            .arg("check")
            .arg("--config")
            .arg(&settings)
            .output();
        output.unwrap()
    };
    assert!(check().status.success(), "{}", said(&check()));
    make_identity(dir.path());
    fs::write(dir.path().join("tokens"), "one t-one 5\n").unwrap();
    let at = dir.path().to_str().unwrap();
    let all = text
        .replace("# tokens_file", "tokens_file")
        .replace("# tls_", "tls_")
        .replace("/etc/metricstream/tls", at)
        .replace("/etc/metricstream", at);
    assert!(all.contains("\ntls_key_file") && all.contains("\ntokens_file"));
    fs::write(&settings, all).unwrap();
    assert!(check().status.success(), "{}", said(&check()));
}

#[test]
fn the_socket_of_systemd_starts_the_server_and_is_served() {
    let Some(activate) = tool("systemd-socket-activate") else {
        return;
    };
    let dir = TempDir::new();
    let address = free_address();
    let mut command = Command::new(activate);
    command
        .args([
            "--listen",
            &address.to_string(),
            "--fdname=http",
            PROGRAM,
            "serve",
            "--data-dir",
        ])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = Process(command.spawn().unwrap());
    let mut client = None;
    eventually("the socket is there", || {
        client = support::Client::try_connect(address);
        client.is_some()
    });
    // The first connection starts the server, which finds it in the backlog.
    let mut client = client.unwrap();
    assert!(client.try_send(&support::post(&body("m", 4))));
    assert_eq!(client.response().status, 200);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains(&format!("http://{address} ")), "{line}");
}
