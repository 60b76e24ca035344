//! Whether a server has the log, found out without disturbing it.
//!
//! Taking the lock for a moment would tell, and could keep a server that starts in that moment from starting.
//! So the kernel's table of locks is read instead (proc(5), `/proc/locks`).
//!
//! Promises: nothing is written or locked. Leaves to the caller: that what is true now may not be true later,
//! and that a server in another PID namespace may not be seen.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::fs::{major, minor};
use rustix::thread::{NanosleepRelativeResult, nanosleep};

use super::scan::Beside;
use crate::log::LOCK_NAME;

/// The process of the server that has the log in `directory`.
#[must_use]
pub fn server(directory: &Path) -> Option<u32> {
    let lock = fs::metadata(directory.join(LOCK_NAME)).ok()?;
    let table = fs::read_to_string("/proc/locks").ok()?;
    holder(&table, (major(lock.dev()), minor(lock.dev())), lock.ino())
}

/// How to read the log in `directory` now.
#[must_use]
pub fn beside(directory: &Path) -> Beside<'static> {
    Beside {
        running: server(directory).is_some(),
        wait: &pause,
    }
}

/// Waits; a signal does not shorten it.
fn pause(time: Duration) {
    let mut left = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

/// The process that holds an exclusive lock on the file, by a line like
/// `1: FLOCK  ADVISORY  WRITE 1234 fe:00:131 0 EOF`.
fn holder(table: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    table.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else {
            return None;
        };
        let mut parts = file.split(':');
        let device = |part: Option<&str>| part.and_then(|part| u32::from_str_radix(part, 16).ok());
        let seen = (device(parts.next())?, device(parts.next())?);
        // Filesystems without a device of their own show another number here than in stat(2).
        let same_device = seen == (major, minor) || seen.0 == 0 && major == 0;
        (same_device && parts.next()?.parse() == Ok(inode))
            .then(|| pid.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fs::{Filesystem as _, SystemDisk};

    #[test]
    fn the_table_of_locks_is_read() {
        let table = "1: POSIX  ADVISORY  WRITE 11 fe:00:131 0 EOF\n\
                     2: FLOCK  ADVISORY  READ 12 fe:00:131 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:01:131 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 14 fe:00:131 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 15 fe:00:132 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 16 00:2f:133 0 EOF\n";
        assert_eq!(holder(table, (0xfe, 0), 131), Some(14));
        assert_eq!(holder(table, (0xfe, 0), 132), None, "it only waits");
        assert_eq!(holder(table, (0, 0x31), 133), Some(16));
        assert_eq!(holder(table, (8, 1), 131), None);
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_one_that_is_not_is_not() {
        let directory = std::env::temp_dir().join(format!("metricstream-running-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(server(&directory), None);
        let lock = SystemDisk.lock(&directory.join(LOCK_NAME)).unwrap();
        assert_eq!(server(&directory), Some(std::process::id()));
        drop(lock);
        assert_eq!(server(&directory), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
