//! The value of the Date field.
//!
//! RFC 9110 section 6.6.1: "An origin server with a clock MUST generate a Date header field in all 2xx
//! (Successful), 3xx (Redirection), and 4xx (Client Error) responses".
//!
//! Promises: an IMF-fixdate (section 5.6.7), made once a second for each thread. Leaves to the caller: the
//! clock.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::WallTime;

/// A civil time as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date([u8; 29]);

impl Date {
    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(second: u64) -> Self {
        // The last second that the format can say, 9999-12-31T23:59:59Z.
        const LAST: u64 = 253_402_300_799;
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(second.min(LAST));
        let mut text = [b' '; 29];
        let written = write!(text.as_mut_slice(), "{}", httpdate::HttpDate::from(time));
        debug_assert!(written.is_ok(), "an IMF-fixdate has 29 bytes");
        Self(text)
    }
}

/// The date made last, kept for the rest of its second.
#[derive(Clone, Copy, Debug)]
pub struct DateCache {
    second: u64,
    date: Date,
}

impl DateCache {
    /// The date at `now`; a time before 1970 is shown as 1970.
    pub fn at(&mut self, now: WallTime) -> Date {
        let second = u64::try_from(now.epoch_millis() / 1000).unwrap_or(0);
        if second != self.second {
            *self = Self {
                second,
                date: Date::of(second),
            };
        }
        self.date
    }
}

impl Default for DateCache {
    fn default() -> Self {
        Self {
            second: 0,
            date: Date::of(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdates() {
        let mut cache = DateCache::default();
        let mut text = |millis| {
            let date = cache.at(WallTime::from_epoch_millis(millis));
            String::from_utf8(date.as_bytes().to_vec()).expect("ASCII")
        };
        // The example of RFC 9110 section 5.6.7.
        assert_eq!(text(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(text(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
