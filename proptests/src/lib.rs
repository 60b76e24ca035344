//! Oracles and generators, shared by the property tests of this crate and by the fuzz targets.
//!
//! Promises: each `check` takes any bytes and panics exactly when MetricStream and its oracle differ; each
//! generator makes a document of any bytes, so that one generator serves a property test (random bytes, made
//! smaller when a difference is found) and a fuzzer (bytes led by coverage). Leaves to the caller: where the
//! bytes come from.

pub mod choices;
pub mod config;
pub mod http;
pub mod http_fuzz;
pub mod http_hyper;
pub mod http_oracle;
pub mod http_plan;
pub mod json;
pub mod json_cases;
pub mod log;
pub mod log_tools;
pub mod metric;
pub mod rate_limit;
pub mod seeds;
