//! Breaking one named site on purpose, to see that a model notices.
//!
//! Promises: with `METRICSTREAM_WEAKEN` unset nothing changes. Set to `SITE=CHANGE` it breaks that one
//! site in the whole process: an atomic access takes the weaker ordering named (`RING_PUBLISH=Relaxed`), a
//! wait checks its predicate once instead of in a loop (`=if`), a notification is lost (`=none`) or reaches
//! one waiter instead of all (`=one`). A change that no site understands is a panic and not a pass.
//! Leaves to the caller: to start one process for each change.

use std::sync::OnceLock;

/// The environment variable that breaks one site.
pub const VARIABLE: &str = "METRICSTREAM_WEAKEN";

/// The change asked for at `site`, if it is the one to break.
#[must_use]
pub fn at(site: &str) -> Option<&'static str> {
    static BROKEN: OnceLock<Option<(String, String)>> = OnceLock::new();
    let broken = BROKEN.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (site, change) = text.split_once('=').expect("METRICSTREAM_WEAKEN is SITE=CHANGE");
        const CHANGES: [&str; 8] = [
            "Relaxed", "Acquire", "Release", "AcqRel", "SeqCst", "if", "none", "one",
        ];
        assert!(
            CHANGES.contains(&change),
            "METRICSTREAM_WEAKEN: no change is called {change}"
        );
        Some((site.to_owned(), change.to_owned()))
    });
    match broken {
        Some((name, change)) if name == site => Some(change),
        _ => None,
    }
}
