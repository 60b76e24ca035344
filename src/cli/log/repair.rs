//! `metricstream log repair`: all that is whole, written to another directory.
//!
//! Promises: the log itself is not touched. A segment without damage is copied byte for byte. Of a damaged
//! one every stored metric that is whole is kept, in order, also one that stands behind damage in the same
//! line or lacks its line feed. Every other byte is in a side file: the two together and the index say byte
//! for byte what there was. Refused while a server has the log.
//! Leaves to the caller: putting the directory in the place of the other.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::scan::{self, Beside, Event, Why, whole_records};
use super::survey::{DamagedLine, SegmentSurvey, Survey, snapshot, survey};
use super::verify::line_text;
use super::{Bytes, Error, Format, LogDirectory, counted, progress};
use crate::cli::BAD_USAGE;
use crate::limits::LOG_READ_BLOCK_BYTES;
use crate::log::LOCK_NAME;
use crate::log::fs::{Filesystem, LogFile, SystemDisk};
use crate::log::reader::{Bounds, Name, Piece, Segment, Snapshot};
use crate::log::segment::Sealed;

/// The file that lists what was left out, in the directory written to.
pub const INDEX_NAME: &str = "damage.jsonl";

/// What follows the name of a segment in the name of its side file.
pub const SIDE_SUFFIX: &str = ".damaged";

/// Write all that is whole in a damaged log to another directory
///
/// The log itself is not touched, and must not be in use. In the directory written to, a segment without
/// damage is a copy, a damaged one has every metric that is whole (a compressed one is then written plain);
/// the other bytes are in a side file, metrics.jsonl.damaged, and damage.jsonl says where they were. A server
/// can be started on the result.
///
/// Exit code: 0 when it is written or nothing was damaged, 1 when it could not be, 2 when there is no log or
/// the directory to write to is not empty.
#[derive(Debug, clap::Args)]
pub struct RepairArgs {
    #[command(flatten)]
    log: LogDirectory,
    /// Directory to write to; made if it is missing [default: that of the log with .repaired at its end]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Say what would be left out, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What there was.
    pub survey: Survey,
    /// Stored metrics kept, with those of damaged lines.
    pub records_kept: u64,
    /// Of these, found in damaged lines.
    pub records_saved: u64,
    /// Bytes left out.
    pub bytes_left_out: u64,
    /// Segments that were written anew; the others are copies.
    pub segments_rewritten: u64,
}

/// Repairs.
#[must_use]
pub fn run(args: &RepairArgs) -> ExitCode {
    let Ok(directory) = args.log.path() else {
        return ExitCode::from(BAD_USAGE);
    };
    let output = match &args.output {
        Some(output) => output.clone(),
        None => match beside(&directory) {
            Ok(output) => output,
            Err(error) => return error.exit(),
        },
    };
    let to = (!args.dry_run).then_some(output.as_path());
    let bar = match snapshot(&SystemDisk, &directory) {
        Ok(snapshot) => progress::bar(progress::stored_bytes(&snapshot, &directory)),
        Err(error) => return error.exit(),
    };
    let result = repair(&SystemDisk, &directory, to, args.log.bounds(), &mut |bytes| {
        bar.inc(bytes)
    });
    bar.finish_and_clear();
    match result {
        Ok(repaired) => super::super::print(&match args.format {
            Format::Text => text(&directory, to, &repaired),
            Format::Json => json(&directory, to, &repaired).to_string() + "\n",
        }),
        Err(error) => error.exit(),
    }
}

/// The directory beside `directory` for its repaired log.
fn beside(directory: &Path) -> Result<PathBuf, Error> {
    let whole = std::fs::canonicalize(directory).map_err(Error::io("list", directory))?;
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(".repaired");
    Ok(whole.with_file_name(name))
}

/// Writes what is whole in the log in `from` to the directory `to`; without one it only looks. Nothing is
/// written when nothing is damaged.
///
/// # Errors
/// [`Error`]. What was written of `to` stays.
pub fn repair<F: Filesystem>(
    filesystem: &F,
    from: &Path,
    to: Option<&Path>,
    bounds: Bounds,
    progress: &mut dyn FnMut(u64),
) -> Result<Repaired, Error> {
    snapshot(filesystem, from)?;
    let _lock = filesystem
        .lock(&from.join(LOCK_NAME))
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::InUse(from.to_owned()),
            _ => Error::io("lock", from)(error),
        })?;
    // Taken again: a server may have stopped between the two.
    let snapshot = snapshot(filesystem, from)?;
    let mut repaired = Repaired {
        survey: survey(snapshot, from, bounds, Beside::NOBODY, progress)?,
        ..Repaired::default()
    };
    match to {
        Some(to) if repaired.survey.damage_count > 0 => {
            prepare(filesystem, to)?;
            write_all(filesystem, from, to, bounds, &mut repaired)?;
            filesystem.sync_directory(to).map_err(Error::io("flush", to))?;
        }
        _ => {
            let found: u64 = repaired.survey.damage.iter().map(|line| line.records).sum();
            repaired.records_saved = found;
            repaired.records_kept = repaired.survey.sum(|segment| segment.lines) + found;
        }
    }
    Ok(repaired)
}

