//! The JSON parser against serde_json on what a generator can make.
//!
//! `PROPTEST_CASES` sets how many cases each property tries.

use std::collections::BTreeMap;

use metricstream_proptests::choices::Choices;
use metricstream_proptests::json::{NUMBERS_EDGE, NUMBERS_MALFORMED, check, generate, read};
use metricstream_proptests::seeds;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// What fails is kept as a named case, not in a file beside the test.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn generated_documents_agree(bytes in vec(any::<u8>(), 0..200)) {
        check(&generate(&mut Choices::new(&bytes)));
    }

    #[test]
    fn every_prefix_of_a_document_agrees(bytes in vec(any::<u8>(), 0..60)) {
        let document = generate(&mut Choices::new(&bytes));
        for end in 0..=document.len() {
            check(&document[..end]);
        }
    }

    #[test]
    fn any_bytes_agree(document in vec(any::<u8>(), 0..40)) {
        check(&document);
    }

    #[test]
    fn any_text_in_a_string_agrees(text in any::<String>()) {
        check(format!("\"{text}\"").as_bytes());
        check(&serde_json::to_vec(&text).unwrap());
    }

    #[test]
    fn any_f64_reads_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        check(format!("{value:?}").as_bytes());
        check(format!("{value}").as_bytes());
        check(format!("{value:e}").as_bytes());
        check(format!("{value:.17e}").as_bytes());
    }

    #[test]
    fn decimal_numbers_agree(whole in any::<u64>(), fraction in "[0-9]{0,25}", exponent in -400i32..400) {
        check(format!("{whole}").as_bytes());
        check(format!("-{whole}.{fraction}").as_bytes());
        check(format!("{whole}e{exponent}").as_bytes());
        check(format!("{whole}.{fraction}e{exponent}").as_bytes());
        check(format!("{}.{fraction}", whole % 100_000).as_bytes());
    }

    #[test]
    fn numbers_halfway_between_two_floats_agree(significand in (1u128 << 52)..(1 << 53), places in 0usize..31) {
        // One bit more than an f64 holds, written exactly: as an integer, and shifted below the point, where
        // n / 2^places = n * 5^places / 10^places.
        let half = 2 * significand + 1;
        let digits = (half * 5u128.pow(u32::try_from(places).unwrap())).to_string();
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(places));
        let whole = if whole.is_empty() { "0" } else { whole };
        for text in [format!("{}", half << places), format!("{whole}.{fraction:0>places$}0")] {
            check(text.as_bytes());
            check(format!("{text}1").as_bytes());
            check(format!("{text}e-{places}").as_bytes());
            check(format!("{}9", &text[..text.len() - 1]).as_bytes());
        }
    }
}

#[test]
fn numbers_at_the_edges_agree_in_every_place() {
    for number in NUMBERS_EDGE.iter().chain(NUMBERS_MALFORMED) {
        for document in [
            (*number).to_owned(),
            format!("-{number}"),
            format!("[{number}]"),
            format!("{{\"\":{number} }}"),
        ] {
            check(document.as_bytes());
        }
        // With the document's end at every distance within a vector's width.
        for spaces in 0..40 {
            check(format!("[{number}{}]", " ".repeat(spaces)).as_bytes());
        }
    }
}

#[test]
fn every_escape_agrees() {
    for unit in 0..=0xFFFFu32 {
        check(format!("\"\\u{unit:04x}\"").as_bytes());
        check(format!("\"\\uD834\\u{unit:04X}\"").as_bytes());
        check(format!("\"\\u{unit:04X}\\uDD1E\"").as_bytes());
    }
    for byte in 0..=255u8 {
        check(&[b'"', b'\\', byte, b'"']);
        check(&[b'"', byte, b'"']);
        check(&[b'"', b'\\', b'u', b'0', b'0', b'0', byte, b'"']);
    }
}

#[test]
fn every_sequence_of_two_bytes_beyond_ascii_agrees() {
    for first in 0x80..=0xFFu8 {
        for second in 0..=0xFFu8 {
            check(&[b'"', first, second, b'"']);
            check(&[b'"', 0xE2, first, second, b'"']);
            check(&[b'"', 0xF0, 0x9D, first, second, b'"']);
            check(&[b'"', 0xED, first, second, b'"']);
        }
    }
}

#[test]
fn seeds_and_past_crashes_agree() {
    assert!(
        seeds::replay("json", |bytes| {
            check(bytes);
            check(&generate(&mut Choices::new(bytes)));
        }) > 0
    );
}

/// A generator that makes only what is refused, or only what is small and accepted, would prove little.
#[test]
fn generated_documents_are_on_both_sides_and_reach_every_kind_of_refusal() {
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut bytes, mut kinds) = (0, 0, BTreeMap::new());
    for _ in 0..20_000 {
        let raw = vec(any::<u8>(), 0..200).new_tree(&mut runner).unwrap().current();
        let document = generate(&mut Choices::new(&raw));
        bytes += document.len();
        match read(&document) {
            Ok(_) => accepted += 1,
            Err(error) => *kinds.entry(format!("{:?}", error.kind)).or_insert(0) += 1,
        }
    }
    println!("{accepted} accepted, {bytes} bytes, refused: {kinds:?}");
    assert!((4_000..18_000).contains(&accepted), "{accepted} accepted");
    assert!(bytes / 20_000 >= 30, "{} bytes a document", bytes / 20_000);
    let kinds: Vec<&str> = kinds.keys().map(String::as_str).collect();
    let expected = [
        "ControlCharacter",
        "Escape",
        "ExpectedColon",
        "ExpectedCommaOrBrace",
        "ExpectedCommaOrBracket",
        "ExpectedKey",
        "ExpectedValue",
        "LoneSurrogate",
        "NumberRange",
        "NumberSyntax",
        "TooDeep",
        "TrailingBytes",
        "UnexpectedEnd",
        "Utf8",
    ];
    assert_eq!(kinds, expected);
}
