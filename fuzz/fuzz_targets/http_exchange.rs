//! Streams of requests, generated, damaged and split, against the oracle and hyper.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| metricstream_proptests::http_fuzz::exchange(bytes));
