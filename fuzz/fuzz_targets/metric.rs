//! Decode, validate, encode and read back, against serde_json on the same schema: the bytes as a body, and a
//! body generated from them, and one of metrics that look alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::choices::Choices;
use metricstream_proptests::metric::{Reused, check, generate, generate_alike};

fuzz_target!(|bytes: &[u8]| {
    let mut reused = Reused::default();
    check(bytes, &mut reused);
    check(&generate(&mut Choices::new(bytes)), &mut reused);
    check(&generate_alike(&mut Choices::new(bytes)), &mut reused);
});
