//! Where settings come from: a flag wins over the environment, which wins over a file, which wins over the
//! default.
//!
//! A setting has one name in three spellings: `--queue-jobs-max` as a flag, `METRICSTREAM_QUEUE_JOBS_MAX` in
//! the environment, `queue_jobs_max` in a TOML file. A variable that is empty is not set.
//!
//! Promises: everything wrong with the sources is found in one pass, each with the place where it is; a key
//! of the file that names no setting is refused with the nearest that does. A variable that names no setting
//! is only warned of: an orchestrator may inject its own with the same prefix (Kubernetes does so for a
//! service named metricstream). Which source won is known for each setting.
//! Leaves to the caller: reading the file and the environment, and [`Settings::check`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml_edit::{Document, Item, Value};

use super::{Config, ConfigError, RELOADABLE, Settings, alerts};
use crate::monitor::alerts::Rule;

/// What the name of every variable begins with.
pub const PREFIX: &str = "METRICSTREAM_";

/// The variable that names the file, as `--config` does.
pub const FILE_VARIABLE: &str = "METRICSTREAM_CONFIG";

/// A setting as it is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key in a file: `queue_jobs_max`.
    pub key: String,
    /// What its value is, as the help says it: `COUNT`, `MS`, `DIR`.
    pub value_name: String,
    /// Its default, as it would be written; `None` when without it nothing is set.
    pub default: Option<String>,
    /// What it does.
    pub help: String,
}

impl Entry {
    /// The flag, dashes included.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// Whether a reload puts a change of it in force.
    #[must_use]
    pub fn is_reloadable(&self) -> bool {
        RELOADABLE.contains(&self.key.as_str())
    }

    /// The variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase())
    }
}

/// Every setting, in the order of the help.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let command = Settings::command();
    let entry = |arg: &clap::Arg| Entry {
        key: arg.get_id().to_string(),
        value_name: arg
            .get_value_names()
            .and_then(<[_]>::first)
            .map_or_else(String::new, ToString::to_string),
        default: arg
            .get_default_values()
            .first()
            .map(|value| value.to_string_lossy().into_owned()),
        help: arg.get_help().map_or_else(String::new, ToString::to_string),
    };
    command.get_arguments().map(entry).collect()
}

/// The source that a setting's value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag,
    /// The environment.
    Environment {
        /// The variable.
        variable: String,
    },
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment { variable } => f.write_str(variable),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Which.
    pub entry: Entry,
    /// Its value as written; `None` when it has none.
    pub value: Option<OsString>,
    /// Where that is from.
    pub origin: Origin,
}

/// Something wrong with the sources. The text begins with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// No setting has this name.
    #[error("{}:{line}: there is no setting {key}{}", .path.display(), hint(.nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The name seen.
        key: String,
        /// The setting whose name is nearest, if one is near.
        nearest: Option<String>,
    },
    /// A rule of an alert that cannot be used.
    #[error("{}:{line}: {message}", .path.display())]
    Alert {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A table, an array or a value that no setting takes.
    #[error("{}:{line}: {key} is {seen}; a setting is a string or an integer", .path.display())]
    NotAScalar {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The setting.
        key: String,
        /// What stands there.
        seen: &'static str,
    },
    /// A value that is not of the setting's kind.
    #[error("{origin}: {reason}")]
    Value {
        /// Where it is.
        origin: Origin,
        /// What is wrong, with the value seen and what is taken.
        reason: String,
    },
    /// A value out of its range or unfit beside another.
    #[error("{}{error}", place(.origin))]
    Check {
        /// Where the value is.
        origin: Origin,
        /// What is wrong.
        error: ConfigError,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// A flag or a default needs no place: the text names the flag.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Flag | Origin::Default => String::new(),
        Origin::Environment { .. } | Origin::File { .. } => format!("{origin}: "),
    }
}

/// The sources to merge.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// What clap made of the command line; `None` when there is none.
    pub flags: Option<&'a ArgMatches>,
    /// The environment, or what of it concerns us.
    pub environment: Vec<(OsString, OsString)>,
    /// The path and the text of the file.
    pub file: Option<(&'a Path, &'a str)>,
}

/// What the sources amount to.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The settings, each from the source that wins.
    pub settings: Settings,
    /// Each setting with its origin, in the order of the help.
    pub effective: Vec<Effective>,
    /// Variables that look like settings and are none.
    pub unknown_variables: Vec<String>,
}

