//! The log's writer: group after group, from the queue to the active segment, and the tokens back.
//!
//! Promises: a token is given back as [`Outcome::Written`] only after the write call that holds its lines
//! returned (and the flush, at level synced); a group that failed is cut off before the next one is
//! written, and the cut is flushed, so the file holds whole groups only, up to the last, and what was said to
//! have failed does not come back after a power cut; after a failed flush or a failed cut nothing is written
//! any more. Every token of a group taken is given back, whatever happens.
//! Leaves to the caller: the thread. `Writer::run` is its whole life; [`Writer::commit`] is one step of
//! it, for tests that want no thread.
//!
//! # Rotation
//! A group is in one segment (LOG-ROTATION): the active one is sealed between two groups, when the next
//! would make it longer than it may be, or when its first line is too old. The steps, and what a crash after
//! each leaves:
//!
//! 1. The active segment is flushed; nobody will again. A failure poisons, as ever. A crash leaves it active.
//! 2. It gets its sealed name. A failure changes nothing: the log goes on in the old file and tries again
//!    after `LOG_ROTATION_RETRY`. After a crash the directory has no active segment and opening makes one.
//! 3. A new active segment is made. If it cannot be, the old one gets its name back, durably, and the log
//!    goes on in it, as after 2. If even that fails, groups fail until a new one can be made.
//! 4. The directory is flushed, before a line of the new segment is acknowledged: a power cut before finds
//!    the old one whole, under either name; after it, both. A failure poisons.

use crate::clock::{Clock, Instant};
use crate::limits::{LOG_FLUSH_BYTES, LOG_ROTATION_RETRY};
use crate::log::breaker::{Breaker, BreakerState};
use crate::log::directory::{Directory, Opened};
use crate::log::flusher::{Flushed, Flusher, Order};
use crate::log::fs::{Filesystem, LogFile};
use crate::log::queue::{Door, Group, Queue, Taken};
use crate::log::record::{Failure, Operation, Outcome, Position, Refusal};
use crate::log::recovery::Recovery;
use crate::log::segment::{ACTIVE_NAME, NUMBER_MAX, Sealed};
use crate::log::{Compression, Settings, Shared, uninterrupted};
use crate::sync::shim::{Arc, panic};
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
    /// Length of the active segment in bytes: whole groups.
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
    /// Segments sealed.
    pub rotations: u64,
    /// Bytes in them.
    pub rotated_bytes: u64,
    /// Rotations that failed and will be tried again.
    pub rotation_failures: u64,
    /// The latest of them.
    pub last_rotation_failure: Option<Failure>,
    /// Whether the disk is left alone because groups failed.
    pub breaker: BreakerState,
    /// How often it was.
    pub breaker_opened: u64,
    /// The number of the last segment that is sealed, durably; zero when there is none.
    pub last_sealed: u64,
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
pub struct Writer<F: Filesystem> {
    directory: Arc<Directory<F>>,
    /// None after a rotation that came to nothing.
    active: Option<Arc<F::File>>,
    flusher: Arc<Flusher<F::File>>,
    /// A flush was ordered and its outcome is not known.
    flushing: bool,
    rotation: Rotation,
    progress: Progress,
    /// When the oldest bytes that are not flushed, and that no order is for, were written.
    unsynced_since: Option<Instant>,
    flush_interval: Option<Duration>,
    /// Whether what was flushed need not stay in the system's memory.
    forgets: bool,
    /// After this nothing is written.
    poison: Option<Failure>,
    breaker: Breaker,
    /// What the queue was told last.
    told: BreakerState,
}

/// When the active segment is sealed.
#[derive(Clone, Copy, Debug)]
struct Rotation {
    bytes_max: u64,
    age_max: Option<Duration>,
    /// When the active segment is too old, if it has a line.
    age_due: Option<Instant>,
    /// The highest number that is taken.
    last_number: u64,
    /// After a failure.
    not_before: Instant,
}

