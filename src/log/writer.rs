//! The log's writer: group after group, from the queue to the file, and the tokens back.
//!
//! Promises: a token is given back as [`Outcome::Written`] only after the write call that holds its lines
//! returned (and the flush, at level synced); a group that failed is cut off before the next one is
//! written, so the file holds whole groups only, up to the last; after a failed flush or a failed cut
//! nothing is written any more. Every token of a group taken is given back, whatever happens.
//! Leaves to the caller: the thread. `Writer::run` is its whole life; [`Writer::commit`] is one step of
//! it, for tests that want no thread.

use crate::clock::Instant;
use crate::log::Shared;
use crate::log::fs::LogFile;
use crate::log::queue::{Group, Taken};
use crate::log::record::{Failure, Operation, Outcome, Position};
use crate::log::recovery::Recovery;
use crate::sync::shim::panic;
use std::io;
use std::time::Duration;

/// Where tokens go. Called on the writer's thread, in order of position within a level.
///
/// It should be quick: the next group waits for it. A panic in it is contained; the token it was given is
/// its own loss.
pub trait Completion<T>: Send + 'static {
    /// Takes back one token.
    fn complete(&mut self, token: T, outcome: Outcome);

    /// All tokens of a group were given back: a moment to pass on what was gathered.
    fn group_end(&mut self) {}
}

impl<T, F: FnMut(T, Outcome) + Send + 'static> Completion<T> for F {
    fn complete(&mut self, token: T, outcome: Outcome) {
        self(token, outcome);
    }
}

/// What the writer has done since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last batch whose outcome is decided.
    pub settled: Position,
    /// Length of the file in bytes: whole groups.
    pub file_bytes: u64,
    /// Of these, the bytes that are on the disk, from the first on.
    pub synced_bytes: u64,
    /// Groups written.
    pub groups: u64,
    /// Batches written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Records accepted whose group could not be written.
    pub records_failed: u64,
    /// Flushes to the disk after the opening.
    pub syncs: u64,
    /// Failures of the disk.
    pub failures: u64,
    /// The latest of them.
    pub last_failure: Option<Failure>,
}

impl Progress {
    /// Nothing done yet, on a file as `recovery` left it.
    #[must_use]
    pub fn after(recovery: Recovery) -> Self {
        Self {
            file_bytes: recovery.file_bytes,
            synced_bytes: recovery.file_bytes,
            ..Self::default()
        }
    }
}

/// The writer's side of a log.
#[derive(Debug)]
pub struct Writer<F, L> {
    file: F,
    /// Held as long as the file may be written.
    _lock: L,
    progress: Progress,
    /// When the oldest bytes that were not flushed since were written.
    unsynced_since: Option<Instant>,
    flush_interval: Option<Duration>,
    /// After this nothing is written.
    poison: Option<Failure>,
}

impl<F: LogFile, L> Writer<F, L> {
    /// A writer at the end of `file`, as `recovery` left it.
    #[must_use]
    pub fn new(file: F, lock: L, recovery: Recovery, flush_interval_ms: u64) -> Self {
        Self {
            file,
            _lock: lock,
            progress: Progress::after(recovery),
            unsynced_since: None,
            flush_interval: (flush_interval_ms > 0).then(|| Duration::from_millis(flush_interval_ms)),
            poison: None,
        }
    }

    /// Writes what the queue gives until it ends, flushes, and closes the watermark.
    pub(crate) fn run<T>(
        mut self,
        shared: &Shared<T>,
        now: impl Fn() -> Instant,
        mut completion: impl Completion<T>,
    ) {
        let mut group = Group::new();
        loop {
            let timeout = self.time_to_flush(now());
            match shared.queue.take(&mut group, timeout) {
                Taken::Group => self.commit(&mut group, &now, &mut completion),
                Taken::Nothing => {}
                Taken::End => break,
            }
            if self.time_to_flush(now()) == Some(Duration::ZERO) {
                // A failure shows in the progress and closes the queue.
                self.flush().ok();
            }
            self.report(shared);
        }
        if self.unsynced_since.is_some() {
            // A failure shows in the progress; whoever asked for the flush was told by its token.
            self.flush().ok();
        }
        self.report(shared);
        shared.settled.close();
    }

