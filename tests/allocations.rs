//! No heap allocation a request in steady state: the real server, all of its threads, counted.
//!
//! The server runs in this process, which has a global allocator that counts ([`counting`]). Clients, whose
//! threads are exempt, drive it over connections that stay open, round after round of the same requests. A
//! buffer grows until it has met the most that it has to hold: a round in which one grew is repeated. So a
//! case holds when a whole round passes without one allocation on any thread that serves, after growth that
//! is bounded by [`GROWTH_MAX`], far less than one for each request.
//!
//! The housekeeper's readings, one a second, are counted apart and held to a bound for each.
//!
//! Run with `METRICSTREAM_ALLOCATIONS_TRACE=1 ... -- --nocapture` to see where an allocation is made, and
//! with `--nocapture` alone for the figures of benches/README.md.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod counting;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use counting::Asked;
use metricstream::app::App;
use metricstream::config::Settings;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{Client, TempDir};

/// Connections, each with a thread of its own.
const CLIENTS: usize = 4;

/// Rounds of one case, at most.
const ROUNDS_MAX: usize = 40;

/// Allocations of one case before its clean round, at most: buffers double, so each grows a few times.
const GROWTH_MAX: usize = 400;

/// Allocations of the housekeeper for each of its readings, at most: once a second.
const READING_MAX: usize = 200;

/// The thread that takes readings.
const HOUSEKEEPER: &str = "housekeeper";

/// One test at a time has the allocator's eye.
static WATCH: Mutex<()> = Mutex::new(());

/// A server in this process.
struct Running {
    app: Option<App>,
    _dir: TempDir,
    began: Instant,
    /// Allocations of the housekeeper while it was watched.
    housekeeping: usize,
    _watch: MutexGuard<'static, ()>,
}

