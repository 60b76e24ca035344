//! A filesystem in memory that fails as disks do, for tests, fuzzing and the simulated server.
//!
//! Promises: what a process sees (volatile) and what is on the disk (durable) are kept apart, and only a
//! successful sync, or the luck of [`SimulatedDisk::cut_power`], carries one to the other. Every operation
//! asks the fault plan first, so a write can be short, fail with any error, find no space, or be the last
//! thing the process did; a sync can fail, and then what was unsynced is lost to the disk for ever, whatever
//! later syncs of that process say (as Linux drops pages it could not write; what it reports to the next
//! process is simulated at its best). The same holds of names: a file made, renamed or removed is so on the
//! disk after the directory was flushed, and a power cut before leaves the first few of these changes, in
//! their order, as many as it is told (what a journal does). Everything is a function of the plan: no clock,
//! no randomness. Works under loom and shuttle.
//! Leaves to the caller: the plan, and to open a log again after a crash. Directories are only prefixes of
//! paths: there is one set of names, and flushing any directory flushes all of it.

use crate::clock::WallTime;
use crate::log::fs::{Details, Filesystem, LogFile};
use crate::sync::shim::{Arc, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What the log asks of the disk, as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Create a directory, take a lock, open or measure a file, say when it was modified.
    Open,
    /// Read.
    Read,
    /// Append so many bytes.
    Append(usize),
    /// Cut a file.
    Truncate,
    /// Make a file durable.
    Sync,
    /// Give a file another name.
    Rename,
    /// Remove a file.
    Remove,
    /// List a directory.
    List,
    /// Make the names of a directory durable.
    SyncDirectory,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it succeeds.
    None,
    /// An append writes so many bytes at most (and at least one); anything else succeeds.
    Short(usize),
    /// It fails, with nothing done.
    Error(io::ErrorKind),
    /// The process ends during it: an append may have written so many bytes, nothing else did anything.
    /// From here on every handle of this process fails.
    Crash(usize),
}

/// A disk, shared by all clones of it.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    disk: Arc<Mutex<Disk>>,
}

/// An open file. It belongs to the process that opened it and dies with it.
#[derive(Debug)]
pub struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    file: FileId,
    process: u64,
}

/// A lock held; dropping it releases it.
#[derive(Debug)]
pub struct SimulatedLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    process: u64,
}

/// Which file, whatever its name.
type FileId = u64;

struct Disk {
    files: BTreeMap<FileId, Image>,
    names: Names,
    files_made: FileId,
    now: WallTime,
    locked: BTreeSet<PathBuf>,
    /// Removed files, with the name they had.
    removed: Vec<(PathBuf, FileId)>,
    /// Counts restarts: handles of an earlier process fail.
    process: u64,
    /// The process ended by a fault and was not restarted yet.
    dead: bool,
    space_bytes: Option<usize>,
    requests: u64,
    plan: Box<dyn FnMut(Request) -> Fault + Send>,
}

#[derive(Default)]
struct Names {
    /// What a process sees.
    volatile: BTreeMap<PathBuf, FileId>,
    /// What a power cut leaves for certain.
    durable: BTreeMap<PathBuf, FileId>,
    /// What was done since; any number of the first of these may be on the disk too.
    unsynced: Vec<NameChange>,
    /// A flush failed: no change before it or after reaches the disk any more.
    lost: bool,
}

#[derive(Clone)]
enum NameChange {
    Make(PathBuf, FileId),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Default)]
struct Image {
    modified: WallTime,
    /// What readers see.
    volatile: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// What was done since; any number of the first of these may be on the disk too.
    unsynced: Vec<Change>,
    /// A sync failed: nothing done before it or after reaches the disk any more.
    lost: bool,
}

enum Change {
    Append(Vec<u8>),
    Truncate(usize),
}

/// How much of what was not synced a power cut leaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survival {
    /// So many of the unsynced changes, in their order, had reached the disk.
    pub changes: usize,
    /// Of the next one, if it is an append, so many bytes.
    pub bytes: usize,
    /// After them the file is so many zeros longer: it had grown, and the data had not followed.
    pub zeros: usize,
    /// So many of the changes of names that were not flushed, in their order, had reached the disk.
    pub names: usize,
}

