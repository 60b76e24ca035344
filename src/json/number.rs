//! Numbers of a JSON document: the grammar of RFC 8259 section 6, and the nearest f64.
//!
//! Promises: exactly the grammar; the value is correctly rounded (ties to even), bit for bit what
//! `str::parse::<f64>` gives for the same text, minus zero included. Leaves to the caller: the text itself,
//! which stands in the document and reads back to the same value wherever it is copied.
//!
//! Three ways to the value. A number with up to 19 digits whose digits fit 53 bits and whose power of ten is
//! at most 22 either way is one exact integer times or over one exact power: one rounding, so the result is
//! the nearest (Clinger, "How to read floating point numbers accurately", 1990). One whose digits fit 64 bits
//! is their product with a reciprocal of 128 bits, where what that lacks cannot matter. All others go to the
//! standard library, which is exact for every length.

use super::{Error, ErrorKind, Span, scan};

/// A number of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Number {
    /// Its text.
    pub raw: Span,
    /// The nearest f64; finite.
    pub value: f64,
    /// Whether its text has neither a fraction nor an exponent.
    pub integer: bool,
}

/// Powers of ten that an f64 holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Integers up to this one are exact in an f64.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Most digits that always fit a u64.
const DIGITS_MAX: usize = 19;

/// Reads the number at `at`; the offset after it is the end of its text.
#[inline(always)]
pub(crate) fn number(bytes: &[u8], at: usize) -> Result<Number, Error> {
    match short(bytes, at) {
        Some(number) => Ok(number),
        None => any_number(bytes, at),
    }
}

/// Reads the number at `at` into `number`; whether there is one.
///
/// Each part is written by itself: a number that is put together elsewhere and then copied as a whole is a
/// read that has to wait until the parts, just written, are in memory.
#[inline(always)]
pub(crate) fn read(bytes: &[u8], at: usize, number: &mut Number) -> bool {
    if let Some(Number { raw, value, integer }) = short(bytes, at) {
        (number.raw.start, number.raw.end) = (raw.start, raw.end);
        number.value = value;
        number.integer = integer;
        return true;
    }
    any_number(bytes, at).map(|any| *number = any).is_ok()
}

/// Reads any number.
#[cold]
#[inline(never)]
fn any_number(bytes: &[u8], at: usize) -> Result<Number, Error> {
    if let Some(number) = long_fraction(bytes, at) {
        return Ok(number);
    }
    let parts = parts(bytes, at)?;
    let raw = Span::new(at, parts.end);
    let value = match exact(&parts) {
        Some(value) => value,
        None => nearest(bytes, raw)?,
    };
    Ok(Number {
        raw,
        value,
        integer: parts.integer,
    })
}

/// Reads the number at `at` if it is of the usual kind: fewer than 16 bytes after its sign and no exponent,
/// so at most 15 digits, an exact integer. Nothing for any other, well formed or not.
///
/// Without a branch between kinds of numbers, as they come mixed.
#[inline(always)]
pub(crate) fn short(bytes: &[u8], at: usize) -> Option<Number> {
    let negative = bytes.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let (stops, points, window) = scan::number_window(bytes, first);
    let whole = stops.trailing_zeros();
    let point = points >> whole & 1;
    // The stop at the point is none. Beyond the window there always is one.
    let length = (stops ^ point << whole).trailing_zeros();
    let fraction = length - whole - point;
    let end = first + length as usize;
    let leading_zero = whole > 1 && window & 0xFF == u128::from(b'0');
    let exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
    if whole == 0 || length >= 16 || leading_zero || point > fraction || exponent {
        return None;
    }
    // What is after the point moves over it, and then all digits to the end of the window, zeros before them.
    let behind = u128::MAX << (8 * whole);
    let digits = (window & !behind | window >> 8 & behind) ^ u128::from_le_bytes([b'0'; 16]);
    let digits = digits << (8 * (16 - length + point));
    #[allow(clippy::cast_precision_loss, reason = "fewer than 10^15")]
    let digits = sixteen_digits(digits) as f64;
    // There are at most 13 places; masked, so that nothing need be checked.
    let value = digits / EXACT_POWERS[fraction as usize & 15];
    let sign = u64::from(negative) << 63;
    Some(Number {
        raw: Span::new(at, end),
        value: f64::from_bits(value.to_bits() | sign),
        integer: point == 0,
    })
}

