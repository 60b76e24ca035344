//! A log read back: its segments, oldest first, and their lines, block by block.
//!
//! Promises: a [`Snapshot`] names every segment that is there at one moment, each once, also beside a server
//! that rotates, compresses and removes them; a segment it names is read under whichever of its two names it
//! has by then. A [`Reader`] gives every byte of a segment exactly once and in order, cut after each line
//! feed, with its offset and the number of its line. Memory is one line of the longest length allowed and two
//! blocks, whatever the size of the log and whatever is in it, and the window of the decompressor.
//! Leaves to the caller: what a line has to say; [`Piece::damage`] tells only that it cannot be a line of any
//! log of JSON. Offsets are those of the lines, also in a compressed segment.
//!
//! A segment that grows is read up to the length it had when the snapshot was taken, and can be read on.

use crate::json::{self, Parser};
use crate::limits::{LOG_READ_BLOCK_BYTES, LOG_ZSTD_WINDOW_LOG_MAX};
use crate::log::fs::{Filesystem, LogFile};
use crate::log::segment::{self, ACTIVE_NAME, Sealed};
use memchr::{memchr, memmem};
use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use zstd::stream::read::Decoder;

/// How often a snapshot is tried again because a segment was sealed meanwhile.
const SNAPSHOT_ATTEMPTS: usize = 100;

/// Which segment. Ordered as they were written: the active one is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// One that nobody appends to any more.
    Sealed(Sealed),
    /// The one that is appended to.
    Active,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(sealed) => sealed.fmt(f),
            Self::Active => f.write_str(ACTIVE_NAME),
        }
    }
}

/// The segments of a log at one moment.
#[derive(Debug)]
pub struct Snapshot<F: Filesystem> {
    filesystem: F,
    directory: PathBuf,
    /// The sealed segments, oldest first, each once.
    pub sealed: Vec<Sealed>,
    /// Files that a crash left and that hold no line of their own.
    pub leftovers: Vec<String>,
    /// The active segment, open; none when there is none.
    pub active: Option<Segment<F::File>>,
}

impl<F: Filesystem> Snapshot<F> {
    /// The segments in `directory` now.
    ///
    /// # Errors
    /// The filesystem's; `NotFound` when there is no such directory.
    pub fn take(filesystem: &F, directory: &Path) -> io::Result<Self> {
        let mut before = segment::list(filesystem, directory)?;
        for _ in 0..SNAPSHOT_ATTEMPTS {
            let active = open(filesystem, directory, Name::Active)?;
            // What was opened is the successor of the newest sealed segment if none was sealed before it was
            // opened, and none is seen after.
            let after = segment::list(filesystem, directory)?;
            if before.last_number() == after.last_number() {
                return Ok(Self {
                    filesystem: filesystem.clone(),
                    directory: directory.to_owned(),
                    sealed: after.sealed,
                    leftovers: after.leftovers,
                    active,
                });
            }
            before = after;
        }
        Err(io::Error::other(
            "segments are sealed faster than they can be listed",
        ))
    }

    /// Where it is from.
    #[must_use]
    pub const fn filesystem(&self) -> &F {
        &self.filesystem
    }