impl SimulatedDisk {
    /// An empty disk on which nothing fails.
    #[must_use]
    pub fn new() -> Self {
        Self::with_plan(|_| Fault::None)
    }

    /// An empty disk that asks `plan` before each request.
    pub fn with_plan(plan: impl FnMut(Request) -> Fault + Send + 'static) -> Self {
        Self {
            disk: Arc::new(Mutex::new(Disk {
                files: BTreeMap::new(),
                names: Names::default(),
                files_made: 0,
                now: WallTime::default(),
                locked: BTreeSet::new(),
                removed: Vec::new(),
                process: 0,
                dead: false,
                space_bytes: None,
                requests: 0,
                plan: Box::new(plan),
            })),
        }
    }

    /// Asks `plan` from now on.
    pub fn set_plan(&self, plan: impl FnMut(Request) -> Fault + Send + 'static) {
        self.disk.lock().plan = Box::new(plan);
    }

    /// Bytes that all files together may have; `None` is no bound.
    pub fn set_space(&self, bytes: Option<usize>) {
        self.disk.lock().space_bytes = bytes;
    }

    /// What is modified from now on is modified at `now`.
    pub fn set_time(&self, now: WallTime) {
        self.disk.lock().now = now;
    }

    /// The paths of all files, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk.lock().names.volatile.keys().cloned().collect()
    }

    /// Files that were removed and have no name now, with the last one they had and what is in them.
    #[must_use]
    pub fn removed(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.disk.lock();
        let named: BTreeSet<_> = disk.names.volatile.values().collect();
        let gone = disk.removed.iter().filter(|(_, file)| !named.contains(file));
        gone.map(|(path, file)| (path.clone(), disk.files[file].volatile.clone()))
            .collect()
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.disk.lock().requests
    }

    /// Whether a fault ended the process.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.disk.lock().dead
    }

    /// What a reader sees of `path`; empty when there is no such file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let mut disk = self.disk.lock();
        disk.image(path)
            .map(|image| image.volatile.clone())
            .unwrap_or_default()
    }

    /// Puts a file there, durable at once.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut disk = self.disk.lock();
        let image = Image {
            modified: disk.now,
            volatile: content.to_vec(),
            durable: content.to_vec(),
            ..Image::default()
        };
        let file = disk.make(image);
        disk.names.volatile.insert(path.to_owned(), file);
        disk.names.durable.insert(path.to_owned(), file);
    }

    /// The process ends now (`kill -9`): its handles fail from here on.
    pub fn kill(&self) {
        self.disk.lock().dead = true;
    }

    /// The process ended (`kill -9`) and a new one begins: handles and locks of the old one are gone, what
    /// it wrote is there.
    pub fn restart(&self) {
        let mut disk = self.disk.lock();
        disk.process += 1;
        disk.dead = false;
        disk.locked.clear();
        disk.names.lost = false;
        for image in disk.files.values_mut() {
            image.lost = false;
        }
    }

    /// The power failed and the machine is up again: of each file, and of the names, there is what
    /// `survival` says, and a new process begins.
    pub fn cut_power(&self, survival: Survival) {
        let mut disk = self.disk.lock();
        disk.names.cut_power(survival);
        for image in disk.files.values_mut() {
            image.cut_power(survival);
        }
        drop(disk);
        self.restart();
    }
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.volatile);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        if !self.lost {
            self.durable.clone_from(&self.volatile);
            self.unsynced.clear();
        }
    }

    fn cut_power(&mut self, survival: Survival) {
        let kept = if self.lost { 0 } else { survival.names };
        let mut names = std::mem::take(&mut self.durable);
        for change in self.unsynced.drain(..).take(kept) {
            change.apply(&mut names);
        }
        *self = Self {
            durable: names.clone(),
            volatile: names,
            ..Self::default()
        };
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Make(path, file) => drop(names.insert(path, file)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
        }
    }
}

impl Image {
    fn append(&mut self, bytes: &[u8]) {
        self.volatile.extend_from_slice(bytes);
        self.unsynced.push(Change::Append(bytes.to_vec()));
    }

