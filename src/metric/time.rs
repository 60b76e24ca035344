//! Dates and times as RFC 3339 writes them, to and from milliseconds since 1970-01-01T00:00:00Z.
//!
//! Promises: [`parse`] takes the grammar of RFC 3339 section 5.6 with the date checked against the calendar,
//! digits of the fraction beyond the third dropped; [`format()`] writes UTC with three digits, which `parse`
//! reads back to the same value. Leaves to the caller: leap seconds as such; the second 60 is taken where
//! section 5.7 allows it (the last minute of a month in UTC) and read as the last millisecond of that minute.

use crate::json::Number;

/// The first moment that four digits of year can write: 0000-01-01T00:00:00Z.
pub const MILLIS_MIN: i64 = -62_167_219_200_000;

/// The last moment that four digits of year and three of fraction can write: 9999-12-31T23:59:59.999Z.
pub const MILLIS_MAX: i64 = 253_402_300_799_999;

/// Bytes that [`format()`] writes.
pub const FORMAT_BYTES: usize = 24;

const DAY_MILLIS: i64 = 86_400_000;

/// The moment `millis` as `2026-01-02T03:04:05.678Z`; one outside `MILLIS_MIN ..= MILLIS_MAX` as the nearer
/// of the two.
#[must_use]
pub fn format(millis: i64) -> [u8; FORMAT_BYTES] {
    *Formatter::default().format(millis)
}

/// Writes moments one after the other, and a date only when it is another than the last.
#[derive(Clone, Copy, Debug)]
pub struct Formatter {
    /// Days since 1970 of the date in `text`.
    day: i64,
    text: [u8; FORMAT_BYTES],
}

impl Default for Formatter {
    fn default() -> Self {
        Self {
            day: 0,
            text: *b"1970-01-01T00:00:00.000Z",
        }
    }
}

impl Formatter {
    /// As [`format()`].
    #[inline]
    pub fn format(&mut self, millis: i64) -> &[u8; FORMAT_BYTES] {
        let millis = millis.clamp(MILLIS_MIN, MILLIS_MAX);
        let day = millis.div_euclid(DAY_MILLIS);
        if day != self.day {
            self.set_date(day);
        }
        let of_day = millis.rem_euclid(DAY_MILLIS);
        let seconds = of_day / 1000;
        put(&mut self.text[11..13], seconds / 3600);
        put(&mut self.text[14..16], seconds / 60 % 60);
        put(&mut self.text[17..19], seconds % 60);
        put(&mut self.text[20..23], of_day % 1000);
        &self.text
    }

    #[cold]
    fn set_date(&mut self, day: i64) {
        let (year, month, of_month) = civil(day);
        put(&mut self.text[0..4], year);
        put(&mut self.text[5..7], month);
        put(&mut self.text[8..10], of_month);
        self.day = day;
    }
}

/// The moment that `text` writes by RFC 3339 section 5.6 (`date-time`), in milliseconds; nothing when it
/// does not. An offset may take it a day outside the years 0000 to 9999.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let [
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T' | b't',
        _,
        _,
        b':',
        _,
        _,
        b':',
        _,
        _,
    ] = head
    else {
        return None;
    };
    let (year, month, day) = (number(&head[0..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (
        number(&head[11..13])?,
        number(&head[14..16])?,
        number(&head[17..19])?,
    );
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, tail) = fraction(tail)?;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes(tail)?;
    if second == 60 {
        return ends_a_month(minutes).then_some(minutes * 60_000 + 59_999);
    }
    Some((minutes * 60 + second) * 1000 + fraction)
}

/// An integer of milliseconds, saturated; nothing for what is no integer, `-0` included, as serde_json has
/// it.
pub(super) fn whole_millis(number: Number) -> Option<i64> {
    let minus_zero = number.value == 0.0 && number.value.is_sign_negative();
    // Exact up to 2^53, far outside the range that validation allows.
    #[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
    (number.integer && !minus_zero).then_some(number.value as i64)
}

/// `[ "." 1*DIGIT ]`: the milliseconds it says, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = text.split_first() else {
        return Some((0, text));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (digits, tail) = rest.split_at(length);
    let millis = (0..3).fold(0, |millis, place| {
        millis * 10 + i64::from(digits.get(place).copied().unwrap_or(b'0') - b'0')
    });
    Some((millis, tail))
}

/// `time-offset`: minutes east of UTC.
fn offset_minutes(text: &[u8]) -> Option<i64> {
    let &[sign, h1, h2, b':', m1, m2] = text else {
        return matches!(text, b"Z" | b"z").then_some(0);
    };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

/// Whether the minute `minutes` after 1970 in UTC is the last of a month (section 5.7: leap seconds).
fn ends_a_month(minutes: i64) -> bool {
    let after = minutes + 1;
    after.rem_euclid(24 * 60) == 0 && civil(after.div_euclid(24 * 60)).2 == 1
}

/// All digits, or nothing.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// Writes `value` over the whole of `place`, with leading zeros.
#[inline]
fn put(place: &mut [u8], value: i64) {
    let mut rest = value;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// The two below count in eras of 400 years from 0000-03-01, so that a leap day ends its year
// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").

/// Days from 1970-01-01 to the given day of the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of the day `days` after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(millis: i64) -> String {
        String::from_utf8(format(millis).to_vec()).unwrap()
    }

    #[test]
    fn known_moments() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (MILLIS_MIN, "0000-01-01T00:00:00.000Z"),
            (MILLIS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(formatted(millis), text);
            assert_eq!(parse(text.as_bytes()), Some(millis));
        }
        assert_eq!(formatted(i64::MIN), formatted(MILLIS_MIN));
        assert_eq!(formatted(i64::MAX), formatted(MILLIS_MAX));
    }

    #[test]
    fn every_day_reads_back() {
        let mut expected = MILLIS_MIN;
        while expected <= MILLIS_MAX {
            assert_eq!(parse(&format(expected)), Some(expected));
            expected += DAY_MILLIS;
        }
    }

    #[test]
    fn forms_of_section_5_6() {
        for (text, same_as) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000Z"),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z"),
            ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02T03:04:05.123999999Z", "2026-01-02T03:04:05.123Z"),
            ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05.000Z"),
        ] {
            assert_eq!(
                parse(text.as_bytes()).map(formatted).as_deref(),
                Some(same_as),
                "{text}"
            );
        }
    }

    #[test]
    fn leap_seconds_of_section_5_7() {
        for text in [
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "1990-12-31T23:59:60.9Z",
        ] {
            assert_eq!(
                parse(text.as_bytes()).map(formatted).as_deref(),
                Some("1990-12-31T23:59:59.999Z")
            );
        }
        for text in [
            "1990-12-31T23:58:60Z",
            "1990-12-30T23:59:60Z",
            "1990-12-31T23:59:60+01:00",
            "1990-12-31T23:59:61Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "2026",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-1-02T03:04:05Z",
            "2026-00-02T03:04:05Z",
            "2026-13-02T03:04:05Z",
            "2026-01-00T03:04:05Z",
            "2026-01-32T03:04:05Z",
            "2025-02-29T03:04:05Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,1Z",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+00:60",
            "2026-01-02T03:04:05+0000",
            "2026-01-02T03:04:05ZZ",
            "+026-01-02T03:04:05Z",
            "2026-01-02T03:04:05 00:00",
            "2026-01-02T03:04:05.1",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
