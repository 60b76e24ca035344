//! `metricstream log tail`: the newest lines, and those that follow.
//!
//! Promises: whole lines only, each once and in order, across rotation and compression; memory is one line.
//! Following ends with exit code 0 at SIGINT, SIGTERM and when nobody reads the output any more.
//! Leaves to the caller: lines that a server wrote, could not finish and cut off again; they may be shown.

use std::io::{self, Read as _, StdoutLock, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::survey::snapshot;
use super::{Error, LogDirectory};
use crate::cli::BAD_USAGE;
use crate::limits::{LOG_FOLLOW_INTERVAL, LOG_READ_BLOCK_BYTES};
use crate::log::fs::{LogFile, SystemDisk};
use crate::log::reader::{Bounds, FileBytes, Form, Name, Piece, Reader, Segment, Snapshot, Source};
use crate::log::segment::{self, Sealed};
use crate::metric::stored;

/// Lines given between two looks for a signal.
const LINES_BETWEEN_LOOKS: u64 = 1024;

/// Show the newest lines of the log, and follow it
///
/// Lines are shown as they are stored, oldest first, across segments. With --name or --tag only the metrics
/// that have all of these. Following goes on across rotation, until Ctrl-C or until nobody reads any more.
/// Exit code: 0, 1 when the log cannot be read, 2 when there is none.
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    #[command(flatten)]
    log: LogDirectory,
    /// Lines to show; 0 shows only what follows
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    lines: u64,
    /// Go on with the lines that are written from now on
    #[arg(short, long)]
    follow: bool,
    /// Only metrics of this name
    #[arg(long)]
    name: Option<String>,
    /// Only metrics with this tag; may be given more than once
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a key, '=' and a value, as in host=a".to_owned()),
    }
}

/// Which lines are shown.
#[derive(Debug)]
struct Filter {
    name: Option<String>,
    tags: Vec<(String, String)>,
}

impl Filter {
    const fn is_open(&self) -> bool {
        self.name.is_none() && self.tags.is_empty()
    }

    fn takes(&self, piece: &Piece<'_>) -> bool {
        if self.is_open() {
            return piece.form == Form::Line;
        }
        let Ok(stored) = stored::parse(piece.content()) else {
            return false;
        };
        let named = self.name.as_ref().is_none_or(|name| stored.is_named(name));
        let tagged = |(key, value): &(String, String)| stored.is_tagged(key, value);
        named && self.tags.iter().all(tagged)
    }
}

/// Why it ends.
enum End {
    /// Nobody reads, or a signal came.
    Asked,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Shows.
#[must_use]
pub fn run(args: &TailArgs) -> ExitCode {
    let Ok(directory) = args.log.path() else {
        return ExitCode::from(BAD_USAGE);
    };
    let mut tail = Tail {
        bounds: args.log.bounds(),
        filter: Filter {
            name: args.name.clone(),
            tags: args.tags.clone(),
        },
        directory,
        out: io::BufWriter::with_capacity(LOG_READ_BLOCK_BYTES, io::stdout().lock()),
        signals: None,
        given: 0,
    };
    match tail.run(args.lines, args.follow) {
        Ok(()) | Err(End::Asked) => ExitCode::SUCCESS,
        Err(End::Failed(error)) => error.exit(),
    }
}

type File = std::fs::File;

/// The lines of a segment.
type Lines = Reader<Source<File>>;

struct Tail {
    directory: PathBuf,
    bounds: Bounds,
    filter: Filter,
    out: io::BufWriter<StdoutLock<'static>>,
    signals: Option<UnixStream>,
    given: u64,
}

/// From where on a segment is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    /// A byte at which a line begins.
    offset: u64,
    /// Lines to pass over from there, of those that the filter takes.
    skip: u64,
}

impl Tail {
    fn run(&mut self, lines: u64, follow: bool) -> Result<(), End> {
        let mut snapshot = snapshot(&SystemDisk, &self.directory)?;
        let mut last = snapshot.sealed.last().map_or(0, |sealed| sealed.number);
        let active = snapshot.active.take();
        let (first, active_start) = self.find(&snapshot, active.as_ref(), lines)?;
        for (sealed, start) in first {
            if let Some(segment) = self.open(&snapshot, sealed)? {
                self.show(segment, start)?;
            }
        }
        let mut reader = match active {
            Some(segment) => Some(self.show(segment, active_start)?),
            None => None,
        };
        self.flush()?;
        if !follow {
            return Ok(());
        }
        self.signals = Some(signals().map_err(Error::io("watch for signals on", &self.directory))?);
        loop {
            if let Some(reader) = &mut reader {
                self.show_new(reader)?;
            }
            self.flush()?;
            self.wait()?;
            let listing = segment::list(&SystemDisk, &self.directory);
            let listing = listing.map_err(Error::io("list", &self.directory))?;
            if listing.last_number() > last || reader.is_none() {
                (last, reader) = self.move_on(last, reader)?;
            }
        }
    }

