//! Cases of our own for RFC 8259, in the manner of the public conformance corpora: each named, each with the
//! section that decides it.
//!
//! The families: [`ACCEPTED`] must be accepted, [`REFUSED`] must not, [`DECIDED`] the RFC leaves to the
//! implementation and this is what MetricStream decided.

use metricstream::limits::JSON_DEPTH_MAX;

/// One document and the section of RFC 8259 that decides it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    /// The section.
    pub section: &'static str,
    /// The document.
    pub document: &'static [u8],
}

/// A document that the RFC leaves to the implementation.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// The document.
    pub case: Case,
    /// Whether it is accepted where it is skipped.
    pub skipped: bool,
    /// Whether it is accepted where it is read.
    pub read: bool,
}

const fn case(name: &'static str, section: &'static str, document: &'static [u8]) -> Case {
    Case {
        name,
        section,
        document,
    }
}

const fn decided(case: Case, skipped: bool, read: bool) -> Decided {
    Decided { case, skipped, read }
}

/// Must be accepted.
pub const ACCEPTED: &[Case] = &[
    case("structure_lonely_null", "2", b"null"),
    case("structure_lonely_true", "3", b"true"),
    case("structure_lonely_false", "3", b"false"),
    case("structure_lonely_number", "2", b"42"),
    case("structure_lonely_negative", "2", b"-0.1"),
    case("structure_lonely_string", "2", b"\"asd\""),
    case("structure_empty_string", "7", b"\"\""),
    case("structure_white_space_around", "2", b" \t\r\n[] \t\r\n"),
    case("structure_trailing_newline", "2", b"[\"a\"]\n"),
    case(
        "structure_white_space_between_all_tokens",
        "2",
        b" { \"a\" : [ 1 , 2 ] , \"b\" : { } } ",
    ),
    case("array_empty", "5", b"[]"),
    case("array_empty_with_space", "5", b"[ ]"),
    case("array_of_empty_string", "5", b"[\"\"]"),
    case("array_of_empty_arrays", "5", b"[[],[[]]]"),
    case("array_heterogeneous", "5", b"[null, 1, \"1\", {}, [], true]"),
    case("array_with_several_null", "5", b"[1,null,null,null,2]"),
    case("object_empty", "4", b"{}"),
    case("object_empty_key", "4", b"{\"\":0}"),
    case("object_duplicate_key", "4", b"{\"a\":\"b\",\"a\":\"c\"}"),
    case(
        "object_duplicate_key_and_value",
        "4",
        b"{\"a\":\"b\",\"a\":\"b\"}",
    ),
    case("object_escaped_null_in_key", "4", br#"{"foo\u0000bar": 42}"#),
    case(
        "object_extreme_numbers",
        "6",
        br#"{"min": -1.0e+28, "max": 1.0e+28}"#,
    ),
    case(
        "object_long_key",
        "4",
        br#"{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx":1}"#,
    ),
    case("object_with_newlines", "2", b"{\n\"a\": \"b\"\n}"),
    case("number_zero", "6", b"0"),
    case("number_minus_zero", "6", b"-0"),
    case("number_minus_one", "6", b"-1"),
    case("number_minus_zero_fraction", "6", b"-0.0"),
    case("number_0e1", "6", b"[0e1]"),
    case("number_0e+1", "6", b"[0e+1]"),
    case("number_int_with_exp", "6", b"[20e1]"),
    case("number_capital_e", "6", b"[1E22]"),
    case("number_capital_e_neg", "6", b"[1E-2]"),
    case("number_capital_e_pos", "6", b"[1E+2]"),
    case("number_fraction_and_exponent", "6", b"[123.456e78]"),
    case("number_exponent_leading_zeros", "6", b"[1e-0005]"),
    case(
        "number_close_to_zero",
        "6",
        b"[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    ),
    case("number_after_space", "6", b"[ 4]"),
    case("number_integer_of_20_digits", "6", b"[12345678901234567890]"),
    case("number_then_comma", "6", b"[1,2]"),
    case("string_all_simple_escapes", "7", br#"["\"\\\/\b\f\n\r\t"]"#),
    case("string_unicode_escape", "7", br#"["\u0060\u012a\u12AB"]"#),
    case("string_escape_both_cases_of_hex", "7", br#"["\uaBcD"]"#),
    case("string_surrogate_pair", "7", br#"["\uD801\udc37"]"#),
    case(
        "string_two_surrogate_pairs",
        "7",
        br#"["\ud83d\ude39\ud83d\udc8d"]"#,
    ),
    case("string_last_surrogate_pair", "8.2", br#"["\uDBFF\uDFFF"]"#),
    case("string_escaped_backslash_before_u", "7", br#"["\\u0000"]"#),
    case("string_escaped_backslash_then_quote", "7", br#"["\\"]"#),
    case("string_escaped_null", "7", br#"["\u0000"]"#),
    case("string_escaped_control", "7", br#"["\u0012"]"#),
    case("string_escaped_noncharacter", "8.2", br#"["\uFFFF"]"#),
    case("string_escaped_quote", "7", br#"["\u0022"]"#),
    case("string_utf8_two_bytes", "8.1", b"[\"\xc3\xa9\"]"),
    case("string_utf8_three_bytes", "8.1", b"[\"\xe2\x82\xac\"]"),
    case("string_utf8_four_bytes", "8.1", b"[\"\xf0\x9d\x84\x9e\"]"),
    case(
        "string_utf8_noncharacters",
        "8.1",
        b"[\"\xef\xbf\xbf\xf4\x8f\xbf\xbf\"]",
    ),
    case("string_line_separators", "7", b"[\"\xe2\x80\xa8\xe2\x80\xa9\"]"),
    case("string_delete_needs_no_escape", "7", b"[\"a\x7fa\"]"),
    case("string_byte_order_mark_inside", "7", b"[\"\xef\xbb\xbf\"]"),
    case("string_comment_inside", "7", b"[\"a/*b*/c/*d//e\"]"),
    case("string_brackets_inside", "7", b"[\"]}[{,:\"]"),
];

/// Must be refused.
pub const REFUSED: &[Case] = &[
    case("structure_no_data", "2", b""),
    case("structure_only_white_space", "2", b" "),
    case("structure_byte_order_mark_only", "8.1", b"\xef\xbb\xbf"),
    case("structure_byte_order_mark_before", "8.1", b"\xef\xbb\xbf{}"),
    case("structure_utf16", "8.1", b"[\x00\"\x00\xe9\x00\"\x00]\x00"),
    case("structure_two_values", "2", b"1 2"),
    case("structure_two_arrays", "2", b"[][]"),
    case("structure_trailing_bracket", "2", b"[1]]"),
    case("structure_trailing_brace", "2", b"{\"a\":true}}"),
    case("structure_trailing_garbage", "2", b"[1]x"),
    case("structure_trailing_comment", "2", b"{\"a\":\"b\"}/**/"),
    case("structure_line_comment", "2", b"{\"a\":\"b\"}//"),
    case("structure_hash_comment", "2", b"{\"a\":\"b\"}#"),
    case("structure_null_byte_after", "2", b"[]\x00"),
    case("structure_null_byte_between", "2", b"[1,\x002]"),
    case("structure_vertical_tab", "2", b"[\x0b1]"),
    case("structure_form_feed", "2", b"[\x0c]"),
    case("structure_no_break_space", "2", b"[\xc2\xa0]"),
    case("structure_word_joiner", "2", b"[\xe2\x81\xa0]"),
    case("structure_unicode_identifier", "3", b"\xc3\xa5"),
    case("structure_open_array", "5", b"["),
    case("structure_open_object", "4", b"{"),
    case("structure_close_array", "5", b"]"),
    case("structure_close_object", "4", b"}"),
    case("structure_array_closed_as_object", "5", b"[1}"),
    case("structure_object_closed_as_array", "4", b"{\"a\":1]"),
    case("structure_open_mess", "5", b"[\"a\",4,{\"b\":[{"),
    case("structure_angle_brackets", "2", b"<null>"),
    case("structure_single_star", "2", b"*"),
    case("structure_end_of_array_only", "5", b"1]"),
    case("structure_comma_instead_of_value", "5", b"[,]"),
    case("word_capital", "3", b"[True]"),
    case("word_truncated", "3", b"[tru]"),
    case("word_null_truncated", "3", b"nul"),
    case("word_false_truncated", "3", b"[fals]"),
    case("word_with_more", "3", b"[nulll]"),
    case("word_undefined", "3", b"[undefined]"),
    case("array_comma_missing", "5", b"[1 true]"),
    case("array_colon_instead_of_comma", "5", b"[\"\": 1]"),
    case("array_comma_after_close", "5", b"[\"\"],"),
    case("array_comma_and_number", "5", b"[,1]"),
    case("array_double_comma", "5", b"[1,,2]"),
    case("array_double_extra_comma", "5", b"[\"x\",,]"),
    case("array_extra_comma", "5", b"[\"\",]"),
    case("array_just_minus", "6", b"[-]"),
    case("array_unclosed_with_newlines", "5", b"[\"a\",\n4\n,1,"),
    case("array_semicolon", "5", b"[1;2]"),
    case("object_bad_value", "4", b"[\"x\", truth]"),
    case("object_colon_missing", "4", b"{\"a\" b}"),
    case("object_comma_instead_of_colon", "4", b"{\"x\", null}"),
    case("object_double_colon", "4", b"{\"x\"::\"b\"}"),
    case("object_equals", "4", b"{\"a\"=1}"),
    case("object_key_without_quotes", "4", b"{a: \"b\"}"),
    case("object_single_quotes", "4", b"{'a':0}"),
    case("object_number_as_key", "4", b"{1:1}"),
    case("object_null_as_key", "4", b"{null:null}"),
    case("object_value_missing", "4", b"{\"a\":"),
    case("object_no_colon", "4", b"{\"a\""),
    case("object_lone_colon", "4", b"{:\"b\"}"),
    case("object_trailing_comma", "4", b"{\"id\":0,}"),
    case("object_two_trailing_commas", "4", b"{\"id\":0,,}"),
    case("object_two_commas_in_a_row", "4", b"{\"a\":\"b\",,\"c\":\"d\"}"),
    case("object_leading_comma", "4", b"{,\"a\":1}"),
    case("object_several_values", "4", b"{\"a\":\"a\" 123}"),
    case("object_unterminated_value", "7", b"{\"a\":\"a"),
    case("number_leading_zero", "6", b"[012]"),
    case("number_negative_leading_zero", "6", b"[-012]"),
    case("number_double_zero", "6", b"[00]"),
    case("number_minus_double_zero", "6", b"[-00]"),
    case("number_zero_then_digit_fraction", "6", b"[00.5]"),
    case("number_leading_zero_long_fraction", "6", b"[01.123456789]"),
    case("number_plus", "6", b"[+1]"),
    case("number_plus_plus", "6", b"[++1234]"),
    case("number_double_minus", "6", b"[--1]"),
    case("number_minus_space", "6", b"[- 1]"),
    case("number_minus_letter", "6", b"[-foo]"),
    case("number_starts_with_point", "6", b"[.123]"),
    case("number_minus_point", "6", b"[-.123]"),
    case("number_ends_with_point", "6", b"[1.]"),
    case("number_minus_ends_with_point", "6", b"[-2.]"),
    case("number_point_then_exponent", "6", b"[2.e3]"),
    case("number_0.e1", "6", b"[0.e1]"),
    case("number_two_points", "6", b"[1.2.3]"),
    case("number_exponent_empty", "6", b"[1e]"),
    case("number_exponent_plus", "6", b"[1.0e+]"),
    case("number_exponent_minus", "6", b"[1.0e-]"),
    case("number_zero_capital_exponent_plus", "6", b"[0E+]"),
    case("number_exponent_twice", "6", b"[1eE2]"),
    case("number_exponent_space", "6", b"[1e 1]"),
    case("number_exponent_fraction", "6", b"[1e1.5]"),
    case("number_hexadecimal", "6", b"[0x42]"),
    case("number_underscore", "6", b"[1_000]"),
    case("number_thousands_space", "6", b"[1 000.0]"),
    case("number_expression", "6", b"[1+2]"),
    case("number_nan", "6", b"[NaN]"),
    case("number_minus_nan", "6", b"[-NaN]"),
    case("number_infinity", "6", b"[Infinity]"),
    case("number_minus_infinity", "6", b"[-Infinity]"),
    case("number_suffix", "6", b"[1.8011670033376514H-308]"),
    case("number_full_width_digit", "6", b"[\xef\xbc\x91]"),
    case("number_then_letter", "6", b"[1a]"),
    case("number_invalid_utf8_after", "8.1", b"[123\xe5]"),
    case("string_single_quote", "7", b"['single quote']"),
    case("string_unterminated", "7", b"[\"asd"),
    case("string_lone_quote", "7", b"\""),
    case("string_unescaped_newline", "7", b"[\"new\nline\"]"),
    case("string_unescaped_tab", "7", b"[\"\t\"]"),
    case("string_unescaped_null", "7", b"[\"a\x00a\"]"),
    case("string_unescaped_1f", "7", b"[\"a\x1fa\"]"),
    case(
        "string_unescaped_control_after_vector",
        "7",
        b"[\"sixteen bytes ok\x01\"]",
    ),
    case("string_escape_x", "7", br#"["\x00"]"#),
    case("string_escape_capital_u", "7", br#"["\U0041"]"#),
    case("string_escape_single_quote", "7", br#"["\'"]"#),
    case("string_escape_a", "7", br#"["\a"]"#),
    case("string_escape_zero", "7", br#"["\0"]"#),
    case("string_escape_newline", "7", b"[\"\\\n\"]"),
    case("string_escape_of_utf8", "7", b"[\"\\\xf0\x9f\x8c\x80\"]"),
    case("string_escape_null_byte", "7", b"[\"\\\x00\"]"),
    case("string_escape_cut", "7", br#"["\"]"#),
    case("string_backslash_at_end", "7", b"[\"\\"),
    case("string_unicode_escape_short", "7", br#"["\u00A"]"#),
    case("string_unicode_escape_empty", "7", br#"["\u"]"#),
    case("string_unicode_escape_not_hex", "7", br#"["\u00G0"]"#),
    case("string_unicode_escape_signed", "7", br#"["\u+123"]"#),
    case("string_unicode_escape_spaced", "7", br#"["\u 123"]"#),
    case("string_surrogate_then_short_escape", "7", br#"["\uD834\uDd"]"#),
    case("string_surrogate_then_bad_escape", "7", br#"["\uD800\u1x"]"#),
    case("string_escape_outside", "2", br"[\u0020]"),
    case("string_content_after", "2", b"\"\"x"),
    case("string_invalid_utf8", "8.1", b"[\"\xff\"]"),
    case("string_utf8_continuation_alone", "8.1", b"[\"\x81\"]"),
    case("string_utf8_overlong_two_bytes", "8.1", b"[\"\xc0\xaf\"]"),
    case(
        "string_utf8_overlong_six_bytes",
        "8.1",
        b"[\"\xfc\x83\xbf\xbf\xbf\xbf\"]",
    ),
    case("string_utf8_overlong_null", "8.1", b"[\"\xe0\x80\x80\"]"),
    case("string_utf8_surrogate", "8.1", b"[\"\xed\xa0\x80\"]"),
    case("string_utf8_above_10ffff", "8.1", b"[\"\xf4\xbf\xbf\xbf\"]"),
    case("string_utf8_truncated", "8.1", b"[\"\xe0\xff\"]"),
    case("string_utf8_truncated_at_end", "8.1", b"[\"\xe2\x82"),
    case("string_latin1", "8.1", b"[\"\xe9\"]"),
];

/// What the RFC leaves to the implementation.
pub const DECIDED: &[Decided] = &[
    // Section 6: "This specification allows implementations to set limits on the range and precision of numbers".
    decided(
        case(
            "number_huge_exponent",
            "6",
            b"[0.4e00669999999999999999999999999999999999999999999999]",
        ),
        true,
        false,
    ),
    decided(
        case("number_positive_overflow", "6", b"[123123e100000]"),
        true,
        false,
    ),
    decided(case("number_negative_overflow", "6", b"[-1e+9999]"), true, false),
    decided(
        case("number_just_above_the_range", "6", b"[1.7976931348623159e308]"),
        true,
        false,
    ),
    decided(case("number_underflow", "6", b"[123.456e-789]"), true, true),
    decided(
        case("number_zero_huge_exponent", "6", b"[0e99999999999999999999]"),
        true,
        true,
    ),
    decided(
        case(
            "number_very_big_integer",
            "6",
            b"[100000000000000000000000000000000000]",
        ),
        true,
        true,
    ),
    // Section 8.2: "the behavior of software that receives JSON texts containing such values is unpredictable".
    decided(
        case("string_high_surrogate_alone", "8.2", br#"["\uDADA"]"#),
        true,
        false,
    ),
    decided(
        case("string_low_surrogate_alone", "8.2", br#"["\uDd1e"]"#),
        true,
        false,
    ),
    decided(
        case("string_two_high_surrogates", "8.2", br#"["\uD800\uD800\n"]"#),
        true,
        false,
    ),
    decided(
        case("string_high_surrogate_then_newline", "8.2", br#"["\uD888\n"]"#),
        true,
        false,
    ),
    decided(
        case("string_high_surrogate_then_letter", "8.2", br#"["\uD800abc"]"#),
        true,
        false,
    ),
    decided(
        case(
            "string_high_surrogate_then_other_escape",
            "8.2",
            br#"["\uD888\u1234"]"#,
        ),
        true,
        false,
    ),
    decided(
        case("string_surrogates_inverted", "8.2", br#"["\uDd1e\uD834"]"#),
        true,
        false,
    ),
    decided(case("key_lone_surrogate", "8.2", br#"{"\uDFAA":0}"#), true, false),
];

/// Section 9: "An implementation may set limits on the maximum depth of nesting". Documents nested `extra`
/// levels deeper than the bound (shallower when negative), of arrays and of objects.
#[must_use]
pub fn nested(extra: isize) -> [Vec<u8>; 2] {
    let depth = JSON_DEPTH_MAX.saturating_add_signed(extra);
    [
        [b"[".repeat(depth), b"]".repeat(depth)].concat(),
        [b"{\"\":".repeat(depth), b"0".to_vec(), b"}".repeat(depth)].concat(),
    ]
}
