//! What the operating system says of this process: memory, descriptors, processor time.
//!
//! Promises: what cannot be read is zero; all of it is in the simulation, where a seed is one execution.
//! Leaves to the caller: to ask once a second and not for each request, since each answer takes system calls.

use std::fs;
use std::os::linux::fs::MetadataExt as _;

use rustix::process::{Resource, getrlimit};

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Memory in RAM, in bytes.
    pub resident_memory_bytes: u64,
    /// File descriptors in use.
    pub open_files: u64,
    /// File descriptors that may be in use.
    pub open_files_max: u64,
    /// Processor time of all threads, in milliseconds.
    pub cpu_ms: u64,
}

impl Process {
    /// Asks.
    #[must_use]
    pub fn read() -> Self {
        if cfg!(metricstream_shuttle) {
            // A page would be longer once the process has used 100 ms: a seed would not be one execution.
            return Self::default();
        }
        Self {
            resident_memory_bytes: resident_memory_bytes().unwrap_or_default(),
            open_files: open_files().unwrap_or_default(),
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            cpu_ms: cpu_ms().unwrap_or_default(),
        }
    }
}

/// proc(5), `/proc/pid/statm`: the second number is the resident set in pages.
fn resident_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// From Linux 6.2 on the size of the directory is the number of descriptors; before, it is zero and they have
/// to be counted.
fn open_files() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.st_size() {
        // Less the one that reads the directory.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

/// proc(5), `/proc/pid/stat`: fields 14 and 15 are user and system time in ticks. The second field, the name,
/// is in parentheses and may hold spaces.
fn cpu_ms() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let before = Process::read();
        assert!(before.resident_memory_bytes > 1 << 20, "{before:?}");
        assert!(
            before.open_files >= 3 && before.open_files_max >= before.open_files,
            "{before:?}"
        );
        let files: Vec<_> = (0..100)
            .map(|_| fs::File::open("/proc/self/stat").unwrap())
            .collect();
        assert!(Process::read().open_files >= before.open_files + 50);
        drop(files);
    }
}
