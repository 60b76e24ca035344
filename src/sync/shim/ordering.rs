//! Named memory orderings.
//!
//! `ord!(RING_PUBLISH, Release)` is the literal `Ordering::Release` in normal builds. Under
//! `--cfg metricstream_loom` each site asks [`at`], which the mutation gate can tell to weaken one site, to
//! see that some model then fails. The names are the ids of PROOFS.md.

/// The ordering of one named site: `ord!(SITE, Ordering)`.
#[cfg(not(metricstream_loom))]
#[macro_export]
macro_rules! ord {
    ($site:ident, $ordering:ident) => {
        $crate::sync::shim::atomic::Ordering::$ordering
    };
}

/// The ordering of one named site: `ord!(SITE, Ordering)`; under loom one site can be weakened.
#[cfg(metricstream_loom)]
#[macro_export]
macro_rules! ord {
    ($site:ident, $ordering:ident) => {
        $crate::sync::shim::ordering::at(stringify!($site), $crate::sync::shim::atomic::Ordering::$ordering)
    };
}

/// The environment variable that weakens one site, as `SITE=Ordering` (`RING_PUBLISH=Relaxed`).
#[cfg(metricstream_loom)]
pub const WEAKEN_VARIABLE: &str = "METRICSTREAM_WEAKEN";

/// The ordering in force at `site`: `declared`, unless [`WEAKEN_VARIABLE`] names this site.
#[cfg(metricstream_loom)]
#[must_use]
pub fn at(site: &str, declared: std::sync::atomic::Ordering) -> std::sync::atomic::Ordering {
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;
    static WEAKENED: OnceLock<Option<(String, Ordering)>> = OnceLock::new();
    let weakened = WEAKENED.get_or_init(|| {
        let text = std::env::var(WEAKEN_VARIABLE).ok()?;
        let (site, ordering) = text
            .split_once('=')
            .expect("METRICSTREAM_WEAKEN is SITE=Ordering");
        let ordering = match ordering {
            "Relaxed" => Ordering::Relaxed,
            "Acquire" => Ordering::Acquire,
            "Release" => Ordering::Release,
            "AcqRel" => Ordering::AcqRel,
            "SeqCst" => Ordering::SeqCst,
            other => panic!("METRICSTREAM_WEAKEN: no ordering is called {other}"),
        };
        Some((site.to_owned(), ordering))
    });
    match weakened {
        Some((name, ordering)) if name == site => *ordering,
        _ => declared,
    }
}
