//! The few things the log asks of a filesystem, as a trait, and the operating system's answer to it.
//!
//! Promises: nothing of the log reaches a file but through [`Filesystem`] and [`LogFile`], so the log that
//! runs on [`SystemDisk`] is the one that is tested on [`simulated`](super::simulated).
//! Leaves to the caller: short writes, and the decision what an error means.

use crate::clock::WallTime;
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::{File, FileTimes, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// What a directory knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// Its length.
    pub bytes: u64,
    /// When its content changed last, or what [`LogFile::set_last_modified`] said.
    pub modified: WallTime,
}

/// A place for files. A clone is the same place.
pub trait Filesystem: Clone + Debug + Send + Sync + 'static {
    /// A file open for appending.
    type File: LogFile + Debug + Send + Sync + 'static;
    /// A lock held; dropping it, or the end of the process however it comes, releases it.
    type Lock: Debug + Send + Sync + 'static;

    /// Creates `path` and what is missing above it; nothing happens when it is a directory already.
    ///
    /// # Errors
    /// The system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Takes the advisory, exclusive lock on the file `path`, creating it when it is missing.
    ///
    /// # Errors
    /// `WouldBlock` when another has it; otherwise the system's.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;

    /// Opens `path` for reading and appending, creating it when it is missing.
    ///
    /// # Errors
    /// The system's.
    fn open_append(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens `path`, which has to be there, for reading only.
    ///
    /// # Errors
    /// `NotFound` when it is not there; otherwise the system's.
    fn open_read(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives the file `from` the name `to`, which no file may have. It is durable after
    /// [`Filesystem::sync_directory`]; a power cut before finds it under either name.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file `to`; otherwise the system's. Nothing was done then.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file `path`. It is durable after [`Filesystem::sync_directory`].
    ///
    /// # Errors
    /// The system's; the file is there as it was.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Calls `each` with the name of everything in `directory`, in no order; a name that is not UTF-8 is
    /// left out. What changes meanwhile may be seen or not.
    ///
    /// # Errors
    /// The system's; some names were seen then.
    fn list(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()>;

    /// Length and time of `path`.
    ///
    /// # Errors
    /// `NotFound` when it is not there; otherwise the system's.
    fn details(&self, path: &Path) -> io::Result<Details>;
}

/// An append-only file that can be cut. One thread at a time appends and cuts; meanwhile another may flush.
pub trait LogFile {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes some of `bytes`, from the first on, at the end of the file; says how many.
    ///
    /// # Errors
    /// The system's; nothing of `bytes` was written then.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to `len` bytes; it is not shorter.
    ///
    /// # Errors
    /// The system's; then the length is unknown.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes all that was written durable, and the length.
    ///
    /// # Errors
    /// The system's; then nobody knows what is durable, and asking again does not help: the system may
    /// have dropped what it could not write.
    fn sync(&self) -> io::Result<()>;

    /// Says that nobody is likely to read the first `bytes` soon. A hint: the system may keep what it holds
    /// of them in memory, or not, and reads give the same bytes.
    fn forget(&self, bytes: u64);

    /// Says when its content changed last.
    ///
    /// # Errors
    /// The system's.
    fn set_last_modified(&self, modified: WallTime) -> io::Result<()>;
}

/// The operating system's filesystem.
#[derive(Clone, Copy, Debug)]
pub struct SystemDisk;

/// The advisory lock of the operating system.
#[derive(Debug)]
pub struct SystemLock {
    _locked: File,
}

impl Filesystem for SystemDisk {
    type File = File;
    type Lock = SystemLock;

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<SystemLock> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(SystemLock { _locked: file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn open_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A filesystem that cannot do both in one step. Nobody else makes files here: we hold the lock.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to.try_exists()? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                std::fs::rename(from, to)
            }
            result => Ok(result?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            if let Some(name) = entry?.file_name().to_str() {
                each(name);
            }
        }
        Ok(())
    }

    fn details(&self, path: &Path) -> io::Result<Details> {
        let metadata = std::fs::metadata(path)?;
        let millis = metadata.mtime().saturating_mul(1000) + metadata.mtime_nsec() / 1_000_000;
        Ok(Details {
            bytes: metadata.len(),
            modified: WallTime::from_epoch_millis(millis),
        })
    }
}

impl LogFile for File {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget(&self, bytes: u64) {
        // No length is "to the end".
        if let Some(length) = NonZeroU64::new(bytes) {
            fadvise(self, 0, Some(length), Advice::DontNeed).ok();
        }
    }

    fn set_last_modified(&self, modified: WallTime) -> io::Result<()> {
        let millis = u64::try_from(modified.epoch_millis()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_disk_does_what_the_trait_says() {
        let root = std::env::temp_dir().join(format!("metricstream-fs-{}", std::process::id()));
        let disk = SystemDisk;
        disk.create_directory(&root).unwrap();
        let [a, b] = ["a", "b"].map(|name| root.join(name));
        let file = disk.open_append(&a).unwrap();
        file.append(b"one").unwrap();
        file.sync().unwrap();
        file.forget(3);
        file.forget(0);
        let mut bytes = [0; 3];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"one");
        disk.open_append(&b).unwrap();
        assert_eq!(
            disk.rename(&a, &b).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(disk.details(&a).unwrap().bytes, 3, "nothing was done");
        disk.remove(&b).unwrap();
        disk.rename(&a, &b).unwrap();
        disk.sync_directory(&root).unwrap();
        assert_eq!(disk.open_read(&a).unwrap_err().kind(), io::ErrorKind::NotFound);
        let modified = WallTime::from_epoch_millis(1_000_000_000_123);
        disk.open_append(&b).unwrap().set_last_modified(modified).unwrap();
        assert_eq!(disk.details(&b).unwrap(), Details { bytes: 3, modified });
        let mut names = Vec::new();
        disk.list(&root, &mut |name| names.push(name.to_owned())).unwrap();
        assert_eq!(names, ["b"]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
