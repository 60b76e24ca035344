//! One segment from its first line to its last, each a stored line or damage.
//!
//! Promises: every byte up to the segment's end is in exactly one [`Event`], in order. Beside a server that
//! runs, nothing it is writing is taken for damage: what looks damaged in the active segment is read again
//! half a second later, and a last line that is not whole then is [`Event::Unfinished`].
//! Leaves to the caller: whether a server runs, and how to wait.

use std::io;
use std::ops::Range;
use std::time::Duration;

use memchr::memmem;

use crate::log::fs::LogFile;
use crate::log::reader::{Bounds, Damage, Form, Name, Piece, Segment, Source};
use crate::metric::stored::{self, Stored};

/// How long a server may take for one write; what is damaged after that is damage.
pub const SETTLE: Duration = Duration::from_millis(500);

/// Bytes read between two notes of progress.
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// Why a piece is no stored line.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It is no line of JSON.
    #[error("{0}")]
    Damage(Damage),
    /// It is JSON, and no stored metric.
    #[error("not a stored line: {0}")]
    NotStored(stored::Error),
    /// The rest of the segment cannot be read.
    #[error("the rest of the segment cannot be read: {0}")]
    Unreadable(io::Error),
}

/// What comes next in a segment.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stored line.
    Line(Piece<'a>, &'a Stored<'a>),
    /// Something else.
    Damaged(Piece<'a>, Why),
    /// The line that the server is writing.
    Unfinished(Piece<'a>),
    /// So many bytes of the file were read since the last note.
    Progress(u64),
}

/// How to treat a segment that a server appends to.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Whether a server has the log.
    pub running: bool,
    /// Waits for so long.
    pub wait: &'a dyn Fn(Duration),
}

impl Beside<'_> {
    /// Nobody writes.
    pub const NOBODY: Beside<'static> = Beside {
        running: false,
        wait: &|_| {},
    };
}

/// Calls `each` for everything in `segment`, until it answers with an error.
///
/// # Errors
/// Those of `each`. What cannot be read is an event.
pub fn scan<L: LogFile, E>(
    segment: Segment<L>,
    bounds: Bounds,
    beside: Beside<'_>,
    each: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (name, end) = (segment.name, segment.stored_bytes);
    let grows = name == Name::Active && beside.running;
    let mut settled = !grows;
    let mut noted = 0;
    let mut reader = match segment.lines(bounds) {
        Ok(reader) => reader,
        Err(error) => return each(unreadable(0, 1, error)),
    };
    loop {
        let (offset, line) = (reader.offset(), reader.line());
        if grows && offset >= end {
            return Ok(());
        }
        let read = reader.source().stored_at();
        if read >= noted + PROGRESS_BYTES {
            each(Event::Progress(read - noted))?;
            noted = read;
        }
        let event = match reader.next_piece() {
            Ok(Some(piece)) => piece,
            Ok(None) => return each(Event::Progress(end.saturating_sub(noted))),
            Err(error) => return each(unreadable(offset, line, error)),
        };
        match judge(&event, bounds) {
            Ok(stored) => each(Event::Line(event, &stored))?,
            Err(_) if !settled => {
                (beside.wait)(SETTLE);
                settled = true;
                if let Err(error) = reader.restart_at(offset, line, Source::seek) {
                    return each(unreadable(offset, line, error));
                }
            }
            Err(Why::Damage(Damage::Torn)) if grows => each(Event::Unfinished(event))?,
            Err(why) => each(Event::Damaged(event, why))?,
        }
    }
}

fn unreadable(offset: u64, line: u64, error: io::Error) -> Event<'static> {
    let piece = Piece {
        offset,
        line,
        bytes: b"",
        form: Form::Torn,
    };
    Event::Damaged(piece, Why::Unreadable(error))
}

/// Whether a piece is a stored line.
fn judge<'a>(piece: &Piece<'a>, bounds: Bounds) -> Result<Stored<'a>, Why> {
    let parsed = match piece.form {
        Form::Line => stored::parse(piece.content()),
        Form::Torn | Form::Part { .. } => {
            let limit = bounds.line_bytes_max;
            let damage = piece.damage(bounds).unwrap_or(Damage::TooLong { limit });
            return Err(Why::Damage(damage));
        }
    };
    parsed.map_err(|error| match piece.damage(bounds) {
        Some(damage) => Why::Damage(damage),
        None => Why::NotStored(error),
    })
}

