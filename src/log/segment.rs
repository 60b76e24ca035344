//! The names of a log's files.
//!
//! The active segment, which the writer appends to, is [`ACTIVE_NAME`]. A sealed one, which nobody changes
//! any more, is `metrics.NNNNNNNNNNNN.jsonl`: its number in twelve digits, so that names sort in the order in
//! which the segments were written; `.zst` follows when it is compressed (RFC 8878). Numbers begin at 1 and
//! have no order but their own: a segment with a higher number holds later lines.
//!
//! Promises: [`Sealed::file_name`] and [`Sealed::parse`] are inverse, and nothing else parses.
//! Leaves to the caller: what is in the files.

use std::fmt;

/// The file that is appended to.
pub const ACTIVE_NAME: &str = "metrics.jsonl";

/// The highest number of a segment: twelve digits.
pub const NUMBER_MAX: u64 = 999_999_999_999;

const PREFIX: &str = "metrics.";
const SUFFIX: &str = ".jsonl";
const COMPRESSED_SUFFIX: &str = ".zst";
const DIGITS: usize = 12;

/// The name of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealed {
    /// `1 ..= NUMBER_MAX`, in the order of writing.
    pub number: u64,
    /// Whether it is a zstd file.
    pub compressed: bool,
}

impl Sealed {
    /// The name of the file, without its directory.
    #[must_use]
    pub fn file_name(self) -> String {
        self.to_string()
    }

    /// The segment that `name` names; `None` for every other file.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let (rest, compressed) = match rest.strip_suffix(COMPRESSED_SUFFIX) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let digits = rest.strip_suffix(SUFFIX)?;
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok().filter(|&number| number > 0)?;
        Some(Self { number, compressed })
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compressed = if self.compressed { COMPRESSED_SUFFIX } else { "" };
        write!(f, "{PREFIX}{:0DIGITS$}{SUFFIX}{compressed}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort_as_numbers_do() {
        let mut names = Vec::new();
        for number in [1, 9, 10, 99, 100, 123_456_789_012, NUMBER_MAX] {
            for compressed in [false, true] {
                let sealed = Sealed { number, compressed };
                assert_eq!(Sealed::parse(&sealed.file_name()), Some(sealed));
                names.push(sealed.file_name());
            }
        }
        assert_eq!(names[0], "metrics.000000000001.jsonl");
        assert_eq!(names[1], "metrics.000000000001.jsonl.zst");
        assert!(names.is_sorted());
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            ACTIVE_NAME,
            "metrics.lock",
            "metrics.000000000000.jsonl",
            "metrics.00000000001.jsonl",
            "metrics.0000000000001.jsonl",
            "metrics.+00000000001.jsonl",
            "metrics.000000000001.jsonl.gz",
            "metrics.000000000001.jsonl.zst.zst",
            "metrics.000000000001.jsonl.zst.tmp",
            "xmetrics.000000000001.jsonl",
            "",
        ] {
            assert_eq!(Sealed::parse(name), None, "{name}");
        }
    }
}
