//! Durable lines: a batch of lines goes in with a token, the token comes back when the batch is kept.
//!
//! Promises, for a batch whose token came back with [`Outcome::Written`] (or, at level
//! [`Level::Queued`], was acknowledged at once):
//!
//! | level | its lines are in the file whatever happens after to |
//! |---|---|
//! | [`Level::Queued`] | nothing: they wait in memory |
//! | [`Level::Written`] | the process (a panic, `kill -9`) |
//! | [`Level::Synced`] | the machine (power) |
//!
//! Lines stand in the log in the order in which they were accepted, whole, each batch once (LOG-ONCE). Every
//! token accepted comes back exactly once, at a drain too (LOG-TOKENS). What waits is bounded in bytes and in
//! batches; beyond that a batch is refused at once and its token given back (LOG-BOUND). Trouble with the
//! disk is said: a group that cannot be written is cut off again and its tokens come back
//! [`Outcome::Failed`], and the log goes on, so a full disk heals by itself; when the file can no longer be
//! trusted (a failed flush, a failed cut) the log refuses everything until it is opened again.
//!
//! The file that is appended to is sealed when it is long or old enough, and the log goes on in a new one
//! ([`writer`]); sealed segments may be compressed, and the oldest removed ([`keeper`]). How they are named
//! and read is in [`segment`].
//! Leaves to the caller: what a line says, and what to answer for an outcome. Two logs never share a
//! directory; other programs may read the files, and must not write to them; what mends them must hold the
//! lock [`LOCK_NAME`].
//!
//! One writer thread does group commit: it takes all that waits, writes it with one call, flushes it if
//! anyone asked for that, then gives back every token of the group. Timed flushes, which nobody waits for,
//! are those of another ([`flusher`]).

pub mod record;

pub mod segment;

pub mod queue;

pub mod flusher;

pub mod fs;

pub mod simulated;

pub mod recovery;

pub mod directory;

pub mod breaker;

pub mod reader;

pub mod writer;

pub mod keeper;

pub use record::{Appended, Failure, Level, Operation, Outcome, Position, Refusal, Refused};
pub use writer::Completion;

use crate::clock::Clock;
use crate::limits;
use crate::sync::shim::{Arc, Mutex, thread};
use crate::sync::stop::Stop;
use crate::sync::watermark::{Closed, Watermark};
use directory::Opened;
use fs::Filesystem;
use keeper::{Keeper, Kept};
use queue::Queue;
use recovery::Recovery;
use std::io;
use std::path::{Path, PathBuf};
use writer::{Progress, Writer};

/// The file with the lines, in the log's directory.
pub const FILE_NAME: &str = segment::ACTIVE_NAME;

/// The file whose lock says that the directory is in use.
pub const LOCK_NAME: &str = "metrics.lock";

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the file is; created when it does not exist.
    pub directory: PathBuf,
    /// The level of [`Log::append`].
    pub level: Level,
    /// Bytes that may wait for the writer. As many again may be in the writer's hands.
    pub queue_bytes_max: usize,
    /// Batches that may wait for the writer.
    pub queue_batches_max: usize,
    /// A flush of lines that nobody asked to be synced begins at most so long after they were written, or
    /// when the one before is over; zero leaves it to the operating system.
    pub flush_interval_ms: u64,
    /// Bytes of the active segment; a group that would make it longer goes to the next one. Only a group
    /// that is longer by itself makes a longer segment. Zero: no bound.
    pub segment_bytes_max: u64,
    /// The active segment is sealed when its first line is so old; after a restart its age counts from its
    /// last line. Zero: never.
    pub segment_age_ms_max: u64,
    /// What happens to sealed segments.
    pub segment_compression: Compression,
    /// The oldest sealed segments are removed while all of them together have more bytes. Zero: never.
    pub retention_bytes_max: u64,
    /// A sealed segment is removed when its last line is older. Zero: never.
    pub retention_age_ms_max: u64,
    /// After so many groups failed in a row batches are refused for a while. Zero: never.
    pub breaker_failures_max: u32,
    /// For so long.
    pub breaker_retry_ms: u64,
}

/// What happens to a segment once it is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// It stays as it is.
    #[default]
    None,
    /// It is compressed to a zstd file.
    Zstd,
}

