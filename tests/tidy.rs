//! The structure of the source, held by reading it: layers, doors, promises and sizes.
//!
//! Each rule is a pure function from text to complaints; below the rules each is shown to complain about a
//! planted violation. Comments and the contents of strings do not count as code. Test modules are held to
//! the same rules as the rest: a test that needs an upper layer belongs in `tests/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first: a module may import from its own layer and from those before it. The same
/// table stands in `src/lib.rs` and in ARCHITECTURE.md.
const LAYERS: [&[&str]; 6] = [
    &["sync::shim", "clock", "limits", "stats"],
    &["sync", "http", "json", "net"],
    &["log", "admission", "metric"],
    &["ingest", "monitor"],
    &["server"],
    &["config", "app", "cli"],
];

/// Modules of one layer that may know another one of it: of each other's kind, or one above the other within
/// the layer. All others of a layer stand alone.
const ACQUAINTED: [(&str, &str); 5] = [
    ("clock", "sync::shim"),
    ("stats", "sync::shim"),
    ("app", "config"),
    ("cli", "app"),
    ("cli", "config"),
];

/// Names that macros and test hooks add to the crate root.
const ROOT_MACROS: [(&str, &str); 4] = [
    ("ord", "sync::shim"),
    ("panic_point", "sync::shim"),
    ("reached", "sync::shim"),
    ("seeded", "sync::shim"),
];

/// The files with `unsafe`, each with what it is needed for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("src/sync/ring.rs", "slots shared between two threads"),
    ("src/http/block.rs", "functions that use vector registers"),
    (
        "src/json/scan.rs",
        "loads of vector registers, and bytes that are ASCII as text",
    ),
    (
        "src/cli/scheduling.rs",
        "a system call that no library makes without changing the nice value",
    ),
    ("tests/counting/mod.rs", "a global allocator that counts"),
    (
        "verification/tests/models/must_fail.rs",
        "naive designs that a model must catch",
    ),
    (
        "verification/tests/models/note.rs",
        "the cell whose races the models look for",
    ),
];

const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 110;

// ---- the rules

/// Imports that go up, or sideways to a module of the same layer that is none of its business.
fn layer_complaints(path: &str, source: &str) -> Vec<String> {
    let Some(own) = module_of(path) else {
        return Vec::new();
    };
    let code = code_of(source);
    let mut complaints = Vec::new();
    for (line, target) in crate_paths(&code) {
        let Some(other) = module_named(&target) else {
            complaints.push(format!("{path}:{line}: crate::{target} is in no layer"));
            continue;
        };
        let (from, to) = (layer(&own), layer(&other));
        if to > from {
            complaints.push(format!("{path}:{line}: L{from} {own} imports L{to} {other}"));
        } else if to == from && own != other && !acquainted(&own, &other) {
            complaints.push(format!("{path}:{line}: {own} imports {other} of its own layer"));
        }
    }
    for line in climbing_lines(path, &code) {
        complaints.push(format!(
            "{path}:{line}: a chain of super:: leaves the module: name it by crate::"
        ));
    }
    complaints
}

/// Concurrency that does not come through the shim.
fn door_complaints(path: &str, source: &str) -> Vec<String> {
    if path.starts_with("src/sync/shim") {
        return Vec::new();
    }
    let code = code_of(source);
    let numbered = code.lines().zip(1..);
    let named = numbered.filter(|(text, _)| {
        let text: String = text.split_whitespace().collect();
        let grouped = text.contains("std::{") && (text.contains("sync::") || text.contains("thread"));
        ["std::sync", "std::thread", "core::sync"]
            .iter()
            .any(|door| text.contains(door))
            || grouped
    });
    named
        .map(|(_, line)| format!("{path}:{line}: names std::sync or std::thread; use crate::sync::shim"))
        .collect()
}

/// `unsafe` where it is not announced.
fn unsafe_complaints(path: &str, source: &str) -> Vec<String> {
    if UNSAFE_FILES.iter().any(|(file, _)| *file == path) {
        return Vec::new();
    }
    let code = code_of(source);
    let lines = code
        .lines()
        .zip(1..)
        .filter(|(text, _)| words(text).any(|word| word == "unsafe"));
    lines
        .map(|(_, line)| format!("{path}:{line}: unsafe, and not in the list of tests/tidy.rs"))
        .collect()
}

