//! `metricstream log inspect`: what is in the log.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::survey::{self, SegmentSurvey, Survey, time_text};
use super::{Bytes, Error, Format, LogDirectory, counted, progress, running};
use crate::cli::BAD_USAGE;
use crate::log::fs::SystemDisk;

/// Show the segments of the log: sizes, lines, and from when to when
///
/// Reads every line, also of compressed segments, and may run beside a server. Lines that are damaged are
/// counted; `verify` says what is wrong with them. Exit code: 0, 1 when a segment cannot be opened, 2 when
/// there is no log.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    #[command(flatten)]
    log: LogDirectory,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Inspects.
#[must_use]
pub fn run(args: &InspectArgs) -> ExitCode {
    let Ok(directory) = args.log.path() else {
        return ExitCode::from(BAD_USAGE);
    };
    let server = running::server(&directory);
    match survey_of(&directory, &args.log) {
        Ok(survey) => match args.format {
            Format::Text => super::super::print(&text(&directory, &survey, server)),
            Format::Json => super::super::print(&(json(&directory, &survey, server).to_string() + "\n")),
        },
        Err(error) => error.exit(),
    }
}

/// Surveys the log in `directory` with a progress bar.
pub(super) fn survey_of(directory: &Path, log: &LogDirectory) -> Result<Survey, Error> {
    let snapshot = survey::snapshot(&SystemDisk, directory)?;
    let bar = progress::bar(progress::stored_bytes(&snapshot, directory));
    let beside = running::beside(directory);
    let result = survey::survey(snapshot, directory, log.bounds(), beside, &mut |bytes| {
        bar.inc(bytes)
    });
    bar.finish_and_clear();
    result
}

fn text(directory: &Path, survey: &Survey, server: Option<u32>) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<30} {:>12} {:>12} {:>14}  {:<24}  {:<24}",
        "segment", "file", "lines in it", "lines", "oldest", "newest"
    );
    for segment in &survey.segments {
        let (oldest, newest) = match segment.times {
            Some((oldest, newest)) => (time_text(oldest), time_text(newest)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let _ = writeln!(
            out,
            "{:<30} {:>12} {:>12} {:>14}  {oldest:<24}  {newest:<24}",
            segment.name.to_string(),
            Bytes(segment.stored_bytes).to_string(),
            Bytes(segment.bytes).to_string(),
            indicatif::HumanCount(segment.lines).to_string(),
        );
    }
    let lines = counted(survey.sum(|segment| segment.lines), "line", "lines");
    let segments = counted(survey.segments.len() as u64, "segment", "segments");
    let stored = Bytes(survey.sum(|segment| segment.stored_bytes));
    let _ = writeln!(
        out,
        "{lines} in {segments}, {stored} on disk in {}",
        directory.display()
    );
    notes(&mut out, survey, server);
    if survey.damage_count > 0 {
        let count = counted(survey.damage_count, "damaged line", "damaged lines");
        let _ = writeln!(out, "{count}: `metricstream log verify` says where and what");
    }
    out
}

/// What is to be known besides the lines.
pub(super) fn notes(out: &mut String, survey: &Survey, server: Option<u32>) {
    if let Some(pid) = server {
        let _ = writeln!(out, "a server is running on it, process {pid}");
    }
    let unfinished = survey.sum(|segment| segment.unfinished_bytes);
    if unfinished > 0 {
        let _ = writeln!(
            out,
            "{unfinished} bytes at the end are a line that is being written"
        );
    }
    for missing in &survey.missing {
        let (first, last) = (missing.start(), missing.end());
        let which = match first == last {
            true => format!("segment {first} is"),
            false => format!("segments {first} to {last} are"),
        };
        let _ = writeln!(out, "note: {which} not there, though older ones are");
    }
    for leftover in &survey.leftovers {
        let _ = writeln!(
            out,
            "note: {leftover} was left by a crash and is not read: its lines are elsewhere"
        );
    }
}

fn json(directory: &Path, survey: &Survey, server: Option<u32>) -> Value {
    let times = |times: Option<(_, _)>| match times {
        Some((oldest, newest)) => (Some(time_text(oldest)), Some(time_text(newest))),
        None => (None, None),
    };
    let segment = |segment: &SegmentSurvey| {
        let (oldest, newest) = times(segment.times);
        json!({
            "name": segment.name.to_string(),
            "compressed": segment.is_compressed(),
            "stored_bytes": segment.stored_bytes,
            "bytes": segment.bytes,
            "lines": segment.lines,
            "damaged_lines": segment.damaged,
            "oldest": oldest,
            "newest": newest,
        })
    };
    let (oldest, newest) = times(survey.times());
    json!({
        "directory": directory.display().to_string(),
        "server_pid": server,
        "segments": survey.segments.iter().map(segment).collect::<Vec<_>>(),
        "stored_bytes": survey.sum(|segment| segment.stored_bytes),
        "bytes": survey.sum(|segment| segment.bytes),
        "lines": survey.sum(|segment| segment.lines),
        "damaged_lines": survey.damage_count,
        "unfinished_bytes": survey.sum(|segment| segment.unfinished_bytes),
        "oldest": oldest,
        "newest": newest,
        "missing_segments": missing(survey),
        "leftovers": survey.leftovers,
    })
}

/// The numbers that are missing, as pairs of the first and the last.
pub(super) fn missing(survey: &Survey) -> Vec<[u64; 2]> {
    survey
        .missing
        .iter()
        .map(|range| [*range.start(), *range.end()])
        .collect()
}
