//! The metric schema against serde_json on the same schema, and the bodies to try.
//!
//! The oracle is written the plain way: serde types, then one `if` for each bound of the specification. It
//! shares nothing with the code under test but the constants.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use metricstream::clock::WallTime;
use metricstream::limits::{
    NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX, TIMESTAMP_BYTES_MAX,
};
use metricstream::metric::{Batch, Error, Limits, Scratch, decode};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::choices::{Choices, mutate};
use crate::json::{self, shown};

/// Most metrics in a batch, in these checks: small, so that generated batches reach it.
pub const BATCH_METRICS_MAX: usize = 6;

/// The time of arrival, in these checks: 2026-01-02T03:04:05.678Z.
pub const ARRIVAL_MILLIS: i64 = 1_767_323_045_678;

/// One metric, all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Escapes read.
    pub name: String,
    /// The bits of the f64.
    pub value_bits: u64,
    /// The type's name.
    pub kind: String,
    /// In their order.
    pub tags: Vec<(String, String)>,
    /// Milliseconds since 1970; none for the time of arrival.
    pub timestamp: Option<i64>,
}

/// Memory that checks reuse.
#[derive(Debug, Default)]
pub struct Reused {
    scratch: Scratch,
    lines: Vec<u8>,
}

/// Panics when MetricStream and the oracle differ on `body`: on accepting it, on any member of any metric, or
/// on what the stored lines read back to.
///
/// # Panics
/// See above: that is its purpose.
pub fn check(body: &[u8], reused: &mut Reused) {
    let limits = Limits {
        batch_metrics_max: BATCH_METRICS_MAX,
    };
    let Reused { scratch, lines } = reused;
    let expected = oracle(body, &limits);
    let batch = match (
        decode(body, &limits, scratch).and_then(|draft| draft.validate()),
        &expected,
    ) {
        (Ok(batch), Some(_)) => batch,
        (Ok(_), None) => panic!("accepted, the oracle refuses: {}", shown(body)),
        (Err(error), Some(_)) => panic!("{error}, the oracle accepts: {}", shown(body)),
        (Err(error), None) => return check_error(&error, body),
    };
    let expected = expected.unwrap_or_default();
    assert_eq!(decoded(&batch), expected, "metrics differ: {}", shown(body));
    assert_eq!(batch.len(), expected.len());
    lines.clear();
    batch.encode(WallTime::from_epoch_millis(ARRIVAL_MILLIS), lines);
    assert_eq!(
        read_lines(lines),
        with_arrival(expected),
        "lines differ: {}",
        shown(body)
    );
}

/// Any error names a place that is in the body, and can be shown.
fn check_error(error: &Error, body: &[u8]) {
    assert!(error.at as usize <= body.len(), "{error}: {}", shown(body));
    assert!(error.to_string().contains("at byte"));
}

/// What MetricStream made of the body.
fn decoded(batch: &Batch<'_>) -> Vec<Metric> {
    let mut scratch = String::new();
    batch
        .metrics()
        .map(|metric| {
            let mut tags = Vec::new();
            metric
                .tags()
                .for_each(|key, value| tags.push((key.to_owned(), value.to_owned())));
            Metric {
                name: metric.name(&mut scratch).to_owned(),
                value_bits: metric.value().to_bits(),
                kind: metric.kind().name().to_owned(),
                tags,
                timestamp: metric.timestamp(),
            }
        })
        .collect()
}

fn with_arrival(mut metrics: Vec<Metric>) -> Vec<Metric> {
    for metric in &mut metrics {
        metric.timestamp.get_or_insert(ARRIVAL_MILLIS);
    }
    metrics
}

/// Reads stored lines back, by serde_json.
///
/// # Panics
/// When they are not lines of the documented form.
#[must_use]
pub fn read_lines(lines: &[u8]) -> Vec<Metric> {
    let Some((b'\n', lines)) = lines.split_last() else {
        panic!("the last line has no end: {}", shown(lines));
    };
    lines.split(|&byte| byte == b'\n').map(read_line).collect()
}