/// Reads the integer at `at` if it has 1 to 15 digits and no sign: its value, and the offset after it.
/// Nothing for any other number, well formed or not.
#[inline(always)]
pub(crate) fn short_integer(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let (stops, _, window) = scan::number_window(bytes, at);
    let length = stops.trailing_zeros();
    let end = at + length as usize;
    let leading_zero = length > 1 && window & 0xFF == u128::from(b'0');
    let more = matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
    if length == 0 || length >= 16 || leading_zero || more {
        return None;
    }
    Some((first_digits(window, length as usize), end))
}

/// The value of the first `count` bytes of a window, each a digit; 1 to 16 of them.
#[inline(always)]
fn first_digits(window: u128, count: usize) -> u64 {
    // All digits to the end of the window, zeros before them.
    sixteen_digits((window ^ u128::from_le_bytes([b'0'; 16])) << (8 * (16 - count)))
}

/// The value of sixteen digits, each 0 to 9, the first lowest.
#[inline(always)]
fn sixteen_digits(digits: u128) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
    let (high, low) = (digits as u64, (digits >> 64) as u64);
    eight_digits(high) * 100_000_000 + eight_digits(low)
}

/// The value of eight digits, each 0 to 9, the first lowest.
#[inline]
fn eight_digits(digits: u64) -> u64 {
    // Pairs, then fours, then eights: each step joins neighbours, the left one the higher.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF
}

/// Reads the number at `at` if it has at most 8 digits before the point, 9 to 16 after it, 19 in all, and no
/// exponent, as programs print most f64. Nothing for any other, well formed or not.
fn long_fraction(bytes: &[u8], at: usize) -> Option<Number> {
    let negative = bytes.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let (stops, _, integer) = scan::number_window(bytes, first);
    let whole = stops.trailing_zeros() as usize;
    let point = first + whole;
    let leading_zero = whole > 1 && bytes[first] == b'0';
    if !(1..=8).contains(&whole) || leading_zero || bytes.get(point) != Some(&b'.') {
        return None;
    }
    let (stops, _, places) = scan::number_window(bytes, point + 1);
    let fraction = stops.trailing_zeros() as usize;
    let end = point + 1 + fraction;
    let more = matches!(bytes.get(end), Some(b'e' | b'E' | b'0'..=b'9'));
    if !(9..=16).contains(&fraction) || whole + fraction > DIGITS_MAX || more {
        return None;
    }
    let digits = first_digits(integer, whole) * INTEGER_POWERS[fraction] + first_digits(places, fraction);
    #[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
    let value = if digits <= EXACT_INTEGER_MAX {
        digits as f64 / EXACT_POWERS[fraction]
    } else {
        by_reciprocal(digits, fraction)?
    };
    let value = if negative { -value } else { value };
    Some(Number {
        raw: Span::new(at, end),
        value,
        integer: false,
    })
}

/// Decimal places that [`by_reciprocal`] takes at most.
const PLACES_MAX: usize = DIGITS_MAX;

/// A power of five's reciprocal: `2^(127 + length) / 5^places` without its fraction, which it has as no power
/// of five but the first divides one of two.
#[derive(Clone, Copy)]
struct Reciprocal {
    /// Between 2^127 and 2^128.
    value: u128,
    /// Bits of the power of five.
    length: u32,
}

static RECIPROCALS: [Reciprocal; PLACES_MAX + 1] = reciprocals();

const fn reciprocals() -> [Reciprocal; PLACES_MAX + 1] {
    let mut all = [Reciprocal { value: 0, length: 0 }; PLACES_MAX + 1];
    let (mut places, mut power) = (1, 5u128);
    while places <= PLACES_MAX {
        let length = u128::BITS - power.leading_zeros();
        // Long division, a bit at a time.
        let (mut value, mut rest, mut bits) = (0, 1, 0);
        while bits < 127 + length {
            rest <<= 1;
            value <<= 1;
            if rest >= power {
                value += 1;
                rest -= power;
            }
            bits += 1;
        }
        all[places] = Reciprocal { value, length };
        power *= 5;
        places += 1;
    }
    all
}

