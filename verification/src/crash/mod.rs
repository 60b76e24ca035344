//! The crash test of the real program: load, `kill -9` or a full disk at a random moment, and a comparison of
//! what was acknowledged with what is stored.
//!
//! Promises: after each round every line acknowledged is stored, no line is there twice, no refused one is
//! there, the lines of each client are in their order, and everything in the log is a line that was sent;
//! otherwise [`Error::Broken`] says what is wrong. What a round left undecided (a request without a reply)
//! may be stored or not, and stays as the first look found it.
//! Leaves to the caller: a built program and a place for its files. Rounds are drawn from a seed; the moment
//! within a write at which the kill lands is the machine's, so a seed gives the same plan and not the same
//! race. A kill leaves the page cache: what level `synced` adds to `written` shows in the simulation only.
//!
//! [`server`] runs the program, [`client`] sends and notes what was answered, [`ledger`] compares, [`disk`]
//! is a small disk to fill.

pub mod client;
pub mod disk;
pub mod ledger;
pub mod server;

use client::{Count, Crew, Pace};
use disk::{Ballast, SmallDisk};
use ledger::{Comparison, Ledger};
use server::Server;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before a round is given up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Rounds on one directory, each going on where the one before left it; then a new one.
const ROUNDS_A_DIRECTORY: u32 = 10;

/// Refusals that a full disk must give, and acknowledgements that must follow when there is space.
const REPLIES_AWAITED: u64 = 50;

/// Why a run ended before its end.
#[derive(Debug)]
pub enum Error {
    /// The test could not be made.
    Setup(String),
    /// A promise is broken.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(what) => write!(f, "cannot test: {what}"),
            Self::Broken(what) => write!(f, "a promise is broken: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// Whether an acknowledged line may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No: it ends the run.
    Forbidden,
    /// It is counted: at level `queued`, which promises nothing, this shows that the comparison sees it.
    Counted,
}

/// What all rounds have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Where its files are; the data is in a directory below.
    pub directory: PathBuf,
    /// `queued`, `written` or `synced`.
    pub level: String,
    /// Further flags for `serve`.
    pub flags: Vec<String>,
    /// Clients that send at once.
    pub clients: u32,
    /// What rounds are drawn from.
    pub seed: u64,
    /// What a lost line is.
    pub loss: Loss,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// Its number, from 0.
    pub number: u32,
    /// Lines acknowledged in it.
    pub acknowledged: u64,
    /// Lines refused in it.
    pub refused: u64,
    /// Lines without an answer in it.
    pub undecided: u64,
    /// Of these, stored.
    pub undecided_stored: u64,
    /// Lines acknowledged and not there.
    pub lost: u64,
    /// Kills.
    pub kills: u32,
    /// Segments of the log at its end.
    pub segments: u32,
    /// How long the service took to resume when there was space again, in milliseconds.
    pub resumed_ms: u64,
}

/// What all rounds did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Rounds made.
    pub rounds: u32,
    /// The sum of all rounds; the most of `segments` and `resumed_ms`.
    pub sum: Round,
    /// Rounds in which a line was lost.
    pub rounds_with_loss: u32,
}

impl Summary {
    fn add(&mut self, round: &Round) {
        self.rounds += 1;
        self.rounds_with_loss += u32::from(round.lost > 0);
        let sum = &mut self.sum;
        sum.acknowledged += round.acknowledged;
        sum.refused += round.refused;
        sum.undecided += round.undecided;
        sum.undecided_stored += round.undecided_stored;
        sum.lost += round.lost;
        sum.kills += round.kills;
        sum.segments = sum.segments.max(round.segments);
        sum.resumed_ms = sum.resumed_ms.max(round.resumed_ms);
    }
}

/// Numbers drawn from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0 .. count`.
    pub fn below(&mut self, count: u64) -> u64 {
        self.any() % count.max(1)
    }
}

/// Called after each round; breaks off by its answer.
pub type OnRound<'a> = &'a mut dyn FnMut(&Round) -> ControlFlow<()>;

/// Rounds of load, `kill -9` at a random moment, restart and comparison.
///
/// # Errors
/// [`Error`].
pub fn kill_rounds(plan: &Plan, rounds: u32, on_round: OnRound<'_>) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut draw = Draw::new(plan.seed);
    let mut state = None;
    for number in 0..rounds {
        if number % ROUNDS_A_DIRECTORY == 0 {
            end(&mut state)?;
            let data = fresh_directory(&plan.directory)?;
            state = Some((Server::start(plan, &data)?, Ledger::new(plan.clients), data));
        }
        let Some((server, ledger, data)) = &mut state else {
            unreachable!("the first round makes it")
        };
        let mut round = kill_round(plan, &mut draw, server, ledger, data)?;
        round.number = number;
        summary.add(&round);
        if on_round(&round).is_break() {
            break;
        }
    }
    end(&mut state)?;
    Ok(summary)
}