/// Merges `sources`.
///
/// # Errors
/// Everything that is wrong, at least one; what wins and what does not are both looked at.
pub fn merge(sources: &Sources<'_>) -> Result<Merged, Vec<Problem>> {
    let entries = entries();
    let mut problems = Vec::new();
    let File { found: file, rules } = read_file(sources.file, &entries, &mut problems);
    let (variables, unknown_variables) = read_environment(&sources.environment, &entries);
    let mut effective = Vec::new();
    for entry in entries {
        let mut candidates = Vec::new();
        candidates.extend(flag(sources.flags, &entry).map(|value| (value, Origin::Flag)));
        candidates.extend(
            variables
                .iter()
                .filter(|(key, ..)| *key == entry.key)
                .map(of_variable),
        );
        candidates.extend(file.iter().filter(|(key, ..)| *key == entry.key).map(of_file));
        problems.extend(
            candidates
                .iter()
                .filter_map(|(value, origin)| check_one(&entry, value, origin)),
        );
        let default = (entry.default.clone().map(OsString::from), Origin::Default);
        let (value, origin) = candidates
            .into_iter()
            .next()
            .map_or(default, |(value, origin)| (Some(value), origin));
        effective.push(Effective { entry, value, origin });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let flags = effective.iter().filter_map(|setting| {
        let value = setting.value.as_ref()?;
        Some(as_flag(&setting.entry, value))
    });
    match Settings::from_flags(flags) {
        Ok(settings) => Ok(Merged {
            settings: Settings {
                alerts: rules,
                ..settings
            },
            effective,
            unknown_variables,
        }),
        // Each value was parsed alone, so this is about two of them; no two settings exclude each other.
        Err(error) => Err(vec![Problem::Value {
            origin: Origin::Flag,
            reason: reason(&error),
        }]),
    }
}

impl Merged {
    /// [`Settings::check`], with the place of what is wrong.
    ///
    /// # Errors
    /// [`Problem::Check`].
    pub fn check(&self, cores: usize) -> Result<Config, Problem> {
        self.settings.clone().check(cores).map_err(|error| {
            let name = error.setting().replace('-', "_");
            let origin = self.effective.iter().find(|setting| setting.entry.key == name);
            Problem::Check {
                origin: origin.map_or(Origin::Default, |setting| setting.origin.clone()),
                error,
            }
        })
    }
}

/// The names of the settings that differ between what is in force and what was read anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a reload puts in force.
    pub reloaded: Vec<String>,
    /// Those that take a restart.
    pub restart: Vec<String>,
}

impl Changes {
    /// What a reload changes that finds `next` while `in_force` is; both as [`merge`] made them.
    #[must_use]
    pub fn between(in_force: &[Effective], next: &[Effective]) -> Self {
        let mut changes = Self::default();
        let pairs = in_force.iter().zip(next);
        for (_, next) in pairs.filter(|(before, next)| before.value != next.value) {
            let names = if next.entry.is_reloadable() {
                &mut changes.reloaded
            } else {
                &mut changes.restart
            };
            names.push(next.entry.key.clone());
        }
        changes
    }
}

/// What a file holds.
#[derive(Default)]
struct File {
    found: Vec<InFile>,
    rules: Vec<Rule>,
}

type InFile = (String, OsString, Origin);

type InEnvironment = (String, OsString, Origin);

fn of_variable((_, value, origin): &InEnvironment) -> (OsString, Origin) {
    (value.clone(), origin.clone())
}

fn of_file((_, value, origin): &InFile) -> (OsString, Origin) {
    (value.clone(), origin.clone())
}

fn flag(matches: Option<&ArgMatches>, entry: &Entry) -> Option<OsString> {
    let matches = matches?;
    if matches.value_source(&entry.key) != Some(ValueSource::CommandLine) {
        return None;
    }
    Some(matches.get_raw(&entry.key)?.next_back()?.to_owned())
}

fn as_flag(entry: &Entry, value: &OsStr) -> OsString {
    let mut flag = OsString::from(entry.flag());
    flag.push("=");
    flag.push(value);
    flag
}

/// What is wrong with `value` by itself.
fn check_one(entry: &Entry, value: &OsStr, origin: &Origin) -> Option<Problem> {
    let error = Settings::from_flags([as_flag(entry, value)]).err()?;
    Some(Problem::Value {
        origin: origin.clone(),
        reason: reason(&error),
    })
}

/// clap's text as one line, without its frame.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ")
}

fn read_environment(
    environment: &[(OsString, OsString)],
    entries: &[Entry],
) -> (Vec<InEnvironment>, Vec<String>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (variable, value) in environment {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if variable == FILE_VARIABLE || value.is_empty() {
            continue;
        }
        let origin = Origin::Environment {
            variable: variable.to_owned(),
        };
        match entries.iter().find(|entry| entry.variable() == variable) {
            Some(entry) => known.push((entry.key.clone(), value.clone(), origin)),
            None => unknown.push(variable.to_owned()),
        }
    }
    (known, unknown)
}

