//! `metricstream log verify`: whether every line is a stored line.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::inspect::{missing, notes, survey_of};
use super::survey::{DamagedLine, Survey};
use super::{Bytes, Format, LogDirectory, counted, running};
use crate::cli::BAD_USAGE;

/// Check every line of the log and say what is damaged and where
///
/// Reads every line, also of compressed segments, and may run beside a server: the line that it is writing is
/// no damage. A line is sound when it is exactly what the server writes; lines have no checksum, so one that
/// was changed into another such line is not found out. Exit code: 0 when the log is sound, 1 when it is
/// damaged or cannot be read, 2 when there is no log.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    log: LogDirectory,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Verifies.
#[must_use]
pub fn run(args: &VerifyArgs) -> ExitCode {
    let Ok(directory) = args.log.path() else {
        return ExitCode::from(BAD_USAGE);
    };
    let server = running::server(&directory);
    let survey = match survey_of(&directory, &args.log) {
        Ok(survey) => survey,
        Err(error) => return error.exit(),
    };
    let printed = match args.format {
        Format::Text => text(&directory, &survey, server),
        Format::Json => json(&directory, &survey, server).to_string() + "\n",
    };
    super::super::print(&printed);
    match survey.damage_count {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

/// One damaged line for people.
pub(super) fn line_text(damaged: &DamagedLine) -> String {
    let DamagedLine {
        segment,
        offset,
        line,
        bytes,
        records,
        what,
    } = damaged;
    let kept = match records {
        0 => String::new(),
        count => format!(
            " ({})",
            counted(*count, "whole record in it", "whole records in it")
        ),
    };
    format!("{segment} line {line} at byte {offset}, {bytes} bytes: {what}{kept}")
}

fn text(directory: &Path, survey: &Survey, server: Option<u32>) -> String {
    let mut out = String::new();
    for damaged in &survey.damage {
        let _ = writeln!(out, "{}", line_text(damaged));
    }
    let unlisted = survey.damage_count - survey.damage.len() as u64;
    if unlisted > 0 {
        let _ = writeln!(out, "and {}", counted(unlisted, "more", "more"));
    }
    let lines = counted(survey.sum(|segment| segment.lines), "sound line", "sound lines");
    let segments = counted(survey.segments.len() as u64, "segment", "segments");
    let bytes = Bytes(survey.sum(|segment| segment.bytes));
    let damaged = match survey.damage_count {
        0 => "no damage".to_owned(),
        count => counted(count, "damaged line", "damaged lines"),
    };
    let _ = writeln!(
        out,
        "{damaged}, {lines}: {bytes} in {segments} of {}",
        directory.display()
    );
    notes(&mut out, survey, server);
    if survey.damage_count > 0 {
        let _ = writeln!(
            out,
            "`metricstream log repair` writes all that is whole to another directory"
        );
    }
    out
}

fn json(directory: &Path, survey: &Survey, server: Option<u32>) -> Value {
    json!({
        "directory": directory.display().to_string(),
        "server_pid": server,
        "sound": survey.damage_count == 0,
        "segments": survey.segments.len(),
        "lines": survey.sum(|segment| segment.lines),
        "bytes": survey.sum(|segment| segment.bytes),
        "damaged_lines": survey.damage_count,
        "damage": survey.damage.iter().map(DamagedLine::json).collect::<Vec<_>>(),
        "unfinished_bytes": survey.sum(|segment| segment.unfinished_bytes),
        "missing_segments": missing(survey),
        "leftovers": survey.leftovers,
    })
}
