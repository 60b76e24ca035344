//! The tools of the log against a known log that was damaged, for property tests.
//!
//! Promises: [`check`] builds the log of a [`Plan`] on a simulated disk, damages it, and panics when
//! - `verify` does not list exactly the lines that are no stored lines by a reading with serde_json, with their
//!   offsets and lengths, or counts the others wrongly;
//! - `repair` loses a stored line that stands whole in what is left, keeps something that is none, or its
//!   output and its side files together are not byte for byte what there was;
//! - a segment without damage is not copied byte for byte, or the log itself was touched.
//!
//! Leaves to the caller: the input.

use arbitrary::{Arbitrary, Result, Unstructured};
use metricstream::cli::log::bounds;
use metricstream::cli::log::repair::{INDEX_NAME, SIDE_SUFFIX, repair};
use metricstream::cli::log::scan::Beside;
use metricstream::cli::log::survey::{Survey, snapshot, survey};
use metricstream::limits::{NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX};
use metricstream::log::segment::{ACTIVE_NAME, Sealed};
use metricstream::log::simulated::SimulatedDisk;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// The longest line that is one, here.
const LINE_BYTES_MAX: usize = 1024;

/// A log and what happens to it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Lines of each segment; the last is the active one.
    pub segments: Vec<u16>,
    /// Which of the sealed ones are compressed.
    pub compressed: u8,
    /// What is done, and to which segment.
    pub damage: Vec<(usize, Harm)>,
}

/// Something that is done to the bytes of a segment, at a place modulo its length.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// Changes bits of a byte.
    Flip(u32, u8),
    /// Takes bytes out.
    Cut(u32, u16),
    /// Puts NUL bytes in.
    Nuls(u32, u16),
    /// Writes a byte over others.
    Overwrite(u32, u16, u8),
    /// Ends the file.
    End(u32),
    /// Takes the n-th line feed out.
    Feed(u16),
}

impl Plan {
    /// The plan that `raw` makes.
    #[must_use]
    pub fn of(raw: &[u8]) -> Self {
        Self::arbitrary(&mut Unstructured::new(raw)).expect("bytes that run out are zeros")
    }
}

impl<'a> Arbitrary<'a> for Plan {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Now and then a segment of several blocks.
        let most = if u.ratio(1, 24)? { 4000 } else { 30 };
        let segments = (0..u.int_in_range(1..=4)?)
            .map(|_| u.int_in_range(0..=most))
            .collect::<Result<Vec<_>>>()?;
        let damage = (0..u.int_in_range(0..=4)?)
            .map(|_| Ok((u.choose_index(segments.len())?, harm(u)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            segments,
            compressed: u.arbitrary()?,
            damage,
        })
    }
}

fn harm(u: &mut Unstructured<'_>) -> Result<Harm> {
    let at = u.arbitrary()?;
    Ok(match u.int_in_range(0..=6)? {
        0 | 1 => Harm::Flip(at, u.int_in_range(1..=255)?),
        2 => Harm::Cut(at, u.int_in_range(1..=400)?),
        3 => Harm::Nuls(at, *u.choose(&[1, 2, 100, 1023, 1024, 1025, 5000])?),
        4 => Harm::Overwrite(at, u.int_in_range(1..=300)?, *u.choose(b"\0\n {x\xff")?),
        5 => Harm::End(at),
        _ => Harm::Feed(u.arbitrary()?),
    })
}

impl Harm {
    fn apply(self, content: &mut Vec<u8>) {
        let length = content.len();
        let place = |at: u32| at as usize % length.max(1);
        if length == 0 {
            return;
        }
        match self {
            Self::Flip(at, bits) => content[place(at)] ^= bits,
            Self::Cut(at, count) => {
                let start = place(at);
                content.drain(start..length.min(start + usize::from(count)));
            }
            Self::Nuls(at, count) => {
                let start = place(at);
                content.splice(start..start, std::iter::repeat_n(0, count.into()));
            }
            Self::Overwrite(at, count, byte) => {
                let start = place(at);
                content[start..length.min(start + usize::from(count))].fill(byte);
            }
            Self::End(at) => content.truncate(place(at)),
            Self::Feed(which) => {
                let feeds: Vec<_> = (0..length).filter(|&at| content[at] == b'\n').collect();
                if !feeds.is_empty() {
                    content.remove(feeds[usize::from(which) % feeds.len()]);
                }
            }
        }
    }
}

