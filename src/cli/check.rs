//! `metricstream check`: whether a server would start with these settings, without starting one.

use std::process::ExitCode;

use clap::ArgMatches;

use super::settings::{self, Checked, SettingsArgs, Unusable};
use crate::app;
use crate::config::sources::Origin;

/// Say whether settings can be used, and what is wrong with them and where
///
/// Reads the flags, the environment and the file as `serve` does, the tokens too, and changes nothing. Exit
/// code: 0 when a server would take them, 2 when not.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Checks.
#[must_use]
pub fn run(args: &CheckArgs, matches: &ArgMatches) -> ExitCode {
    let Checked { merged, config, .. } = match settings::check(&args.settings, matches) {
        Ok(checked) => checked,
        Err(Unusable) => return ExitCode::from(super::BAD_USAGE),
    };
    if let Err(error) = app::check_files(&config) {
        eprintln!("metricstream: {error}");
        return ExitCode::from(super::BAD_USAGE);
    }
    let given = merged
        .effective
        .iter()
        .filter(|setting| setting.origin != Origin::Default);
    println!(
        "settings are usable: {} set, the others have their defaults",
        given.count()
    );
    ExitCode::SUCCESS
}
