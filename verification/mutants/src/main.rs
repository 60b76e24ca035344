//! Mutation testing of json, http, admission and metric, all mutants in one build.
//!
//! cargo-mutants lists the mutants; each would cost a build of its own. Here every one that can be is
//! written into one copy of the source behind a question asked at run time (`rewrite`), which is built
//! once; the tests are then run once for each, by what is cheapest first: the module's unit tests, then its
//! cases and properties, and what is left against the same tests as everyday runs have them. Those that
//! cannot be switched at run time are left to cargo-mutants itself: `--left` has it run them, one build
//! each.
//!
//! Promises: a mutant is *caught* when a test fails while it is active, *stuck* when the tests use up their
//! processor time (a loop without an end), *missed* when every test passes. The results are written to
//! `target/mutants/results.json` as they come; a run that was cut short goes on where it was.
//!
//!     cargo run --manifest-path verification/mutants/Cargo.toml            all files
//!     cargo run --manifest-path verification/mutants/Cargo.toml FILE...    these files
//!     cargo run --manifest-path verification/mutants/Cargo.toml -- --go-on with the last build
//!     cargo run --manifest-path verification/mutants/Cargo.toml -- --left  what the runs above left

mod left;
mod rewrite;
mod tests_of;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use tests_of::{Outcome, Thoroughness};
use tree::Build;

/// The modules whose logic is tested.
const MODULES: [&str; 4] = ["json", "admission", "metric", "http"];

/// A mutant as cargo-mutants lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mutant {
    name: String,
    file: String,
    genre: String,
    replacement: String,
    span: Region,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Region {
    start: Place,
}

/// Line and column, both from 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Caught,
    Stuck,
    Missed,
    /// Not of a type that its place can have: no compiler takes it.
    Unviable,
    /// Cannot be switched at run time.
    Left,
}

type Results = BTreeMap<String, Verdict>;

fn main() -> ExitCode {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let jobs = jobs(&mut wanted);
    let root = root();
    std::fs::create_dir_all(root.join("target/mutants")).expect("target can be written to");
    if wanted == ["--left"] {
        let mutants = list(&root, &[]);
        left::run(&root, &mutants);
        return report(&mutants, &known_results(&root));
    }
    let mut results = known_results(&root);
    let (mutants, build) = if wanted == ["--go-on"] {
        known_build(&root)
    } else {
        let mutants = list(&root, &wanted);
        println!("{} mutants", mutants.len());
        let tree = tree::Tree::copy(&root, &mutants);
        let build = tree.build(&mutants, &mut results);
        save_build(&root, &mutants, &build);
        (mutants, build)
    };
    println!("{} in one build", build.placed.len());
    run(&root, &mutants, &build, jobs, results);
    let results = known_results(&root);
    report(&mutants, &results)
}

/// Takes `--jobs N` out of the arguments: how many mutants are tried at once; one a core without it.
fn jobs(arguments: &mut Vec<String>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(at) = arguments.iter().position(|argument| argument == "--jobs") else {
        return cores;
    };
    let jobs = arguments.get(at + 1).and_then(|jobs| jobs.parse().ok());
    arguments.drain(at..(at + 2).min(arguments.len()));
    jobs.expect("--jobs takes a number")
}

/// The workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("two levels down").to_owned()
}

/// The arguments that have cargo-mutants look at the modules alone.
fn module_files() -> impl Iterator<Item = String> {
    MODULES
        .iter()
        .flat_map(|module| ["-f".to_owned(), format!("src/{module}/**")])
}

/// Where copies are built. Not the workspace's directory: cargo would take the crates of a copy for those of
/// the workspace.
fn target_directory(root: &Path) -> PathBuf {
    root.join("target/mutants/build")
}

fn list(root: &Path, files: &[String]) -> Vec<Mutant> {
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args(["mutants", "--list", "--json", "-p", "metricstream"]);
    if files.is_empty() {
        command.args(module_files());
    }
    for file in files {
        command.arg("-f").arg(file);
    }
    let output = command.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "needs cargo-mutants (cargo install cargo-mutants): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("a list of mutants")
}

