//! The chapters of `docs/journey`, held to what is there: every command is run, what they show is what comes
//! out, every item, model and excerpt they name exists.
//!
//! The first tests read; they are quick. The last, ignored unless asked for because it builds for release
//! and for loom, runs every `sh` block of every chapter as a reader would:
//! `cargo test -p metricstream-journey --test chapters -- --ignored`. With `JOURNEY_CHAPTER=2.1` it runs
//! the chapters whose names begin so.
//!
//! # How a chapter says what is to happen
//! A block of `sh` is one script, run at the root of the repository; it has to exit with 0. Before it may
//! stand, each on a line of its own:
//! - `<!-- exit: 1 -->` the code to exit with;
//! - `<!-- background -->` it goes on until the chapter ends, and is waited for until it listens;
//! - `<!-- short: COMMAND -->` what the test runs instead: the same program with less to do;
//! - `<!-- needs: PROGRAM -->` without this program the test says so and goes on; under `CI` it fails.
//!
//! The next block may be `text`: what came out. Its lines have to come out in this order, with others between
//! them only where a line `...` stands; a line that ends in `...` is a beginning. Times in seconds may
//! differ. In `text like` every number may, and so may the width of columns and whether clients lost requests
//! (`timeout: 12` at the end of a line). Of `text such as` only the first and the last line are compared, in
//! that way. Port 8080 is exchanged for a free one. With `JOURNEY_WRITE=1` the test writes what came out into
//! the blocks of both kinds that show all of it, so that figures can be taken anew on a quiet machine. Any
//! other comment, block or order is refused, so that nothing is left out unseen.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

// ---- reading

/// A block of `sh` and what is to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    line: usize,
    script: String,
    exit: i32,
    background: bool,
    short: Option<String>,
    needs: Option<String>,
    shown: Option<Shown>,
}

/// What the chapter shows of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    /// The line of its fence.
    line: usize,
    text: String,
    /// Whether every number may differ.
    like: bool,
    /// Whether only the first and the last line count.
    ends: bool,
}

/// The blocks of a chapter, in order.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut next = Block::default();
    let mut marked = false;
    // Whether a block of output may stand here: after a command, with nothing said between.
    let mut may_show = false;
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let refuse = |what: &str| Err(format!("line {number}: {what}: {line}"));
        if let Some(language) = line.trim_start().strip_prefix("```") {
            if line.starts_with(' ') {
                return refuse("a block that is not at the margin");
            }
            let body: Vec<_> = lines
                .by_ref()
                .map(|(line, _)| line)
                .take_while(|line| *line != "```")
                .collect();
            let body = body.join("\n");
            if marked && language != "sh" {
                return refuse("a mark that belongs to no command");
            }
            match language {
                "sh" => {
                    let block = Block {
                        line: number,
                        script: body,
                        ..std::mem::take(&mut next)
                    };
                    check(&block)?;
                    blocks.push(block);
                }
                "text" | "text like" | "text such as" if may_show => {
                    let shown = Shown {
                        line: number,
                        text: body,
                        like: language != "text",
                        ends: language == "text such as",
                    };
                    blocks.last_mut().expect("there was a command").shown = Some(shown);
                }
                "mermaid" | "rust" => {}
                _ => return refuse("a block of no known kind, or out of place"),
            }
            (marked, may_show) = (false, language == "sh");
        } else if line.contains("<!--") {
            mark(line, &mut next).map_err(|error| format!("line {number}: {error}: {line}"))?;
            marked = true;
        } else if !line.is_empty() {
            if marked {
                return refuse("between a mark and its command");
            }
            may_show = false;
        }
    }
    if marked {
        Err("a mark at the end".to_owned())
    } else {
        Ok(blocks)
    }
}

fn mark(line: &str, block: &mut Block) -> Result<(), String> {
    let inner = line
        .strip_prefix("<!-- ")
        .and_then(|rest| rest.strip_suffix(" -->"));
    let inner = inner.ok_or("a comment that is no mark")?;
    match inner.split_once(": ").unwrap_or((inner, "")) {
        ("exit", code) => block.exit = code.parse().map_err(|_| "no exit code")?,
        ("background", "") => block.background = true,
        ("short", command) if !command.is_empty() => block.short = Some(command.to_owned()),
        ("needs", program) if !program.is_empty() => block.needs = Some(program.to_owned()),
        _ => return Err("a mark of no known kind".to_owned()),
    }
    Ok(())
}

