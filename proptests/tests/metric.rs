//! Decoding, validating and encoding metrics against serde_json on the same schema.
//!
//! `PROPTEST_CASES` sets how many cases each property tries.

use std::cell::RefCell;

use metricstream::metric::time::{self, MILLIS_MAX, MILLIS_MIN};
use metricstream_proptests::choices::{Choices, mutate};
use metricstream_proptests::metric::{Reused, check, generate, generate_alike, moment, moment_text};
use metricstream_proptests::seeds;
use proptest::collection::vec;
use proptest::prelude::*;

/// What fails is kept as a named case, not in a file beside the test.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

thread_local! {
    /// Kept from case to case, so that what one leaves behind would show in the next.
    static REUSED: RefCell<Reused> = RefCell::default();
}

fn agree(body: &[u8]) {
    REUSED.with_borrow_mut(|reused| check(body, reused));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn generated_bodies_agree(bytes in vec(any::<u8>(), 0..300)) {
        agree(&generate(&mut Choices::new(&bytes)));
    }

    #[test]
    fn metrics_that_look_alike_agree(bytes in vec(any::<u8>(), 0..300)) {
        let body = generate_alike(&mut Choices::new(&bytes));
        // Once more, when the last metric before it is one of its own.
        agree(&body);
        agree(&body);
    }

    #[test]
    fn every_prefix_of_a_body_agrees(bytes in vec(any::<u8>(), 0..60)) {
        let body = generate(&mut Choices::new(&bytes));
        for end in 0..=body.len() {
            agree(&body[..end]);
        }
    }

    #[test]
    fn changed_bytes_of_a_good_body_agree(changes in vec(any::<u8>(), 1..24)) {
        let mut body = GOOD.to_vec();
        mutate(&mut body, &mut Choices::new(&changes));
        agree(&body);
    }

    #[test]
    fn moments_agree(bytes in vec(any::<u8>(), 0..40)) {
        let mut text = Vec::new();
        let mut choices = Choices::new(&bytes);
        choices.decide_on_faults();
        moment_text(&mut choices, &mut text);
        let text = String::from_utf8(text).unwrap();
        // The bound on the length of the text is not this module's.
        prop_assume!(text.len() <= metricstream::limits::TIMESTAMP_BYTES_MAX);
        prop_assert_eq!(time::parse(text.as_bytes()).filter(|millis| (MILLIS_MIN..=MILLIS_MAX).contains(millis)),
            moment(&text).filter(|millis| (MILLIS_MIN..=MILLIS_MAX).contains(millis)), "{}", text);
    }

    #[test]
    fn moments_read_back(millis in MILLIS_MIN..=MILLIS_MAX) {
        let text = time::format(millis);
        prop_assert_eq!(time::parse(&text), Some(millis));
        prop_assert_eq!(moment(std::str::from_utf8(&text).unwrap()), Some(millis));
    }
}

const GOOD: &[u8] = br#"{"metrics":[
{"name":"cpu.usage","value":42.5,"type":"gauge","tags":{"host":"web-1","region":"eu"},"timestamp":1767323045678},
{"name":"http.requests","value":1027,"type":"counter","tags":{"method":"GET","path":"/a\"b"}},
{"value":-1.5e-3,"timestamp":"2026-01-02T03:04:05.678+01:00","name":"na\u006de","extra":[{"a":null}]}]}"#;

#[test]
fn every_single_byte_change_of_a_good_body_agrees() {
    let mut body = GOOD.to_vec();
    agree(&body);
    for place in 0..body.len() {
        let byte = body[place];
        for other in 0..=255 {
            body[place] = other;
            agree(&body);
        }
        body[place] = byte;
    }
}

/// The third of three metrics that look alike, indented so far that what stands between its values is longer
/// than what is compared at once: each byte of it, changed.
#[test]
fn every_single_byte_change_of_a_metric_that_looks_like_others_agrees() {
    let indent = "\n          ";
    let metric = format!(
        "{{{indent}\"name\": \"cpu\",{indent}\"value\": 1.5,{indent}\"type\": \"gauge\",{indent}\"tags\": \
         {{{indent}\"host.of.a.long.name\": \"web\",{indent}{indent}\"region\": \"eu\"{indent}}},\
         {indent}\"timestamp\": 1767323045678{indent}}}"
    );
    let mut body = format!("{{\"metrics\":[{metric},{metric},{metric}]}}").into_bytes();
    agree(&body);
    for place in body.len() - 2 - metric.len()..body.len() {
        let byte = body[place];
        for other in 0..=255 {
            body[place] = other;
            agree(&body);
        }
        body[place] = byte;
    }
}

