//! The documents, held to what is there: links lead somewhere, flags exist, and the README's example does
//! what it shows.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{PROGRAM, Server};

// ---- the rules

/// The targets of a document's links that lie in the repository, without those in code.
fn relative_links(text: &str) -> Vec<String> {
    let prose = without_code(text);
    let mut links = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let target = prose[at + 2..].split([')', ' ']).next().unwrap_or_default();
        if !target.contains("://") && !target.starts_with("mailto:") {
            links.push(target.to_owned());
        }
    }
    links
}

/// What is wrong with a link from a document in `directory`, whose own text is `text`.
fn link_complaint(directory: &Path, text: &str, link: &str) -> Option<String> {
    let (file, anchor) = link
        .split_once('#')
        .map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = directory.join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("{link} leads nowhere"));
    }
    let target = if file.is_empty() {
        text.to_owned()
    } else {
        fs::read_to_string(&path).unwrap_or_default()
    };
    let anchor = anchor.filter(|_| file.is_empty() || file.ends_with(".md"))?;
    (!anchors(&target).contains(anchor)).then(|| format!("{link}: no heading has this name"))
}

/// The names of a document's headings as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if !in_code && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            anchors.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    anchors
}

fn without_code(text: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        if !in_code && !fence {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The commands of `metricstream log`.
const LOG_COMMANDS: [&str; 4] = ["inspect", "verify", "repair", "tail"];

/// The flags that a document names, each with the command it belongs to: `cargo NAME`, `serve` or `load`
/// where it stands on a command line, nothing where it stands alone.
fn flags(text: &str) -> BTreeSet<(String, String)> {
    let mut flags = BTreeSet::new();
    for command in commands(text) {
        let mut owner = String::new();
        let mut words = command.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match word {
                "cargo" => owner = format!("cargo {}", words.peek().unwrap_or(&"")),
                "serve" | "load" | "check" | "config" | "top" => owner = word.to_owned(),
                "log" if LOG_COMMANDS.contains(words.peek().unwrap_or(&"")) => {
                    owner = format!("log {}", words.peek().unwrap_or(&""));
                }
                "curl" | "nginx" | "git" => break,
                _ => {
                    let flag = word.split('=').next().unwrap_or_default();
                    if flag.len() > 2 && flag.starts_with("--") {
                        flags.insert((owner.clone(), flag.to_owned()));
                    }
                }
            }
        }
    }
    flags
}

/// What stands as code: the lines of blocks and what is between backquotes.
fn commands(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            commands.push(line.to_owned());
        } else {
            commands.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    commands
}

/// The block that follows `before`, without its fences.
fn block_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (_, rest) = rest.split_once("```json\n")?;
    rest.split_once("\n```").map(|(block, _)| block)
}

// ---- the documents

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with(['.']) && !name.starts_with("target") {
                directories.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 2, "the documents were found");
    found
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("--help"), "{program} {arguments:?}: {text}");
    text
}

fn has_flag(help: &str, flag: &str) -> bool {
    help.split(|letter: char| letter.is_whitespace() || ",[]<>=.".contains(letter))
        .any(|word| word == flag)
}

#[test]
fn relative_links_resolve() {
    let mut complaints = Vec::new();
    let mut links = 0;
    for (path, text) in documents() {
        for link in relative_links(&text) {
            links += 1;
            let complaint = link_complaint(path.parent().unwrap(), &text, &link);
            complaints.extend(complaint.map(|complaint| format!("{}: {complaint}", path.display())));
        }
    }
    assert!(links > 10, "the links were found");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn flags_in_the_documents_exist() {
    let mut own = help(PROGRAM, &["serve", "--help"]) + &help(PROGRAM, &["load", "--help"]);
    for command in LOG_COMMANDS {
        own += &help(PROGRAM, &["log", command, "--help"]);
    }
    for (path, least) in [
        ("README.md", 3),
        ("docs/load.md", 10),
        ("docs/configuration.md", 15),
        ("docs/monitoring.md", 3),
        ("docs/log-tools.md", 5),
    ] {
        let flags = flags(&document(path));
        assert!(flags.len() > least, "the flags were found: {flags:?}");
        for (owner, flag) in flags {
            let help = match owner.as_str() {
                "" => own.clone(),
                "serve" | "load" | "check" | "config" | "top" => help(PROGRAM, &[&owner, "--help"]),
                owner if owner.starts_with("log ") => {
                    help(PROGRAM, &["log", owner.trim_start_matches("log "), "--help"])
                }
                _ => help(env!("CARGO"), &[owner.trim_start_matches("cargo "), "-h"]),
            };
            assert!(
                has_flag(&help, &flag),
                "{path} names {flag}, which '{owner}' does not have"
            );
        }
    }
}

#[test]
fn the_table_of_settings_is_what_the_program_prints() {
    let command = ["config", "--format", "markdown"];
    let output = Command::new(PROGRAM).args(command).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.lines().count() > 20);
    let shown = document("docs/configuration.md");
    let (_, table) = shown.split_once("## Every setting").unwrap();
    let table = table
        .split_once("| in a file")
        .map(|(_, rows)| format!("| in a file{rows}"));
    assert_eq!(
        table.as_deref(),
        Some(printed.as_str()),
        "paste what `metricstream config --format markdown` prints"
    );
}

