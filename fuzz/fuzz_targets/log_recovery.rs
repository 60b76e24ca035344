//! The log: any file is recovered to its whole lines; any life of it keeps what was acknowledged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricstream_proptests::log::{Driver, Plan, check, check_recovery};

fuzz_target!(|bytes: &[u8]| {
    check_recovery(bytes);
    check(&Plan::of(bytes), Driver::Steps);
});
