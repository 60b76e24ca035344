//! No heap allocation in steady state: what a worker does for each body, once its memory has grown.

use metricstream::clock::WallTime;
use metricstream::metric::{Limits, Scratch, decode};

const BODIES: [&str; 4] = [
    r#"{"metrics":[{"name":"cpu","value":42.5,"type":"gauge","tags":{"host":"web-1","region":"eu"}}]}"#,
    r#"{"metrics":[{"name":"cpu","value":0.12345678901234567,"timestamp":"2026-01-02T03:04:05.678Z"},{"value":1e300,"name":"b"}]}"#,
    r#"{"v":[{"a":[1,2]}], "metrics" : [ { "n\u0061me" : "a\n\uD834\uDD1E", "value":1, "x":null, "tags":{"\u006b":"v", "l":"w"} } ] }"#,
    r#"{"metrics":[{"name":"a","value":1,"type":"none"}]}"#,
];

#[test]
fn decoding_validating_and_encoding_do_not_allocate() {
    let (mut scratch, mut lines) = (Scratch::default(), Vec::new());
    let mut store = |body: &str| {
        lines.clear();
        let draft = decode(body.as_bytes(), &Limits::default(), &mut scratch);
        if let Ok(batch) = draft.and_then(|draft| draft.validate()) {
            batch.encode(WallTime::from_epoch_millis(0), &mut lines);
        }
        lines.len()
    };
    // The first round grows the memory; it shows as well that the counter counts.
    let grown =
        allocation_counter::measure(|| assert!(BODIES.map(&mut store)[..3].iter().all(|&bytes| bytes > 0)));
    assert!(grown.count_total > 0);
    let steady = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(BODIES.map(&mut store)[0] > 0);
        }
    });
    assert_eq!(steady.count_total, 0, "{steady:?}");
}