/// A file that does not open with what it is.
fn opening_complaints(path: &str, source: &str) -> Vec<String> {
    let said = source
        .strip_prefix("//! ")
        .is_some_and(|rest| !rest.trim_start().is_empty());
    if said {
        Vec::new()
    } else {
        vec![format!("{path}:1: does not open with //!")]
    }
}

/// Functions longer than a screen.
fn length_complaints(path: &str, source: &str) -> Vec<String> {
    let functions = function_lengths(&code_of(source));
    let long = functions
        .into_iter()
        .filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(line, name, lines)| {
        format!("{path}:{line}: fn {name} has {lines} lines, {FUNCTION_LINES_MAX} at most")
    })
    .collect()
}

/// Leftovers: what is not finished and what was for debugging.
fn leftover_complaints(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let mut complaints = Vec::new();
    for (text, line) in code.lines().zip(1..) {
        for leftover in ["todo!", "dbg!", "unimplemented!"] {
            if text.contains(leftover) {
                complaints.push(format!("{path}:{line}: {leftover}"));
            }
        }
    }
    complaints
}

/// Ends, tabs and widths; for any text.
fn shape_complaints(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        complaints.push(format!("{path}: does not end with one newline"));
    }
    for (line, number) in text.lines().zip(1..) {
        if line.contains('\t') {
            complaints.push(format!("{path}:{number}: a tab"));
        }
        if line.ends_with(' ') {
            complaints.push(format!("{path}:{number}: a space at the end"));
        }
    }
    complaints
}

/// Lines of Rust too wide to read side by side. Tables, addresses, samples of data in a comment (set in by
/// two spaces or more) and lines with a piece of a string stand as they are.
fn width_complaints(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let mut complaints = Vec::new();
    for ((line, code), number) in source.lines().zip(code.lines()).zip(1..) {
        let chars = line.chars().count();
        let comment = line
            .trim_start()
            .strip_prefix("//")
            .map(|rest| rest.trim_start_matches(['/', '!']));
        let as_it_stands = match comment {
            Some(text) => text.starts_with(" |") || text.starts_with("  ") || text.contains("://"),
            None => code.trim_end() != line.trim_end(),
        };
        if chars > LINE_CHARS_MAX && !as_it_stands {
            complaints.push(format!(
                "{path}:{number}: {chars} characters, {LINE_CHARS_MAX} at most"
            ));
        }
    }
    complaints
}

// ---- the layers

/// The module of a file of the library, as the layers name it; none for `lib.rs`, which declares them all.
fn module_of(path: &str) -> Option<String> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    match inner {
        "lib" => None,
        "main" => Some("cli".to_owned()),
        _ => module_named(&inner.replace('/', "::")),
    }
}

/// The layered module that a path below `crate::` belongs to: the longest name in the table that begins it.
fn module_named(path: &str) -> Option<String> {
    let names = LAYERS
        .iter()
        .flat_map(|layer| layer.iter().map(|name| (*name, *name)));
    let names = names.chain(ROOT_MACROS);
    let begins = |name: &str| path == name || path.starts_with(&format!("{name}::"));
    let longest = names
        .filter(|(name, _)| begins(name))
        .max_by_key(|(name, _)| name.len());
    longest.map(|(_, module)| module.to_owned())
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.expect("a module of the table")
}

fn acquainted(own: &str, other: &str) -> bool {
    ACQUAINTED.contains(&(own, other))
}

/// Every path that begins with `crate::`, its line, groups multiplied out one level.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| is_word(before) || before == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            for item in group_items(group) {
                paths.push((line, item));
            }
        } else {
            let (path, rest) = leading_path(rest);
            match rest.strip_prefix('{') {
                // Only the start of a group can tell `sync::shim` from `sync`.
                Some(group) if path == "sync::" => {
                    paths.extend(
                        group_items(group)
                            .into_iter()
                            .map(|item| (line, format!("sync::{item}"))),
                    );
                }
                _ => paths.push((line, path.trim_end_matches(':').to_owned())),
            }
        }
    }
    paths
}