impl Settings {
    /// The defaults, in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            level: Level::Written,
            queue_bytes_max: limits::LOG_QUEUE_BYTES_MAX_DEFAULT,
            queue_batches_max: limits::LOG_QUEUE_BATCHES_MAX_DEFAULT,
            flush_interval_ms: limits::FLUSH_INTERVAL_MS_DEFAULT,
            segment_bytes_max: limits::SEGMENT_BYTES_MAX_DEFAULT,
            segment_age_ms_max: 0,
            segment_compression: Compression::None,
            retention_bytes_max: 0,
            retention_age_ms_max: 0,
            breaker_failures_max: limits::BREAKER_FAILURES_MAX_DEFAULT,
            breaker_retry_ms: limits::BREAKER_RETRY_MS_DEFAULT,
        }
    }

    /// Whether sealed segments need a keeper.
    fn has_keeper(&self) -> bool {
        self.retention_bytes_max > 0
            || self.retention_age_ms_max > 0
            || self.segment_compression != Compression::None
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process (it holds the lock {})", .directory.display(), .lock.display())]
    InUse {
        /// The log's directory.
        directory: PathBuf,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// The directory, the lock or the file cannot be used as they have to be.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried: "create the directory", "open", and so on.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No thread for the writer, the flusher or the keeper.
    #[error("cannot start a thread of the log: {0}")]
    Thread(io::Error),
}

/// What a log has done and how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes waiting for the writer.
    pub queue_bytes: usize,
    /// Batches waiting for the writer.
    pub queue_batches: usize,
    /// The last batch accepted.
    pub accepted: Position,
    /// What the writer has done.
    pub progress: Progress,
    /// The sealed segments, and what was done to them.
    pub kept: Kept,
    /// No more is accepted, because of this failure or because the log was drained.
    pub refusing: Option<Refusal>,
}

/// An open log. Shared by reference; dropping it drains it.
#[derive(Debug)]
pub struct Log<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    level: Level,
    recovery: Recovery,
    keeper_stop: Arc<Stop>,
    /// Held by the drain that joins, so that one that comes second returns no sooner.
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    writer: thread::JoinHandle<()>,
    flusher: Option<thread::JoinHandle<()>>,
    keeper: Option<thread::JoinHandle<()>>,
}

/// What appending threads and the writer have in common.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) queue: Queue<T>,
    pub(crate) progress: Mutex<Progress>,
    /// The last position whose outcome is decided and whose token, if it had one, was given back.
    pub(crate) settled: Watermark,
    /// The number of the last segment that is sealed, durably.
    pub(crate) sealed: Watermark,
    /// What the keeper has done, if there is one.
    pub(crate) kept: Mutex<Kept>,
}

impl Status {
    /// Sealed segments that are there.
    #[must_use]
    pub fn segments(&self) -> u64 {
        let there = self.kept.found_segments + self.progress.rotations;
        there.saturating_sub(self.kept.removed_segments)
    }

    /// Bytes in them.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        let Kept {
            found_bytes,
            removed_bytes,
            compressed_from_bytes,
            compressed_to_bytes,
            ..
        } = self.kept;
        let there = found_bytes + self.progress.rotated_bytes + compressed_to_bytes;
        there.saturating_sub(removed_bytes + compressed_from_bytes)
    }
}

impl<T> Shared<T> {
    fn new<F: Filesystem>(opened: &Opened<F>, settings: &Settings, kept: Kept) -> Self {
        let last_sealed = opened.sealed.last().map_or(0, |segment| segment.sealed.number);
        Self {
            queue: Queue::new(settings.queue_bytes_max, settings.queue_batches_max),
            progress: Mutex::new(Progress::after(opened.recovery)),
            settled: Watermark::new(Position::START.get()),
            sealed: Watermark::new(last_sealed),
            kept: Mutex::new(kept),
        }
    }
}

