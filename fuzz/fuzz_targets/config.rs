//! The settings against a second reading of the same flags.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::config::{check, flags_of};

fuzz_target!(|bytes: &[u8]| {
    check(&flags_of(bytes));
});