impl Running {
    fn start(files: &[(&str, &str)], flags: &[&str]) -> Self {
        let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        counting::exempt();
        let dir = TempDir::new();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mut all = vec![
            "--listen=127.0.0.1:0".to_owned(),
            "--data-dir".to_owned(),
            at("data"),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        all.extend(files.iter().map(|(name, _)| format!("--{name}={}", at(name))));
        let config = Settings::from_flags(all).unwrap().check(2).unwrap();
        Self {
            app: Some(App::start(&config, None).unwrap()),
            _dir: dir,
            began: Instant::now(),
            housekeeping: 0,
            _watch: watch,
        }
    }

    fn app(&self) -> &App {
        self.app.as_ref().expect("until it is dropped")
    }

    fn connect(&self) -> Client {
        Client::connect(self.app().address())
    }

    fn received_bytes(&self) -> u64 {
        self.app().shared().stats.received_bytes.get()
    }

    /// Waits until all that the log accepted is written.
    fn settle(&self) {
        let log = self.app().log();
        log.wait_settled(log.status().accepted).unwrap();
    }

    /// Repeats rounds of `exchange`, `times` on each connection, until one allocates nothing.
    fn hold(
        &mut self,
        case: &str,
        clients: &mut [Client],
        times: usize,
        exchange: impl Fn(&Self, usize, &mut Client) + Sync,
    ) {
        let mut grown = Vec::new();
        for round in 1..=ROUNDS_MAX {
            let (housekeeping, serving) = apart(measure(clients, times, |index, client| {
                exchange(self, index, client);
            }));
            self.housekeeping += housekeeping;
            if serving.is_empty() {
                let (growth, exchanges) = (grown.len(), times * clients.len());
                eprintln!("{case}: 0 allocations in {exchanges} exchanges, round {round}; {growth} before");
                return;
            }
            grown.extend(serving);
            assert!(
                grown.len() <= GROWTH_MAX,
                "{case}: after {round} rounds of {} exchanges: {}",
                times * clients.len(),
                shown(&grown)
            );
        }
        panic!("{case}: no clean round of {ROUNDS_MAX}: {}", shown(&grown));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let report = self.app.take().map(App::stop);
        if thread::panicking() {
            return;
        }
        assert!(report.is_some_and(|report| report.log_complete));
        let readings = usize::try_from(self.began.elapsed().as_secs()).unwrap() + 2;
        eprintln!(
            "housekeeper: {} allocations in {readings} readings at most",
            self.housekeeping
        );
        assert!(
            self.housekeeping <= readings * READING_MAX,
            "{} allocations of the housekeeper in {readings} readings at most",
            self.housekeeping
        );
    }
}

/// What was asked for while every client made its exchanges.
fn measure(clients: &mut [Client], times: usize, exchange: impl Fn(usize, &mut Client) + Sync) -> Vec<Asked> {
    // Threads allocate when they start and when they end: both outside of what is watched.
    let gate = Barrier::new(clients.len() + 1);
    thread::scope(|scope| {
        for (index, client) in clients.iter_mut().enumerate() {
            let (gate, exchange) = (&gate, &exchange);
            scope.spawn(move || {
                counting::exempt();
                gate.wait();
                gate.wait();
                let run = || (0..times).for_each(|_| exchange(index, client));
                let outcome = catch_unwind(AssertUnwindSafe(run));
                gate.wait();
                gate.wait();
                outcome.unwrap_or_else(|panic| resume_unwind(panic));
            });
        }
        gate.wait();
        counting::start();
        gate.wait();
        gate.wait();
        let asked = counting::stop();
        gate.wait();
        asked
    })
}

/// How many of the housekeeper, and those of the threads that serve. Other tests begin and end meanwhile, on
/// the main thread and on threads that have their names, with underscores; the server's have none.
fn apart(asked: Vec<Asked>) -> (usize, Vec<Asked>) {
    let of_tests = |thread: &str| thread == "main" || thread.contains('_');
    let all = asked.into_iter().filter(|asked| !of_tests(&asked.thread));
    let (housekeeping, serving): (Vec<_>, Vec<_>) = all.partition(|asked| asked.thread == HOUSEKEEPER);
    (housekeeping.len(), serving)
}

/// How many, of which size, on which thread.
fn shown(asked: &[Asked]) -> String {
    let mut counts = BTreeMap::new();
    for one in asked {
        *counts.entry(one).or_insert(0) += 1;
    }
    let rows: Vec<_> = counts
        .iter()
        .map(|(Asked { thread, bytes }, count)| format!("{thread}: {count} of {bytes} bytes"))
        .collect();
    format!("{} allocations\n{}", asked.len(), rows.join("\n"))
}

/// A body of `count` metrics as agents send them, some hundred bytes each.
fn body(count: usize) -> String {
    let metrics: Vec<_> = (0..count)
        .map(|n| {
            format!(
                "{{\"name\":\"http.requests\",\"value\":{n}.25,\"type\":\"counter\",\
                 \"tags\":{{\"host\":\"web-{}\",\"region\":\"eu-west\"}}}}",
                n % 16
            )
        })
        .collect();
    format!("{{\"metrics\":[{}]}}", metrics.join(","))
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    support::post_as(fields, body)
}

/// Calls `check` until it holds, at once: a test that waits for each piece of a request cannot sleep.
fn until(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + support::PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

fn accepted(client: &mut Client) {
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn the_allocator_counts_what_each_thread_asks_for() {
    let _watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    counting::exempt();
    let ask = || {
        let mut grown = black_box(Vec::<u8>::with_capacity(12_301));
        grown.extend_from_slice(&[1; 12_302]);
        black_box((vec![0_u8; 12_303], grown));
    };
    let named = |name: &str, body: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            let builder = thread::Builder::new().name(name.to_owned());
            builder.spawn_scoped(scope, body).unwrap().join().unwrap();
        });
    };
    counting::start();
    named("counted", &ask);
    named("exempt", &|| {
        counting::exempt();
        ask();
    });
    ask();
    let asked = counting::stop();
    ask();
    let sizes: Vec<_> = asked
        .iter()
        .filter(|asked| (12_301..=24_602).contains(&asked.bytes))
        .map(|asked| (asked.thread.as_str(), asked.bytes))
        .collect();
    let expected = [12_301, 24_602, 12_303].map(|bytes| ("counted", bytes));
    assert_eq!(sizes, expected, "by alloc, realloc and alloc_zeroed");
    assert!(counting::stop().is_empty());
}

const TOKENS: &str = "one secret-one\ntwo secret-two\nthree secret-three 1000000\nfour secret-four\n";

/// The field by which each of the clients names itself.
fn credential(index: usize) -> String {
    let token = ["one", "two", "three", "four"][index];
    format!("Authorization: Bearer secret-{token}\r\n")
}

/// On, and never reached.
const RATE_LIMIT: &str = "--client-requests-per-second-max=1000000";

