//! The few things the log asks of a filesystem, as a trait, and the operating system's answer to it.
//!
//! Promises: nothing of the log reaches a file but through [`Filesystem`] and [`LogFile`], so the log that
//! runs on [`SystemDisk`] is the one that is tested on [`simulated`](super::simulated).
//! Leaves to the caller: short writes, and the decision what an error means.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A place for files.
pub trait Filesystem {
    /// A file open for appending.
    type File: LogFile + Send + 'static;
    /// A lock held; dropping it, or the end of the process however it comes, releases it.
    type Lock: Send + 'static;

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
}

/// An append-only file that can be cut.
pub trait LogFile {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size_bytes(&mut self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes some of `bytes`, from the first on, at the end of the file; says how many.
    ///
    /// # Errors
    /// The system's; nothing of `bytes` was written then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to `len` bytes; it is not shorter.
    ///
    /// # Errors
    /// The system's; then the length is unknown.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes all that was written durable, and the length.
    ///
    /// # Errors
    /// The system's; then nobody knows what is durable, and asking again does not help: the system may
    /// have dropped what it could not write.
    fn sync(&mut self) -> io::Result<()>;
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
}

impl LogFile for File {
    fn size_bytes(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.read_exact(buffer)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
