//! The log against a list of lines, through faults, crashes and reopenings; for property tests and fuzzers.
//!
//! Promises: [`check`] runs a [`Plan`] on a log over the simulated disk, life after life on the same disk,
//! and panics when at the end of any of them
//! - a token did not come back exactly once;
//! - a batch acknowledged at level `written` is not whole in the file after the process was killed, or one
//!   at level `synced` after the power was cut, or any after a drain without trouble;
//! - the file holds anything but whole lines of accepted batches, in the order of acceptance, each once;
//! - a batch said to be certainly not stored is there (but for a power cut, which may undo the cutting);
//! - a bound of the queue was passed, or a refusal is not the one due.
//!
//! The log is driven either by its own thread or step by step on the caller's, where each outcome is a
//! function of the plan.
//! Leaves to the caller: the input.

use arbitrary::{Arbitrary, Result, Unstructured};
use metricstream::clock::Instant;
use metricstream::log::fs::Filesystem as _;
use metricstream::log::queue::{Group, Queue, Taken};
use metricstream::log::simulated::{Fault, Request, SimulatedDisk, SimulatedFile, SimulatedLock, Survival};
use metricstream::log::writer::Writer;
use metricstream::log::{Appended, FILE_NAME, Level, Log, Outcome, Refusal, Refused, Settings, recovery};
use metricstream::sync::shim::{Arc, Mutex};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A queue's bounds and what its log lives through.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes that may wait.
    pub queue_bytes_max: usize,
    /// Batches that may wait.
    pub queue_batches_max: usize,
    /// One after the other, on the same disk.
    pub lives: Vec<Life>,
}

/// From an opening to an end.
#[derive(Clone, Debug)]
pub struct Life {
    /// What happens to the first requests to the disk; the later ones succeed.
    pub faults: Vec<Fault>,
    /// What is done.
    pub steps: Vec<Step>,
    /// How it ends.
    pub end: End,
}

/// One thing that is done.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A batch of so many lines, each padded with so many bytes.
    Append {
        /// Its level.
        level: Level,
        /// Its lines; at least one.
        lines: u8,
        /// Bytes of padding in each line.
        padding: u16,
    },
    /// The writer gets on with what waits.
    Commit,
    /// The timed flush.
    Flush,
    /// The disk has room for so many bytes more, or for all.
    Space(Option<u16>),
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// As it should.
    Drain,
    /// The process is killed.
    Kill,
    /// The power is cut.
    PowerCut(Survival),
}

/// Who moves the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The log's own thread.
    Thread,
    /// The steps of the plan.
    Steps,
}

impl Plan {
    /// The plan that `raw` makes.
    #[must_use]
    pub fn of(raw: &[u8]) -> Self {
        Self::arbitrary(&mut Unstructured::new(raw)).expect("bytes that run out are zeros")
    }
}

impl<'a> Arbitrary<'a> for Plan {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            queue_bytes_max: *u.choose(&[20, 40, 200, 4000])?,
            queue_batches_max: u.int_in_range(1..=6)?,
            lives: (0..u.int_in_range(1..=4)?)
                .map(|_| Life::arbitrary(u))
                .collect::<Result<_>>()?,
        })
    }
}

impl<'a> Arbitrary<'a> for Life {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut faults = Vec::new();
        if u.ratio(3, 4)? {
            // An opening makes five or six requests: mostly let it come to something.
            faults.resize(*u.choose(&[0, 6, 6, 6, 8, 12])?, Fault::None);
            for _ in 0..u.int_in_range(0..=24)? {
                faults.push(fault(u)?);
            }
        }
        Ok(Self {
            faults,
            steps: (0..u.int_in_range(0..=30)?)
                .map(|_| step(u))
                .collect::<Result<_>>()?,
            end: match u.int_in_range(0..=2_u8)? {
                0 => End::Drain,
                1 => End::Kill,
                _ => End::PowerCut(Survival {
                    changes: u.int_in_range(0..=12)?,
                    bytes: u.int_in_range(0..=60)?,
                    zeros: *u.choose(&[0, 0, 1, 70])?,
                    names: u.int_in_range(0..=6)?,
                }),
            },
        })
    }
}

fn fault(u: &mut Unstructured<'_>) -> Result<Fault> {
    Ok(match u.int_in_range(0..=15_u8)? {
        0..=8 => Fault::None,
        9..=11 => Fault::Short(u.int_in_range(1..=60)?),
        12 => Fault::Error(io::ErrorKind::Interrupted),
        13 => Fault::Error(io::ErrorKind::StorageFull),
        14 => Fault::Error(io::ErrorKind::Other),
        _ => Fault::Crash(u.int_in_range(0..=60)?),
    })
}

