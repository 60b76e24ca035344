//! Models of `sync::thread_pool`.

use metricstream::sync::stop::Stop;
use metricstream::sync::thread_pool::{Options, Refused, ThreadPool, Worker};
use metricstream_verification::harness::{Bounds, explore};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, Tally, sequences, unordered_pairs};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What the models need of a pool, so that the faulty ones of `must_fail` run in the same models.
pub(crate) trait Pool: Send + Sync + 'static {
    fn start(workers: Vec<Noting>, queue_jobs_max: usize) -> Self;
    fn submit(&self, job: u8) -> Result<(), Refused<u8>>;
    fn queue_depth(&self) -> usize;
    fn drain(&self);
}

impl Pool for ThreadPool<u8> {
    fn start(workers: Vec<Noting>, queue_jobs_max: usize) -> Self {
        Self::start("worker", workers, queue_jobs_max).unwrap()
    }

    fn submit(&self, job: u8) -> Result<(), Refused<u8>> {
        self.submit(job)
    }

    fn queue_depth(&self) -> usize {
        self.queue_depth()
    }

    fn drain(&self) {
        self.drain();
    }
}

/// The pool whose workers look for a job once before they sleep.
pub(crate) struct Looking(ThreadPool<u8>);

impl Pool for Looking {
    fn start(workers: Vec<Noting>, queue_jobs_max: usize) -> Self {
        Self(start_looking(workers, queue_jobs_max, 1))
    }

    fn submit(&self, job: u8) -> Result<(), Refused<u8>> {
        self.0.submit(job)
    }

    fn queue_depth(&self) -> usize {
        self.0.queue_depth()
    }

    fn drain(&self) {
        self.0.drain();
    }
}

fn start_looking<W: Worker>(workers: Vec<W>, queue_jobs_max: usize, idle_looks: u32) -> ThreadPool<W::Job> {
    let options = Options {
        queue_jobs_max,
        idle_looks,
    };
    ThreadPool::start_with("worker", workers, options).unwrap()
}

/// A worker that notes the jobs it ran; std's lock, so that the note is no part of the model.
pub(crate) struct Noting(Arc<Mutex<Vec<u8>>>);

impl Worker for Noting {
    type Job = u8;

    fn run(&mut self, job: u8) {
        self.0.lock().unwrap().push(job);
    }
}

/// The sequential pool: jobs are queued, taken by idle workers at any moment, and done at any later one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Model {
    submitters: usize,
    workers: usize,
    queue_jobs_max: usize,
    queue: VecDeque<u8>,
    running: Vec<u8>,
    stopped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Submit,
    Depth,
    /// Two steps: jobs are refused from the first on, and the second comes when all are done.
    Drain,
    Begin,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    Accepted,
    Full,
    Stopped,
    Depth(usize),
    Begun,
    Drained,
}

impl Spec for Model {
    type Call = Call;
    type Return = Return;

    fn step(&self, call: &Call, _world: World) -> Vec<(Self, Return)> {
        let mut next = self.clone();
        match call {
            Call::Submit if self.stopped => vec![(next, Return::Stopped)],
            Call::Submit if self.queue.len() == self.queue_jobs_max => vec![(next, Return::Full)],
            Call::Submit => {
                next.queue.push_back(0);
                vec![(next, Return::Accepted)]
            }
            Call::Depth => vec![(next, Return::Depth(self.queue.len()))],
            Call::Begin => {
                next.stopped = true;
                vec![(next, Return::Begun)]
            }
            Call::End if self.queue.is_empty() && self.running.is_empty() => vec![(next, Return::Drained)],
            Call::End => vec![],
            Call::Drain => unreachable!("a drain is expanded into its two steps"),
        }
    }

    fn hidden_steps(&self) -> Vec<Self> {
        let mut steps = Vec::new();
        if self.running.len() < self.workers && !self.queue.is_empty() {
            let mut taken = self.clone();
            taken.running.extend(taken.queue.pop_front());
            steps.push(taken);
        }
        if !self.running.is_empty() {
            let mut done = self.clone();
            done.running.pop();
            steps.push(done);
        }
        steps
    }
}

/// One pool for the threads of a program. The last of them to end drains it and says what ran.
struct Shared<P: Pool> {
    pool: P,
    ran: Arc<Mutex<Vec<u8>>>,
    accepted: Mutex<Vec<u8>>,
    next: Mutex<u8>,
}

impl<P: Pool> Shared<P> {
    fn start(workers: usize, queue_jobs_max: usize) -> Self {
        let ran = Arc::new(Mutex::new(Vec::new()));
        Self {
            pool: P::start(
                (0..workers).map(|_| Noting(Arc::clone(&ran))).collect(),
                queue_jobs_max,
            ),
            ran,
            accepted: Mutex::default(),
            next: Mutex::default(),
        }
    }

