//! cli

use std::process::ExitCode;

/// Parses the arguments, runs the command and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