fn step(u: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match u.int_in_range(0..=15_u8)? {
        0..=3 => Step::Commit,
        4 => Step::Flush,
        5 => Step::Space(u.arbitrary::<Option<u8>>()?.map(u16::from)),
        _ => Step::Append {
            level: *u.choose(&[Level::Queued, Level::Written, Level::Written, Level::Synced])?,
            lines: u.int_in_range(1..=4)?,
            padding: *u.choose(&[0, 0, 1, 9, 100])?,
        },
    })
}

/// Opens a log on a file of any content, then once more: what is left is its whole lines, and a batch
/// written between comes right after them.
///
/// # Panics
/// When it is not so.
pub fn check_recovery(content: &[u8]) {
    let whole = content
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |last| last + 1);
    let disk = SimulatedDisk::new();
    disk.put(&path(), content);
    let plan = Plan {
        queue_bytes_max: 10,
        queue_batches_max: 1,
        lives: vec![],
    };
    let mut subject = Subject::open(&plan, &disk, Driver::Steps).expect("nothing fails");
    assert_eq!(disk.content(&path()), &content[..whole]);
    subject
        .append(Level::Written, b"line\n", 1, 0)
        .expect("it has room");
    assert_eq!(subject.end().len(), 1);
    disk.cut_power(Survival::default());
    Subject::open(&plan, &disk, Driver::Steps).expect("nothing fails");
    assert_eq!(disk.content(&path()), [&content[..whole], b"line\n"].concat());
}

/// What was seen on the way, to know that a plan reached what it is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Batches acknowledged, at any level.
    pub acknowledged: usize,
    /// Batches whose token came back failed.
    pub failed: usize,
    /// Batches refused.
    pub refused: usize,
    /// Openings that found a torn line.
    pub torn: usize,
    /// Lines that a crash took.
    pub lost_lines: usize,
    /// Openings that failed.
    pub failed_openings: usize,
}

/// A batch that was accepted once.
#[derive(Debug)]
struct Batch {
    /// Its lines, one after the other.
    lines: Vec<String>,
    level: Level,
    /// What its token came back with.
    outcomes: Vec<Reply>,
    /// How many of its lines, from the first on, were in the file when last looked.
    kept: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    AtOnce,
    Completed(Outcome),
}

type Replies = Arc<Mutex<Vec<(usize, Outcome)>>>;

/// Runs the plan.
///
/// # Panics
/// When a promise is broken.
pub fn check(plan: &Plan, driver: Driver) -> Seen {
    let disk = SimulatedDisk::new();
    let mut history = History::default();
    for (index, life) in plan.lives.iter().enumerate() {
        let first = history.batches.len();
        let clean = history.live(plan, life, &disk, driver);
        match life.end {
            End::PowerCut(survival) => disk.cut_power(survival),
            End::Drain | End::Kill => disk.restart(),
        }
        disk.set_plan(|_| Fault::None);
        disk.set_space(None);
        history.look(
            &disk,
            first,
            life.end,
            clean,
            &format!("life {index} of {plan:?}"),
        );
    }
    history.seen
}

/// All that was ever accepted, in order.
#[derive(Debug, Default)]
struct History {
    batches: Vec<Batch>,
    seen: Seen,
}

fn path() -> PathBuf {
    Path::new("data").join(FILE_NAME)
}

impl History {
    /// Opens, does the steps and ends; says whether it was drained and nothing went wrong.
    fn live(&mut self, plan: &Plan, life: &Life, disk: &SimulatedDisk, driver: Driver) -> bool {
        let first = self.batches.len();
        let mut faults = VecDeque::from(life.faults.clone());
        let harmless = |fault: &Fault| {
            matches!(
                fault,
                Fault::None | Fault::Short(_) | Fault::Error(io::ErrorKind::Interrupted)
            )
        };
        let mut clean = matches!(life.end, End::Drain) && faults.iter().all(harmless);
        disk.set_plan(
            move |request| match (faults.pop_front().unwrap_or(Fault::None), request) {
                // A signal does not interrupt these.
                (Fault::Error(io::ErrorKind::Interrupted), Request::Open | Request::Read) => Fault::None,
                (fault, _) => fault,
            },
        );
        let Ok(mut subject) = Subject::open(plan, disk, driver) else {
            self.seen.failed_openings += 1;
            return false;
        };
        for step in &life.steps {
            match *step {
                Step::Append {
                    level,
                    lines,
                    padding,
                } => {
                    self.append(&mut subject, plan, level, lines, padding);
                }
                Step::Commit => subject.commit(),
                Step::Flush => subject.flush(),
                Step::Space(space) => {
                    clean &= space.is_none();
                    let used = disk.content(&path()).len();
                    disk.set_space(space.map(|space| used + usize::from(space)));
                }
            }
        }
        if !matches!(life.end, End::Drain) {
            disk.kill();
        }
        for (batch, outcome) in subject.end() {
            self.batches[batch].outcomes.push(Reply::Completed(outcome));
        }
        self.count(first);
        clean
    }

