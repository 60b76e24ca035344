//! What the models of `tests/models` are made of: one scenario, three harnesses, an oracle.
//!
//! | module | job |
//! |---|---|
//! | [`harness`] | runs a scenario under loom, shuttle or real threads, whichever this was built for |
//! | [`oracle`] | every outcome that a sequential specification allows |
//! | [`history`] | who called what when, and whether some order of the calls explains the answers |
//! | [`program`] | all sequences of operations up to a length, run against both |
//! | `crash` | the real program under load, killed or without space, compared with what it acknowledged |
//! | `simulation` | the whole server on a simulated machine, under shuttle only |
//!
//! PROOFS.md says what the results mean and what they do not.

#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
pub mod crash;
pub mod harness;
pub mod history;
pub mod oracle;
pub mod program;
#[cfg(metricstream_shuttle)]
pub mod simulation;