    /// Writes one group, as safely as its batches ask for, and gives back all its tokens; `group` is empty
    /// afterwards.
    pub fn commit<T>(
        &mut self,
        group: &mut Group<T>,
        now: &impl Fn() -> Instant,
        completion: &mut impl Completion<T>,
    ) {
        let last = group.last;
        match self.write(group, now) {
            Ok(()) => {
                give_back(&mut group.written, completion, Outcome::Written);
                // Only now, so that those who asked for less do not wait for the flush.
                if !group.synced.is_empty() {
                    match self.flush() {
                        Ok(()) => give_back(&mut group.synced, completion, Outcome::Written),
                        Err(failure) => {
                            give_back(&mut group.synced, completion, |_| Outcome::Failed(failure));
                        }
                    }
                }
            }
            Err(failure) => {
                self.progress.records_failed += group.records;
                give_back(&mut group.written, completion, |_| Outcome::Failed(failure));
                give_back(&mut group.synced, completion, |_| Outcome::Failed(failure));
            }
        }
        panic::contain(|| completion.group_end());
        self.progress.settled = last;
        group.clear();
    }

    /// Flushes what was written to the disk.
    ///
    /// # Errors
    /// The failure; the writer is poisoned then, because the system may have dropped what it could not
    /// write, and a later flush would not say so.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.poison {
            return Err(failure.for_later());
        }
        match uninterrupted(|| self.file.sync()) {
            Ok(()) => {
                self.progress.syncs += 1;
                self.progress.synced_bytes = self.progress.file_bytes;
                self.unsynced_since = None;
                Ok(())
            }
            Err(error) => Err(self.poison(Failure::new(Operation::Sync, &error))),
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The failure after which nothing is written any more.
    #[must_use]
    pub fn poisoned(&self) -> Option<Failure> {
        self.poison
    }

    /// Time left until written lines have to be flushed; none when there is nothing to flush or nobody
    /// asked for it.
    fn time_to_flush(&self, now: Instant) -> Option<Duration> {
        let due = self.unsynced_since?.after(self.flush_interval?);
        match self.poison {
            None => Some(due.since(now)),
            Some(_) => None,
        }
    }

    /// Appends the group's bytes, or leaves the file as it was.
    fn write<T>(&mut self, group: &Group<T>, now: &impl Fn() -> Instant) -> Result<(), Failure> {
        if let Some(failure) = self.poison {
            return Err(failure.for_later());
        }
        if let Err(error) = append_all(&mut self.file, &group.bytes) {
            let failure = self.failed(Failure::new(Operation::Write, &error));
            let whole = self.progress.file_bytes;
            return match uninterrupted(|| self.file.truncate(whole)) {
                Ok(()) => Err(failure),
                Err(error) => Err(self.poison(Failure::new(Operation::Truncate, &error))),
            };
        }
        self.progress.file_bytes += group.bytes.len() as u64;
        self.progress.groups += 1;
        self.progress.batches += group.batches as u64;
        self.progress.records += group.records;
        if self.unsynced_since.is_none() {
            self.unsynced_since = Some(now());
        }
        Ok(())
    }

    fn failed(&mut self, failure: Failure) -> Failure {
        self.progress.failures += 1;
        self.progress.last_failure = Some(failure);
        failure
    }

    fn poison(&mut self, failure: Failure) -> Failure {
        self.poison = Some(failure);
        self.failed(failure)
    }

    /// Shows the others how far the writer is: first that nothing more is accepted, if so, then the rest.
    fn report<T>(&self, shared: &Shared<T>) {
        if let Some(failure) = self.poison {
            shared.queue.poison(failure);
        }
        *shared.progress.lock() = self.progress;
        shared.settled.advance(self.progress.settled.get());
    }
}

/// Writes all of `bytes`, in as many calls as it takes.
fn append_all(file: &mut impl LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match uninterrupted(|| file.append(bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// Calls again what a signal interrupted before it did anything.
fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn give_back<T>(
    tokens: &mut Vec<(Position, T)>,
    completion: &mut impl Completion<T>,
    outcome: impl Fn(Position) -> Outcome,
) {
    for (position, token) in tokens.drain(..) {
        panic::contain(|| completion.complete(token, outcome(position)));
    }
}