fn leading_path(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !is_word(letter) && letter != ':')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The paths in a group of imports, after its opening brace; nested groups are named by what precedes them.
fn group_items(group: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut depth = 1;
    let mut item = String::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => items.push(std::mem::take(&mut item)),
            letter if depth == 1 && (is_word(letter) || letter == ':') => item.push(letter),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    items.push(item);
    let items = items
        .into_iter()
        .map(|item| item.trim_end_matches(':').to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

/// Lines on which `super::super::..` reaches the crate's root, out of sight of the table.
fn climbing_lines(path: &str, code: &str) -> Vec<usize> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let file_depth = inner.split('/').filter(|name| *name != "mod").count();
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(found) = code[at..].find("super::") {
        let start = at + found;
        let mut end = start;
        let mut chain = 0;
        while code[end..].starts_with("super::") {
            chain += 1;
            end += "super::".len();
        }
        if chain >= file_depth + inline_module_depth(&code[..start]) {
            lines.push(code[..start].matches('\n').count() + 1);
        }
        at = end;
    }
    lines
}

/// How many `mod name {` are open at the end of `code`.
fn inline_module_depth(code: &str) -> usize {
    let mut open = Vec::new();
    let mut statement = 0;
    for (at, letter) in code.char_indices() {
        match letter {
            '{' => {
                open.push(words(&code[statement..at]).any(|word| word == "mod"));
                statement = at + 1;
            }
            '}' => {
                open.pop();
                statement = at + 1;
            }
            ';' => statement = at + 1,
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

// ---- reading Rust

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !is_word(letter))
        .filter(|word| !word.is_empty())
}

/// The source with comments and the contents of strings and characters blanked, lines kept.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let inside_word = code.ends_with(is_word);
        let skip = match first {
            '/' => comment_length(rest),
            '"' => string_length(rest, 0),
            '\'' => character_length(rest),
            'r' | 'b' | 'c' if !inside_word => prefixed_length(rest),
            _ => None,
        };
        let length = skip.unwrap_or(first.len_utf8());
        let (piece, after) = rest.split_at(length);
        if skip.is_some() {
            code.extend(
                piece
                    .chars()
                    .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
            );
        } else {
            code.push_str(piece);
        }
        rest = after;
    }
    code
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return (at > 1).then_some(at).filter(|_| text.starts_with("/*"));
        }
    }
    Some(text.len())
}

/// The length of the string whose opening quote is at `quote`.
fn string_length(text: &str, quote: usize) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().filter(|(at, _)| *at > quote) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// A character, not a lifetime.
fn character_length(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        let _escaped = letters.next();
        return letters.find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1);
    }
    letters
        .next()
        .filter(|(_, letter)| *letter == '\'')
        .map(|(at, _)| at + 1)
}

/// Strings and characters with a prefix: `r"`, `r#"`, `b"`, `br#"`, `c"`, `b'`.
fn prefixed_length(text: &str) -> Option<usize> {
    let quote = text.find(['"', '\''])?;
    let prefix = &text[..quote];
    let hashes = prefix.chars().filter(|letter| *letter == '#').count();
    match prefix.trim_end_matches('#') {
        "b" if text[quote..].starts_with('\'') => {
            character_length(&text[quote..]).map(|length| quote + length)
        }
        "b" | "c" if hashes == 0 && text[quote..].starts_with('"') => string_length(text, quote),
        "r" | "br" | "cr" if text[quote..].starts_with('"') => {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = quote + 1;
            Some(
                text[body..]
                    .find(&end)
                    .map_or(text.len(), |at| body + at + end.len()),
            )
        }
        _ => None,
    }
}

