//! From the body of a request to a draft: JSON that has the schema, its bounds not yet checked.
//!
//! Promises: one pass over the body, nothing copied; two bounds are held already here because they bound the
//! work and the memory, those of metrics in a batch and of tags on a metric. Leaves to [`Draft::validate`]
//! the other bounds.

use super::alike::Patterns;
use super::usual::{self, Signatures};
use super::{Error, ErrorKind, Field, Limits, Type, time};
use crate::json::stops::Stops;
use crate::json::{Kind, Number, Parser, Span, Text};
use crate::limits::{TAGS_MAX, TIMESTAMP_BYTES_MAX};

/// Memory that decoding reuses: one per worker. It grows to the largest batch seen and stays.
#[derive(Debug, Default)]
pub struct Scratch {
    /// As many as the largest batch had; those of the batch come first, what is after them is old.
    entries: Vec<Entry>,
    keys: Vec<Text>,
    signatures: Signatures,
    patterns: Patterns,
    stops: Stops,
}

/// A batch that has the schema. It cannot be stored: [`Draft::validate`] makes of it what can.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) document: &'a str,
    pub(super) entries: &'a [Entry],
}

/// One metric: where its members stand in the document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) name: Text,
    pub(super) value: Number,
    pub(super) kind: Type,
    /// Offset of the type's closing quote; 0 when there is no type.
    pub(super) kind_end: u32,
    pub(super) tags: TagSpan,
    /// Milliseconds since 1970, saturated; none for the time of arrival.
    pub(super) timestamp: Option<i64>,
    pub(super) timestamp_at: u32,
}

/// The tags of one metric: the object as it stands in the document, and what validation asks of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TagSpan {
    /// The object, braces included; empty when there are no tags.
    pub(super) raw: Span,
    /// The longest key and value in bytes of UTF-8.
    pub(super) key_bytes: u32,
    pub(super) value_bytes: u32,
    pub(super) has_empty_key: bool,
    /// Whether there is white space between its tokens.
    pub(super) spaced: bool,
}

/// Decodes the body of a request.
///
/// # Errors
/// The first thing in the body that is not JSON or not of the schema, or one of the two bounds.
pub fn decode<'a>(body: &'a [u8], limits: &Limits, scratch: &'a mut Scratch) -> Result<Draft<'a>, Error> {
    let Some(mut parser) = Parser::of_bytes(body) else {
        return Err(Parser::refusal(body).into());
    };
    scratch.stops.clear();
    let mut count = None;
    parser.object_begin()?;
    let mut more = parser.first_member()?;
    while more {
        let at = parser.error_at();
        if parser.accept(b"\"metrics\":") || parser.key()?.is(parser.bytes(), b"metrics") {
            if count.is_some() {
                return Err(Error::new(ErrorKind::Duplicate, at));
            }
            count = Some(metrics(&mut parser, limits, scratch)?);
        } else {
            parser.skip()?;
        }
        more = parser.next_member()?;
    }
    parser.end()?;
    let Some(count) = count else {
        return Err(Error::new(ErrorKind::MetricsMissing, 0));
    };
    Ok(Draft {
        document: parser.document(),
        entries: &scratch.entries[..count],
    })
}

/// The array of metrics: how many there are, read into the first entries.
fn metrics(parser: &mut Parser<'_>, limits: &Limits, scratch: &mut Scratch) -> Result<usize, Error> {
    let mut index = 0;
    parser.array_begin()?;
    let mut more = parser.first_element()?;
    while more {
        if index >= limits.batch_metrics_max {
            let limit = limits.batch_metrics_max;
            return Err(Error::new(ErrorKind::BatchTooLarge { limit }, parser.error_at()));
        }
        let Scratch {
            entries,
            keys,
            signatures,
            patterns,
            stops,
        } = &mut *scratch;
        if index == entries.len() {
            entries.push(Entry::default());
        }
        let Some(entry) = entries.get_mut(index) else {
            break;
        };
        // At the brace, so that the first metric looks like those after a comma and white space.
        let start = parser.at_token();
        if let Some(after) = patterns.read(parser.bytes(), start, stops, entry) {
            parser.move_past_value(after);
        } else {
            *entry = Entry::default();
            match usual::metric(parser.bytes(), start, signatures, entry) {
                Some(after) => parser.move_past_value(after),
                None => *entry = metric(parser, keys).map_err(|error| error.of_metric(index))?,
            }
            patterns.other(&parser.document()[start..parser.at()], entry);
        }
        index += 1;
        more = parser.next_element()?;
    }
    Ok(index)
}