/// What a reader could not run, or this test would run as something else.
fn check(block: &Block) -> Result<(), String> {
    let script = &block.script;
    let refuse = |what: &str| Err(format!("line {}: {what}: {script}", block.line));
    if script.trim().is_empty() {
        return refuse("an empty command");
    }
    if script
        .lines()
        .any(|line| line.starts_with("$ ") || line.starts_with('#'))
    {
        return refuse("a prompt or a comment in a command");
    }
    let single = script.lines().count() == 1;
    if (block.background || block.short.is_some()) && !single {
        return refuse("more than one line where one is run differently");
    }
    if let Some(short) = &block.short {
        // The same program and the same of its commands.
        let words = |text: &str| {
            text.split_whitespace()
                .take(3)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        if words(short) != words(script) {
            return refuse("the short form is another command");
        }
    }
    Ok(())
}

/// Whether `output` has the lines shown, in order.
fn compare(output: &str, shown: &Shown) -> Result<(), String> {
    let squeeze = |line: &str| squeezed(line, shown.like);
    let mut lines = output.lines().map(squeeze);
    // At the beginning anything may have been said before: by a build, for one.
    let mut may_skip = true;
    let last = shown.text.lines().count().saturating_sub(1);
    for (number, wanted) in shown.text.lines().map(squeeze).enumerate() {
        if shown.ends && number != 0 && number != last {
            may_skip = true;
            continue;
        }
        if wanted == "..." {
            may_skip = true;
            continue;
        }
        let fits = |line: &String| match wanted.strip_suffix("...") {
            Some(beginning) => line.starts_with(beginning.trim_end()),
            None => *line == wanted,
        };
        let found = if may_skip {
            lines.find(fits)
        } else {
            lines.next().filter(fits)
        };
        if found.is_none() {
            return Err(format!(
                "not there, or not there next: {wanted}\n--- output\n{output}---"
            ));
        }
        may_skip = false;
    }
    Ok(())
}

/// A line without what may differ: white space at the ends, times, and if `like` every number and the width
/// of columns.
fn squeezed(line: &str, like: bool) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let kept = words.iter().enumerate().map(|(at, word)| {
        let unit = words
            .get(at + 1)
            .is_some_and(|unit| unit.starts_with("s:") || *unit == "s" || *unit == "s,");
        if unit && word.parse::<f64>().is_ok() {
            "T".to_owned()
        } else {
            (*word).to_owned()
        }
    });
    let line = kept.collect::<Vec<_>>().join(" ");
    if !like {
        return line.trim_end().to_owned();
    }
    let mut text = String::new();
    for letter in line.chars() {
        match letter {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            // A number with a fraction and one without are alike.
            '.' | ',' if text.ends_with('N') => text.push(letter),
            ' ' if text.ends_with(' ') => {}
            _ => text.push(letter),
        }
    }
    let text = text.replace("N.N", "N").replace("N,N", "N");
    without_losses(text.trim()).to_owned()
}

/// Without `503: N, timeout: N` at the end.
fn without_losses(mut line: &str) -> &str {
    while let Some((before, "N")) = line.rsplit_once(": ") {
        let name = before.rsplit(' ').next().unwrap_or(before);
        if !name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || "N_".contains(letter))
        {
            break;
        }
        line = before[..before.len() - name.len()].trim_end_matches([' ', ',']);
    }
    line
}

// ---- the chapters

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The chapters and the page that lists them, by name. The report is no chapter.
fn chapters() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("docs/journey")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".md") && name != "report.md" {
            found.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn is_lesson(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_digit())
}

