//! One stage under a profiler: where its time goes, function by function.
//!
//! Promises: callgrind counts instructions, so two runs under the same load nearly agree, on any machine;
//! perf samples time, which includes the kernel where the system permits it. The file that the profiler
//! wrote stays for its own viewers. Leaves to the caller: the load.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

/// A profiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// valgrind's: counts every instruction, about fifty times slower than without
    Callgrind,
    /// The kernel's: samples, at full speed
    Perf,
}

impl Tool {
    /// The program to install.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Callgrind => "valgrind",
            Self::Perf => "perf",
        }
    }

    /// What the shares are shares of.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Callgrind => "instructions",
            Self::Perf => "samples",
        }
    }

    /// What to put before a command so that it is profiled into `file`.
    #[must_use]
    pub fn launcher(self, file: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = match self {
            Self::Callgrind => vec!["valgrind".into(), "--quiet".into(), "--tool=callgrind".into()],
            Self::Perf => vec!["perf".into(), "record".into(), "--quiet".into()],
        };
        match self {
            Self::Callgrind => {
                let mut flag = OsString::from("--callgrind-out-file=");
                flag.push(file);
                words.push(flag);
            }
            Self::Perf => words.extend(["--output".into(), file.into(), "--".into()]),
        }
        words
    }

    /// The functions in which most of `file` was spent, the first the most.
    ///
    /// # Errors
    /// When the profiler's own reader cannot be run or finds nothing.
    pub fn hottest(self, file: &Path) -> io::Result<Vec<Hot>> {
        let mut command = match self {
            Self::Callgrind => Command::new("callgrind_annotate"),
            Self::Perf => Command::new("perf"),
        };
        match self {
            Self::Callgrind => command.args(["--threshold=100", "--auto=no"]).arg(file),
            Self::Perf => command
                .args([
                    "report",
                    "--stdio",
                    "--no-children",
                    "--sort",
                    "symbol",
                    "--input",
                ])
                .arg(file),
        };
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let hot = match self {
            Self::Callgrind => of_callgrind(&text),
            Self::Perf => of_perf(&text),
        };
        if hot.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!(
                "{} has nothing in {}: {said}",
                self.program(),
                file.display()
            )));
        }
        Ok(hot)
    }
}

/// A function and its share.
#[derive(Clone, Debug, PartialEq)]
pub struct Hot {
    /// In percent, what it calls not counted.
    pub percent: f64,
    /// Its name.
    pub function: String,
}

/// Lines such as `1,234 (56.7%)  src/naive.rs:metricstream_journey::naive::object [/the/program]`. Inlined
/// code has a line for each file it came from; they are one function here.
fn of_callgrind(text: &str) -> Vec<Hot> {
    let (mut sums, mut total) = (HashMap::<&str, u64>::new(), 0);
    for line in text.lines() {
        let Some((count, function)) = callgrind_line(line) else {
            continue;
        };
        total += count;
        *sums.entry(function).or_default() += count;
    }
    let mut hot: Vec<_> = sums
        .into_iter()
        .map(|(function, count)| Hot {
            percent: count as f64 * 100.0 / total as f64,
            function: function.to_owned(),
        })
        .collect();
    hot.sort_by(|a, b| {
        b.percent
            .total_cmp(&a.percent)
            .then_with(|| a.function.cmp(&b.function))
    });
    hot
}

fn callgrind_line(line: &str) -> Option<(u64, &str)> {
    let (count, rest) = line.trim_start().split_once(" (")?;
    let count = count.replace(',', "").parse().ok()?;
    let (_, place) = rest.split_once("%)")?;
    // The totals have no file and therefore no colon.
    let (_, function) = place.trim_start().split_once(':')?;
    let function = function.split(" [").next().unwrap_or(function);
    Some((count, without_hash(function)))
}

/// Lines such as `56.78%  [.] metricstream_journey::naive::object`.
fn of_perf(text: &str) -> Vec<Hot> {
    let line = |line: &str| {
        let (percent, symbol) = line.trim_start().split_once('%')?;
        let (place, function) = symbol.trim_start().split_once(' ')?;
        // Newer ones put columns after the name that are empty here.
        let function = function.trim_start().split("  ").next()?;
        let kernel = if place == "[k]" { " (kernel)" } else { "" };
        Some(Hot {
            percent: percent.parse().ok()?,
            function: format!("{}{kernel}", without_hash(function.trim_end())),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Without what the compiler puts at the end of a name.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot(percent: f64, function: &str) -> Hot {
        Hot {
            percent,
            function: function.to_owned(),
        }
    }

    #[test]
    fn what_callgrind_says_is_summed_by_function() {
        let text = "Ir\n---\n400 (100.0%)  PROGRAM TOTALS\n\nIr  file:function\n\
                    200 (50.0%)  /x/str.rs:journey::naive::object::h0123456789abcdef [/x/journey]\n\
                    1,00 (25.0%)  ???:read [/lib/libc.so]\n\
                    100 (25.0%)  naive.rs:journey::naive::object::h0123456789abcdef [/x/journey]\n";
        assert_eq!(
            of_callgrind(text),
            [hot(75.0, "journey::naive::object"), hot(25.0, "read")]
        );
    }

    #[test]
    fn what_perf_says_is_read() {
        let text = "# Samples: 4\n#\n    75.00%  [.] journey::naive::object    -      -\n    25.00%  [k] copy_to_user \n\n\n";
        assert_eq!(
            of_perf(text),
            [
                hot(75.0, "journey::naive::object"),
                hot(25.0, "copy_to_user (kernel)")
            ]
        );
    }
}
