//! What a log keeps, and the words for it.
//!
//! # Bytes on disk
//! A segment is a sequence of lines. A line is one record: bytes without a line feed, then a line
//! feed (`0x0A`). There is no header, no checksum and no escape; any tool that reads lines reads it. A batch
//! is the lines of one turn on a connection, next to each other and in one segment; the file does not show
//! where a batch ends. How segments are named and read is in [`segment`](super::segment).
//!
//! What follows the last line feed is torn: a crash cut the write, or the file grew by zeros that no
//! data reached. No line of it was acknowledged, at any level but `queued`, and opening cuts it off.
//!
//! Promises: plain values; the texts of refusals name the limit, the value seen and the setting.
//! Leaves to the caller: what is in a line.

use std::fmt;
use std::io;

/// How safe a batch is before its token comes back. Ordered: a later one includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// In memory.
    Queued,
    /// Handed to the operating system: survives the end of the process.
    Written,
    /// On the disk: survives a power cut, as far as the disk tells the truth.
    Synced,
}

impl Level {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Written, Self::Synced];

    /// Its name, as settings and requests have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }

    /// The level of this name, whatever the case of its letters.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| name.eq_ignore_ascii_case(level.name().as_bytes()))
    }
}

/// The number of an accepted batch, counted from 1 since the log was opened, in file order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first batch.
    pub const START: Self = Self(0);

    /// The number; zero only for [`Position::START`].
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub enum Appended<T> {
    /// At level `queued`: it is acknowledged, and here is the token.
    Acknowledged(T),
    /// The token comes back through the completion.
    Pending(Position),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, as safely as its level says.
    Written(Position),
    /// It is not, or nobody knows: see [`Failure`].
    Failed(Failure),
}

/// What the log did when the disk failed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writing the lines.
    Write,
    /// Cutting off what a failed write left.
    Truncate,
    /// Flushing to the disk.
    Sync,
    /// Sealing a segment, or opening the next.
    Rotate,
    /// Looking at a sealed segment.
    Look,
    /// Removing a sealed segment.
    Remove,
    /// Compressing a sealed segment.
    Compress,
}

/// A failure of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub operation: Operation,
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// The operating system's number for it, if it has one.
    pub os_error: Option<i32>,
    /// Whether lines of the batch may be in the file all the same: after a failed cut or a failed flush
    /// nobody knows; after a failed write they were cut off again.
    pub may_be_stored: bool,
}

impl Failure {
    /// `error` as it happened during `operation`.
    #[must_use]
    pub fn new(operation: Operation, error: &io::Error) -> Self {
        Self {
            operation,
            kind: error.kind(),
            os_error: error.raw_os_error(),
            may_be_stored: matches!(operation, Operation::Truncate | Operation::Sync),
        }
    }

    /// The same failure, to a batch that came after it: nothing of that was written.
    #[must_use]
    pub fn for_later(self) -> Self {
        Self {
            may_be_stored: false,
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.operation {
            Operation::Write => "writing failed: ",
            Operation::Truncate => "cutting off a failed write failed: ",
            Operation::Sync => "flushing to the disk failed: ",
            Operation::Rotate => "going on to the next segment failed: ",
            Operation::Look => "looking at a sealed segment failed: ",
            Operation::Remove => "removing a sealed segment failed: ",
            Operation::Compress => "compressing a sealed segment failed: ",
        })?;
        match self.os_error {
            Some(number) => io::Error::from_raw_os_error(number).fmt(f),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// A batch that was not accepted, with its token.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// Given back.
    pub token: T,
    /// Why.
    pub refusal: Refusal,
}

/// Why a batch is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// So many bytes wait that these would be too many. It passes as the writer goes on.
    #[error(
        "the log's queue is full: {waiting} bytes wait and the batch has {seen}, over the limit of {limit} \
         (queue_bytes_max)"
    )]
    FullOfBytes {
        /// `queue_bytes_max`.
        limit: usize,
        /// Bytes that wait.
        waiting: usize,
        /// Bytes of the batch.
        seen: usize,
    },
    /// As many batches wait as may. It passes as the writer goes on.
    #[error("the log's queue is full: {waiting} batches wait, the limit is {limit} (queue_batches_max)")]
    FullOfBatches {
        /// `queue_batches_max`.
        limit: usize,
        /// Batches that wait.
        waiting: usize,
    },
    /// The batch alone is more than may ever wait. It does not pass.
    #[error("the batch makes {seen} bytes of lines, over the limit of {limit} (queue_bytes_max)")]
    TooLarge {
        /// `queue_bytes_max`.
        limit: usize,
        /// Bytes of the batch.
        seen: usize,
    },
    /// The last groups failed and the disk is given a rest. It passes.
    #[error(
        "the log refuses for a while: {failures} groups failed in a row (breaker_failures_max), the last: \
         {failure}; it is tried again after {retry_after_ms} ms (breaker_retry_ms)"
    )]
    Resting {
        /// Groups that failed in a row.
        failures: u32,
        /// How the last one failed.
        failure: Failure,
        /// How long the disk is left alone, in milliseconds.
        retry_after_ms: u64,
    },
    /// The file can no longer be trusted; the log has to be opened again.
    #[error("the log is closed until the server is restarted: {0}")]
    Poisoned(Failure),
    /// The log was drained.
    #[error("the log is closed: the server is stopping")]
    Stopped,
}

/// Whether `bytes` are one or more whole lines.
#[must_use]
pub fn are_whole_lines(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_why() {
        let full = io::Error::from_raw_os_error(28);
        let failure = Failure::new(Operation::Write, &full);
        assert_eq!(failure.kind, io::ErrorKind::StorageFull);
        assert_eq!(
            failure.to_string(),
            "writing failed: No space left on device (os error 28)"
        );
        assert!(!failure.may_be_stored);
        let failure = Failure::new(Operation::Sync, &io::Error::from(io::ErrorKind::Other));
        assert!(failure.may_be_stored);
        assert!(failure.to_string().starts_with("flushing to the disk failed: "));
    }

    #[test]
    fn a_refusal_names_limit_value_and_setting() {
        let text = Refusal::FullOfBytes {
            limit: 100,
            waiting: 90,
            seen: 20,
        }
        .to_string();
        assert_eq!(
            text,
            "the log's queue is full: 90 bytes wait and the batch has 20, over the limit of 100 (queue_bytes_max)"
        );
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(
                Level::from_name(level.name().to_uppercase().as_bytes()),
                Some(level)
            );
        }
        assert_eq!(Level::from_name(b"sync"), None);
    }
}
