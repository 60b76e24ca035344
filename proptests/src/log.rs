//! The log against a list of lines, through faults, crashes and reopenings; for property tests and fuzzers.
//!
//! Promises: [`check`] runs a [`Plan`] on a log over the simulated disk, life after life on the same disk,
//! and panics when at the end of any of them
//! - a token did not come back exactly once;
//! - a batch acknowledged at level `written` is not whole in the file after the process was killed, or one
//!   at level `synced` after the power was cut, or any after a drain without trouble;
//! - the segments, read by the rule, hold anything but whole lines of accepted batches, in the order of
//!   acceptance, each once; but for whole sealed segments from the oldest on, if retention is on;
//! - a batch said to be certainly not stored is there;
//! - a batch is in two segments, or one that may be removed is not;
//! - a bound of the queue was passed, or a refusal is not the one due.
//!
//! The log is driven either by its own thread or step by step on the caller's, where each outcome is a
//! function of the plan.
//! Leaves to the caller: the input.

use arbitrary::{Arbitrary, Result, Unstructured};
use metricstream::clock::{Instant, WallTime};
use metricstream::log::keeper::{Keeper, Kept, Left};
use metricstream::log::queue::{Group, Queue, Taken};
use metricstream::log::segment::Sealed;
use metricstream::log::simulated::{Fault, Request, SimulatedDisk, Survival};
use metricstream::log::writer::{Progress, Writer};
use metricstream::log::{
    Appended, Compression, FILE_NAME, Level, Log, Outcome, Refusal, Refused, Settings, directory,
};
use metricstream::sync::shim::{Arc, Mutex};
use metricstream::sync::stop::Stop;
use std::collections::{BTreeSet, VecDeque};
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
    /// When a segment is sealed.
    pub segment_bytes_max: u64,
    /// The same by age.
    pub segment_age_ms_max: u64,
    /// Whether sealed segments are compressed.
    pub segment_compression: Compression,
    /// What of them is kept.
    pub retention_bytes_max: u64,
    /// The same by age.
    pub retention_age_ms_max: u64,
    /// When the disk is left alone.
    pub breaker_failures_max: u32,
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
    /// The flusher carries out the flush that is ordered, if one is.
    Flush,
    /// The keeper gets on with the sealed segments.
    Keep,
    /// So many milliseconds pass.
    Sleep(u16),
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
    /// One segment for ever, and no life.
    #[must_use]
    pub fn plain(queue_bytes_max: usize, queue_batches_max: usize) -> Self {
        Self {
            queue_bytes_max,
            queue_batches_max,
            segment_bytes_max: 0,
            segment_age_ms_max: 0,
            segment_compression: Compression::None,
            retention_bytes_max: 0,
            retention_age_ms_max: 0,
            breaker_failures_max: 0,
            lives: vec![],
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            queue_bytes_max: self.queue_bytes_max,
            queue_batches_max: self.queue_batches_max,
            flush_interval_ms: 1,
            segment_bytes_max: self.segment_bytes_max,
            segment_age_ms_max: self.segment_age_ms_max,
            segment_compression: self.segment_compression,
            retention_bytes_max: self.retention_bytes_max,
            retention_age_ms_max: self.retention_age_ms_max,
            breaker_failures_max: self.breaker_failures_max,
            breaker_retry_ms: 3,
            ..Settings::in_directory(Path::new(DIRECTORY))
        }
    }

    fn has_retention(&self) -> bool {
        self.retention_bytes_max > 0 || self.retention_age_ms_max > 0
    }

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
            segment_bytes_max: *u.choose(&[0, 10, 30, 100, 400])?,
            segment_age_ms_max: *u.choose(&[0, 0, 0, 5, 50])?,
            segment_compression: *u.choose(&[Compression::None, Compression::Zstd])?,
            retention_bytes_max: *u.choose(&[0, 0, 20, 100, 300])?,
            retention_age_ms_max: *u.choose(&[0, 0, 0, 10, 60])?,
            breaker_failures_max: *u.choose(&[0, 0, 1, 2])?,
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
            // An opening makes nine requests and some for each segment: mostly let it come to something.
            faults.resize(*u.choose(&[0, 9, 12, 14, 16, 24])?, Fault::None);
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
    Ok(match u.int_in_range(0..=19_u8)? {
        0..=3 => Step::Commit,
        16..=18 => Step::Keep,
        19 => Step::Sleep(*u.choose(&[1, 5, 20, 60, 1_000, 31_000])?),
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
    let plan = Plan::plain(10, 1);
    let time = Time::default();
    let mut subject = Subject::open(&plan, &disk, Driver::Steps, &time).expect("nothing fails");
    assert_eq!(disk.content(&path()), &content[..whole]);
    subject
        .append(Level::Written, b"line\n", 1, 0)
        .expect("it has room");
    assert_eq!(subject.end().replies.len(), 1);
    disk.cut_power(Survival::default());
    Subject::open(&plan, &disk, Driver::Steps, &time).expect("nothing fails");
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
    /// Segments sealed.
    pub rotations: u64,
    /// Rotations that failed.
    pub rotation_failures: u64,
    /// Segments compressed.
    pub compressed: u64,
    /// Segments that retention removed.
    pub removed: u64,
    /// Failures of the keeper.
    pub keeper_failures: u64,
    /// Files that openings removed.
    pub leftovers: u64,
    /// Times that the disk was left alone.
    pub breaks: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.acknowledged += more.acknowledged;
        self.failed += more.failed;
        self.refused += more.refused;
        self.torn += more.torn;
        self.lost_lines += more.lost_lines;
        self.failed_openings += more.failed_openings;
        self.rotations += more.rotations;
        self.rotation_failures += more.rotation_failures;
        self.compressed += more.compressed;
        self.removed += more.removed;
        self.keeper_failures += more.keeper_failures;
        self.leftovers += more.leftovers;
        self.breaks += more.breaks;
    }
}

