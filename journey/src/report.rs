//! What a run found: a table for the terminal, a Markdown report and plots beside it.
//!
//! Promises: figures stand beside what the learning path expects, and beside the day, the machine, its load
//! and the command, so that nobody has to guess what they are worth. Leaves to the caller: the run.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use metricstream::clock::SystemClock;
use metricstream::metric::time;
use metricstream::sync::shim::thread;

use crate::catalog::{STAGES, Stage};
use crate::parser_cost::{self, Cost, Unit};
use crate::plot::{Chart, Line, Scale};
use crate::run::{Course, Row};

/// The machine, the day and how it was asked for.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// When it began.
    pub began: String,
    /// The machine.
    pub machine: String,
    /// Its load average over one minute just before.
    pub load_average: String,
    /// The command line.
    pub command: String,
}

impl Circumstances {
    /// Those of now.
    #[must_use]
    pub fn now() -> Self {
        let moment = time::format(SystemClock::new().wall().epoch_millis());
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        Self {
            began: String::from_utf8_lossy(&moment[..16]).replace('T', " ") + " UTC",
            machine: machine(),
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
            command: format!("cargo journey {}", arguments.join(" ")),
        }
    }
}

fn machine() -> String {
    let value = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kib: u64 = value("/proc/meminfo", "MemTotal")
        .split(' ')
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_default();
    format!(
        "{}, {} processors, {:.1} GiB of memory, Linux {}",
        value("/proc/cpuinfo", "model name"),
        thread::cores(),
        kib as f64 / f64::from(1 << 20),
        kernel.trim()
    )
}

const HEADINGS: [&str; 9] = [
    "stage",
    "clients",
    "success",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "memory MiB",
    "CPU us",
    "errors and refusals",
];

fn cells(row: &Row) -> [String; 9] {
    let report = &row.report;
    let mut losses: Vec<_> = report
        .status
        .iter()
        .filter(|(status, _)| !(200..300).contains(*status))
        .map(|(status, count)| format!("{status}: {count}"))
        .collect();
    losses.extend(
        report
            .errors
            .iter()
            .map(|(name, count)| format!("{name}: {count}")),
    );
    [
        row.stage.name.to_owned(),
        row.clients.to_string(),
        format!("{:.1}%", report.success_percent),
        format!("{:.0}", row.successes_per_second()),
        format!("{:.2}", report.latency.latency_p50_us / 1000.0),
        format!("{:.2}", report.latency.latency_p99_us / 1000.0),
        format!("{:.1}", row.memory_bytes as f64 / f64::from(1 << 20)),
        format!("{:.0}", row.cpu_us),
        losses.join(", "),
    ]
}

/// The table for a terminal, what the path expects below it.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<_> = rows.iter().map(cells).collect();
    let mut widths = HEADINGS.map(str::len);
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    let mut push = |line: &[String]| {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:>width$}"));
        let joined = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", joined.trim_end());
    };
    push(&HEADINGS.map(str::to_owned));
    for line in &lines {
        push(line);
    }
    let mut before = "\nbeside what the learning path expects (other programs, another machine):\n";
    for stage in stages_of(rows) {
        let beside = beside(stage, rows);
        if !beside.is_empty() {
            let _ = writeln!(
                text,
                "{before}  stage {:<3} {} | here: {beside}",
                stage.name, stage.expected
            );
            before = "";
        }
    }
    text
}

/// What was seen at the numbers of clients that the path names for this stage; empty when it names nothing.
fn beside(stage: &Stage, rows: &[Row]) -> String {
    if stage.expected.is_empty() {
        return String::new();
    }
    let of_stage = rows.iter().filter(|row| row.stage.name == stage.name);
    let seen: Vec<_> = of_stage
        .filter(|row| [10, 20, 50, 100].contains(&row.clients))
        .map(|row| {
            format!(
                "{} clients {:.1}%, {:.0}/s, {:.2} ms",
                row.clients,
                row.report.success_percent,
                row.successes_per_second(),
                row.report.latency.latency_p50_us / 1000.0
            )
        })
        .collect();
    seen.join("; ")
}

fn stages_of(rows: &[Row]) -> impl Iterator<Item = &'static Stage> {
    let is_there = |stage: &Stage| rows.iter().any(|row| row.stage.name == stage.name);
    STAGES.iter().filter(move |stage| is_there(stage))
}

/// Writes `report.md` and its plots into `directory`.
///
/// # Errors
/// What the file system says.
pub fn write(
    directory: &Path,
    circumstances: &Circumstances,
    course: &Course,
    rows: &[Row],
    costs: &(Unit, Vec<Cost>),
) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, chart) in charts(rows) {
        std::fs::write(directory.join(name), chart.svg())?;
    }
    let (unit, costs) = costs;
    std::fs::write(
        directory.join("parser-cost.svg"),
        parser_cost::chart(*unit, costs).svg(),
    )?;
    let mut text = heading(circumstances, course);
    text.push_str(&stages_table(rows));
    text.push_str(&measurements(rows));
    text.push_str(&parser_section(*unit, costs));
    std::fs::write(directory.join("report.md"), text)
}

