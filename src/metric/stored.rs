//! A stored line, read back.
//!
//! Promises: what [`parse`] takes is exactly what [`Batch::encode`](super::Batch::encode) can have made: the
//! five members in their order, no white space, a time of three decimals in UTC, names and tags within their
//! bounds. So a line that was damaged and is still JSON is mostly found out; one that was damaged into
//! another stored line is not, for lines carry no checksum. Leaves to the caller the line feed.

use super::{Type, time};
use crate::clock::WallTime;
use crate::json::{self, Number, Parser, Span, Text};
use crate::limits::{NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX};

/// What every stored line begins with. It is nowhere else in one: inside of a string its quotes would be
/// escaped, and no tag's value is an object.
pub const START: &[u8; 14] = b"{\"timestamp\":\"";

/// A stored metric: where its members stand in the line.
#[derive(Clone, Debug)]
pub struct Stored<'a> {
    line: &'a str,
    /// When.
    pub timestamp: WallTime,
    name: Text,
    /// How much.
    pub value: Number,
    /// What kind.
    pub kind: Type,
    tags: Vec<(Text, Text)>,
}

/// Why a line is no stored metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Error {
    /// The reason.
    pub reason: Reason,
    /// Offset in the line of the byte that was wrong.
    pub at: usize,
}

/// Why a line is no stored metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not JSON, or a value of another type.
    #[error("{0}")]
    Json(json::ErrorKind),
    /// Something else than what is always there.
    #[error("expected {0:?}")]
    Expected(&'static str),
    /// No time as it is written.
    #[error("expected a time like 2026-01-02T03:04:05.678Z")]
    Timestamp,
    /// No such type.
    #[error("expected gauge, counter, histogram or summary")]
    Type,
    /// White space that is never written.
    #[error("white space between tokens")]
    Space,
    /// A name or a tag beyond its bounds.
    #[error("{what} of {seen} bytes, {least} to {most} are allowed (fixed)")]
    Length {
        /// What it is.
        what: &'static str,
        /// Its length in bytes of UTF-8.
        seen: u32,
        /// The shortest allowed.
        least: usize,
        /// The longest allowed.
        most: usize,
    },
    /// Too many tags.
    #[error("more than {} tags (fixed)", TAGS_MAX)]
    TooManyTags,
    /// A tag's key is there twice.
    #[error("a tag is given twice")]
    TagDuplicate,
    /// Something after the object.
    #[error("bytes after the object")]
    Trailing,
}

impl Reason {
    #[cold]
    const fn at(self, at: usize) -> Error {
        Error { reason: self, at }
    }
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        Reason::Json(error.kind).at(error.at as usize)
    }
}

/// Reads `line`, which has no line feed.
///
/// # Errors
/// Why it is no stored metric.
pub fn parse(line: &[u8]) -> Result<Stored<'_>, Error> {
    let (stored, end) = parse_start(line)?;
    match end == line.len() {
        true => Ok(stored),
        false => Err(Reason::Trailing.at(end)),
    }
}

/// Reads the stored metric that `bytes` begin with, whatever follows it, and says how long it is.
///
/// # Errors
/// Why they begin with none.
pub fn parse_start(bytes: &[u8]) -> Result<(Stored<'_>, usize), Error> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let text = str::from_utf8(valid).unwrap_or_default();
            // If the object is not whole before the first wrong byte, that byte is what is wrong.
            return metric(text).map_err(|other| match other.at < text.len() {
                true => other,
                false => Reason::Json(json::ErrorKind::Utf8).at(text.len()),
            });
        }
    };
    metric(text)
}

fn metric(line: &str) -> Result<(Stored<'_>, usize), Error> {
    if u32::try_from(line.len()).is_err() {
        return Err(Reason::Json(json::ErrorKind::TooLong).at(0));
    }
    let mut parser = Parser::of_text(line);
    expect(&mut parser, START, "{\"timestamp\":\"")?;
    let timestamp = timestamp(&mut parser)?;
    expect(&mut parser, b"\",\"name\":\"", "\",\"name\":\"")?;
    let at = parser.at();
    let name = parser.text_rest()?;
    within("a name", name, 1, NAME_BYTES_MAX, at)?;
    expect(&mut parser, b",\"value\":", ",\"value\":")?;
    let at = parser.at();
    let value = parser.number()?;
    if value.raw.start as usize != at {
        return Err(Reason::Space.at(at));
    }
    expect(&mut parser, b",\"type\":\"", ",\"type\":\"")?;
    let at = parser.at();
    let text = parser.text_rest()?;
    let kind = Type::ALL
        .into_iter()
        .find(|kind| text.raw.of(line.as_bytes()) == kind.name().as_bytes())
        .ok_or(Reason::Type.at(at))?;
    expect(&mut parser, b",\"tags\":", ",\"tags\":")?;
    let tags = tags(&mut parser)?;
    expect(&mut parser, b"}", "}")?;
    let stored = Stored {
        line,
        timestamp,
        name,
        value,
        kind,
        tags,
    };
    Ok((stored, parser.at()))
}

