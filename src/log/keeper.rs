//! The keeper of the sealed segments: removes what is over the retention's bounds, and compresses the rest.
//!
//! Promises: only whole sealed segments are removed, the oldest first, and only as long as a bound is passed
//! (LOG-RETENTION); the active segment is never touched: it has no number. A segment is compressed so that
//! each of its lines can be read exactly once by the rule of [`segment`](super::segment), whatever step a
//! crash cuts off (LOG-COMPRESSION). Memory is two blocks and the compressor's, whatever the length of a
//! segment, and some bytes a segment. It runs beside the writer, on a thread of its own, so that no
//! acknowledgement waits for it; what fails is tried again later.
//! Leaves to the caller: the thread. `Keeper::run` is its whole life; [`Keeper::keep`] is one step of it, for
//! tests that want no thread.
//!
//! # How a segment is compressed
//! 1. The lines are compressed into the file `.zst.tmp`, one frame (RFC 8878) with length and checksum.
//! 2. It gets the time of the plain one, by which retention goes, and is flushed.
//! 3. It is read back and compared with the plain one, byte by byte.
//! 4. It gets its name, and the directory is flushed.
//! 5. Only now the plain one is removed.
//!
//! Until 4 readers pass over the file; from 4 to 5 the plain one counts; from 5 on it does.

use crate::clock::{Clock, Instant, WallTime};
use crate::limits::{LOG_COMPRESSION_BLOCK_BYTES, LOG_COMPRESSION_LEVEL, LOG_KEEPER_RETRY};
use crate::log::directory::{Directory, Segment};
use crate::log::fs::{Filesystem, LogFile};
use crate::log::record::{Failure, Operation};
use crate::log::segment::Sealed;
use crate::log::{Compression, Settings, Shared, uninterrupted};
use crate::sync::shim::Arc;
use crate::sync::stop::Stop;
use crate::sync::watermark::Closed;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::Duration;

/// What the keeper has done since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sealed segments that opening found.
    pub found_segments: u64,
    /// Bytes in them.
    pub found_bytes: u64,
    /// Segments that retention removed.
    pub removed_segments: u64,
    /// Bytes in them.
    pub removed_bytes: u64,
    /// Segments that were compressed.
    pub compressed_segments: u64,
    /// Bytes in them before.
    pub compressed_from_bytes: u64,
    /// Bytes in them after.
    pub compressed_to_bytes: u64,
    /// What failed and will be tried again.
    pub failures: u64,
    /// The latest of it.
    pub last_failure: Option<Failure>,
    /// The last step failed.
    pub failing: bool,
}

/// The side of a log that owns its sealed segments.
#[derive(Debug)]
pub struct Keeper<F: Filesystem> {
    directory: Arc<Directory<F>>,
    bytes_max: Option<u64>,
    age_max: Option<Duration>,
    compression: Compression,
    /// What is there, by number.
    segments: BTreeMap<u64, Segment>,
    /// Bytes in it.
    bytes: u64,
    /// The highest number that was looked at.
    known: u64,
    kept: Kept,
    /// After a failure.
    not_before: Instant,
    /// The failure after which the log must not be trusted.
    poison: Option<Failure>,
}

/// What a step left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing before a segment is sealed or one is too old.
    Nothing,
    /// More, at once.
    More,
}

impl<F: Filesystem> Keeper<F> {
    /// A keeper of the segments `sealed` in `directory`.
    #[must_use]
    pub fn new(directory: Arc<Directory<F>>, sealed: &[Segment], settings: &Settings) -> Self {
        let known = sealed.last().map_or(0, |segment| segment.sealed.number);
        let mut keeper = Self {
            directory,
            bytes_max: (settings.retention_bytes_max > 0).then_some(settings.retention_bytes_max),
            age_max: (settings.retention_age_ms_max > 0)
                .then(|| Duration::from_millis(settings.retention_age_ms_max)),
            compression: settings.segment_compression,
            segments: BTreeMap::new(),
            bytes: 0,
            known,
            kept: Kept::default(),
            not_before: Instant::ZERO,
            poison: None,
        };
        sealed.iter().for_each(|&segment| keeper.add(segment));
        keeper.kept.found_segments = sealed.len() as u64;
        keeper.kept.found_bytes = keeper.bytes;
        keeper
    }

