//! Runs the simulation of the whole server for a count of executions or a time, or one execution again.
//!
//! ```text
//! RUSTFLAGS="--cfg metricstream_shuttle" cargo run -p metricstream-verification --profile model \
//!     --target-dir target-shuttle --example soak -- --executions 100000
//! ```
//!
//! Promises: every seed from `--from` on is run once; the first violation of each is printed with the command
//! that repeats it, and then the exit status is 1. Leaves to the caller: nothing; `--help` says the rest.

#[cfg(not(metricstream_shuttle))]
fn main() {
    eprintln!("soak runs under shuttle: build it with RUSTFLAGS=\"--cfg metricstream_shuttle\"");
    std::process::exit(2);
}

#[cfg(metricstream_shuttle)]
fn main() -> std::process::ExitCode {
    simulated::main()
}

#[cfg(metricstream_shuttle)]
mod simulated {
    use metricstream_verification::simulation::plan::Plan;
    use metricstream_verification::simulation::register::BUGS;
    use metricstream_verification::simulation::run;
    use metricstream_verification::simulation::tally::Tally;
    use std::process::ExitCode;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    const HELP: &str = "\
Runs the simulation of the whole server: settings, clients, faults, schedule and end drawn from a seed.

  --executions COUNT   run so many seeds (default 10000)
  --seconds COUNT      or for so long
  --from SEED          from this seed on (default 0)
  --threads COUNT      on so many threads (default 1)
  --bug NAME           with this seeded bug; ends at the first violation
  --bugs               each seeded bug from --from on, up to --executions: how many until it is noticed
  --replay SEED        one execution again, with its plan and what it reached; twice, to see that it is the same
  --help               this text

Exit status: 0 without a violation, 1 with one (or a bug not noticed), 2 when the flags are wrong.";

    /// Time between two lines of progress.
    const PROGRESS: Duration = Duration::from_secs(5);

    struct Flags {
        executions: u64,
        seconds: Option<u64>,
        from: u64,
        threads: u64,
        bug: Option<&'static str>,
        bugs: bool,
        replay: Option<u64>,
    }

    pub(super) fn main() -> ExitCode {
        let flags = match flags() {
            Ok(Some(flags)) => flags,
            Ok(None) => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                eprintln!("{error}; --help lists the flags");
                return ExitCode::from(2);
            }
        };
        // What a panic says is in the violation; shuttle's own hook would print it again for each.
        std::panic::set_hook(Box::new(|_| {}));
        let passed = match flags.replay {
            Some(seed) => replay(seed, flags.bug),
            None if flags.bugs => all_bugs(&flags),
            None => soak(&flags),
        };
        if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn flags() -> Result<Option<Flags>, String> {
        let mut flags = Flags {
            executions: 10_000,
            seconds: None,
            from: 0,
            threads: 1,
            bug: None,
            bugs: false,
            replay: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            let number = |text: String| {
                text.parse::<u64>()
                    .map_err(|_| format!("{flag} {text}: no number"))
            };
            match flag.as_str() {
                "--executions" => flags.executions = number(value()?)?,
                "--seconds" => flags.seconds = Some(number(value()?)?),
                "--from" => flags.from = number(value()?)?,
                "--threads" => flags.threads = number(value()?)?.max(1),
                "--replay" => flags.replay = Some(number(value()?)?),
                "--bugs" => flags.bugs = true,
                "--bug" => {
                    let name = value()?;
                    let bug = BUGS.iter().find(|bug| bug.name == name);
                    flags.bug = Some(bug.ok_or(format!("no bug is called {name}"))?.name);
                }
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("no flag is called {other}")),
            }
        }
        Ok(Some(flags))
    }

    fn soak(flags: &Flags) -> bool {
        let (begun, next) = (Instant::now(), AtomicU64::new(flags.from));
        let tally = Mutex::new((Tally::default(), Instant::now()));
        let end = flags.from.saturating_add(match flags.seconds {
            Some(_) => u64::MAX,
            None => flags.executions,
        });
        let is_over = || {
            flags
                .seconds
                .is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds))
        };
        std::thread::scope(|scope| {
            for _ in 0..flags.threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end || is_over() {
                            return;
                        }
                        let outcome = run(seed, flags.bug);
                        let mut tally = tally.lock().expect("nothing panics with it held");
                        if !outcome.violations.is_empty() {
                            report(seed, flags.bug, &outcome.violations);
                            if flags.bug.is_some() {
                                next.store(end, Ordering::Relaxed);
                            }
                        }
                        tally.0.add(seed, outcome);
                        if tally.1.elapsed() >= PROGRESS {
                            tally.1 = Instant::now();
                            progress(&tally.0, begun.elapsed());
                        }
                    }
                });
            }
        });
        let (tally, _) = tally.into_inner().expect("nothing panics with it held");
        progress(&tally, begun.elapsed());
        print!("{tally}");
        tally.failures.is_empty()
    }

    fn progress(tally: &Tally, elapsed: Duration) {
        println!(
            "{:>8.1} s  {} executions, {:.0} a second, {} violations, {} places not reached",
            elapsed.as_secs_f64(),
            tally.executions,
            tally.executions as f64 / elapsed.as_secs_f64().max(0.001),
            tally.failures.len(),
            tally.unreached().len()
        );
    }

    fn report(seed: u64, bug: Option<&str>, violations: &[String]) {
        println!("seed {seed}:");
        for violation in violations {
            println!("  {violation}");
        }
        let bug = bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
        println!("  again: --replay {seed}{bug}");
    }

    fn replay(seed: u64, bug: Option<&'static str>) -> bool {
        println!("{:#?}", Plan::draw(seed));
        let (first, second) = (run(seed, bug), run(seed, bug));
        assert_eq!(first.trace, second.trace, "the same seed is the same execution");
        println!("reached: {:#?}\n{:?}", first.reached, first.trace);
        if !first.violations.is_empty() {
            report(seed, bug, &first.violations);
        }
        first.violations.is_empty()
    }

    fn all_bugs(flags: &Flags) -> bool {
        let mut all = true;
        for bug in BUGS {
            let begun = Instant::now();
            let seeds = flags.from..flags.from + flags.executions;
            let found = seeds.clone().find_map(|seed| {
                let violations = run(seed, Some(bug.name)).violations;
                (!violations.is_empty()).then(|| (seed - flags.from + 1, violations[0].clone()))
            });
            let took = begun.elapsed().as_secs_f64();
            match &found {
                Some((count, what)) => println!("{:<28} {count:>6} {took:>6.1} s  {what:.120}", bug.name),
                None => println!("{:<28} not in {} {took:.1} s", bug.name, flags.executions),
            }
            all &= found.is_some();
        }
        all
    }
}
