//! The settings of a command line with what the environment and a file add: the edge that reads them.
//!
//! Promises: whatever is wrong is found, all of it. [`check`] says it, a line each on standard error;
//! [`load`] leaves that to the caller.
//! Leaves to the caller: the exit code for [`Unusable`].

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use tracing_subscriber::EnvFilter;

use crate::config::sources::{self, FILE_VARIABLE, Merged, Problem, Sources};
use crate::config::{Config, Settings};
use crate::limits::CONFIG_FILE_BYTES_MAX;
use crate::sync::shim::thread;

/// Flags of every command that needs the server's settings.
#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    /// TOML file with settings, `queue_jobs_max = 512` for --queue-jobs-max; also METRICSTREAM_CONFIG
    ///
    /// A flag wins over the environment (METRICSTREAM_QUEUE_JOBS_MAX), which wins over the file, which wins
    /// over the default.
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// clap checks these; their values are taken from the matches, which know which were given.
    #[command(flatten)]
    pub settings: Settings,
}

/// Settings that can be used.
#[derive(Debug)]
pub struct Checked {
    /// Each with its origin.
    pub merged: Merged,
    /// What they amount to.
    pub config: Config,
    /// What `log_filter` says.
    pub filter: EnvFilter,
}

/// The settings cannot be used; why was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable;

/// The settings merged, checked, and found to be what a server can start with: see [`Checked`].
///
/// # Errors
/// [`Unusable`].
pub fn check(args: &SettingsArgs, matches: &ArgMatches) -> Result<Checked, Unusable> {
    let checked = load(args, matches).map_err(|problems| {
        for problem in problems {
            say(&problem);
        }
        Unusable
    })?;
    for variable in &checked.merged.unknown_variables {
        say(&format_args!(
            "note: {variable} is in the environment and is no setting"
        ));
    }
    Ok(checked)
}

/// As [`check`], silently.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn load(args: &SettingsArgs, matches: &ArgMatches) -> Result<Checked, Vec<String>> {
    let merged = merge(args.config_file.as_deref(), Some(matches))?;
    let config = merged
        .check(thread::cores())
        .map_err(|problem| vec![problem.to_string()])?;
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|error| {
        let filter = &config.log_filter;
        vec![format!("--log-filter {filter:?} is not a filter: {error}")]
    })?;
    Ok(Checked {
        merged,
        config,
        filter,
    })
}

/// The data directory of the settings in the environment and the file, for commands that need only that.
///
/// # Errors
/// [`Unusable`].
pub fn data_dir(config_file: Option<&Path>) -> Result<PathBuf, Unusable> {
    let merged = merge(config_file, None).map_err(|problems| {
        for problem in problems {
            say(&problem);
        }
        Unusable
    })?;
    Ok(merged.settings.data_dir)
}

fn merge(config_file: Option<&Path>, flags: Option<&ArgMatches>) -> Result<Merged, Vec<String>> {
    let from_environment = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
    let path = config_file
        .map(Path::to_owned)
        .or(from_environment.map(PathBuf::from));
    let file = match path {
        Some(path) => {
            let text = read(&path)
                .map_err(|error| vec![format!("cannot read the settings in {}: {error}", path.display())])?;
            Some((path, text))
        }
        None => None,
    };
    let sources = Sources {
        flags,
        environment: std::env::vars_os().collect(),
        file: file.as_ref().map(|(path, text)| (path.as_path(), text.as_str())),
    };
    let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
    sources::merge(&sources).map_err(texts)
}

fn say(what: &dyn std::fmt::Display) {
    eprintln!("metricstream: {what}");
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let seen = File::open(path)?
        .take(CONFIG_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if seen as u64 > CONFIG_FILE_BYTES_MAX {
        let limit = format!("longer than the limit of {CONFIG_FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(text)
}