    /// Keeps house whenever a segment was sealed or something is due, until the writer ends.
    pub(crate) fn run<T>(mut self, shared: &Shared<T>, stop: &Stop, clock: &impl Clock) {
        loop {
            let left = self.keep(shared.sealed.get(), clock, stop);
            *shared.kept.lock() = self.kept;
            if let Some(failure) = self.poison {
                // The writer finds it out by itself at its next rotation.
                return shared.queue.poison(failure);
            }
            if left == Left::Nothing && self.wait(shared, stop, clock).is_err() || stop.is_requested() {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait<T>(&self, shared: &Shared<T>, stop: &Stop, clock: &impl Clock) -> Result<(), Closed> {
        let (now, next) = (clock.now(), self.known + 1);
        if now < self.not_before {
            // What was sealed meanwhile has to wait too. A stop is looked for by the caller.
            stop.wait_timeout(self.not_before.since(now));
            return Ok(());
        }
        match self.time_to_age(clock.wall()) {
            None => shared.sealed.wait(next),
            Some(timeout) => shared.sealed.wait_timeout(next, timeout).map(drop),
        }
    }

    /// One step: removes what is over the bounds, then compresses one segment. All up to number `sealed` are
    /// sealed. A compression is given up when a stop is requested.
    pub fn keep(&mut self, sealed: u64, clock: &impl Clock, stop: &Stop) -> Left {
        if self.poison.is_some() || clock.now() < self.not_before {
            return Left::Nothing;
        }
        let done = self
            .learn(sealed)
            .and_then(|()| self.retain(clock.wall()))
            .and_then(|()| self.compress_one(stop));
        self.kept.failing = done.is_err();
        match done {
            Ok(left) => left,
            Err(failure) => {
                self.kept.failures += 1;
                self.kept.last_failure = Some(failure);
                self.not_before = clock.now().after(LOG_KEEPER_RETRY);
                Left::Nothing
            }
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The failure after which the log must not be trusted.
    #[must_use]
    pub fn poisoned(&self) -> Option<Failure> {
        self.poison
    }

    /// Whether it waits after a failure.
    #[must_use]
    pub fn is_waiting(&self, now: Instant) -> bool {
        now < self.not_before
    }

    fn add(&mut self, segment: Segment) {
        let before = self.segments.insert(segment.sealed.number, segment);
        self.bytes += segment.details.bytes;
        self.bytes -= before.map_or(0, |before| before.details.bytes);
    }

    /// Looks at the segments that were sealed since.
    fn learn(&mut self, sealed: u64) -> Result<(), Failure> {
        while self.known < sealed {
            let next = Sealed {
                number: self.known + 1,
                compressed: false,
            };
            match self.directory.details(&next.file_name()) {
                Ok(details) => self.add(Segment {
                    sealed: next,
                    details,
                }),
                // Somebody took it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::new(Operation::Look, &error)),
            }
            self.known = next.number;
        }
        Ok(())
    }

    /// Removes the oldest segment as long as a bound is passed.
    fn retain(&mut self, wall: WallTime) -> Result<(), Failure> {
        while let Some((&number, &segment)) = self.segments.first_key_value() {
            let too_many = self.bytes_max.is_some_and(|max| self.bytes > max);
            let too_old = self.age_max.is_some_and(|max| age(segment, wall) > max);
            if !too_many && !too_old {
                break;
            }
            // Both, should a crash or a failure have left both; the one that counts last, so that one of them
            // is there until none is.
            for compressed in [true, false] {
                let sealed = Sealed { number, compressed };
                if compressed || !segment.sealed.compressed {
                    self.directory
                        .remove(&sealed.file_name())
                        .map_err(|error| Failure::new(Operation::Remove, &error))?;
                }
            }
            self.segments.remove(&number);
            self.bytes -= segment.details.bytes;
            self.kept.removed_segments += 1;
            self.kept.removed_bytes += segment.details.bytes;
        }
        Ok(())
    }

    /// Time until the oldest segment is too old.
    fn time_to_age(&self, wall: WallTime) -> Option<Duration> {
        let (_, &oldest) = self.segments.first_key_value()?;
        // One more, since a segment is removed when it is older.
        Some(self.age_max?.saturating_sub(age(oldest, wall)) + Duration::from_millis(1))
    }

    /// Compresses the oldest segment that is plain.
    fn compress_one(&mut self, stop: &Stop) -> Result<Left, Failure> {
        if self.compression == Compression::None {
            return Ok(Left::Nothing);
        }
        let mut segments = self.segments.values();
        let Some(&plain) = segments.find(|segment| !segment.sealed.compressed) else {
            return Ok(Left::Nothing);
        };
        let failed = |error: io::Error| Failure::new(Operation::Compress, &error);
        let number = plain.sealed.number;
        let sealed = Sealed {
            number,
            compressed: true,
        };
        let (name, temporary) = (sealed.file_name(), sealed.temporary_name());
        let written = self.write_compressed(plain, &temporary, stop);
        let Some(bytes) = written.map_err(|error| {
            // It may be what the disk has no room for.
            self.directory.remove(&temporary).ok();
            failed(error)
        })?
        else {
            return Ok(Left::Nothing);
        };
        self.directory.remove(&name).map_err(failed)?;
        self.directory.rename(&temporary, &name).map_err(failed)?;
        if let Err(failure) = self.directory.sync() {
            self.poison = Some(failure);
            return Err(failure);
        }
        self.directory.remove(&plain.sealed.file_name()).map_err(failed)?;
        let mut details = plain.details;
        details.bytes = bytes;
        self.add(Segment { sealed, details });
        self.kept.compressed_segments += 1;
        self.kept.compressed_from_bytes += plain.details.bytes;
        self.kept.compressed_to_bytes += bytes;
        Ok(Left::More)
    }

    /// Steps 1 to 3: the compressed segment under its temporary name, durable and compared. Answers with its
    /// length, or with nothing when it was stopped.
    fn write_compressed(&self, plain: Segment, temporary: &str, stop: &Stop) -> io::Result<Option<u64>> {
        self.directory.remove(temporary)?;
        let mut source = Source::new(self.directory.open_read(&plain.sealed.file_name())?)?;
        let target = self.directory.open_append(temporary)?;
        if !compress(&mut source, &target, stop)? {
            self.directory.remove(temporary)?;
            return Ok(None);
        }
        target.set_last_modified(plain.details.modified)?;
        uninterrupted(|| target.sync())?;
        source.at = 0;
        let target = Source::new(target)?;
        let bytes = target.bytes;
        if !same(source, target, stop)? {
            if stop.is_requested() {
                return Ok(None);
            }
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(bytes))
    }
}

fn age(segment: Segment, wall: WallTime) -> Duration {
    let modified = segment.details.modified.epoch_millis();
    let millis = wall.epoch_millis().saturating_sub(modified);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Compresses all of `source`; says whether it came to the end before a stop.
fn compress<F: LogFile>(source: &mut Source<F>, target: &F, stop: &Stop) -> io::Result<bool> {
    let mut encoder = zstd::Encoder::new(Target(target), LOG_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(source.bytes))?;
    let mut block = vec![0; LOG_COMPRESSION_BLOCK_BYTES];
    loop {
        if stop.is_requested() {
            return Ok(false);
        }
        match source.read(&mut block)? {
            0 => break,
            count => encoder.write_all(&block[..count])?,
        }
    }
    encoder.finish()?;
    Ok(true)
}

/// Whether `compressed` holds exactly `plain`; false also when a stop was requested.
fn same<F: LogFile>(mut plain: Source<F>, compressed: Source<F>, stop: &Stop) -> io::Result<bool> {
    let mut decoder = zstd::Decoder::new(compressed)?;
    let mut ours = vec![0; LOG_COMPRESSION_BLOCK_BYTES];
    let mut theirs = vec![0; LOG_COMPRESSION_BLOCK_BYTES];
    while !stop.is_requested() {
        let count = plain.read(&mut ours)?;
        let mut read = 0;
        while read < count {
            match decoder.read(&mut theirs[read..count])? {
                0 => return Ok(false),
                more => read += more,
            }
        }
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(decoder.read(&mut theirs)? == 0);
        }
    }
    Ok(false)
}

/// A file read from a place on.
struct Source<F> {
    file: F,
    at: u64,
    bytes: u64,
}

impl<F: LogFile> Source<F> {
    fn new(file: F) -> io::Result<Self> {
        let bytes = file.size_bytes()?;
        Ok(Self { file, at: 0, bytes })
    }
}

impl<F: LogFile> Read for Source<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        self.file.read_exact_at(self.at, &mut buffer[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A file that is appended to.
struct Target<'a, F>(&'a F);

impl<F: LogFile> Write for Target<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.append(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::directory::{self, Opened};
    use crate::log::segment::{self, ACTIVE_NAME};
    use crate::log::simulated::{Fault, Request, SimulatedDisk, Survival};
    use std::path::Path;

    const PATH: &str = "data";

    fn settings() -> Settings {
        Settings::in_directory(Path::new(PATH))
    }

    fn zstd_settings() -> Settings {
        Settings {
            segment_compression: Compression::Zstd,
            ..settings()
        }
    }

    /// A disk with these segments, the first with number 1, modified at 100, 200, and so on.
    fn disk(segments: &[&str]) -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        for (number, content) in (1..).zip(segments) {
            disk.set_time(WallTime::from_epoch_millis(100 * i64::try_from(number).unwrap()));
            let compressed = false;
            let name = Sealed { number, compressed }.file_name();
            disk.put(&Path::new(PATH).join(name), content.as_bytes());
        }
        disk.put(&Path::new(PATH).join(ACTIVE_NAME), b"active\n");
        disk
    }

    fn open(disk: &SimulatedDisk, settings: &Settings) -> Keeper<SimulatedDisk> {
        let Opened {
            directory, sealed, ..
        } = directory::open(disk, Path::new(PATH)).unwrap();
        Keeper::new(directory, &sealed, settings)
    }

    fn at(millis: u64) -> impl Clock {
        move || Instant::ZERO.after(Duration::from_millis(millis))
    }

    /// Steps until nothing is left.
    fn keep(keeper: &mut Keeper<SimulatedDisk>, millis: u64) {
        let sealed = keeper.known;
        while keeper.keep(sealed, &at(millis), &Stop::new()) == Left::More {}
    }

    /// Every line by the rule for readers.
    fn lines(disk: &SimulatedDisk) -> String {
        let listing = segment::list(disk, Path::new(PATH)).unwrap();
        let mut lines = Vec::new();
        for sealed in listing.sealed {
            let content = disk.content(&Path::new(PATH).join(sealed.file_name()));
            match sealed.compressed {
                true => lines.extend(zstd::decode_all(content.as_slice()).unwrap()),
                false => lines.extend(content),
            }
        }
        lines.extend(disk.content(&Path::new(PATH).join(ACTIVE_NAME)));
        String::from_utf8(lines).unwrap()
    }

    fn names(disk: &SimulatedDisk) -> Vec<String> {
        let names = disk.paths().into_iter();
        names
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_oldest_segments_go_until_the_bytes_fit() {
        for (max, left) in [
            (0, "one\ntwo\nthree\nactive\n"),
            (14, "one\ntwo\nthree\nactive\n"),
            (13, "two\nthree\nactive\n"),
            (10, "two\nthree\nactive\n"),
            (9, "three\nactive\n"),
            (6, "three\nactive\n"),
            (5, "active\n"),
            (1, "active\n"),
        ] {
            let disk = disk(&["one\n", "two\n", "three\n"]);
            let settings = Settings {
                retention_bytes_max: max,
                ..settings()
            };
            let mut keeper = open(&disk, &settings);
            keep(&mut keeper, 0);
            assert_eq!(lines(&disk), left, "{max}");
            let removed = 21 - left.len() as u64;
            assert_eq!(keeper.kept().removed_bytes, removed, "{max}");
        }
    }

    #[test]
    fn a_segment_goes_when_its_last_line_is_older_than_it_may_be() {
        let disk = disk(&["one\n", "two\n"]);
        let settings = Settings {
            retention_age_ms_max: 1000,
            ..settings()
        };
        let mut keeper = open(&disk, &settings);
        keep(&mut keeper, 1100);
        assert_eq!(lines(&disk), "one\ntwo\nactive\n");
        let wall = WallTime::from_epoch_millis;
        assert_eq!(keeper.time_to_age(wall(1100)), Some(Duration::from_millis(1)));
        keep(&mut keeper, 1101);
        assert_eq!(lines(&disk), "two\nactive\n");
        assert_eq!(keeper.time_to_age(wall(1101)), Some(Duration::from_millis(100)));
        keep(&mut keeper, 1_000_000);
        assert_eq!(lines(&disk), "active\n", "the active one has no number");
        assert_eq!(keeper.time_to_age(wall(1_000_000)), None);
    }

    #[test]
    fn what_cannot_be_removed_stays_with_all_that_is_younger_and_is_tried_again() {
        let disk = disk(&["one\n", "two\n"]);
        let settings = Settings {
            retention_bytes_max: 1,
            ..settings()
        };
        let mut keeper = open(&disk, &settings);
        let mut left = 1;
        disk.set_plan(move |request| match request {
            Request::Remove if left > 0 => {
                left -= 1;
                Fault::Error(io::ErrorKind::PermissionDenied)
            }
            _ => Fault::None,
        });
        keep(&mut keeper, 0);
        assert_eq!(lines(&disk), "one\ntwo\nactive\n");
        assert_eq!(
            keeper.kept().last_failure.map(|failure| failure.operation),
            Some(Operation::Remove)
        );
        keep(&mut keeper, 29_999);
        assert_eq!(lines(&disk), "one\ntwo\nactive\n", "not before its time");
        assert!(keeper.kept().failing, "until it is tried again");
        keep(&mut keeper, 30_000);
        assert_eq!(lines(&disk), "active\n");
        assert!(!keeper.kept().failing);
        assert_eq!((keeper.kept().failures, keeper.kept().removed_segments), (1, 2));
    }

    #[test]
    fn a_compressed_segment_has_the_same_lines_and_the_same_time() {
        let long = "a line like many others\n".repeat(50_000);
        let disk = disk(&[&long, "two\n"]);
        let before = lines(&disk);
        let mut keeper = open(&disk, &zstd_settings());
        keep(&mut keeper, 0);
        assert_eq!(
            names(&disk),
            [
                "metrics.000000000001.jsonl.zst",
                "metrics.000000000002.jsonl.zst",
                ACTIVE_NAME
            ]
        );
        assert_eq!(lines(&disk), before);
        let path = Path::new(PATH).join("metrics.000000000001.jsonl.zst");
        let details = keeper
            .directory
            .details("metrics.000000000001.jsonl.zst")
            .unwrap();
        assert_eq!(details.modified, WallTime::from_epoch_millis(100));
        let content = disk.content(&path);
        assert!(content.len() < long.len() / 100);
        let size = zstd::zstd_safe::get_frame_content_size(&content).unwrap();
        assert_eq!(
            size,
            Some(long.len() as u64),
            "readers can tell how much it will be"
        );
        let kept = *keeper.kept();
        assert_eq!((kept.compressed_segments, kept.failures), (2, 0));
        assert_eq!(kept.compressed_from_bytes, long.len() as u64 + 4);
        assert_eq!(keeper.bytes, kept.compressed_to_bytes);
    }

    #[test]
    fn a_crash_at_any_step_of_a_compression_leaves_every_line_readable_once() {
        let text = "one\ntwo\nactive\n";
        let mut crashes = 0;
        for names_kept in [None, Some(0), Some(1), Some(9)] {
            for step in 0.. {
                let disk = disk(&["one\n", "two\n"]);
                let mut keeper = open(&disk, &zstd_settings());
                let mut requests = 0;
                disk.set_plan(move |_| {
                    requests += 1;
                    if requests > step {
                        Fault::Crash(3)
                    } else {
                        Fault::None
                    }
                });
                keep(&mut keeper, 0);
                let ended = disk.is_dead();
                match names_kept {
                    None => disk.restart(),
                    Some(names) => disk.cut_power(Survival {
                        names,
                        ..Survival::default()
                    }),
                }
                disk.set_plan(|_| Fault::None);
                assert_eq!(lines(&disk), text, "step {step}, {names_kept:?}");
                let mut keeper = open(&disk, &zstd_settings());
                assert!(!names(&disk).iter().any(|name| name.ends_with(".tmp")));
                keep(&mut keeper, 0);
                assert_eq!(lines(&disk), text, "step {step}, {names_kept:?}, again");
                let compressed = names(&disk).iter().filter(|name| name.ends_with(".zst")).count();
                assert_eq!((compressed, disk.paths().len()), (2, 3));
                if !ended {
                    break;
                }
                crashes += 1;
            }
        }
        assert!(crashes > 80, "{crashes}");
    }

    #[test]
    fn an_unfinished_one_that_opening_could_not_remove_is_not_added_to() {
        let disk = disk(&["one\n"]);
        disk.put(&Path::new(PATH).join("metrics.000000000001.jsonl.zst.tmp"), b"?");
        disk.set_plan(|request| match request {
            Request::Remove => Fault::Error(io::ErrorKind::PermissionDenied),
            _ => Fault::None,
        });
        let mut keeper = open(&disk, &zstd_settings());
        disk.set_plan(|_| Fault::None);
        keep(&mut keeper, 0);
        assert_eq!(names(&disk), ["metrics.000000000001.jsonl.zst", ACTIVE_NAME]);
        assert_eq!(
            (lines(&disk).as_str(), keeper.kept().failures),
            ("one\nactive\n", 0)
        );
    }

    #[test]
    fn without_room_the_plain_one_stays_and_nothing_else() {
        let disk = disk(&["one\n"]);
        let mut keeper = open(&disk, &zstd_settings());
        disk.set_space(Some(15));
        keep(&mut keeper, 0);
        assert_eq!(names(&disk), ["metrics.000000000001.jsonl", ACTIVE_NAME]);
        let failure = keeper.kept().last_failure.unwrap();
        assert_eq!(
            (failure.operation, failure.kind),
            (Operation::Compress, io::ErrorKind::StorageFull)
        );
        disk.set_space(None);
        keep(&mut keeper, 30_000);
        assert_eq!(names(&disk), ["metrics.000000000001.jsonl.zst", ACTIVE_NAME]);
    }

    #[test]
    fn after_a_failed_flush_of_the_names_nothing_is_touched_any_more() {
        let disk = disk(&["one\n"]);
        let mut keeper = open(&disk, &zstd_settings());
        disk.set_plan(|request| match request {
            Request::SyncDirectory => Fault::Error(io::ErrorKind::Other),
            _ => Fault::None,
        });
        keep(&mut keeper, 0);
        assert_eq!(
            keeper.poisoned().map(|failure| failure.operation),
            Some(Operation::Sync)
        );
        disk.set_plan(|_| Fault::None);
        keep(&mut keeper, 100_000);
        assert_eq!(lines(&disk), "one\nactive\n");
        assert_eq!(disk.paths().len(), 3, "the plain one was not removed");
    }

    #[test]
    fn a_stop_gives_a_compression_up() {
        let disk = disk(&["one\n"]);
        let mut keeper = open(&disk, &zstd_settings());
        let stop = Stop::new();
        stop.request();
        assert_eq!(keeper.keep(1, &at(0), &stop), Left::Nothing);
        assert_eq!(names(&disk), ["metrics.000000000001.jsonl", ACTIVE_NAME]);
        assert_eq!(keeper.kept().failures, 0);
    }

    #[test]
    fn what_differs_is_noticed() {
        let check = |plain: &[u8], content: &[u8], cut: usize| {
            let disk = SimulatedDisk::new();
            let compressed = zstd::encode_all(content, 3).unwrap();
            disk.put(Path::new("plain"), plain);
            disk.put(Path::new("compressed"), &compressed[..compressed.len() - cut]);
            let source = |name: &str| Source::new(disk.open_read(Path::new(name)).unwrap()).unwrap();
            same(source("plain"), source("compressed"), &Stop::new())
        };
        let long = vec![b'x'; 3 * LOG_COMPRESSION_BLOCK_BYTES + 5];
        assert!(check(&long, &long, 0).unwrap());
        assert!(check(b"", b"", 0).unwrap());
        assert!(!check(&long, &long[1..], 0).unwrap());
        assert!(!check(&long[1..], &long, 0).unwrap());
        let mut other = long.clone();
        other[long.len() - 1] = b'y';
        assert!(!check(&long, &other, 0).unwrap());
        assert!(check(&long, &long, 1).is_err());
    }
}
