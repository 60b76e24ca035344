//! How long the disk takes to make lines durable: a filesystem that measures another's flushes.
//!
//! Promises: [`TimedDisk`] does what the filesystem below it does, and [`SyncTimes`] has the time of each
//! flush of a file; a flush that fails counts as well. Opening, renaming and the flush of a directory are not
//! measured. Leaves to the caller: what is a long time.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock::{Instant, SystemClock, WallTime};
use crate::log::fs::{Details, Filesystem, LogFile};
use crate::sync::shim::{Arc, Mutex};

use super::latency::{Latency, Quantiles, Slots};

/// The times of the flushes so far. Shared by reference.
#[derive(Debug, Default)]
pub struct SyncTimes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    latency: Latency,
    slots: Slots,
}

/// The times of flushes in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncSummary {
    /// Their sum since the start.
    pub sum: Duration,
    /// Since the start.
    pub since_start: Quantiles,
    /// Over the recent window.
    pub recent: Quantiles,
}

impl State {
    fn advance(&mut self, now: Instant) {
        let latency = &mut self.latency;
        self.slots.advance(now, |slot| latency.begin(slot));
    }
}

impl SyncTimes {
    fn record(&self, now: Instant, took: Duration) {
        let mut state = self.0.lock();
        state.advance(now);
        let slot = state.slots.current();
        state.latency.record(took, slot);
    }

    /// The figures at `now`.
    #[must_use]
    pub fn summary(&self, now: Instant) -> SyncSummary {
        let mut state = self.0.lock();
        state.advance(now);
        SyncSummary {
            sum: state.latency.sum(),
            since_start: state.latency.since_start(),
            recent: state.latency.recent(),
        }
    }
}

/// A filesystem whose flushes are measured.
#[derive(Clone, Debug)]
pub struct TimedDisk<F> {
    below: F,
    clock: SystemClock,
    times: Arc<SyncTimes>,
}

/// A file whose flushes are measured.
#[derive(Debug)]
pub struct TimedFile<F> {
    below: F,
    clock: SystemClock,
    times: Arc<SyncTimes>,
}

impl<F: Filesystem> TimedDisk<F> {
    /// Measures the flushes of `below` by `clock` into `times`.
    #[must_use]
    pub fn new(below: F, clock: SystemClock, times: Arc<SyncTimes>) -> Self {
        Self { below, clock, times }
    }

    fn timed(&self, file: F::File) -> TimedFile<F::File> {
        TimedFile {
            below: file,
            clock: self.clock,
            times: Arc::clone(&self.times),
        }
    }
}

impl<F: Filesystem> Filesystem for TimedDisk<F> {
    type File = TimedFile<F::File>;
    type Lock = F::Lock;

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.below.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.below.sync_directory(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Self::Lock> {
        self.below.lock(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Self::File> {
        self.below.open_append(path).map(|file| self.timed(file))
    }

    fn open_read(&self, path: &Path) -> io::Result<Self::File> {
        self.below.open_read(path).map(|file| self.timed(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below.remove(path)
    }

    fn list(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.below.list(directory, each)
    }

    fn details(&self, path: &Path) -> io::Result<Details> {
        self.below.details(path)
    }
}

impl<F: LogFile> LogFile for TimedFile<F> {
    fn size_bytes(&self) -> io::Result<u64> {
        self.below.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.below.read_exact_at(offset, buffer)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.below.append(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.below.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        let began = self.clock.now();
        let result = self.below.sync();
        let ended = self.clock.now();
        self.times.record(ended, ended.since(began));
        result
    }

    fn forget(&self, bytes: u64) {
        self.below.forget(bytes);
    }

    fn set_last_modified(&self, modified: WallTime) -> io::Result<()> {
        self.below.set_last_modified(modified)
    }
}

#[cfg(test)]
#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
mod tests {
    use super::*;
    use crate::log::simulated::SimulatedDisk;

    #[test]
    fn each_flush_is_measured_and_the_bytes_pass() {
        let (disk, clock) = (SimulatedDisk::new(), SystemClock::new());
        let times = Arc::new(SyncTimes::default());
        let timed = TimedDisk::new(disk.clone(), clock, Arc::clone(&times));
        let (directory, path) = (Path::new("data"), Path::new("data/file"));
        timed.create_directory(directory).unwrap();
        let file = timed.open_append(path).unwrap();
        for _ in 0..3 {
            assert_eq!(file.append(b"line\n").unwrap(), 5);
            file.sync().unwrap();
        }
        assert_eq!(disk.content(path), b"line\nline\nline\n");
        assert_eq!(timed.details(path).unwrap().bytes, 15);
        let summary = times.summary(clock.now());
        assert_eq!((summary.since_start.count, summary.recent.count), (3, 3));
        let later = clock.now().after(Duration::from_secs(60));
        assert_eq!(times.summary(later).recent.count, 0);
    }
}