/// A graceful end: nothing may change by it.
fn end(state: &mut Option<(Server, Ledger, PathBuf)>) -> Result<(), Error> {
    let Some((server, mut ledger, data)) = state.take() else {
        return Ok(());
    };
    server.stop()?;
    let comparison = ledger.compare(&data)?;
    comparison.check(Loss::Forbidden)
}

fn kill_round(
    plan: &Plan,
    draw: &mut Draw,
    server: &mut Server,
    ledger: &mut Ledger,
    data: &Path,
) -> Result<Round, Error> {
    let mut round = Round::default();
    let crew = Crew::start(server.address, ledger.take(), Pace::Fast, draw.any())?;
    // One kill in eight may come before the first reply.
    if draw.below(8) > 0 {
        crew.wait(Count::Acknowledged, 1, "the first reply")?;
    }
    std::thread::sleep(Duration::from_micros(draw.below(200_000)));
    server.kill()?;
    round.kills += 1;
    crew.join(ledger)?;
    // Recovery may be killed too, and begin again.
    while draw.below(6) == 0 {
        server.start_and_kill(plan, data, Duration::from_micros(draw.below(15_000)))?;
        round.kills += 1;
    }
    *server = Server::start(plan, data)?;
    finish(plan, ledger, data, round)
}

/// Compares and counts.
fn finish(plan: &Plan, ledger: &mut Ledger, data: &Path, mut round: Round) -> Result<Round, Error> {
    let comparison: Comparison = ledger.compare(data)?;
    comparison.check(plan.loss)?;
    round.acknowledged = comparison.acknowledged;
    round.refused = comparison.refused;
    round.undecided = comparison.undecided;
    round.undecided_stored = comparison.undecided_stored;
    round.lost = comparison.lost;
    round.segments = comparison.segments;
    Ok(round)
}

/// Rounds of load, a disk that fills up, refusals, space again, resumption and comparison, on `disk`. The
/// server is never restarted within a directory.
///
/// # Errors
/// [`Error`].
pub fn full_rounds(
    plan: &Plan,
    disk: &SmallDisk,
    rounds: u32,
    on_round: OnRound<'_>,
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut draw = Draw::new(plan.seed);
    let mut state = None;
    for number in 0..rounds {
        if number % ROUNDS_A_DIRECTORY == 0 {
            end(&mut state)?;
            let data = fresh_directory(disk.path())?;
            state = Some((Server::start(plan, &data)?, Ledger::new(plan.clients), data));
        }
        let Some((server, ledger, data)) = &mut state else {
            unreachable!("the first round makes it")
        };
        let crew = Crew::start(server.address, ledger.take(), Pace::Gentle, draw.any())?;
        let resumed = fill_and_free(disk, &crew, &mut draw);
        crew.stop();
        crew.join(ledger)?;
        let resumed_ms = u64::try_from(resumed?.as_millis()).unwrap_or(u64::MAX);
        let round = Round {
            number,
            resumed_ms,
            ..Round::default()
        };
        let round = finish(plan, ledger, data, round)?;
        summary.add(&round);
        if on_round(&round).is_break() {
            break;
        }
    }
    end(&mut state)?;
    Ok(summary)
}

/// Fills the disk under the load, waits for refusals, makes space and waits for the service to resume; how
/// long that took.
fn fill_and_free(disk: &SmallDisk, crew: &Crew, draw: &mut Draw) -> Result<Duration, Error> {
    crew.wait(Count::Acknowledged, REPLIES_AWAITED, "the service begins")?;
    let ballast = Ballast::fill(disk, draw.below(64 * 1024))?;
    crew.wait(Count::Refused, REPLIES_AWAITED, "a full disk is 503")?;
    crew.wait(
        Count::Resting,
        1,
        "a disk that goes on failing is left alone for a while",
    )?;
    std::thread::sleep(Duration::from_micros(draw.below(50_000)));
    ballast.remove()?;
    let freed = Instant::now();
    crew.wait(Count::Acknowledged, 1, "the service resumes by itself")?;
    let resumed = freed.elapsed();
    crew.wait(Count::Acknowledged, REPLIES_AWAITED, "the service goes on")?;
    Ok(resumed)
}

fn fresh_directory(below: &Path) -> Result<PathBuf, Error> {
    let data = below.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(below)?;
    Ok(data)
}