fn read_line(line: &[u8]) -> Metric {
    let stored: StoredLine =
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", shown(line)));
    assert_eq!(stored.timestamp.len(), 24, "{}", shown(line));
    assert!(line.starts_with(b"{\"timestamp\":\""), "{}", shown(line));
    Metric {
        name: stored.name,
        value_bits: stored.value.to_bits(),
        kind: stored.kind,
        tags: stored.tags.0,
        timestamp: moment(&stored.timestamp),
    }
}

/// A stored line: exactly these members.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLine {
    timestamp: String,
    name: String,
    value: f64,
    #[serde(rename = "type")]
    kind: String,
    tags: OracleTags,
}

/// What the specification makes of `body`: its metrics, or nothing when it is refused.
#[must_use]
pub fn oracle(body: &[u8], limits: &Limits) -> Option<Vec<Metric>> {
    let ObjectOnly(body) = json::oracle::<ObjectOnly<OracleBody>>(body)?;
    let count = body.metrics.len();
    if count < 1 || count > limits.batch_metrics_max {
        return None;
    }
    body.metrics
        .into_iter()
        .map(|ObjectOnly(metric)| within_bounds(metric))
        .collect()
}

fn within_bounds(metric: OracleMetric) -> Option<Metric> {
    let tags = metric.tags.unwrap_or_default().0;
    let fits = |text: &str, least, most| (least..=most).contains(&text.len());
    let good = fits(&metric.name, 1, NAME_BYTES_MAX)
        && metric.value.is_finite()
        && tags.len() <= TAGS_MAX
        && tags
            .iter()
            .all(|(key, value)| fits(key, 1, TAG_KEY_BYTES_MAX) && fits(value, 0, TAG_VALUE_BYTES_MAX));
    let kind = metric.kind.unwrap_or_else(|| "gauge".to_owned());
    let known = ["gauge", "counter", "histogram", "summary"].contains(&kind.as_str());
    let timestamp = match metric.timestamp {
        None => None,
        Some(OracleTime(millis)) => Some(millis.filter(|millis| writable(*millis))?),
    };
    (good && known).then(|| Metric {
        name: metric.name,
        value_bits: metric.value.to_bits(),
        kind,
        tags,
        timestamp,
    })
}

/// Whether the year of this moment has four digits.
fn writable(millis: i64) -> bool {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .is_ok_and(|moment| (0..=9999).contains(&moment.year()))
}

/// Milliseconds since 1970 of an RFC 3339 date and time, by the `time` crate.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    // The crate takes any separator, as a note in section 5.6 permits; the grammar has 'T' only.
    if text.len() > TIMESTAMP_BYTES_MAX || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return None;
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[derive(serde::Deserialize)]
struct OracleBody {
    metrics: Vec<ObjectOnly<OracleMetric>>,
}

#[derive(serde::Deserialize)]
struct OracleMetric {
    name: String,
    value: f64,
    #[serde(rename = "type")]
    kind: Option<String>,
    tags: Option<OracleTags>,
    timestamp: Option<OracleTime>,
}

/// A struct read from an object; serde's derive would also read it from an array.
struct ObjectOnly<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOnly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(access))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// Tags in their order; a key that comes twice is refused.
#[derive(Debug, Default)]
struct OracleTags(Vec<(String, String)>);

impl<'de> Deserialize<'de> for OracleTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tags;
        impl<'de> Visitor<'de> for Tags {
            type Value = OracleTags;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<OracleTags, A::Error> {
                let (mut tags, mut keys) = (Vec::new(), HashSet::new());
                while let Some((key, value)) = access.next_entry::<String, String>()? {
                    if !keys.insert(key.clone()) {
                        return Err(de::Error::custom("a tag is given twice"));
                    }
                    tags.push((key, value));
                }
                Ok(OracleTags(tags))
            }
        }
        deserializer.deserialize_map(Tags)
    }
}

/// A timestamp; nothing inside when it is an integer that i64 does not hold.
struct OracleTime(Option<i64>);

