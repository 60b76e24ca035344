//! The mutation gate: each site broken in each way, and some model notices.

use crate::child::{self, Failure};
use crate::sites::{SITES, Site};

/// Where PROOFS.md keeps the table of this gate.
const BEGIN: &str = "<!-- kill matrix: begin -->\n";
const END: &str = "<!-- kill matrix: end -->\n";

/// HONEST-MUTATION: every weaker ordering, every `if` for a `while`, every lost notification is noticed, by a
/// causality violation, a deadlock or a named assertion. The table of who noticed is PROOFS.md's.
///
/// To write the table anew, run this test with `METRICSTREAM_BLESS=1`.
#[test]
fn every_broken_site_is_noticed() {
    if std::env::var_os(metricstream::sync::shim::mutation::VARIABLE).is_some() {
        return;
    }
    let mut rows = String::from("| site | is | broken to | noticed by | as |\n|---|---|---|---|---|\n");
    let mut unnoticed = Vec::new();
    for site in SITES {
        if site.changes().is_empty() {
            rows += &format!("| `{}` | `{}` | nothing is weaker | | |\n", site.name, site.kind);
        }
        for change in site.changes() {
            let verdict = break_site(site, change);
            println!("{} {change}: {verdict:?}", site.name);
            let (noticed_by, class) = match &verdict {
                Some(failure) => (failure.test.as_str(), failure.class),
                None => ("nobody", "NOT NOTICED"),
            };
            rows += &format!(
                "| `{}` | `{}` | `{change}` | `{noticed_by}` | {class} |\n",
                site.name, site.kind
            );
            if !verdict.as_ref().is_some_and(|failure| is_kill(site, failure)) {
                unnoticed.push(format!("{} = {change}: {verdict:?}", site.name));
            }
        }
    }
    assert!(
        unnoticed.is_empty(),
        "[HONEST-MUTATION] not noticed:\n{}",
        unnoticed.join("\n")
    );
    compare_with_proofs(&rows);
}

fn break_site(site: &Site, change: &str) -> Option<Failure> {
    let setting = format!("{}={change}", site.name);
    let variable = metricstream::sync::shim::mutation::VARIABLE;
    child::run(site.models, &[(variable, &setting)], false)
}

/// A weaker ordering has to show as a race or a wrong result; a wait or a notification may also show as a
/// deadlock. An outcome that is missing is no kill: it may be the checker's blindness.
fn is_kill(site: &Site, failure: &Failure) -> bool {
    let is_ordering = site.kind.starts_with(char::is_uppercase);
    failure.is_verdict() && (failure.class != "deadlock" || !is_ordering)
}

fn compare_with_proofs(rows: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../PROOFS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find(BEGIN).expect("PROOFS.md marks the kill matrix") + BEGIN.len();
    let end = text
        .find(END)
        .expect("PROOFS.md marks the end of the kill matrix");
    if std::env::var_os("METRICSTREAM_BLESS").is_some() {
        std::fs::write(path, format!("{}{rows}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert_eq!(
        &text[begin..end],
        rows,
        "[HONEST-MUTATION] the kill matrix of PROOFS.md is out of date; METRICSTREAM_BLESS=1 writes it"
    );
}

/// The gate itself has to be able to fail: breaking nothing is not noticed, and a site nobody knows breaks
/// nothing.
#[test]
fn an_unbroken_site_is_not_noticed() {
    if std::env::var_os(metricstream::sync::shim::mutation::VARIABLE).is_some() {
        return;
    }
    let variable = metricstream::sync::shim::mutation::VARIABLE;
    assert_eq!(
        child::run(
            "stop::happens_before",
            &[(variable, "NO_SUCH_SITE=Relaxed")],
            false
        ),
        None
    );
    assert_eq!(
        child::run(
            "stop::happens_before",
            &[(variable, "STOP_PUBLISH=Release")],
            false
        ),
        None
    );
}