    fn truncate(&mut self, len: usize) {
        assert!(len <= self.volatile.len(), "the log only cuts");
        self.volatile.truncate(len);
        self.unsynced.push(Change::Truncate(len));
    }

    fn sync(&mut self) {
        if !self.lost {
            self.durable.clone_from(&self.volatile);
            self.unsynced.clear();
        }
    }

    fn cut_power(&mut self, survival: Survival) {
        let mut image = std::mem::take(&mut self.durable);
        let unsynced = std::mem::take(&mut self.unsynced);
        for (index, change) in unsynced
            .into_iter()
            .enumerate()
            .take(survival.changes.saturating_add(1))
        {
            match change {
                _ if self.lost => break,
                Change::Append(bytes) if index == survival.changes => {
                    image.extend_from_slice(&bytes[..survival.bytes.min(bytes.len())]);
                    image.resize(image.len() + survival.zeros, 0);
                }
                Change::Append(bytes) => image.extend_from_slice(&bytes),
                Change::Truncate(_) if index == survival.changes => {}
                Change::Truncate(len) => image.truncate(len),
            }
        }
        *self = Self {
            modified: self.modified,
            durable: image.clone(),
            volatile: image,
            ..Self::default()
        };
    }
}

impl Disk {
    fn make(&mut self, image: Image) -> FileId {
        self.files_made += 1;
        self.files.insert(self.files_made, image);
        self.files_made
    }

    fn image(&mut self, path: &Path) -> io::Result<&mut Image> {
        let file = *self.names.volatile.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.file(file)
    }

    fn file(&mut self, file: FileId) -> io::Result<&mut Image> {
        Ok(self.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?)
    }

    /// Asks the plan; the fault is none or short when the request goes on.
    fn request(&mut self, process: u64, request: Request) -> io::Result<Fault> {
        if self.dead || process != self.process {
            return Err(io::Error::other("the process has ended"));
        }
        self.requests += 1;
        match (self.plan)(request) {
            Fault::Error(kind) => Err(kind.into()),
            Fault::Crash(_) if !matches!(request, Request::Append(_)) => Err(self.die()),
            fault => Ok(fault),
        }
    }

    fn die(&mut self) -> io::Error {
        self.dead = true;
        io::Error::other("the process ended here")
    }

    fn append(&mut self, process: u64, file: FileId, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.request(process, Request::Append(bytes.len()))?;
        let named = self.names.volatile.values();
        let used: usize = named.map(|file| self.files[file].volatile.len()).sum();
        let space = self
            .space_bytes
            .map_or(usize::MAX, |space| space.saturating_sub(used));
        let wanted = match fault {
            Fault::Short(count) => bytes.len().min(count.max(1)),
            Fault::Crash(count) => bytes.len().min(count),
            Fault::None | Fault::Error(_) => bytes.len(),
        };
        let count = wanted.min(space);
        let now = self.now;
        if count > 0 {
            let image = self.file(file)?;
            image.append(&bytes[..count]);
            image.modified = now;
        }
        match fault {
            Fault::Crash(_) => Err(self.die()),
            _ if count == 0 && !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(count),
        }
    }

    fn sync(&mut self, process: u64, file: FileId) -> io::Result<()> {
        let alive = !self.dead && process == self.process;
        match self.request(process, Request::Sync) {
            Ok(_) => {
                self.file(file)?.sync();
                Ok(())
            }
            Err(error) => {
                let lost = alive && self.loses(&error);
                self.file(file)?.lost |= lost;
                Err(error)
            }
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let alive = !self.dead;
        match self.request(self.process, Request::SyncDirectory) {
            Ok(_) => {
                self.names.sync();
                Ok(())
            }
            Err(error) => {
                self.names.lost |= alive && self.loses(&error);
                Err(error)
            }
        }
    }

    /// Whether a flush that failed with `error` lost what was to be flushed: a signal interrupts before
    /// anything was tried, and a crash is a process that never learnt how it went.
    fn loses(&self, error: &io::Error) -> bool {
        !self.dead && error.kind() != io::ErrorKind::Interrupted
    }
}

impl Filesystem for SimulatedDisk {
    type File = SimulatedFile;
    type Lock = SimulatedLock;

    fn create_directory(&self, _path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Open).map(drop)
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        self.disk.lock().sync_names()
    }

