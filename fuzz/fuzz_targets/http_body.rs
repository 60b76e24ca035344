//! The chunked coding against the oracle, and round trips.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| metricstream_proptests::http_fuzz::body(bytes));