/// What stands between single backquotes, outside of blocks.
fn spans(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        if !in_block {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

/// Links as (text, target).
fn links(text: &str) -> Vec<(&str, &str)> {
    let link = |at: usize| {
        let (before, after) = (&text[..at], &text[at + 2..]);
        let open = before.rfind('[')?;
        Some((&before[open + 1..], after.split(')').next()?))
    };
    text.match_indices("](").filter_map(|(at, _)| link(at)).collect()
}

/// The order and the names of a lesson's parts.
const PARTS: [&str; 7] = [
    "The problem",
    "The experiment",
    "What to look for",
    "The idea",
    "The code to read",
    "The evidence",
    "Questions",
];

/// The lessons there have to be.
const LESSONS: [&str; 19] = [
    "0.1", "0.2", "1.1", "1.2", "2.1", "2.2", "2.3", "3.1", "3.2", "4.1", "4.2", "4.3", "5.1", "5.2", "5.3",
    "6.1", "6.2", "7.1", "7.2",
];

#[test]
fn every_lesson_has_a_chapter_with_every_part() {
    let chapters = chapters();
    let lessons: Vec<_> = chapters.iter().filter(|(name, _)| is_lesson(name)).collect();
    let numbers: Vec<_> = lessons
        .iter()
        .map(|(name, _)| name.split('-').next().unwrap())
        .collect();
    assert_eq!(numbers, LESSONS);
    for (name, text) in lessons {
        let parts: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, PARTS, "{name}");
        assert!(!blocks(text).unwrap().is_empty(), "{name} has nothing to run");
        let questions = text.matches("<details>").count();
        assert!(questions >= 2, "{name} asks {questions} questions");
        assert_eq!(questions, text.matches("</details>").count(), "{name}");
    }
    let (_, index) = chapters.iter().find(|(name, _)| name == "README.md").unwrap();
    let listed: BTreeSet<_> = links(index).into_iter().map(|(_, target)| target).collect();
    for (name, _) in &chapters {
        assert!(
            name == "README.md" || listed.contains(name.as_str()),
            "README.md does not list {name}"
        );
    }
}

#[test]
fn every_command_named_in_a_line_stands_in_a_block_too() {
    let mut scripts = String::new();
    let mut named = Vec::new();
    for (name, text) in chapters() {
        for block in blocks(&text).unwrap_or_else(|error| panic!("{name}, {error}")) {
            scripts.push_str(&block.script);
            scripts.push('\n');
        }
        let commands = spans(&text)
            .into_iter()
            .filter(|span| span.starts_with("cargo ") && span.len() > 6);
        named.extend(commands.map(|span| (name.clone(), span.to_owned())));
    }
    for (name, command) in named {
        assert!(
            scripts.contains(&command),
            "{name} names `{command}`, and no block runs it"
        );
    }
}

#[test]
fn what_the_chapters_name_exists() {
    let mut items = 0;
    let mut models = 0;
    for (name, text) in chapters() {
        for (label, target) in links(&text) {
            let Some(item) = label.strip_prefix('`').and_then(|label| label.strip_suffix('`')) else {
                continue;
            };
            if !target.ends_with(".rs") {
                continue;
            }
            let path = root().join("docs/journey").join(target);
            let code = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name}: {target}"));
            let last = item.rsplit("::").next().unwrap();
            let there = code.contains(last) || target.ends_with(&format!("/{last}"));
            assert!(there, "{name}: {target} has no {item}");
            items += 1;
        }
        for span in spans(&text) {
            if let Some((module, test)) = model(span) {
                let path = root().join(format!("verification/tests/models/{module}.rs"));
                let code = fs::read_to_string(path).unwrap();
                assert!(
                    code.contains(&format!("fn {test}(")),
                    "{name}: no model is called {span}"
                );
                models += 1;
            }
        }
    }
    assert!(
        items > 40 && models > 10,
        "{items} items and {models} models were found"
    );
}

/// `ring::happens_before` as module and test, when there are models of that module.
fn model(span: &str) -> Option<(&str, &str)> {
    let (module, test) = span.split_once("::")?;
    let is_word = |text: &str| {
        text.chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '_')
    };
    let there = is_word(module) && is_word(test) && !test.is_empty();
    let path = format!("verification/tests/models/{module}.rs");
    (there && root().join(path).exists()).then_some((module, test))
}

#[test]
fn excerpts_are_the_code() {
    for (name, text) in chapters() {
        let code: String = links(&text)
            .into_iter()
            .filter(|(_, target)| target.ends_with(".rs"))
            .map(|(_, target)| fs::read_to_string(root().join("docs/journey").join(target)).unwrap())
            .collect();
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = flat(&code);
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("```rust\n") {
            let (excerpt, after) = after.split_once("```").unwrap();
            for piece in excerpt.split("// ...\n") {
                assert!(
                    code.contains(&flat(piece)),
                    "{name}: no file that it links to has\n{piece}"
                );
            }
            rest = after;
        }
    }
}

// ---- running

/// A process group that goes on, ended when dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // The group: cargo and what it runs.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// Longest time for one command; the first one builds.
const SECONDS_MAX: &str = "1200";

