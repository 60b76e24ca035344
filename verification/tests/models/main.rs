//! The models of the concurrent modules: one scenario for each property, three harnesses.
//!
//! Plain `cargo test` runs every scenario on real threads; with `RUSTFLAGS="--cfg metricstream_loom"` loom
//! runs every execution, with `--cfg metricstream_shuttle` shuttle runs random and PCT schedules. PROOFS.md
//! has the commands, the statements and what they do not say.

#![allow(clippy::unwrap_used, reason = "tests")]

mod note;

mod mutex_pool;
mod ring;
mod stop;

mod thread_pool;
mod watermark;