fn read_file(file: Option<(&Path, &str)>, entries: &[Entry], problems: &mut Vec<Problem>) -> File {
    let mut content = File::default();
    let Some((path, text)) = file else {
        return content;
    };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let (line, column) = place_of(text, error.span().map_or(0, |span| span.start));
            problems.push(Problem::Toml {
                path: path.to_owned(),
                line,
                column,
                message: error.message().replace('\n', ", "),
            });
            return content;
        }
    };
    let table = document.as_table();
    for (key, item) in table.iter() {
        let at = table
            .key(key)
            .and_then(toml_edit::Key::span)
            .or_else(|| item.span());
        let (line, _) = place_of(text, at.map_or(0, |span| span.start));
        let (path, key) = (path.to_owned(), key.to_owned());
        if key == alerts::KEY {
            content.rules = read_rules(&path, text, item, problems);
            continue;
        }
        if !entries.iter().any(|entry| entry.key == key) {
            let keys = entries.iter().map(|entry| entry.key.clone());
            let nearest = nearest(&key, keys.chain([alerts::KEY.to_owned()]));
            problems.push(Problem::UnknownKey {
                path,
                line,
                key,
                nearest,
            });
            continue;
        }
        match scalar(item) {
            Ok(value) => content.found.push((key, value, Origin::File { path, line })),
            Err(seen) => problems.push(Problem::NotAScalar {
                path,
                line,
                key,
                seen,
            }),
        }
    }
    content
}

fn read_rules(path: &Path, text: &str, item: &Item, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut wrong = Vec::new();
    let rules = alerts::read(item, &mut wrong);
    problems.extend(wrong.into_iter().map(|(byte, message)| Problem::Alert {
        path: path.to_owned(),
        line: place_of(text, byte).0,
        message,
    }));
    rules
}

/// The text of a value as a flag has it, or the word for what it is.
fn scalar(item: &Item) -> Result<OsString, &'static str> {
    match item.as_value() {
        Some(Value::String(text)) => Ok(text.value().into()),
        Some(Value::Integer(number)) => Ok(number.value().to_string().into()),
        Some(Value::Float(_)) => Err("a number with a fraction"),
        Some(Value::Boolean(_)) => Err("a boolean"),
        Some(Value::Datetime(_)) => Err("a time"),
        Some(Value::Array(_)) => Err("an array"),
        Some(Value::InlineTable(_)) | None => Err("a table"),
    }
}