/// What was seen on the way, to know that plans reach what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Damaged lines.
    pub damaged: u64,
    /// Metrics that repair found in them.
    pub saved: u64,
    /// Lines longer than a line may be.
    pub long: u64,
    /// Plans without damage.
    pub sound: u64,
    /// Damage that left every line a stored line.
    pub unseen: u64,
}

/// A segment on the disk.
struct Segment {
    name: String,
    /// Its lines, as they were.
    lines: Vec<String>,
    /// Its lines, as they are.
    content: Vec<u8>,
    /// Its file.
    stored: Vec<u8>,
}

/// Runs the plan.
///
/// # Panics
/// When a promise is broken.
pub fn check(plan: &Plan) -> Seen {
    let disk = SimulatedDisk::new();
    let segments = build(plan, &disk);
    let mut seen = Seen::default();
    let surveyed = verify(&segments, &disk, &mut seen);
    let repaired = repair(
        &disk,
        Path::new("data"),
        Some(Path::new("out")),
        bounds(LINE_BYTES_MAX),
        &mut |_| {},
    )
    .expect("nothing fails");
    for segment in &segments {
        assert_eq!(
            disk.content(&data(&segment.name)),
            segment.stored,
            "the log is not touched"
        );
    }
    let any_harm = segments
        .iter()
        .any(|segment| segment.lines.concat().as_bytes() != segment.content);
    if surveyed.damage_count == 0 {
        seen.sound += u64::from(!any_harm);
        seen.unseen += u64::from(any_harm);
        assert!(
            disk.paths().iter().all(|path| !path.starts_with("out")),
            "nothing to write"
        );
        return seen;
    }
    assert!(any_harm, "nothing was done and damage is listed: {surveyed:?}");
    let index = String::from_utf8(disk.content(&Path::new("out").join(INDEX_NAME))).expect("text");
    let index: Vec<Value> = index
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let mut records = 0;
    for segment in &segments {
        records += check_output(segment, &disk, &index);
    }
    assert_eq!(repaired.records_kept, records, "what is said is what is there");
    seen.saved += repaired.records_saved;
    seen
}

fn data(name: &str) -> PathBuf {
    Path::new("data").join(name)
}

fn build(plan: &Plan, disk: &SimulatedDisk) -> Vec<Segment> {
    let mut number = 0;
    let last = plan.segments.len() - 1;
    let mut segments = Vec::new();
    for (index, &count) in plan.segments.iter().enumerate() {
        let lines: Vec<_> = (0..count).map(|_| line(&mut number)).collect();
        let mut content = lines.concat().into_bytes();
        for (_, harm) in plan.damage.iter().filter(|(segment, _)| *segment == index) {
            harm.apply(&mut content);
        }
        let compressed = index < last && plan.compressed >> index & 1 == 1;
        let name = match index == last {
            true => ACTIVE_NAME.to_owned(),
            false => Sealed {
                number: index as u64 + 1,
                compressed,
            }
            .file_name(),
        };
        let stored = if compressed {
            compress(&content)
        } else {
            content.clone()
        };
        disk.put(&data(&name), &stored);
        segments.push(Segment {
            name,
            lines,
            content,
            stored,
        });
    }
    segments
}

/// A zstd file with a checksum, as the log writes it.
#[must_use]
pub fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("a checksum");
    encoder.write_all(content).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// A stored line unlike every other.
