//! Completions and manual pages, by the shells and the formatters that read them.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what fails is the test"
)]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{PROGRAM, TempDir};

/// Whether a tool is there; with `CI=true` it must be.
fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
        return true;
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{tool} is not installed, and CI=true");
    eprintln!("skipped: {tool} is not installed");
    false
}

/// What the program prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `tool` makes of `input`.
fn filtered(tool: &str, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut child = Command::new(tool)
        .args(arguments)
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn bash_completes_commands_flags_and_values() {
    if !has("bash") {
        return;
    }
    let dir = TempDir::new();
    let script = dir.path().join("metricstream.bash");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    let (sound, _, errors) = filtered("bash", &["-n", script.to_str().unwrap()], "");
    assert!(sound, "{errors}");
    let complete = |words: &[&str]| {
        let line = words.join(" ");
        let last = words.len() - 1;
        let (previous, word) = (words[last - 1], words[last]);
        let program = format!(
            "source {}\nCOMP_WORDS=({line:?})\nCOMP_WORDS=({line})\n[ -n {word:?} ] || COMP_WORDS+=('')\n\
             COMP_CWORD={last}\nCOMP_LINE={line:?}\nCOMP_POINT={}\n\
             _metricstream metricstream {word:?} {previous:?}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            line.len()
        );
        filtered("bash", &["--norc", "-c", &program], "").1
    };
    let commands = complete(&["metricstream", ""]);
    for command in ["serve", "check", "config", "load", "completions", "man"] {
        assert!(
            commands.lines().any(|line| line == command),
            "{command} in {commands:?}"
        );
    }
    assert_eq!(
        complete(&["metricstream", "serve", "--queue-j"]),
        "--queue-jobs-max\n"
    );
    let levels = complete(&["metricstream", "serve", "--ack-level", ""]);
    assert_eq!(levels, "queued\nwritten\nsynced\n");
}

#[test]
fn zsh_and_fish_take_their_scripts() {
    let dir = TempDir::new();
    if has("zsh") {
        let script = dir.path().join("_metricstream");
        fs::write(&script, printed(&["completions", "zsh"])).unwrap();
        let (sound, _, errors) = filtered("zsh", &["-n", script.to_str().unwrap()], "");
        assert!(sound, "{errors}");
    }
    if has("fish") {
        let script = dir.path().join("metricstream.fish");
        fs::write(&script, printed(&["completions", "fish"])).unwrap();
        let program = format!(
            "source {}; complete --do-complete 'metricstream serve --ack-level '",
            script.display()
        );
        let (sound, said, errors) = filtered("fish", &["--no-config", "-c", &program], "");
        assert!(sound, "{errors}");
        let values: Vec<_> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(values, ["queued", "synced", "written"], "{said}");
    }
}

#[test]
fn manual_pages_render_without_a_complaint() {
    let dir = TempDir::new();
    let pages = dir.path().join("man1");
    printed(&["man", "--dir", pages.to_str().unwrap()]);
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names.len() >= 7 && names.contains(&"metricstream-serve.1".to_owned()),
        "{names:?}"
    );
    if has("man") {
        for name in &names {
            let path = pages.join(name);
            // As a reader does; the warnings of the formatter are errors here.
            let arguments = ["--warnings=w", "-l", path.to_str().unwrap()];
            let (sound, text, errors) = filtered("man", &arguments, "");
            assert!(sound && errors.is_empty(), "{name}: {errors}");
            assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{text}");
        }
    }
    if has("mandoc") {
        for name in &names {
            let path = pages.join(name);
            let (_, _, complaints) = filtered(
                "mandoc",
                &["-T", "lint", "-W", "error", path.to_str().unwrap()],
                "",
            );
            assert_eq!(complaints, "", "{name}");
        }
    }
    let serve = printed(&["man", "serve"]);
    let on_disk = fs::read_to_string(pages.join("metricstream-serve.1")).unwrap();
    assert_eq!(serve, on_disk);
    assert!(serve.contains("SIGHUP"), "what its signals do");
}

#[test]
fn a_command_that_is_none_is_refused_with_those_there_are() {
    let output = Command::new(PROGRAM).args(["man", "sreve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("there is no command sreve; there are serve, check"),
        "{said}"
    );
    let unwritable = Path::new("/dev/null/man1");
    let output = Command::new(PROGRAM)
        .args(["man", "--dir"])
        .arg(unwritable)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}
