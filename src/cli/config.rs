//! `metricstream config`: the settings in force, each with its origin.
//!
//! Promises: the TOML printed is a file that gives the same settings. No setting holds a secret: tokens are
//! in a file of their own, of which only the path is printed.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{ArgMatches, ValueEnum};

use super::settings::{self, Checked, SettingsArgs, Unusable};
use crate::config::alerts;
use crate::config::sources::{Effective, Entry, Merged, entries};
use crate::monitor::alerts::Rule;

/// Print the settings in force and where each is from
///
/// Takes the flags, the environment and the file as `serve` does. Exit code: 0, or 2 when they cannot be
/// used.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// How settings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A file for --config, the origin of each setting beside it
    Toml,
    /// An object of settings, each with value and origin
    Json,
    /// The table of all settings for the documentation: names, defaults, meaning
    Markdown,
}

/// Prints.
#[must_use]
pub fn run(args: &ConfigArgs, matches: &ArgMatches) -> ExitCode {
    if args.format == Format::Markdown {
        return super::print(&markdown(&entries()));
    }
    match settings::check(&args.settings, matches) {
        Ok(Checked { merged, .. }) if args.format == Format::Json => super::print(&json(&merged)),
        Ok(Checked { merged, .. }) => super::print(&toml(&merged)),
        Err(Unusable) => ExitCode::from(super::BAD_USAGE),
    }
}

/// A value as TOML: integers bare, all else as a string.
fn toml_value(value: &str) -> String {
    if value
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == value)
    {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
    text
}

/// The settings as a file for `--config`: read back, it gives the same values. The comments say where each is
/// from. A path that is not UTF-8 cannot stand in TOML; what it has instead of such bytes shows.
#[must_use]
pub fn toml(merged: &Merged) -> String {
    let mut out = String::new();
    for setting in &merged.effective {
        let key = &setting.entry.key;
        let line = match &setting.value {
            Some(value) => format!("{key} = {}", toml_value(&value.to_string_lossy())),
            None => format!("# {key} is not set"),
        };
        // The path of a file may hold anything; a comment ends at the first control character.
        let origin = setting.origin.to_string().replace(char::is_control, "?");
        let _ = writeln!(out, "{line:<48} # {origin}");
    }
    // Tables stand last: what follows one would belong to it.
    out.push_str(&alerts::to_toml(&merged.settings.alerts));
    out
}

fn json(merged: &Merged) -> String {
    let rule = |rule: &Rule| {
        serde_json::json!({
            "name": rule.name,
            "figure": rule.figure.name(),
            "comparison": rule.comparison.sign(),
            "threshold": rule.threshold,
            "for_ms": u64::try_from(rule.hold.as_millis()).unwrap_or(u64::MAX),
            "severity": rule.severity.name(),
        })
    };
    let rules: Vec<_> = merged.settings.alerts.iter().map(rule).collect();
    let settings: serde_json::Map<_, _> = merged
        .effective
        .iter()
        .map(|setting: &Effective| {
            let value = setting.value.as_ref().map(|value| value.to_string_lossy());
            let origin = setting.origin.to_string();
            let shown = serde_json::json!({ "value": value, "origin": origin });
            (setting.entry.key.clone(), shown)
        })
        .chain([(alerts::KEY.to_owned(), rules.into())])
        .collect();
    let mut text = serde_json::to_string_pretty(&settings).expect("a map of strings");
    text.push('\n');
    text
}

/// The table of docs/configuration.md.
fn markdown(entries: &[Entry]) -> String {
    let mut out = String::from("| in a file | flag | default | at run time | |\n|---|---|---|---|---|\n");
    for entry in entries {
        let default = entry
            .default
            .as_ref()
            .map_or(String::new(), |value| format!("`{value}`"));
        let reload = if entry.is_reloadable() { "reload" } else { "" };
        let help = entry.help.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | `{} {}` | {default} | {reload} | {help} |",
            entry.key,
            entry.flag(),
            entry.value_name
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::{Sources, merge};
    use std::path::Path;

    #[test]
    fn what_is_printed_gives_the_same_settings() {
        let file = "data_dir = \"a \\\"b\\\\ \\u0007 ü\"\nworkers = 3\nlog_filter = \"007\"\n[[alert]]\n\
                    name = \"a\"\nfigure = \"ready\"\ncomparison = \"<\"\nthreshold = 1\nseverity = \"info\"\n";
        let from = |text: &str| {
            let file = Some((Path::new("m.toml"), text));
            merge(&Sources {
                file,
                ..Sources::default()
            })
            .unwrap()
        };
        let first = from(file);
        let printed = toml(&first);
        let second = from(&printed);
        let values = |merged: &Merged| -> Vec<_> {
            merged
                .effective
                .iter()
                .map(|setting| setting.value.clone())
                .collect()
        };
        assert_eq!(values(&first), values(&second), "{printed}");
        assert_eq!(first.settings.alerts.len(), 1);
        assert_eq!(first.settings.alerts, second.settings.alerts, "{printed}");
        assert!(printed.contains("workers = 3 "), "{printed}");
        assert!(printed.contains("# tokens_file is not set"), "{printed}");
    }
}