fn line(number: &mut u32) -> String {
    *number += 1;
    let name = ["cpu", "disk.io\\n\\u00e9", "a\\\"b", "\u{e9}\u{1f600}"][*number as usize % 4];
    let kind = ["gauge", "counter", "histogram", "summary"][*number as usize % 3];
    let tags = [
        "",
        "\"host\":\"web-1\"",
        "\"host\":\"\",\"zone\":\"{\\\"timestamp\\\":\\\"\"",
    ][*number as usize % 3];
    let millis = *number % 1000;
    format!(
        "{{\"timestamp\":\"2026-01-02T03:04:05.{millis:03}Z\",\"name\":\"{name}\",\"value\":{number}.50,\
         \"type\":\"{kind}\",\"tags\":{{{tags}}}}}\n"
    )
}

/// Holds `verify` against the reading by serde_json.
fn verify(segments: &[Segment], disk: &SimulatedDisk, seen: &mut Seen) -> Survey {
    let directory = Path::new("data");
    let snapshot = snapshot(disk, directory).expect("there is a log");
    let surveyed = survey(
        snapshot,
        directory,
        bounds(LINE_BYTES_MAX),
        Beside::NOBODY,
        &mut |_| {},
    );
    let surveyed = surveyed.expect("nothing fails");
    let mut expected = Vec::new();
    let mut sound = 0;
    for segment in segments {
        let mut offset = 0;
        for (line, number) in segment.content.split_inclusive(|&byte| byte == b'\n').zip(1..) {
            if is_sound(line) {
                sound += 1;
            } else {
                seen.long += u64::from(line.len() > LINE_BYTES_MAX);
                expected.push((segment.name.clone(), offset, number, line.len() as u64));
            }
            offset += line.len() as u64;
        }
    }
    let found: Vec<_> = surveyed
        .damage
        .iter()
        .map(|line| (line.segment.to_string(), line.offset, line.line, line.bytes))
        .collect();
    assert!(
        expected.len() > 1000 || found == expected,
        "found {found:?}\nthere are {expected:?}"
    );
    assert_eq!(surveyed.damage_count, expected.len() as u64);
    assert_eq!(surveyed.sum(|segment| segment.lines), sound);
    let bytes: usize = segments.iter().map(|segment| segment.content.len()).sum();
    assert_eq!(surveyed.sum(|segment| segment.bytes), bytes as u64);
    seen.damaged += surveyed.damage_count;
    surveyed
}

/// Holds the repaired form of a segment against what there was; how many lines it has.
fn check_output(segment: &Segment, disk: &SimulatedDisk, index: &[Value]) -> u64 {
    let is_whole = segment
        .content
        .split_inclusive(|&byte| byte == b'\n')
        .all(is_sound);
    let out = |name: &str| disk.content(&Path::new("out").join(name));
    if is_whole {
        assert_eq!(out(&segment.name), segment.stored, "a copy");
        return segment.content.split_inclusive(|&byte| byte == b'\n').count() as u64;
    }
    let kept = out(segment.name.trim_end_matches(".zst"));
    let side = out(&format!("{}{SIDE_SUFFIX}", segment.name));
    // What was left out is what the index says, in order.
    let (mut rest, mut after, mut side_after) = (Vec::new(), 0, 0);
    for entry in index
        .iter()
        .filter(|entry| entry["segment"] == segment.name.as_str())
    {
        let of = |name: &str| usize::try_from(entry[name].as_u64().expect(name)).expect("small");
        let (offset, bytes) = (of("offset"), of("bytes"));
        assert!(
            offset >= after && of("file_offset") == side_after && bytes > 0,
            "{entry}"
        );
        assert_eq!(
            side[side_after..side_after + bytes],
            segment.content[offset..offset + bytes]
        );
        rest.extend_from_slice(&segment.content[after..offset]);
        (after, side_after) = (offset + bytes, side_after + bytes);
    }
    assert_eq!(side_after, side.len());
    rest.extend_from_slice(&segment.content[after..]);
    let without_feeds = |bytes: &[u8]| {
        bytes
            .iter()
            .copied()
            .filter(|&byte| byte != b'\n')
            .collect::<Vec<_>>()
    };
    assert_eq!(
        without_feeds(&kept),
        without_feeds(&rest),
        "kept and left out are all there was"
    );
    let lines: Vec<_> = kept.split_inclusive(|&byte| byte == b'\n').collect();
    assert!(
        lines.iter().all(|line| is_sound(line)),
        "only stored lines are kept"
    );
    // Whatever of the lines is still whole was kept, wherever it stood.
    let mut found = lines.iter();
    for line in &segment.lines {
        let text = line.trim_end().as_bytes();
        if memchr::memmem::find(&segment.content, text).is_some() {
            assert!(
                found.any(|found| found[..found.len() - 1] == *text),
                "{line:?} was whole and is lost: {}",
                String::from_utf8_lossy(&segment.content)
            );
        }
    }
    lines.len() as u64
}

