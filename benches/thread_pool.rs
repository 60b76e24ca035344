//! The thread pool beside rayon, threadpool and a crossbeam channel: jobs through the queue while the worker
//! is busy, and one job to a worker without one and back. One worker each, the same work: a number raised.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::disallowed_methods, reason = "benches use real threads")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::sync::shim::{Arc, thread};
use metricstream::sync::thread_pool::{Options, ThreadPool, Worker};
use metricstream::sync::watermark::Watermark;
use metricstream_benches::placement::{run_anywhere, run_on};
use metricstream_benches::turns;
use std::time::{Duration, Instant};

const JOBS: u64 = 1024;
const QUEUE_JOBS_MAX: usize = 2048;

/// The cores of [`in_turns`].
const SUBMITTER_CORE: usize = 0;
const WORKER_CORE: usize = 1;

/// How often our worker looks for a job before it sleeps: as often as rayon's yields.
const IDLE_LOOKS: u32 = 32;

/// Raises the watermark to the job's number; a job of zero does nothing.
struct Raising(Arc<Watermark>);

impl Raising {
    fn raise(&self, job: u64) {
        if job != 0 {
            self.0.advance(job);
        }
    }
}

impl Worker for Raising {
    type Job = u64;

    fn run(&mut self, job: u64) {
        self.raise(job);
    }
}

/// One way to hand jobs to a worker.
struct Contender {
    name: &'static str,
    /// Raised by the worker to the number of the last job.
    done: Arc<Watermark>,
    /// Gives a job to the worker, waiting while there is no room.
    submit: Box<dyn FnMut(u64)>,
    /// Numbers given to jobs so far.
    round: u64,
}

impl Contender {
    fn new(name: &'static str, done: Arc<Watermark>, submit: impl FnMut(u64) + 'static) -> Self {
        let mut contender = Self {
            name,
            done,
            submit: Box::new(submit),
            round: 0,
        };
        // What is timed below arrives.
        for round in 1..=3 {
            contender.one_job_and_back();
            assert_eq!(contender.done.get(), round);
        }
        contender
    }

    fn one_job_and_back(&mut self) {
        self.round += 1;
        (self.submit)(self.round);
        self.done.wait(self.round).expect("nobody closes it");
    }

    fn many_jobs(&mut self) {
        (1..JOBS).for_each(|_| (self.submit)(0));
        self.one_job_and_back();
    }
}

fn raising() -> (Arc<Watermark>, Raising) {
    let done = Arc::new(Watermark::new(0));
    (Arc::clone(&done), Raising(done))
}

fn ours() -> Contender {
    ours_looking("ours", IDLE_LOOKS)
}

/// As the server has it: the worker sleeps at once.
fn ours_without_looks() -> Contender {
    ours_looking("ours_without_looks", 0)
}

fn ours_looking(name: &'static str, idle_looks: u32) -> Contender {
    let (done, raising) = raising();
    let options = Options {
        queue_jobs_max: QUEUE_JOBS_MAX,
        idle_looks,
    };
    let pool = ThreadPool::start_with("bench", vec![raising], options).expect("a thread starts");
    Contender::new(name, done, move |job| {
        while pool.submit(job).is_err() {
            std::thread::yield_now();
        }
    })
}

/// Its worker ends when the contender is dropped, and nobody waits for that.
fn crossbeam() -> Contender {
    let (done, raising) = raising();
    let (sender, receiver) = crossbeam_channel::bounded(QUEUE_JOBS_MAX);
    std::thread::spawn(move || receiver.iter().for_each(|job| raising.raise(job)));
    Contender::new("crossbeam_channel", done, move |job| {
        sender.send(job).expect("the worker waits");
    })
}

fn rayon() -> Contender {
    let (done, raising) = raising();
    let raising = Arc::new(raising);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread starts");
    Contender::new("rayon", done, move |job| {
        let raising = Arc::clone(&raising);
        // First in, first out, as the others.
        pool.spawn_fifo(move || raising.raise(job));
    })
}

fn threadpool() -> Contender {
    let (done, raising) = raising();
    let raising = Arc::new(raising);
    let pool = threadpool::ThreadPool::new(1);
    Contender::new("threadpool", done, move |job| {
        let raising = Arc::clone(&raising);
        pool.execute(move || raising.raise(job));
    })
}

/// One after the other.
fn each(criterion: &mut Criterion) {
    for contender in [ours, ours_without_looks, crossbeam, rayon, threadpool] {
        let mut contender = contender();
        let mut group = criterion.benchmark_group("thread_pool/one_job_and_back");
        group.bench_function(contender.name, |bencher| {
            bencher.iter(|| contender.one_job_and_back());
        });
        group.finish();
        let mut group = criterion.benchmark_group("thread_pool/many_jobs");
        group.throughput(Throughput::Elements(JOBS));
        group.bench_function(contender.name, |bencher| bencher.iter(|| contender.many_jobs()));
        group.finish();
    }
}

/// All of them in turns of a millisecond or two, so that what else the machine does meets all: medians, and
/// the medians of the ratios of one turn.
fn in_turns(_: &mut Criterion) {
    if thread::cores() < 2 {
        println!("thread_pool/in_turns: left out, it takes two cores");
        return;
    }
    for (placement, submitter_core) in [("one_core", WORKER_CORE), ("two_cores", SUBMITTER_CORE)] {
        // A thread starts where the one is allowed that starts it.
        run_on(WORKER_CORE);
        let mut contenders = [ours(), ours_without_looks(), crossbeam(), rayon(), threadpool()];
        run_on(submitter_core);
        let what = format!("{placement}/one_job_and_back");
        all(&what, &mut contenders, 64, Contender::one_job_and_back);
        let what = format!("{placement}/many_jobs");
        all(&what, &mut contenders, 24, Contender::many_jobs);
    }
    run_anywhere();
}

fn all(what: &str, contenders: &mut [Contender], repeats: u32, act: impl Fn(&mut Contender)) {
    let taken = turns::take(|| {
        let turn = contenders.iter_mut().map(|contender| {
            let start = Instant::now();
            (0..repeats).for_each(|_| act(contender));
            u64::try_from(start.elapsed().as_nanos()).expect("a short turn") / u64::from(repeats)
        });
        turn.collect::<Vec<_>>()
    });
    for (index, contender) in contenders.iter().enumerate() {
        println!(
            "thread_pool/in_turns/{what}/{}: {} ns, ours / this {} %",
            contender.name,
            taken.median(|turn| turn[index]),
            taken.median(|turn| turn[0] * 100 / turn[index]),
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = in_turns, each
}
criterion_main!(benches);