impl<'de> Deserialize<'de> for OracleTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = OracleTime;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an integer or a string")
            }
            fn visit_i64<E>(self, millis: i64) -> Result<OracleTime, E> {
                Ok(OracleTime(Some(millis)))
            }
            fn visit_u64<E>(self, millis: u64) -> Result<OracleTime, E> {
                Ok(OracleTime(i64::try_from(millis).ok()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<OracleTime, E> {
                moment(text)
                    .map(|millis| OracleTime(Some(millis)))
                    .ok_or_else(|| E::custom("not RFC 3339"))
            }
        }
        deserializer.deserialize_any(Time)
    }
}

/// A body: two in three of the schema and within the bounds, the others with faults or with bytes changed.
#[must_use]
pub fn generate(choices: &mut Choices<'_>) -> Vec<u8> {
    const OPENINGS: &[&[u8]] = &[b"\"metrics\":[", b"\"metrics\" : [ ", br#""m\u0065trics":["#];
    const OPENING_FAULTS: &[&[u8]] = &[b"\"metric\":[", b"\"metrics\":{", b"\"metrics\":null"];
    const CLOSING_FAULTS: &[&[u8]] = &[b",\"metrics\":[]", b",", b"]", b"}"];
    let mut out = Vec::new();
    choices.decide_on_faults();
    let changed = choices.one_in(6);
    out.push(b'{');
    json::space(choices, &mut out);
    if choices.one_in(8) {
        json::key(choices, &mut out);
        out.push(b':');
        json::value(choices, 1, &mut out);
        out.push(b',');
    }
    out.extend_from_slice(choices.pick_or_fault(OPENINGS, OPENING_FAULTS));
    let count = if choices.fault(8) {
        2 * choices.below(5)
    } else {
        1 + choices.below(BATCH_METRICS_MAX)
    };
    for index in 0..count {
        if index > 0 {
            out.push(b',');
            json::space(choices, &mut out);
        }
        metric(choices, &mut out);
    }
    out.push(b']');
    if choices.one_in(8) {
        out.extend_from_slice(choices.pick_or_fault(&[b",\"b\":1", b",\"b\":[[{}]]"], CLOSING_FAULTS));
    }
    json::space(choices, &mut out);
    out.push(b'}');
    if choices.fault(16) {
        out.push(b'}');
    }
    if changed {
        mutate(&mut out, choices);
    }
    out
}

/// A body of metrics that look like one of them, as an agent sends them: other digits here and there, and now
/// and then one that is damaged.
pub fn generate_alike(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut first = Vec::new();
    metric(choices, &mut first);
    let mut body = b"{\"metrics\":[".to_vec();
    for index in 0..=choices.below(BATCH_METRICS_MAX) {
        if index > 0 {
            body.push(b',');
        }
        let mut like = first.clone();
        for byte in like.iter_mut().filter(|byte| byte.is_ascii_digit()) {
            if choices.one_in(4) {
                *byte = choices.byte_in(b'0', b'9');
            }
        }
        if choices.one_in(8) {
            mutate(&mut like, choices);
        }
        body.extend_from_slice(&like);
    }
    body.extend_from_slice(b"]}");
    body
}

/// One metric: half of them the usual way, half any way.
fn metric(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    if choices.below(2) == 0 {
        return usual_metric(choices, out);
    }
    let mut fields = vec!["name", "value"];
    for optional in ["type", "tags", "timestamp", "unknown"] {
        if choices.one_in(2) {
            fields.push(optional);
        }
    }
    if choices.fault(8) {
        fields.push(choices.pick(&["name", "value", "type", "tags", "timestamp"]));
    }
    if choices.fault(8) {
        fields.remove(choices.below(fields.len()));
    }
    for index in (1..fields.len()).rev() {
        fields.swap(index, choices.below(index + 1));
    }
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::space(choices, out);
        field_key(choices, field, out);
        json::space(choices, out);
        out.push(b':');
        json::space(choices, out);
        field_value(choices, field, out);
        json::space(choices, out);
    }
    out.push(b'}');
}

