//! Metrics that look like one before them: the metrics of an agent differ in their values only, and a worker
//! meets the same agents again.
//!
//! A [`Pattern`] is what stands between the values of a metric that was read before: keys, punctuation and
//! white space, byte for byte. Where the same bytes stand between the values of another, it has the same
//! members in the same order and the same keys of tags, so nothing of that need be found out again.
//!
//! Promises: what is read here is what the general way in `decode` reads, and nothing that it refuses (held
//! by every property test and fuzz target of `metric`, which see only the two together): the bytes between
//! the values were accepted by it, and a value is text without escapes up to the quote that the pattern has
//! there, a number, or the name of a type. A metric that is not alike costs little: after each that was not,
//! twice as many go by without being tried, [`WAIT_MAX`] at most. Work is linear, memory fixed.
//! Leaves to the other ways whatever else there is, errors included.

use super::decode::{Entry, TagSpan};
use super::usual::kind;
use super::{Field, time};
use crate::json::{Kind, Parser, Span, Text, number, scan};
use crate::limits::TAGS_MAX;

/// Most metrics that go by without being tried.
const WAIT_MAX: u32 = 63;

/// Most bytes between two values of a pattern: indented keys of usual length fit.
const BETWEEN_MAX: usize = 4 * scan::WIDTH;

/// Most stretches between values: each tag and each other member ends one, and the metric the last.
const STRETCHES_MAX: usize = TAGS_MAX + 5;

/// What follows a stretch of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    Name,
    Value,
    Type,
    Tag,
    Timestamp,
    #[default]
    End,
}

/// Bytes between two values, and what comes after them.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    windows: [[u8; scan::WIDTH]; BETWEEN_MAX / scan::WIDTH],
    length: u32,
    /// A bit for each byte of the first window that belongs to it.
    first: u32,
    slot: Slot,
}

/// What a metric looked like. Memory that decoding reuses.
#[derive(Debug)]
pub(super) struct Pattern {
    stretches: [Stretch; STRETCHES_MAX],
    /// How many of them; 0 before the first metric.
    count: usize,
    /// Bytes from the brace of the tags to the text of the first, and from the end of the last to after the
    /// closing brace.
    before_tags: usize,
    after_tags: usize,
    /// Of these the span and the bytes of values differ.
    tag_span: TagSpan,
    /// Metrics that go by before the next is tried, and how many after the next that is not alike.
    wait: u32,
    next_wait: u32,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            stretches: [Stretch::default(); STRETCHES_MAX],
            count: 0,
            before_tags: 0,
            after_tags: 0,
            tag_span: TagSpan::default(),
            wait: 0,
            next_wait: 0,
        }
    }
}