    fn submit(&self) -> Return {
        let job = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        match self.pool.submit(job) {
            Ok(()) => {
                self.accepted.lock().unwrap().push(job);
                Return::Accepted
            }
            Err(Refused::Full(returned)) => {
                assert_eq!(returned, job, "[THREAD_POOL-BOUND] another job came back");
                Return::Full
            }
            Err(Refused::Stopped(returned)) => {
                assert_eq!(returned, job, "[THREAD_POOL-BOUND] another job came back");
                Return::Stopped
            }
        }
    }
}

impl<P: Pool> Drop for Shared<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.pool.drain();
        let sorted = |jobs: &Mutex<Vec<u8>>| {
            let mut jobs = jobs.lock().unwrap().clone();
            jobs.sort_unstable();
            jobs
        };
        let (accepted, ran) = (sorted(&self.accepted), sorted(&self.ran));
        assert_eq!(accepted, ran, "[THREAD_POOL-ONCE] accepted and ran differ");
    }
}

fn actor<P: Pool>(shared: Arc<Shared<P>>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, Return>| match call {
        Call::Submit => recorder.call(call.clone(), |_| shared.submit()),
        Call::Depth => recorder.call(call.clone(), |_| Return::Depth(shared.pool.queue_depth())),
        Call::Drain => {
            let from = recorder.now();
            shared.pool.drain();
            recorder.note(Call::Begin, Return::Begun, from);
            recorder.note(Call::End, Return::Drained, from);
        }
        Call::Begin | Call::End => unreachable!("programs hold drains"),
    })
}

/// THREAD_POOL-ONCE, THREAD_POOL-BOUND and THREAD_POOL-DRAIN: every pair of programs, and at the end each
/// accepted job was run once.
fn programs<P: Pool>(workers: usize, queue_jobs_max: usize, choices: Vec<Vec<Vec<Call>>>) -> Tally {
    let subject = Subject {
        id: "THREAD_POOL-ONCE",
        spec: Model {
            submitters: choices[0].len(),
            workers,
            queue_jobs_max,
            queue: VecDeque::new(),
            running: Vec::new(),
            stopped: false,
        },
        actors: |model| {
            let shared = Arc::new(Shared::<P>::start(model.workers, model.queue_jobs_max));
            (0..model.submitters)
                .map(|_| actor(Arc::clone(&shared)))
                .collect()
        },
        steps: |_, call| match call {
            Call::Drain => vec![Call::Begin, Call::End],
            other => vec![other.clone()],
        },
        loom_is_blind: |_| false,
    };
    subject.check(Bounds::PROGRAM, choices)
}

const ALPHABET: [Call; 3] = [Call::Submit, Call::Depth, Call::Drain];

/// One thread uses the pool of one worker: every program of up to `calls_max` calls.
pub(crate) fn one_submitter<P: Pool>(calls_max: usize) -> Tally {
    let choices = sequences(&ALPHABET, calls_max)
        .into_iter()
        .map(|program| vec![program])
        .collect();
    programs::<P>(1, 1, choices)
}

#[test]
fn one_submitter_one_worker() {
    one_submitter::<ThreadPool<u8>>(3).expect(40, 6_529, 56, 0, 0);
}

/// The same with a worker that looks for a job before it sleeps.
#[test]
fn one_submitter_one_worker_that_looks() {
    one_submitter::<Looking>(2).expect(13, 4_587, 15, 0, 0);
}

/// A queue of two, so that a job waits at its front while others are submitted, counted or refused.
#[test]
fn one_submitter_queue_of_two() {
    use Call::{Depth, Drain, Submit};
    let choices = [
        vec![Submit, Submit, Depth],
        vec![Submit, Submit, Drain],
        vec![Submit, Submit, Submit, Depth],
        vec![Submit, Submit, Submit, Submit],
    ];
    let choices = choices.into_iter().map(|program| vec![program]).collect();
    programs::<ThreadPool<u8>>(1, 2, choices).expect(4, 23_172, 14, 0, 0);
}

/// Two threads use the pool of one worker: every pair of single calls, so also two drains at once.
#[test]
fn two_submitters_one_worker() {
    let mut choices = unordered_pairs(&sequences(&ALPHABET, 1));
    let twice = vec![Call::Submit, Call::Submit];
    choices.push(vec![twice.clone(), vec![Call::Submit]]);
    choices.push(vec![twice, vec![Call::Drain]]);
    programs::<ThreadPool<u8>>(1, 1, choices).expect(12, 64_913, 24, 0, 0);
}

/// One thread uses the pool of two workers.
#[test]
fn one_submitter_two_workers() {
    programs::<ThreadPool<u8>>(2, 1, vec![vec![vec![Call::Submit]]]).expect(1, 131_832, 1, 0, 0);
}

/// Two threads use the pool of two workers: more executions than loom gets through, so shuttle's schedules
/// and the stress loop only.
#[cfg(not(metricstream_loom))]
#[test]
fn two_submitters_two_workers() {
    let choices = unordered_pairs(&sequences(&ALPHABET, 2));
    for queue_jobs_max in [1, 2] {
        programs::<ThreadPool<u8>>(2, queue_jobs_max, choices.clone()).expect(91, 0, 0, 0, 0);
        programs::<Looking>(2, queue_jobs_max, choices.clone()).expect(91, 0, 0, 0, 0);
    }
}

