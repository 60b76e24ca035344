//! What parsing costs as the body grows: the naive parser's work is quadratic, the product's linear.
//!
//! Promises: counts and no times, so that two runs say the same. With valgrind they are instructions, counted
//! by callgrind in the parser alone; without it they are bytes looked at, counted by the naive parser itself
//! and by following the position of the product's. Which of the two is said.
//! Leaves to the caller: to draw it.

use std::fmt::Write as _;
use std::io;
use std::process::{Command, Stdio};

use indicatif::ProgressBar;
use metricstream::json::{self, Kind, Parser};
use metricstream::metric::{Limits, Scratch, decode};

use crate::naive;
use crate::plot::{Chart, Line, Scale};
use crate::run;

/// A parser to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one that looks for each field.
    Naive,
    /// The product's.
    Product,
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// By callgrind.
    Instructions,
    /// By the parsers themselves.
    BytesLookedAt,
}

impl Unit {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions, counted by valgrind's callgrind",
            Self::BytesLookedAt => "bytes looked at, counted by the parsers (valgrind is not installed)",
        }
    }
}

/// One body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Metrics in it.
    pub metrics: usize,
    /// Its length.
    pub body_bytes: usize,
    /// Of the naive parser.
    pub naive: u64,
    /// Of the product's.
    pub product: u64,
}

/// A body of so many metrics.
#[must_use]
pub fn body(metrics: usize) -> String {
    let mut body = String::from("{\"metrics\":[");
    for number in 0..metrics {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"name\":\"load.cpu.utilization\",\"value\":{}.5,\"type\":\"gauge\",\
             \"tags\":{{\"client\":\"00007\",\"place\":\"{number}\"}},\"timestamp\":1767323045678}}",
            number % 100
        );
    }
    body.push_str("]}");
    body
}

