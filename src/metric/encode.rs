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
use super::validate::Batch;
use crate::clock::WallTime;
use crate::json::string;

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
        let bytes = self.document.as_bytes();
        let arrival = time::format(arrival.epoch_millis());
        let mut own = time::Formatter::default();
        for entry in self.entries {
            out.extend_from_slice(BEFORE_TIMESTAMP);
            match entry.timestamp {
                None => out.extend_from_slice(&arrival),
                Some(millis) => out.extend_from_slice(own.format(millis)),
            }
            match as_stored(bytes, entry) {
                Some(members) => {
                    out.extend_from_slice(b"\",");
                    out.extend_from_slice(members);
                }
                None => members(bytes, entry, out),
            }
            out.extend_from_slice(AFTER);
        }
    }
}

/// The members from name to tags, if they arrived as they are stored: all four, in this order, without white
/// space or anything else between them.
///
/// The distances tell. From the end of one value to the start of the next there is room for the next key in
/// its shortest spelling and for nothing else, so that spelling is what stands there.
#[inline]
fn as_stored<'a>(bytes: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    let (name, value, tags) = (entry.name.raw, entry.value.raw, entry.tags.raw);
    let before_name = (name.start as usize).checked_sub(BEFORE_NAME.len() - 2)?;
    let name_end = name.end as usize + BEFORE_VALUE.len();
    let value_end = value.end as usize + BEFORE_TYPE.len() + entry.kind.name().len();
    let dense = name_end == value.start as usize
        && value_end == entry.kind_end as usize
        && entry.kind_end as usize + BEFORE_TAGS.len() == tags.start as usize
        && !entry.tags.spaced;
    let members = bytes.get(before_name..tags.end as usize)?;
    (dense && members.starts_with(&BEFORE_NAME[2..])).then_some(members)
}

/// Appends the members from name to tags, one by one.
#[cold]
fn members(bytes: &[u8], entry: &Entry, out: &mut Vec<u8>) {
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
        dense_tags(entry.tags.raw.of(bytes), out);
    } else {
        out.extend_from_slice(entry.tags.raw.of(bytes));
    }
}

/// Appends `object`, which holds texts only, without the white space between its tokens, which may be a line
/// feed.
#[cold]
fn dense_tags(object: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = object.get(at) {
        if byte == b'"' {
            let plain = string::plain_end(object, at + 1).map(|end| end + 1);
            // Decoded before without an error, so there is an end.
            let end = plain.unwrap_or_else(|| string::skip(object, at + 1).unwrap_or(object.len()));
            out.extend_from_slice(&object[at..end]);
            at = end;
        } else {
            out.push(byte);
            at += 1;
        }
        at += object[at..].iter().take_while(|&&byte| byte <= b' ').count();
    }
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
    fn members_are_stored_whatever_stands_between_them() {
        let expected = r#""name":"n","value":1,"type":"gauge","tags":{"k":"v"}}"#;
        for members in [
            r#""name":"n","value":1,"type":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value":1,"typ\u0065":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value":1,"type":"g\u0061uge","tags":{"k":"v"}"#,
            r#""name":"n","valu\u0065":1,"type":"gauge","tags":{"k":"v"}"#,
            r#""nam\u0065":"n","value":1,"type":"gauge","tags":{"k":"v"}"#,
            r#""type":"gauge","name":"n","value":1,"abcd":"gauge","tags":{"k":"v"}"#,
            r#""value":1,"name":"n","xalue":1,"type":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value":1,"tags":{"k":"v"}"#,
            r#""tags":{"k":"v"},"name":"n","value":1,"type":"gauge","sgat":{"k":"v"}"#,
            r#""name": "n","value":1,"type":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value": 1,"type":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value":1 ,"type":"gauge","tags":{"k":"v"}"#,
            r#""name":"n","value":1,"type":"gauge","tags":{"k": "v"}"#,
        ] {
            let line = lines(&format!("{{\"metrics\":[{{{members}}}]}}"));
            assert!(line.trim_end().ends_with(expected), "{members}: {line}");
        }
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

    /// Otherwise every member would be copied by itself, and nothing but the time would tell.
    #[test]
    fn members_in_stored_order_are_one_slice() {
        let mut scratch = Scratch::default();
        let stored = r#""name":"cpu","value":1.5,"type":"gauge","tags":{"k":"v"}"#;
        let mut members = |metric: &str| {
            let body = format!("{{\"metrics\":[{metric}]}}");
            let draft = decode(body.as_bytes(), &Limits::default(), &mut scratch).unwrap();
            let found = as_stored(draft.document.as_bytes(), &draft.entries[0]);
            found.map(|members| String::from_utf8(members.to_vec()).unwrap())
        };
        for whole in [
            format!("{{{stored}}}"),
            format!("{{\"timestamp\":7,{stored}}}"),
            format!("{{{stored},\"x\":1}}"),
        ] {
            assert_eq!(members(&whole).as_deref(), Some(stored), "{whole}");
        }
        for other in [
            r#"{"name":"cpu","value":1.5,"type":"gauge"}"#,
            r#"{"name":"cpu","value":1.5,"tags":{"k":"v"}}"#,
            r#"{"name":"cpu","type":"gauge","value":1.5,"tags":{"k":"v"}}"#,
            r#"{"name": "cpu","value":1.5,"type":"gauge","tags":{"k":"v"}}"#,
            r#"{"name":"cpu","value": 1.5,"type":"gauge","tags":{"k":"v"}}"#,
            r#"{"name":"cpu","value":1.5, "type":"gauge","tags":{"k":"v"}}"#,
            r#"{"name":"cpu","value":1.5,"type":"gauge", "tags":{"k":"v"}}"#,
            r#"{"name":"cpu","value":1.5,"type":"gauge","tags":{"k": "v"}}"#,
            r#"{"n\u0061me":"cpu","value":1.5,"type":"gauge","tags":{"k":"v"}}"#,
        ] {
            assert_eq!(members(other), None, "{other}");
        }
    }
}