    /// Goes to the segment that is active now, through those that were sealed meanwhile.
    fn move_on(&mut self, last: u64, before: Option<Lines>) -> Result<(u64, Option<Lines>), End> {
        let mut next = last + 1;
        if let Some(mut reader) = before {
            // What was read so far is the segment sealed first since.
            self.show_new(&mut reader)?;
            next += 1;
        }
        let mut snapshot = snapshot(&SystemDisk, &self.directory)?;
        for &sealed in snapshot.sealed.iter().filter(|sealed| sealed.number >= next) {
            if let Some(segment) = self.open(&snapshot, sealed)? {
                self.show(segment, Start::default())?;
            }
        }
        let last = snapshot
            .sealed
            .last()
            .map_or(last, |sealed| sealed.number.max(last));
        let reader = match snapshot.active.take() {
            Some(segment) => Some(self.show(segment, Start::default())?),
            None => None,
        };
        Ok((last, reader))
    }

    /// The sealed segments that have some of the last `lines` lines, oldest first, and where each begins.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    fn find(
        &mut self,
        snapshot: &Snapshot<SystemDisk>,
        active: Option<&Segment<File>>,
        lines: u64,
    ) -> Result<(Vec<(Sealed, Start)>, Start), End> {
        let mut wanted = lines;
        let mut active_start = Start::default();
        if let Some(active) = active {
            let file = active
                .file
                .try_clone()
                .map_err(self.failed("open", active.name))?;
            let segment = Segment { file, ..*active };
            let (start, found) = self.start(segment, wanted)?;
            (active_start, wanted) = (start, wanted - found);
        }
        let mut first = Vec::new();
        for &sealed in snapshot.sealed.iter().rev() {
            if wanted == 0 {
                break;
            }
            if let Some(segment) = self.open(snapshot, sealed)? {
                let (start, found) = self.start(segment, wanted)?;
                wanted -= found;
                first.push((sealed, start));
            }
        }
        first.reverse();
        Ok((first, active_start))
    }

    /// Where the last `wanted` lines of a segment begin, and how many there are, at most `wanted`.
    fn start(&mut self, segment: Segment<File>, wanted: u64) -> Result<(Start, u64), End> {
        let name = segment.name;
        let compressed = matches!(name, Name::Sealed(Sealed { compressed: true, .. }));
        if self.filter.is_open() && !compressed {
            let (file, end) = (segment.file, segment.stored_bytes);
            let (offset, found) = last_lines(&file, end, wanted).map_err(self.failed("read", name))?;
            return Ok((Start { offset, skip: 0 }, found));
        }
        let mut found = 0;
        let mut reader = segment.lines(self.bounds).map_err(self.failed("read", name))?;
        while let Some(piece) = reader.next_whole().map_err(self.failed("read", name))? {
            found += u64::from(self.filter.takes(&piece));
        }
        let start = Start {
            offset: 0,
            skip: found.saturating_sub(wanted),
        };
        Ok((start, found.min(wanted)))
    }

    fn open(&self, snapshot: &Snapshot<SystemDisk>, sealed: Sealed) -> Result<Option<Segment<File>>, Error> {
        snapshot
            .open(sealed)
            .map_err(self.failed("open", Name::Sealed(sealed)))
    }

    /// Shows a segment from `start` on, as far as it is there; its reader can go on.
    fn show(&mut self, segment: Segment<File>, start: Start) -> Result<Lines, End> {
        let (name, mut skip) = (segment.name, start.skip);
        let mut reader = if start.offset > 0 {
            let bytes = FileBytes::new(segment.file, start.offset, segment.stored_bytes);
            Reader::at(Source::Plain(bytes), self.bounds, start.offset, 1)
        } else {
            segment.lines(self.bounds).map_err(self.failed("read", name))?
        };
        while let Some(piece) = reader.next_whole().map_err(self.failed("read", name))? {
            if self.filter.takes(&piece) {
                if skip == 0 {
                    self.give(piece.bytes)?;
                } else {
                    skip -= 1;
                }
            }
        }
        Ok(reader)
    }

    /// Shows what has come to a segment that grows.
    fn show_new(&mut self, reader: &mut Lines) -> Result<(), End> {
        // The writer may have cut off what it could not write whole.
        let restarted = reader.restart(Source::seek);
        restarted.map_err(self.failed("read", Name::Active))?;
        while let Some(piece) = reader.next_whole().map_err(self.failed("read", Name::Active))? {
            if self.filter.takes(&piece) {
                self.give(piece.bytes)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, line: &[u8]) -> Result<(), End> {
        self.given += 1;
        if self.given.is_multiple_of(LINES_BETWEEN_LOOKS) && self.signals.as_ref().is_some_and(came) {
            return Err(End::Asked);
        }
        let written = self.out.write_all(line);
        self.written(written)
    }

    fn flush(&mut self) -> Result<(), End> {
        let written = self.out.flush();
        self.written(written)
    }

    fn written(&self, result: io::Result<()>) -> Result<(), End> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => End::Asked,
            _ => End::Failed(Error::io("write", Path::new("standard output"))(error)),
        })
    }

    /// Waits until it is time to look again.
    fn wait(&self) -> Result<(), End> {
        let Some(signals) = &self.signals else {
            return Ok(());
        };
        let stdout = io::stdout();
        let mut watched = [
            PollFd::new(signals, PollFlags::IN),
            // Nothing is asked: an error is said all the same, and that is that nobody reads any more.
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
        ];
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: LOG_FOLLOW_INTERVAL.subsec_nanos().into(),
        };
        // A wait that fails is a look that comes early.
        let _ = poll(&mut watched, Some(&time));
        let closed = watched[1].revents().intersects(PollFlags::ERR | PollFlags::NVAL);
        match closed || came(signals) {
            true => Err(End::Asked),
            false => Ok(()),
        }
    }

    fn failed(&self, action: &'static str, name: Name) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::io(action, &self.directory.join(name.to_string()))
    }
}