impl<T: Send + 'static> Log<T> {
    /// Opens the log in `settings.directory` of `filesystem`, cutting off a torn last line and finishing
    /// what a crash left between two steps, and starts its writer, its flusher if there are timed flushes,
    /// and its keeper if sealed segments need one. `clock` times flushes, rotation and retention;
    /// `completion` gets the tokens, on the writer's thread.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was written then but a directory, an empty file or the cut of a torn line.
    ///
    /// # Panics
    /// When a bound of the queue is zero.
    pub fn open<F: Filesystem>(
        filesystem: &F,
        settings: &Settings,
        clock: impl Clock + Clone,
        completion: impl Completion<T>,
    ) -> Result<Self, OpenError> {
        let opened = directory::open(filesystem, &settings.directory)?;
        let recovery = opened.recovery;
        let keeper = Keeper::new(Arc::clone(&opened.directory), &opened.sealed, settings);
        let shared = Arc::new(Shared::new(&opened, settings, *keeper.kept()));
        let writer = Writer::new(opened, settings, &clock);
        let flusher = writer.flusher();
        let log = Self {
            shared,
            level: settings.level,
            recovery,
            keeper_stop: Arc::new(Stop::new()),
            threads: Mutex::new(None),
        };
        let threads = log.start(settings, (writer, keeper), clock, completion);
        if threads.is_err() {
            // Those that were started end; whether before or after this returns, they have done no harm.
            log.keeper_stop.request();
            log.shared.sealed.close();
            flusher.end();
        }
        *log.threads.lock() = Some(threads.map_err(OpenError::Thread)?);
        Ok(log)
    }

    /// Starts the threads, the writer last: nothing is written unless all of them are there.
    fn start<F: Filesystem>(
        &self,
        settings: &Settings,
        (writer, keeper): (Writer<F>, Keeper<F>),
        clock: impl Clock + Clone,
        completion: impl Completion<T>,
    ) -> io::Result<Threads> {
        let keeper = if settings.has_keeper() {
            let (theirs, stop) = (Arc::clone(&self.shared), Arc::clone(&self.keeper_stop));
            let clock = clock.clone();
            let life = move || keeper.run(&theirs, &stop, &clock);
            Some(thread::spawn("log-keeper", life)?)
        } else {
            None
        };
        let flusher = if settings.flush_interval_ms > 0 {
            let (theirs, flusher) = (Arc::clone(&self.shared), writer.flusher());
            let life = move || flusher.run(|| theirs.queue.nudge());
            Some(thread::spawn("log-flusher", life)?)
        } else {
            None
        };
        let theirs = Arc::clone(&self.shared);
        let life = move || writer.run(&theirs, clock, completion);
        let writer = thread::spawn("log-writer", life)?;
        Ok(Threads {
            writer,
            flusher,
            keeper,
        })
    }

    /// Queues `lines`, which are one or more whole lines holding `records` records, at the log's level.
    /// The bytes are copied; the caller's buffer is free at return.
    ///
    /// # Errors
    /// [`Refused`] with the token and the reason. Nothing was queued then.
    ///
    /// # Panics
    /// When `lines` does not end with a line feed.
    pub fn append(&self, lines: &[u8], records: u32, token: T) -> Result<Appended<T>, Refused<T>> {
        self.append_at(self.level, lines, records, token)
    }

    /// As [`Log::append`], at `level`.
    ///
    /// # Errors
    /// As [`Log::append`].
    ///
    /// # Panics
    /// As [`Log::append`].
    pub fn append_at(
        &self,
        level: Level,
        lines: &[u8],
        records: u32,
        token: T,
    ) -> Result<Appended<T>, Refused<T>> {
        self.shared.queue.push(lines, records, level, token)
    }

    /// Waits until the batch at `position` and all before it are decided and their tokens given back.
    ///
    /// # Errors
    /// [`Closed`] when the writer ended before; it never does with a batch of this log undecided.
    pub fn wait_settled(&self, position: Position) -> Result<(), Closed> {
        self.shared.settled.wait(position.get())
    }

    /// The level of [`Log::append`].
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// How the log is. The queue's part and the writer's part are each of one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let progress = *self.shared.progress.lock();
        let queue = self.shared.queue.status();
        let kept = *self.shared.kept.lock();
        Status {
            queue_bytes: queue.bytes,
            queue_batches: queue.batches,
            accepted: queue.accepted,
            progress,
            kept,
            refusing: queue.refusing,
        }
    }

    /// Accepts no more, writes all that waits, flushes it to the disk, gives back every token and ends the
    /// writer, the flusher and the keeper, which gives up what it was compressing; then the directory is
    /// free for another log. Any thread may call it, any number of times, except from the completion: a
    /// thread cannot wait for its own end.
    pub fn drain(&self) {
        self.shared.queue.stop();
        self.keeper_stop.request();
        let mut threads = self.threads.lock();
        if let Some(Threads {
            writer,
            flusher,
            keeper,
        }) = threads.take()
        {
            // The writer contains the panics of the completion, so this is a bug of the log itself.
            writer.join().expect("the log's writer does not panic");
            if let Some(flusher) = flusher {
                flusher.join().expect("the log's flusher does not panic");
            }
            if let Some(keeper) = keeper {
                keeper.join().expect("the log's keeper does not panic");
            }
        }
    }
}

/// Calls again what a signal interrupted before it did anything.
fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => crate::reached!(DISK_INTERRUPTED),
            result => return result,
        }
    }
}

