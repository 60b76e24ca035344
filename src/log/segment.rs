//! The names of a log's files, and the order in which they are read.
//!
//! The active segment, which the writer appends to, is [`ACTIVE_NAME`]. A sealed one, which nobody changes
//! any more, is `metrics.NNNNNNNNNNNN.jsonl`: its number in twelve digits, so that names sort in the order in
//! which the segments were written; `.zst` follows when it is compressed (RFC 8878). Numbers begin at 1 and
//! have no order but their own: a segment with a higher number holds later lines. A number may be missing:
//! retention removed it, or somebody took it away.
//!
//! # The rule for readers
//! Read the sealed segments by ascending number, then the active one. Of a number that is there both plain
//! and compressed the plain one counts, since a crash can leave both, with the same lines. A name that ends
//! in [`TEMPORARY_SUFFIX`] is not read: it was never finished, and its lines are in the plain one. Every line
//! is then read exactly once, whatever a crash left. [`list`] applies the rule.
//!
//! Beside a log that is running: list, open the active segment, list again, and start over when the highest
//! number has changed, since what was opened is then sealed. A sealed segment that is not there any more when
//! it is opened plain was compressed (try `.zst`), or removed by retention.
//!
//! Promises: [`Sealed::file_name`] and [`Sealed::parse`] are inverse, and nothing else parses.
//! Leaves to the caller: what is in the files.

use crate::log::fs::Filesystem;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

/// The file that is appended to.
pub const ACTIVE_NAME: &str = "metrics.jsonl";

/// The highest number of a segment: twelve digits.
pub const NUMBER_MAX: u64 = 999_999_999_999;

/// What follows the name of a compressed segment that is not finished.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

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

    /// The name under which it is written, when it is a compressed one.
    #[must_use]
    pub fn temporary_name(self) -> String {
        format!("{self}{TEMPORARY_SUFFIX}")
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

/// What a directory holds of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The sealed segments to read, in order; the active one comes after them.
    pub sealed: Vec<Sealed>,
    /// Files that a crash left and that hold no line of their own: unfinished compressed segments, and
    /// compressed ones whose plain one is there.
    pub leftovers: Vec<String>,
}

impl Listing {
    /// The number of the segment sealed last; zero when there is none.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.sealed.last().map_or(0, |sealed| sealed.number)
    }
}

/// Lists the segments in `directory` by the rule for readers. Memory: some 32 bytes a segment.
///
/// # Errors
/// The filesystem's.
pub fn list(filesystem: &impl Filesystem, directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut found = BTreeMap::<u64, bool>::new();
    filesystem.list(directory, &mut |name| {
        let finished = name.strip_suffix(TEMPORARY_SUFFIX);
        if let Some(sealed) = Sealed::parse(name) {
            match found.get(&sealed.number) {
                None => drop(found.insert(sealed.number, sealed.compressed)),
                // The other one was seen before.
                Some(_) => {
                    found.insert(sealed.number, false);
                    let compressed = true;
                    listing
                        .leftovers
                        .push(Sealed { compressed, ..sealed }.file_name());
                }
            }
        } else if finished
            .and_then(Sealed::parse)
            .is_some_and(|sealed| sealed.compressed)
        {
            listing.leftovers.push(name.to_owned());
        }
    })?;
    let sealed = found.into_iter();
    listing.sealed = sealed
        .map(|(number, compressed)| Sealed { number, compressed })
        .collect();
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::simulated::SimulatedDisk;

    #[test]
    fn a_listing_is_in_order_and_the_plain_one_counts() {
        let disk = SimulatedDisk::new();
        for name in [
            ACTIVE_NAME,
            "metrics.lock",
            "metrics.000000000010.jsonl",
            "metrics.000000000002.jsonl.zst",
            "metrics.000000000003.jsonl",
            "metrics.000000000003.jsonl.zst",
            "metrics.000000000010.jsonl.zst.tmp",
            "metrics.000000000010.jsonl.tmp",
            "notes.tmp",
        ] {
            disk.put(&Path::new("data").join(name), b"");
        }
        let listing = list(&disk, Path::new("data")).unwrap();
        let sealed = |number, compressed| Sealed { number, compressed };
        assert_eq!(
            listing.sealed,
            [sealed(2, true), sealed(3, false), sealed(10, false)]
        );
        assert_eq!(listing.last_number(), 10);
        let mut leftovers = listing.leftovers;
        leftovers.sort();
        assert_eq!(
            leftovers,
            [
                "metrics.000000000003.jsonl.zst",
                "metrics.000000000010.jsonl.zst.tmp"
            ]
        );
    }

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
