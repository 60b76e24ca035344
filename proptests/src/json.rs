//! The JSON parser against serde_json, and the documents to try.
//!
//! The oracle is serde_json with `float_roundtrip`, which is exact, after two checks of our own that it does
//! not make: that skipped text is UTF-8 too, and the depth bound.

use std::fmt;

use metricstream::json::{Error, Kind, Parser};
use metricstream::limits::JSON_DEPTH_MAX;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::choices::{Choices, mutate};

/// A document read whole: all members in their order, duplicates kept, numbers as the bits of their f64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// The bits of the f64.
    Number(u64),
    /// Escapes read.
    Text(String),
    /// Elements in their order.
    Array(Vec<Tree>),
    /// Members in their order.
    Object(Vec<(String, Tree)>),
}

/// Panics when the parser and serde_json differ on `document`: on accepting it by the grammar, on accepting
/// it by meaning, or on any value in it.
///
/// # Panics
/// See above: that is its purpose.
pub fn check(document: &[u8]) {
    let ours = read(document);
    let theirs = oracle::<Tree>(document);
    match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => assert_eq!(ours, theirs, "values differ: {}", shown(document)),
        (Ok(_), None) => panic!("accepted, the oracle refuses: {}", shown(document)),
        (Err(error), Some(_)) => panic!("{error}, the oracle accepts: {}", shown(document)),
        (Err(error), None) => assert!(error.at as usize <= document.len()),
    }
    let skipped = skip(document);
    assert_eq!(
        skipped.is_ok(),
        oracle::<IgnoredAny>(document).is_some(),
        "skipping differs ({skipped:?}): {}",
        shown(document)
    );
    // What can be read can be skipped.
    assert!(ours.is_err() || skipped.is_ok(), "{}", shown(document));
}

/// The document as a panic message shows it.
#[must_use]
pub fn shown(document: &[u8]) -> String {
    format!(
        "{:?} = b\"{}\"",
        String::from_utf8_lossy(document),
        document.escape_ascii()
    )
}

/// Skips the document as one value, by the grammar alone.
///
/// # Errors
/// The parser's.
pub fn skip(document: &[u8]) -> Result<(), Error> {
    let mut parser = Parser::new(document)?;
    parser.skip()?;
    parser.end()
}

/// Reads the whole document with the parser under test.
///
/// # Errors
/// The parser's.
pub fn read(document: &[u8]) -> Result<Tree, Error> {
    let mut parser = Parser::new(document)?;
    let tree = read_value(&mut parser)?;
    parser.end()?;
    Ok(tree)
}

fn read_value(parser: &mut Parser<'_>) -> Result<Tree, Error> {
    let mut scratch = String::new();
    let document = parser.document();
    Ok(match parser.kind()? {
        Kind::Null | Kind::Bool => parser.word()?.map_or(Tree::Null, Tree::Bool),
        Kind::Number => {
            let number = parser.number()?;
            // The text that was borrowed is the number's, and the standard library reads it so too.
            let text = std::str::from_utf8(number.raw.of(document.as_bytes())).unwrap_or_default();
            assert_eq!(
                text.parse().map(f64::to_bits),
                Ok(number.value.to_bits()),
                "{text}"
            );
            assert_eq!(number.integer, !text.contains(['.', 'e', 'E']), "{text}");
            Tree::Number(number.value.to_bits())
        }
        Kind::Text => Tree::Text(parser.text()?.read(document, &mut scratch).to_owned()),
        Kind::Array => {
            let mut elements = Vec::new();
            parser.array_begin()?;
            let mut more = parser.first_element()?;
            while more {
                elements.push(read_value(parser)?);
                more = parser.next_element()?;
            }
            Tree::Array(elements)
        }
        Kind::Object => {
            let mut members = Vec::new();
            parser.object_begin()?;
            let mut more = parser.first_member()?;
            while more {
                let key = parser.key()?.read(document, &mut scratch).to_owned();
                members.push((key, read_value(parser)?));
                more = parser.next_member()?;
            }
            Tree::Object(members)
        }
    })
}

