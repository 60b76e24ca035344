//! PROOFS.md against the source: ids, sites, test names and the kill matrix, in both directions.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "models/sites.rs"]
mod sites;

#[path = "../src/simulation/register.rs"]
#[allow(dead_code, unreachable_pub, reason = "the simulation shares it")]
mod register;

use sites::SITES;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of every Rust file under `directory`.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 3, "{directory} has its files");
    found
}

fn proofs() -> String {
    fs::read_to_string(root().join("PROOFS.md")).unwrap()
}

/// Words of capitals with a hyphen, as `RING-FIFO`.
fn ids(text: &str) -> BTreeSet<String> {
    let is_part = |part: &str| {
        part.len() > 1
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .filter(|word| {
            word.split_once('-')
                .is_some_and(|(module, name)| is_part(module) && is_part(name))
        })
        .map(ToOwned::to_owned)
        .collect()
}

/// The first cells of the tables of PROOFS.md that are ids.
fn listed_ids() -> BTreeSet<String> {
    let text = proofs();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next().map(str::to_owned));
    rows.filter(|cell| ids(cell).contains(cell)).collect()
}

/// The modules that PROOFS.md speaks of.
const MODULES: [&str; 14] = [
    "RING",
    "MUTEX_POOL",
    "THREAD_POOL",
    "WATERMARK",
    "STOP",
    "LOG_QUEUE",
    "LOG_FLUSHER",
    "LOG",
    "RATE_LIMIT",
    "BUDGET",
    "PAUSE",
    "READY",
    "RULES",
    "HONEST",
];

fn is_ours(id: &str) -> bool {
    MODULES.contains(&id.split_once('-').map_or("", |(module, _)| module))
}

/// Every id in the source is in a table, and every id in a table is in the source or in a model.
#[test]
fn ids_are_the_same_in_both() {
    let listed = listed_ids();
    assert!(listed.len() > 20, "the tables are there");
    let in_source: BTreeSet<_> = sources("src")
        .iter()
        .flat_map(|(_, text)| ids(text))
        .filter(|id| is_ours(id))
        .collect();
    let in_models: BTreeSet<_> = sources("verification")
        .iter()
        .flat_map(|(_, text)| ids(text))
        .filter(|id| is_ours(id))
        .collect();
    let unlisted: Vec<_> = in_source
        .union(&in_models)
        .filter(|id| !listed.contains(*id))
        .collect();
    assert!(unlisted.is_empty(), "not in PROOFS.md: {unlisted:?}");
    let unfounded: Vec<_> = listed
        .iter()
        .filter(|id| !in_source.contains(*id) && !id.starts_with("HONEST-"))
        .collect();
    assert!(
        unfounded.is_empty(),
        "claimed by PROOFS.md and promised nowhere in src: {unfounded:?}"
    );
    assert!(
        listed.iter().all(|id| is_ours(id)),
        "a module is missing from this test"
    );
}

/// What stands in for the machine and is in no build that serves: the shim, which breaks the sites of others,
/// and the network of the simulation, where a lost wake-up would be a fault of the simulation's.
fn is_scaffold(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "shim") || path.ends_with("net/simulated.rs")
}

/// Every named site with its kind, read off the source.
fn sites_of_source() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, text) in sources("src") {
        if is_scaffold(&path) {
            continue;
        }
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for rest in code.split("ord!(").skip(1) {
            let (site, ordering) = rest.split(')').next().unwrap().split_once(',').unwrap();
            let before = found.insert(site.trim().to_owned(), ordering.trim().to_owned());
            assert!(
                before.is_none_or(|before| before == ordering.trim()),
                "{site} has two orderings"
            );
        }
        for (call, kind) in [
            ("wait_while(", "wait"),
            ("wait_timeout_while(", "wait"),
            ("notify_one(", "notify_one"),
            ("notify_all(", "notify_all"),
        ] {
            for rest in code.split(call).skip(1) {
                let site = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next());
                let site = site.unwrap_or_else(|| panic!("{}: a {call} without a name", path.display()));
                assert!(
                    found.insert(site.to_owned(), kind.to_owned()).is_none(),
                    "{site} is named twice"
                );
            }
        }
    }
    found
}

