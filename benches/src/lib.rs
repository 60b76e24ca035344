//! What the benches share.
//!
//! Promises: the same input in every run, so that two runs measure the same. Leaves to the benches: to check
//! what they measure before they time it.

pub mod bodies;
pub mod placement;
pub mod turns;