fn expect<const N: usize>(
    parser: &mut Parser<'_>,
    bytes: &[u8; N],
    shown: &'static str,
) -> Result<(), Error> {
    match parser.accept(bytes) {
        true => Ok(()),
        false => Err(Reason::Expected(shown).at(parser.at())),
    }
}

fn within(what: &'static str, text: Text, least: usize, most: usize, at: usize) -> Result<(), Error> {
    let seen = text.bytes;
    match (least..=most).contains(&(seen as usize)) {
        true => Ok(()),
        false => Err(Reason::Length {
            what,
            seen,
            least,
            most,
        }
        .at(at)),
    }
}

/// A time exactly as it is written.
fn timestamp(parser: &mut Parser<'_>) -> Result<WallTime, Error> {
    let at = parser.at();
    let text = parser.bytes().get(at..at + time::FORMAT_BYTES);
    let millis = text
        .and_then(|text| time::parse(text).filter(|&millis| time::format(millis) == text))
        .ok_or(Reason::Timestamp.at(at))?;
    parser.move_past_value(at + time::FORMAT_BYTES);
    Ok(WallTime::from_epoch_millis(millis))
}

/// The tags of a metric, without white space.
fn tags(parser: &mut Parser<'_>) -> Result<Vec<(Text, Text)>, Error> {
    let mut tags: Vec<(Text, Text)> = Vec::new();
    if parser.accept(b"{}") {
        return Ok(tags);
    }
    let start = parser.at();
    // Bytes of the object without white space.
    let mut dense = 1;
    parser.object_begin()?;
    let mut more = parser.first_member()?;
    while more {
        let at = parser.at();
        let key = parser.key()?;
        within("a tag's key", key, 1, TAG_KEY_BYTES_MAX, at)?;
        if tags.len() == TAGS_MAX {
            return Err(Reason::TooManyTags.at(at));
        }
        if tags.iter().any(|(other, _)| other.same(parser.bytes(), key)) {
            return Err(Reason::TagDuplicate.at(at));
        }
        let value = parser.text()?;
        within("a tag's value", value, 0, TAG_VALUE_BYTES_MAX, at)?;
        tags.push((key, value));
        dense += key.raw.len() + value.raw.len() + r#""":"","#.len();
        more = parser.next_member()?;
    }
    match parser.at() - start == dense {
        true => Ok(tags),
        false => Err(Reason::Space.at(start)),
    }
}