#[test]
fn a_request_by_token_allocates_nothing_at_any_level() {
    let mut server = Running::start(&[("tokens-file", TOKENS)], &[RATE_LIMIT]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (metrics, times) in [(3, 500), (100, 100), (1000, 25)] {
        let body = body(metrics);
        for level in ["queued", "written", "synced"] {
            let requests: Vec<_> = (0..CLIENTS)
                .map(|index| {
                    let fields = format!("{}Metricstream-Ack: {level}\r\n", credential(index));
                    post(&fields, &body)
                })
                .collect();
            let case = format!("{metrics} metrics, {level}");
            // On a busy disk a flush takes so long that the limiter's window, which gives memory back when a
            // client gets slower, would change its size in many a round.
            let times = if level == "synced" { times.min(25) } else { times };
            server.hold(&case, &mut clients, times, |server, index, client| {
                client.send(&requests[index]);
                accepted(client);
                if level == "queued" {
                    // Otherwise the queue is as long as the writer is late.
                    server.settle();
                }
            });
        }
    }
}

#[test]
fn an_anonymous_request_allocates_nothing_however_it_arrives() {
    let mut server = Running::start(&[], &[RATE_LIMIT]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let few = post("", &body(3));
    server.hold("3 metrics, anonymous", &mut clients, 500, |_, _, client| {
        client.send(&few);
        accepted(client);
    });
    let named = post("X-Request-Id: 0123456789abcdef\r\n", &body(3));
    server.hold("3 metrics, with a name", &mut clients, 100, |_, _, client| {
        client.send(&named);
        accepted(client);
    });
    let text = body(100);
    let chunked = format!(
        "POST /metrics HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
        text.len()
    );
    server.hold("100 metrics, chunked", &mut clients, 100, |_, _, client| {
        client.send(chunked.as_bytes());
        accepted(client);
    });
    for depth in [4, 16, 200] {
        let piped = few.repeat(depth);
        let case = format!("{depth} requests of 3 metrics at once");
        server.hold(&case, &mut clients, 1000 / depth, |_, _, client| {
            client.send(&piped);
            (0..depth).for_each(|_| accepted(client));
        });
    }
}

#[test]
fn a_request_that_arrives_in_pieces_allocates_nothing() {
    let mut server = Running::start(&[], &[RATE_LIMIT]);
    let mut clients = [server.connect()];
    for metrics in [3, 100, 1000] {
        let whole = post("", &body(metrics));
        let pieces: Vec<_> = whole.chunks(whole.len() / 3 + 1).collect();
        let case = format!("{metrics} metrics in {} pieces", pieces.len());
        server.hold(&case, &mut clients, 50, |server, _, client| {
            for piece in &pieces {
                let before = server.received_bytes();
                client.send(piece);
                until("the server has it", || {
                    server.received_bytes() >= before + piece.len() as u64
                });
            }
            accepted(client);
        });
    }
}

// ---- what does allocate

impl Running {
    /// What `times` exchanges of one client allocate, which is `most` for each at most. `times` more go
    /// before, for growth.
    fn cost(&mut self, case: &str, times: usize, most: usize, exchange: impl Fn(&Self, &mut Client) + Sync) {
        let mut clients = [self.connect()];
        let mut round = || apart(measure(&mut clients, times, |_, client| exchange(self, client)));
        let (before, _) = round();
        let (after, serving) = round();
        self.housekeeping += before + after;
        let (count, bytes) = (
            serving.len(),
            serving.iter().map(|asked| asked.bytes).sum::<usize>(),
        );
        eprintln!(
            "{case}: {:.2} allocations each, {} bytes, {most} at most",
            f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(times).unwrap()),
            bytes / times
        );
        assert!(
            count <= most * times,
            "{case}, {times} times: {}",
            shown(&serving)
        );
    }

    /// As [`Running::cost`], of `request` that is answered by `status`.
    fn cost_of(&mut self, case: &str, most: usize, request: &[u8], status: u16) {
        self.cost(case, 50, most, |_, client| {
            client.send(request);
            let response = client.response();
            assert_eq!(response.status, status, "{case}: {response:?}");
        });
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
}

#[test]
fn what_allocates_allocates_no_more_than_it_is_said_to() {
    let mut server = Running::start(&[], &[RATE_LIMIT]);
    let few = post("", &body(3));
    server.cost("a connection, with its first request", 50, 3, |server, client| {
        *client = server.connect();
        client.send(&few);
        accepted(client);
    });
    let next = AtomicUsize::new(0);
    server.cost("a client that the limiter did not know", 1000, 1, |_, client| {
        let name = next.fetch_add(1, Ordering::Relaxed);
        client.send(&post(
            &format!("Authorization: Bearer client-{name}\r\n"),
            &body(1),
        ));
        accepted(client);
    });
    server.cost_of("a path that is not there", 8, &get("/nothing"), 404);
    server.cost_of("a body that is no JSON", 8, &post("", "{\"metrics\":["), 400);
    server.cost_of(
        "a metric without a value",
        12,
        &post("", "{\"metrics\":[{\"name\":\"a\"}]}"),
        400,
    );
    server.cost_of("GET /health", 4, &get("/health"), 200);
    server.cost_of("GET /metrics", 1500, &get("/metrics"), 200);
    server.cost_of("GET /stats", 1000, &get("/stats"), 200);
    server.cost_of("10,000 metrics", 30, &post("", &body(10_000)), 200);
    let named = post(&format!("X-Request-Id: {}\r\n", "n".repeat(64)), &body(3)).repeat(16);
    server.cost(
        "16 requests at once with names of 64 bytes",
        50,
        6,
        |_, client| {
            client.send(&named);
            (0..16).for_each(|_| accepted(client));
        },
    );
}

#[test]
fn a_refused_client_costs_no_more_than_it_is_said_to() {
    let mut server = Running::start(
        &[("tokens-file", TOKENS)],
        &["--client-requests-per-second-max=1"],
    );
    let few = body(3);
    let unknown = post("Authorization: Bearer nobody\r\n", &few);
    server.cost_of("a token that is not known", 8, &unknown, 401);
    let limited = post(&credential(0), &few);
    server.cost("a client over its limit", 200, 8, |_, client| {
        client.send(&limited);
        // One a second is accepted.
        assert!([200, 429].contains(&client.response().status));
    });
}

#[test]
fn a_segment_that_is_sealed_costs_no_more_than_it_is_said_to() {
    let mut server = Running::start(&[], &[RATE_LIMIT, "--segment-bytes-max=1024"]);
    let long = post("", &body(100));
    let sealed = |server: &Running| server.app().log().status().progress.rotations;
    let before = sealed(&server);
    server.cost_of("a segment sealed", 20, &long, 200);
    // Each group is longer than a segment may be.
    server.settle();
    assert_eq!(sealed(&server) - before, 100);
}

// ---- TLS

/// A certificate for 127.0.0.1 that signs itself, and its key; nothing when there is no openssl.
fn identity() -> Option<(String, String)> {
    let openssl = support::tool("openssl")?;
    let dir = TempDir::new();
    let [certificate, key] = ["certificate", "key"].map(|name| dir.path().join(name));
    let output = Command::new(openssl)
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=t"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some((
        fs::read_to_string(certificate).unwrap(),
        fs::read_to_string(key).unwrap(),
    ))
}

