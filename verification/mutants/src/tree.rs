//! The copy of the source with the mutants in it, and its build.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::rewrite::rewrite;
use crate::tests_of::{self, Programs};
use crate::{Mutant, Results, Verdict, save, target_directory};

/// Where the question goes.
const LIBRARY: &str = "src/lib.rs";

/// Asks whether a mutant is active.
const QUESTION: &str = r#"
/// Whether the mutant with this number is active.
#[doc(hidden)]
#[must_use]
pub fn mutant(number: usize) -> bool {
    static ACTIVE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let active = || std::env::var("METRICSTREAM_MUTANT").ok()?.parse().ok();
    *ACTIVE.get_or_init(|| active().unwrap_or(usize::MAX)) == number
}
"#;

/// A mutant can make an operation that the compiler sees must fail.
const ALLOWED: &str = "#![allow(arithmetic_overflow, unconditional_panic, unused_parens, unused_braces)]\n";

/// The copy.
pub struct Tree {
    root: PathBuf,
    copy: PathBuf,
}

/// A build of it.
#[derive(Serialize, Deserialize)]
pub struct Build {
    /// The mutants in it, by number.
    pub placed: BTreeSet<usize>,
    /// The test programs.
    pub programs: Programs,
}

/// What cargo says of a step of a build.
#[derive(Deserialize)]
struct Message {
    message: Option<Diagnostic>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    code: Option<Code>,
    message: String,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    is_primary: bool,
}

impl Tree {
    /// Copies what is under version control, or could be, to `target/mutants/tree`; but not the files with
    /// `mutants`, which are written when it is built.
    pub fn copy(root: &Path, mutants: &[Mutant]) -> Self {
        let written = |name: &str| {
            let has_mutants = mutants.iter().any(|mutant| mutant.file == name);
            has_mutants || (name == LIBRARY && !mutants.is_empty())
        };
        let copy = root.join("target/mutants/tree");
        let listed = Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()
            .expect("git runs");
        let names = String::from_utf8(listed.stdout).expect("names of text");
        for name in names
            .split('\0')
            .filter(|name| !name.is_empty() && !written(name))
        {
            let content = std::fs::read(root.join(name)).unwrap_or_default();
            write(&copy.join(name), &content);
        }
        Self {
            root: root.to_owned(),
            copy,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.copy
    }

    /// Builds the tests with as many of `mutants` as the compiler takes; those it does not take are noted in
    /// `results`, and those noted there before are left out.
    pub fn build(&self, mutants: &[Mutant], results: &mut Results) -> Build {
        let is_out =
            |mutant: &Mutant| matches!(results.get(&mutant.name), Some(Verdict::Unviable | Verdict::Left));
        let mut refused: BTreeSet<usize> = (0..mutants.len())
            .filter(|&number| is_out(&mutants[number]))
            .collect();
        loop {
            let (placed, texts) = self.write(mutants, &refused);
            let messages = self.cargo_test();
            let errors = errors(&messages, &texts);
            if errors.is_empty() {
                let programs = self.programs(&messages);
                for (number, mutant) in mutants.iter().enumerate() {
                    if !placed.contains(&number) {
                        results.entry(mutant.name.clone()).or_insert(Verdict::Left);
                    }
                }
                save(&self.root, results);
                return Build { placed, programs };
            }
            println!("{} mutants do not compile", errors.len());
            for (number, code) in errors {
                refused.insert(number);
                // A value whose type has no default, or the like.
                let verdict = match mutants[number].genre.as_str() {
                    "FnValue" if code == "E0277" => Verdict::Unviable,
                    _ => Verdict::Left,
                };
                results.insert(mutants[number].name.clone(), verdict);
            }
            save(&self.root, results);
        }
    }

    /// Writes the files with the mutants but those `refused`; which are in, and the new texts by path.
    fn write(
        &self,
        mutants: &[Mutant],
        refused: &BTreeSet<usize>,
    ) -> (BTreeSet<usize>, HashMap<String, String>) {
        let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (number, mutant) in mutants.iter().enumerate() {
            let file = files.entry(&mutant.file).or_default();
            if !refused.contains(&number) {
                file.push((number, mutant));
            }
        }
        let (mut placed, mut texts) = (BTreeSet::new(), HashMap::new());
        for (file, mutants) in files {
            let source = std::fs::read_to_string(self.root.join(file)).expect("a file of the source");
            let rewritten = rewrite(&source, &mutants);
            write(&self.copy.join(file), rewritten.text.as_bytes());
            placed.extend(rewritten.placed);
            texts.insert(file.to_owned(), rewritten.text);
        }
        let library = std::fs::read_to_string(self.root.join(LIBRARY)).expect("the library");
        // Attributes of the crate come after its documentation and before its items.
        let items = library
            .lines()
            .position(|line| !line.starts_with("//!") && !line.is_empty())
            .expect("it has items");
        let (docs, items): (Vec<_>, Vec<_>) =
            library.lines().enumerate().partition(|(index, _)| *index < items);
        let join = |lines: Vec<(usize, &str)>| -> String {
            lines
                .into_iter()
                .map(|(_, line)| line.to_owned() + "\n")
                .collect()
        };
        let text = format!("{}{ALLOWED}{}{QUESTION}", join(docs), join(items));
        write(&self.copy.join(LIBRARY), text.as_bytes());
        (placed, texts)
    }

    fn cargo_test(&self) -> Vec<Message> {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--no-run", "--message-format=json", "--lib"])
            .args(["-p", "metricstream", "-p", "metricstream-proptests"])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", target_directory(&self.root));
        for test in tests_of::all() {
            command.args(["--test", test]);
        }
        let output = command.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let messages: Vec<Message> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let failed = messages.iter().filter_map(|message| message.message.as_ref());
        assert!(
            output.status.success() || failed.clone().any(|message| message.level == "error"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        messages
    }

    fn programs(&self, messages: &[Message]) -> Programs {
        let others: HashMap<_, _> = messages
            .iter()
            .filter_map(|message| Some((message.target.as_ref()?.name.clone(), message.executable.clone()?)))
            .collect();
        Programs {
            unit: others["metricstream"].clone(),
            directory: self.copy.join("proptests"),
            others,
        }
    }
}

/// The mutants that errors are in: those whose question is the last before the place of an error.
fn errors(messages: &[Message], texts: &HashMap<String, String>) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for diagnostic in messages.iter().filter_map(|message| message.message.as_ref()) {
        if diagnostic.level != "error" {
            continue;
        }
        let code = diagnostic
            .code
            .as_ref()
            .map_or(String::new(), |code| code.code.clone());
        // Where it is called is not where the mutants are.
        assert!(
            code != "E0015" || diagnostic.message.contains("`mutant`"),
            "{} (is it in NEEDED_CONSTANT?)",
            diagnostic.message
        );
        let Some(span) = diagnostic.spans.iter().find(|span| span.is_primary) else {
            continue;
        };
        let number = texts
            .get(&span.file_name)
            .and_then(|text| text.get(..span.byte_start))
            .and_then(|before| before.rsplit_once("crate::mutant("))
            .and_then(|(_, after)| after.split(')').next()?.parse().ok());
        let Some(number) = number else {
            panic!("not about a mutant: {} in {}", diagnostic.message, span.file_name);
        };
        found.insert(number, code);
    }
    found
}

/// Writes a file unless it is so already, so that what did not change is not built again.
fn write(path: &Path, content: &[u8]) {
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return;
    }
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}
