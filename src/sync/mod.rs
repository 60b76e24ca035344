//! The concurrent primitives, each usable alone.
//!
//! Each module has a model in `verification/`, a property test in `proptests/`, a bench in `benches/` and
//! an entry in PROOFS.md, all of the same stem. All of them take their atomics, locks and threads from
//! [`shim`], so that what loom and shuttle check is the code that ships and not a stand-in.

pub mod shim;

mod cache_line;

pub mod ring;

pub mod mutex_pool;

pub mod watermark;

pub mod stop;

pub mod thread_pool;