impl Stored<'_> {
    /// Whether its name is `name`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name.is(self.line.as_bytes(), name.as_bytes())
    }

    /// Whether it has the tag `key` with this value.
    #[must_use]
    pub fn is_tagged(&self, key: &str, value: &str) -> bool {
        let line = self.line.as_bytes();
        self.tags
            .iter()
            .any(|(its, of_it)| its.is(line, key.as_bytes()) && of_it.is(line, value.as_bytes()))
    }

    /// The number as it was written.
    #[must_use]
    pub fn value_text(&self) -> &str {
        let Span { start, end } = self.value.raw;
        &self.line[start as usize..end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Scratch, decode};
    use super::*;

    const LINE: &str = r#"{"timestamp":"2026-01-02T03:04:05.678Z","name":"cpu","value":1.50,"type":"gauge","tags":{"host":"a","z":""}}"#;

    #[test]
    fn a_line_reads_back() {
        let stored = parse(LINE.as_bytes()).unwrap();
        assert_eq!(stored.timestamp.epoch_millis(), 1_767_323_045_678);
        assert!(stored.is_named("cpu") && !stored.is_named("cp"));
        assert!(stored.is_tagged("host", "a") && stored.is_tagged("z", "") && !stored.is_tagged("host", ""));
        assert_eq!((stored.kind, stored.value_text()), (Type::Gauge, "1.50"));
        assert_eq!(
            parse_start(format!("{LINE}\u{0}x").as_bytes()).unwrap().1,
            LINE.len()
        );
        let mut followed = LINE.as_bytes().to_vec();
        followed.extend_from_slice(b"\xff\xff");
        assert_eq!(parse_start(&followed).unwrap().1, LINE.len());
    }

    #[test]
    fn what_is_encoded_is_taken() {
        let body = r#"{"metrics":[
            {"name":"a\n\u00e9\"","value":-1.5e+2,"tags":{ "k" : "v\u0041" , "l":""}},
            {"value":0,"name":"é","type":"summary","timestamp":0,"tags":{ }},
            {"value":1e-400,"name":"x","type":"counter","timestamp":"9999-12-31T23:59:59.999Z","tags":null}]}"#;
        let mut scratch = Scratch::default();
        let draft = decode(body.as_bytes(), &Limits::default(), &mut scratch).unwrap();
        let mut lines = Vec::new();
        draft
            .validate()
            .unwrap()
            .encode(WallTime::from_epoch_millis(5), &mut lines);
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count(), 3);
        for line in lines.lines() {
            assert!(
                parse(line.as_bytes()).is_ok(),
                "{line}: {:?}",
                parse(line.as_bytes())
            );
        }
        let first = parse(lines.lines().next().unwrap().as_bytes()).unwrap();
        assert!(first.is_named("a\né\"") && first.is_tagged("k", "vA"));
    }

    #[test]
    fn what_is_never_encoded_is_refused() {
        for (from, to) in [
            ("{\"timestamp", "{ \"timestamp"),
            (".678Z", ".67Z"),
            (".678Z", ".678+00:00"),
            ("01-02T", "13-02T"),
            ("2026", "202\u{0}"),
            ("\"name\":\"cpu\"", "\"name\":\"\""),
            ("\"name\":\"cpu\"", "\"name\":\"c\u{1}u\""),
            ("\"name\"", "\"nam\\u0065\""),
            ("1.50", " 1.50"),
            ("1.50", "01.50"),
            ("1.50", "1e999"),
            ("1.50", "\"1\""),
            ("1.50,", "1.50 ,"),
            ("gauge", "gaug"),
            ("gauge", "gaug\\u0065"),
            ("{\"host\"", "{ \"host\""),
            (":\"\"}}", ":\"\" }}"),
            (":\"\"}}", ":1}}"),
            (":\"\"}}", ":\"\"},\"x\":1}"),
            (":\"\"}}", ":\"\"}"),
            (":\"\"}}", ":\"\"}} "),
            ("\"z\":", "\"host\":"),
            ("\"z\":", "\"\":"),
        ] {
            let line = LINE.replacen(from, to, 1);
            assert_ne!(line, LINE);
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        for end in 0..LINE.len() {
            assert!(parse(&LINE.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn bounds_are_held_at_both_ends() {
        let named = |length: usize| LINE.replace("cpu", &"n".repeat(length));
        assert!(parse(named(NAME_BYTES_MAX).as_bytes()).is_ok());
        let error = parse(named(NAME_BYTES_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("256 bytes, 1 to 255"), "{error}");
        let tagged = |count: usize| {
            let tags: Vec<_> = (0..count).map(|index| format!("\"k{index}\":\"v\"")).collect();
            LINE.replace(r#""host":"a","z":"""#, &tags.join(","))
        };
        assert!(parse(tagged(TAGS_MAX).as_bytes()).is_ok());
        assert_eq!(
            parse(tagged(TAGS_MAX + 1).as_bytes()).unwrap_err().reason,
            Reason::TooManyTags
        );
    }

    #[test]
    fn what_ends_in_bytes_that_are_no_text_is_wrong_where_it_is_first_wrong() {
        let place = |line: &[u8]| {
            let error = parse_start(line).unwrap_err();
            (
                error.at,
                matches!(error.reason, Reason::Json(json::ErrorKind::Utf8)),
            )
        };
        let followed = |line: &str| [line.as_bytes(), b"\xff"].concat();
        let cut = &LINE[..LINE.len() - 5];
        assert_eq!(
            place(&followed(cut)),
            (cut.len(), true),
            "no text in the middle of the object"
        );
        let wrong = LINE.replace("\"name\"", "\"nome\"");
        let at = wrong.find("nome").unwrap();
        let (seen, is_utf8) = place(&followed(&wrong));
        assert!(seen <= at + 1 && !is_utf8, "{seen} of {at}");
    }
}