/// The client's end of TLS.
type Secure = StreamOwned<ClientConnection, TcpStream>;

fn secure(server: &Running, trusted: &RootCertStore) -> Secure {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted.clone())
        .with_no_client_auth();
    let address = server.app().address();
    let session = ClientConnection::new(Arc::new(config), address.ip().into()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
    StreamOwned::new(session, socket)
}

fn exchange(client: &mut Secure, request: &[u8]) {
    client.write_all(request).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"}") {
        let mut bytes = [0; 1024];
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&bytes[..count]);
    }
    assert!(reply.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn tls_costs_no_more_than_it_is_said_to() {
    let Some((certificate, key)) = identity() else {
        return;
    };
    let mut trusted = RootCertStore::empty();
    trusted
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let files = [
        ("tls-certificate-file", certificate.as_str()),
        ("tls-key-file", key.as_str()),
    ];
    let mut server = Running::start(&files, &[RATE_LIMIT]);
    let client = Mutex::new(secure(&server, &trusted));
    for (metrics, most) in [(3, 5), (100, 10), (1000, 40)] {
        let request = post("", &body(metrics));
        let case = format!("{metrics} metrics under TLS");
        server.cost(&case, 50, most, |_, _| {
            exchange(&mut client.lock().unwrap(), &request);
        });
    }
    let few = post("", &body(3));
    server.cost(
        "a connection under TLS, with its first request",
        20,
        200,
        |server, _| {
            exchange(&mut secure(server, &trusted), &few);
        },
    );
}
