//! The usual form of a metric, read the short way: no white space, known members only, in any order.
//!
//! Promises: what it reads is what the general way in `decode` reads, and it reads nothing that the general
//! way refuses (held by every property test and fuzz target of `metric`, which see only the two together).
//! Leaves to the general way whatever else there is, errors included: it gives up at the first byte it does
//! not expect, having changed nothing.
//!
//! It is short because each member is one comparison of a word: the eight bytes `"name":"`, `"value":`,
//! `"type":"` and `"tags":{` tell the member and its value's first byte at once.

use super::decode::{Entry, TagSpan};
use super::{Type, time};
use crate::json::{Span, number, string};
use crate::limits::TAGS_MAX;

/// What tells the keys of one metric's tags apart; memory that decoding reuses.
pub(super) type Signatures = [u64; TAGS_MAX];

const NAME: u64 = u64::from_le_bytes(*b"\"name\":\"");
const VALUE: u64 = u64::from_le_bytes(*b"\"value\":");
const TYPE: u64 = u64::from_le_bytes(*b"\"type\":\"");
const TAGS: u64 = u64::from_le_bytes(*b"\"tags\":{");
const TIMESTAMP: u64 = u64::from_le_bytes(*b"\"timesta");

const SEEN_NAME: u8 = 1;
const SEEN_VALUE: u8 = 2;
const SEEN_TYPE: u8 = 4;
const SEEN_TAGS: u8 = 8;
const SEEN_TIMESTAMP: u8 = 16;

/// Reads the metric at `at` into `entry`, which is as by default; the offset after it. Nothing when it is
/// not of the usual form; `entry` is then worth nothing.
///
/// Not inlined, nor is what reads the tags: alone, each keeps what it works with in registers.
#[inline(never)]
pub(super) fn metric(
    bytes: &[u8],
    at: usize,
    signatures: &mut Signatures,
    entry: &mut Entry,
) -> Option<usize> {
    let mut seen = 0;
    let mut at = at;
    let mut before = b'{';
    loop {
        if *bytes.get(at)? != before {
            break;
        }
        before = b',';
        let value = at + 9;
        let member = match word(bytes, at + 1)? {
            NAME => {
                (entry.name, at) = string::text(bytes, value).ok()?;
                SEEN_NAME
            }
            VALUE => {
                if !number::read(bytes, value, &mut entry.value) {
                    return None;
                }
                at = entry.value.raw.end as usize;
                SEEN_VALUE
            }
            TYPE => {
                (entry.kind, at) = kind(bytes, value)?;
                entry.kind_end = Span::new(value, at - 1).end;
                SEEN_TYPE
            }
            TAGS => {
                at = tags(bytes, value, signatures, &mut entry.tags)?;
                SEEN_TAGS
            }
            TIMESTAMP => {
                (entry.timestamp, at) = timestamp(bytes, value)?;
                entry.timestamp_at = Span::new(value, at).start;
                SEEN_TIMESTAMP
            }
            _ => return None,
        };
        if seen & member != 0 {
            return None;
        }
        seen |= member;
    }
    let whole = SEEN_NAME | SEEN_VALUE;
    (bytes[at] == b'}' && seen & whole == whole).then_some(at + 1)
}

/// The eight bytes at `at`.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u64::from_le_bytes(*word))
}

/// The type whose name starts at `at`, and the offset after its closing quote.
///
/// Types come mixed, so they are told apart by a table and not by branches: bits 2 to 4 of the first letter
/// differ, and the first and the last eight bytes of up to ten, closing quote included, are all of each name.
#[inline]
pub(super) fn kind(bytes: &[u8], at: usize) -> Option<(Type, usize)> {
    struct Name {
        kind: Type,
        first: u64,
        mask: u64,
        last: u64,
        length: usize,
    }
    const fn name_of(kind: Type, first: [u8; 8], mask: u64, last: [u8; 8], length: usize) -> Name {
        Name {
            kind,
            first: u64::from_le_bytes(first) & mask,
            mask,
            last: u64::from_le_bytes(last) & mask,
            length,
        }
    }
    const GAUGE: Name = name_of(Type::Gauge, *b"gauge\"\0\0", 0xFFFF_FFFF_FFFF, *b"gauge\"\0\0", 6);
    const COUNTER: Name = name_of(Type::Counter, *b"counter\"", u64::MAX, *b"counter\"", 8);
    const HISTOGRAM: Name = name_of(Type::Histogram, *b"histogra", u64::MAX, *b"stogram\"", 10);
    const SUMMARY: Name = name_of(Type::Summary, *b"summary\"", u64::MAX, *b"summary\"", 8);
    // By (first letter >> 2) & 7: c 0, g 1, h 2, s 4; the others hold a name that does not start so.
    static NAMES: [Name; 8] = [COUNTER, GAUGE, HISTOGRAM, GAUGE, SUMMARY, GAUGE, GAUGE, GAUGE];

    let first = word(bytes, at)?;
    let name = &NAMES[(first >> 2 & 7) as usize];
    let end = at + name.length;
    let last = word(bytes, at + name.length.saturating_sub(8))?;
    (first & name.mask == name.first && last & name.mask == name.last).then_some((name.kind, end))
}