/// A metric as agents write it: the members in their order, no white space, nearly always the plain keys.
fn usual_metric(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    const NAMES: &[&str] = &[
        "cpu",
        "http.requests.total",
        "a",
        "memory_usage_bytes_of_some_process",
    ];
    out.push(b'{');
    for field in ["name", "value", "type", "tags", "timestamp"] {
        let required = matches!(field, "name" | "value");
        if !required && choices.below(4) == 3 {
            continue;
        }
        if !out.ends_with(b"{") {
            out.push(b',');
        }
        field_key(choices, field, out);
        out.push(b':');
        match field {
            "name" => out.extend_from_slice(format!("\"{}\"", choices.pick(NAMES)).as_bytes()),
            _ => field_value(choices, field, out),
        }
    }
    out.push(b'}');
}

/// A key, now and then spelt with an escape.
fn field_key(choices: &mut Choices<'_>, field: &str, out: &mut Vec<u8>) {
    if field == "unknown" {
        return json::key(choices, out);
    }
    out.push(b'"');
    for byte in field.bytes() {
        if choices.one_in(40) {
            out.extend_from_slice(format!("\\u00{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out.push(b'"');
}

fn field_value(choices: &mut Choices<'_>, field: &str, out: &mut Vec<u8>) {
    const TYPES: &[&[u8]] = &[
        b"\"gauge\"",
        b"\"counter\"",
        b"\"histogram\"",
        b"\"summary\"",
        b"null",
        br#""g\u0061uge""#,
    ];
    const TYPE_FAULTS: &[&[u8]] = &[
        b"\"Gauge\"",
        b"\"gauges\"",
        b"\"\"",
        b"{\"gauge\":null}",
        b"\"gaug\"",
        b"0",
    ];
    if choices.fault(16) {
        return json::value(choices, 2, out);
    }
    match field {
        "name" => name(choices, out),
        "value" => json::number(choices, out),
        "type" => out.extend_from_slice(choices.pick_or_fault(TYPES, TYPE_FAULTS)),
        "tags" => tags(choices, out),
        "timestamp" => timestamp(choices, out),
        _ => json::value(choices, 2, out),
    }
}

/// A name, some at the bound.
fn name(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let beyond = 2 * usize::from(choices.fault(4));
    out.push(b'"');
    match choices.below(8) {
        3 => out.extend(std::iter::repeat_n(
            b'n',
            NAME_BYTES_MAX - 1 + choices.below(2 + beyond),
        )),
        4 => (0..NAME_BYTES_MAX / 2 + choices.below(1 + beyond))
            .for_each(|_| out.extend_from_slice(br"\u00e9")),
        5 if beyond > 0 => {}
        6 | 7 => {
            out.push(b'n');
            json::text_content(choices, out);
        }
        _ => out.extend_from_slice(b"cpu.load"),
    }
    out.push(b'"');
}

/// Tags, some at a bound, some with a key twice.
fn tags(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let count = match choices.below(16) {
        0 => return out.extend_from_slice(b"null"),
        1 => TAGS_MAX - 1 + choices.below(2),
        _ if choices.fault(24) => TAGS_MAX + 1,
        _ => choices.below(5),
    };
    let any_key = choices.fault(4) || (count == 1 && choices.one_in(2));
    out.push(b'{');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        json::space(choices, out);
        if any_key {
            tag_key(choices, out);
        } else {
            distinct_tag_key(choices, index, out);
        }
        json::space(choices, out);
        out.push(b':');
        json::space(choices, out);
        tag_value(choices, out);
        json::space(choices, out);
    }
    out.push(b'}');
}

/// A key unlike those of another index.
fn distinct_tag_key(choices: &mut Choices<'_>, index: usize, out: &mut Vec<u8>) {
    let prefix = choices.pick::<str>(&["k", r"\u006b", "ké", "a key of some length "]);
    out.extend_from_slice(format!("\"{prefix}{index}\"").as_bytes());
}

fn tag_key(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    if choices.one_in(3) {
        let beyond = usize::from(choices.fault(2));
        out.push(b'"');
        out.extend(std::iter::repeat_n(
            b'k',
            TAG_KEY_BYTES_MAX - 1 + choices.below(2 + beyond),
        ));
        out.push(b'"');
    } else if choices.fault(4) {
        json::key(choices, out);
    } else {
        out.extend_from_slice(b"\"key\"");
    }
}

fn tag_value(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    match choices.below(24) {
        0..=9 => out.extend_from_slice(b"\"web-1\""),
        10 => {
            let beyond = usize::from(choices.fault(2));
            out.push(b'"');
            out.extend(std::iter::repeat_n(
                b'v',
                TAG_VALUE_BYTES_MAX - 1 + choices.below(2 + beyond),
            ));
            out.push(b'"');
        }
        11 if choices.fault(2) => {
            out.extend_from_slice(choices.pick::<[u8]>(&[b"null", b"1", b"true", b"{}", b"[]"]))
        }
        _ => json::text(choices, out),
    }
}

/// A timestamp in one of its forms, or nearly.
fn timestamp(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    const SOUND: &[&[u8]] = &[
        b"0",
        b"-1",
        b"null",
        b"253402300799999",
        b"-62167219200000",
        b"9007199254740",
    ];
    const FAULTS: &[&[u8]] = &[
        b"-0",
        b"1.0",
        b"1e3",
        b"253402300800000",
        b"-62167219200001",
        b"9223372036854775807",
        b"9223372036854775808",
        b"18446744073709551616",
        b"-9223372036854775809",
        b"1e400",
        b"9007199254740993",
    ];
    match choices.below(6) {
        0 => out.extend_from_slice(b"1767323045678"),
        1 | 2 => out.extend_from_slice(choices.pick_or_fault(SOUND, FAULTS)),
        3 if choices.fault(2) => json::number(choices, out),
        _ => {
            out.push(b'"');
            moment_text(choices, out);
            out.push(b'"');
        }
    }
}

/// Text like RFC 3339: each part in its range, but for faults.
pub fn moment_text(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let part = |choices: &mut Choices<'_>, least: usize, most: usize, width: usize, out: &mut Vec<u8>| {
        let value = match choices.fault(16) {
            true if least > 0 && choices.one_in(2) => least - 1,
            true => most + 1,
            false => least + choices.below(most - least + 1),
        };
        out.extend_from_slice(format!("{value:0width$}").as_bytes());
    };
    part(choices, 0, 9999, 4, out);
    out.push(b'-');
    if choices.one_in(4) {
        // The last days of months.
        out.extend_from_slice(choices.pick_or_fault::<[u8]>(
            &[b"12-31", b"06-30", b"01-31", b"02-28"],
            &[b"02-29", b"02-30", b"04-31", b"12-32"],
        ));
    } else {
        part(choices, 1, 12, 2, out);
        out.push(b'-');
        let last_day = if choices.fault(2) { 31 } else { 28 };
        part(choices, 1, last_day, 2, out);
    }
    out.push(*choices.pick_or_fault(&[&b'T', &b't'], &[&b' ', &b'_']));
    if choices.fault(4) {
        out.extend_from_slice(b"23:59:60");
    } else {
        part(choices, 0, 23, 2, out);
        out.push(b':');
        part(choices, 0, 59, 2, out);
        out.push(b':');
        part(choices, 0, 59, 2, out);
    }
    if choices.one_in(2) {
        let longest = if choices.one_in(8) {
            37 + choices.below(4)
        } else {
            9
        };
        out.push(b'.');
        out.extend(
            (usize::from(choices.fault(8))..=choices.below(longest)).map(|_| choices.byte_in(b'0', b'9')),
        );
    }
    match choices.below(4) {
        0 | 1 => out.push(b'Z'),
        2 => out.push(b'z'),
        _ => {
            out.push(*choices.pick(&[&b'+', &b'-']));
            part(choices, 0, 23, 2, out);
            out.push(b':');
            part(choices, 0, 59, 2, out);
        }
    }
}