impl Rotation {
    fn new<F: Filesystem>(settings: &Settings, opened: &Opened<F>, clock: &impl Clock) -> Self {
        let age_max =
            (settings.segment_age_ms_max > 0).then(|| Duration::from_millis(settings.segment_age_ms_max));
        // When its first line was written is not known: it is as old as its last one, at least.
        let age_ms = clock
            .wall()
            .epoch_millis()
            .saturating_sub(opened.modified.epoch_millis());
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        let due = |max: Duration| clock.now().after(max.saturating_sub(age));
        Self {
            bytes_max: match settings.segment_bytes_max {
                0 => u64::MAX,
                bytes => bytes,
            },
            age_max,
            age_due: age_max.filter(|_| opened.recovery.file_bytes > 0).map(due),
            last_number: opened.sealed.last().map_or(0, |segment| segment.sealed.number),
            not_before: Instant::ZERO,
        }
    }
}

impl<F: Filesystem> Writer<F> {
    /// A writer at the end of the active segment of `opened`.
    #[must_use]
    pub fn new(opened: Opened<F>, settings: &Settings, clock: &impl Clock) -> Self {
        let rotation = Rotation::new(settings, &opened, clock);
        Self {
            rotation,
            directory: opened.directory,
            active: Some(Arc::new(opened.active)),
            flusher: Arc::default(),
            flushing: false,
            progress: Progress {
                last_sealed: rotation.last_number,
                ..Progress::after(opened.recovery)
            },
            unsynced_since: None,
            flush_interval: (settings.flush_interval_ms > 0)
                .then(|| Duration::from_millis(settings.flush_interval_ms)),
            // The keeper will read all of it.
            forgets: settings.segment_compression == Compression::None,
            poison: None,
            breaker: Breaker::new(
                settings.breaker_failures_max,
                Duration::from_millis(settings.breaker_retry_ms),
            ),
            told: BreakerState::Closed,
        }
    }

    /// Writes what the queue gives until it ends, flushes, and closes the watermarks.
    pub(crate) fn run<T>(
        mut self,
        shared: &Shared<T>,
        clock: impl Clock,
        mut completion: impl Completion<T>,
    ) {
        let mut group = Group::new();
        loop {
            let timeout = self.time_to_wake(clock.now());
            match shared.queue.take(&mut group, timeout) {
                Taken::Group => self.commit(&mut group, &clock, &mut completion),
                Taken::Nothing => {}
                Taken::End => break,
            }
            self.keep_time(clock.now());
            self.report(shared);
            self.tell_breaker(&shared.queue);
        }
        self.settle();
        if self.unsynced_bytes() > 0 && !crate::seeded!(DRAIN_NOT_FLUSHED) {
            // A failure shows in the progress; whoever asked for the flush was told by its token.
            self.flush().ok();
        }
        self.report(shared);
        self.flusher.end();
        shared.settled.close();
        shared.sealed.close();
    }

    /// Writes one group, as safely as its batches ask for, and gives back all its tokens; `group` is empty
    /// afterwards.
    pub fn commit<T>(
        &mut self,
        group: &mut Group<T>,
        clock: &impl Clock,
        completion: &mut impl Completion<T>,
    ) {
        let last = group.last;
        if crate::seeded!(ACK_BEFORE_WRITE) {
            give_back(&mut group.written, completion, Outcome::Written);
        }
        if group.batches > 1 {
            crate::reached!(GROUP_OF_MANY);
        }
        self.rotate_before(group.bytes.len() as u64, clock.now());
        match self.write(group, clock) {
            Ok(()) => {
                self.breaker.succeeded();
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
                self.breaker.failed(clock.now());
                self.progress.records_failed += group.records;
                if crate::seeded!(TOKENS_DROPPED_ON_FAILURE) {
                    group.written.clear();
                }
                give_back(&mut group.written, completion, |_| Outcome::Failed(failure));
                give_back(&mut group.synced, completion, |_| Outcome::Failed(failure));
            }
        }
        panic::contain(|| completion.group_end());
        self.progress.settled = last;
        group.clear();
    }