/// The members of an object in their order, also those given twice.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A member's value.
enum Member {
    Text(String),
    Number,
    Tags(Vec<(String, String)>),
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Member;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or an object of texts")
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Member, E> {
                Ok(Member::Text(text.to_owned()))
            }
            fn visit_f64<E>(self, _: f64) -> std::result::Result<Member, E> {
                Ok(Member::Number)
            }
            fn visit_u64<E>(self, _: u64) -> std::result::Result<Member, E> {
                Ok(Member::Number)
            }
            fn visit_i64<E>(self, _: i64) -> std::result::Result<Member, E> {
                Ok(Member::Number)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Member, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = map.next_entry()? {
                    tags.push(tag);
                }
                Ok(Member::Tags(tags))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Whether a line is what the server writes, by a second reading.
fn is_sound(line: &[u8]) -> bool {
    let Some(line) = line
        .strip_suffix(b"\n")
        .and_then(|line| str::from_utf8(line).ok())
    else {
        return false;
    };
    let Ok(Pairs(members)) = serde_json::from_str::<Pairs<Member>>(line) else {
        return false;
    };
    let [
        (a, Member::Text(time)),
        (b, Member::Text(name)),
        (c, Member::Number),
        (d, Member::Text(kind)),
        (e, Member::Tags(tags)),
    ] = &members[..]
    else {
        return false;
    };
    let in_order = [a.as_str(), b, c, d, e] == ["timestamp", "name", "value", "type", "tags"];
    let keys = tags.iter().map(|(key, _)| key);
    let bounded = (1..=NAME_BYTES_MAX).contains(&name.len())
        && tags.len() <= TAGS_MAX
        && keys
            .clone()
            .all(|key| (1..=TAG_KEY_BYTES_MAX).contains(&key.len()))
        && tags.iter().all(|(_, value)| value.len() <= TAG_VALUE_BYTES_MAX);
    let distinct = keys.collect::<std::collections::BTreeSet<_>>().len() == tags.len();
    line.len() < LINE_BYTES_MAX
        && in_order
        && bounded
        && distinct
        && is_dense(line)
        && is_time(time)
        && line.contains(&format!("\"timestamp\":\"{time}\","))
        && ["gauge", "counter", "histogram", "summary"].contains(&kind.as_str())
        && line.contains(&format!("\"type\":\"{kind}\","))
}

/// No white space outside of strings.
fn is_dense(line: &str) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    for byte in line.bytes() {
        if !in_text && byte.is_ascii_whitespace() {
            return false;
        }
        if byte == b'"' && !escaped {
            in_text = !in_text;
        }
        escaped = in_text && byte == b'\\' && !escaped;
    }
    true
}

fn is_time(text: &str) -> bool {
    let shape = text
        .bytes()
        .map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    let format = time::format_description::well_known::Rfc3339;
    shape.eq(*b"0000-00-00T00:00:00.000Z")
        && &text[17..19] != "60"
        && time::OffsetDateTime::parse(text, &format).is_ok()
}