/// Counts both parsers on bodies of `metrics` metrics each, showing the progress on a terminal.
///
/// # Errors
/// When a child cannot be started or says nothing.
pub fn count(metrics: &[usize]) -> io::Result<(Unit, Vec<Cost>)> {
    let unit = if has_valgrind() {
        Unit::Instructions
    } else {
        Unit::BytesLookedAt
    };
    let bar = ProgressBar::new(metrics.len() as u64).with_style(run::progress_style());
    let mut costs = Vec::with_capacity(metrics.len());
    for &metrics in metrics {
        bar.set_message(format!("parsing {metrics} metrics: counting"));
        let cost = |which| match unit {
            Unit::Instructions => instructions(which, metrics),
            Unit::BytesLookedAt => Ok(bytes_looked_at(which, metrics)),
        };
        costs.push(Cost {
            metrics,
            body_bytes: body(metrics).len(),
            naive: cost(Which::Naive)?,
            product: cost(Which::Product)?,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((unit, costs))
}

/// Both lines in one chart.
#[must_use]
pub fn chart(unit: Unit, costs: &[Cost]) -> Chart {
    let line = |name: &str, colour, of: fn(&Cost) -> u64| Line {
        name: name.to_owned(),
        colour,
        dashed: false,
        points: costs
            .iter()
            .map(|cost| (cost.body_bytes as f64, of(cost) as f64))
            .collect(),
    };
    Chart {
        title: "The cost of parsing one body".to_owned(),
        x_label: "bytes of the body".to_owned(),
        y_label: match unit {
            Unit::Instructions => "instructions",
            Unit::BytesLookedAt => "bytes looked at",
        }
        .to_owned(),
        y_scale: Scale::Logarithmic,
        lines: vec![
            line("naive", 1, |cost| cost.naive),
            line("product", 7, |cost| cost.product),
        ],
    }
}

/// By which power of the body's length the cost grew, from the first body to the last: 1 is linear, 2 is
/// quadratic.
#[must_use]
pub fn exponent(costs: &[Cost], of: fn(&Cost) -> u64) -> f64 {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else {
        return f64::NAN;
    };
    let growth = |from: u64, to: u64| (to as f64 / from as f64).ln();
    growth(of(first), of(last)) / growth(first.body_bytes as u64, last.body_bytes as u64)
}

/// Parses once, as a child under callgrind does.
///
/// # Panics
/// When the parser refuses the body, which it does not.
pub fn parse(which: Which, metrics: usize) {
    let body = body(metrics);
    match which {
        Which::Naive => parse_naive(&body),
        Which::Product => {
            // Its memory grows in the first round; what is counted is the second, as in a running server.
            let mut scratch = Scratch::default();
            decode_product(&body, &mut scratch);
            parse_product(&body, &mut scratch);
        }
    }
}

/// Named for callgrind.
#[inline(never)]
fn parse_naive(body: &str) {
    let metrics = naive::parse(body, &mut ()).expect("a good body");
    std::hint::black_box(metrics);
}

/// Named for callgrind.
#[inline(never)]
fn parse_product(body: &str, scratch: &mut Scratch) {
    decode_product(body, scratch);
}

fn decode_product(body: &str, scratch: &mut Scratch) {
    let limits = Limits {
        batch_metrics_max: usize::MAX,
    };
    let draft = decode(body.as_bytes(), &limits, scratch).expect("a good body");
    std::hint::black_box(draft.validate().expect("a good batch"));
}

fn has_valgrind() -> bool {
    let quiet = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

fn instructions(which: Which, metrics: usize) -> io::Result<u64> {
    let (name, function) = match which {
        Which::Naive => ("naive", "*parser_cost*parse_naive*"),
        Which::Product => ("product", "*parser_cost*parse_product*"),
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={function}"))
        .arg(std::env::current_exe()?)
        .args(["parse", "--parser", name, "--metrics", &metrics.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .filter(|count| *count > 0 && output.status.success());
    count.ok_or_else(|| io::Error::other(format!("callgrind counted nothing: {text}")))
}

/// What the parsers themselves count.
///
/// # Panics
/// When a parser refuses the body, which none does.
#[must_use]
pub fn bytes_looked_at(which: Which, metrics: usize) -> u64 {
    let body = body(metrics);
    match which {
        Which::Naive => {
            let mut steps = 0;
            naive::parse(&body, &mut steps).expect("a good body");
            steps
        }
        Which::Product => bytes_walked(&body).expect("a good body"),
    }
}

/// Follows the product's parser through a document and adds up how far its position moves.
struct Walker<'a> {
    parser: Parser<'a>,
    seen: usize,
    steps: u64,
}

impl Walker<'_> {
    /// After each question: the position never goes back, which is all there is to being linear.
    fn moved(&mut self) {
        let at = self.parser.at();
        self.steps += at.checked_sub(self.seen).expect("the position never goes back") as u64;
        self.seen = at;
    }

    fn value(&mut self) -> Result<(), json::Error> {
        match self.parser.kind()? {
            Kind::Object => {
                self.parser.object_begin()?;
                let mut more = self.parser.first_member()?;
                while more {
                    self.parser.key()?;
                    self.moved();
                    self.value()?;
                    more = self.parser.next_member()?;
                }
            }
            Kind::Array => {
                self.parser.array_begin()?;
                let mut more = self.parser.first_element()?;
                while more {
                    self.moved();
                    self.value()?;
                    more = self.parser.next_element()?;
                }
            }
            Kind::Text | Kind::Number | Kind::Bool | Kind::Null => _ = self.parser.skip()?,
        }
        self.moved();
        Ok(())
    }
}

fn bytes_walked(body: &str) -> Result<u64, json::Error> {
    let mut walker = Walker {
        parser: Parser::new(body.as_bytes())?,
        seen: 0,
        steps: 0,
    };
    walker.value()?;
    walker.parser.end()?;
    Ok(walker.steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By what every machine can count: the naive parser is quadratic, the product's linear.
    #[test]
    fn one_is_quadratic_and_the_other_linear() {
        let costs: Vec<_> = [100, 1000]
            .map(|metrics| Cost {
                metrics,
                body_bytes: body(metrics).len(),
                naive: bytes_looked_at(Which::Naive, metrics),
                product: bytes_looked_at(Which::Product, metrics),
            })
            .into();
        let (naive, product) = (
            exponent(&costs, |cost| cost.naive),
            exponent(&costs, |cost| cost.product),
        );
        assert!((1.8..2.2).contains(&naive), "naive: {naive}");
        assert!((0.9..1.1).contains(&product), "product: {product}");
    }
}
