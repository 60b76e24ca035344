//! Heads against httparse and the oracle.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| metricstream_proptests::http_fuzz::head(bytes));
