//! The end of an active segment that was not closed properly.
//!
//! Promises: afterwards the file is empty or ends with a line feed, and is on the disk as it is; what was
//! cut off is what followed the last line feed, and nothing else. Memory is one block whatever the length of
//! the file, and the time is that of reading the torn part.
//! Leaves to the caller: damage further up, which a crash of the process cannot cause; and the bytes cut
//! off, of which no whole line was part.

use crate::limits::LOG_RECOVERY_BLOCK_BYTES;
use crate::log::fs::LogFile;
use std::io;

/// What opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Length of the file afterwards, in bytes.
    pub file_bytes: u64,
    /// Bytes of a torn last line that were cut off.
    pub cut_bytes: u64,
    /// Files removed that a crash had left half done.
    pub leftover_files: u64,
}

/// Cuts off a torn last line, and flushes: what the last process left unflushed is as safe from here on as
/// what this one will write.
///
/// # Errors
/// The filesystem's. The file is then as it was, or cut.
pub fn recover(file: &impl LogFile) -> io::Result<Recovery> {
    let len = file.size_bytes()?;
    let file_bytes = whole_lines_end(file, len)?;
    if file_bytes < len && !crate::seeded!(TORN_LINE_KEPT) {
        crate::reached!(TORN_LINE_CUT);
        file.truncate(file_bytes)?;
    }
    file.sync()?;
    Ok(Recovery {
        file_bytes,
        cut_bytes: len - file_bytes,
        leftover_files: 0,
    })
}

/// The offset after the last line feed of the first `len` bytes; zero when there is none. Reads backwards.
fn whole_lines_end(file: &impl LogFile, len: u64) -> io::Result<u64> {
    let mut block = vec![0; LOG_RECOVERY_BLOCK_BYTES];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(LOG_RECOVERY_BLOCK_BYTES as u64);
        let block = &mut block[..usize::try_from(end - start).expect("at most a block")];
        file.read_exact_at(start, block)?;
        if let Some(last) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fs::Filesystem as _;
    use crate::log::simulated::SimulatedDisk;
    use std::path::Path;

    fn recovered(content: &[u8]) -> (Vec<u8>, Recovery) {
        let disk = SimulatedDisk::new();
        let path = Path::new("log");
        disk.put(path, content);
        let file = disk.open_append(path).unwrap();
        let recovery = recover(&file).unwrap();
        (disk.content(path), recovery)
    }

    #[test]
    fn what_follows_the_last_line_feed_is_cut() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"torn", b""),
            (b"\n", b"\n"),
            (b"one\ntwo\n", b"one\ntwo\n"),
            (b"one\ntwo\nto", b"one\ntwo\n"),
            (b"one\nto\0\0\0\0", b"one\n"),
        ];
        for (before, after) in cases {
            let (content, recovery) = recovered(before);
            assert_eq!(content, after);
            assert_eq!(recovery.file_bytes, after.len() as u64);
            assert_eq!(recovery.cut_bytes, (before.len() - after.len()) as u64);
        }
    }

    #[test]
    fn a_torn_line_may_be_longer_than_a_block() {
        let block = LOG_RECOVERY_BLOCK_BYTES;
        for torn in [block - 2, block - 1, block, block + 1, 3 * block] {
            let mut content = b"whole\n".to_vec();
            content.resize(content.len() + torn, b'x');
            let (content, recovery) = recovered(&content);
            assert_eq!(content, b"whole\n");
            assert_eq!(recovery.cut_bytes, torn as u64);
        }
    }

    #[test]
    fn recovery_of_a_whole_file_changes_nothing() {
        let once = recovered(b"a\nb\nc").0;
        assert_eq!(
            recovered(&once),
            (
                once,
                Recovery {
                    file_bytes: 4,
                    ..Recovery::default()
                }
            )
        );
    }
}