impl<T: Send + 'static> Drop for Log<T> {
    fn drop(&mut self) {
        self.drain();
    }
}

#[cfg(test)]
mod tests {
    use super::simulated::{Fault, Request, SimulatedDisk};
    use super::*;
    use crate::clock::{Instant, SystemClock};

    type Outcomes = Arc<Mutex<Vec<(u32, Outcome)>>>;

    fn settings(level: Level) -> Settings {
        Settings {
            level,
            queue_bytes_max: 100,
            queue_batches_max: 4,
            flush_interval_ms: 0,
            breaker_failures_max: 0,
            ..Settings::in_directory(Path::new("data"))
        }
    }

    fn content(disk: &SimulatedDisk) -> String {
        String::from_utf8(disk.content(&Path::new("data").join(FILE_NAME))).unwrap()
    }

    fn open(disk: &SimulatedDisk, settings: &Settings) -> (Log<u32>, Outcomes) {
        let outcomes = Outcomes::default();
        let theirs = Arc::clone(&outcomes);
        let gather = move |token, outcome| theirs.lock().push((token, outcome));
        let log = Log::open(disk, settings, || Instant::ZERO, gather).unwrap();
        (log, outcomes)
    }

    fn position(number: u64) -> Position {
        (0..number).fold(Position::START, |position, _| position.next())
    }

    /// A disk whose appends wait until the gate opens, and a sign that the first one has come.
    fn gated() -> (SimulatedDisk, Arc<Stop>, Arc<Stop>) {
        let (gate, came) = (Arc::new(Stop::new()), Arc::new(Stop::new()));
        let (opens, comes) = (Arc::clone(&gate), Arc::clone(&came));
        let disk = SimulatedDisk::with_plan(move |request| {
            if matches!(request, Request::Append(_)) {
                comes.request();
                opens.wait();
            }
            Fault::None
        });
        (disk, gate, came)
    }

