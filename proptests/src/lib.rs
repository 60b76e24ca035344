//! Oracles.

pub mod http;
pub mod http_hyper;
pub mod http_oracle;
pub mod http_plan;