/// The signals that end it, as bytes in a pipe.
fn signals() -> io::Result<UnixStream> {
    let (pipe, far) = UnixStream::pair()?;
    pipe.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGINT, far.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGTERM, far)?;
    Ok(pipe)
}

/// Whether a signal came.
fn came(mut signals: &UnixStream) -> bool {
    matches!(signals.read(&mut [0; 16]), Ok(1..))
}

/// Where the last `wanted` lines of the first `end` bytes of `file` begin, and how many there are. What
/// follows the last line feed is no line. Reads backwards, as far as it has to.
fn last_lines(file: &impl LogFile, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut block = vec![0; LOG_READ_BLOCK_BYTES];
    // Line feeds seen: the first is the end of the last line.
    let mut feeds = 0;
    let mut at = end;
    while at > 0 {
        let start = at.saturating_sub(LOG_READ_BLOCK_BYTES as u64);
        let block = &mut block[..usize::try_from(at - start).unwrap_or(LOG_READ_BLOCK_BYTES)];
        file.read_exact_at(start, block)?;
        for found in memchr::memrchr_iter(b'\n', block) {
            if feeds == wanted {
                return Ok((start + found as u64 + 1, wanted));
            }
            feeds += 1;
        }
        at = start;
    }
    Ok((0, feeds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fs::Filesystem as _;
    use crate::log::simulated::SimulatedDisk;

    fn last(content: &[u8], wanted: u64) -> (u64, u64) {
        let disk = SimulatedDisk::new();
        disk.put(Path::new("log"), content);
        let file = disk.open_read(Path::new("log")).unwrap();
        last_lines(&file, content.len() as u64, wanted).unwrap()
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let content = b"one\ntwo\nthree\nto";
        assert_eq!(last(content, 0), (14, 0));
        assert_eq!(last(content, 1), (8, 1));
        assert_eq!(last(content, 2), (4, 2));
        assert_eq!(last(content, 3), (0, 3));
        assert_eq!(last(content, 4), (0, 3));
        assert_eq!(last(b"", 3), (0, 0));
        assert_eq!(last(b"torn", 3), (0, 0));
    }

    #[test]
    fn blocks_do_not_show() {
        // Lines of every length around the size of a block.
        for length in LOG_READ_BLOCK_BYTES - 2..LOG_READ_BLOCK_BYTES + 2 {
            let mut content = b"first\n".to_vec();
            content.resize(content.len() + length, b'x');
            content.extend_from_slice(b"\nlast\n");
            let long_end = 6 + length as u64 + 1;
            assert_eq!(last(&content, 1), (long_end, 1));
            assert_eq!(last(&content, 2), (6, 2));
            assert_eq!(last(&content, 3), (0, 3));
        }
    }

    #[test]
    fn a_filter_takes_what_has_all_of_it() {
        let line = br#"{"timestamp":"2026-01-02T03:04:05.678Z","name":"cpu","value":1,"type":"gauge","tags":{"a":"1","b":"2"}}"#;
        let takes = |name: Option<&str>, tags: &[(&str, &str)]| {
            let filter = Filter {
                name: name.map(str::to_owned),
                tags: tags
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            };
            let piece = Piece {
                offset: 0,
                line: 1,
                bytes: line,
                form: Form::Line,
            };
            filter.takes(&piece)
        };
        assert!(takes(None, &[]) && takes(Some("cpu"), &[]) && takes(Some("cpu"), &[("a", "1"), ("b", "2")]));
        assert!(
            !takes(Some("mem"), &[]) && !takes(None, &[("a", "2")]) && !takes(None, &[("a", "1"), ("c", "")])
        );
    }
}