fn shell(script: &str) -> Command {
    // What hangs is ended, so that the test is not.
    let mut command = Command::new("timeout");
    command
        .args([
            "--kill-after=5",
            SECONDS_MAX,
            "bash",
            "-e",
            "-o",
            "pipefail",
            "-c",
            script,
        ])
        .current_dir(root())
        .stdin(Stdio::null());
    // What cargo tells its tests is not for the cargo that a reader would start.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

fn start(script: &str, shown: Option<&Shown>) -> Result<Background, String> {
    let child = shell(&format!("exec {script}"))
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn();
    let mut background = Background(child.map_err(|error| error.to_string())?);
    let mut out = BufReader::new(background.0.stdout.take().expect("it is piped"));
    let mut line = String::new();
    out.read_line(&mut line).map_err(|error| error.to_string())?;
    if !line.contains("listens on") {
        return Err(format!("it does not say that it listens: {line}"));
    }
    shown.map_or(Ok(()), |shown| compare(&line, shown))?;
    Ok(background)
}

/// Runs a command to its end; answers with what it said.
fn run(script: &str, exit: i32, shown: Option<&Shown>) -> Result<String, String> {
    let output = shell(&format!("exec 2>&1; {script}"))
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() != Some(exit) {
        return Err(format!(
            "{}, and not {exit}\n--- output\n{text}---",
            output.status
        ));
    }
    match shown {
        Some(shown) => compare(&text, shown).map(|()| text),
        None => Ok(text),
    }
}

/// The program that a block needs, when it is not there.
fn missing(block: &Block) -> Option<&String> {
    let is_there = |program: &String| {
        let find = shell(&format!("command -v {program} >/dev/null")).status();
        find.is_ok_and(|found| found.success())
    };
    block.needs.as_ref().filter(|program| !is_there(program))
}

/// What a chapter's run came to.
#[derive(Debug, Default)]
struct Done {
    commands: usize,
    /// What came out where `text like` shows all of it, by the line of the fence.
    seen: Vec<(usize, String)>,
}

/// Runs a chapter's commands in order.
fn run_chapter(text: &str, write: bool) -> Result<Done, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let mut background = Vec::new();
    let mut done = Done::default();
    for block in blocks(&text.replace("8080", &port))? {
        let (line, command) = (block.line, block.short.as_ref().unwrap_or(&block.script));
        if let Some(program) = missing(&block) {
            if std::env::var_os("CI").is_some() {
                return Err(format!("line {line}: {program} is not installed"));
            }
            println!("  line {line}: not run, for {program} is not installed: {command}");
            continue;
        }
        println!("  {command}");
        let shown = block.shown.as_ref();
        let complain = |error| format!("line {line}: {command}\n{error}");
        if block.background {
            background.push(start(command, shown).map_err(complain)?);
        } else {
            let whole =
                shown.filter(|shown| shown.like && !shown.text.lines().any(|line| line.ends_with("...")));
            // What is going to be written need not be what stands there.
            let expected = shown.filter(|_| !(write && whole.is_some()));
            let output = run(command, block.exit, expected).map_err(complain)?;
            done.seen
                .extend(whole.map(|shown| (shown.line, output.replace(&port, "8080"))));
        }
        done.commands += 1;
    }
    Ok(done)
}

/// The chapter with what came out in place of what it showed.
fn rewritten(text: &str, seen: &[(usize, String)]) -> String {
    let mut lines = text.lines().zip(1..);
    let mut new = String::new();
    while let Some((line, number)) = lines.next() {
        new.push_str(line);
        new.push('\n');
        if let Some((_, output)) = seen.iter().find(|(fence, _)| *fence == number) {
            for line in output.trim_end().lines() {
                new.push_str(line.trim_end());
                new.push('\n');
            }
            new.push_str("```\n");
            // What was shown before, its end included.
            let _ = lines.by_ref().take_while(|(line, _)| *line != "```").count();
        }
    }
    new
}