/// Reads the tags whose opening brace ends at `at`; the offset after the closing one. At least one tag,
/// none with an escape in it.
#[inline(never)]
fn tags(bytes: &[u8], at: usize, signatures: &mut Signatures, tags: &mut TagSpan) -> Option<usize> {
    let start = at - 1;
    let mut at = at;
    let (mut key_bytes, mut value_bytes, mut has_empty_key) = (0, 0, false);
    for count in 0..TAGS_MAX {
        if *bytes.get(at)? != b'"' {
            return None;
        }
        let key_start = at + 1;
        let key_end = string::plain_end(bytes, key_start)?;
        let value_start = key_end + 3;
        if bytes.get(key_end..)?.first_chunk() != Some(b"\":\"") {
            return None;
        }
        let value_end = string::plain_end(bytes, value_start)?;
        let key = Span::new(key_start, key_end);
        let signature = signature(bytes, key)?;
        if signatures[..count].contains(&signature) {
            return None;
        }
        signatures[count] = signature;
        key_bytes = key.len().max(key_bytes);
        value_bytes = (value_end - value_start).max(value_bytes);
        has_empty_key |= key.is_empty();
        at = value_end + 2;
        match bytes.get(value_end + 1)? {
            b',' => {}
            b'}' => {
                let raw = Span::new(start, at);
                *tags = TagSpan {
                    raw,
                    key_bytes: Span::new(0, key_bytes).end,
                    value_bytes: Span::new(0, value_bytes).end,
                    has_empty_key,
                    spaced: false,
                };
                return Some(at);
            }
            _ => return None,
        }
    }
    None
}

/// A number that differs between keys that differ in length or in their last eight bytes; equal for equal
/// keys. Where it is equal the general way looks closer.
#[inline]
fn signature(bytes: &[u8], key: Span) -> Option<u64> {
    let end = key.end as usize;
    let last = word(bytes, end.checked_sub(8)?)?;
    let others = 8usize.saturating_sub(key.len());
    // The bytes before a short key leave the word; no shift is as wide as the word.
    let last = if others == 8 { 0 } else { last >> (8 * others) };
    Some(last ^ (key.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The timestamp from after `"timesta` at `at`, and the offset after it. Milliseconds only.
#[inline]
fn timestamp(bytes: &[u8], at: usize) -> Option<(Option<i64>, usize)> {
    if bytes.get(at..)?.first_chunk() != Some(b"mp\":") {
        return None;
    }
    let (millis, after) = millis(bytes, at + 4)?;
    Some((Some(millis), after))
}

/// The integer of milliseconds at `at`, saturated, and the offset after it.
#[inline(always)]
pub(super) fn millis(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    if let Some((millis, after)) = number::short_integer(bytes, at) {
        return Some((i64::try_from(millis).ok()?, after));
    }
    let number = number::number(bytes, at).ok()?;
    Some((time::whole_millis(number)?, number.raw.end as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(usize, Entry)> {
        // As in a batch: bytes before it and after it.
        let document = format!("{{\"metrics\":[{text}]}}      ");
        let mut entry = Entry::default();
        let at = document.find('[').unwrap() + 1;
        let after = metric(document.as_bytes(), at, &mut [0; TAGS_MAX], &mut entry)?;
        Some((after - at, entry))
    }

    /// Otherwise every metric would take the general way, and nothing but the time would tell.
    #[test]
    fn the_usual_form_is_read_here() {
        for kind in Type::ALL {
            let kind = kind.name();
            for text in [
                format!(r#"{{"name":"cpu","value":1.5,"type":"{kind}","tags":{{"host":"web-1"}}}}"#),
                format!(r#"{{"type":"{kind}","name":"c","value":-7}}"#),
                format!(r#"{{"value":1e300,"timestamp":1767323045678,"name":"cpu","type":"{kind}"}}"#),
            ] {
                let (bytes, entry) = read(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!((bytes, entry.kind.name()), (text.len(), kind), "{text}");
                assert_ne!(entry.kind_end, 0);
            }
        }
        let text = r#"{"tags":{"host":"web-1","region":"eu","a":"","ab":"x"},"name":"cpu","value":0}"#;
        let (bytes, entry) = read(text).unwrap();
        assert_eq!(bytes, text.len());
        assert_eq!((entry.tags.key_bytes, entry.tags.value_bytes), (6, 5));
        assert_eq!((entry.tags.raw.len(), entry.tags.has_empty_key), (46, false));
        let (_, entry) = read(r#"{"name":"c","value":0,"tags":{"":"v"}}"#).unwrap();
        assert!(entry.tags.has_empty_key);
        let (_, entry) = read(r#"{"name":"c","value":0,"timestamp":12}"#).unwrap();
        assert_eq!(entry.timestamp, Some(12));
    }

    #[test]
    fn all_else_is_left_to_the_general_way() {
        for text in [
            "",
            "{}",
            r#"{"name":"c"}"#,
            r#"{"value":1}"#,
            r#"{"name":"c","name":"c","value":1}"#,
            r#"{"name":"c","value":1,"value":1}"#,
            r#"{"name":"c","value":1,"x":1}"#,
            r#"{"name":"c","value":1,}"#,
            r#"{"name":"c","value":1,"tags":{}}"#,
            r#"{"name":"c","value":1,"tags":{"a":"b",}}"#,
            r#"{"name":"c","value":1,"tags":{"a":"b","a":"c"}}"#,
            r#"{"name":"c","value":1,"tags":{"a" :"b"}}"#,
            r#"{"name":"c","value":1,"type":"gaugf"}"#,
            r#"{"name":"c","value":1,"type":"pummary"}"#,
            r#"{"name":"c","value":1,"type":"iistogram"}"#,
            r#"{"name":"c","value":1,"type":"histograX"}"#,
            r#"{"name":"c","value":1,"timestamp":1.5}"#,
            r#"{"name":"c","value":1,"timestamp":"now"}"#,
            r#"{"name":"c","value":1,"timestxxx":1}"#,
            r#"{"name":"c","value":1,"timestamp":1,"timestamp":1}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
