//! The command line: `list`, `serve`, `run`, `profile`, `parser-cost`.
//!
//! Promises: what cannot be done is one clear line on standard error; exit code 1 when it went wrong, 2 for
//! bad flags, 130 when a signal ended it early.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::catalog::{self, STAGES, Stage};
use crate::common::Place;
use crate::parser_cost::{self, Which};
use crate::profile::{Hot, Tool};
use crate::report::{self, Circumstances};
use crate::run::{Course, Error, Row};

/// From a sequential server to MetricStream, one runnable stage after the other
///
/// The chapters are in docs/journey. `cargo journey` is this program.
#[derive(Debug, Parser)]
#[command(name = "metricstream-journey", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the stages are
    List,
    Serve(ServeArgs),
    Run(RunArgs),
    Profile(ProfileArgs),
    ParserCost(ParserCostArgs),
    /// Parse one body once; what parser-cost counts
    #[command(hide = true)]
    Parse {
        #[arg(long)]
        parser: Which,
        #[arg(long)]
        metrics: usize,
    },
}

/// Run one stage until Ctrl-C, to try it or to profile it
#[derive(Args, Debug)]
struct ServeArgs {
    /// Which; `list` has them
    #[arg(long, value_parser = catalog::find)]
    stage: &'static Stage,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Directory for metrics.jsonl; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "data/journey")]
    directory: PathBuf,
    /// Requests a client may make in any one second, from stage 4 on. The default is the product's and out of
    /// reach of `run`, which measures what asking costs
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    requests_max: NonZeroU32,
    /// End when the process that started this one does
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Send the same load to every stage and report how each did
///
/// Prints a table. When all stages ran, or when --output is given, writes report.md with plots, the parsers'
/// cost among them. Each stage runs as a process of its own.
#[derive(Args, Debug)]
struct RunArgs {
    /// Three numbers of clients for one second each instead of seven for three
    #[arg(long)]
    quick: bool,
    /// Stages [default: all but 4b, which can stop for ever]
    #[arg(long, value_delimiter = ',', value_name = "STAGE,..", value_parser = catalog::find)]
    stages: Option<Vec<&'static Stage>>,
    /// Numbers of clients [default: 10,20,50,100,150,200,500; with --quick 10,50,200]
    #[arg(long, value_delimiter = ',', value_name = "COUNT,..", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: Option<Vec<u32>>,
    /// Seconds for each stage with each number of clients [default: 3; with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Metrics in each request
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// A client's patience for a connection and for a reply, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    timeout_ms: u32,
    /// Directory for the report [default: target/journey]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Directory in which the stages store meanwhile; its disk is part of what is measured
    #[arg(long, value_name = "DIR", default_value = OUTPUT)]
    directory: PathBuf,
}

/// Run one stage under a profiler and a load, and show where its time goes
///
/// The profiler's file stays in the output directory for its own viewers.
#[derive(Args, Debug)]
struct ProfileArgs {
    /// Which; `list` has them
    #[arg(long, value_parser = catalog::find)]
    stage: &'static Stage,
    /// The profiler
    #[arg(long, value_enum, default_value = "callgrind")]
    with: Tool,
    /// Clients
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Seconds of load
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Metrics in each request
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Functions to show
    #[arg(long, default_value_t = 12,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    functions: usize,
    /// Directory for the profiler's file
    #[arg(long, value_name = "DIR", default_value = OUTPUT)]
    output: PathBuf,
}

/// Count what parsing costs as the body grows
///
/// In instructions where valgrind is installed, else in bytes looked at. Writes a plot.
#[derive(Args, Debug)]
struct ParserCostArgs {
    /// Metrics in the bodies
    #[arg(long, value_delimiter = ',', value_name = "COUNT,..", default_values_t = METRICS,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    metrics: Vec<usize>,
    /// Directory for parser-cost.svg
    #[arg(long, value_name = "DIR", default_value = OUTPUT)]
    output: PathBuf,
}

/// Where results go unless told otherwise.
const OUTPUT: &str = "target/journey";

/// A client's patience when the stage is profiled: under callgrind everything takes long.
const PROFILE_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest name of a function that is shown whole, in characters.
const FUNCTION_CHARS_MAX: usize = 90;

/// Metrics in the bodies that are counted.
const METRICS: [usize; 8] = [1, 3, 10, 30, 100, 200, 400, 800];

/// How many of them `run --quick` counts.
const QUICK_METRICS: usize = 6;

/// Parses the arguments, runs the command and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List => {
            list();
            Ok(())
        }
        Command::Serve(args) => serve(args),
        Command::Run(args) => return run(args),
        Command::Profile(args) => return profile(args),
        Command::ParserCost(args) => parser_cost(&args),
        Command::Parse { parser, metrics } => {
            parser_cost::parse(parser, metrics);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("metricstream-journey: {error}");
    ExitCode::from(code)
}