/// Each function with a body: its line, its name and its length in lines, tables apart.
fn function_lengths(code: &str) -> Vec<(usize, String, usize)> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + "fn ".len()..];
        let (name, rest) = leading_path(rest);
        // A function without a name is a type; one whose signature ends in a semicolon has no body.
        let Some(open) = rest
            .find(['{', ';'])
            .filter(|open| !name.is_empty() && rest[*open..].starts_with('{'))
        else {
            continue;
        };
        let body = &rest[open..];
        let mut depth = 0;
        let close = body.char_indices().find(|(_, letter)| {
            depth += i32::from(*letter == '{') - i32::from(*letter == '}');
            depth == 0
        });
        let end = close.map_or(body.len(), |(close, _)| close);
        let lines = 1 + rest[..open].matches('\n').count() + lines_outside_brackets(&body[..end]);
        functions.push((code[..at].matches('\n').count() + 1, name.to_owned(), lines));
    }
    functions
}

/// Lines that begin outside of square brackets: what is inside is a table, data rather than steps.
fn lines_outside_brackets(code: &str) -> usize {
    let mut depth = 0;
    let mut lines = 0;
    for letter in code.chars() {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        lines += usize::from(letter == '\n' && depth == 0);
    }
    lines
}

// ---- the repository

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of the repository by their path: sources, documents, scripts and settings.
fn texts() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    collect(&root(), &mut texts);
    assert!(texts.len() > 40, "the repository was found");
    texts
}

fn collect(directory: &Path, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name in UTF-8");
        let is_output =
            name.starts_with("target") || ["artifacts", "corpus", "coverage", "data"].contains(&name);
        if path.is_dir() {
            if !is_output && (!name.starts_with('.') || name == ".ci" || name == ".github") {
                collect(&path, texts);
            }
        } else if is_text(name) {
            let relative = path.strip_prefix(root()).expect("below the root");
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            texts.insert(relative.to_str().expect("UTF-8").to_owned(), text);
        }
    }
}

fn is_text(name: &str) -> bool {
    let named = ["justfile", "run", "LICENSE", ".gitignore"].contains(&name);
    let kind = Path::new(name).extension().and_then(|kind| kind.to_str());
    named || kind.is_some_and(|kind| ["rs", "md", "toml", "py", "sh", "yml", "yaml"].contains(&kind))
}