impl Pattern {
    /// Reads the metric at `at` into `entry`, which is as by default; the offset after it. Nothing when it is
    /// not alike; `entry` is then worth nothing.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8], at: usize, entry: &mut Entry) -> Option<usize> {
        if self.wait > 0 {
            return None;
        }
        let after = self.alike(bytes, at, entry)?;
        self.next_wait = self.next_wait.saturating_sub(1);
        Some(after)
    }

    #[inline(never)]
    fn alike(&self, bytes: &[u8], at: usize, entry: &mut Entry) -> Option<usize> {
        let (mut tags_start, mut tags_end) = (usize::MAX, 0);
        let mut at = at;
        let mut value_bytes = 0;
        for stretch in self.stretches.get(..self.count)? {
            if scan::equals(bytes, at, &stretch.windows[0]) & stretch.first != stretch.first {
                return None;
            }
            let length = stretch.length as usize;
            if length > scan::WIDTH && !stretch.rest_is_at(bytes, at) {
                return None;
            }
            at += length;
            match stretch.slot {
                Slot::Tag => {
                    tags_start = tags_start.min(at);
                    let end = scan::text_end(bytes, at);
                    value_bytes = value_bytes.max(end - at);
                    tags_end = end;
                    at = end;
                }
                Slot::Name => {
                    let raw = Span::new(at, scan::text_end(bytes, at));
                    let bytes = raw.end - raw.start;
                    entry.name = Text { raw, bytes };
                    at = raw.end as usize;
                }
                Slot::Value => {
                    entry.value = number::number(bytes, at).ok()?;
                    at = entry.value.raw.end as usize;
                }
                Slot::Type => {
                    let (kind, after) = kind(bytes, at)?;
                    at = after - 1;
                    entry.kind = kind;
                    entry.kind_end = Span::new(at, at).start;
                }
                Slot::Timestamp => {
                    let number = number::number(bytes, at).ok()?;
                    entry.timestamp = Some(time::whole_millis(number)?);
                    entry.timestamp_at = number.raw.start;
                    at = number.raw.end as usize;
                }
                Slot::End => {
                    if tags_end > 0 {
                        entry.tags = TagSpan {
                            raw: Span::new(tags_start - self.before_tags, tags_end + self.after_tags),
                            value_bytes: Span::new(0, value_bytes).end,
                            ..self.tag_span
                        };
                    }
                    return Some(at);
                }
            }
        }
        None
    }

    /// Takes note of a metric that was not alike or not tried: `metric`, read into `entry`.
    #[cold]
    #[inline(never)]
    pub(super) fn other(&mut self, metric: &str, entry: &Entry) {
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        self.wait = self.next_wait;
        self.next_wait = (2 * self.next_wait + 1).min(WAIT_MAX);
        (self.count, self.tag_span) = (0, entry.tags);
        if self.learn(metric).is_none() {
            self.count = 0;
        }
    }

    /// The pattern of `metric`, which was read without an error; nothing when it has one that is not usual.
    fn learn(&mut self, metric: &str) -> Option<()> {
        let mut parser = Parser::of_text(metric);
        // Where the last value ended.
        let mut end = 0;
        parser.object_begin().ok()?;
        let mut more = parser.first_member().ok()?;
        while more {
            let key = parser.key().ok()?;
            let is = |field: Field| key.raw.of(metric.as_bytes()) == field.name().as_bytes();
            let slot = Field::ALL.into_iter().find(|&field| is(field))?;
            let kind = parser.kind().ok()?;
            match (slot, kind) {
                (Field::Name, Kind::Text) => self.text(&mut parser, &mut end, Slot::Name)?,
                (Field::Type, Kind::Text) => self.text(&mut parser, &mut end, Slot::Type)?,
                (Field::Value, Kind::Number) => self.number(&mut parser, &mut end, Slot::Value)?,
                (Field::Timestamp, Kind::Number) => self.number(&mut parser, &mut end, Slot::Timestamp)?,
                (Field::Tags, Kind::Object) => self.learn_tags(&mut parser, &mut end)?,
                _ => return None,
            }
            more = parser.next_member().ok()?;
        }
        self.stretch(metric, end, parser.at(), Slot::End)
    }

    /// At least one tag.
    fn learn_tags(&mut self, parser: &mut Parser<'_>, end: &mut usize) -> Option<()> {
        let brace = parser.at();
        let mut before = None;
        parser.object_begin().ok()?;
        let mut more = parser.first_member().ok()?;
        while more {
            if parser.key().ok()?.has_escapes() {
                return None;
            }
            parser.kind().ok()?;
            before.get_or_insert(parser.at() + 1 - brace);
            self.text(parser, end, Slot::Tag)?;
            more = parser.next_member().ok()?;
        }
        self.before_tags = before?;
        self.after_tags = parser.at() - *end;
        Some(())
    }

    fn text(&mut self, parser: &mut Parser<'_>, end: &mut usize, slot: Slot) -> Option<()> {
        let text = parser.text().ok()?;
        self.stretch(parser.document(), *end, text.raw.start as usize, slot)?;
        *end = text.raw.end as usize;
        Some(())
    }

    fn number(&mut self, parser: &mut Parser<'_>, end: &mut usize, slot: Slot) -> Option<()> {
        let number = parser.number().ok()?;
        self.stretch(parser.document(), *end, number.raw.start as usize, slot)?;
        *end = number.raw.end as usize;
        Some(())
    }

    /// Adds the stretch `from..to` of `metric`.
    fn stretch(&mut self, metric: &str, from: usize, to: usize, slot: Slot) -> Option<()> {
        let between = metric.as_bytes().get(from..to)?;
        let stretch = self.stretches.get_mut(self.count)?;
        *stretch = Stretch {
            length: Span::new(from, to).end - Span::new(from, to).start,
            first: u32::MAX >> (32 - between.len().clamp(1, scan::WIDTH)),
            slot,
            ..Stretch::default()
        };
        stretch
            .windows
            .as_flattened_mut()
            .get_mut(..between.len())?
            .copy_from_slice(between);
        self.count += 1;
        Some(())
    }
}