    fn lock(&self, path: &Path) -> io::Result<SimulatedLock> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Open)?;
        if !disk.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(SimulatedLock {
            disk: Arc::clone(&self.disk),
            path: path.to_owned(),
            process,
        })
    }

    fn open_append(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Open)?;
        let there = disk.names.volatile.get(path).copied();
        let file = there.unwrap_or_else(|| {
            let modified = disk.now;
            let file = disk.make(Image {
                modified,
                ..Image::default()
            });
            disk.names.change(NameChange::Make(path.to_owned(), file));
            file
        });
        Ok(SimulatedFile {
            disk: Arc::clone(&self.disk),
            file,
            process,
        })
    }

    fn open_read(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Open)?;
        let file = *disk.names.volatile.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimulatedFile {
            disk: Arc::clone(&self.disk),
            file,
            process,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Rename)?;
        disk.image(from)?;
        if disk.names.volatile.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.names
            .change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Remove)?;
        let file = *disk.names.volatile.get(path).ok_or(io::ErrorKind::NotFound)?;
        disk.removed.push((path.to_owned(), file));
        disk.names.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::List)?;
        let inside = disk
            .names
            .volatile
            .keys()
            .filter(|path| path.parent() == Some(directory));
        let names: Vec<_> = inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        drop(disk);
        names.iter().for_each(|name| each(name));
        Ok(())
    }

    fn details(&self, path: &Path) -> io::Result<Details> {
        let mut disk = self.disk.lock();
        let process = disk.process;
        disk.request(process, Request::Open)?;
        let image = disk.image(path)?;
        Ok(Details {
            bytes: image.volatile.len() as u64,
            modified: image.modified,
        })
    }
}