fn heading(circumstances: &Circumstances, course: &Course) -> String {
    let Circumstances {
        began,
        machine,
        load_average,
        command,
    } = circumstances;
    format!(
        "# The journey, measured\n\n\
         Written by `{command}`.\n\n\
         | | |\n|---|---|\n\
         | date | {began} |\n\
         | machine | {machine} |\n\
         | load average just before | {load_average} |\n\
         | each measurement | {:.1} s after {:.2} s of warm-up; the load generator shares the machine |\n\
         | each request | {} metrics; a client sends its next request when it has the reply to the last |\n\
         | patience of a client | {} ms for a connection and for a reply, no second attempt |\n\n\
         Absolute figures are this machine's on that day; what carries over is how the stages differ in one run.\n\n",
        course.time.as_secs_f64(),
        course.warmup().as_secs_f64(),
        course.batch,
        course.timeout.as_millis()
    )
}

fn stages_table(rows: &[Row]) -> String {
    let mut text = String::from(
        "## The stages\n\n\
         What the learning path expects was measured with other programs on another machine: compare the shape. \
         The path does not say to which phases before the parser its second line of figures belongs; it stands \
         at stages 1 and 2 here. \"Here\" is the share of requests that succeeded, successes per second and \
         the median latency.\n\n\
         | stage | | a success means: the lines are | the path expects | here |\n|---|---|---|---|---|\n",
    );
    for stage in stages_of(rows) {
        let Stage {
            name,
            title,
            promise,
            expected,
            ..
        } = stage;
        let _ = writeln!(
            text,
            "| {name} | {title} | {promise} | {expected} | {} |",
            beside(stage, rows)
        );
    }
    text + "\n"
}

fn measurements(rows: &[Row]) -> String {
    let mut text = String::from(
        "## The measurements\n\n\
         \"requests/s\" counts what was answered with success; latency is that of those. Memory is the most that \
         the stage's process ever had (VmHWM); CPU is the processor time of that process for each success.\n\n",
    );
    let _ = writeln!(text, "| {} |", HEADINGS.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---:|".repeat(HEADINGS.len() - 2));
    for row in rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text.push('\n');
    for (name, chart) in charts(rows) {
        let _ = writeln!(text, "![{}]({name})\n", chart.title);
    }
    text
}

/// The plots of the measurements, by file name.
fn charts(rows: &[Row]) -> Vec<(&'static str, Chart)> {
    let chart = |title: &str, y_label: &str, y_scale, of: fn(&Row) -> f64| Chart {
        title: title.to_owned(),
        x_label: "clients".to_owned(),
        y_label: y_label.to_owned(),
        y_scale,
        lines: stages_of(rows)
            .map(|stage| Line {
                name: format!("{} {}", stage.name, stage.label),
                colour: stage.number(),
                dashed: stage.name.len() > 1,
                points: rows
                    .iter()
                    .filter(|row| row.stage.name == stage.name)
                    .map(|row| (f64::from(row.clients), of(row)))
                    .collect(),
            })
            .collect(),
    };
    vec![
        (
            "requests.svg",
            chart(
                "Requests answered with success",
                "requests/s",
                Scale::Logarithmic,
                Row::successes_per_second,
            ),
        ),
        (
            "success.svg",
            chart("Share of requests that succeeded", "%", Scale::Linear, |row| {
                row.report.success_percent
            }),
        ),
        (
            "p99.svg",
            chart("Latency, 99th percentile", "ms", Scale::Logarithmic, |row| {
                row.report.latency.latency_p99_us / 1000.0
            }),
        ),
        (
            "memory.svg",
            chart("Most memory of the process", "MiB", Scale::Linear, |row| {
                row.memory_bytes as f64 / f64::from(1 << 20)
            }),
        ),
    ]
}

fn parser_section(unit: Unit, costs: &[Cost]) -> String {
    format!(
        "## The cost of parsing\n\nCounted: {}.\n\n{}\n![The cost of parsing one body](parser-cost.svg)\n",
        unit.name(),
        parser_table(costs)
    )
}

/// The costs as Markdown, and by which power they grow.
#[must_use]
pub fn parser_table(costs: &[Cost]) -> String {
    let mut text = String::from(
        "| metrics | body bytes | naive | product | naive / product |\n|---:|---:|---:|---:|---:|\n",
    );
    for cost in costs {
        let Cost {
            metrics,
            body_bytes,
            naive,
            product,
        } = cost;
        let ratio = *naive as f64 / *product as f64;
        let _ = writeln!(
            text,
            "| {metrics} | {body_bytes} | {naive} | {product} | {ratio:.1} |"
        );
    }
    let _ = writeln!(
        text,
        "\nFrom the first body to the last the cost grew by the power {:.2} of the length (naive) and {:.2} \
         (product): 1 is linear, 2 is quadratic.",
        parser_cost::exponent(costs, |cost| cost.naive),
        parser_cost::exponent(costs, |cost| cost.product)
    );
    text
}
