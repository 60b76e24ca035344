//! The settings against a second reading of the same flags and against themselves written elsewhere; and the
//! bytes as a file of settings.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::config::{check, check_file, flags_of};

fuzz_target!(|bytes: &[u8]| {
    check(&flags_of(bytes));
    check_file(&String::from_utf8_lossy(bytes));
});
