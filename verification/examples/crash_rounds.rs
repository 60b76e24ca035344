//! The crash test as a command: rounds of `kill -9` under load, or of a disk that fills up, on the real
//! program. `--help` has the flags; README.md beside has what was found.

use clap::{Parser, ValueEnum};
use metricstream_verification::crash::disk::SmallDisk;
use metricstream_verification::crash::{Error, Loss, Plan, Round, Summary, full_rounds, kill_rounds};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Rounds of load, kill -9 at a random moment, restart and comparison, on the real program
///
/// After each round every line that was acknowledged must be stored, none twice, none that was refused, each
/// client's in order, and nothing else. Exit code: 0 when all was as promised, 1 when not (with what, and a
/// command to run the same plan again), 2 when the test cannot be made.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds of kill -9 [default: 20, or 0 with --disk-full]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
    /// Rounds of a full disk, on a small tmpfs of its own; takes root
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    disk_full: u32,
    /// Level at which lines are acknowledged
    #[arg(long, value_enum, default_value_t = Level::Written)]
    level: Level,
    /// Turn it round: succeed only if lines are lost, as at level queued, to see that the test sees it
    #[arg(long)]
    expect_loss: bool,
    /// Clients that send at once
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// What rounds are drawn from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// The program [default: built with cargo, in release]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where its files are; kept when something is wrong [default: a new one in the directory for such files]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Size of the small disk, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    disk_mib: u32,
    /// Further flags for `metricstream serve`, after --
    #[arg(last = true, value_name = "FLAGS")]
    serve_flags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Queued,
    Written,
    Synced,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| {
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |time| u64::from(time.subsec_nanos()) ^ time.as_secs())
    });
    match run(&args, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("no line was lost, and one should have been: does the test reach?");
            ExitCode::from(1)
        }
        Err(Error::Broken(what)) => {
            eprintln!(
                "a promise is broken: {what}\nthe same plan again: {}",
                reproducer(&args, seed)
            );
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args, seed: u64) -> Result<bool, Error> {
    let own = std::env::temp_dir().join(format!("metricstream-crash-{}", std::process::id()));
    let directory = args.directory.clone().unwrap_or(own);
    std::fs::create_dir_all(&directory)?;
    let plan = Plan {
        program: args.program.clone().map_or_else(build, Ok)?,
        directory: directory.clone(),
        level: args.level.name().to_owned(),
        flags: args.serve_flags.clone(),
        clients: args.clients,
        seed,
        loss: if args.expect_loss {
            Loss::Counted
        } else {
            Loss::Forbidden
        },
    };
    println!(
        "seed {seed}, level {}, {} clients, files in {}",
        plan.level,
        plan.clients,
        directory.display()
    );
    let kills = args.rounds.unwrap_or(if args.disk_full > 0 { 0 } else { 20 });
    let mut lost = 0;
    if kills > 0 {
        let begun = Instant::now();
        let summary = kill_rounds(&plan, kills, &mut |round| show(round, kills))?;
        print_summary("kill -9", &summary, begun);
        lost += summary.sum.lost;
    }
    if args.disk_full > 0 {
        let begun = Instant::now();
        let disk = SmallDisk::mount(&directory.join("disk"), args.disk_mib)?;
        let summary = full_rounds(&plan, &disk, args.disk_full, &mut |round| {
            show(round, args.disk_full)
        })?;
        print_summary("disk full", &summary, begun);
        println!(
            "  the service resumed {} ms after there was space, at most",
            summary.sum.resumed_ms
        );
        lost += summary.sum.lost;
    }
    // On the way out by an error the files stay, to look at.
    std::fs::remove_dir_all(&directory)?;
    Ok(!args.expect_loss || lost > 0)
}

fn show(round: &Round, rounds: u32) -> ControlFlow<()> {
    let done = round.number + 1;
    if done.is_multiple_of(10) || done == rounds {
        println!(
            "round {done} of {rounds}: {} acknowledged, {} refused, {} undecided ({} stored), {} lost, {} segments",
            round.acknowledged,
            round.refused,
            round.undecided,
            round.undecided_stored,
            round.lost,
            round.segments
        );
    }
    ControlFlow::Continue(())
}

fn print_summary(what: &str, summary: &Summary, begun: Instant) {
    let sum = &summary.sum;
    println!(
        "{what}: {} rounds, {} kills, {:.0} s: {} lines acknowledged, {} lost (in {} rounds), {} refused, none of \
         them stored, {} without an answer, of them {} stored; up to {} segments",
        summary.rounds,
        sum.kills,
        begun.elapsed().as_secs_f64(),
        sum.acknowledged,
        sum.lost,
        summary.rounds_with_loss,
        sum.refused,
        sum.undecided,
        sum.undecided_stored,
        sum.segments
    );
}

/// Builds the program beside this one.
fn build() -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "-p",
            "metricstream",
            "--bin",
            "metricstream",
        ])
        .status()?;
    if !status.success() {
        return Err(Error::Setup(
            "the program cannot be built; name one by --program".to_owned(),
        ));
    }
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(|examples| examples.parent()?.parent());
    let program = target.map(|target| target.join("release").join("metricstream"));
    program
        .filter(|program| program.exists())
        .ok_or_else(|| Error::Setup("no program where cargo builds it; name one by --program".to_owned()))
}

/// The command line that makes the same plan.
fn reproducer(args: &Args, seed: u64) -> String {
    let mut command =
        String::from("cargo run --release -p metricstream-verification --example crash_rounds --");
    let mut flag = |name: &str, value: String| command.push_str(&format!(" --{name} {value}"));
    if let Some(rounds) = args.rounds {
        flag("rounds", rounds.to_string());
    }
    if args.disk_full > 0 {
        flag("disk-full", args.disk_full.to_string());
        flag("disk-mib", args.disk_mib.to_string());
    }
    flag("level", args.level.name().to_owned());
    flag("clients", args.clients.to_string());
    flag("seed", seed.to_string());
    if !args.serve_flags.is_empty() {
        command.push_str(" -- ");
        command.push_str(&args.serve_flags.join(" "));
    }
    command
}