impl Stretch {
    /// Whether what follows the first window is at `at` too, where the stretch begins.
    #[inline]
    fn rest_is_at(&self, bytes: &[u8], at: usize) -> bool {
        let mut left = self.length as usize - scan::WIDTH;
        let mut at = at + scan::WIDTH;
        for window in &self.windows[1..] {
            let bits = u32::MAX >> (32 - left.min(scan::WIDTH));
            if scan::equals(bytes, at, window) & bits != bits {
                return false;
            }
            if left <= scan::WIDTH {
                return true;
            }
            left -= scan::WIDTH;
            at += scan::WIDTH;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern of `metric`, which is then `{name}`, `{value}` and so on of the same members.
    fn pattern(metric: &str) -> Pattern {
        let mut pattern = Pattern::default();
        pattern.other(metric, &Entry::default());
        pattern
    }

    /// What is read of `metric`, as in a batch: bytes before it and after it.
    fn read(pattern: &mut Pattern, metric: &str) -> Option<Entry> {
        for after in ["", "]", "]}                  "] {
            let document = format!("[{metric}{after}");
            let mut entry = Entry::default();
            assert_eq!(
                pattern.read(document.as_bytes(), 1, &mut entry)?,
                1 + metric.len()
            );
        }
        let mut entry = Entry::default();
        pattern.read(metric.as_bytes(), 0, &mut entry).map(|_| entry)
    }

    const DENSE: &str = r#"{"name":"a","value":1,"type":"gauge","tags":{"k":"v","l":"w"},"timestamp":5}"#;
    const PRETTY: &str =
        "{\n  \"tags\" : {\n    \"key\": \"v\"\r\n\t},\n  \"name\": \"a\",\n  \"value\" : 1\n}";

    /// Otherwise every metric would take another way, and nothing but the time would tell.
    #[test]
    fn what_differs_in_its_values_only_is_read_here() {
        let mut dense = pattern(DENSE);
        assert_eq!(dense.count, 7);
        let like = r#"{"name":"a longer name than a window","value":-2.5e3,"type":"histogram","tags":{"k":"","l":"of many bytes"},"timestamp":1767323045678}"#;
        let entry = read(&mut dense, like).unwrap();
        let text = |raw: Span| std::str::from_utf8(raw.of(like.as_bytes())).unwrap();
        assert_eq!(text(entry.name.raw), "a longer name than a window");
        assert_eq!(
            (entry.name.bytes as usize, entry.name.has_escapes()),
            (entry.name.raw.len(), false)
        );
        assert_eq!((text(entry.value.raw), entry.value.value), ("-2.5e3", -2500.0));
        assert_eq!(
            (entry.kind.name(), entry.timestamp),
            ("histogram", Some(1_767_323_045_678))
        );
        assert_eq!(entry.kind_end as usize, like.find("\",\"tags").unwrap());
        assert_eq!(entry.timestamp_at as usize, like.find("1767").unwrap());
        assert_eq!(text(entry.tags.raw), r#"{"k":"","l":"of many bytes"}"#);
        assert_eq!(entry.tags.value_bytes, 13);

        let mut pretty = pattern(PRETTY);
        let like = PRETTY.replace("\"v\"", "\"longer\"").replace('1', "0.25");
        let entry = read(&mut pretty, &like).unwrap();
        assert_eq!((entry.value.value, entry.tags.value_bytes), (0.25, 6));
        let tags = entry.tags.raw.of(like.as_bytes());
        assert_eq!(tags, "{\n    \"key\": \"longer\"\r\n\t}".as_bytes());

        assert!(
            read(
                &mut pattern(r#"{"value":1,"name":"a"}"#),
                r#"{"value":7,"name":"b"}"#
            )
            .is_some()
        );
    }

    #[test]
    fn each_byte_between_the_values_counts() {
        for metric in [DENSE, PRETTY] {
            let mut pattern = pattern(metric);
            assert!(read(&mut pattern, metric).is_some());
            let mut rest = metric;
            while let Some(place) = rest.find(['"', '{', '}', ':', ',', ' ', '\n', 'k', 'n', 'y']) {
                let at = metric.len() - rest.len() + place;
                for other in ["", "~", "\\"] {
                    let changed = format!("{}{other}{}", &metric[..at], &metric[at + 1..]);
                    assert!(read(&mut pattern, &changed).is_none(), "{changed}");
                }
                rest = &metric[at + 1..];
            }
            for end in 0..metric.len() {
                assert!(read(&mut pattern, &metric[..end]).is_none(), "{end}");
            }
        }
    }

    #[test]
    fn a_value_of_another_kind_is_left_to_the_others() {
        for (from, to) in [
            ("\"a\"", r#""a\n""#),
            ("\"a\"", "\"a\u{1}\""),
            ("\"v\"", r#""\u0061""#),
            ("1", "\"1\""),
            ("1", "01"),
            ("1", "1e999"),
            ("5}", "5.5}"),
            ("5}", "-0}"),
            ("gauge", "gaugf"),
        ] {
            let other = DENSE.replacen(from, to, 1);
            assert_ne!(other, DENSE);
            assert!(read(&mut pattern(DENSE), &other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_has_no_pattern_is_never_alike() {
        let long = " ".repeat(BETWEEN_MAX);
        for metric in [
            r#"{"name":"a","value":1,"x":1}"#,
            r#"{"n\u0061me":"a","value":1}"#,
            r#"{"name":"a","value":1,"tags":{"\u006b":"v"}}"#,
            r#"{"name":"a","value":1,"tags":{}}"#,
            r#"{"name":"a","value":1,"tags":null}"#,
            r#"{"name":"a","value":1,"type":null}"#,
            r#"{"name":"a","value":1,"timestamp":"2026-01-02T03:04:05Z"}"#,
            &format!("{{{long}\"name\":\"a\",\"value\":1}}"),
        ] {
            let mut pattern = pattern(metric);
            assert_eq!(pattern.count, 0, "{metric}");
            assert!(read(&mut pattern, metric).is_none(), "{metric}");
        }
        let most = format!("{{{}\"name\":\"a\",\"value\":1}}", &long[10..]);
        assert!(read(&mut pattern(&most), &most.replace("\"a\"", "\"b\"")).is_some());
    }

    #[test]
    fn the_largest_metric_has_a_pattern() {
        let tags: Vec<_> = (0..TAGS_MAX).map(|key| format!(r#""{key}":"v""#)).collect();
        let metric = DENSE.replace(r#""k":"v","l":"w""#, &tags.join(","));
        let mut pattern = pattern(&metric);
        assert_eq!(pattern.count, STRETCHES_MAX);
        assert!(read(&mut pattern, &metric).is_some());
    }

    #[test]
    fn after_each_that_was_not_alike_more_go_by() {
        let (one, other) = (r#"{"name":"a","value":1}"#, r#"{"value":1,"name":"a"}"#);
        let mut pattern = Pattern::default();
        let mut gone_by = Vec::new();
        for round in 0..8 {
            pattern.other(if round % 2 == 0 { one } else { other }, &Entry::default());
            gone_by.push(pattern.wait);
            while pattern.wait > 0 {
                assert!(read(&mut pattern, if round % 2 == 0 { one } else { other }).is_none());
                pattern.other(one, &Entry::default());
            }
        }
        assert_eq!(gone_by, [0, 1, 3, 7, 15, 31, 63, 63]);
        let mut entry = Entry::default();
        assert!(pattern.read(other.as_bytes(), 0, &mut entry).is_some());
        assert_eq!(pattern.next_wait, WAIT_MAX - 1);
    }
}