fn list() {
    println!("stage  a success means: the lines are");
    for stage in &STAGES {
        println!("{:<5}  {:<14} {}", stage.name, stage.promise, stage.title);
    }
}

fn serve(args: ServeArgs) -> std::io::Result<()> {
    if args.end_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    args.stage.serve(&Place {
        port: args.port,
        directory: args.directory,
        requests_max: args.requests_max,
    })
}

fn run(args: RunArgs) -> ExitCode {
    let circumstances = Circumstances::now();
    let all = args.stages.is_none();
    // The largest bodies take the naive parser most of the time.
    let metrics = if args.quick {
        &METRICS[..QUICK_METRICS]
    } else {
        &METRICS
    };
    let output = args.output.clone().or_else(|| all.then(|| OUTPUT.into()));
    let course = course(args);
    eprintln!(
        "stages: {}, numbers of clients: {}; about {:.0} s",
        course.stages.len(),
        course.clients.len(),
        course.time_total().as_secs_f64()
    );
    let rows = match course.run() {
        Ok(rows) => rows,
        Err(error) => return fail_run(&error),
    };
    print!("{}", report::table(&rows));
    let Some(output) = output else {
        return ExitCode::SUCCESS;
    };
    let written = parser_cost::count(metrics)
        .and_then(|costs| report::write(&output, &circumstances, &course, &rows, &costs));
    match written {
        Ok(()) => {
            println!(
                "\nwritten: {} and the plots beside it",
                output.join("report.md").display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(
            &format_args!("cannot write the report to {}: {error}", output.display()),
            1,
        ),
    }
}

fn fail_run(error: &Error) -> ExitCode {
    let code = if matches!(error, Error::Interrupted) {
        130
    } else {
        1
    };
    fail(error, code)
}

fn profile(args: ProfileArgs) -> ExitCode {
    let tool = args.with;
    let file = args
        .output
        .join(format!("profile-{}.{}", args.stage.name, tool.program()));
    let course = Course {
        stages: vec![args.stage],
        clients: vec![args.clients],
        time: Duration::from_secs(args.seconds.into()),
        batch: args.batch,
        timeout: PROFILE_TIMEOUT,
        directory: args.output,
        launcher: tool.launcher(&file),
    };
    let rows = match course.run() {
        Ok(rows) => rows,
        Err(Error::Start { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            return fail(&format_args!("{} is not installed", tool.program()), 1);
        }
        Err(error) => return fail_run(&error),
    };
    let hottest = match tool.hottest(&file) {
        Ok(hottest) => hottest,
        Err(error) => return fail(&error, 1),
    };
    for Row { stage, report, .. } in &rows {
        println!(
            "stage {}, {}: {} requests answered; share of {} and function",
            stage.name,
            stage.title,
            report.requests_succeeded,
            tool.unit()
        );
    }
    for Hot { percent, function } in hottest.iter().take(args.functions) {
        let name: String = function.chars().take(FUNCTION_CHARS_MAX).collect();
        println!("{percent:>5.1}%  {name}");
    }
    println!("\nwritten: {}", file.display());
    ExitCode::SUCCESS
}

fn course(args: RunArgs) -> Course {
    let (clients, seconds): (&[u32], u32) = if args.quick {
        (&[10, 50, 200], 1)
    } else {
        (&[10, 20, 50, 100, 150, 200, 500], 3)
    };
    let measured = || STAGES.iter().filter(|stage| stage.measured).collect();
    Course {
        stages: args.stages.unwrap_or_else(measured),
        clients: args.clients.unwrap_or_else(|| clients.to_vec()),
        time: Duration::from_secs(args.seconds.unwrap_or(seconds).into()),
        batch: args.batch,
        timeout: Duration::from_millis(args.timeout_ms.into()),
        directory: args.directory,
        launcher: Vec::new(),
    }
}

fn parser_cost(args: &ParserCostArgs) -> std::io::Result<()> {
    let (unit, costs) = parser_cost::count(&args.metrics)?;
    println!("counted: {}\n", unit.name());
    print!("{}", report::parser_table(&costs));
    std::fs::create_dir_all(&args.output)?;
    let path = args.output.join("parser-cost.svg");
    std::fs::write(&path, parser_cost::chart(unit, &costs).svg())?;
    println!("\nwritten: {}", path.display());
    Ok(())
}
