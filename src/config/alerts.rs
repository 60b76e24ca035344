//! The rules of alerts in a settings file: the one thing there that is not flat.
//!
//! ```toml
//! [[alert]]
//! name = "slow"
//! figure = "ingest_p99_us"
//! comparison = ">"
//! threshold = 100_000
//! for_ms = 30_000
//! severity = "warning"
//! ```
//!
//! Promises: everything wrong with a rule is found, with its line; a figure or a key that does not exist is
//! refused with the nearest that does; [`to_toml`] writes what reads back as the same rules.
//! Leaves to the caller: what the rules are for.

use std::fmt::Write as _;
use std::time::Duration;

use toml_edit::{ArrayOfTables, Item, Table, Value};

use super::sources::nearest;
use crate::limits::{ALERT_NAME_BYTES_MAX, ALERTS_MAX, TIMEOUT_MS_MAX};
use crate::monitor::alerts::{Comparison, Rule, Severity};
use crate::monitor::figures::FigureId;

/// The key of the tables.
pub const KEY: &str = "alert";

const KEYS: [&str; 6] = ["name", "figure", "comparison", "threshold", "for_ms", "severity"];

/// Something wrong: the byte where it stands, and what.
pub(super) type Wrong = (usize, String);

/// Reads the rules in `item`, the value of [`KEY`].
pub(super) fn read(item: &Item, wrong: &mut Vec<Wrong>) -> Vec<Rule> {
    let Some(tables) = item.as_array_of_tables() else {
        let at = item.span().map_or(0, |span| span.start);
        wrong.push((
            at,
            "rules of alerts are tables: begin each with [[alert]]".to_owned(),
        ));
        return Vec::new();
    };
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        let Some(rule) = read_rule(table, wrong) else {
            continue;
        };
        if rules.iter().any(|other| other.name == rule.name) {
            let name = &rule.name;
            wrong.push((start(table), format!("there are two alerts named {name}")));
        }
        rules.push(rule);
    }
    bound(tables, wrong);
    rules
}

fn bound(tables: &ArrayOfTables, wrong: &mut Vec<Wrong>) {
    let seen = tables.len();
    if seen > ALERTS_MAX {
        let at = tables.get(ALERTS_MAX).map_or(0, start);
        wrong.push((
            at,
            format!("there are {seen} alerts, over the limit of {ALERTS_MAX}"),
        ));
    }
}

fn start(table: &Table) -> usize {
    table.span().map_or(0, |span| span.start)
}

/// A table while it is read: what is wrong is gathered, so that all of it is said.
struct Reader<'a> {
    table: &'a Table,
    wrong: &'a mut Vec<Wrong>,
}

fn read_rule(table: &Table, wrong: &mut Vec<Wrong>) -> Option<Rule> {
    let before = wrong.len();
    let mut reader = Reader { table, wrong };
    reader.refuse_other_keys();
    let name = reader.name();
    let figure = reader.figure();
    let comparison = reader.one_of("comparison", Comparison::ALL, Comparison::sign);
    let severity = reader.one_of("severity", Severity::ALL, Severity::name);
    let threshold = reader.threshold();
    let hold = reader.hold();
    let rule = Rule {
        name: name?,
        figure: figure?,
        comparison: comparison?,
        threshold: threshold?,
        hold: hold?,
        severity: severity?,
    };
    (wrong.len() == before).then_some(rule)
}

impl Reader<'_> {
    fn refuse_other_keys(&mut self) {
        for (key, item) in self.table.iter() {
            if !KEYS.contains(&key) {
                let hint = hint(nearest(key, KEYS.map(str::to_owned)));
                let at = self.at(key, item);
                self.wrong.push((at, format!("an alert has no {key}{hint}")));
            }
        }
    }

    fn at(&self, key: &str, item: &Item) -> usize {
        let key = self.table.key(key).and_then(toml_edit::Key::span);
        key.or_else(|| item.span())
            .map_or(start(self.table), |span| span.start)
    }

    /// The value of `key`, as `convert` takes it; otherwise `wanted` is said.
    fn value<T>(
        &mut self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(&Value) -> Result<T, Option<String>>,
    ) -> Option<T> {
        let Some(item) = self.table.get(key) else {
            let text = format!("an alert needs {key}: {wanted}");
            self.wrong.push((start(self.table), text));
            return None;
        };
        let at = self.at(key, item);
        let converted = item.as_value().ok_or(None).and_then(convert);
        let reason = match converted {
            Ok(value) => return Some(value),
            Err(Some(reason)) => reason,
            Err(None) => {
                let seen = item.as_value().map_or_else(|| "a table".to_owned(), shown);
                format!("{key} is {seen}; it must be {wanted}")
            }
        };
        self.wrong.push((at, reason));
        None
    }

    fn name(&mut self) -> Option<String> {
        let wanted = format!("1 to {ALERT_NAME_BYTES_MAX} letters, digits, -, _ or .");
        self.value("name", &wanted, |value| {
            let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let name = value.as_str().filter(|name| {
                (1..=ALERT_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_taken)
            });
            name.map(str::to_owned).ok_or(None)
        })
    }

    fn figure(&mut self) -> Option<FigureId> {
        self.value("figure", "the name of a figure", |value| {
            let name = value.as_str().ok_or(None)?;
            FigureId::find(name).ok_or_else(|| {
                let hint = hint(nearest(name, FigureId::all().map(FigureId::name)));
                Some(format!("there is no figure {name}{hint}"))
            })
        })
    }

    fn one_of<T: Copy, const N: usize>(
        &mut self,
        key: &str,
        all: [T; N],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let names = all.map(&name).map(|name| format!("\"{name}\"")).join(", ");
        self.value(key, &format!("one of {names}"), |value| {
            let text = value.as_str().ok_or(None)?;
            all.into_iter().find(|one| name(*one) == text).ok_or(None)
        })
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "a threshold beyond 2^53 is as good rounded"
    )]
    fn threshold(&mut self) -> Option<f64> {
        self.value("threshold", "a number", |value| {
            let number = value
                .as_integer()
                .map(|number| number as f64)
                .or(value.as_float());
            number.filter(|number| number.is_finite()).ok_or(None)
        })
    }

    fn hold(&mut self) -> Option<Duration> {
        let wanted = format!("a number of milliseconds from 0 to {TIMEOUT_MS_MAX}");
        if self.table.get("for_ms").is_none() {
            return Some(Duration::ZERO);
        }
        self.value("for_ms", &wanted, |value| {
            let millis = value.as_integer().and_then(|number| u64::try_from(number).ok());
            let millis = millis.filter(|millis| *millis <= TIMEOUT_MS_MAX);
            millis.map(Duration::from_millis).ok_or(None)
        })
    }
}

