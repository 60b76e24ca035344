//! MetricStream: a metrics ingestion server whose promises can be checked.
//!
//! The library is the whole server in small modules, each usable alone; `main.rs` only parses flags and
//! calls [`cli`]. The modules stand here in reading order, lowest layer first; a lower layer never imports
//! an upper one (`tests/tidy.rs` holds the table, ARCHITECTURE.md the reasons).
//!
//! | layer | modules |
//! |---|---|
//! | L0 | [`sync::shim`], [`clock`], [`limits`], [`stats`] |
//! | L1 | [`sync`], [`http`], [`json`], [`net`] |
//! | L2 | [`log`], [`admission`], [`metric`] |
//! | L3 | [`ingest`], [`monitor`] |
//! | L4 | [`server`] |
//! | L5 | [`config`], [`app`], [`cli`] |
//!
//! What the modules leave to the caller is said at the top of each.

#![deny(unsafe_code)]

pub mod clock;
pub mod limits;
pub mod stats;

pub mod sync;

pub mod http;
pub mod json;
pub mod net;

pub mod admission;
pub mod log;
pub mod metric;

pub mod ingest;
pub mod monitor;

pub mod server;

pub mod app;
pub mod cli;
pub mod config;