/// The nearest f64 to `digits / 10^places`, with 1 to [`PLACES_MAX`] places, by a product that is too small
/// by less than two units of its 128 bits. Nothing where that might decide: next to, or halfway between, two
/// f64 (after Lemire, "Number parsing at a gigabyte per second", 2021). `digits` is not 0.
fn by_reciprocal(digits: u64, places: usize) -> Option<f64> {
    let Reciprocal { value, length } = RECIPROCALS[places];
    let zeros = digits.leading_zeros();
    let normal = u128::from(digits << zeros);
    // The upper 128 bits of the product of 192, of which the highest or the second is set.
    let product = normal * (value >> 64) + ((normal * (value & u128::from(u64::MAX))) >> 64);
    // 53 bits and one to round by are kept. The true product is above what is kept, and below the next.
    let dropped = 74 - product.leading_zeros();
    let below = (1u128 << dropped) - 1;
    if product & below >= below - 1 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "54 bits")]
    let kept = (product >> dropped) as u64;
    let rounded = (kept >> 1) + (kept & 1);
    // digits / 10^places = rounded * 2^exponent, far from the ends of the range.
    let lowered = zeros + 127 + length + u32::try_from(places).unwrap_or(0);
    let exponent = u64::from(1023 + dropped + 65 - lowered) << 52;
    #[allow(clippy::cast_precision_loss, reason = "at most 2^53, and a power of two")]
    Some(rounded as f64 * f64::from_bits(exponent))
}

/// Powers of ten for a fraction of up to 16 digits.
const INTEGER_POWERS: [u64; 17] = {
    let mut powers = [1; 17];
    let mut places = 1;
    while places < powers.len() {
        powers[places] = 10 * powers[places - 1];
        places += 1;
    }
    powers
};

/// Skips the number at `at`, by the grammar alone: the offset after it.
pub(crate) fn skip(bytes: &[u8], at: usize) -> Result<usize, Error> {
    parts(bytes, at).map(|parts| parts.end)
}

/// A number taken apart: `-digits * 10^exponent`.
struct Parts {
    negative: bool,
    /// All digits as one integer; meaningless when there are more than [`DIGITS_MAX`].
    digits: u64,
    /// Digits in the text, leading zeros included.
    count: usize,
    /// The power of ten, saturated.
    exponent: i64,
    /// Neither fraction nor exponent.
    integer: bool,
    /// Offset after the text.
    end: usize,
}

#[inline]
fn parts(bytes: &[u8], at: usize) -> Result<Parts, Error> {
    let negative = bytes.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let (integer, mut end) = digits(bytes, first, 0);
    // int = zero / ( digit1-9 *DIGIT )
    if end == first {
        return Err(ErrorKind::NumberSyntax.at(bytes, first));
    }
    if bytes[first] == b'0' && end > first + 1 {
        return Err(ErrorKind::NumberSyntax.at(bytes, first + 1));
    }
    let mut parts = Parts {
        negative,
        digits: integer,
        count: end - first,
        exponent: 0,
        integer: true,
        end,
    };
    // frac = decimal-point 1*DIGIT
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        (parts.digits, end) = digits(bytes, point + 1, integer);
        let fraction = end - point - 1;
        if fraction == 0 {
            return Err(ErrorKind::NumberSyntax.at(bytes, end));
        }
        parts.integer = false;
        parts.count += fraction;
        parts.exponent = -i64::try_from(fraction).unwrap_or(i64::MAX);
        parts.end = end;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let (exponent, end) = exponent(bytes, end + 1)?;
        parts.integer = false;
        parts.exponent = parts.exponent.saturating_add(exponent);
        parts.end = end;
    }
    Ok(parts)
}

/// The run of digits at `at` appended to `before`, wrapping, and the offset after it.
#[inline]
fn digits(bytes: &[u8], at: usize, before: u64) -> (u64, usize) {
    let mut value = before;
    let mut end = at;
    while let Some(digit) = bytes
        .get(end)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|&digit| digit < 10)
    {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        end += 1;
    }
    (value, end)
}

/// `exp = e [ minus / plus ] 1*DIGIT` from after its `e`: the exponent, saturated, and the offset after it.
#[cold]
fn exponent(bytes: &[u8], at: usize) -> Result<(i64, usize), Error> {
    let sign = bytes.get(at).copied();
    let first = at + usize::from(matches!(sign, Some(b'+' | b'-')));
    let mut end = first;
    let mut value = 0i64;
    while let Some(digit) = bytes
        .get(end)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|&digit| digit < 10)
    {
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
        end += 1;
    }
    if end == first {
        return Err(ErrorKind::NumberSyntax.at(bytes, end));
    }
    Ok((if sign == Some(b'-') { -value } else { value }, end))
}

/// The value by one rounding of exact operands, where they are exact.
#[inline]
#[allow(clippy::cast_precision_loss, reason = "the integer is at most 2^53")]
fn exact(parts: &Parts) -> Option<f64> {
    if parts.count > DIGITS_MAX || parts.digits > EXACT_INTEGER_MAX {
        return None;
    }
    let power = *EXACT_POWERS.get(usize::try_from(parts.exponent.unsigned_abs()).ok()?)?;
    let integer = parts.digits as f64;
    let value = if parts.exponent < 0 {
        integer / power
    } else {
        integer * power
    };
    Some(if parts.negative { -value } else { value })
}