impl LogFile for SimulatedFile {
    fn size_bytes(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.request(self.process, Request::Open)?;
        let image = disk.file(self.file)?;
        Ok(image.volatile.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.request(self.process, Request::Read)?;
        let image = disk.file(self.file)?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = image
            .volatile
            .get(offset..)
            .and_then(|rest| rest.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.lock().append(self.process, self.file, bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.request(self.process, Request::Truncate)?;
        let now = disk.now;
        let image = disk.file(self.file)?;
        image.truncate(usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?);
        image.modified = now;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().sync(self.process, self.file)
    }

    fn forget(&self, _bytes: u64) {}

    fn set_last_modified(&self, modified: WallTime) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.request(self.process, Request::Open)?;
        disk.file(self.file)?.modified = modified;
        Ok(())
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.process == self.process {
            disk.locked.remove(&self.path);
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self
            .names
            .volatile
            .iter()
            .map(|(path, file)| (path, self.files[file].volatile.len()));
        f.debug_map().entries(files).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "log";

    fn open(disk: &SimulatedDisk) -> SimulatedFile {
        disk.open_append(Path::new(PATH)).unwrap()
    }

    fn content(disk: &SimulatedDisk) -> Vec<u8> {
        disk.content(Path::new(PATH))
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_as_much_more_as_it_is_told() {
        for (changes, bytes, zeros, left) in [
            (0, 0, 0, &b"ab"[..]),
            (0, 1, 2, b"abc\0\0"),
            (1, 1, 0, b"abcd"),
            (2, 1, 0, b"abce"),
            (9, 0, 0, b"abcef"),
        ] {
            let disk = SimulatedDisk::new();
            let file = open(&disk);
            file.append(b"ab").unwrap();
            file.sync().unwrap();
            file.append(b"cd").unwrap();
            file.truncate(3).unwrap();
            file.append(b"ef").unwrap();
            assert_eq!(content(&disk), b"abcef");
            disk.sync_directory(Path::new("")).unwrap();
            disk.cut_power(Survival {
                changes,
                bytes,
                zeros,
                names: 0,
            });
            assert_eq!(content(&disk), left);
            assert!(file.append(b"x").is_err(), "the handle died with the machine");
        }
    }

    #[test]
    fn after_a_failed_sync_a_later_one_saves_nothing() {
        let disk = SimulatedDisk::new();
        let file = open(&disk);
        file.append(b"ab").unwrap();
        let mut first = true;
        disk.set_plan(move |_| match std::mem::take(&mut first) {
            true => Fault::Error(io::ErrorKind::Other),
            false => Fault::None,
        });
        file.sync().unwrap_err();
        file.append(b"cd").unwrap();
        file.sync().unwrap();
        assert_eq!(content(&disk), b"abcd");
        disk.cut_power(Survival {
            changes: 9,
            bytes: 9,
            zeros: 0,
            names: 9,
        });
        assert_eq!(content(&disk), b"");
        assert_eq!(disk.paths(), [Path::new(PATH)], "the name is another matter");
    }

    #[test]
    fn a_power_cut_keeps_the_names_that_were_flushed_and_as_many_more_as_it_is_told() {
        for (names, left) in [(0, &["a"][..]), (1, &["b"]), (2, &["b", "c"]), (9, &["b"])] {
            let disk = SimulatedDisk::new();
            let [a, b, c] = ["a", "b", "c"].map(Path::new);
            let file = disk.open_append(a).unwrap();
            disk.sync_directory(Path::new("")).unwrap();
            file.append(b"x").unwrap();
            file.sync().unwrap();
            disk.rename(a, b).unwrap();
            file.append(b"y").unwrap();
            disk.open_append(c).unwrap();
            assert_eq!(
                disk.rename(b, c).unwrap_err().kind(),
                io::ErrorKind::AlreadyExists
            );
            assert_eq!(disk.content(b), b"xy", "a handle keeps to its file");
            disk.remove(c).unwrap();
            assert_eq!(disk.open_read(c).unwrap_err().kind(), io::ErrorKind::NotFound);
            disk.cut_power(Survival {
                names,
                ..Survival::default()
            });
            assert_eq!(disk.paths(), left.iter().map(Path::new).collect::<Vec<_>>());
            assert_eq!(disk.content(&disk.paths()[0]), b"x");
        }
    }

    #[test]
    fn after_a_failed_flush_of_the_directory_a_later_one_saves_nothing() {
        let disk = SimulatedDisk::with_plan(|request| match request {
            Request::SyncDirectory => Fault::Error(io::ErrorKind::Other),
            _ => Fault::None,
        });
        open(&disk);
        disk.sync_directory(Path::new("")).unwrap_err();
        disk.set_plan(|_| Fault::None);
        disk.sync_directory(Path::new("")).unwrap();
        disk.cut_power(Survival {
            names: 9,
            ..Survival::default()
        });
        assert!(disk.paths().is_empty());
    }

    #[test]
    fn a_file_knows_when_it_was_modified() {
        let disk = SimulatedDisk::new();
        let at = WallTime::from_epoch_millis;
        disk.set_time(at(5));
        let file = open(&disk);
        disk.set_time(at(7));
        file.append(b"ab").unwrap();
        let details = disk.details(Path::new(PATH)).unwrap();
        assert_eq!((details.bytes, details.modified), (2, at(7)));
        file.set_last_modified(at(1)).unwrap();
        assert_eq!(disk.details(Path::new(PATH)).unwrap().modified, at(1));
    }

    #[test]
    fn a_crash_leaves_what_it_says_and_ends_the_process() {
        let disk = SimulatedDisk::with_plan(|request| match request {
            Request::Append(3) => Fault::Crash(2),
            Request::Append(_) => Fault::Short(1),
            _ => Fault::None,
        });
        let lock = disk.lock(Path::new("lock")).unwrap();
        assert_eq!(
            disk.lock(Path::new("lock")).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        let file = open(&disk);
        assert_eq!(file.append(b"ab").unwrap(), 1);
        file.append(b"xyz").unwrap_err();
        assert!(disk.is_dead());
        file.sync().unwrap_err();
        disk.restart();
        assert_eq!(content(&disk), b"axy");
        disk.lock(Path::new("lock")).unwrap();
        drop(lock);
    }

    #[test]
    fn space_ends_where_it_is_told_to() {
        let disk = SimulatedDisk::new();
        disk.set_space(Some(3));
        let file = open(&disk);
        assert_eq!(file.append(b"abcd").unwrap(), 3);
        assert_eq!(file.append(b"d").unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.truncate(1).unwrap();
        assert_eq!(file.append(b"d").unwrap(), 1);
    }
}