    #[test]
    fn a_token_comes_back_after_its_lines_are_in_the_file() {
        let disk = SimulatedDisk::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (theirs, reader) = (Arc::clone(&seen), disk.clone());
        let look = move |token: &'static str, outcome| {
            let there = content(&reader).contains(token);
            theirs.lock().push((token, outcome, there));
        };
        let log = Log::open(&disk, &settings(Level::Written), || Instant::ZERO, look).unwrap();
        assert_eq!(
            log.append(b"a 1\n", 1, "a 1\n").unwrap(),
            Appended::Pending(position(1))
        );
        log.wait_settled(position(1)).unwrap();
        log.append_at(Level::Synced, b"b 1\nb 2\n", 2, "b 1\nb 2\n")
            .unwrap();
        log.drain();
        let written = |number| Outcome::Written(position(number));
        assert_eq!(
            *seen.lock(),
            [("a 1\n", written(1), true), ("b 1\nb 2\n", written(2), true)]
        );
        assert_eq!(content(&disk), "a 1\nb 1\nb 2\n");
        let progress = log.status().progress;
        assert_eq!((progress.groups, progress.batches, progress.records), (2, 2, 3));
        assert_eq!(
            (progress.file_bytes, progress.synced_bytes, progress.syncs),
            (12, 12, 1)
        );
    }

    #[test]
    fn at_level_queued_the_token_comes_back_at_once_and_a_drain_writes() {
        let (disk, gate, came) = gated();
        let (log, outcomes) = open(&disk, &settings(Level::Queued));
        assert_eq!(log.append(b"a\n", 1, 7).unwrap(), Appended::Acknowledged(7));
        came.wait();
        assert_eq!(log.append(b"b\n", 1, 8).unwrap(), Appended::Acknowledged(8));
        gate.request();
        log.drain();
        assert_eq!(content(&disk), "a\nb\n");
        assert!(outcomes.lock().is_empty());
        let status = log.status();
        assert_eq!(status.progress.synced_bytes, 4, "a drain flushes");
        assert_eq!(status.refusing, Some(Refusal::Stopped));
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_names_the_bound() {
        let (disk, gate, came) = gated();
        let (log, outcomes) = open(&disk, &settings(Level::Written));
        log.append(b"first\n", 1, 0).unwrap();
        came.wait();
        let refusal = |lines: &[u8], token| {
            let refused = log.append(lines, 1, token).unwrap_err();
            assert_eq!(refused.token, token);
            refused.refusal
        };
        let lines = [b'\n'; 101];
        assert_eq!(
            refusal(&lines, 1),
            Refusal::TooLarge {
                limit: 100,
                seen: 101
            }
        );
        log.append(&lines[..60], 1, 2).unwrap();
        log.append(&lines[..39], 1, 3).unwrap();
        let full = Refusal::FullOfBytes {
            limit: 100,
            waiting: 99,
            seen: 2,
        };
        assert_eq!(refusal(&lines[..2], 4), full);
        log.append(&lines[..1], 1, 5).unwrap();
        assert_eq!(log.status().queue_bytes, 100);
        gate.request();
        log.wait_settled(position(4)).unwrap();
        assert_eq!(log.status().queue_bytes, 0);
        log.append(&lines[..100], 1, 6).unwrap();
        log.drain();
        assert_eq!(refusal(b"x\n", 9), Refusal::Stopped);
        let tokens: Vec<_> = outcomes.lock().iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [0, 2, 3, 5, 6]);
    }

    #[test]
    fn batches_are_bounded_too() {
        let (disk, gate, came) = gated();
        let (log, _outcomes) = open(&disk, &settings(Level::Written));
        log.append(b"\n", 1, 0).unwrap();
        came.wait();
        for token in 1..=4 {
            log.append(b"\n", 1, token).unwrap();
        }
        assert_eq!(
            log.append(b"\n", 1, 5).unwrap_err().refusal,
            Refusal::FullOfBatches { limit: 4, waiting: 4 }
        );
        gate.request();
    }

    #[test]
    fn a_full_disk_fails_its_groups_only_and_heals() {
        let disk = SimulatedDisk::new();
        let (log, outcomes) = open(&disk, &settings(Level::Written));
        let append = |lines: &str, token| {
            let Appended::Pending(position) = log.append(lines.as_bytes(), 1, token).unwrap() else {
                panic!("it waits for the write");
            };
            log.wait_settled(position).unwrap();
            outcomes.lock().last().copied().unwrap()
        };
        assert_eq!(append("one\n", 1), (1, Outcome::Written(position(1))));
        disk.set_space(Some(6));
        let (_, Outcome::Failed(failure)) = append("two\n", 2) else {
            panic!("there is no space");
        };
        assert_eq!(failure.kind, io::ErrorKind::StorageFull);
        assert!(!failure.may_be_stored);
        assert_eq!(content(&disk), "one\n", "the half line is cut off again");
        disk.set_space(None);
        assert_eq!(append("three\n", 3), (3, Outcome::Written(position(3))));
        assert_eq!(content(&disk), "one\nthree\n");
        let progress = log.status().progress;
        assert_eq!(
            (progress.failures, progress.records, progress.records_failed),
            (1, 2, 1)
        );
        assert_eq!(progress.last_failure, Some(failure));
    }

    #[test]
    fn after_a_failed_flush_or_a_failed_cut_everything_is_refused_until_reopened() {
        for (operation, level) in [
            (Operation::Sync, Level::Synced),
            (Operation::Truncate, Level::Written),
        ] {
            let disk = SimulatedDisk::new();
            let (log, outcomes) = open(&disk, &settings(level));
            log.append(b"a\n", 1, 1).unwrap();
            log.wait_settled(position(1)).unwrap();
            disk.set_plan(move |request| match (operation, request) {
                (Operation::Sync, Request::Append(_)) => Fault::None,
                _ => Fault::Error(io::ErrorKind::Other),
            });
            log.append(b"b\n", 1, 2).unwrap();
            log.wait_settled(position(2)).unwrap();
            let Outcome::Failed(failure) = outcomes.lock()[1].1 else {
                panic!("the disk failed it");
            };
            assert_eq!((failure.operation, failure.may_be_stored), (operation, true));
            let refusal = log.append(b"c\n", 1, 3).unwrap_err().refusal;
            assert_eq!(refusal, Refusal::Poisoned(failure));
            disk.set_plan(|_| Fault::None);
            assert_eq!(log.append(b"c\n", 1, 3).unwrap_err().refusal, refusal);
            log.drain();
            assert_eq!(log.status().refusing, Some(refusal));
            let (log, outcomes) = open(&disk, &settings(level));
            log.append(b"d\n", 1, 4).unwrap();
            log.drain();
            assert_eq!(outcomes.lock().len(), 1);
            assert!(content(&disk).ends_with("d\n"));
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_and_said() {
        let disk = SimulatedDisk::new();
        disk.put(&Path::new("data").join(FILE_NAME), b"one\ntw");
        let (log, _) = open(&disk, &settings(Level::Written));
        assert_eq!(
            log.recovery(),
            Recovery {
                file_bytes: 4,
                cut_bytes: 2,
                ..Recovery::default()
            }
        );
        log.append(b"three\n", 1, 1).unwrap();
        log.drain();
        assert_eq!(content(&disk), "one\nthree\n");
        assert_eq!(log.status().progress.file_bytes, 10);
    }

    #[test]
    fn a_directory_has_one_log() {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, &settings(Level::Written));
        let again = || Log::<u32>::open(&disk, &settings(Level::Written), || Instant::ZERO, |_, _| {});
        let error = again().unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        log.drain();
        again().unwrap();
    }

    #[test]
    fn a_panic_of_the_completion_costs_its_own_token_only() {
        let disk = SimulatedDisk::new();
        let outcomes = Outcomes::default();
        let theirs = Arc::clone(&outcomes);
        let gather = move |token, outcome| {
            assert_ne!(token, 1, "expected by this test");
            theirs.lock().push((token, outcome));
        };
        let log = Log::open(&disk, &settings(Level::Written), || Instant::ZERO, gather).unwrap();
        for token in 1..=3 {
            log.append(b"a\n", 1, token).unwrap();
        }
        log.drain();
        let tokens: Vec<_> = outcomes.lock().iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [2, 3]);
    }

    /// Requested at the next flush of a file.
    fn next_sync(disk: &SimulatedDisk) -> Arc<Stop> {
        let synced = Arc::new(Stop::new());
        let theirs = Arc::clone(&synced);
        disk.set_plan(move |request| {
            if request == Request::Sync {
                theirs.request();
            }
            Fault::None
        });
        synced
    }

    #[test]
    fn written_lines_are_flushed_when_the_interval_is_over() {
        let disk = SimulatedDisk::new();
        let clock = SystemClock::new();
        let settings = Settings {
            flush_interval_ms: 1,
            ..settings(Level::Written)
        };
        let log = Log::open(&disk, &settings, clock, |_, _| {}).unwrap();
        let synced = next_sync(&disk);
        assert_eq!(log.status().progress.syncs, 0);
        log.append(b"a\n", 1, 1).unwrap();
        synced.wait();
        log.drain();
        assert_eq!(log.status().progress.syncs, 1, "nothing new, no second flush");
    }

    #[test]
    fn a_timed_flush_begins_early_when_much_was_written() {
        let disk = SimulatedDisk::new();
        let bytes = usize::try_from(limits::LOG_FLUSH_BYTES).unwrap();
        let settings = Settings {
            flush_interval_ms: 1000,
            queue_bytes_max: 2 * bytes,
            ..settings(Level::Written)
        };
        let (log, _outcomes) = open(&disk, &settings);
        let synced = next_sync(&disk);
        log.append(&vec![b'\n'; bytes - 1], 1, 1).unwrap();
        log.wait_settled(position(1)).unwrap();
        assert!(!synced.is_requested(), "it is not time");
        log.append(b"\n", 1, 2).unwrap();
        synced.wait();
        log.drain();
        assert_eq!(log.status().progress.syncs, 1);
    }

    #[test]
    fn on_the_systems_disk() {
        let root = std::env::temp_dir().join(format!("metricstream-log-{}", std::process::id()));
        let settings = Settings {
            directory: root.join("a/b"),
            ..settings(Level::Synced)
        };
        let open =
            |settings: &Settings| Log::<u32>::open(&fs::SystemDisk, settings, || Instant::ZERO, |_, _| {});
        let log = open(&settings).unwrap();
        log.append(b"one\n", 1, 1).unwrap();
        log.wait_settled(position(1)).unwrap();
        let text = open(&settings).unwrap_err().to_string();
        assert!(text.contains("is in use by another process"), "{text}");
        drop(log);
        let path = settings.directory.join(FILE_NAME);
        std::fs::write(&path, "one\ntwo").unwrap();
        let log = open(&settings).unwrap();
        assert_eq!(
            log.recovery(),
            Recovery {
                file_bytes: 4,
                cut_bytes: 3,
                ..Recovery::default()
            }
        );
        log.append(b"three\n", 1, 1).unwrap();
        log.drain();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\nthree\n");
        let below_a_file = Settings {
            directory: path.clone(),
            ..settings
        };
        let text = open(&below_a_file).unwrap_err().to_string();
        assert!(text.contains("cannot create the directory"), "{text}");
        assert!(text.contains("metrics.jsonl: "), "{text}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
