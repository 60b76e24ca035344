//! The JSON parser against serde_json: the bytes as a document, and a document generated from them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::choices::Choices;
use metricstream_proptests::json::{check, generate};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&generate(&mut Choices::new(bytes)));
});