    /// Opens a sealed segment under the name it has now; none when it was removed meanwhile.
    ///
    /// # Errors
    /// The filesystem's.
    pub fn open(&self, sealed: Sealed) -> io::Result<Option<Segment<F::File>>> {
        // It may be compressed between two looks: the other name appears before this one goes.
        for compressed in [sealed.compressed, !sealed.compressed] {
            let name = Name::Sealed(Sealed { compressed, ..sealed });
            if let Some(segment) = open(&self.filesystem, &self.directory, name)? {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }
}

fn open<F: Filesystem>(filesystem: &F, directory: &Path, name: Name) -> io::Result<Option<Segment<F::File>>> {
    match filesystem.open_read(&directory.join(name.to_string())) {
        Ok(file) => {
            let stored_bytes = file.size_bytes()?;
            Ok(Some(Segment {
                name,
                stored_bytes,
                file,
            }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A segment that is open. It can be read whatever becomes of its name.
#[derive(Debug)]
pub struct Segment<L> {
    /// Which.
    pub name: Name,
    /// Length of its file when it was opened.
    pub stored_bytes: u64,
    /// Its file.
    pub file: L,
}

impl<L: LogFile> Segment<L> {
    /// Its lines.
    ///
    /// # Errors
    /// When the decompressor cannot be set up.
    pub fn lines(self, bounds: Bounds) -> io::Result<Reader<Source<L>>> {
        let bytes = FileBytes::new(self.file, 0, self.stored_bytes);
        let source = match self.name {
            Name::Sealed(Sealed { compressed: true, .. }) => {
                let mut decoder = Decoder::new(bytes)?;
                decoder.window_log_max(LOG_ZSTD_WINDOW_LOG_MAX)?;
                Source::Compressed(Box::new(decoder))
            }
            _ => Source::Plain(bytes),
        };
        Ok(Reader::new(source, bounds))
    }
}

/// The bytes of a segment's lines.
pub enum Source<L: LogFile> {
    /// As they stand in the file.
    Plain(FileBytes<L>),
    /// Decompressed.
    Compressed(Box<Decoder<'static, BufReader<FileBytes<L>>>>),
}

impl<L: LogFile> Source<L> {
    /// How far the file was read, in its own bytes: for a progress bar.
    #[must_use]
    pub fn stored_at(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.at,
            Self::Compressed(decoder) => decoder.get_ref().get_ref().at,
        }
    }
}

impl<L: LogFile> Source<L> {
    /// Goes to `to` in a segment that grows, as [`FileBytes::seek`] does.
    ///
    /// # Errors
    /// The filesystem's; `Unsupported` for a compressed segment, which does not grow.
    pub fn seek(&mut self, to: u64) -> io::Result<u64> {
        match self {
            Self::Plain(bytes) => bytes.seek(to),
            Self::Compressed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl<L: LogFile> fmt::Debug for Source<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source at {}", self.stored_at())
    }
}

impl<L: LogFile> Read for Source<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buffer),
            // The decompressor takes no bytes for no frame; a segment has one at least.
            Self::Compressed(decoder) if decoder.get_ref().get_ref().end == 0 => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

/// A stretch of a file.
#[derive(Debug)]
pub struct FileBytes<L> {
    file: L,
    at: u64,
    end: u64,
}

impl<L: LogFile> FileBytes<L> {
    /// The bytes `from .. to`; fewer when the file is cut meanwhile.
    #[must_use]
    pub const fn new(file: L, from: u64, to: u64) -> Self {
        Self {
            file,
            at: from,
            end: to,
        }
    }

    /// Goes to `to`, or to where the file ends now if that is before it, and ends there from now on.
    ///
    /// # Errors
    /// The filesystem's.
    pub fn seek(&mut self, to: u64) -> io::Result<u64> {
        self.end = self.file.size_bytes()?;
        self.at = to.min(self.end);
        Ok(self.at)
    }
}

impl<L: LogFile> Read for FileBytes<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let length = left.min(buffer.len());
            if length == 0 {
                return Ok(0);
            }
            match self.file.read_exact_at(self.at, &mut buffer[..length]) {
                Ok(()) => {
                    self.at += length as u64;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    // The writer cut off what it could not write whole.
                    let size = self.file.size_bytes()?;
                    if size >= self.at + length as u64 {
                        continue;
                    }
                    self.end = size.max(self.at);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a reader cuts by.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest line, its line feed included. More bytes without a line feed come in parts.
    pub line_bytes_max: usize,
    /// What every record begins with and has nowhere else. The parts of a line that is too long are cut
    /// before one of these, so that a record that follows a long stretch of something else is found whole.
    pub record_start: &'static [u8],
}

/// What stands up to a line feed, or a part of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Offset of its first byte in the segment's lines.
    pub offset: u64,
    /// The number of its line, from 1.
    pub line: u64,
    /// The bytes, the line feed included if it has one.
    pub bytes: &'a [u8],
    /// What it is.
    pub form: Form,
}

/// What a [`Piece`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line, whole.
    Line,
    /// The segment ends without a line feed, and this is what follows the last one.
    Torn,
    /// A part of a line that is longer than allowed.
    Part {
        /// The first part of it.
        first: bool,
        /// The last part of it; with a line feed, unless the segment ends here.
        last: bool,
    },
}

/// Why a piece can be no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment ends within it.
    #[error("torn: the segment ends before the line does")]
    Torn,
    /// A run of NUL bytes: the file had grown and the data had not followed.
    #[error("{bytes} NUL bytes from byte {at} of the line on")]
    Nul {
        /// Where the first run of them begins in the piece.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("invalid UTF-8 at byte {at} of the line")]
    Utf8 {
        /// The first byte that is none.
        at: usize,
    },
    /// Not one JSON value and a line feed.
    #[error("invalid JSON: {0} of the line")]
    Json(json::Error),
    /// Longer than allowed.
    #[error("no line feed within {limit} bytes (--line-bytes-max)")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl<'a> Piece<'a> {
    /// The bytes without the line feed.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)
    }

    /// Why this is no line; none when it is a line that holds one JSON value.
    #[must_use]
    pub fn damage(&self, bounds: Bounds) -> Option<Damage> {
        let content = self.content();
        if let Some(at) = memchr(0, content) {
            let bytes = content[at..].iter().take_while(|&&byte| byte == 0).count();
            return Some(Damage::Nul { at, bytes });
        }
        let limit = bounds.line_bytes_max;
        match self.form {
            Form::Torn => return Some(Damage::Torn),
            Form::Part { .. } => return Some(Damage::TooLong { limit }),
            Form::Line => {}
        }
        if let Err(error) = str::from_utf8(content) {
            let at = error.valid_up_to();
            return Some(Damage::Utf8 { at });
        }
        let parsed = Parser::new(content).and_then(|mut parser| {
            parser.skip()?;
            parser.end()
        });
        parsed.err().map(Damage::Json)
    }
}

/// Reads lines.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    bounds: Bounds,
    buffer: Vec<u8>,
    /// What was not given yet is `from .. to` of the buffer; no line feed is before `searched`.
    from: usize,
    to: usize,
    searched: usize,
    /// Offset of the byte at `from`.
    offset: u64,
    line: u64,
    /// A part of a line that is too long was given, and not its last.
    in_parts: bool,
    ended: bool,
    failure: Option<io::Error>,
}

impl<R: Read> Reader<R> {
    /// The lines of `source`, from its first byte on.
    #[must_use]
    pub fn new(source: R, bounds: Bounds) -> Self {
        Self::at(source, bounds, 0, 1)
    }

    /// The lines of `source`, whose first byte is at `offset` and in line `line` of the segment.
    #[must_use]
    pub fn at(source: R, bounds: Bounds, offset: u64, line: u64) -> Self {
        Self {
            source,
            bounds,
            buffer: Vec::new(),
            from: 0,
            to: 0,
            searched: 0,
            offset,
            line,
            in_parts: false,
            ended: false,
            failure: None,
        }
    }

    /// What is read from.
    #[must_use]
    pub const fn source(&self) -> &R {
        &self.source
    }

    /// Offset of the first byte that was not given yet.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the line that comes next, or of which more parts come.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Reads again from [`Reader::offset`] on; `seek` moves the source there, or to its end if that is before
    /// it now, and says where it is.
    ///
    /// # Errors
    /// Those of `seek`.
    pub fn restart(&mut self, seek: impl FnOnce(&mut R, u64) -> io::Result<u64>) -> io::Result<()> {
        self.restart_at(self.offset, self.line, seek)
    }

    /// As [`Reader::restart`], from an earlier piece on.
    ///
    /// # Errors
    /// Those of `seek`.
    pub fn restart_at(
        &mut self,
        offset: u64,
        line: u64,
        seek: impl FnOnce(&mut R, u64) -> io::Result<u64>,
    ) -> io::Result<()> {
        self.offset = seek(&mut self.source, offset)?;
        (self.from, self.to, self.searched) = (0, 0, 0);
        (self.line, self.in_parts) = (line, false);
        (self.ended, self.failure) = (false, None);
        Ok(())
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// The source's, after all the bytes that came before the failure: the last of them as [`Form::Torn`].
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        match self.seek_end()? {
            Some((end, form)) => Ok(Some(self.give(end, form))),
            None if self.to > self.from => {
                let form = match self.in_parts {
                    true => Form::Part {
                        first: false,
                        last: true,
                    },
                    false => Form::Torn,
                };
                Ok(Some(self.give(self.to, form)))
            }
            None => match self.failure.take() {
                Some(failure) => Err(failure),
                None => Ok(None),
            },
        }
    }

    /// As [`Reader::next_piece`], but what follows the last line feed stays until more of it is there.
    ///
    /// # Errors
    /// As [`Reader::next_piece`].
    pub fn next_whole(&mut self) -> io::Result<Option<Piece<'_>>> {
        match self.seek_end()? {
            Some((end, form)) => Ok(Some(self.give(end, form))),
            None => self.failure.take().map_or(Ok(None), Err),
        }
    }

    /// Where the next piece ends in the buffer, unless the source ends before.
    fn seek_end(&mut self) -> io::Result<Option<(usize, Form)>> {
        loop {
            if let Some(feed) = memchr(b'\n', &self.buffer[self.searched..self.to]) {
                let end = self.searched + feed + 1;
                let long = self.in_parts || end - self.from > self.bounds.line_bytes_max;
                let form = match long {
                    true => Form::Part {
                        first: !self.in_parts,
                        last: true,
                    },
                    false => Form::Line,
                };
                return Ok(Some((end, form)));
            }
            self.searched = self.to;
            if self.to - self.from > self.bounds.line_bytes_max {
                let first = !self.in_parts;
                return Ok(Some((self.part_end(), Form::Part { first, last: false })));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill();
        }
    }

    /// Where to cut a line that is too long.
    fn part_end(&self) -> usize {
        let start = self.bounds.record_start;
        let held = &self.buffer[self.from..self.to];
        match memmem::rfind(held, start) {
            Some(at) if at > 0 => self.from + at,
            // The beginning of a record may stand at the end.
            _ => (self.to + 1 - start.len().max(1)).max(self.from + 1),
        }
    }

    fn give(&mut self, end: usize, form: Form) -> Piece<'_> {
        let start = std::mem::replace(&mut self.from, end);
        self.searched = self.searched.max(end);
        let piece = Piece {
            offset: self.offset,
            line: self.line,
            bytes: &self.buffer[start..end],
            form,
        };
        self.offset += (end - start) as u64;
        self.in_parts = matches!(form, Form::Part { last: false, .. });
        self.line += u64::from(!self.in_parts);
        piece
    }

    /// Reads a block, after what is there.
    fn fill(&mut self) {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.searched -= self.from;
            self.to -= self.from;
            self.from = 0;
        }
        if self.buffer.len() < self.to + LOG_READ_BLOCK_BYTES {
            self.buffer.resize(self.to + LOG_READ_BLOCK_BYTES, 0);
        }
        let room = &mut self.buffer[self.to..self.to + LOG_READ_BLOCK_BYTES];
        match self.source.read(room) {
            Ok(0) => self.ended = true,
            Ok(count) => self.to += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.failure = Some(error);
                self.ended = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::simulated::SimulatedDisk;
    use crate::sync::shim::{Arc, Mutex};
    use std::io::Write as _;

    const BOUNDS: Bounds = Bounds {
        line_bytes_max: 16,
        record_start: b"{\"",
    };

    /// Gives at most so many bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.1).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn pieces(content: &[u8], at_once: usize) -> Vec<(u64, u64, Vec<u8>, Form)> {
        let mut reader = Reader::new(Slow(content, at_once), BOUNDS);
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next_piece().unwrap() {
            pieces.push((piece.offset, piece.line, piece.bytes.to_vec(), piece.form));
        }
        pieces
    }

    #[test]
    fn lines_have_their_offsets_and_numbers() {
        for at_once in [1, 2, 3, 7, 100] {
            assert_eq!(
                pieces(b"one\n\nthree\nto", at_once),
                [
                    (0, 1, b"one\n".to_vec(), Form::Line),
                    (4, 2, b"\n".to_vec(), Form::Line),
                    (5, 3, b"three\n".to_vec(), Form::Line),
                    (11, 4, b"to".to_vec(), Form::Torn),
                ]
            );
        }
        assert!(pieces(b"", 1).is_empty());
    }

    #[test]
    fn the_longest_line_is_a_line_and_a_longer_one_comes_in_parts() {
        let longest = format!("{}\n", "x".repeat(15));
        assert_eq!(pieces(longest.as_bytes(), 5)[0].3, Form::Line);
        for at_once in [1, 5, 100] {
            let content = format!("a\n{}\nb\n", "x".repeat(40));
            let pieces = pieces(content.as_bytes(), at_once);
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.2.clone()).collect();
            assert_eq!(joined, content.as_bytes());
            assert_eq!(pieces.last().unwrap(), &(43, 3, b"b\n".to_vec(), Form::Line));
            let forms: Vec<_> = pieces
                .iter()
                .filter(|piece| piece.1 == 2)
                .map(|piece| piece.3)
                .collect();
            assert!(matches!(forms[0], Form::Part { first: true, .. }), "{forms:?}");
            assert!(
                matches!(forms.last(), Some(Form::Part { last: true, .. })),
                "{forms:?}"
            );
        }
    }

    #[test]
    fn a_record_after_a_long_stretch_is_not_cut() {
        for zeros in 14..60 {
            for at_once in [1, 3, 1000] {
                let content = [&vec![0; zeros][..], b"{\"a\":1}\n"].concat();
                let pieces = pieces(&content, at_once);
                let last = pieces.last().unwrap();
                assert!(last.2.ends_with(b"{\"a\":1}\n"), "{zeros} {at_once}: {pieces:?}");
                let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.2.clone()).collect();
                assert_eq!(joined, content);
            }
        }
    }

    #[test]
    fn damage_is_named() {
        let damage = |content: &'static [u8]| {
            let mut reader = Reader::new(content, BOUNDS);
            reader.next_piece().unwrap().unwrap().damage(BOUNDS)
        };
        assert_eq!(damage(b"{\"a\":1}\n"), None);
        assert_eq!(damage(b"{\"a\":1}"), Some(Damage::Torn));
        assert_eq!(damage(b"{\"\0\0\0\":1}\n"), Some(Damage::Nul { at: 2, bytes: 3 }));
        assert_eq!(damage(b"{\"a\xff\":1}\n"), Some(Damage::Utf8 { at: 3 }));
        assert!(matches!(damage(b"{\"a\":1\n"), Some(Damage::Json(error)) if error.at == 6));
        assert!(matches!(damage(b"\n"), Some(Damage::Json(_))));
        assert_eq!(damage(&[b'x'; 20]), Some(Damage::TooLong { limit: 16 }));
    }