/// Where whole stored metrics stand in the bytes of a damaged piece, each with its line feed if it has one.
pub fn whole_records(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut after = 0;
    memmem::find_iter(bytes, stored::START).filter_map(move |start| {
        if start < after {
            return None;
        }
        let (_, length) = stored::parse_start(&bytes[start..]).ok()?;
        let end = start + length;
        let feed = usize::from(bytes.get(end) == Some(&b'\n'));
        after = end + feed;
        Some(start..after)
    })
}

#[cfg(test)]
mod tests {
    use super::super::bounds;
    use super::*;
    use crate::log::fs::Filesystem as _;
    use crate::log::reader::Snapshot;
    use crate::log::segment::ACTIVE_NAME;
    use crate::log::simulated::SimulatedDisk;
    use std::convert::Infallible;
    use std::path::{Path, PathBuf};

    fn line(value: u32) -> String {
        format!(
            "{{\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"name\":\"n\",\"value\":{value},\"type\":\"gauge\",\"tags\":{{}}}}\n"
        )
    }

    fn path() -> PathBuf {
        Path::new("data").join(ACTIVE_NAME)
    }

    /// The events of a log with this active segment, in short; `meanwhile` is what the server does while the
    /// scan waits.
    fn events(content: &str, running: bool, meanwhile: impl Fn(&SimulatedDisk)) -> Vec<String> {
        let disk = SimulatedDisk::new();
        disk.put(&path(), content.as_bytes());
        let segment = Snapshot::take(&disk, Path::new("data")).unwrap().active.unwrap();
        let mut events = Vec::new();
        let beside = Beside {
            running,
            wait: &|_| meanwhile(&disk),
        };
        let Ok(()) = scan::<_, Infallible>(segment, bounds(1024), beside, &mut |event| {
            events.extend(match event {
                Event::Line(_, stored) => Some(format!("line {}", stored.value_text())),
                Event::Damaged(piece, why) => Some(format!("damage at {}: {why}", piece.offset)),
                Event::Unfinished(piece) => Some(format!("unfinished at {}", piece.offset)),
                Event::Progress(_) => None,
            });
            Ok(())
        });
        events
    }

    #[test]
    fn a_torn_line_is_damage_unless_a_server_is_writing_it() {
        let (first, second) = (line(1), line(2));
        let torn = format!("{first}{}", &second[..20]);
        let at = first.len();
        let damaged = format!("damage at {at}: torn: the segment ends before the line does");
        assert_eq!(events(&torn, false, |_| {}), ["line 1".to_owned(), damaged]);
        assert_eq!(
            events(&torn, true, |_| {}),
            ["line 1".to_owned(), format!("unfinished at {at}")]
        );
        let finish = |disk: &SimulatedDisk| {
            let rest = format!("{}{}", &line(2)[20..], line(3));
            disk.open_append(&path())
                .unwrap()
                .append(rest.as_bytes())
                .unwrap();
        };
        // What began later than the scan is not in it.
        assert_eq!(events(&torn, true, finish), ["line 1", "line 2"]);
    }

    #[test]
    fn what_the_server_cut_off_and_wrote_anew_is_no_damage() {
        let torn = format!("{}{}", line(1), "{\"timestamp\":\"2026 and a part of");
        let cut = |disk: &SimulatedDisk| {
            let file = disk.open_append(&path()).unwrap();
            file.truncate(line(1).len() as u64).unwrap();
            file.append(line(7).as_bytes()).unwrap();
        };
        assert_eq!(events(&torn, true, cut), ["line 1", "line 7"]);
    }

    #[test]
    fn damage_beside_a_server_is_damage_when_it_stays() {
        let content = format!("{}nonsense\n{}", line(1), line(2));
        let at = line(1).len();
        let events = events(&content, true, |_| {});
        assert_eq!(events.len(), 3);
        assert!(
            events[1].starts_with(&format!("damage at {at}: invalid JSON")),
            "{events:?}"
        );
    }

    #[test]
    fn whole_records_are_found_in_anything() {
        let (a, b) = (line(1), line(22));
        let cases = [
            (format!("\0\0\0{a}"), vec![(3, 3 + a.len())]),
            (format!("{}{b}", &a[..30]), vec![(30, 30 + b.len())]),
            (
                format!("{}x{b}", a.trim_end()),
                vec![(0, a.len() - 1), (a.len(), a.len() + b.len())],
            ),
            (a.trim_end().to_owned(), vec![(0, a.len() - 1)]),
            (a[1..].to_owned(), vec![]),
            (String::new(), vec![]),
        ];
        for (bytes, expected) in cases {
            let found = whole_records(bytes.as_bytes()).map(|range| (range.start, range.end));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{bytes:?}");
        }
    }
}