/// Requests a stop when it is run.
struct Telling;

impl Worker for Telling {
    type Job = Arc<Stop>;

    fn run(&mut self, job: Arc<Stop>) {
        job.request();
    }
}

/// THREAD_POOL-WAKES: a job is run without anything else having to happen; a sleeping worker is woken for it.
/// A drain would hide a lost wake-up, so the job is waited for before it.
#[test]
fn a_job_is_run_without_a_drain() {
    for idle_looks in [0, 1] {
        let report = explore(Bounds::SCENARIO, move || {
            let pool = start_looking(vec![Telling], 1, idle_looks);
            let told = Arc::new(Stop::new());
            assert!(pool.submit(Arc::clone(&told)).is_ok());
            told.wait();
            pool.drain();
        });
        assert!(report.executions > 1);
    }
}

/// Requests the second stop when it is run, then waits for the first.
#[cfg(not(metricstream_loom))]
struct Meeting;

#[cfg(not(metricstream_loom))]
impl Worker for Meeting {
    type Job = [Arc<Stop>; 2];

    fn run(&mut self, [theirs, mine]: [Arc<Stop>; 2]) {
        mine.request();
        theirs.wait();
    }
}

/// THREAD_POOL-WAKES: a job does not wait behind another while a worker sleeps, also when that other's worker
/// brought both to the front of the queue. Each job waits until the other is run. Two jobs of two workers are
/// more executions than loom gets through.
#[cfg(not(metricstream_loom))]
#[test]
fn a_job_does_not_wait_behind_another() {
    for idle_looks in [0, 1] {
        let report = explore(Bounds::SCENARIO, move || {
            let pool = start_looking(vec![Meeting, Meeting], 2, idle_looks);
            let [one, other] = [(); 2].map(|()| Arc::new(Stop::new()));
            assert!(pool.submit([Arc::clone(&one), Arc::clone(&other)]).is_ok());
            assert!(pool.submit([Arc::clone(&other), Arc::clone(&one)]).is_ok());
            // A drain would wake whoever sleeps.
            one.wait();
            other.wait();
            pool.drain();
        });
        assert!(report.executions > 1);
    }
}

/// Notes when it ran something and when it had nothing to run.
struct Idling(Arc<Mutex<Vec<&'static str>>>);

impl Worker for Idling {
    type Job = Arc<Stop>;

    fn run(&mut self, job: Arc<Stop>) {
        self.0.lock().unwrap().push("ran");
        job.request();
    }

    fn idle(&mut self) {
        self.0.lock().unwrap().push("idle");
    }
}

/// THREAD_POOL-IDLE: a worker says that it has nothing to do, after its last job at the latest and before it
/// waits; so whoever waits for that hears of it.
#[test]
fn a_worker_without_a_job_says_so() {
    for idle_looks in [0, 1] {
        let report = explore(Bounds::SCENARIO, move || {
            let notes = Arc::new(Mutex::new(Vec::new()));
            let pool = start_looking(vec![Idling(Arc::clone(&notes))], 1, idle_looks);
            let told = Arc::new(Stop::new());
            assert!(pool.submit(Arc::clone(&told)).is_ok());
            told.wait();
            pool.drain();
            notes.lock().unwrap().clone()
        });
        let outcomes: Vec<_> = report.outcomes.into_iter().collect();
        let expected = [vec!["idle", "ran", "idle"], vec!["ran", "idle"]];
        assert_eq!(outcomes, expected, "[THREAD_POOL-IDLE]");
    }
}

/// Panics on job zero.
struct Fragile(Arc<Mutex<Vec<u8>>>);

impl Worker for Fragile {
    type Job = u8;

    fn run(&mut self, job: u8) {
        if job == 0 {
            fail();
        }
        self.0.lock().unwrap().push(job);
    }
}

#[cfg(any(metricstream_loom, metricstream_shuttle))]
fn fail() {
    std::panic::resume_unwind(Box::new(metricstream::sync::shim::panic::Injected));
}

#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
fn fail() {
    // Not `panic!`: two thousand of them would fill the screen.
    std::panic::resume_unwind(Box::new("expected by this test"));
}

/// THREAD_POOL-PANIC: the job after the one that panicked is run by the same worker, and the panic counts.
#[test]
fn a_panic_is_contained() {
    let report = explore(Bounds::SCENARIO, || {
        let ran = Arc::new(Mutex::new(Vec::new()));
        let pool = ThreadPool::start("worker", vec![Fragile(Arc::clone(&ran))], 2).unwrap();
        let accepted = [0, 1].map(|job| pool.submit(job).is_ok());
        pool.drain();
        let ran = ran.lock().unwrap().clone();
        (accepted, ran, pool.panics())
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    assert_eq!(outcomes, [([true, true], vec![1], 1)], "[THREAD_POOL-PANIC]");
}