    #[test]
    fn a_failure_comes_after_the_bytes_before_it() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut reader = Reader::new((&b"one\ntw"[..]).chain(Fails), BOUNDS);
        assert_eq!(reader.next_piece().unwrap().unwrap().bytes, b"one\n");
        assert_eq!(reader.next_piece().unwrap().unwrap().form, Form::Torn);
        assert_eq!(reader.next_piece().unwrap_err().to_string(), "broken");
        assert_eq!(reader.next_piece().unwrap(), None);
    }

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn put(disk: &SimulatedDisk, name: &str, content: &[u8]) {
        disk.put(&Path::new("data").join(name), content);
    }

    fn all_lines(disk: &SimulatedDisk) -> (String, Vec<String>) {
        let mut snapshot = Snapshot::take(disk, Path::new("data")).unwrap();
        let mut text = String::new();
        let mut segments: Vec<_> = snapshot
            .sealed
            .iter()
            .filter_map(|&sealed| snapshot.open(sealed).unwrap())
            .collect();
        segments.extend(snapshot.active.take());
        for segment in segments {
            let mut reader = segment.lines(BOUNDS).unwrap();
            while let Some(piece) = reader.next_piece().unwrap() {
                text.push_str(str::from_utf8(piece.bytes).unwrap());
            }
        }
        (text, snapshot.leftovers)
    }

    #[test]
    fn segments_are_read_in_order_each_once() {
        let disk = SimulatedDisk::new();
        put(&disk, ACTIVE_NAME, b"5\n");
        put(&disk, "metrics.000000000002.jsonl.zst", &compressed(b"2\n3\n"));
        put(&disk, "metrics.000000000010.jsonl", b"4\n");
        put(&disk, "metrics.000000000001.jsonl", b"1\n");
        put(&disk, "metrics.000000000010.jsonl.zst", &compressed(b"4\n"));
        put(&disk, "metrics.lock", b"");
        let copy = "metrics.000000000010.jsonl.zst".to_owned();
        assert_eq!(all_lines(&disk), ("1\n2\n3\n4\n5\n".to_owned(), vec![copy]));
    }

    /// A disk on which a rotation comes before the request with a given number.
    #[derive(Clone, Debug)]
    struct Rotating {
        disk: SimulatedDisk,
        requests_left: Arc<Mutex<usize>>,
    }

    impl Rotating {
        fn pass(&self) {
            let mut left = self.requests_left.lock();
            if *left == 0 {
                let data = Path::new("data");
                let sealed = data.join("metrics.000000000002.jsonl");
                self.disk.rename(&data.join(ACTIVE_NAME), &sealed).unwrap();
                put(&self.disk, ACTIVE_NAME, b"3\n");
            }
            *left = left.wrapping_sub(1);
        }
    }

    impl Filesystem for Rotating {
        type File = <SimulatedDisk as Filesystem>::File;
        type Lock = <SimulatedDisk as Filesystem>::Lock;

        fn create_directory(&self, path: &Path) -> io::Result<()> {
            self.disk.create_directory(path)
        }
        fn sync_directory(&self, path: &Path) -> io::Result<()> {
            self.disk.sync_directory(path)
        }
        fn lock(&self, path: &Path) -> io::Result<Self::Lock> {
            self.disk.lock(path)
        }
        fn open_append(&self, path: &Path) -> io::Result<Self::File> {
            self.disk.open_append(path)
        }
        fn open_read(&self, path: &Path) -> io::Result<Self::File> {
            self.pass();
            self.disk.open_read(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.disk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.disk.remove(path)
        }
        fn list(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()> {
            self.pass();
            self.disk.list(directory, each)
        }
        fn details(&self, path: &Path) -> io::Result<crate::log::fs::Details> {
            self.disk.details(path)
        }
    }

    #[test]
    fn a_rotation_at_any_moment_hides_no_segment_and_shows_none_twice() {
        for moment in 0..6 {
            let disk = SimulatedDisk::new();
            put(&disk, "metrics.000000000001.jsonl", b"1\n");
            put(&disk, ACTIVE_NAME, b"2\n");
            let rotating = Rotating {
                disk,
                requests_left: Arc::new(Mutex::new(moment)),
            };
            let mut snapshot = Snapshot::take(&rotating, Path::new("data")).unwrap();
            let mut segments: Vec<_> = snapshot
                .sealed
                .iter()
                .map(|&sealed| snapshot.open(sealed).unwrap().unwrap())
                .collect();
            segments.extend(snapshot.active.take());
            let mut text = Vec::new();
            for segment in segments {
                let mut reader = segment.lines(BOUNDS).unwrap();
                while let Some(piece) = reader.next_piece().unwrap() {
                    text.extend_from_slice(piece.bytes);
                }
            }
            let text = String::from_utf8(text).unwrap();
            assert!(
                text == "1\n2\n3\n" || (text == "1\n2\n" && moment > 2),
                "{moment}: {text:?}"
            );
        }
    }

    #[test]
    fn a_segment_compressed_after_the_snapshot_is_read_under_its_other_name() {
        let disk = SimulatedDisk::new();
        put(&disk, "metrics.000000000001.jsonl", b"1\n");
        let snapshot = Snapshot::take(&disk, Path::new("data")).unwrap();
        put(&disk, "metrics.000000000001.jsonl.zst", &compressed(b"1\n"));
        disk.remove(&Path::new("data").join("metrics.000000000001.jsonl"))
            .unwrap();
        let segment = snapshot.open(snapshot.sealed[0]).unwrap().unwrap();
        let mut reader = segment.lines(BOUNDS).unwrap();
        assert_eq!(reader.next_piece().unwrap().unwrap().bytes, b"1\n");
        disk.remove(&Path::new("data").join("metrics.000000000001.jsonl.zst"))
            .unwrap();
        assert!(snapshot.open(snapshot.sealed[0]).unwrap().is_none());
    }

    #[test]
    fn a_broken_compressed_segment_fails_after_its_sound_part() {
        let disk = SimulatedDisk::new();
        let whole = compressed("0123456789\n".repeat(100_000).as_bytes());
        for content in [&whole[..whole.len() - 1], &whole[..5], &[]] {
            put(&disk, "metrics.000000000001.jsonl.zst", content);
            let snapshot = Snapshot::take(&disk, Path::new("data")).unwrap();
            let segment = snapshot.open(snapshot.sealed[0]).unwrap().unwrap();
            let mut reader = segment.lines(BOUNDS).unwrap();
            while let Ok(piece) = reader.next_piece() {
                assert!(piece.is_some(), "it ends with the failure");
            }
        }
    }

    #[test]
    fn a_segment_that_grows_is_read_on_and_one_that_is_cut_ends() {
        let disk = SimulatedDisk::new();
        let path = Path::new("data").join(ACTIVE_NAME);
        put(&disk, ACTIVE_NAME, b"one\ntw");
        let file = disk.open_append(&path).unwrap();
        let active = Snapshot::take(&disk, Path::new("data")).unwrap().active.unwrap();
        let mut reader = active.lines(BOUNDS).unwrap();
        assert_eq!(reader.next_whole().unwrap().unwrap().bytes, b"one\n");
        assert_eq!(reader.next_whole().unwrap(), None);
        file.append(b"o\nthr").unwrap();
        reader.restart(Source::seek).unwrap();
        assert_eq!(reader.next_whole().unwrap().unwrap().bytes, b"two\n");
        assert_eq!(reader.next_whole().unwrap(), None);
        file.append(b"ee").unwrap();
        let active = Snapshot::take(&disk, Path::new("data")).unwrap().active.unwrap();
        file.truncate(9).unwrap();
        let mut reader = active.lines(BOUNDS).unwrap();
        assert_eq!(reader.next_piece().unwrap().unwrap().bytes, b"one\n");
        assert_eq!(reader.next_piece().unwrap().unwrap().bytes, b"two\n");
        assert_eq!(reader.next_piece().unwrap().unwrap().bytes, b"t");
        assert_eq!(reader.next_piece().unwrap(), None);
    }
}