    /// Flushes what was written to the disk, and waits for it.
    ///
    /// # Errors
    /// The failure; the writer is poisoned then, because the system may have dropped what it could not
    /// write, and a later flush would not say so.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.poison {
            return Err(failure.for_later());
        }
        self.settle();
        if let Some(failure) = self.poison {
            // What is to be flushed was written before it was known.
            return Err(failure);
        }
        let Some(active) = &self.active else {
            // It was flushed before it was sealed.
            return Ok(());
        };
        let outcome = uninterrupted(|| active.sync());
        self.flushed(self.progress.file_bytes, outcome)?;
        self.unsynced_since = None;
        Ok(())
    }

    /// Who carries out timed flushes.
    #[must_use]
    pub fn flusher(&self) -> Arc<Flusher<F::File>> {
        Arc::clone(&self.flusher)
    }

    /// Waits for the flush that is under way, if one is. Afterwards what was not flushed is this thread's
    /// to flush.
    fn settle(&mut self) {
        if !self.flushing {
            return;
        }
        let Some(flushed) = self.flusher.settle() else {
            crate::reached!(FLUSH_TAKEN_BACK);
            self.flushing = false;
            return;
        };
        crate::reached!(FLUSH_AWAITED);
        self.hear(flushed);
    }

    /// The flush that was ordered is over.
    fn hear(&mut self, Flushed { bytes, outcome }: Flushed) {
        self.flushing = false;
        // A failure shows in the progress and closes the queue.
        self.flushed(bytes, outcome).ok();
    }

    /// The first `bytes` of the active segment were to be flushed, and this is how it went.
    fn flushed(&mut self, bytes: u64, outcome: io::Result<()>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => {
                self.progress.syncs += 1;
                self.progress.synced_bytes = bytes;
                Ok(())
            }
            Err(error) if crate::seeded!(SYNC_FAILURE_FORGOTTEN) => {
                Err(self.failed(Failure::new(Operation::Sync, &error)))
            }
            Err(error) => {
                crate::reached!(SYNC_FAILED);
                Err(self.poison(Failure::new(Operation::Sync, &error)))
            }
        }
    }

    /// Does what is due at `now`, group or no group: orders the timed flush or hears of it, seals a segment
    /// by its age, tries a disk that failed.
    pub fn keep_time(&mut self, now: Instant) {
        if self.flushing
            && let Some(flushed) = self.flusher.look()
        {
            self.hear(flushed);
        }
        if self.time_to_flush(now) == Some(Duration::ZERO)
            && let Some(active) = &self.active
        {
            crate::reached!(FLUSH_BY_TIMER);
            self.flusher.order(Order {
                file: Arc::clone(active),
                bytes: self.progress.file_bytes,
                forget: self.forgets,
            });
            self.flushing = true;
            self.unsynced_since = None;
        }
        self.rotate_before(0, now);
        self.breaker.keep_time(now);
        self.progress.breaker = self.breaker.state();
        self.progress.breaker_opened = self.breaker.opened();
    }

    /// Tells `queue` whether to let batches in, when that has changed.
    pub fn tell_breaker<T>(&mut self, queue: &Queue<T>) {
        let state = self.breaker.state();
        if state == BreakerState::Closed && self.told == state {
            return;
        }
        self.told = state;
        let refusal = self.progress.last_failure.map(|failure| Refusal::Resting {
            failures: self.breaker.failures(),
            failure,
            retry_after_ms: u64::try_from(self.breaker.delay().as_millis()).unwrap_or(u64::MAX),
        });
        queue.set_door(match (state, refusal) {
            (BreakerState::Open, Some(refusal)) => Door::Shut(refusal),
            (BreakerState::HalfOpen, Some(refusal)) => Door::OpenUntilTaken(refusal),
            _ => Door::Open,
        });
    }

    /// Bytes of the active segment that are not known to be on the disk.
    fn unsynced_bytes(&self) -> u64 {
        self.progress
            .file_bytes
            .saturating_sub(self.progress.synced_bytes)
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

    /// Time left until something is due without a group.
    fn time_to_wake(&self, now: Instant) -> Option<Duration> {
        let due = [
            self.time_to_flush(now),
            self.time_to_rotate(now),
            self.breaker.time_left(now),
        ];
        due.into_iter().flatten().min()
    }

    /// Time left until a flush of written lines has to be ordered; none when there is nothing to flush,
    /// nobody asked for it, or a flush is under way.
    fn time_to_flush(&self, now: Instant) -> Option<Duration> {
        let due = self.unsynced_since?.after(self.flush_interval?);
        if self.flushing || self.poison.is_some() {
            return None;
        }
        if self.unsynced_bytes() >= LOG_FLUSH_BYTES {
            crate::reached!(FLUSH_BY_BYTES);
            return Some(Duration::ZERO);
        }
        Some(due.since(now))
    }

    /// Time left until the active segment is too old.
    fn time_to_rotate(&self, now: Instant) -> Option<Duration> {
        let due = self.rotation.age_due?.max(self.rotation.not_before);
        match self.poison {
            None => Some(due.since(now)),
            Some(_) => None,
        }
    }

    /// Seals the active segment if it is time to, or if `incoming` bytes more would make it too long.
    fn rotate_before(&mut self, incoming: u64, now: Instant) {
        let length = self.progress.file_bytes;
        let too_long = length.saturating_add(incoming) > self.rotation.bytes_max;
        let too_old = self.rotation.age_due.is_some_and(|due| due <= now);
        let wanted = length > 0 && (too_long || too_old);
        if !wanted || now < self.rotation.not_before || self.poison.is_some() {
            return;
        }
        self.settle();
        let unflushed = self.unsynced_bytes() > 0 && !crate::seeded!(SEALED_UNFLUSHED);
        if self.poison.is_some() || unflushed && self.flush().is_err() {
            return;
        }
        if let Err(error) = self.seal() {
            crate::reached!(ROTATION_FAILED);
            self.progress.rotation_failures += 1;
            self.progress.last_rotation_failure = Some(Failure::new(Operation::Rotate, &error));
            self.rotation.not_before = now.after(LOG_ROTATION_RETRY);
        }
    }

    /// Steps 2 to 4 of a rotation.
    fn seal(&mut self) -> io::Result<()> {
        if self.rotation.last_number >= NUMBER_MAX {
            return Err(io::Error::other("no number is left for a segment"));
        }
        let sealed = Sealed {
            number: self.rotation.last_number + 1,
            compressed: false,
        };
        let name = sealed.file_name();
        if let Err(error) = self.directory.rename(ACTIVE_NAME, &name) {
            if error.kind() == io::ErrorKind::AlreadyExists {
                // Somebody put a file there. The next number, next time.
                self.rotation.last_number = sealed.number;
            }
            return Err(error);
        }
        match self.directory.open_append(ACTIVE_NAME) {
            Ok(active) => self.active = Some(Arc::new(active)),
            Err(error) if self.directory.rename(&name, ACTIVE_NAME).is_ok() => {
                // Before another line: a power cut must not find it sealed and with a torn one.
                if let Err(failure) = self.directory.sync() {
                    self.poison(failure);
                }
                return Err(error);
            }
            Err(_) => self.active = None,
        }
        self.rotation.last_number = sealed.number;
        self.rotation.age_due = None;
        self.progress.rotations += 1;
        self.progress.rotated_bytes += self.progress.file_bytes;
        self.progress.file_bytes = 0;
        self.progress.synced_bytes = 0;
        crate::reached!(SEGMENT_SEALED);
        if !crate::seeded!(NEW_SEGMENT_NOT_NAMED) {
            self.sync_names().ok();
        }
        Ok(())
    }

    /// Makes the names durable, or poisons.
    fn sync_names(&mut self) -> Result<(), Failure> {
        match self.directory.sync() {
            Ok(()) => {
                self.progress.last_sealed = self.rotation.last_number;
                Ok(())
            }
            Err(failure) => Err(self.poison(failure)),
        }
    }

    /// Appends the group's bytes, or leaves the file as it was.
    fn write<T>(&mut self, group: &Group<T>, clock: &impl Clock) -> Result<(), Failure> {
        if let Some(failure) = self.poison {
            return Err(failure.for_later());
        }
        if self.active.is_none() {
            match self.directory.open_append(ACTIVE_NAME) {
                Ok(active) => self.active = Some(Arc::new(active)),
                Err(error) => return Err(self.failed(Failure::new(Operation::Rotate, &error))),
            }
            self.sync_names().map_err(Failure::for_later)?;
        }
        self.append(&group.bytes)?;
        let now = clock.now();
        if self.progress.file_bytes == 0 {
            self.rotation.age_due = self.rotation.age_max.map(|max| now.after(max));
        }
        self.progress.file_bytes += group.bytes.len() as u64;
        self.progress.groups += 1;
        self.progress.batches += group.batches as u64;
        self.progress.records += group.records;
        self.unsynced_since.get_or_insert(now);
        Ok(())
    }

    /// Appends `bytes`, or leaves the file as it was, on the disk too: a cut that is not flushed would be
    /// undone by a power cut, and lines that were said to have failed would be there.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let active = self.active.as_ref().expect("the caller sees to it");
        let Err((error, written)) = append_all(active.as_ref(), bytes) else {
            return Ok(());
        };
        let whole = self.progress.file_bytes;
        if crate::seeded!(FAILED_GROUP_NOT_CUT) {
            return Err(self.failed(Failure::new(Operation::Write, &error)));
        }
        let cut = uninterrupted(|| active.truncate(whole));
        let failure = self.failed(Failure::new(Operation::Write, &error));
        if let Err(error) = cut {
            crate::reached!(CUT_FAILED);
            return Err(self.poison(Failure::new(Operation::Truncate, &error)));
        }
        if written > 0 && !crate::seeded!(CUT_NOT_FLUSHED) {
            crate::reached!(FAILED_GROUP_CUT);
            self.flush()?;
        }
        Err(failure)
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
        shared.sealed.advance(self.progress.last_sealed);
    }
}