/// The line and the column of a byte, both from 1.
fn place_of(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The one of `names` that `key` most likely meant; none when no name is near.
pub(super) fn nearest(key: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    const LEAST_SIMILARITY: f64 = 0.75;
    let key = key.replace('-', "_").to_lowercase();
    let similarity = |name: &String| strsim::jaro_winkler(&key, name);
    let best = names
        .into_iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&best) >= LEAST_SIMILARITY).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn merged(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Merged, Vec<String>> {
        let matches = Settings::command().try_get_matches_from(flags).unwrap();
        let sources = Sources {
            flags: Some(&matches),
            environment: pairs(variables),
            file: Some((Path::new("m.toml"), file)),
        };
        merge(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn origin(merged: &Merged, key: &str) -> String {
        let setting = merged.effective.iter().find(|setting| setting.entry.key == key);
        setting.unwrap().origin.to_string()
    }

    #[test]
    fn the_nearer_source_wins() {
        let file = "workers = 1\nqueue_jobs_max = 11\n\nclients_max = 111\n";
        let variables = [
            ("METRICSTREAM_WORKERS", "2"),
            ("METRICSTREAM_QUEUE_JOBS_MAX", "22"),
        ];
        let merged = merged(&["--workers", "3"], &variables, file).unwrap();
        let settings = &merged.settings;
        assert_eq!(
            (settings.workers, settings.queue_jobs_max, settings.clients_max),
            (3, 22, 111)
        );
        assert_eq!(origin(&merged, "workers"), "flag");
        assert_eq!(origin(&merged, "queue_jobs_max"), "METRICSTREAM_QUEUE_JOBS_MAX");
        assert_eq!(origin(&merged, "clients_max"), "m.toml:4");
        assert_eq!(origin(&merged, "listen"), "default");
    }

    #[test]
    fn a_flag_with_the_default_value_still_wins() {
        let merged = merged(&["--workers", "0"], &[("METRICSTREAM_WORKERS", "2")], "").unwrap();
        assert_eq!(merged.settings.workers, 0);
        assert_eq!(origin(&merged, "workers"), "flag");
    }

    #[test]
    fn everything_wrong_is_found_with_its_place() {
        let file = "worker = 1\nack_level = \"sunk\"\n[clients_max]\n";
        let problems = merged(&[], &[("METRICSTREAM_WORKERS", "many")], file).unwrap_err();
        assert_eq!(
            problems,
            [
                "m.toml:1: there is no setting worker; did you mean workers?",
                "m.toml:3: clients_max is a table; a setting is a string or an integer",
                "m.toml:2: invalid value 'sunk' for '--ack-level <LEVEL>' \
                 [possible values: queued, written, synced]",
                "METRICSTREAM_WORKERS: invalid value 'many' for '--workers <COUNT>': \
                 invalid digit found in string",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_said_with_line_and_column() {
        let problems = merged(&[], &[], "workers = 1\nworkers = = 2\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("m.toml:2:11: "), "{problems:?}");
        let twice = merged(&[], &[], "workers = 1\nworkers = 2\n").unwrap_err();
        assert!(twice[0].starts_with("m.toml:2:1: duplicate key"), "{twice:?}");
    }

    #[test]
    fn a_value_that_loses_must_still_be_one() {
        let problems = merged(&["--workers", "1"], &[], "workers = 'x'").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn a_range_is_refused_where_the_value_is() {
        let merged = merged(&[], &[], "\nworkers = 5000\n").unwrap();
        assert_eq!(
            merged.check(2).unwrap_err().to_string(),
            "m.toml:2: --workers is 5000: it must be from 0 to 1024"
        );
    }

    #[test]
    fn variables_of_others_are_only_told_of() {
        let variables = [
            ("METRICSTREAM_SERVICE_HOST", "10.0.0.1"),
            ("METRICSTREAM_WORKERS", ""),
            ("HOME", "/"),
        ];
        let merged = merged(&[], &variables, "").unwrap();
        assert_eq!(merged.unknown_variables, ["METRICSTREAM_SERVICE_HOST"]);
        assert_eq!(origin(&merged, "workers"), "default");
    }

    #[test]
    fn a_reload_tells_what_it_puts_in_force_from_what_it_cannot() {
        let in_force = merged(&[], &[], "workers = 1\nidle_timeout_ms = 5\n").unwrap();
        let flags = ["--tokens-file", "t"];
        let next = merged(&flags, &[], "workers = 2\nclients_max = 100000\n").unwrap();
        let changes = Changes::between(&in_force.effective, &next.effective);
        assert_eq!(changes.reloaded, ["tokens_file", "idle_timeout_ms"]);
        assert_eq!(
            changes.restart,
            ["workers"],
            "a value that is the default is no change"
        );
        assert_eq!(
            Changes::between(&next.effective, &next.effective),
            Changes::default()
        );
        for key in RELOADABLE {
            assert!(entries().iter().any(|entry| entry.key == *key), "{key}");
        }
    }

    #[test]
    fn every_setting_is_documented() {
        for entry in entries() {
            assert!(
                !entry.help.is_empty() && !entry.value_name.is_empty(),
                "{}",
                entry.key
            );
        }
    }

    #[test]
    fn rules_of_alerts_are_read_and_refused_with_their_place() {
        let rule = "[[alert]]\nname = \"mine\"\nfigure = \"queue_jobs\"\ncomparison = \">\"\n\
                    threshold = 5\nseverity = \"info\"\n";
        let merged_rules = |text: &str| merged(&["--ready-made-alerts", "off"], &[], text);
        let config = merged_rules(rule).unwrap().check(2).unwrap();
        assert_eq!(config.alerts.len(), 1);
        assert_eq!(config.alerts[0].to_string(), "queue_jobs > 5");
        let config = merged(&[], &[], &rule.replace("mine", "slow"))
            .unwrap()
            .check(2)
            .unwrap();
        let slow = config.alerts.iter().filter(|rule| rule.name == "slow");
        assert_eq!(slow.count(), 1, "the ready-made one gives way");
        assert!(config.alerts.len() > 10);
        let wrong = merged_rules(&rule.replace("queue_jobs", "queue_job")).unwrap_err();
        assert_eq!(
            wrong,
            ["m.toml:3: there is no figure queue_job; did you mean queue_jobs?"]
        );
        let misnamed = merged_rules(&rule.replace("[[alert]]", "[[alerts]]")).unwrap_err();
        assert_eq!(
            misnamed,
            ["m.toml:1: there is no setting alerts; did you mean alert?"]
        );
    }

    #[test]
    fn a_name_that_is_near_nothing_gets_no_advice() {
        let keys = || entries().into_iter().map(|entry| entry.key);
        assert_eq!(nearest("zzz", keys()), None);
        assert_eq!(
            nearest("Queue-Job-Max", keys()).as_deref(),
            Some("queue_jobs_max")
        );
    }
}
