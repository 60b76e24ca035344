//! The directory of a log: its lock, its names, and how opening finds and leaves it.
//!
//! Promises: while a [`Directory`] lives no other log and no repair works on the same files (the lock covers
//! all segments). Once flushing the names has failed it fails for ever, whoever asks: the system tells of a
//! lost change once, and a second flush would say that all is well. [`open`] leaves an active segment of
//! whole lines, durable under its name, and none of the files that a crash left between two steps. Memory is
//! one block, and some bytes a sealed segment, whatever their length.
//! Leaves to the caller: which names.

use crate::clock::WallTime;
use crate::log::fs::{Details, Filesystem};
use crate::log::record::{Failure, Operation};
use crate::log::recovery::{self, Recovery};
use crate::log::segment::{self, ACTIVE_NAME, Sealed};
use crate::log::uninterrupted;
use crate::log::{LOCK_NAME, OpenError};
use crate::sync::shim::{Arc, Mutex};
use std::io;
use std::path::{Path, PathBuf};

/// A log's directory, locked.
#[derive(Debug)]
pub struct Directory<F: Filesystem> {
    filesystem: F,
    path: PathBuf,
    /// Held until the last user of the directory is gone.
    _lock: F::Lock,
    /// The flush that failed, if one did. Held while flushing, so that nobody flushes after a failure that he
    /// does not know of yet.
    failed_sync: Mutex<Option<Failure>>,
}

/// A sealed segment and what its directory knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub sealed: Sealed,
    /// Its length, and when its last line was written.
    pub details: Details,
}

/// A directory as opening leaves it.
#[derive(Debug)]
pub struct Opened<F: Filesystem> {
    /// The directory.
    pub directory: Arc<Directory<F>>,
    /// The active segment, at its end.
    pub active: F::File,
    /// When the active segment was changed last.
    pub modified: WallTime,
    /// What was found and mended.
    pub recovery: Recovery,
    /// The sealed segments, in order.
    pub sealed: Vec<Segment>,
}

/// Opens the directory `path`, making it when it is missing; finishes what a crash left.
///
/// # Errors
/// [`OpenError`]; nothing was written then but a directory, an empty file or the cut of a torn line.
pub fn open<F: Filesystem>(filesystem: &F, path: &Path) -> Result<Opened<F>, OpenError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { action, path, source }
    };
    let directory = Directory::lock(filesystem, path)?;
    let listing = segment::list(filesystem, path).map_err(failed("list", path))?;
    let sealed = directory.look_at(&listing.sealed)?;
    let active_path = path.join(ACTIVE_NAME);
    let active = filesystem
        .open_append(&active_path)
        .map_err(failed("open", &active_path))?;
    let modified = filesystem
        .details(&active_path)
        .map_err(failed("look at", &active_path))?
        .modified;
    let mut recovery = recovery::recover(&active).map_err(failed("recover", &active_path))?;
    // Also what the last process renamed and did not flush.
    if !crate::seeded!(DIRECTORY_NOT_SYNCED) {
        filesystem
            .sync_directory(path)
            .map_err(failed("flush the directory", path))?;
    }
    for name in &listing.leftovers {
        // By the rule nobody reads them, so the log can do without: the next start tries again.
        recovery.leftover_files += u64::from(directory.remove(name).is_ok());
    }
    Ok(Opened {
        directory: Arc::new(directory),
        active,
        modified,
        recovery,
        sealed,
    })
}