/// A value as it stands in the file, or the word for what it is.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.value()),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => number.value().to_string(),
        Value::Boolean(truth) => truth.value().to_string(),
        Value::Datetime(_) => "a time".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::InlineTable(_) => "a table".to_owned(),
    }
}

fn hint(nearest: Option<String>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// The rules as a file has them.
#[must_use]
pub fn to_toml(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let (figure, comparison) = (rule.figure.name(), rule.comparison.sign());
        // The names hold nothing to escape. Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[alert]]\nname = \"{}\"\nfigure = \"{figure}\"\ncomparison = \"{comparison}\"\n\
             threshold = {:?}\nfor_ms = {}\nseverity = \"{}\"\n",
            rule.name,
            rule.threshold,
            rule.hold.as_millis(),
            rule.severity.name(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml_edit::Document;

    fn rules(text: &str) -> Result<Vec<Rule>, Vec<String>> {
        let document = Document::parse(text).unwrap();
        let mut wrong = Vec::new();
        let rules = read(document.as_table().get(KEY).unwrap(), &mut wrong);
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        if wrong.is_empty() {
            return Ok(rules);
        }
        Err(wrong
            .into_iter()
            .map(|(at, text)| format!("{}: {text}", line(at)))
            .collect())
    }

    #[test]
    fn rules_read_back_as_they_were_written() {
        let mut ready = crate::monitor::alerts::ready_made();
        ready[0].threshold = 1e300;
        ready[1].threshold = -0.25;
        assert_eq!(rules(&to_toml(&ready)).unwrap(), ready);
    }

    #[test]
    fn everything_wrong_is_said_with_its_line() {
        let text = "[[alert]]\nname = \"a b\"\nfigure = \"ingest_p99\"\ncomparison = \"more\"\n\
                    threshold = \"1\"\nfor_ms = -1\nseverity = 3\nserverity = \"info\"\n[[alert]]\n";
        let number = "from 0 to 86400000";
        assert_eq!(
            rules(text).unwrap_err(),
            [
                "8: an alert has no serverity; did you mean severity?".to_owned(),
                "2: name is \"a b\"; it must be 1 to 64 letters, digits, -, _ or .".to_owned(),
                "3: there is no figure ingest_p99; did you mean ingest_p99_us?".to_owned(),
                "4: comparison is \"more\"; it must be one of \">\", \">=\", \"<\", \"<=\"".to_owned(),
                "7: severity is 3; it must be one of \"info\", \"warning\", \"critical\"".to_owned(),
                "5: threshold is \"1\"; it must be a number".to_owned(),
                format!("6: for_ms is -1; it must be a number of milliseconds {number}"),
                "9: an alert needs name: 1 to 64 letters, digits, -, _ or .".to_owned(),
                "9: an alert needs figure: the name of a figure".to_owned(),
                "9: an alert needs comparison: one of \">\", \">=\", \"<\", \"<=\"".to_owned(),
                "9: an alert needs severity: one of \"info\", \"warning\", \"critical\"".to_owned(),
                "9: an alert needs threshold: a number".to_owned(),
            ]
        );
    }

    #[test]
    fn rules_are_tables_and_bounded_and_have_their_own_names() {
        assert!(rules("alert = 1\n").unwrap_err()[0].contains("[[alert]]"));
        let rule = |name: &str| {
            format!(
                "[[alert]]\nname = \"{name}\"\nfigure = \"ready\"\ncomparison = \"<\"\nthreshold = 1\n\
                 severity = \"info\"\n"
            )
        };
        let twice = rules(&(rule("a") + &rule("a"))).unwrap_err();
        assert_eq!(twice, ["7: there are two alerts named a"]);
        let many: String = (0..=ALERTS_MAX).map(|number| rule(&number.to_string())).collect();
        assert!(rules(&many).unwrap_err()[0].contains("over the limit of 256"));
    }
}