#[test]
#[ignore = "builds for release and for loom; the gate runs it"]
fn every_command_does_what_its_chapter_shows() {
    let wanted = std::env::var("JOURNEY_CHAPTER").unwrap_or_default();
    let write = std::env::var_os("JOURNEY_WRITE").is_some();
    let mut commands = 0;
    let mut complaints = Vec::new();
    for (name, text) in chapters()
        .into_iter()
        .filter(|(name, _)| name.starts_with(&wanted))
    {
        println!("{name}");
        match run_chapter(&text, write) {
            Ok(done) => {
                commands += done.commands;
                if write {
                    let path = root().join("docs/journey").join(&name);
                    fs::write(path, rewritten(&text, &done.seen)).unwrap();
                }
            }
            Err(complaint) => complaints.push(format!("{name}, {complaint}")),
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n\n"));
    assert!(commands > 0, "no chapter is called {wanted}");
    println!("{commands} commands");
}

// ---- each rule complains

#[test]
fn what_came_out_is_written_in_its_place() {
    let text = "a\n```text like\nold 1\nold 2\n```\nb\n```text\nc\n```\n";
    let new = "a\n```text like\nnew 3\n```\nb\n```text\nc\n```\n";
    assert_eq!(rewritten(text, &[(2, "new 3  \n\n".to_owned())]), new);
    assert_eq!(rewritten(text, &[]), text);
}

#[test]
fn blocks_are_read_with_their_marks() {
    let text = "a\n\n<!-- exit: 1 -->\n<!-- needs: valgrind -->\n```sh\none two\n```\n\n```text like\nout 1\n```\n\n\
                <!-- background -->\n```sh\nthree\n```\nb\n\n```mermaid\nx\n```\n";
    let first = Block {
        line: 5,
        script: "one two".to_owned(),
        exit: 1,
        needs: Some("valgrind".to_owned()),
        shown: Some(Shown {
            line: 9,
            text: "out 1".to_owned(),
            like: true,
            ends: false,
        }),
        ..Block::default()
    };
    let second = Block {
        line: 14,
        script: "three".to_owned(),
        background: true,
        ..Block::default()
    };
    assert_eq!(blocks(text), Ok(vec![first, second]));
}

#[test]
fn what_could_be_left_out_unseen_is_refused() {
    for text in [
        "```bash\na\n```\n",
        "```\na\n```\n",
        "```text\na\n```\n",
        "```sh\na\n```\nwords\n```text\nb\n```\n",
        "```sh\na\n```\n\n```text\nb\n```\n\n```text\nc\n```\n",
        "  ```sh\na\n  ```\n",
        "```sh\n```\n",
        "```sh\n$ a\n```\n",
        "```sh\n# a\n```\n",
        "<!-- skip -->\n```sh\na\n```\n",
        "<!-- exit: x -->\n```sh\na\n```\n",
        "<!-- exit: 1 -->\nwords\n```sh\na\n```\n",
        "<!-- exit: 1 -->\n```text\na\n```\n",
        "<!-- exit: 1 -->\n",
        "words <!-- note -->\n",
        "<!-- background -->\n```sh\na\nb\n```\n",
        "<!-- short: cargo journey list -->\n```sh\ncargo journey run\n```\n",
        "<!-- short: true -->\n```sh\ncargo journey run\n```\n",
    ] {
        assert!(blocks(text).is_err(), "{text}");
    }
    let short = "<!-- short: cargo journey run --quick -->\n```sh\ncargo journey run\n```\n";
    assert!(blocks(short).is_ok());
}

#[test]
fn output_is_compared_as_the_chapters_say() {
    let fits = |output: &str, text: &str, like| {
        let (text, ends) = (text.to_owned(), false);
        let shown = Shown {
            line: 1,
            text,
            like,
            ends,
        };
        compare(output, &shown).is_ok()
    };
    let such_as = |output: &str, text: &str| {
        let (text, like, ends) = (text.to_owned(), true, true);
        let shown = Shown {
            line: 1,
            text,
            like,
            ends,
        };
        compare(output, &shown).is_ok()
    };
    assert!(such_as("a 1\nx\ny\nb 2\n", "a 3\nz\nb 4"));
    assert!(!such_as("a 1\nx\ny\nb 2\n", "a 3\nz\nc 4"));
    assert!(fits("built\na 1\nb\nc\n", "a 1\nb", false));
    assert!(!fits("a 1\nb\nc\n", "a 1\nc", false));
    assert!(fits("a 1\nb\nc\n", "a 1\n...\nc", false));
    assert!(!fits("a\nc\n", "c\n...\na", false), "the order counts");
    assert!(!fits("a 1\n", "a 2", false));
    assert!(fits("a   1.25 z\n", "a 2 z", true));
    assert!(!fits("a 1 y\n", "a 2 z", true));
    assert!(fits(
        "0  10  99.1%  7  503: 1, timeout: 12\n",
        "0 10 100.0% 8",
        true
    ));
    assert!(!fits("0  10  x: y\n", "0 10", true));
    assert!(
        fits("after 0.13 s: x\n", "after 0.02 s: x", false),
        "times may differ"
    );
    assert!(!fits("after 3: x\n", "after 4: x", false));
    assert!(fits("a bcd\n", "a b...", false));
    assert!(!fits("", "a", false));
}
