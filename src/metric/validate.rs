//! From a draft to a batch: the bounds on names, tags, times and the batch.
//!
//! Promises: a [`Batch`] exists only of what is within every bound, so whoever holds one may store it.
//! Leaves to the encoder how.

use super::decode::{Draft, Entry};
use super::{Error, ErrorKind, Field, Type, time};
use crate::json::{Parser, Span, Text};
use crate::limits::{NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX};

/// A batch of 1 or more metrics, each within every bound.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) document: &'a str,
    pub(super) entries: &'a [Entry],
}

impl<'a> Draft<'a> {
    /// Checks every bound that decoding has not checked.
    ///
    /// # Errors
    /// The first metric, in order, that is outside a bound; [`ErrorKind::BatchEmpty`] when there is none.
    pub fn validate(self) -> Result<Batch<'a>, Error> {
        if self.entries.is_empty() {
            return Err(Error::new(ErrorKind::BatchEmpty, 0));
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if !within_bounds(entry) {
                return Err(outside(self.document, entry).of_metric(index));
            }
        }
        Ok(Batch {
            document: self.document,
            entries: self.entries,
        })
    }
}

/// Whether `entry` is within every bound.
#[inline]
fn within_bounds(entry: &Entry) -> bool {
    let tags = &entry.tags;
    (1..=NAME_BYTES_MAX).contains(&(entry.name.bytes as usize))
        && entry.value.value.is_finite()
        && tags.key_bytes as usize <= TAG_KEY_BYTES_MAX
        && tags.value_bytes as usize <= TAG_VALUE_BYTES_MAX
        && !tags.has_empty_key
        && timestamp_within_bounds(entry)
}

#[inline]
fn timestamp_within_bounds(entry: &Entry) -> bool {
    entry
        .timestamp
        .is_none_or(|millis| (time::MILLIS_MIN..=time::MILLIS_MAX).contains(&millis))
}

/// Which bound `entry` is outside of, and where.
#[cold]
fn outside(document: &str, entry: &Entry) -> Error {
    if !(1..=NAME_BYTES_MAX).contains(&(entry.name.bytes as usize)) {
        let kind = ErrorKind::NameLength {
            seen: entry.name.bytes,
        };
        return Error::new(kind, entry.name.raw.start).of_field(Field::Name);
    }
    for (key, value) in Tags::new(document, entry.tags.raw).texts() {
        let (kind, text) = if !(1..=TAG_KEY_BYTES_MAX).contains(&(key.bytes as usize)) {
            (ErrorKind::TagKeyLength { seen: key.bytes }, key)
        } else if value.bytes as usize > TAG_VALUE_BYTES_MAX {
            (ErrorKind::TagValueLength { seen: value.bytes }, value)
        } else {
            continue;
        };
        return Error::new(kind, entry.tags.raw.start + text.raw.start).of_field(Field::Tags);
    }
    if !timestamp_within_bounds(entry) {
        let kind = ErrorKind::TimestampRange {
            seen: entry.timestamp.unwrap_or_default(),
        };
        return Error::new(kind, entry.timestamp_at).of_field(Field::Timestamp);
    }
    // What is left of `within_bounds`; the parser gives finite values only.
    Error::new(
        ErrorKind::Json(crate::json::ErrorKind::NumberRange),
        entry.value.raw.start,
    )
    .of_field(Field::Value)
}

impl<'a> Batch<'a> {
    /// How many metrics: at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The metrics in the order they came.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = Metric<'a>> + use<'a> {
        let document = self.document;
        self.entries.iter().map(move |entry| Metric { document, entry })
    }
}

/// One metric of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    document: &'a str,
    entry: &'a Entry,
}

impl<'a> Metric<'a> {
    /// Its name, 1 to 255 bytes; written to `scratch` if it came with escapes.
    #[must_use]
    pub fn name<'s>(&self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        self.entry.name.read(self.document, scratch)
    }

    /// Its value; finite.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.entry.value.value
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> Type {
        self.entry.kind
    }

    /// Its time in milliseconds since 1970, within the years 0000 to 9999; none when it is that of arrival.
    #[must_use]
    pub const fn timestamp(&self) -> Option<i64> {
        self.entry.timestamp
    }

    /// Its tags in the order they came.
    #[must_use]
    pub fn tags(&self) -> Tags<'a> {
        Tags::new(self.document, self.entry.tags.raw)
    }
}

/// The tags of one metric.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a> {
    /// The object that has them; empty when there are none.
    object: &'a str,
}

impl<'a> Tags<'a> {
    pub(super) fn new(document: &'a str, raw: Span) -> Self {
        Self {
            object: &document[raw.start as usize..raw.end as usize],
        }
    }

    /// Gives each key and value in turn.
    pub fn for_each(&self, mut take: impl FnMut(&str, &str)) {
        let (mut key_scratch, mut value_scratch) = (String::new(), String::new());
        for (key, value) in self.texts() {
            take(
                key.read(self.object, &mut key_scratch),
                value.read(self.object, &mut value_scratch),
            );
        }
    }

    /// Each key and value, offsets counted from the start of the object. It was decoded before without an
    /// error, so an error cannot happen and ends the walk.
    fn texts(self) -> impl Iterator<Item = (Text, Text)> {
        let mut parser = Parser::of_text(self.object);
        let mut more = parser
            .object_begin()
            .and_then(|()| parser.first_member())
            .unwrap_or(false);
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            let tag = (parser.key().ok()?, parser.text().ok()?);
            more = parser.next_member().unwrap_or(false);
            Some(tag)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Scratch, decode};
    use super::*;

