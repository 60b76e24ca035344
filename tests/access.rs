//! Who may do what: tokens with limits of their own, addresses that may read the statistics.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::fs;
use std::time::Instant;

use support::{Server, TempDir, body, eventually, post_as};

#[test]
fn each_token_has_its_own_limit_or_the_servers() {
    let dir = TempDir::new();
    let tokens = dir.path().join("tokens");
    fs::write(
        &tokens,
        "few t-few 2\nfew t-few-next\nfree t-free 0\nusual t-usual\n",
    )
    .unwrap();
    let server = Server::start(&[
        "--tokens-file",
        tokens.to_str().unwrap(),
        "--client-requests-per-second-max",
        "4",
    ]);
    let mut client = server.connect();
    let mut post = |token: &str| {
        client.send(&post_as(
            &format!("Authorization: Bearer {token}\r\n"),
            &body("m", 1),
        ));
        client.response()
    };
    eventually("all within one second", || {
        std::thread::sleep(std::time::Duration::from_millis(1050));
        let begun = Instant::now();
        let statuses = ["t-few", "t-few-next", "t-few"].map(|token| post(token).status);
        let refusal = post("t-few-next");
        let usual = ["t-usual"; 5].map(|token| post(token).status);
        let free = ["t-free"; 9].map(|token| post(token).status);
        begun.elapsed() < std::time::Duration::from_millis(900) && {
            assert_eq!(statuses, [200, 200, 429]);
            assert_eq!(
                (refusal.status, refusal.json()["error"]["limit"].as_u64()),
                (429, Some(2))
            );
            assert_eq!(usual, [200, 200, 200, 200, 429]);
            assert_eq!(free, [200; 9]);
            true
        }
    });
}

#[test]
fn only_the_addresses_named_read_the_statistics() {
    let dir = TempDir::new();
    let settings = dir.path().join("m.toml");
    fs::write(&settings, "admin_addresses = '10.0.0.0/8, 192.0.2.1'\n").unwrap();
    let server = Server::start(&["--config", settings.to_str().unwrap()]);
    for path in ["/stats", "/metrics", "/metrics?x=1", "/"] {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "forbidden"),
            "{path}"
        );
        let error = &reply.json()["error"];
        assert_eq!(error["setting"], "admin_addresses");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("127.0.0.1 is not among"), "{message}");
    }
    let json = server.ask(b"GET /metrics HTTP/1.1\r\nHost: t\r\nAccept: application/json\r\n\r\n");
    assert_eq!(json.status, 403);
    let head = b"HEAD /stats HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut client = server.connect();
    client.send(head);
    assert_eq!(client.response_without_body().status, 403);
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(
        server.post(&body("m", 1)).status,
        200,
        "sending is another matter"
    );
    fs::write(&settings, "admin_addresses = '127.0.0.0/8'\n").unwrap();
    server.signal("-HUP");
    eventually("the reload", || server.get("/stats").status == 200);
    assert_eq!(server.figure("metrics_acknowledged"), 1);
}

#[test]
fn addresses_that_are_none_are_refused_with_their_place() {
    let dir = TempDir::new();
    let settings = dir.path().join("m.toml");
    fs::write(&settings, "\nadmin_addresses = '10.0.0.1/8'\n").unwrap();
    let output = std::process::Command::new(support::PROGRAM)
        .arg("check")
        .arg("--config")
        .arg(&settings)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("m.toml:2: invalid value '10.0.0.1/8'") && said.contains("the network is 10.0.0.0/8"),
        "{said}"
    );
}
