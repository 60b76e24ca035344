//! Metrics that look like some before them: the metrics of an agent differ in their values only, and a worker
//! meets the same agents again.
//!
//! A [`Pattern`] is what stands between the values of a metric that was read before: keys, punctuation and
//! white space, byte for byte. Where the same bytes stand between the values of another, it has the same
//! members in the same order and the same keys of tags, so nothing of that need be found out again. The last
//! few patterns are kept, and the one that fitted last is tried first.
//!
//! Promises: what is read here is what the general way in `decode` reads, and nothing that it refuses (held
//! by every property test and fuzz target of `metric`, which see only the two together): the bytes between
//! the values were accepted by it, and a value is text without escapes up to the quote that the pattern has
//! there, a number, or the name of a type. A metric that is not alike costs little: after each that was not,
//! twice as many go by without being tried, [`WAIT_MAX`] at most. Work is linear, memory fixed.
//! Leaves to the other ways whatever else there is, errors included.
//!
//! # Why no text waits for the one before it
//! Where a text ends is known once its stop is, and [`Stops`] has the stops of all of them: a pattern says
//! how many there are in what stands between, so it says by its number which of them ends a text. Looking
//! for each end from where the text begins would be a chain through all texts of all metrics, and that is
//! what reading took its time with.

use super::Field;
use super::decode::Entry;
use super::usual::{kind, millis};
use crate::json::stops::{STOPS_MAX, Stops};
use crate::json::{Kind, Parser, Span, Text, number, scan};
use crate::limits::TAGS_MAX;

/// Most metrics that go by without being tried.
const WAIT_MAX: u32 = 63;

/// Patterns kept. A client sends metrics of a few kinds, and a worker meets several clients in turn.
const PATTERNS_MAX: usize = 4;

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
    /// Stops in it and in those before it.
    stops: u32,
    /// A bit for each byte of the first window that belongs to it.
    first: u32,
    slot: Slot,
}

/// What a metric looked like.
#[derive(Debug)]
struct Pattern {
    stretches: [Stretch; STRETCHES_MAX],
    /// How many of them; 0 before the first metric.
    count: usize,
    /// Stops of all of them.
    stops: usize,
    /// Bytes from the brace of the tags to the text of the first, and from the end of the last to after the
    /// closing brace.
    before_tags: usize,
    after_tags: usize,
    /// What its members say that is the same in all of them: all keys of tags, and what is not there.
    same: Entry,
}

/// What the metrics seen lately looked like. Memory that decoding reuses.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    all: [Pattern; PATTERNS_MAX],
    /// The one of the metric before.
    likely: usize,
    /// The one that makes room for another.
    oldest: usize,
    /// Metrics that go by before the next is tried, and how many after the next that is not alike.
    wait: u32,
    next_wait: u32,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            stretches: [Stretch::default(); STRETCHES_MAX],
            count: 0,
            stops: 0,
            before_tags: 0,
            after_tags: 0,
            same: Entry::default(),
        }
    }
}

