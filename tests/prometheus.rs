//! The files for Prometheus and Grafana by a real Prometheus that scrapes a real server: alerts fire and are
//! resolved, every expression of a rule and of a panel has data.
//!
//! Seconds take the place of the minutes of an installation, and ports and paths those of its own; nothing
//! else differs. A tool that is not installed skips its test and says so; with `CI=true` it fails instead.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{PROGRAM, Server, TempDir, body, eventually, tool};

const DASHBOARD: &str = "deploy/grafana/metricstream.json";
const RULES: &str = "deploy/prometheus/metricstream.rules.yml";

/// A file of the repository.
fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// `text` with each of `replaced` put in place of what must be there.
fn with(mut text: String, replaced: &[(&str, &str)]) -> String {
    for (from, to) in replaced {
        assert!(text.contains(from), "no {from:?} in {text}");
        text = text.replace(from, to);
    }
    text
}

/// The settings that docs/monitoring.md recommends.
fn recommended() -> String {
    let text = read("docs/monitoring.md");
    let (_, rest) = text.split_once("## Prometheus\n").unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// A process that is ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Prometheus that scrapes a server.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Prometheus {
    fn start(program: PathBuf, server: &Server) -> Self {
        let dir = TempDir::new();
        let rules = dir.path().join("rules.yml");
        let mut text = with(read(RULES), &[("[1m]", "[5s]")]);
        for seconds in [5, 10, 30, 60] {
            text = text.replace(&format!("for: {seconds}s\n"), "for: 1s\n");
        }
        fs::write(&rules, text).unwrap();
        let settings = with(
            recommended(),
            &[
                ("127.0.0.1:8080", &server.address.to_string()),
                ("interval: 10s", "interval: 1s"),
                ("/etc/prometheus/metricstream.rules.yml", rules.to_str().unwrap()),
            ],
        );
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, settings).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap());
        Self {
            address,
            _process: Process(command.spawn().unwrap()),
            _dir: dir,
        }
    }

    /// What `path` of its interface answers, if it answers.
    fn ask(&self, path: &str, query: &[String]) -> Option<Value> {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "10", "--get"])
            .args(query.iter().flat_map(|pair| ["--data-urlencode", pair]))
            .arg(format!("http://{}/api/v1/{path}", self.address))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The series that an expression has now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.ask("query", &[format!("query={expression}")]).unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// Whether the alert fires.
    fn fires(&self, name: &str) -> bool {
        let query = format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}");
        !self.query(&query).is_empty()
    }
}

/// Every expression of the dashboard, with the name of its panel.
fn panel_expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let expression = with(
                target["expr"].as_str().unwrap().to_owned(),
                &[("$instance", ".*")],
            );
            let expression = expression.replace("$__rate_interval", "5s");
            assert!(!expression.contains('$'), "{title}: {expression}");
            all.push((title.to_owned(), expression));
        }
    }
    all
}

/// What each rule compares, with the rule's name.
fn rule_expressions(rules: &Value) -> Vec<(String, String)> {
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    let compared = |rule: &Value| {
        let expression = rule["query"].as_str().unwrap();
        let sign = [" > ", " < ", " == "]
            .into_iter()
            .find(|sign| expression.contains(sign));
        let (left, _) = expression.rsplit_once(sign.unwrap()).unwrap();
        (rule["name"].as_str().unwrap().to_owned(), left.to_owned())
    };
    rules.iter().map(compared).collect()
}

/// The server's limit of the size of a file: how a disk that is full looks to it.
fn limit_file_bytes(server: &Server, bytes: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--fsize={bytes}:unlimited"))
        .status();
    assert!(status.unwrap().success());
}

/// Many clients at once against one worker and a queue of one.
fn overload(server: &Server) -> Process {
    let mut command = Command::new(PROGRAM);
    command
        .args(["load", "--clients", "32", "--batch", "20", "--duration", "60s"])
        .args(["--allow-refusals", "--quiet", "--port"])
        .arg(server.address.port().to_string());
    Process(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

#[test]
fn alerts_fire_and_are_resolved_and_every_expression_has_data() {
    let (Some(program), Some(_)) = (tool("prometheus"), tool("prlimit")) else {
        return;
    };
    let mut server = Server::start(&[
        "--client-requests-per-second-max=0",
        "--workers=1",
        "--queue-jobs-max=1",
        "--ack-level=synced",
    ]);
    let prometheus = Prometheus::start(program, &server);
    eventually("the server is scraped", || {
        let up = prometheus.ask("query", &["query=up{job=\"metricstream\"} == 1".to_owned()]);
        up.is_some_and(|answer| answer["data"]["result"][0].is_object())
    });
    let load = overload(&server);
    eventually("refusals are told", || prometheus.fires("MetricStreamRefusing"));
    assert!(!prometheus.fires("MetricStreamLogFailing"));
    let rules = prometheus.ask("rules", &[]).unwrap();
    let rules = rule_expressions(&rules);
    let panels = panel_expressions();
    assert!(rules.len() > 15 && panels.len() > 20, "{rules:?} {panels:?}");
    for (name, expression) in rules.iter().chain(&panels) {
        assert!(
            !prometheus.query(expression).is_empty(),
            "{name} has no data: {expression}"
        );
    }
    drop(load);
    eventually("they are over", || !prometheus.fires("MetricStreamRefusing"));

    limit_file_bytes(&server, "1");
    eventually("the disk is told", || {
        server.post(&body("m", 1));
        prometheus.fires("MetricStreamLogFailing") && prometheus.fires("MetricStreamLogResting")
    });
    limit_file_bytes(&server, "unlimited");
    eventually("it is well again", || {
        server.post(&body("m", 1)).status == 200 && !prometheus.fires("MetricStreamLogResting")
    });
    eventually("and so it is told", || {
        !prometheus.fires("MetricStreamLogFailing")
    });
    assert!(server.stop().success());
    eventually("a server that is gone is told", || {
        prometheus.fires("MetricStreamGone")
    });
}

#[test]
fn every_panel_says_what_it_shows() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places: Vec<(&str, [u64; 4])> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty(), "{panel}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{title} has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} has no target");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.contains("{instance=~\"$instance\""),
                "{title}: {expression}"
            );
            // One unit is true of all targets: what is a rate has one that says so.
            let is_rate = ["rate(", "deriv("]
                .iter()
                .any(|function| expression.contains(function));
            let unit_of_rate = ["reqps", "cps", "Bps", "percentunit"].contains(&unit.unwrap());
            assert!(!is_rate || unit_of_rate, "{title}: {expression} in {unit:?}");
        }
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is beyond the right edge");
        for (other, [ox, oy, ow, oh]) in &places {
            let apart = x + w <= *ox || ox + ow <= x || y + h <= *oy || oy + oh <= y;
            assert!(apart, "{title} lies over {other}");
        }
        places.push((title, [x, y, w, h]));
    }
    assert!(places.len() > 10);
}