    fn append(&mut self, subject: &mut Subject, plan: &Plan, level: Level, lines: u8, padding: u16) {
        let id = self.batches.len();
        let padding = "x".repeat(padding.into());
        let lines: Vec<_> = (0..lines)
            .map(|line| format!("{id}:{line}:{padding}\n"))
            .collect();
        let bytes = lines.concat();
        let outcomes = match subject.append(
            level,
            bytes.as_bytes(),
            u32::try_from(lines.len()).expect("a few"),
            id,
        ) {
            Ok(Appended::Acknowledged(token)) => {
                assert_eq!((token, level), (id, Level::Queued));
                vec![Reply::AtOnce]
            }
            Ok(Appended::Pending(_)) => {
                assert_ne!(level, Level::Queued);
                vec![]
            }
            Err(Refused { token, refusal }) => {
                assert_eq!(token, id, "the token of the batch comes back");
                self.seen.refused += 1;
                return check_refusal(refusal, plan, bytes.len());
            }
        };
        assert!(
            bytes.len() <= plan.queue_bytes_max,
            "accepted over the bound: {plan:?}"
        );
        self.batches.push(Batch {
            lines,
            level,
            outcomes,
            kept: 0,
        });
    }

    /// Every token of this life came back, once.
    fn count(&mut self, first: usize) {
        for (index, batch) in self.batches.iter().enumerate().skip(first) {
            match batch.outcomes[..] {
                [Reply::Completed(Outcome::Failed(_))] => self.seen.failed += 1,
                [_] => self.seen.acknowledged += 1,
                _ => panic!(
                    "batch {index} came back {} times: {batch:?}",
                    batch.outcomes.len()
                ),
            }
        }
    }

    /// Opens the log as it is now and compares the file with what may and must be in it; `first` is the
    /// first batch of the life that ended.
    fn look(&mut self, disk: &SimulatedDisk, first: usize, end: End, clean: bool, context: &str) {
        let before = disk.content(&path());
        let mut file = disk.open_append(&path()).expect("nothing fails now");
        let recovered = recovery::recover(&mut file).expect("nothing fails now");
        let content = disk.content(&path());
        assert!(before.starts_with(&content), "recovery only cuts: {context}");
        assert!(
            !before[content.len()..].contains(&b'\n'),
            "it cut a whole line: {context}"
        );
        assert_eq!(recovered.file_bytes, content.len() as u64);
        self.seen.torn += usize::from(recovered.cut_bytes > 0);
        let kept = self.parse(&content, context);
        let power_cut = matches!(end, End::PowerCut(_));
        for (index, (batch, kept)) in self.batches.iter_mut().zip(kept).enumerate() {
            let all = batch.lines.len();
            let allowed = match batch.outcomes[0] {
                // Opening flushed them as they were.
                _ if index < first => batch.kept..=batch.kept,
                Reply::AtOnce if clean => all..=all,
                Reply::Completed(Outcome::Written(_)) if batch.level == Level::Synced || !power_cut => {
                    all..=all
                }
                Reply::Completed(Outcome::Failed(failure)) if !failure.may_be_stored && !power_cut => 0..=0,
                _ => 0..=all,
            };
            assert!(
                allowed.contains(&kept),
                "batch {index} has {kept} of its lines in the file, {allowed:?} is right: {batch:?}, {context}"
            );
            if index >= first {
                self.seen.lost_lines += all - kept;
                batch.kept = kept;
            }
        }
    }

    /// How many lines of each batch are in `content`, which holds nothing else, in order.
    fn parse(&self, content: &[u8], context: &str) -> Vec<usize> {
        let text = str::from_utf8(content).expect("our lines are text");
        let mut kept = vec![0; self.batches.len()];
        let mut last = 0;
        for line in text.split_inclusive('\n') {
            let id = line.split(':').next().and_then(|id| id.parse::<usize>().ok());
            let id = id.unwrap_or_else(|| panic!("{line:?} is no line of ours: {context}"));
            assert!(id >= last, "batch {id} comes after batch {last}: {context}");
            assert_eq!(
                self.batches
                    .get(id)
                    .and_then(|batch| batch.lines.get(kept[id]))
                    .map(String::as_str),
                Some(line),
                "{context}"
            );
            kept[id] += 1;
            last = id;
        }
        kept
    }
}