impl Patterns {
    /// Reads the metric at `at` into `entry`, whatever that was; the offset after it. Nothing when it is not
    /// alike; `entry` is then worth nothing. `stops` are those of `bytes`.
    #[inline]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        at: usize,
        stops: &mut Stops,
        entry: &mut Entry,
    ) -> Option<usize> {
        if self.wait > 0 {
            return None;
        }
        match self.read_as(self.likely, bytes, at, stops, entry) {
            Some(after) => Some(after),
            None => self.read_as_another(bytes, at, stops, entry),
        }
    }

    /// Reads it by the pattern `which`.
    #[inline]
    fn read_as(
        &mut self,
        which: usize,
        bytes: &[u8],
        at: usize,
        stops: &mut Stops,
        entry: &mut Entry,
    ) -> Option<usize> {
        let pattern = self.all.get(which)?;
        let ahead = stops.from(bytes, at, pattern.stops)?;
        let after = pattern.read(bytes, at, ahead, entry)?;
        stops.pass(pattern.stops);
        self.next_wait /= 2;
        Some(after)
    }

    /// Reads it by a pattern that is not the likely one, which that then becomes.
    #[inline(never)]
    fn read_as_another(
        &mut self,
        bytes: &[u8],
        at: usize,
        stops: &mut Stops,
        entry: &mut Entry,
    ) -> Option<usize> {
        for turn in 1..PATTERNS_MAX {
            let which = (self.likely + turn) % PATTERNS_MAX;
            if let Some(after) = self.read_as(which, bytes, at, stops, entry) {
                self.likely = which;
                return Some(after);
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
        self.all[self.oldest].learn(metric, entry);
        self.likely = self.oldest;
        self.oldest = (self.oldest + 1) % PATTERNS_MAX;
    }
}

impl Pattern {
    /// Reads the metric at `at` into `entry`; the offset after it. `stops` are those from `at` on, as many
    /// as the pattern has at least.
    ///
    /// Why the ends are right: a stretch that is as in the pattern has as many stops as there, and a value
    /// that was read before has none. So the stop that ends a value, by its number in the pattern, is the
    /// first after the value's start.
    #[inline(never)]
    fn read(&self, bytes: &[u8], at: usize, stops: &[u32], entry: &mut Entry) -> Option<usize> {
        let (mut tags_start, mut tags_end) = (usize::MAX, 0);
        let mut at = at;
        let mut value_bytes = 0;
        *entry = self.same;
        for stretch in self.stretches.get(..self.count)? {
            if scan::equals(bytes, at, &stretch.windows[0]) & stretch.first != stretch.first {
                return None;
            }
            let length = stretch.length as usize;
            if length > scan::WIDTH && !stretch.rest_is_at(bytes, at) {
                return None;
            }
            at += length;
            let text_end = || stops.get(stretch.stops as usize).map(|&end| end as usize);
            match stretch.slot {
                Slot::Tag => {
                    tags_start = tags_start.min(at);
                    tags_end = text_end()?;
                    value_bytes = value_bytes.max(tags_end - at);
                    at = tags_end;
                }
                Slot::Name => {
                    let raw = Span::new(at, text_end()?);
                    let bytes = raw.end - raw.start;
                    entry.name = Text { raw, bytes };
                    at = raw.end as usize;
                }
                Slot::Value => {
                    if !number::read(bytes, at, &mut entry.value) {
                        return None;
                    }
                    at = entry.value.raw.end as usize;
                }
                Slot::Type => {
                    let (kind, after) = kind(bytes, at)?;
                    at = text_end()?;
                    debug_assert_eq!(after, at + 1, "a name is read up to its quote");
                    entry.kind = kind;
                    entry.kind_end = Span::new(at, at).start;
                }
                Slot::Timestamp => {
                    let (millis, after) = millis(bytes, at)?;
                    entry.timestamp = Some(millis);
                    entry.timestamp_at = Span::new(at, after).start;
                    at = after;
                }
                Slot::End => {
                    if tags_end > 0 {
                        entry.tags.raw = Span::new(tags_start - self.before_tags, tags_end + self.after_tags);
                        entry.tags.value_bytes = Span::new(0, value_bytes).end;
                    }
                    return Some(at);
                }
            }
        }
        None
    }

    /// Takes the pattern of `metric`, which was read into `entry`; none if it is not a usual one.
    fn learn(&mut self, metric: &str, entry: &Entry) {
        (self.count, self.stops) = (0, 0);
        self.same = Entry {
            tags: entry.tags,
            ..Entry::default()
        };
        if self.learn_members(metric).is_none() {
            (self.count, self.stops) = (0, 0);
        }
    }

    /// The stretches of `metric`, which was read without an error; nothing when it is not a usual one.
    fn learn_members(&mut self, metric: &str) -> Option<()> {
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
        self.stretch(metric, end, parser.at(), Slot::End)?;
        (self.stops <= STOPS_MAX).then_some(())
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
        self.stops += between.iter().filter(|&&byte| scan::is_stop(byte)).count();
        let stops = u32::try_from(self.stops.min(STOPS_MAX + 1)).ok()?;
        *stretch = Stretch {
            length: Span::new(from, to).end - Span::new(from, to).start,
            first: u32::MAX >> (32 - between.len().clamp(1, scan::WIDTH)),
            stops,
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

    /// The pattern of `metric` alone.
    fn pattern(metric: &str) -> Patterns {
        let mut patterns = Patterns::default();
        patterns.other(metric, &Entry::default());
        patterns
    }

    /// What is read of `metric`, as in a batch: bytes before it and after it.
    fn read(pattern: &mut Patterns, metric: &str) -> Option<Entry> {
        for after in ["", "]", "]}                  "] {
            let document = format!("[{metric}{after}");
            let mut entry = Entry::default();
            assert_eq!(
                pattern.read(document.as_bytes(), 1, &mut Stops::default(), &mut entry)?,
                1 + metric.len()
            );
        }
        let mut entry = Entry::default();
        pattern
            .read(metric.as_bytes(), 0, &mut Stops::default(), &mut entry)
            .map(|_| entry)
    }

    const DENSE: &str = r#"{"name":"a","value":1,"type":"gauge","tags":{"k":"v","l":"w"},"timestamp":5}"#;
    const PRETTY: &str =
        "{\n  \"tags\" : {\n    \"key\": \"v\"\r\n\t},\n  \"name\": \"a\",\n  \"value\" : 1\n}";

    /// Otherwise every metric would take another way, and nothing but the time would tell.
    #[test]
    fn what_differs_in_its_values_only_is_read_here() {
        let mut dense = pattern(DENSE);
        assert_eq!((dense.all[0].count, dense.all[0].stops), (7, 22));
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
            assert_eq!(pattern.all[0].count, 0, "{metric}");
            assert!(read(&mut pattern, metric).is_none(), "{metric}");
        }
        let most = format!("{{{}\"name\":\"a\",\"value\":1}}", &long[10..]);
        assert!(read(&mut pattern(&most), &most.replace("\"a\"", "\"b\"")).is_some());
    }

    #[test]
    fn stops_are_bounded() {
        // Line feeds are stops between values. Sixteen others are there.
        let spaced = |most: usize| {
            let mut left = most - 16;
            let mut metric = String::from("{");
            for (index, member) in [
                r#""name":"a""#,
                r#""value":1"#,
                r#""type":"gauge""#,
                r#""tags":{"k":"v"}"#,
            ]
            .into_iter()
            .enumerate()
            {
                metric.push_str(if index > 0 { "," } else { "" });
                let feeds = left.min(BETWEEN_MAX - 16);
                metric.push_str(&"\n".repeat(feeds));
                left -= feeds;
                metric.push_str(member);
            }
            metric.push_str(&"\n".repeat(left));
            metric + "}"
        };
        assert_eq!(pattern(&spaced(STOPS_MAX + 1)).all[0].count, 0);
        let most = spaced(STOPS_MAX);
        assert_eq!(pattern(&most).all[0].stops, STOPS_MAX, "{most}");
        assert!(read(&mut pattern(&most), &most.replace("\"v\"", "\"other\"")).is_some());
    }

    #[test]
    fn the_largest_metric_has_a_pattern() {
        let tags: Vec<_> = (0..TAGS_MAX).map(|key| format!(r#""{key}":"v""#)).collect();
        let metric = DENSE.replace(r#""k":"v","l":"w""#, &tags.join(","));
        let mut pattern = pattern(&metric);
        assert_eq!(pattern.all[0].count, STRETCHES_MAX);
        assert!(read(&mut pattern, &metric).is_some());
    }

    #[test]
    fn metrics_of_a_few_kinds_are_all_read_in_any_order() {
        let kind =
            |index: usize, value: u32| format!(r#"{{"name":"a","value":{value},"tags":{{"{index}":"v"}}}}"#);
        let mut patterns = Patterns::default();
        for index in 0..PATTERNS_MAX {
            patterns.wait = 0;
            assert!(read(&mut patterns, &kind(index, 1)).is_none());
            patterns.other(&kind(index, 1), &Entry::default());
        }
        patterns.wait = 0;
        for index in [3, 0, 2, 1, 0, 0, 3, 3, 2, 0] {
            assert!(read(&mut patterns, &kind(index, 77)).is_some(), "{index}");
            assert_eq!(patterns.likely, index);
        }
        // One more makes the oldest give way.
        patterns.other(&kind(4, 1), &Entry::default());
        patterns.wait = 0;
        assert!(read(&mut patterns, &kind(4, 7)).is_some());
        assert!(read(&mut patterns, &kind(0, 7)).is_none());
        assert!(read(&mut patterns, &kind(1, 7)).is_some());
    }

    /// What the metric before left in the entry, in a place that this one does not have.
    #[test]
    fn nothing_is_left_of_what_the_entry_was() {
        let mut entry = Entry::default();
        let other = r#"{"name":"b","value":2}"#;
        let mut patterns = pattern(other);
        patterns.wait = 0;
        patterns.other(DENSE, &Entry::default());
        patterns.wait = 0;
        for metric in [DENSE, other] {
            let after = patterns.read(metric.as_bytes(), 0, &mut Stops::default(), &mut entry);
            assert_eq!(after, Some(metric.len()));
        }
        assert_eq!(
            (entry.timestamp, entry.timestamp_at, entry.kind_end),
            (None, 0, 0)
        );
        assert_eq!((entry.kind.name(), entry.tags.raw.len()), ("gauge", 0));
    }

    #[test]
    fn after_each_that_was_not_alike_more_go_by() {
        let (one, other) = (r#"{"name":"a","value":1}"#, r#"{"value":1,"name":"a"}"#);
        let mut pattern = Patterns::default();
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
        assert!(
            pattern
                .read(other.as_bytes(), 0, &mut Stops::default(), &mut entry)
                .is_some()
        );
        assert_eq!(pattern.next_wait, WAIT_MAX / 2);
    }
}