    fn validated(metric: &str) -> Result<usize, Error> {
        let body = format!("{{\"metrics\":[{{\"name\":\"ok\",\"value\":0}},{metric}]}}");
        let mut scratch = Scratch::default();
        decode(body.as_bytes(), &Limits::default(), &mut scratch)?
            .validate()
            .map(|batch| batch.len())
    }

    #[test]
    fn both_ends_of_each_bound() {
        let named = |name: &str| format!("{{\"name\":\"{name}\",\"value\":1}}");
        let tagged = |key: &str, value: &str| {
            format!("{{\"name\":\"a\",\"value\":1,\"tags\":{{\"{key}\":\"{value}\"}}}}")
        };
        let timed = |millis: i64| format!("{{\"name\":\"a\",\"value\":1,\"timestamp\":{millis}}}");
        for good in [
            named("a"),
            named(&"a".repeat(NAME_BYTES_MAX)),
            named(&"\\u0061".repeat(NAME_BYTES_MAX)),
            tagged("k", ""),
            tagged(&"k".repeat(TAG_KEY_BYTES_MAX), &"v".repeat(TAG_VALUE_BYTES_MAX)),
            timed(time::MILLIS_MIN),
            timed(time::MILLIS_MAX),
        ] {
            assert_eq!(validated(&good), Ok(2), "{good}");
        }
        for (bad, kind) in [
            (named(""), ErrorKind::NameLength { seen: 0 }),
            (
                named(&"a".repeat(NAME_BYTES_MAX + 1)),
                ErrorKind::NameLength { seen: 256 },
            ),
            (named(&"é".repeat(128)), ErrorKind::NameLength { seen: 256 }),
            (tagged("", "v"), ErrorKind::TagKeyLength { seen: 0 }),
            (
                tagged(&"k".repeat(TAG_KEY_BYTES_MAX + 1), "v"),
                ErrorKind::TagKeyLength { seen: 129 },
            ),
            (
                tagged("k", &"v".repeat(TAG_VALUE_BYTES_MAX + 1)),
                ErrorKind::TagValueLength { seen: 257 },
            ),
            (
                timed(time::MILLIS_MIN - 1),
                ErrorKind::TimestampRange {
                    seen: time::MILLIS_MIN - 1,
                },
            ),
            (
                timed(time::MILLIS_MAX + 1),
                ErrorKind::TimestampRange {
                    seen: time::MILLIS_MAX + 1,
                },
            ),
            (timed(i64::MAX), ErrorKind::TimestampRange { seen: i64::MAX }),
        ] {
            let error = validated(&bad).unwrap_err();
            assert_eq!((error.kind, error.metric), (kind, Some(1)), "{bad}");
        }
        let mut scratch = Scratch::default();
        let empty = decode(br#"{"metrics":[]}"#, &Limits::default(), &mut scratch).unwrap();
        assert_eq!(empty.validate().unwrap_err().kind, ErrorKind::BatchEmpty);
    }

    #[test]
    fn the_error_is_at_the_text_that_is_too_long() {
        let value = "v".repeat(TAG_VALUE_BYTES_MAX + 1);
        let metric = format!("{{\"name\":\"a\",\"value\":1,\"tags\": {{\"a\":\"\",\"b\" : \"{value}\"}}}}");
        let error = validated(&metric).unwrap_err();
        let before = r#"{"metrics":[{"name":"ok","value":0},"#.len();
        assert_eq!(error.at as usize, before + metric.find("vvv").unwrap());
        assert_eq!(
            error.to_string(),
            format!(
                "metrics[1].tags: a value of 257 bytes, a tag's value has at most 256 (fixed) at byte {}",
                error.at
            )
        );
    }

    fn with_tags(tags: &str) -> Result<usize, ErrorKind> {
        let metric = format!("{{\"name\":\"a\",\"value\":1,\"tags\":{tags}}}");
        validated(&metric).map_err(|error| error.kind)
    }

    /// By the general way, which an escape in a key takes.
    #[test]
    fn an_empty_key_of_a_tag_is_noted_wherever_it_stands() {
        let empty = Err(ErrorKind::TagKeyLength { seen: 0 });
        assert_eq!(with_tags(r#"{"\u0061":"x","":"y"}"#), empty);
        assert_eq!(with_tags(r#"{"":"y","\u0061":"x"}"#), empty);
        assert_eq!(with_tags(r#"{"\u0061":"x","b":"y"}"#), Ok(2));
    }

    #[test]
    fn the_error_is_of_the_tag_that_is_wrong_and_not_of_one_at_the_bound() {
        let longest = "x".repeat(TAG_VALUE_BYTES_MAX);
        assert_eq!(
            with_tags(&format!("{{\"a\":\"{longest}\",\"b\":\"{longest}x\"}}")),
            Err(ErrorKind::TagValueLength { seen: 257 })
        );
        let longest = "x".repeat(TAG_KEY_BYTES_MAX);
        assert_eq!(
            with_tags(&format!("{{\"{longest}\":\"\",\"{longest}x\":\"\"}}")),
            Err(ErrorKind::TagKeyLength { seen: 129 })
        );
    }
}