/// Makes the directory, which must be empty.
fn prepare<F: Filesystem>(filesystem: &F, to: &Path) -> Result<(), Error> {
    filesystem
        .create_directory(to)
        .map_err(Error::io("create the directory", to))?;
    let mut taken = false;
    filesystem
        .list(to, &mut |_| taken = true)
        .map_err(Error::io("list", to))?;
    match taken {
        true => Err(Error::OutputTaken(to.to_owned())),
        false => Ok(()),
    }
}

fn write_all<F: Filesystem>(
    filesystem: &F,
    from: &Path,
    to: &Path,
    bounds: Bounds,
    repaired: &mut Repaired,
) -> Result<(), Error> {
    let mut snapshot = snapshot(filesystem, from)?;
    let mut index = Out::create(filesystem, to.join(INDEX_NAME))?;
    for surveyed in std::mem::take(&mut repaired.survey.segments) {
        let segment = open(&mut snapshot, from, &surveyed)?;
        if surveyed.damaged == 0 {
            copy(filesystem, segment, from, to)?;
            repaired.records_kept += surveyed.lines;
        } else {
            rewrite(filesystem, segment, to, bounds, &mut index, repaired)?;
        }
        repaired.survey.segments.push(surveyed);
    }
    index.finish()
}

fn open<F: Filesystem>(
    snapshot: &mut Snapshot<F>,
    from: &Path,
    surveyed: &SegmentSurvey,
) -> Result<Segment<F::File>, Error> {
    let segment = match surveyed.name {
        Name::Sealed(sealed) => snapshot.open(sealed),
        Name::Active => Ok(snapshot.active.take()),
    };
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let path = from.join(surveyed.name.to_string());
    segment
        .and_then(|segment| segment.ok_or_else(gone))
        .map_err(Error::io("open", &path))
}

/// A segment as it is, with the time of its last change, by which its age is told.
fn copy<F: Filesystem>(
    filesystem: &F,
    segment: Segment<F::File>,
    from: &Path,
    to: &Path,
) -> Result<(), Error> {
    let name = segment.name.to_string();
    let source = from.join(&name);
    let details = filesystem
        .details(&source)
        .map_err(Error::io("look at", &source))?;
    let mut out = Out::create(filesystem, to.join(&name))?;
    let mut block = vec![0; LOG_READ_BLOCK_BYTES];
    let mut at = 0;
    while at < segment.stored_bytes {
        let left = usize::try_from(segment.stored_bytes - at).unwrap_or(usize::MAX);
        let block = &mut block[..left.min(LOG_READ_BLOCK_BYTES)];
        segment
            .file
            .read_exact_at(at, block)
            .map_err(Error::io("read", &source))?;
        out.write(block)?;
        at += block.len() as u64;
    }
    out.flush()?;
    out.file
        .set_last_modified(details.modified)
        .map_err(Error::io("date", &source))?;
    out.finish()
}

