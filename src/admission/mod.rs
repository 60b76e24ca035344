//! Who may, and how often.
//!
//! Promises: a request is named after its credential or its address ([`auth`]), and admitted if and only
//! if its client was admitted fewer times than the limit in the last second ([`rate_limit`], on the exact
//! [`window`]). Both decide from their arguments: no clock and no socket is read here.
//! Leaves to the caller: the status codes, and the moment at which a request counts.

pub mod addresses;

pub mod auth;

pub mod window;

pub mod keyed_hash;

mod places;

pub mod rate_limit;