#[test]
fn every_byte_removed_or_repeated_of_a_good_body_agrees() {
    for (place, &byte) in GOOD.iter().enumerate() {
        let mut body = GOOD.to_vec();
        body.remove(place);
        agree(&body);
        let mut body = GOOD.to_vec();
        body.insert(place, byte);
        agree(&body);
    }
}

/// Chance does not always come to the bounds: each of them, from one below it to two above, written plainly, with
/// escapes and in more bytes than characters.
#[test]
fn bodies_about_each_bound_agree() {
    use metricstream::limits::{NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX};
    let texts = |bound: usize| {
        (bound - 1..=bound + 2).flat_map(|length| {
            let two_bytes = "é".repeat(length / 2) + &"x".repeat(length % 2);
            ["x".repeat(length), r"\u0078".repeat(length), two_bytes]
        })
    };
    let metric = |name: &str, tags: &str| {
        agree(format!(r#"{{"metrics":[{{"name":"{name}","value":1,"tags":{{{tags}}}}}]}}"#).as_bytes());
    };
    let tag = |key: &str, value: &str| format!(r#""{key}":"{value}""#);
    texts(NAME_BYTES_MAX).for_each(|name| metric(&name, ""));
    texts(TAG_KEY_BYTES_MAX).for_each(|key| metric("n", &tag(&key, "v")));
    texts(TAG_VALUE_BYTES_MAX).for_each(|value| metric("n", &tag("k", &value)));
    for count in TAGS_MAX - 1..=TAGS_MAX + 1 {
        let tags: Vec<_> = (0..count).map(|number| tag(&format!("k{number}"), "v")).collect();
        metric("n", &tags.join(","));
    }
    metric("n", &tag("", "v"));
    metric("n", &tag("k", ""));
    metric("", "");
}

#[test]
fn seeds_and_past_crashes_agree() {
    assert!(
        seeds::replay("metric", |bytes| {
            agree(bytes);
            agree(&generate(&mut Choices::new(bytes)));
        }) > 0
    );
}

/// A generator that makes only what is refused, or only what is accepted, would prove little.
#[test]
fn generated_bodies_are_on_both_sides_and_reach_every_kind_of_refusal() {
    use metricstream::metric::{ErrorKind, Limits, Scratch, decode};
    let limits = Limits {
        batch_metrics_max: metricstream_proptests::metric::BATCH_METRICS_MAX,
    };
    let (mut scratch, mut accepted, mut kinds) = (Scratch::default(), 0, std::collections::BTreeMap::new());
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..20_000 {
        let mut bytes = [0; 300];
        bytes.fill_with(|| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        let body = generate(&mut Choices::new(&bytes));
        match decode(&body, &limits, &mut scratch).and_then(|draft| draft.validate()) {
            Ok(_) => accepted += 1,
            Err(error) => {
                let kind = match error.kind {
                    ErrorKind::Json(kind) => format!("{kind:?}"),
                    kind => format!("{kind:?}")
                        .split(' ')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                };
                *kinds.entry(kind).or_insert(0) += 1;
            }
        }
    }
    println!("{accepted} accepted, refused: {kinds:?}");
    assert!((2_000..18_000).contains(&accepted), "{accepted} accepted");
    for kind in [
        "BatchTooLarge",
        "ControlCharacter",
        "Duplicate",
        "Escape",
        "ExpectedArray",
        "ExpectedColon",
        "ExpectedCommaOrBrace",
        "ExpectedCommaOrBracket",
        "ExpectedKey",
        "ExpectedNumber",
        "ExpectedObject",
        "ExpectedString",
        "ExpectedValue",
        "LoneSurrogate",
        "MetricsMissing",
        "Missing",
        "NameLength",
        "NumberRange",
        "NumberSyntax",
        "TagDuplicate",
        "TagKeyLength",
        "TagValueLength",
        "Timestamp",
        "TimestampRange",
        "TooManyTags",
        "TrailingBytes",
        "UnexpectedEnd",
        "UnknownType",
        "Utf8",
    ] {
        assert!(kinds.contains_key(kind), "no {kind} in {kinds:?}");
    }
}
