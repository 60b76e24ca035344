//! What a whole log holds: lines, times and damage, segment by segment.
//!
//! Promises: memory is some hundred bytes a segment and at most [`LOG_DAMAGE_LISTED_MAX`] damaged lines; the
//! others are counted.
//! Leaves to the caller: printing it.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};

use super::Error;
use super::scan::{self, Beside, Event, whole_records};
use crate::clock::WallTime;
use crate::limits::LOG_DAMAGE_LISTED_MAX;
use crate::log::fs::Filesystem;
use crate::log::reader::{Bounds, Form, Name, Segment, Snapshot};
use crate::log::segment::Sealed;
use crate::metric::time;

/// A log.
#[derive(Debug, Default)]
pub struct Survey {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentSurvey>,
    /// Numbers between the first and the last of which there is no segment.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Files that a crash left and that hold no line of their own.
    pub leftovers: Vec<String>,
    /// Damage, from the first on.
    pub damage: Vec<DamagedLine>,
    /// How much there is, with what is not listed.
    pub damage_count: u64,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct SegmentSurvey {
    /// Which.
    pub name: Name,
    /// Length of its file.
    pub stored_bytes: u64,
    /// Length of its lines, decompressed.
    pub bytes: u64,
    /// Stored lines.
    pub lines: u64,
    /// Damaged lines.
    pub damaged: u64,
    /// The oldest and the newest time in it.
    pub times: Option<(WallTime, WallTime)>,
    /// Bytes of the line that the server was writing.
    pub unfinished_bytes: u64,
}

/// A line that is damaged.
#[derive(Clone, Debug)]
pub struct DamagedLine {
    /// Its segment.
    pub segment: Name,
    /// The offset of its first byte in the segment's lines.
    pub offset: u64,
    /// Its number in the segment, from 1.
    pub line: u64,
    /// Its length.
    pub bytes: u64,
    /// Whole stored metrics in it, which a repair keeps.
    pub records: u64,
    /// What is wrong.
    pub what: String,
}

impl DamagedLine {
    /// As an object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "segment": self.segment.to_string(),
            "offset": self.offset,
            "line": self.line,
            "bytes": self.bytes,
            "whole_records": self.records,
            "what": self.what,
        })
    }
}

impl Survey {
    /// The sum over all segments.
    pub fn sum(&self, of: impl Fn(&SegmentSurvey) -> u64) -> u64 {
        self.segments.iter().map(of).sum()
    }

    /// The oldest and the newest time.
    #[must_use]
    pub fn times(&self) -> Option<(WallTime, WallTime)> {
        let times = self.segments.iter().filter_map(|segment| segment.times);
        times.reduce(|(oldest, newest), (first, last)| (oldest.min(first), newest.max(last)))
    }
}

impl SegmentSurvey {
    const fn new(name: Name, stored_bytes: u64) -> Self {
        Self {
            name,
            stored_bytes,
            bytes: 0,
            lines: 0,
            damaged: 0,
            times: None,
            unfinished_bytes: 0,
        }
    }

    /// Whether it is a zstd file.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        matches!(self.name, Name::Sealed(Sealed { compressed: true, .. }))
    }

    fn note_time(&mut self, at: WallTime) {
        let (oldest, newest) = self.times.unwrap_or((at, at));
        self.times = Some((oldest.min(at), newest.max(at)));
    }
}

/// A time as stored lines have it.
#[must_use]
pub fn time_text(at: WallTime) -> String {
    String::from_utf8_lossy(&time::format(at.epoch_millis())).into_owned()
}

/// The segments of the log in `directory` now; one at least.
///
/// # Errors
/// [`Error`], also when there is no log.
pub fn snapshot<F: Filesystem>(filesystem: &F, directory: &Path) -> Result<Snapshot<F>, Error> {
    let snapshot = Snapshot::take(filesystem, directory).map_err(Error::io("list", directory))?;
    if snapshot.active.is_none() && snapshot.sealed.is_empty() {
        return Err(Error::NoLog(directory.to_owned()));
    }
    Ok(snapshot)
}

/// Reads the whole log of `snapshot`. `progress` is told of bytes read, of the stored length.
///
/// # Errors
/// [`Error`] when a segment cannot be opened; what cannot be read of an open one is damage.
pub fn survey<F: Filesystem>(
    mut snapshot: Snapshot<F>,
    directory: &Path,
    bounds: Bounds,
    beside: Beside<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Survey, Error> {
    let mut survey = Survey {
        missing: missing(&snapshot.sealed),
        leftovers: std::mem::take(&mut snapshot.leftovers),
        ..Survey::default()
    };
    for &sealed in &snapshot.sealed {
        // One that retention removed since is no part of the log any more.
        let path = directory.join(sealed.file_name());
        if let Some(segment) = snapshot.open(sealed).map_err(Error::io("open", &path))? {
            survey.add(segment, bounds, beside, progress);
        }
    }
    if let Some(active) = snapshot.active.take() {
        survey.add(active, bounds, beside, progress);
    }
    Ok(survey)
}

/// The numbers that are not there between those that are.
fn missing(sealed: &[Sealed]) -> Vec<RangeInclusive<u64>> {
    let pairs = sealed.iter().zip(sealed.iter().skip(1));
    pairs
        .filter(|(one, next)| one.number + 1 < next.number)
        .map(|(one, next)| one.number + 1..=next.number - 1)
        .collect()
}

impl Survey {
    /// Reads one segment.
    pub fn add<L: crate::log::fs::LogFile>(
        &mut self,
        segment: Segment<L>,
        bounds: Bounds,
        beside: Beside<'_>,
        progress: &mut dyn FnMut(u64),
    ) {
        let mut found = SegmentSurvey::new(segment.name, segment.stored_bytes);
        let Ok(()) = scan::scan::<_, Infallible>(segment, bounds, beside, &mut |event| {
            match event {
                Event::Line(piece, stored) => {
                    found.lines += 1;
                    found.bytes += piece.bytes.len() as u64;
                    found.note_time(stored.timestamp);
                }
                Event::Damaged(piece, why) => {
                    found.bytes += piece.bytes.len() as u64;
                    let records = whole_records(piece.bytes).count() as u64;
                    let bytes = piece.bytes.len() as u64;
                    if let Form::Part { first: false, .. } = piece.form {
                        self.extend_last(found.name, piece.line, bytes, records);
                    } else {
                        found.damaged += 1;
                        self.note(|| DamagedLine {
                            segment: found.name,
                            offset: piece.offset,
                            line: piece.line,
                            bytes,
                            records,
                            what: why.to_string(),
                        });
                    }
                }
                Event::Unfinished(piece) => found.unfinished_bytes = piece.bytes.len() as u64,
                Event::Progress(bytes) => progress(bytes),
            }
            Ok(())
        });
        self.segments.push(found);
    }

    fn note(&mut self, line: impl FnOnce() -> DamagedLine) {
        self.damage_count += 1;
        if self.damage.len() < LOG_DAMAGE_LISTED_MAX {
            self.damage.push(line());
        }
    }

    /// A further part of the line noted last, if that is listed.
    fn extend_last(&mut self, segment: Name, line: u64, bytes: u64, records: u64) {
        let last = self.damage.last_mut();
        if let Some(last) = last.filter(|last| (last.segment, last.line) == (segment, line)) {
            last.bytes += bytes;
            last.records += records;
        }
    }
}
