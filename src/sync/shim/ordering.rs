//! Named memory orderings.
//!
//! `ord!(RING_PUBLISH, Release)` is the literal `Ordering::Release` in normal builds. Under
//! `--cfg metricstream_loom`, and under `--cfg metricstream_tsan` (std's types, for ThreadSanitizer), each
//! site asks `at`, which the mutation gate can tell to weaken one site, to see that some model then fails.
//! The names are the ids of PROOFS.md.

/// The ordering of one named site: `ord!(SITE, Ordering)`.
#[cfg(not(any(metricstream_loom, metricstream_tsan)))]
#[macro_export]
macro_rules! ord {
    ($site:ident, $ordering:ident) => {
        $crate::sync::shim::atomic::Ordering::$ordering
    };
}

/// The ordering of one named site: `ord!(SITE, Ordering)`; one site can be weakened.
#[cfg(any(metricstream_loom, metricstream_tsan))]
#[macro_export]
macro_rules! ord {
    ($site:ident, $ordering:ident) => {
        $crate::sync::shim::ordering::at(stringify!($site), $crate::sync::shim::atomic::Ordering::$ordering)
    };
}

/// The ordering in force at `site`: `declared`, unless [`super::mutation`] names this site.
#[cfg(any(metricstream_loom, metricstream_tsan))]
#[must_use]
pub fn at(site: &str, declared: std::sync::atomic::Ordering) -> std::sync::atomic::Ordering {
    use std::sync::atomic::Ordering;
    match super::mutation::at(site) {
        None => declared,
        Some("Relaxed") => Ordering::Relaxed,
        Some("Acquire") => Ordering::Acquire,
        Some("Release") => Ordering::Release,
        Some("AcqRel") => Ordering::AcqRel,
        Some("SeqCst") => Ordering::SeqCst,
        Some(other) => panic!("METRICSTREAM_WEAKEN: {other} is no ordering, at {site}"),
    }
}