/// What serde_json makes of `document`, given that it is UTF-8 and no deeper than the bound.
#[must_use]
pub fn oracle<T: for<'de> Deserialize<'de>>(document: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(document).ok()?;
    let value = serde_json::from_str(text).ok()?;
    (depth(text) <= JSON_DEPTH_MAX).then_some(value)
}

/// How deep a valid document nests.
fn depth(document: &str) -> usize {
    let (mut deepest, mut depth, mut in_text, mut escaped) = (0, 0usize, false, false);
    for byte in document.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

#[allow(clippy::cast_precision_loss, reason = "the nearest f64 is what is compared")]
impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number((value as f64).to_bits()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number((value as f64).to_bits()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_bits()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}

/// A document: two in three sound, the others with the faults that parsers are known to miss, or with bytes
/// changed.
#[must_use]
pub fn generate(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    choices.decide_on_faults();
    let changed = choices.one_in(6);
    space(choices, &mut out);
    if choices.one_in(16) {
        deep(choices, &mut out);
    } else {
        value(choices, 0, &mut out);
    }
    space(choices, &mut out);
    if changed {
        mutate(&mut out, choices);
    }
    out
}

/// Any value, no deeper than a few levels below `depth`.
pub fn value(choices: &mut Choices<'_>, depth: usize, out: &mut Vec<u8>) {
    let kinds = if depth < 5 && !choices.is_empty() { 8 } else { 6 };
    match choices.below(kinds) {
        0 => out.extend_from_slice(b"0"),
        1 | 2 => number(choices, out),
        3 | 4 => text(choices, out),
        5 => {
            const FAULTS: &[&[u8]] = &[b"nul", b"True", b"NaN", b"Infinity", b"", b"nulll"];
            out.extend_from_slice(choices.pick_or_fault(&[b"null", b"true", b"false"], FAULTS));
        }
        6 => list(choices, out, *b"[]", |choices, out| {
            value(choices, depth + 1, out)
        }),
        _ => list(choices, out, *b"{}", |choices, out| {
            key(choices, out);
            space(choices, out);
            out.push(b':');
            space(choices, out);
            value(choices, depth + 1, out);
        }),
    }
}

/// `item`s between brackets, with commas.
fn list(
    choices: &mut Choices<'_>,
    out: &mut Vec<u8>,
    brackets: [u8; 2],
    mut item: impl FnMut(&mut Choices<'_>, &mut Vec<u8>),
) {
    out.push(brackets[0]);
    space(choices, out);
    for index in 0..choices.below(5) {
        if index > 0 && !choices.fault(32) {
            out.push(b',');
            space(choices, out);
        }
        item(choices, out);
        space(choices, out);
    }
    if choices.fault(32) {
        out.push(b',');
    }
    out.push(if choices.fault(32) {
        choices.byte()
    } else {
        brackets[1]
    });
}

/// Containers nested to about the bound.
fn deep(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let depth = JSON_DEPTH_MAX - 2 + choices.below(5);
    let objects: Vec<bool> = (0..depth).map(|_| choices.one_in(2)).collect();
    for &object in &objects {
        out.extend_from_slice(if object { b"{\"k\":" } else { b"[" });
    }
    value(choices, 5, out);
    for &object in objects.iter().rev() {
        out.push(if object { b'}' } else { b']' });
    }
}

/// White space, mostly none.
pub fn space(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    const SOUND: &[&[u8]] = &[
        b" ",
        b"\n",
        b"\t",
        b"\r",
        b"  \n\t\r ",
        b"                       ",
    ];
    const FAULTS: &[&[u8]] = &[
        b"\x0b",
        b"\x0c",
        b"\xc2\xa0",
        b"\xef\xbb\xbf",
        b"/**/",
        b"\0",
        b"\xe2\x80\xa8",
    ];
    if choices.one_in(4) {
        out.extend_from_slice(choices.pick_or_fault(SOUND, FAULTS));
    }
}

/// A key; from a small set, so that some come twice, spelt in more than one way.
pub fn key(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    match choices.below(8) {
        0 => out.extend_from_slice(b"\"\""),
        1 | 2 => out.extend_from_slice(b"\"a\""),
        3 => out.extend_from_slice(br#""\u0061""#),
        4 => out.extend_from_slice(b"\"key\""),
        _ => text(choices, out),
    }
}

/// A string: plain text, escapes of every form, text beyond ASCII, and what is refused.
pub fn text(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    text_content(choices, out);
    out.push(b'"');
}

/// What stands between the quotes of a string.
pub fn text_content(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    const PLAIN: &[&[u8]] = &[
        b"a",
        b"cpu.load",
        b" ",
        b"sixteen bytes ok",
        b"a text that is longer than one vector of bytes",
    ];
    const ESCAPES: &[&[u8]] = &[br#"\""#, br"\\", br"\/", br"\b", br"\f", br"\n", br"\r", br"\t"];
    const ESCAPE_FAULTS: &[&[u8]] = &[br"\x", br"\", br"\N", br"\'", b"\\\n", b"\\\0"];
    const BEYOND: &[&str] = &[
        "é",
        "€",
        "\u{1D11E}",
        "\u{10FFFF}",
        "\u{7f}",
        "\u{2028}",
        "\u{800}",
    ];
    const NOT_UTF8: &[&[u8]] = &[
        b"\x80",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xf0\x9d\x84",
    ];
    for _ in 0..choices.below(6) {
        match choices.below(10) {
            0..=2 => out.extend_from_slice(choices.pick(PLAIN)),
            3 => out.extend_from_slice(choices.pick_or_fault(ESCAPES, ESCAPE_FAULTS)),
            4 | 5 => escaped_unit(choices, out),
            6 => {
                escaped(out, 0xD800 + u32::from(choices.byte()) * 4);
                escaped(out, 0xDC00 + u32::from(choices.byte()) * 4);
            }
            7 => out.extend_from_slice(choices.pick(BEYOND).as_bytes()),
            8 => {
                // Plain text around the width of a vector.
                let length = choices.below(70);
                out.extend(std::iter::repeat_n(b'x', length));
            }
            _ if choices.fault(8) => out.push(choices.byte_in(0x00, 0x1F)),
            _ if choices.fault(8) => out.extend_from_slice(choices.pick(NOT_UTF8)),
            _ => match choices.byte_in(0x20, 0x7E) {
                b'"' | b'\\' if !choices.fault(2) => out.push(b'/'),
                byte => out.push(byte),
            },
        }
    }
}

/// `\uXXXX` at an edge or anywhere, well formed or not quite.
fn escaped_unit(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    const EDGES: [u32; 9] = [0x00, 0x1F, 0x22, 0x5C, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF];
    const FORMS: &[&[u8]] = &[br"\uABCD", br"\uabcd", br"\uD834\uDD1E", br"\uD7FF", br"\uE000"];
    const FAULTS: &[&[u8]] = &[
        br"\u",
        br"\u0",
        br"\u00G0",
        br"\u+041",
        br"\uD834\n",
        br"\u 041",
        br"\uD800",
        br"\uDBFF",
        br"\uDC00",
        br"\uDFFF",
        br"\uD834\u0041",
        br"\uD834x",
        br"\uD834\uD834",
        br"\uD834\uDD1",
    ];
    match choices.below(3) {
        0 => escaped(out, EDGES[choices.below(EDGES.len())]),
        // Any unit but a surrogate.
        1 => match u32::from(choices.byte()) << 8 | u32::from(choices.byte()) {
            unit @ 0xD800..=0xDFFF if !choices.fault(1) => escaped(out, unit - 0xD800),
            unit => escaped(out, unit),
        },
        _ => out.extend_from_slice(choices.pick_or_fault(FORMS, FAULTS)),
    }
}

fn escaped(out: &mut Vec<u8>, unit: u32) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

/// A number: plain, at the edges of f64, built of parts, or malformed.
pub fn number(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    if choices.fault(16) {
        out.extend_from_slice(choices.pick(NUMBERS_MALFORMED).as_bytes());
        return;
    }
    match choices.below(6) {
        0 => out.extend_from_slice(choices.below(65_536).to_string().as_bytes()),
        1 => match choices.pick(NUMBERS_EDGE) {
            huge if huge.parse().is_ok_and(f64::is_infinite) && !choices.fault(2) => out.push(b'7'),
            number => out.extend_from_slice(number.as_bytes()),
        },
        2 | 3 => {
            // Any f64 at all, as its shortest text.
            let mut bits = [0; 8];
            bits.fill_with(|| choices.byte());
            let value = f64::from_bits(u64::from_le_bytes(bits));
            let value = if value.is_finite() || choices.fault(4) {
                value
            } else {
                0.5
            };
            out.extend_from_slice(format!("{value:?}").as_bytes());
        }
        _ => built_number(choices, out),
    }
}

/// A number of digits, a fraction and an exponent of any length.
fn built_number(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    if choices.one_in(3) {
        out.push(b'-');
    }
    let first = out.len();
    digits(choices, out);
    if out[first..].starts_with(b"0") && !choices.fault(2) {
        out.truncate(first + 1);
    }
    if choices.one_in(2) {
        out.push(b'.');
        digits(choices, out);
    }
    if choices.one_in(3) {
        out.push(*choices.pick(&[&b'e', &b'E']));
        out.extend_from_slice(choices.pick::<[u8]>(&[b"", b"-", b"+"]));
        let most = if choices.fault(4) { 400 } else { 240 };
        out.extend_from_slice(choices.below(most).to_string().as_bytes());
    }
}

fn digits(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let length = match choices.below(8) {
        0..=4 => 1 + choices.below(5),
        5 | 6 => 7 + choices.below(14),
        _ => 1 + choices.below(60),
    };
    let length = if choices.fault(16) { 0 } else { length };
    for _ in 0..length {
        out.push(choices.byte_in(b'0', b'9'));
    }
}

/// Numbers at the edges: of f64, of the exact path, of integers.
pub const NUMBERS_EDGE: &[&str] = &[
    "0",
    "-0",
    "0.0",
    "-0.0",
    "0e0",
    "-0e-0",
    "0E+0",
    "0e999999999999999999999",
    "-0e999999999999999999999",
    "1e308",
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "1e309",
    "-1e309",
    "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880",
    "2.2250738585072014e-308",
    "2.2250738585072011e-308",
    "2.225073858507201e-308",
    "5e-324",
    "4.9e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "2.5e-324",
    "2e-324",
    "1e-325",
    "1e-999999999999999999999",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "9007199254740994",
    "9007199254740992e22",
    "9007199254740993e22",
    "1e22",
    "1e23",
    "1e-22",
    "1e-23",
    "8.5e22",
    "123456789012345e7",
    // Twenty digits, which wrap to one in 64 bits.
    "1844674407370955161.7",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1844674407370955161600000",
    "99999999999999999999",
    "0.1",
    "0.2",
    "0.3",
    "1.1",
    "0.30000000000000004",
    "3.141592653589793",
    "2.718281828459045",
    "1.0000000000000002",
    "0.000001",
    "123456.789",
    "1234567890.123456789",
    "0.1234567890123456",
    "7.0E-10",
    "100000000000000008388608",
    "6.0221407600000000000000000000000000000000000000000e23",
    "1.00000000000000011102230246251565",
    "1.00000000000000011102230246251565404236316680908203125",
    "1.00000000000000011102230246251565404236316680908203124",
    "1.00000000000000011102230246251565404236316680908203126",
    "0.000000000000000000000000000000000000000000000000000000000000000000000001",
];

/// What is not a number by section 6, though some parsers take it.
pub const NUMBERS_MALFORMED: &[&str] = &[
    "01",
    "-01",
    "00",
    "00.1",
    "01.123456789",
    "-01.1234567891",
    "-",
    "+1",
    "1.",
    ".1",
    "-.1",
    "1.e1",
    "1e",
    "1e+",
    "1e-",
    "1E",
    "e1",
    "1ee1",
    "0x1F",
    "1_000",
    "1,000",
    "- 1",
    "1 e1",
    "--1",
    "1.2.3",
    "1e1.5",
    "NaN",
    "-Infinity",
    "Infinity",
    "1f",
    "1d",
    "0b1",
    "٣",
];