/// What is whole of a damaged segment, and the rest in its side file.
fn rewrite<F: Filesystem>(
    filesystem: &F,
    segment: Segment<F::File>,
    to: &Path,
    bounds: Bounds,
    index: &mut Out<F::File>,
    repaired: &mut Repaired,
) -> Result<(), Error> {
    let name = segment.name;
    let plain = match name {
        Name::Sealed(sealed) => Name::Sealed(Sealed {
            compressed: false,
            ..sealed
        }),
        Name::Active => name,
    };
    let side_name = format!("{name}{SIDE_SUFFIX}");
    let mut lines = Out::create(filesystem, to.join(plain.to_string()))?;
    let mut side = Out::create(filesystem, to.join(&side_name))?;
    repaired.segments_rewritten += 1;
    scan::scan(segment, bounds, Beside::NOBODY, &mut |event| {
        match event {
            Event::Line(piece, _) => {
                repaired.records_kept += 1;
                lines.write(piece.bytes)?;
            }
            Event::Damaged(piece, why) => {
                let mut left_out = |start: usize, end: usize| {
                    let bytes = &piece.bytes[start..end];
                    let entry = entry(name, &piece, start, bytes.len(), &why, &side_name, side.written);
                    index.write(format!("{entry}\n").as_bytes())?;
                    repaired.bytes_left_out += bytes.len() as u64;
                    side.write(bytes)
                };
                let mut after = 0;
                for record in whole_records(piece.bytes) {
                    if record.start > after {
                        left_out(after, record.start)?;
                    }
                    after = record.end;
                    repaired.records_kept += 1;
                    repaired.records_saved += 1;
                    let bytes = &piece.bytes[record];
                    lines.write(bytes)?;
                    if !bytes.ends_with(b"\n") {
                        lines.write(b"\n")?;
                    }
                }
                if after < piece.bytes.len() || matches!(why, Why::Unreadable(_)) {
                    left_out(after, piece.bytes.len())?;
                }
            }
            Event::Unfinished(_) | Event::Progress(_) => {}
        }
        Ok::<(), Error>(())
    })?;
    side.finish()?;
    lines.finish()
}

/// One stretch that was left out, for the index.
fn entry(
    segment: Name,
    piece: &Piece<'_>,
    start: usize,
    bytes: usize,
    why: &Why,
    side_name: &str,
    side_offset: u64,
) -> Value {
    json!({
        "segment": segment.to_string(),
        "offset": piece.offset + start as u64,
        "line": piece.line,
        "bytes": bytes,
        "what": why.to_string(),
        "file": side_name,
        "file_offset": side_offset,
    })
}

/// A file that is written from its beginning to its end.
struct Out<L> {
    path: PathBuf,
    file: L,
    buffer: Vec<u8>,
    written: u64,
}

impl<L: LogFile> Out<L> {
    fn create<F: Filesystem<File = L>>(filesystem: &F, path: PathBuf) -> Result<Self, Error> {
        let file = filesystem
            .open_append(&path)
            .map_err(Error::io("create", &path))?;
        Ok(Self {
            path,
            file,
            buffer: Vec::new(),
            written: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        match self.buffer.len() >= LOG_READ_BLOCK_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match self.file.append(rest) {
                Ok(0) => return Err(Error::io("write", &self.path)(io::ErrorKind::WriteZero.into())),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("write", &self.path)(error)),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.file.sync().map_err(Error::io("flush", &self.path))
    }
}

fn text(from: &Path, to: Option<&Path>, repaired: &Repaired) -> String {
    let survey = &repaired.survey;
    let mut out = String::new();
    if survey.damage_count == 0 {
        let lines = counted(repaired.records_kept, "line", "lines");
        let _ = writeln!(
            out,
            "no damage in {}: all {lines} are sound, nothing to write",
            from.display()
        );
        return out;
    }
    for damaged in &survey.damage {
        let _ = writeln!(out, "{}", line_text(damaged));
    }
    let unlisted = survey.damage_count - survey.damage.len() as u64;
    if unlisted > 0 {
        let _ = writeln!(out, "and {}", counted(unlisted, "more", "more"));
    }
    let kept = counted(repaired.records_kept, "metric is", "metrics are");
    let saved = counted(repaired.records_saved, "is", "are");
    let Some(to) = to else {
        let _ = writeln!(
            out,
            "{kept} whole; of these {saved} in damaged lines; nothing was written"
        );
        return out;
    };
    let _ = writeln!(
        out,
        "{kept} whole and in {}, of these {saved} from damaged lines; {} left out ({INDEX_NAME} there says what \
         and from where)\nto use it: keep {} under another name and move {} to its place",
        to.display(),
        Bytes(repaired.bytes_left_out),
        from.display(),
        to.display()
    );
    out
}

fn json(from: &Path, to: Option<&Path>, repaired: &Repaired) -> Value {
    let survey = &repaired.survey;
    let written = to.filter(|_| survey.damage_count > 0);
    json!({
        "directory": from.display().to_string(),
        "output": written.map(|to| to.display().to_string()),
        "damaged_lines": survey.damage_count,
        "damage": survey.damage.iter().map(DamagedLine::json).collect::<Vec<_>>(),
        "records_kept": repaired.records_kept,
        "records_saved": repaired.records_saved,
        "bytes_left_out": written.map(|_| repaired.bytes_left_out),
        "segments_rewritten": repaired.segments_rewritten,
    })
}
