//! The rate limiter against a count of everything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::rate_limit::{Plan, check};

fuzz_target!(|bytes: &[u8]| {
    check(&Plan::of(bytes));
});