impl<F: Filesystem> Directory<F> {
    fn lock(filesystem: &F, path: &Path) -> Result<Self, OpenError> {
        let failed = |action, path: PathBuf| move |source| OpenError::Io { action, path, source };
        filesystem
            .create_directory(path)
            .map_err(failed("create the directory", path.to_owned()))?;
        let lock_path = path.join(LOCK_NAME);
        let lock = match filesystem.lock(&lock_path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::InUse {
                    directory: path.to_owned(),
                    lock: lock_path,
                });
            }
            Err(error) => return Err(failed("lock", lock_path)(error)),
        };
        Ok(Self {
            filesystem: filesystem.clone(),
            path: path.to_owned(),
            _lock: lock,
            failed_sync: Mutex::new(None),
        })
    }

    /// The details of `sealed`, without those that somebody took away meanwhile.
    fn look_at(&self, sealed: &[Sealed]) -> Result<Vec<Segment>, OpenError> {
        let mut segments = Vec::with_capacity(sealed.len());
        for &sealed in sealed {
            let name = sealed.file_name();
            match self.details(&name) {
                Ok(details) => segments.push(Segment { sealed, details }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(OpenError::Io {
                        action: "look at",
                        path: self.path.join(name),
                        source,
                    });
                }
            }
        }
        Ok(segments)
    }

    /// Makes the names durable.
    ///
    /// # Errors
    /// The first failure there was.
    pub fn sync(&self) -> Result<(), Failure> {
        let mut failed = self.failed_sync.lock();
        if let Some(failure) = *failed {
            return Err(failure);
        }
        uninterrupted(|| self.filesystem.sync_directory(&self.path)).map_err(|error| {
            let failure = Failure::new(Operation::Sync, &error);
            *failed = Some(failure);
            failure
        })
    }

    /// As [`Filesystem::open_append`].
    ///
    /// # Errors
    /// The system's.
    pub fn open_append(&self, name: &str) -> io::Result<F::File> {
        self.filesystem.open_append(&self.path.join(name))
    }

    /// As [`Filesystem::open_read`].
    ///
    /// # Errors
    /// The system's.
    pub fn open_read(&self, name: &str) -> io::Result<F::File> {
        self.filesystem.open_read(&self.path.join(name))
    }

    /// As [`Filesystem::rename`].
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.filesystem.rename(&self.path.join(from), &self.path.join(to))
    }

    /// As [`Filesystem::remove`]; what is not there is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.filesystem.remove(&self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// As [`Filesystem::details`].
    ///
    /// # Errors
    /// The system's.
    pub fn details(&self, name: &str) -> io::Result<Details> {
        self.filesystem.details(&self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::simulated::{Fault, Request, SimulatedDisk};

    const PATH: &str = "data";

    fn names(disk: &SimulatedDisk) -> Vec<String> {
        let names = disk.paths().into_iter();
        names
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn opening_finishes_what_a_crash_left() {
        let disk = SimulatedDisk::new();
        for (name, content) in [
            ("metrics.000000000004.jsonl", "four\n"),
            ("metrics.000000000003.jsonl", "three\n"),
            ("metrics.000000000003.jsonl.zst", "?"),
            ("metrics.000000000004.jsonl.zst.tmp", "?"),
            ("metrics.000000000002.jsonl.zst", "??"),
        ] {
            disk.put(&Path::new(PATH).join(name), content.as_bytes());
        }
        let opened = open(&disk, Path::new(PATH)).unwrap();
        assert_eq!(opened.recovery.leftover_files, 2);
        let sealed = opened.sealed.iter();
        let found: Vec<_> = sealed
            .map(|segment| {
                (
                    segment.sealed.number,
                    segment.sealed.compressed,
                    segment.details.bytes,
                )
            })
            .collect();
        assert_eq!(found, [(2, true, 2), (3, false, 6), (4, false, 5)]);
        assert_eq!(
            names(&disk),
            [
                "metrics.000000000002.jsonl.zst",
                "metrics.000000000003.jsonl",
                "metrics.000000000004.jsonl",
                "metrics.jsonl",
            ],
            "a crash between the two names of a rotation left no active one"
        );
    }

    #[test]
    fn a_leftover_that_cannot_be_removed_does_not_keep_the_log_closed() {
        let disk = SimulatedDisk::with_plan(|request| match request {
            Request::Remove => Fault::Error(io::ErrorKind::PermissionDenied),
            _ => Fault::None,
        });
        disk.put(&Path::new(PATH).join("metrics.000000000001.jsonl.zst.tmp"), b"");
        let opened = open(&disk, Path::new(PATH)).unwrap();
        assert_eq!((opened.recovery.leftover_files, names(&disk).len()), (0, 2));
    }

    #[test]
    fn once_flushing_the_names_failed_it_fails_for_ever() {
        let disk = SimulatedDisk::new();
        let directory = open(&disk, Path::new(PATH)).unwrap().directory;
        directory.sync().unwrap();
        disk.set_plan(|_| Fault::Error(io::ErrorKind::Other));
        let failure = directory.sync().unwrap_err();
        assert_eq!(failure.operation, Operation::Sync);
        disk.set_plan(|_| Fault::None);
        assert_eq!(directory.sync(), Err(failure));
    }
}