#[test]
fn the_report_of_the_load_generator_is_documented() {
    let server = Server::start(&[]);
    let port = server.address.port().to_string();
    let mut command = Command::new(PROGRAM);
    let output = command
        .args(["load", "--format", "json", "--port", &port])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = document("docs/load.md");
    let (_, table) = shown.split_once("## The report as JSON").unwrap();
    let cells = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let shown: BTreeSet<_> = cells
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let fields: BTreeSet<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(shown, fields);
}

#[test]
fn the_errors_of_the_load_generator_are_documented() {
    let text = document("src/cli/load/tally.rs");
    let (_, names) = text.split_once("pub const fn name(self)").unwrap();
    let (names, _) = names.split_once("\n    }\n").unwrap();
    let names: BTreeSet<_> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() >= 9);
    let shown = document("docs/load.md");
    let (_, table) = shown.split_once("## Errors").unwrap();
    let (table, _) = table.split_once("## ").unwrap();
    let shown = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(shown.collect::<BTreeSet<_>>(), names);
}

#[test]
fn the_example_of_the_readme_does_what_it_shows() {
    let readme = document("README.md");
    let (_, rest) = readme.split_once(" -d '").expect("a curl with a body");
    let (body, rest) = rest.split_once('\'').expect("its end");
    let reply = block_after(rest, "").expect("the reply");
    let line = block_after(rest, "metrics.jsonl").expect("the line");
    let server = Server::start(&[]);
    let answer = server.post(body);
    assert_eq!(
        (answer.status, String::from_utf8(answer.body).unwrap()),
        (200, reply.to_owned())
    );
    let stored = fs::read_to_string(server.dir.path().join("data/metrics.jsonl")).unwrap();
    assert_eq!(stored, format!("{line}\n"));
}

// ---- each rule complains

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A b, c\nsee [a](src/lib.rs) [b](https://x.org) [c](nowhere.md) `[d](code.md)` [e](#a-b-c) [f](#g)\n\
                ```\n[h](fenced.md)\n# no heading\n```\n[i](README.md#no-such)\n";
    let links = relative_links(text);
    assert_eq!(
        links,
        ["src/lib.rs", "nowhere.md", "#a-b-c", "#g", "README.md#no-such"]
    );
    let wrong = links
        .iter()
        .filter(|link| link_complaint(&root(), text, link).is_some());
    assert_eq!(
        wrong.collect::<Vec<_>>(),
        ["nowhere.md", "#g", "README.md#no-such"]
    );
}

#[test]
fn flags_are_found_with_their_commands() {
    let text = "`--ack-level` and `serve --listen=x`\n```sh\ncargo run --release -- load --port 1 -q\n\
                curl --silent x\n```\n--prose\n";
    let expected = [
        ("", "--ack-level"),
        ("cargo run", "--release"),
        ("load", "--port"),
        ("serve", "--listen"),
    ];
    let expected = expected.map(|(owner, flag)| (owner.to_owned(), flag.to_owned()));
    assert_eq!(flags(text), BTreeSet::from(expected));
    let help = help(PROGRAM, &["load", "--help"]);
    assert!(has_flag(&help, "--port") && !has_flag(&help, "--por") && !has_flag(&help, "--no-such"));
}