/// A refusal is for its reason and says the right numbers.
fn check_refusal(refusal: Refusal, plan: &Plan, bytes: usize) {
    match refusal {
        Refusal::TooLarge { limit, seen } => {
            assert_eq!((limit, seen), (plan.queue_bytes_max, bytes));
            assert!(seen > limit);
        }
        Refusal::FullOfBytes { limit, waiting, seen } => {
            assert_eq!((limit, seen), (plan.queue_bytes_max, bytes));
            assert!(waiting <= limit && waiting + seen > limit && seen <= limit);
        }
        Refusal::FullOfBatches { limit, waiting } => {
            assert_eq!((limit, waiting), (plan.queue_batches_max, plan.queue_batches_max));
        }
        Refusal::Poisoned(failure) => assert!(failure.may_be_stored),
        Refusal::Stopped => panic!("nobody stopped it"),
    }
}

/// A log and who drives it.
enum Subject {
    Thread(Box<(Log<usize>, Replies)>),
    Steps(Box<Steps>),
}

/// A log without a thread: its queue and its writer, moved by hand.
struct Steps {
    queue: Queue<usize>,
    writer: Writer<SimulatedFile, SimulatedLock>,
    group: Group<usize>,
    replies: Replies,
}

impl Subject {
    fn open(plan: &Plan, disk: &SimulatedDisk, driver: Driver) -> io::Result<Self> {
        let replies = Replies::default();
        if driver == Driver::Steps {
            let lock = disk.lock(Path::new("data/lock"))?;
            let mut file = disk.open_append(&path())?;
            let recovery = recovery::recover(&mut file)?;
            disk.sync_directory(Path::new("data"))?;
            return Ok(Self::Steps(Box::new(Steps {
                queue: Queue::new(plan.queue_bytes_max, plan.queue_batches_max),
                writer: Writer::new(file, lock, recovery, 0),
                group: Group::new(),
                replies,
            })));
        }
        let settings = Settings {
            directory: PathBuf::from("data"),
            level: Level::Written,
            queue_bytes_max: plan.queue_bytes_max,
            queue_batches_max: plan.queue_batches_max,
            flush_interval_ms: 1,
        };
        let theirs = Arc::clone(&replies);
        let complete = move |token, outcome| theirs.lock().push((token, outcome));
        // Every flush is due at once.
        let clock = Mutex::new(0);
        let now = move || {
            *clock.lock() += 1_000_000;
            Instant::from_nanos(*clock.lock())
        };
        match Log::open(disk, &settings, now, complete) {
            Ok(log) => Ok(Self::Thread(Box::new((log, replies)))),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn append(
        &mut self,
        level: Level,
        lines: &[u8],
        records: u32,
        token: usize,
    ) -> std::result::Result<Appended<usize>, Refused<usize>> {
        match self {
            Self::Thread(log) => log.0.append_at(level, lines, records, token),
            Self::Steps(steps) => steps.queue.push(lines, records, level, token),
        }
    }

    fn commit(&mut self) {
        match self {
            Self::Thread(log) => {
                let accepted = log.0.status().accepted;
                log.0
                    .wait_settled(accepted)
                    .expect("the writer decides on all that was accepted");
            }
            Self::Steps(steps) => drop(steps.commit()),
        }
    }

    fn flush(&mut self) {
        if let Self::Steps(steps) = self
            && let Err(failure) = steps.writer.flush()
        {
            steps.queue.poison(failure);
        }
    }

    /// Ends it and says what became of the tokens.
    fn end(self) -> Vec<(usize, Outcome)> {
        let replies = match self {
            Self::Thread(log) => {
                log.0.drain();
                log.0.drain();
                log.1
            }
            Self::Steps(mut steps) => {
                steps.queue.stop();
                while steps.commit() == Taken::Group {}
                steps.writer.flush().ok();
                steps.replies
            }
        };
        std::mem::take(&mut *replies.lock())
    }
}

impl Steps {
    fn commit(&mut self) -> Taken {
        let taken = self.queue.take(&mut self.group, Some(Duration::ZERO));
        if taken == Taken::Group {
            let theirs = Arc::clone(&self.replies);
            let mut complete = move |token, outcome| theirs.lock().push((token, outcome));
            self.writer
                .commit(&mut self.group, &|| Instant::ZERO, &mut complete);
        }
        if let Some(failure) = self.writer.poisoned() {
            self.queue.poison(failure);
        }
        taken
    }
}
