//! The models of the concurrent modules: one scenario for each property, three harnesses.
//!
//! Plain `cargo test` runs every scenario on real threads; with `RUSTFLAGS="--cfg metricstream_loom"` loom
//! runs every execution, with `--cfg metricstream_shuttle` shuttle runs random and PCT schedules. PROOFS.md
//! has the commands, the statements and what they do not say.

#![allow(clippy::unwrap_used, reason = "tests")]

mod note;

#[cfg(any(metricstream_loom, metricstream_shuttle))]
mod child;
#[cfg(any(metricstream_loom, metricstream_shuttle))]
mod honesty;
#[cfg(metricstream_loom)]
mod must_fail;
#[cfg(metricstream_loom)]
mod mutation;
#[cfg(metricstream_loom)]
mod sites;

mod budget;
mod log_flusher;
mod log_queue;
#[cfg(not(metricstream_loom))]
mod log_segments;
mod mutex_pool;
mod rate_limit;
mod ring;
mod rules;
#[cfg(metricstream_shuttle)]
mod simulation;
mod stop;
mod thread_pool;
mod watermark;
