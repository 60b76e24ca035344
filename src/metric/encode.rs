//! From a batch to the lines that the log stores.
//!
//! ```text
//! {"timestamp":"2026-01-02T03:04:05.678Z","name":"cpu","value":1.5,"type":"gauge","tags":{"host":"a"}}\n
//! ```
//!
//! Promises: one line a metric, in the order they came; each a JSON object with these five members in this
//! order and no white space, and one line feed, at its end. Names, numbers and tags are the bytes they
//! arrived in, which decoding has found to be JSON, so they read back to the same values. Leaves to the
//! caller the buffer; nothing else is allocated.

use super::decode::Entry;
use super::time;
use super::validate::{Batch, Tags};
use crate::clock::WallTime;

const BEFORE_TIMESTAMP: &[u8; 14] = b"{\"timestamp\":\"";
const BEFORE_NAME: &[u8; 10] = b"\",\"name\":\"";
const BEFORE_VALUE: &[u8; 10] = b"\",\"value\":";
const BEFORE_TYPE: &[u8; 9] = b",\"type\":\"";
const BEFORE_TAGS: &[u8; 9] = b"\",\"tags\":";
const AFTER: &[u8; 2] = b"}\n";

impl Batch<'_> {
    /// Appends one line for each metric to `out`. A metric without a time of its own gets `arrival`, which
    /// is written as the nearest moment in the years 0000 to 9999.
    pub fn encode(&self, arrival: WallTime, out: &mut Vec<u8>) {
        let arrival = time::format(arrival.epoch_millis());
        for entry in self.entries {
            let timestamp = entry.timestamp.map_or(arrival, time::format);
            line(self.document, entry, &timestamp, out);
        }
    }
}

/// Appends the line of one metric.
#[inline]
fn line(document: &str, entry: &Entry, timestamp: &[u8; time::FORMAT_BYTES], out: &mut Vec<u8>) {
    let bytes = document.as_bytes();
    out.extend_from_slice(BEFORE_TIMESTAMP);
    out.extend_from_slice(timestamp);
    out.extend_from_slice(BEFORE_NAME);
    out.extend_from_slice(entry.name.raw.of(bytes));
    out.extend_from_slice(BEFORE_VALUE);
    out.extend_from_slice(entry.value.raw.of(bytes));
    out.extend_from_slice(BEFORE_TYPE);
    out.extend_from_slice(entry.kind.name().as_bytes());
    out.extend_from_slice(BEFORE_TAGS);
    if entry.tags.raw.is_empty() {
        out.extend_from_slice(b"{}");
    } else if entry.tags.spaced {
        dense_tags(Tags::new(document, entry.tags.raw), out);
    } else {
        out.extend_from_slice(entry.tags.raw.of(bytes));
    }
    out.extend_from_slice(AFTER);
}

/// Appends the object `tags` without the white space between its tokens, which may be a line feed.
#[cold]
fn dense_tags(tags: Tags<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (key, value)) in tags.raw().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        for part in [&b"\""[..], key, b"\":\"", value, b"\""] {
            out.extend_from_slice(part);
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Scratch, decode};
    use super::*;

    fn lines(body: &str) -> String {
        let mut scratch = Scratch::default();
        let batch = decode(body.as_bytes(), &Limits::default(), &mut scratch)
            .unwrap()
            .validate()
            .unwrap();
        let mut out = Vec::new();
        batch.encode(WallTime::from_epoch_millis(1_767_323_045_678), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_in_their_order_with_the_defaults_filled_in() {
        assert_eq!(
            lines(r#"{"metrics":[{"value":-1.50e+2,"name":"a\n\u00e9"}]}"#),
            concat!(
                r#"{"timestamp":"2026-01-02T03:04:05.678Z","name":"a\n\u00e9","value":-1.50e+2,"type":"gauge","tags":{}}"#,
                "\n"
            )
        );
        assert_eq!(
            lines(
                r#"{"metrics":[{"name":"a","value":1,"type":"summary","tags":{"k":"v","l":""},"timestamp":0}]}"#
            ),
            concat!(
                r#"{"timestamp":"1970-01-01T00:00:00.000Z","name":"a","value":1,"type":"summary","tags":{"k":"v","l":""}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn white_space_is_left_behind() {
        let pretty = "{\n \"metrics\" : [\n {\n \"name\" : \"a b\" ,\n \"value\" : 1 ,\n \"tags\" : {\n \"k\" :\t\"v w\" ,\r\n \"l\" : \"\" } } ] }";
        assert_eq!(
            lines(pretty),
            concat!(
                r#"{"timestamp":"2026-01-02T03:04:05.678Z","name":"a b","value":1,"type":"gauge","tags":{"k":"v w","l":""}}"#,
                "\n"
            )
        );
        assert!(
            lines("{\"metrics\":[{\"name\":\"a\",\"value\":1,\"tags\":{\n}}]}").ends_with("\"tags\":{}}\n")
        );
    }
}