fn results_file(root: &Path) -> PathBuf {
    root.join("target/mutants/results.json")
}

fn known_results(root: &Path) -> Results {
    std::fs::read(results_file(root))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

fn save(root: &Path, results: &Results) {
    let text = serde_json::to_string_pretty(results).expect("a map of words");
    std::fs::write(results_file(root), text).expect("target can be written to");
}

fn build_file(root: &Path) -> PathBuf {
    root.join("target/mutants/build.json")
}

fn save_build(root: &Path, mutants: &[Mutant], build: &Build) {
    let text = serde_json::to_vec(&(mutants, build)).expect("names and numbers");
    std::fs::write(build_file(root), text).expect("target can be written to");
}

fn known_build(root: &Path) -> (Vec<Mutant>, Build) {
    let text = std::fs::read(build_file(root)).expect("there was a build before");
    serde_json::from_slice(&text).expect("it is as it was written")
}

/// Runs the tests for each mutant that has no result yet: quickly, and those that passed as every day.
fn run(root: &Path, mutants: &[Mutant], build: &Build, jobs: usize, results: Results) {
    let Build { placed, programs } = build;
    let results = Mutex::new(results);
    for thoroughness in [Thoroughness::Quick, Thoroughness::Everyday] {
        let known = results.lock().expect("no thread panics").clone();
        let wanted = |number: &usize| match known.get(&mutants[*number].name) {
            None => true,
            Some(verdict) => thoroughness == Thoroughness::Everyday && *verdict == Verdict::Missed,
        };
        let mut todo: Vec<usize> = placed.iter().copied().filter(wanted).collect();
        todo.sort_by_key(|&number| {
            MODULES
                .iter()
                .position(|module| *module == module_of(&mutants[number]))
        });
        println!("{thoroughness:?}: {} mutants", todo.len());
        for module in MODULES {
            if todo.iter().any(|&number| module_of(&mutants[number]) == module) {
                programs.pass_without_a_mutant(module, thoroughness);
            }
        }
        let judge = |number: usize| {
            let mutant = &mutants[number];
            let (outcome, program) = programs.outcome(module_of(mutant), number, thoroughness);
            let verdict = match outcome {
                Outcome::Failed => Verdict::Caught,
                Outcome::OutOfTime => Verdict::Stuck,
                Outcome::Passed => Verdict::Missed,
            };
            println!("{verdict:?} {program} {}", mutant.name);
            let mut results = results.lock().expect("no thread panics");
            results.insert(mutant.name.clone(), verdict);
            save(root, &results);
        };
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(&number) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                        judge(number);
                    }
                });
            }
        });
    }
}

fn module_of(mutant: &Mutant) -> &str {
    mutant.file.split('/').nth(1).unwrap_or_default()
}

/// Prints the table of files and the mutants that were missed; fails when there is one.
fn report(mutants: &[Mutant], results: &Results) -> ExitCode {
    let mut files: BTreeMap<&str, BTreeMap<Verdict, usize>> = BTreeMap::new();
    let of = |mutant: &Mutant| results.get(&mutant.name).copied().unwrap_or(Verdict::Left);
    for mutant in mutants {
        *files
            .entry(&mutant.file)
            .or_default()
            .entry(of(mutant))
            .or_default() += 1;
    }
    println!("\n| file | mutants | caught | stuck | missed | unviable | left to cargo-mutants |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (file, verdicts) in &files {
        let count = |verdict| verdicts.get(&verdict).copied().unwrap_or(0);
        println!(
            "| {file} | {} | {} | {} | {} | {} | {} |",
            verdicts.values().sum::<usize>(),
            count(Verdict::Caught),
            count(Verdict::Stuck),
            count(Verdict::Missed),
            count(Verdict::Unviable),
            count(Verdict::Left)
        );
    }
    let with = |verdict| mutants.iter().filter(move |mutant| of(mutant) == verdict);
    println!();
    with(Verdict::Missed).for_each(|mutant| println!("missed: {}", mutant.name));
    with(Verdict::Left).for_each(|mutant| println!("left to cargo-mutants (--left): {}", mutant.name));
    ExitCode::from(u8::from(with(Verdict::Missed).count() > 0))
}