/// The value of any number, by the standard library.
#[cold]
#[inline(never)]
fn nearest(bytes: &[u8], raw: Span) -> Result<f64, Error> {
    let text = std::str::from_utf8(raw.of(bytes)).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(ErrorKind::NumberRange.at(bytes, raw.start as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<f64, ErrorKind> {
        // A byte after it, so that the number ends before the document does.
        let document = format!("{text} ");
        match number(document.as_bytes(), 0) {
            Ok(number) if number.raw.len() == text.len() => Ok(number.value),
            Ok(_) => Err(ErrorKind::TrailingBytes),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn short_integers_are_read_and_nothing_else() {
        for text in [
            "0",
            "7",
            "10",
            "12345678",
            "123456789",
            "1767323045678",
            "999999999999999",
        ] {
            for after in ["", ",", "}", " ", "5.", "\"xxxxxxxxxxxxxxxxxxxxx"] {
                let document = format!("x{text}{after}");
                let read = short_integer(document.as_bytes(), 1);
                let expected = (after != "5.").then(|| (text.parse().unwrap(), 1 + text.len()));
                assert_eq!(read, expected, "{document}");
            }
        }
        for text in [
            "",
            "-1",
            "00",
            "01",
            "1.5",
            "1e3",
            "1E3",
            "1000000000000000",
            "x",
            "+1",
        ] {
            assert_eq!(short_integer(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn values_are_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "0e0",
            "0e99999999999999999999",
            "1",
            "-1",
            "42.5",
            "0.1",
            "0.3",
            "1e22",
            "1e23",
            "1e-22",
            "1e-23",
            "123456789012345678",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.0",
            "9007199254740991e22",
            "9007199254740992e22",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "2.2250738585072011e-308",
            "5e-324",
            "2.47e-324",
            "1e-400",
            "1E+2",
            "1E-2",
            "0.1234567890123456789",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999",
            "1000000000000000000000000000000",
            "0.000000000000000000000000000001",
            "1.0000000000000002",
            "100000000000000008388608",
            "6.02214076e23",
            "1e-99999999999999999999",
        ] {
            let expected = text.parse::<f64>().unwrap();
            assert_eq!(value(text).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_the_grammar_excludes_is_refused() {
        for text in [
            "", "-", "+1", "01", "-01", "00", "1.", "-1.", ".5", "-.5", "1.e1", "1e", "1e+", "1E-", "1ee1",
            "0x1", "1_0", "1,0", "--1", "Infinity", "NaN", "1e1.5", "1.2.3", "1 0",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
        assert_eq!(number(b"-01 ", 0).unwrap_err().at, 2);
    }

    #[test]
    fn what_would_be_infinite_is_refused() {
        for text in [
            "1e309",
            "-1e309",
            "1.7976931348623159e308",
            "1e99999999999999999999",
            "0.1e310",
        ] {
            assert_eq!(value(text), Err(ErrorKind::NumberRange), "{text}");
        }
        assert_eq!(value(&"9".repeat(400)), Err(ErrorKind::NumberRange));
    }

    fn exact_number(bytes: &[u8], at: usize) -> Option<Number> {
        let parts = parts(bytes, at).ok()?;
        Some(Number {
            raw: Span::new(at, parts.end),
            value: exact(&parts)?,
            integer: parts.integer,
        })
    }

    /// Otherwise every number would take the long way, and nothing but the time would tell.
    #[test]
    fn usual_numbers_take_the_short_ways() {
        let short_ones = [
            "0",
            "-0",
            "7",
            "-7",
            "10",
            "42.5",
            "0.5",
            "-0.25",
            "12345678",
            "123456789",
            "123456789012345",
            "1234567.1234567",
            "123456.12345678",
            "0.00000001",
        ];
        let long_ones = [
            "0.123456789",
            "-1.1234567891",
            "7.000000000000001",
            "0.123456789012345",
            "123.1234567890123",
            "1234567.123456789",
            "5.123456789",
            "9.007199254740993",
            "1.1234567890123456",
            "123.1234567890123456",
            "-999.9999999999999",
        ];
        // Up to 19 digits, 53 bits and a power of 22 either way.
        let exact_ones = [
            "1e22",
            "-25E-22",
            "1234567890123456",
            "9007199254740992",
            "0.000000000000000001",
        ];
        type Way = fn(&[u8], usize) -> Option<Number>;
        for (numbers, way) in [
            (&short_ones[..], short as Way),
            (&long_ones[..], long_fraction as Way),
            (&exact_ones[..], exact_number as Way),
        ] {
            for text in numbers {
                for before in [0, 1, 9, 40] {
                    for after in ["", ",", "                    ", "}1"] {
                        let document = format!("{}{text}{after}", "[".repeat(before));
                        let number = way(document.as_bytes(), before).unwrap_or_else(|| panic!("{document}"));
                        let expected = Number {
                            raw: Span::new(before, before + text.len()),
                            value: text.parse().unwrap(),
                            integer: !text.contains(['.', 'e', 'E']),
                        };
                        assert_eq!(number, expected, "{document}");
                    }
                }
            }
        }
    }

    /// The table against exact products: value * 5^places <= 2^(127 + length) < (value + 1) * 5^places.
    #[test]
    fn reciprocals_are_those_of_the_powers_of_five() {
        // The product as (bits from 64 up, lower 64 bits).
        let product = |value: u128, power: u128| {
            let low = (value & u128::from(u64::MAX)) * power;
            ((value >> 64) * power + (low >> 64), low & u128::from(u64::MAX))
        };
        for (places, reciprocal) in RECIPROCALS.iter().enumerate().skip(1) {
            let power = 5u128.pow(u32::try_from(places).unwrap());
            let two = (1u128 << (127 - 64 + reciprocal.length), 0);
            assert!(reciprocal.value >> 127 == 1 && power >> (reciprocal.length - 1) == 1);
            assert!(product(reciprocal.value, power) < two, "{places}");
            assert!(product(reciprocal.value + 1, power) > two, "{places}");
        }
    }

    /// Each by the standard library too; few enough are left to it.
    #[test]
    fn what_a_product_decides_is_nearest() {
        let mut left = 0;
        let mut digits = 1u64;
        for round in 0..200_000u64 {
            // A linear congruence: every size of integer, from one bit to 64.
            digits = digits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let digits = (digits >> (round % 64)).max(1);
            for places in 1..=PLACES_MAX {
                match by_reciprocal(digits, places) {
                    Some(value) if round % 8 == 0 => {
                        let expected: f64 = format!("{digits}e-{places}").parse().unwrap();
                        assert_eq!(value.to_bits(), expected.to_bits(), "{digits}e-{places}");
                    }
                    Some(_) => {}
                    None => left += 1,
                }
            }
        }
        assert!(left > 0 && left < 200_000, "{left}");
    }

    /// Halfway between two f64, and as near to it as 64 bits get: the product may decline, but not be wrong.
    #[test]
    fn what_is_halfway_is_not_decided_by_a_product() {
        for places in 1..=4 {
            for odd in (1..4000).step_by(2) {
                // 54 bits, the last one set, over 2^places.
                let halfway = ((1u64 << 53) + odd) * 5u64.pow(places);
                let places = usize::try_from(places).unwrap();
                assert_eq!(by_reciprocal(halfway, places), None, "{halfway}e-{places}");
                for near in [halfway - 1, halfway + 1] {
                    let expected: f64 = format!("{near}e-{places}").parse().unwrap();
                    let value = by_reciprocal(near, places).unwrap_or(expected);
                    assert_eq!(value.to_bits(), expected.to_bits(), "{near}e-{places}");
                }
            }
        }
    }

    #[test]
    fn the_short_ways_leave_what_is_not_theirs() {
        for text in [
            "",
            "-",
            "01",
            "00.5",
            "1.",
            ".5",
            "1e5",
            "1.5e5",
            "1.123456789e5",
            "01.123456789",
            "1.12345678901234567",
            "123.12345678901234567",
            "123456789.123456789",
            "9007199254740993",
            "12345678.123456789012345",
        ] {
            assert_eq!(short(text.as_bytes(), 0), None, "{text}");
            assert_eq!(long_fraction(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(
            long_fraction(b"12345678.1234567", 0),
            None,
            "too few digits for it"
        );
    }

    #[test]
    fn what_is_wrong_is_found_at_its_byte() {
        for (text, at) in [
            ("-", 1),
            ("01", 1),
            ("-01", 2),
            ("1.", 2),
            ("-1.x", 3),
            ("1e", 2),
            ("1e+", 3),
            ("1.5e-x", 5),
        ] {
            for before in [0, 3] {
                let document = format!("{}{text} ", " ".repeat(before));
                let error = number(document.as_bytes(), before).unwrap_err();
                assert_eq!(
                    (error.kind, error.at as usize),
                    (ErrorKind::NumberSyntax, before + at),
                    "{text}"
                );
            }
        }
    }
}