/// Holds a rule against all files that `applies` to.
fn hold(rule: fn(&str, &str) -> Vec<String>, applies: fn(&str) -> bool) {
    let texts = texts();
    let held: Vec<_> = texts.iter().filter(|(path, _)| applies(path)).collect();
    assert!(!held.is_empty(), "the rule applies to some file");
    let complaints: Vec<_> = held
        .into_iter()
        .flat_map(|(path, text)| rule(path, text))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn is_library(path: &str) -> bool {
    path.starts_with("src/") && path.ends_with(".rs")
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Not this file, which names what it looks for.
fn is_other_rust(path: &str) -> bool {
    is_rust(path) && path != "tests/tidy.rs"
}

#[test]
fn lower_layers_never_import_upper_ones() {
    hold(layer_complaints, is_library);
}

#[test]
fn concurrency_comes_through_the_shim() {
    hold(door_complaints, is_library);
}

#[test]
fn unsafe_code_is_where_it_is_announced() {
    hold(unsafe_complaints, is_other_rust);
    let texts = texts();
    for (file, _) in UNSAFE_FILES {
        let code = code_of(texts.get(*file).unwrap_or_else(|| panic!("{file} is gone")));
        assert!(
            words(&code).any(|word| word == "unsafe"),
            "{file} needs no mention any more"
        );
        assert!(code.contains("unsafe_code"), "{file} says why it may");
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    hold(opening_complaints, is_rust);
}

#[test]
fn functions_fit_a_screen() {
    hold(length_complaints, is_rust);
}

#[test]
fn nothing_is_left_over() {
    hold(leftover_complaints, is_other_rust);
}

#[test]
fn text_has_its_shape() {
    hold(shape_complaints, |_| true);
}

#[test]
fn lines_are_not_too_wide() {
    // Rustfmt leaves what is inside of a macro as it is, and the property tests are mostly that.
    hold(width_complaints, |path| {
        is_rust(path) && !path.starts_with("proptests/")
    });
}

#[test]
fn the_documents_show_the_same_table() {
    for file in ["src/lib.rs", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(file)).expect(file);
        for (number, layer) in LAYERS.iter().enumerate() {
            assert_eq!(
                shown_layer(&text, number),
                Ok(sorted(layer)),
                "row L{number} of {file}"
            );
        }
    }
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    for module in words_after(&code_of(&lib), "pub mod ") {
        assert!(module_named(&module).is_some(), "{module} is in no layer");
    }
}

/// The modules in the row of a layer: what stands in backquotes in its second cell, files apart.
fn shown_layer(text: &str, number: usize) -> Result<Vec<&str>, String> {
    let start = format!("| L{number} |");
    let row = text
        .lines()
        .find_map(|line| line.trim_start_matches("//! ").strip_prefix(&start));
    let cell = row
        .and_then(|row| row.split('|').next())
        .ok_or(format!("no row {start}"))?;
    let names: Vec<_> = cell
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| !name.ends_with(".rs"))
        .collect();
    Ok(sorted(&names))
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn words_after(code: &str, before: &str) -> Vec<String> {
    code.match_indices(before)
        .map(|(at, _)| leading_path(&code[at + before.len()..]).0.to_owned())
        .collect()
}

// ---- each rule complains

#[test]
fn an_import_that_goes_up_is_found() {
    for (path, source, found) in [
        ("src/json/parser.rs", "use crate::metric::Draft;", true),
        ("src/json/parser.rs", "use crate::limits::JSON_DEPTH_MAX;", false),
        ("src/json/parser.rs", "use crate::{limits, metric};", true),
        (
            "src/json/parser.rs",
            "use crate::{\n    limits::{A, B},\n    server::C,\n};",
            true,
        ),
        ("src/json/parser.rs", "use crate::{limits::{A, B}, clock};", false),
        ("src/json/parser.rs", "fn f() -> crate::app::App { x }", true),
        (
            "src/json/parser.rs",
            "// use crate::app::App;\nconst A: &str = \"crate::app\";",
            false,
        ),
        ("src/json/parser.rs", "use crate::http::Head;", true),
        ("src/json/parser.rs", "use crate::json::string;", false),
        ("src/log/writer.rs", "use crate::metric::Batch;", true),
        (
            "src/log/writer.rs",
            "use crate::sync::{shim::Mutex, watermark};",
            false,
        ),
        ("src/clock.rs", "use crate::sync::stop::Stop;", true),
        ("src/clock.rs", "use crate::sync::{shim::Mutex, stop};", true),
        ("src/sync/ring.rs", "use crate::ord;", false),
        ("src/sync/ring.rs", "use crate::nowhere::X;", true),
        ("src/json/parser.rs", "use super::super::app::App;", true),
        ("src/json/mod.rs", "use super::app::App;", true),
        ("src/json/parser.rs", "use super::string;", false),
        (
            "src/json/parser.rs",
            "mod tests {\n    use super::super::string;\n}",
            false,
        ),
        (
            "src/json/parser.rs",
            "mod tests {\n    use super::super::super::app;\n}",
            true,
        ),
        ("src/main.rs", "fn main() { crate::app::run() }", false),
        ("src/lib.rs", "use crate::app::App;", false),
    ] {
        let complaints = layer_complaints(path, source);
        assert_eq!(!complaints.is_empty(), found, "{path}: {source}: {complaints:?}");
    }
}

#[test]
fn a_table_that_differs_is_found() {
    let text = "//! | L1 | [`b`], [`a`] |\n| L2 | `main.rs`, `c` | it does `d` |\n";
    assert_eq!(shown_layer(text, 1), Ok(vec!["a", "b"]));
    assert_eq!(shown_layer(text, 2), Ok(vec!["c"]));
    assert!(shown_layer(text, 3).is_err());
}

#[test]
fn a_thread_beside_the_shim_is_found() {
    for (source, found) in [
        ("use std::sync::Arc;", true),
        ("use std::{io, sync::Arc};", true),
        ("std::thread::spawn(run);", true),
        ("use core::sync::atomic::AtomicBool;", true),
        ("use crate::sync::shim::thread;", false),
        ("//! std::thread is not used here", false),
    ] {
        assert_eq!(
            !door_complaints("src/app.rs", source).is_empty(),
            found,
            "{source}"
        );
    }
    assert!(door_complaints("src/sync/shim/mod.rs", "use std::sync::Arc;").is_empty());
}

#[test]
fn unsafe_elsewhere_is_found() {
    let source = "fn f() { unsafe { g() } }";
    assert_eq!(unsafe_complaints("src/app.rs", source).len(), 1);
    assert!(unsafe_complaints("src/sync/ring.rs", source).is_empty());
    assert!(unsafe_complaints("src/app.rs", "#![deny(unsafe_code)] // unsafe\n").is_empty());
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_found() {
    assert!(opening_complaints("src/app.rs", "//! The whole.\n").is_empty());
    for source in ["use std::io;\n", "// The whole.\n", "//!\n", "\n//! Late.\n"] {
        assert_eq!(opening_complaints("src/app.rs", source).len(), 1, "{source:?}");
    }
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| {
        format!(
            "    fn f(a: u8) -> u8\n    {{\n{}    }}\n",
            "        g();\n".repeat(lines)
        )
    };
    assert!(length_complaints("src/app.rs", &function(FUNCTION_LINES_MAX - 3)).is_empty());
    assert_eq!(
        length_complaints("src/app.rs", &function(FUNCTION_LINES_MAX - 2)).len(),
        1
    );
    let table = format!(
        "fn f() {{\n    for x in [\n{}    ] {{\n    }}\n}}\n",
        "        1,\n".repeat(80)
    );
    assert!(length_complaints("src/app.rs", &table).is_empty());
    // Braces in strings and comments, types and bodiless functions are none.
    let trap = format!(
        "fn f() {{ // {{\n    a(\"{{\");\n}}\ntype F = fn (u8);\nfn g();\n{}",
        "x();\n".repeat(80)
    );
    assert!(length_complaints("src/app.rs", &trap).is_empty());
}

#[test]
fn leftovers_are_found() {
    assert_eq!(
        leftover_complaints("src/app.rs", "todo!()\ndbg!(x)\nunimplemented!()\n").len(),
        3
    );
    assert!(leftover_complaints("src/app.rs", "// todo!()\nlet a = \"dbg!\";\n").is_empty());
}

#[test]
fn bad_shape_is_found() {
    for (text, count) in [
        ("a\n".to_owned(), 0),
        (String::new(), 0),
        ("a".to_owned(), 1),
        ("a\n\n".to_owned(), 1),
        ("\ta\n".to_owned(), 1),
        ("a \n".to_owned(), 1),
    ] {
        assert_eq!(shape_complaints("src/app.rs", &text).len(), count, "{text:?}");
    }
}

#[test]
fn wide_lines_are_found() {
    let wide = "x".repeat(LINE_CHARS_MAX - 4);
    for (line, count) in [
        (format!("let {wide}"), 0),
        (format!("let x{wide}"), 1),
        (format!("// x{wide}"), 0),
        (format!("// xx{wide}"), 1),
        (format!("//! xx{wide}"), 1),
        (format!("/// | x{wide} |"), 0),
        (format!("//!   xx{wide}"), 0),
        (format!("// https://example.org/{wide}"), 0),
        (format!("let x = \"{wide}\";"), 0),
        (format!("let x{wide}; // said late"), 0),
    ] {
        assert_eq!(width_complaints("src/app.rs", &line).len(), count, "{line}");
    }
}

#[test]
fn strings_and_comments_are_told_from_code() {
    for (source, code) in [
        ("a \"b\\\"c\" d", "a d"),
        ("a r#\"b\"c\"# d", "a d"),
        ("a b\"b\" c", "a c"),
        ("f::<'a>('b', '\\'')", "f::<'a>( , )"),
        ("a /* b /* c */ d */ e", "a e"),
        ("a // b\nc", "a c"),
        ("a / b", "a / b"),
        ("bar(br)", "bar(br)"),
        ("b'\"' + \"'\" + x", "+ + x"),
    ] {
        let read = code_of(source);
        assert_eq!(read.len(), source.len(), "columns are kept");
        assert_eq!(
            read.split_whitespace().collect::<Vec<_>>().join(" "),
            code,
            "{source}"
        );
    }
}
