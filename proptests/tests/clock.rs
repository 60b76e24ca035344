//! Time as a value: arithmetic that saturates, and civil time that reads back.

use metricstream::clock::Instant;
use metricstream::metric::time::{Formatter, MILLIS_MAX, MILLIS_MIN, format, parse};
use quickcheck::quickcheck;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Any moment that can be written, from any number.
fn millis_of(number: i64) -> i64 {
    MILLIS_MIN + number.rem_euclid(MILLIS_MAX - MILLIS_MIN + 1)
}

quickcheck! {
    fn what_is_after_a_moment_is_that_much_since_it(start: u64, more: u64) -> bool {
        let begun = Instant::from_nanos(start);
        let end = begun.after(Duration::from_nanos(more));
        let room = u64::MAX - start;
        end.since(begun) == Duration::from_nanos(more.min(room)) && begun.since(end) == Duration::ZERO
    }

    fn a_written_moment_reads_back(number: i64) -> bool {
        let millis = millis_of(number);
        parse(&format(millis)) == Some(millis)
    }

    fn a_written_moment_is_the_one_that_another_library_reads(number: i64) -> bool {
        let millis = millis_of(number);
        let text = String::from_utf8(format(millis).to_vec()).expect("ASCII");
        let read = OffsetDateTime::parse(&text, &Rfc3339).expect("RFC 3339");
        read.unix_timestamp_nanos() == i128::from(millis) * 1_000_000
    }

    fn a_formatter_that_remembers_writes_what_a_new_one_does(numbers: Vec<i64>) -> bool {
        let mut formatter = Formatter::default();
        // Near moments too, so that the date stays the same.
        numbers.iter().flat_map(|number| [millis_of(*number), millis_of(number.saturating_add(1))]).all(
            |millis| *formatter.format(millis) == format(millis),
        )
    }
}