/// The time of the steps, in milliseconds, over all lives.
#[derive(Clone, Debug, Default)]
struct Time(Arc<Mutex<u64>>);

impl Time {
    fn pass(&self, millis: u64, disk: &SimulatedDisk) {
        let mut now = self.0.lock();
        *now += millis;
        disk.set_time(WallTime::from_epoch_millis(
            i64::try_from(*now).expect("short lives"),
        ));
    }

    fn clock(&self) -> impl Fn() -> Instant + Clone + Send + 'static {
        let now = Arc::clone(&self.0);
        move || Instant::from_nanos(*now.lock() * 1_000_000)
    }
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
    let time = Time::default();
    for (index, life) in plan.lives.iter().enumerate() {
        let first = history.batches.len();
        let clean = history.live(plan, life, &disk, driver, &time);
        match life.end {
            End::PowerCut(survival) => disk.cut_power(survival),
            End::Drain | End::Kill => disk.restart(),
        }
        disk.set_plan(|_| Fault::None);
        disk.set_space(None);
        history.look(
            plan,
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

const DIRECTORY: &str = "data";

fn path() -> PathBuf {
    Path::new(DIRECTORY).join(FILE_NAME)
}

/// The lines of the sealed segments, by the rule for readers, each segment by itself.
fn sealed_content(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    let sealed = sealed_segments(disk).into_iter();
    sealed
        .map(|sealed| {
            decoded(
                sealed,
                disk.content(&Path::new(DIRECTORY).join(sealed.file_name())),
            )
        })
        .collect()
}

/// The sealed segments to read; the plain one of a pair.
fn sealed_segments(disk: &SimulatedDisk) -> Vec<Sealed> {
    let paths = disk.paths();
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    // A plain name comes before the compressed one.
    let mut sealed: Vec<_> = names.filter_map(Sealed::parse).collect();
    sealed.dedup_by_key(|sealed| sealed.number);
    sealed
}

fn decoded(sealed: Sealed, content: Vec<u8>) -> Vec<u8> {
    match sealed.compressed {
        true => zstd::decode_all(content.as_slice()).expect("a compressed segment is whole"),
        false => content,
    }
}

/// Every line of a sealed segment that was removed, in order.
fn removed_lines(disk: &SimulatedDisk) -> BTreeSet<(usize, usize, String)> {
    let mut lines = BTreeSet::new();
    for (path, content) in disk.removed() {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("our names");
        let Some(sealed) = Sealed::parse(name) else {
            continue;
        };
        let content = String::from_utf8(decoded(sealed, content)).expect("our lines are text");
        for line in content.split_inclusive('\n') {
            let mut parts = line.split(':').map(|part| part.parse().expect("our numbers"));
            let mut next = || parts.next().expect("our lines have two numbers");
            lines.insert((next(), next(), line.to_owned()));
        }
    }
    lines
}

/// Bytes in all files.
fn used(disk: &SimulatedDisk) -> usize {
    disk.paths().iter().map(|path| disk.content(path).len()).sum()
}

impl History {
    /// Opens, does the steps and ends; says whether it was drained and nothing went wrong.
    fn live(&mut self, plan: &Plan, life: &Life, disk: &SimulatedDisk, driver: Driver, time: &Time) -> bool {
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
                (
                    Fault::Error(io::ErrorKind::Interrupted),
                    Request::Open | Request::Read | Request::Rename | Request::Remove | Request::List,
                ) => Fault::None,
                (fault, _) => fault,
            },
        );
        let Ok(mut subject) = Subject::open(plan, disk, driver, time) else {
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
                Step::Keep => subject.keep(),
                Step::Sleep(millis) => time.pass(millis.into(), disk),
                Step::Space(space) => {
                    clean &= space.is_none();
                    disk.set_space(space.map(|space| used(disk) + usize::from(space)));
                }
            }
        }
        if !matches!(life.end, End::Drain) {
            disk.kill();
        }
        let Ending {
            replies,
            progress,
            kept,
        } = subject.end();
        for (batch, outcome) in replies {
            self.batches[batch].outcomes.push(Reply::Completed(outcome));
        }
        self.seen.rotations += progress.rotations;
        self.seen.rotation_failures += progress.rotation_failures;
        self.seen.breaks += progress.breaker_opened;
        self.seen.compressed += kept.compressed_segments;
        self.seen.removed += kept.removed_segments;
        self.seen.keeper_failures += kept.failures;
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
    fn look(
        &mut self,
        plan: &Plan,
        disk: &SimulatedDisk,
        first: usize,
        end: End,
        clean: bool,
        context: &str,
    ) {
        let before = disk.content(&path());
        let sealed = sealed_content(disk);
        let opened = directory::open(disk, Path::new(DIRECTORY)).expect("nothing fails now");
        let recovered = opened.recovery;
        let content = disk.content(&path());
        assert_eq!(
            sealed_content(disk),
            sealed,
            "opening leaves what is sealed: {context}"
        );
        assert!(before.starts_with(&content), "recovery only cuts: {context}");
        assert!(
            !before[content.len()..].contains(&b'\n'),
            "it cut a whole line: {context}"
        );
        assert_eq!(recovered.file_bytes, content.len() as u64);
        self.seen.torn += usize::from(recovered.cut_bytes > 0);
        self.seen.leftovers += recovered.leftover_files;
        let kept = self.parse(&with_removed(plan, disk, sealed, content, context), context);
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
                Reply::Completed(Outcome::Failed(failure)) if !failure.may_be_stored => 0..=0,
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

/// All the lines that ever were sealed or are there now: of those removed, whoever did it, the ones that are
/// not there any more come first, which is where they have to have been.
fn with_removed(
    plan: &Plan,
    disk: &SimulatedDisk,
    sealed: Vec<Vec<u8>>,
    active: Vec<u8>,
    context: &str,
) -> Vec<u8> {
    let mut split = BTreeSet::new();
    let mut last = None;
    for segment in sealed.iter().chain([&active]) {
        assert!(
            segment.last().is_none_or(|&last| last == b'\n'),
            "a segment does not end in a line: {context}"
        );
        let text = str::from_utf8(segment).expect("our lines are text");
        let ids = text
            .split_inclusive('\n')
            .filter_map(|line| line.split(':').next());
        for id in ids {
            assert!(!split.contains(id), "batch {id} is in two segments: {context}");
            last = Some(id.to_owned());
        }
        split.extend(last.take());
    }
    let there = [sealed.concat(), active].concat();
    let lines: BTreeSet<_> = there.split_inclusive(|&byte| byte == b'\n').collect();
    let mut removed = removed_lines(disk);
    removed.retain(|(_, _, line)| !lines.contains(line.as_bytes()));
    assert!(
        removed.is_empty() || plan.has_retention(),
        "lines were removed without being asked to: {context}"
    );
    let removed: String = removed.into_iter().map(|(_, _, line)| line).collect();
    [removed.into_bytes(), there].concat()
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
        Refusal::Resting { failures, .. } => {
            assert!(plan.breaker_failures_max > 0 && failures >= plan.breaker_failures_max);
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
    writer: Writer<SimulatedDisk>,
    keeper: Keeper<SimulatedDisk>,
    group: Group<usize>,
    replies: Replies,
    disk: SimulatedDisk,
    time: Time,
    stop: Stop,
    retention_bytes_max: u64,
}

/// How a log ended.
struct Ending {
    replies: Vec<(usize, Outcome)>,
    progress: Progress,
    kept: Kept,
}

impl Subject {
    fn open(plan: &Plan, disk: &SimulatedDisk, driver: Driver, time: &Time) -> io::Result<Self> {
        let replies = Replies::default();
        let settings = plan.settings();
        if driver == Driver::Steps {
            let opened = directory::open(disk, &settings.directory).map_err(io::Error::other)?;
            return Ok(Self::Steps(Box::new(Steps {
                queue: Queue::new(plan.queue_bytes_max, plan.queue_batches_max),
                keeper: Keeper::new(Arc::clone(&opened.directory), &opened.sealed, &settings),
                writer: Writer::new(opened, &settings, &time.clock()),
                group: Group::new(),
                replies,
                disk: disk.clone(),
                time: time.clone(),
                stop: Stop::new(),
                retention_bytes_max: plan.retention_bytes_max,
            })));
        }
        let theirs = Arc::clone(&replies);
        let complete = move |token, outcome| theirs.lock().push((token, outcome));
        // Every flush is due at once.
        let clock = Arc::new(Mutex::new(0));
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

    /// The flusher's thread flushes when it wants to.
    fn flush(&mut self) {
        if let Self::Steps(steps) = self {
            steps.writer.flusher().step();
        }
    }

    /// The keeper's thread keeps house when it wants to.
    fn keep(&mut self) {
        if let Self::Steps(steps) = self {
            steps.keep();
        }
    }

    /// Ends it and says what became of the tokens.
    fn end(self) -> Ending {
        let (replies, progress, kept) = match self {
            Self::Thread(log) => {
                log.0.drain();
                log.0.drain();
                let status = log.0.status();
                (log.1, status.progress, status.kept)
            }
            Self::Steps(mut steps) => {
                steps.queue.stop();
                while steps.commit() == Taken::Group {}
                steps.writer.flush().ok();
                (steps.replies, *steps.writer.progress(), *steps.keeper.kept())
            }
        };
        let replies = std::mem::take(&mut *replies.lock());
        Ending {
            replies,
            progress,
            kept,
        }
    }
}

impl Steps {
    fn commit(&mut self) -> Taken {
        self.time.pass(1, &self.disk);
        let clock = self.time.clock();
        let taken = self.queue.take(&mut self.group, Some(Duration::ZERO));
        if taken == Taken::Group {
            let theirs = Arc::clone(&self.replies);
            let mut complete = move |token, outcome| theirs.lock().push((token, outcome));
            self.writer.commit(&mut self.group, &clock, &mut complete);
        }
        self.writer.keep_time(clock());
        self.writer.tell_breaker(&self.queue);
        if let Some(failure) = self.writer.poisoned() {
            self.queue.poison(failure);
        }
        taken
    }

    /// The keeper goes on until nothing is left; when nothing failed the bound is kept.
    fn keep(&mut self) {
        let failures = self.keeper.kept().failures;
        let sealed = self.writer.progress().last_sealed;
        while self.keeper.keep(sealed, &self.time.clock(), &self.stop) == Left::More {}
        if let Some(failure) = self.keeper.poisoned() {
            self.queue.poison(failure);
        }
        let failed = self.keeper.kept().failures > failures || self.keeper.is_waiting(self.time.clock()());
        if self.retention_bytes_max > 0 && !failed && !self.disk.is_dead() && self.writer.poisoned().is_none()
        {
            let bytes = sealed_segments(&self.disk).into_iter().map(|sealed| {
                let path = Path::new(DIRECTORY).join(sealed.file_name());
                self.disk.content(&path).len() as u64
            });
            let bytes: u64 = bytes.sum();
            assert!(
                bytes <= self.retention_bytes_max,
                "retention leaves {bytes} bytes"
            );
        }
    }
}
