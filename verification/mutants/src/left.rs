//! The mutants that cannot be switched at run time, run by cargo-mutants itself.

use std::path::Path;
use std::process::Command;

use crate::tests_of;
use crate::tree::Tree;
use crate::{Mutant, Verdict, known_results, module_files, save, target_directory};

/// Where cargo-mutants writes, and what a mutant is that it lists there.
const LISTS: [(&str, Verdict); 4] = [
    ("caught.txt", Verdict::Caught),
    ("timeout.txt", Verdict::Stuck),
    ("missed.txt", Verdict::Missed),
    ("unviable.txt", Verdict::Unviable),
];

/// Has cargo-mutants try each of `mutants` that has no result but that it was left, and notes what it found.
pub fn run(root: &Path, mutants: &[Mutant]) {
    let mut results = known_results(root);
    let left: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| results.get(&mutant.name) == Some(&Verdict::Left))
        .collect();
    println!("{} mutants, one build each", left.len());
    if left.is_empty() {
        return;
    }
    let tree = Tree::copy(root, &[]);
    let config = root.join("target/mutants/left.toml");
    std::fs::write(&config, configuration(&left)).expect("target can be written to");
    let output = root.join("target/mutants/of_cargo_mutants");
    let status = Command::new("cargo")
        .arg("mutants")
        .arg("--dir")
        .arg(tree.path())
        .args([
            "--in-place",
            "--no-shuffle",
            "--baseline",
            "skip",
            "--timeout",
            "300",
        ])
        .args(["--colors", "never", "-p", "metricstream"])
        .args(module_files())
        .arg("--config")
        .arg(&config)
        .arg("--output")
        .arg(&output)
        .env("CARGO_TARGET_DIR", target_directory(root))
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .status()
        .expect("cargo runs");
    println!("cargo mutants: {status}");
    for (file, verdict) in LISTS {
        let found = std::fs::read_to_string(output.join("mutants.out").join(file)).unwrap_or_default();
        for name in found.lines() {
            results.insert(name.to_owned(), verdict);
        }
    }
    save(root, &results);
}

/// These mutants by their names, and the tests to run.
fn configuration(mutants: &[&Mutant]) -> String {
    let names: Vec<String> = mutants
        .iter()
        .map(|mutant| format!("^{}$", escaped(&mutant.name)))
        .collect();
    let mut arguments = vec!["--lib".to_owned()];
    for test in tests_of::all() {
        arguments.extend(["--test".to_owned(), test.to_owned()]);
    }
    format!(
        "examine_re = {names:?}\nadditional_cargo_test_args = {arguments:?}\n\
         test_package = [\"metricstream\", \"metricstream-proptests\"]\n"
    )
}

/// A regular expression that matches `name` alone.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        // Not every sign: `\<` would be the start of a word.
        if r"\.+*?()|[]{}^$#&-~".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