/// Writes all of `bytes`, in as many calls as it takes; on an error, how many were written before.
fn append_all(file: &impl LogFile, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while written < bytes.len() {
        match uninterrupted(|| file.append(&bytes[written..])) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(count) if crate::seeded!(SHORT_WRITE_REPEATED) && written + count < bytes.len() => {}
            Ok(count) => {
                written += count;
                if written < bytes.len() {
                    crate::reached!(DISK_WRITE_SHORT);
                }
            }
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallTime;
    use crate::log::directory;
    use crate::log::record::Level;
    use crate::log::simulated::{Fault, Request, SimulatedDisk, Survival};
    use crate::sync::shim::Mutex;
    use std::path::Path;

    const PATH: &str = "data";

    fn settings() -> Settings {
        Settings {
            flush_interval_ms: 0,
            segment_bytes_max: 10,
            breaker_failures_max: 2,
            breaker_retry_ms: 100,
            ..Settings::in_directory(Path::new(PATH))
        }
    }

    /// A writer moved by hand, at a time set by hand.
    struct Hand {
        writer: Writer<SimulatedDisk>,
        queue: Queue<()>,
        now: u64,
    }

    fn clock(millis: u64) -> impl Clock {
        move || Instant::ZERO.after(Duration::from_millis(millis))
    }

    impl Hand {
        fn open(disk: &SimulatedDisk, settings: &Settings, now: u64) -> Self {
            let opened = directory::open(disk, Path::new(PATH)).unwrap();
            Self {
                writer: Writer::new(opened, settings, &clock(now)),
                queue: Queue::new(1000, 10),
                now,
            }
        }

        /// Commits `lines` as one group.
        fn commit(&mut self, lines: &str) -> Outcome {
            self.queue.push(lines.as_bytes(), 1, Level::Synced, ()).unwrap();
            self.take()
        }

        fn take(&mut self) -> Outcome {
            let mut group = Group::new();
            assert_eq!(self.queue.take(&mut group, None), Taken::Group);
            let outcome = Arc::new(Mutex::new(None));
            let theirs = Arc::clone(&outcome);
            let mut complete = move |(), outcome| *theirs.lock() = Some(outcome);
            self.writer.commit(&mut group, &clock(self.now), &mut complete);
            self.pass(0);
            outcome.lock().take().unwrap()
        }

        fn pass(&mut self, millis: u64) {
            self.now += millis;
            self.writer.keep_time(clock(self.now).now());
            self.writer.tell_breaker(&self.queue);
        }
    }

    /// The files in order of their names, each with its content.
    fn files(disk: &SimulatedDisk) -> Vec<(String, String)> {
        let paths = disk.paths().into_iter();
        paths
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, String::from_utf8(disk.content(&path)).unwrap())
            })
            .collect()
    }

    /// The content of the sealed segments from number 1 on, then of the active one.
    fn contents(disk: &SimulatedDisk) -> Vec<String> {
        let files = files(disk).into_iter();
        files
            .enumerate()
            .map(|(index, (name, content))| {
                let number = index as u64 + 1;
                let compressed = false;
                assert!(name == ACTIVE_NAME || name == Sealed { number, compressed }.file_name());
                content
            })
            .collect()
    }

    fn is_written(outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Written(_))
    }

    fn failure(outcome: Outcome) -> Failure {
        match outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Written(_) => panic!("it was written"),
        }
    }

    /// Fails the requests that are `wanted`, the first `times` of them.
    fn fail(disk: &SimulatedDisk, wanted: Request, mut times: u32) {
        disk.set_plan(move |request| {
            if request == wanted && times > 0 {
                times -= 1;
                return Fault::Error(io::ErrorKind::PermissionDenied);
            }
            Fault::None
        });
    }

    #[test]
    fn the_group_that_would_make_a_segment_too_long_is_the_first_of_the_next() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        for lines in ["aaaa\n", "b\ncc\n", "d\n", "longer than a segment\n", "e\n"] {
            assert!(is_written(hand.commit(lines)));
        }
        assert_eq!(
            contents(&disk),
            ["aaaa\nb\ncc\n", "d\n", "longer than a segment\n", "e\n"]
        );
        let progress = hand.writer.progress();
        assert_eq!(
            (progress.rotations, progress.last_sealed, progress.file_bytes),
            (3, 3, 2)
        );
        drop(hand);
        let mut hand = Hand::open(&disk, &settings(), 0);
        assert!(is_written(hand.commit("ffffffff\n")));
        assert_eq!(contents(&disk)[3..], ["e\n", "ffffffff\n"], "numbers go on");
    }

    #[test]
    fn a_segment_is_sealed_when_its_first_line_is_too_old() {
        let disk = SimulatedDisk::new();
        let settings = Settings {
            segment_bytes_max: 0,
            segment_age_ms_max: 100,
            ..settings()
        };
        let mut hand = Hand::open(&disk, &settings, 0);
        hand.pass(1000);
        assert_eq!(contents(&disk), [""], "an empty one never");
        assert_eq!(hand.writer.time_to_wake(clock(1000).now()), None);
        hand.commit("a\n");
        hand.pass(60);
        hand.commit("b\n");
        assert_eq!(
            hand.writer.time_to_wake(clock(hand.now).now()),
            Some(Duration::from_millis(40))
        );
        hand.pass(39);
        assert_eq!(contents(&disk), ["a\nb\n"]);
        hand.pass(1);
        assert_eq!(contents(&disk), ["a\nb\n", ""]);
        disk.set_time(WallTime::from_epoch_millis(2000));
        hand.commit("c\n");
        drop(hand);
        let mut hand = Hand::open(&disk, &settings, 2070);
        hand.pass(29);
        assert_eq!(contents(&disk).len(), 2, "it is as old as its last line");
        hand.pass(1);
        assert_eq!(contents(&disk)[1..], ["c\n", ""]);
    }

    #[test]
    fn a_rotation_that_fails_goes_on_in_the_old_file_and_is_tried_again() {
        for request in [Request::Rename, Request::Open] {
            let disk = SimulatedDisk::new();
            let mut hand = Hand::open(&disk, &settings(), 0);
            hand.commit("aaaaaaaaa\n");
            fail(&disk, request, 1);
            assert!(is_written(hand.commit("b\n")));
            assert!(is_written(hand.commit("c\n")));
            assert_eq!(contents(&disk), ["aaaaaaaaa\nb\nc\n"]);
            assert_eq!(
                hand.writer.progress().rotation_failures,
                1,
                "it is not tried for every group"
            );
            hand.pass(999);
            assert_eq!(contents(&disk).len(), 1);
            hand.pass(1);
            assert_eq!(contents(&disk), ["aaaaaaaaa\nb\nc\n", ""]);
            assert_eq!(hand.writer.progress().failures, 0);
        }
    }

    #[test]
    fn a_segment_that_got_its_name_back_is_not_found_sealed_and_torn() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        hand.commit("aaaaaaaaa\n");
        let mut opens = 0;
        disk.set_plan(move |request| match request {
            Request::Open if opens == 0 => {
                opens += 1;
                Fault::Error(io::ErrorKind::PermissionDenied)
            }
            Request::Append(_) => Fault::Crash(1),
            _ => Fault::None,
        });
        failure(hand.commit("b\n"));
        disk.cut_power(Survival {
            changes: 1,
            bytes: 1,
            names: 1,
            ..Survival::default()
        });
        assert_eq!(contents(&disk)[0], "aaaaaaaaa\nb");
        assert_eq!(files(&disk)[0].0, ACTIVE_NAME, "so opening cuts it");
    }

    #[test]
    fn without_an_active_segment_groups_fail_until_there_is_one() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        hand.commit("aaaaaaaaa\n");
        let mut renames = 0;
        disk.set_plan(move |request| {
            renames += u32::from(request == Request::Rename);
            match request {
                Request::Rename if renames > 1 => Fault::Error(io::ErrorKind::PermissionDenied),
                Request::Open => Fault::Error(io::ErrorKind::PermissionDenied),
                _ => Fault::None,
            }
        });
        let failure = failure(hand.commit("b\n"));
        assert_eq!(
            (failure.operation, failure.may_be_stored),
            (Operation::Rotate, false)
        );
        assert_eq!(files(&disk).len(), 1);
        disk.set_plan(|_| Fault::None);
        assert!(is_written(hand.commit("c\n")));
        disk.cut_power(Survival::default());
        assert_eq!(contents(&disk), ["aaaaaaaaa\n", "c\n"]);
    }

    #[test]
    fn a_failed_flush_at_a_rotation_poisons() {
        for request in [Request::Sync, Request::SyncDirectory] {
            let disk = SimulatedDisk::new();
            let mut hand = Hand::open(&disk, &settings(), 0);
            hand.queue.push(b"aaaaaaaaa\n", 1, Level::Written, ()).unwrap();
            assert!(is_written(hand.take()));
            fail(&disk, request, 1);
            let failure = failure(hand.commit("b\n"));
            assert_eq!(
                (failure.operation, failure.may_be_stored),
                (Operation::Sync, false)
            );
            assert!(hand.writer.poisoned().is_some());
            drop(hand);
            let mut hand = Hand::open(&disk, &settings(), 0);
            assert!(is_written(hand.commit("c\n")));
            assert_eq!(contents(&disk).concat(), "aaaaaaaaa\nc\n");
        }
    }

    #[test]
    fn what_was_synced_survives_a_power_cut_right_after_a_rotation() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        for lines in ["aaaaaaaaa\n", "bbbbbbbbb\n", "c\n"] {
            assert!(is_written(hand.commit(lines)));
        }
        disk.cut_power(Survival::default());
        assert_eq!(contents(&disk), ["aaaaaaaaa\n", "bbbbbbbbb\n", "c\n"]);
    }

    /// A writer with a line that the timed flush is ordered for.
    fn with_a_timed_flush(disk: &SimulatedDisk) -> Hand {
        let settings = Settings {
            flush_interval_ms: 5,
            ..settings()
        };
        let mut hand = Hand::open(disk, &settings, 0);
        hand.queue.push(b"a\n", 1, Level::Written, ()).unwrap();
        assert!(is_written(hand.take()));
        hand.pass(5);
        hand
    }

    #[test]
    fn the_writer_goes_on_beside_a_timed_flush() {
        let disk = SimulatedDisk::new();
        let mut hand = with_a_timed_flush(&disk);
        hand.queue.push(b"b\n", 1, Level::Written, ()).unwrap();
        assert!(is_written(hand.take()));
        assert_eq!(
            hand.writer.time_to_wake(clock(hand.now).now()),
            None,
            "until the flush is heard of"
        );
        hand.writer.flusher().step();
        hand.pass(0);
        let progress = hand.writer.progress();
        assert_eq!(
            (progress.syncs, progress.synced_bytes),
            (1, 2),
            "what was ordered"
        );
        assert_eq!(
            hand.writer.time_to_wake(clock(hand.now).now()),
            Some(Duration::from_millis(5)),
            "and the rest at its time"
        );
    }

    #[test]
    fn a_timed_flush_that_failed_is_known_before_the_next_acknowledgement() {
        let disk = SimulatedDisk::new();
        let mut hand = with_a_timed_flush(&disk);
        fail(&disk, Request::Sync, 1);
        hand.writer.flusher().step();
        let failure = failure(hand.commit("b\n"));
        assert_eq!(
            (failure.operation, failure.may_be_stored),
            (Operation::Sync, true)
        );
        assert!(hand.writer.poisoned().is_some());
        assert_eq!(contents(&disk), ["a\nb\n"], "it was written");
    }

    #[test]
    fn a_timed_flush_that_was_not_begun_is_the_writers() {
        let disk = SimulatedDisk::new();
        let mut hand = with_a_timed_flush(&disk);
        assert!(is_written(hand.commit("b\n")));
        let requests = disk.requests();
        hand.writer.flusher().step();
        hand.pass(0);
        assert_eq!(disk.requests(), requests, "it was taken back");
        assert_eq!(hand.writer.progress().syncs, 1);
    }

    #[test]
    fn a_number_that_is_taken_is_passed_over() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        disk.put(&Path::new(PATH).join("metrics.000000000001.jsonl"), b"foreign\n");
        hand.commit("aaaaaaaaa\n");
        hand.commit("b\n");
        assert_eq!(contents(&disk), ["foreign\n", "aaaaaaaaa\nb\n"]);
        hand.pass(1000);
        assert_eq!(contents(&disk), ["foreign\n", "aaaaaaaaa\nb\n", ""]);
    }

    #[test]
    fn what_was_said_to_have_failed_does_not_come_back_after_a_power_cut() {
        for changes in 0..4 {
            let disk = SimulatedDisk::new();
            let mut hand = Hand::open(&disk, &settings(), 0);
            hand.commit("a\n");
            disk.set_space(Some(5));
            let failure = failure(hand.commit("b\nc\n"));
            assert!(!failure.may_be_stored);
            assert_eq!(failure.kind, io::ErrorKind::StorageFull);
            disk.cut_power(Survival {
                changes,
                ..Survival::default()
            });
            assert_eq!(contents(&disk), ["a\n"]);
        }
    }

    #[test]
    fn after_failures_in_a_row_the_disk_is_left_alone_for_a_while() {
        let disk = SimulatedDisk::new();
        let mut hand = Hand::open(&disk, &settings(), 0);
        disk.set_space(Some(0));
        failure(hand.commit("a\n"));
        for line in [b"b\n", b"c\n"] {
            hand.queue.push(line, 1, Level::Written, ()).unwrap();
        }
        failure(hand.take());
        let refusal = |hand: &Hand| {
            hand.queue
                .push(b"d\n", 1, Level::Written, ())
                .unwrap_err()
                .refusal
        };
        let Refusal::Resting {
            failures,
            failure: last,
            retry_after_ms,
        } = refusal(&hand)
        else {
            panic!("it rests");
        };
        assert_eq!((failures, retry_after_ms), (2, 100));
        assert_eq!(last.kind, io::ErrorKind::StorageFull);
        hand.pass(99);
        refusal(&hand);
        assert_eq!(hand.writer.progress().breaker, BreakerState::Open);
        hand.pass(1);
        assert_eq!(hand.writer.progress().breaker, BreakerState::HalfOpen);
        failure(hand.commit("e\n"));
        refusal(&hand);
        hand.pass(100);
        disk.set_space(None);
        assert!(is_written(hand.commit("f\n")));
        assert!(is_written(hand.commit("g\n")));
        assert_eq!(contents(&disk), ["f\ng\n"]);
        assert_eq!(hand.writer.progress().breaker_opened, 1);
    }
}
