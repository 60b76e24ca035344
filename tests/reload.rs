//! SIGHUP on the real server: everything that can change does, or nothing; and no request fails meanwhile.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's own threads and clocks; what fails is the test"
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Client, Server, TempDir, body, eventually, post_as};

/// A server whose settings and tokens are files of this test.
struct Reloadable {
    server: Server,
    files: TempDir,
}

impl Reloadable {
    fn start(settings: &str, tokens: &str) -> Self {
        let files = TempDir::new();
        let settings_path = files.path().join("m.toml");
        let this_file = |text: &str| {
            let path = files.path().join("tokens");
            let tokens = format!("tokens_file = '{}'\n", path.display());
            fs::write(&path, text).unwrap();
            tokens
        };
        let tokens = this_file(tokens);
        fs::write(&settings_path, format!("{tokens}{settings}")).unwrap();
        let server = Server::start(&["--config", settings_path.to_str().unwrap()]);
        Self { server, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write_settings(&self, settings: &str) {
        let tokens = format!("tokens_file = '{}'\n", self.path("tokens").display());
        fs::write(self.path("m.toml"), format!("{tokens}{settings}")).unwrap();
    }

    fn write_tokens(&self, tokens: &str) {
        fs::write(self.path("tokens"), tokens).unwrap();
    }

    /// Sends SIGHUP and waits for the verdict in the log: what it says after this reload began.
    fn reload(&self) -> String {
        let before = self.server.errors().len();
        self.server.signal("-HUP");
        let verdict = || self.server.errors()[before..].to_owned();
        eventually("a verdict on the reload", || {
            let said = verdict();
            said.contains(" reloaded changed=") || said.contains("the reload is refused")
        });
        verdict()
    }

    fn post(&self, token: &str) -> u16 {
        let fields = format!("Authorization: Bearer {token}\r\n");
        self.server.ask(&post_as(&fields, &body("m", 1))).status
    }
}

#[test]
fn a_reload_under_load_fails_no_request() {
    const CLIENTS: usize = 4;
    let no_limit = "client_requests_per_second_max = 0\n";
    let both = Reloadable::start(no_limit, "steady t-steady\n");
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (done, address) = (Arc::clone(&done), both.server.address);
            thread::spawn(move || {
                let request = post_as("Authorization: Bearer t-steady\r\n", &body("m", 3));
                let mut client = Client::connect(address);
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    // Some keep their connection over all reloads, some come anew.
                    if number % 2 == 1 {
                        client = Client::connect(address);
                    }
                    client.send(&request);
                    assert_eq!(client.response().status, 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    for round in 0..20 {
        both.write_tokens(&format!("steady t-steady\nother t-{round}\n"));
        both.write_settings(&format!(
            "client_requests_per_second_max = {}\nidle_timeout_ms = {}\n",
            // Beyond what four clients can send, or none at all.
            (round % 2) * 1_000_000,
            60_000 + round
        ));
        let said = both.reload();
        assert!(said.contains(" reloaded changed="), "{said}");
        assert_eq!(both.post(&format!("t-{round}")), 200, "the new token is known");
    }
    done.store(true, Ordering::Relaxed);
    let served: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(served > 20 * CLIENTS, "{served} requests are no load");
    let mut server = both.server;
    assert!(server.stop().success());
    assert_eq!(server.lines().len(), served * 3 + 20);
}

#[test]
fn a_reload_with_anything_wrong_changes_nothing() {
    let both = Reloadable::start("client_requests_per_second_max = 5\n", "one t-1\n");
    // A right limit and right tokens beside each thing that can be wrong.
    let right = "client_requests_per_second_max = 0\n";
    both.write_tokens("one t-1\ntwo t-2\n");
    for (wrong, said) in [
        ("idle_timeout_ms = 0\n", "m.toml:3: --idle-timeout-ms is 0"),
        ("workers = 'many'\n", "m.toml:3: invalid value 'many'"),
        ("idle_timeout = 5\n", "m.toml:3: there is no setting idle_timeout"),
        ("log_filter = 'a=b=c'\n", "is not a filter"),
        ("= 1\n", "m.toml:3:1: "),
    ] {
        both.write_settings(&format!("{right}{wrong}"));
        let verdict = both.reload();
        assert!(
            verdict.contains(said) && !verdict.contains(" reloaded "),
            "{wrong}: {verdict}"
        );
        assert_eq!(both.post("t-2"), 401, "{wrong}");
    }
    both.write_settings(right);
    both.write_tokens("one t-1\ntwo\n");
    let verdict = both.reload();
    assert!(
        verdict.contains("line 2: a line is a name, a token and perhaps a limit"),
        "{verdict}"
    );
    fs::remove_file(both.path("tokens")).unwrap();
    assert!(both.reload().contains("cannot read --tokens-file"));
    let statuses: Vec<_> = (0..6).map(|_| both.post("t-1")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429], "the limit is as it was");
}

#[test]
fn what_changed_is_in_force_and_what_takes_a_restart_is_named() {
    let both = Reloadable::start(
        "client_requests_per_second_max = 1000\nworkers = 1\n",
        "one t-1\n",
    );
    let idle = both.server.connect();
    both.write_tokens("two t-2\n");
    both.write_settings("client_requests_per_second_max = 2\nworkers = 2\nconnections_max = 9\n");
    for _ in 0..2 {
        let verdict = both.reload();
        assert!(
            verdict.contains("settings=\"workers, connections_max\""),
            "named until the restart: {verdict}"
        );
    }
    assert_eq!(both.post("t-1"), 401);
    let statuses: Vec<_> = (0..3).map(|_| both.post("t-2")).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(both.server.figure("connections_max"), 16_384);
    drop(idle);
    // A timeout takes hold of a connection that is laid to rest after the reload.
    both.write_settings("idle_timeout_ms = 50\nlog_filter = 'warn'\n");
    let before = both.server.errors().len();
    both.server.signal("-HUP");
    eventually("the short timeout is in force", || {
        let mut client = both.server.connect();
        client
            .stream()
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        client.ends()
    });
    // Until the verdict there may be messages of before.
    let said = both.server.errors()[before..].to_owned();
    let (_, after) = said.split_once("take a restart").expect("the verdict");
    assert!(!after.contains("INFO"), "the filter is in force too: {said}");
}

#[test]
fn a_client_keeps_what_was_counted_over_a_reload() {
    let both = Reloadable::start("client_requests_per_second_max = 3\n", "one t-1\ntwo t-2\n");
    let exhausted = || {
        let mut allowed = 0;
        while both.post("t-1") == 200 {
            allowed += 1;
        }
        allowed
    };
    eventually("three within one second, before and after the reload", || {
        thread::sleep(Duration::from_millis(1100));
        let begun = std::time::Instant::now();
        assert_eq!(exhausted(), 3);
        // The names change places: a client is its name and not its line.
        both.write_tokens("two t-2\nzero t-0\none t-1\n");
        both.reload();
        let (one, two) = (both.post("t-1"), both.post("t-2"));
        // On a busy machine the second may be over: then it says nothing.
        begun.elapsed() < Duration::from_millis(900) && {
            assert_eq!((one, two), (429, 200));
            true
        }
    });
}