/// The sites of the source, of the gate and of PROOFS.md are the same.
#[test]
fn sites_are_the_same_in_all_three() {
    let in_gate: BTreeMap<_, _> = SITES
        .iter()
        .map(|site| (site.name.to_owned(), site.kind.to_owned()))
        .collect();
    let in_source = sites_of_source();
    let differences: Vec<_> = in_source
        .keys()
        .chain(in_gate.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|name| in_source.get(*name) != in_gate.get(*name))
        .map(|name| {
            let shown = |kind: Option<&String>| kind.map_or("not there", String::as_str).to_owned();
            let (source, gate) = (shown(in_source.get(name)), shown(in_gate.get(name)));
            format!("{name}: {source} in the source, {gate} in verification/tests/models/sites.rs")
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let rows: Vec<_> = matrix_rows();
    for site in SITES {
        let changes: Vec<_> = rows
            .iter()
            .filter(|row| row[0] == site.name)
            .map(|row| row[2].as_str())
            .collect();
        let expected = if site.changes().is_empty() {
            &["nothing is weaker"]
        } else {
            site.changes()
        };
        assert_eq!(changes, expected, "the rows of {} in PROOFS.md", site.name);
        assert!(
            !site.models.is_empty() || site.changes().is_empty(),
            "{} has no model",
            site.name
        );
    }
}

/// The cells of the kill matrix, without the quotes.
fn matrix_rows() -> Vec<Vec<String>> {
    let text = proofs();
    let matrix = text.split("<!-- kill matrix: begin -->").nth(1).unwrap();
    let matrix = matrix.split("<!-- kill matrix: end -->").next().unwrap();
    let rows = matrix.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        row.split('|')
            .skip(1)
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    })
    .collect()
}

#[test]
fn every_row_of_the_matrix_is_a_kill() {
    let rows = matrix_rows();
    assert!(rows.len() >= SITES.len());
    for row in rows.iter().filter(|row| row[2] != "nothing is weaker") {
        let kills = ["causality violation", "named assertion", "deadlock"];
        assert!(kills.contains(&row[4].as_str()), "{row:?}");
    }
}

/// `module::test` names in PROOFS.md are tests of the models, and every model's test is in PROOFS.md.
#[test]
fn tests_are_the_same_in_both() {
    let text = proofs();
    let mut tests = BTreeSet::new();
    for (path, source) in sources("verification/tests/models") {
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        for rest in source.split("#[test]").skip(1) {
            // A seeded fault is named by itself.
            let ignored = rest.trim_start().starts_with("#[ignore");
            let name = rest.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            tests.insert(if ignored {
                name.to_owned()
            } else {
                format!("{module}::{name}")
            });
        }
    }
    let unnamed: Vec<_> = tests
        .iter()
        .filter(|test| !text.contains(&format!("`{test}`")))
        .collect();
    assert!(unnamed.is_empty(), "not in PROOFS.md: {unnamed:?}");
    let named = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains("::") && !word.contains(' '));
    let modules: BTreeSet<_> = tests
        .iter()
        .filter_map(|test| test.split_once("::"))
        .map(|(module, _)| module)
        .collect();
    for word in named {
        let module = word.split("::").next().unwrap();
        if modules.contains(module) {
            assert!(
                tests.contains(word),
                "PROOFS.md names {word}, and no model is called that"
            );
        }
    }
}

/// The paths that PROOFS.md names are there.
#[test]
fn files_are_there() {
    let text = proofs();
    let words = text.split('`').skip(1).step_by(2);
    let paths = words.filter(|word| word.contains('/') && !word.contains(' ') && word.contains('.'));
    let mut count = 0;
    for path in paths {
        assert!(root().join(path).exists(), "PROOFS.md names {path}");
        count += 1;
    }
    assert!(count > 10);
}

/// The first arguments of every call of a macro in the source of the server.
fn names_in_calls(macros: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in sources("src") {
        if path.ends_with("shim/seeded.rs") {
            continue;
        }
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.collect();
        for call in macros {
            let call = format!("{call}!(");
            let rests = code.split(&call).skip(1);
            found.extend(rests.map(|rest| rest.split(')').next().unwrap().trim().to_owned()));
        }
    }
    found
}

/// The seeded bugs of the source, of the register, of the models and of PROOFS.md are the same.
#[test]
fn seeded_bugs_are_the_same_in_all_four() {
    let registered: BTreeSet<_> = register::BUGS.iter().map(|bug| bug.name.to_owned()).collect();
    assert!(registered.len() >= 15 && registered.len() == register::BUGS.len());
    assert_eq!(names_in_calls(&["seeded"]), registered, "source and register");
    let text = proofs();
    let section = text.split("\n## Simulation\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let models = fs::read_to_string(root().join("verification/tests/models/simulation.rs")).unwrap();
    for bug in register::BUGS {
        let test = bug.name.to_lowercase();
        let row = section
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", bug.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row in PROOFS.md", bug.name));
        assert!(row.contains(&format!("`simulation::{test}`")), "{row}");
        assert!(row.ends_with(&format!(" | {} |", bug.within)), "{row}");
        let body = format!("fn {test}() {{\n    is_noticed(\"{}\");", bug.name);
        assert!(models.contains(&body), "{} has no test", bug.name);
    }
    let rows = section.lines().filter(|line| line.contains("| `simulation::"));
    assert_eq!(rows.count(), register::BUGS.len(), "a row for each and no more");
}

/// The places that the simulation has to reach are those marked in the source.
#[test]
fn places_are_the_same_in_both() {
    let registered: BTreeSet<_> = register::PLACES.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(names_in_calls(&["reached", "panic_point"]), registered);
}