/// The members seen of one metric.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    #[inline]
    fn note(&mut self, field: Field) -> bool {
        let bit = 1 << field as u8;
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// One metric, whatever its form.
#[cold]
#[inline(never)]
fn metric(parser: &mut Parser<'_>, keys: &mut Vec<Text>) -> Result<Entry, Error> {
    parser.object_begin()?;
    let start = parser.error_at() - 1;
    let mut entry = Entry::default();
    let mut seen = Seen::default();
    let mut more = parser.first_member()?;
    while more {
        let at = parser.error_at();
        match key(parser)? {
            Some(field) if seen.note(field) => {
                member(parser, field, &mut entry, keys).map_err(|error| error.of_field(field))?;
            }
            Some(field) => return Err(Error::new(ErrorKind::Duplicate, at).of_field(field)),
            None => {
                parser.skip()?;
            }
        }
        more = parser.next_member()?;
    }
    for required in [Field::Name, Field::Value] {
        if seen.note(required) {
            return Err(Error::new(ErrorKind::Missing, start).of_field(required));
        }
    }
    Ok(entry)
}

/// The key of a member; nothing when it is unknown.
#[inline]
fn key(parser: &mut Parser<'_>) -> Result<Option<Field>, Error> {
    if parser.accept(b"\"name\":") {
        return Ok(Some(Field::Name));
    }
    if parser.accept(b"\"value\":") {
        return Ok(Some(Field::Value));
    }
    if parser.accept(b"\"type\":") {
        return Ok(Some(Field::Type));
    }
    if parser.accept(b"\"tags\":") {
        return Ok(Some(Field::Tags));
    }
    if parser.accept(b"\"timestamp\":") {
        return Ok(Some(Field::Timestamp));
    }
    any_key(parser)
}

/// The key of a member, however it is spelt.
#[cold]
fn any_key(parser: &mut Parser<'_>) -> Result<Option<Field>, Error> {
    let key = parser.key()?;
    Ok(Field::ALL
        .into_iter()
        .find(|field| key.is(parser.bytes(), field.name().as_bytes())))
}

/// The value of the member `field`.
#[inline]
fn member(
    parser: &mut Parser<'_>,
    field: Field,
    entry: &mut Entry,
    keys: &mut Vec<Text>,
) -> Result<(), Error> {
    match field {
        Field::Name => entry.name = parser.text()?,
        Field::Value => entry.value = parser.number()?,
        Field::Type => (entry.kind, entry.kind_end) = kind(parser)?,
        Field::Tags => entry.tags = tags(parser, keys)?,
        Field::Timestamp => {
            (entry.timestamp, entry.timestamp_at) = timestamp(parser)?;
        }
    }
    Ok(())
}

/// The type of a metric, and the offset of its closing quote.
#[inline]
fn kind(parser: &mut Parser<'_>) -> Result<(Type, u32), Error> {
    if parser.kind()? == Kind::Null {
        parser.word()?;
        return Ok((Type::default(), 0));
    }
    let at = parser.error_at();
    let text = parser.text()?;
    Type::ALL
        .into_iter()
        .find(|kind| text.is(parser.bytes(), kind.name().as_bytes()))
        .map(|kind| (kind, text.raw.end))
        .ok_or_else(|| Error::new(ErrorKind::UnknownType, at))
}

/// The tags of a metric.
fn tags(parser: &mut Parser<'_>, keys: &mut Vec<Text>) -> Result<TagSpan, Error> {
    if parser.kind()? == Kind::Null {
        parser.word()?;
        return Ok(TagSpan::default());
    }
    keys.clear();
    let mut tags = TagSpan::default();
    let start = parser.at();
    // Bytes of the object if there were no white space in it: {"k":"v","k":"v"}
    let mut dense = 2;
    parser.object_begin()?;
    let mut more = parser.first_member()?;
    while more {
        let at = parser.error_at();
        let key = parser.key()?;
        if keys.len() == TAGS_MAX {
            return Err(Error::new(ErrorKind::TooManyTags, at));
        }
        if keys.iter().any(|other| other.same(parser.bytes(), key)) {
            return Err(Error::new(ErrorKind::TagDuplicate, at));
        }
        keys.push(key);
        let value = parser.text()?;
        tags.key_bytes = tags.key_bytes.max(key.bytes);
        tags.value_bytes = tags.value_bytes.max(value.bytes);
        tags.has_empty_key |= key.bytes == 0;
        dense += key.raw.len() + value.raw.len() + r#""":"","#.len();
        more = parser.next_member()?;
    }
    // The last tag has no comma after it.
    dense -= usize::from(!keys.is_empty());
    tags.raw = Span::new(start, parser.at());
    tags.spaced = tags.raw.len() != dense;
    Ok(tags)
}

/// The timestamp of a metric, and where it stands.
fn timestamp(parser: &mut Parser<'_>) -> Result<(Option<i64>, u32), Error> {
    let kind = parser.kind()?;
    let at = parser.error_at();
    let wrong = || Error::new(ErrorKind::Timestamp, at);
    let millis = match kind {
        Kind::Null => {
            parser.word()?;
            None
        }
        Kind::Text => {
            let mut buffer = [0; TIMESTAMP_BYTES_MAX];
            let text = parser
                .text()?
                .copy_to(parser.bytes(), &mut buffer)
                .ok_or_else(wrong)?;
            Some(time::parse(text).ok_or_else(wrong)?)
        }
        _ => Some(time::whole_millis(parser.number()?).ok_or_else(wrong)?),
    };
    Ok((millis, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn error(body: &str) -> Error {
        decode(body.as_bytes(), &Limits::default(), &mut Scratch::default()).unwrap_err()
    }

    #[test]
    fn memory_is_no_larger_than_promised() {
        assert!(size_of::<Entry>() <= 88, "{}", size_of::<Entry>());
        assert!(size_of::<Scratch>() < 20 << 10, "{}", size_of::<Scratch>());
    }

    #[test]
    fn the_error_says_which_metric_which_member_and_which_byte() {
        let body = r#"{"metrics":[{"name":"a","value":1},{"name":"b","value":01}]}"#;
        let error = error(body);
        assert_eq!(error.metric, Some(1));
        assert_eq!(error.field, Some(Field::Value));
        assert_eq!(error.at as usize, body.find("01").unwrap() + 1);
        assert_eq!(error.kind, ErrorKind::Json(json::ErrorKind::NumberSyntax));
        assert_eq!(error.to_string(), "metrics[1].value: malformed number at byte 56");
    }

    #[test]
    fn what_is_not_of_the_schema_is_refused() {
        use json::ErrorKind::{ExpectedArray, ExpectedNumber, ExpectedObject, ExpectedString};
        for (metric, kind, field) in [
            (r#"{"name":"a"}"#, ErrorKind::Missing, Some(Field::Value)),
            (r#"{"value":1}"#, ErrorKind::Missing, Some(Field::Name)),
            (
                r#"{"name":"a","value":"1"}"#,
                ErrorKind::Json(ExpectedNumber),
                Some(Field::Value),
            ),
            (
                r#"{"name":"a","value":null}"#,
                ErrorKind::Json(ExpectedNumber),
                Some(Field::Value),
            ),
            (
                r#"{"name":null,"value":1}"#,
                ErrorKind::Json(ExpectedString),
                Some(Field::Name),
            ),
            (
                r#"{"name":"a","value":1,"value":1}"#,
                ErrorKind::Duplicate,
                Some(Field::Value),
            ),
            (
                r#"{"name":"a","n\u0061me":"a","value":1}"#,
                ErrorKind::Duplicate,
                Some(Field::Name),
            ),
            (
                r#"{"name":"a","value":1,"type":null,"type":"gauge"}"#,
                ErrorKind::Duplicate,
                Some(Field::Type),
            ),
            (
                r#"{"name":"a","value":1,"type":"Gauge"}"#,
                ErrorKind::UnknownType,
                Some(Field::Type),
            ),
            (
                r#"{"name":"a","value":1,"tags":{"k":1}}"#,
                ErrorKind::Json(ExpectedString),
                Some(Field::Tags),
            ),
            (
                r#"{"name":"a","value":1,"tags":{"k":"1","\u006b":"2"}}"#,
                ErrorKind::TagDuplicate,
                Some(Field::Tags),
            ),
            (
                r#"{"name":"a","value":1,"tags":[]}"#,
                ErrorKind::Json(ExpectedObject),
                Some(Field::Tags),
            ),
            (
                r#"{"name":"a","value":1,"timestamp":1.0}"#,
                ErrorKind::Timestamp,
                Some(Field::Timestamp),
            ),
            (
                r#"{"name":"a","value":1,"timestamp":-0}"#,
                ErrorKind::Timestamp,
                Some(Field::Timestamp),
            ),
            (
                r#"{"name":"a","value":1,"timestamp":"now"}"#,
                ErrorKind::Timestamp,
                Some(Field::Timestamp),
            ),
            (r#"[]"#, ErrorKind::Json(ExpectedObject), None),
        ] {
            let error = error(&format!("{{\"metrics\":[{metric}]}}"));
            assert_eq!(
                (error.kind, error.field, error.metric),
                (kind, field, Some(0)),
                "{metric}"
            );
        }
        assert_eq!(error("{}").kind, ErrorKind::MetricsMissing);
        assert_eq!(error("[]").kind, ErrorKind::Json(ExpectedObject));
        assert_eq!(error(r#"{"metrics":{}}"#).kind, ErrorKind::Json(ExpectedArray));
        assert_eq!(error(r#"{"metrics":[],"metrics":[]}"#).kind, ErrorKind::Duplicate);
    }

    #[test]
    fn what_comes_twice_is_found_at_the_second() {
        for (members, twice) in [
            (r#""value":1,"#, r#""value":2"#),
            (r#""value":1,"tags":{"a":"b","#, r#""\u0061":"c"}"#),
        ] {
            let body = format!("{{\"metrics\":[{{\"name\":\"n\",{members}{twice}}}]}}");
            assert_eq!(error(&body).at as usize, body.find(twice).unwrap(), "{body}");
        }
    }

    #[test]
    fn what_is_missing_is_missing_from_the_metric_as_a_whole() {
        for metric in [r#"{"value":1}"#, r#"{"name":"a"}"#, r#"{ "x":1}"#] {
            let body = format!("{{\"metrics\":[{metric}]}}");
            let error = error(&body);
            assert_eq!(
                (error.kind, error.at as usize),
                (ErrorKind::Missing, body.find(metric).unwrap()),
                "{metric}"
            );
        }
    }

    #[test]
    fn the_batch_and_the_tags_are_bounded_while_decoding() {
        let limits = Limits { batch_metrics_max: 2 };
        let body = |count: usize| {
            format!(
                "{{\"metrics\":[{}]}}",
                vec![r#"{"name":"a","value":1}"#; count].join(",")
            )
        };
        let mut scratch = Scratch::default();
        assert!(decode(body(2).as_bytes(), &limits, &mut scratch).is_ok());
        let error = decode(body(3).as_bytes(), &limits, &mut scratch).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BatchTooLarge { limit: 2 });

        let tagged = |count: usize| {
            let tags: Vec<String> = (0..count).map(|tag| format!("\"k{tag}\":\"\"")).collect();
            format!(
                "{{\"metrics\":[{{\"name\":\"a\",\"value\":1,\"tags\":{{{}}}}}]}}",
                tags.join(",")
            )
        };
        assert!(decode(tagged(TAGS_MAX).as_bytes(), &limits, &mut scratch).is_ok());
        let error = decode(tagged(TAGS_MAX + 1).as_bytes(), &limits, &mut scratch).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooManyTags);
    }
}
