//! The thread pool beside rayon, threadpool and a crossbeam channel: jobs through the queue while the worker
//! is busy, and one job to a worker without one and back. One worker each, the same work: a number raised.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::disallowed_methods, reason = "benches use real threads")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::sync::shim::Arc;
use metricstream::sync::thread_pool::{Options, ThreadPool, Worker};
use metricstream::sync::watermark::Watermark;
use std::time::Duration;

const JOBS: u64 = 1024;
const QUEUE_JOBS_MAX: usize = 2048;

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

/// Times one way to hand jobs to a worker. `submit` gives a job to it, waiting while there is no room.
fn hand_off(criterion: &mut Criterion, name: &str, done: &Watermark, mut submit: impl FnMut(u64)) {
    let mut round = 0;
    let mut next = || {
        round += 1;
        round
    };
    // What is timed below arrives.
    for _ in 0..3 {
        let round = next();
        submit(round);
        done.wait(round).expect("nobody closes it");
        assert_eq!(done.get(), round);
    }
    let mut group = criterion.benchmark_group("thread_pool/one_job_and_back");
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let round = next();
            submit(round);
            done.wait(round).expect("nobody closes it");
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("thread_pool/many_jobs");
    group.throughput(Throughput::Elements(JOBS));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let round = next();
            (1..JOBS).for_each(|_| submit(0));
            submit(round);
            done.wait(round).expect("nobody closes it");
        });
    });
    group.finish();
}

fn raising() -> (Arc<Watermark>, Raising) {
    let done = Arc::new(Watermark::new(0));
    (Arc::clone(&done), Raising(done))
}

fn ours(criterion: &mut Criterion) {
    ours_looking(criterion, "ours", IDLE_LOOKS);
}

/// As the server has it: the worker sleeps at once.
fn ours_without_looks(criterion: &mut Criterion) {
    ours_looking(criterion, "ours_without_looks", 0);
}

fn ours_looking(criterion: &mut Criterion, name: &str, idle_looks: u32) {
    let (done, raising) = raising();
    let options = Options {
        queue_jobs_max: QUEUE_JOBS_MAX,
        idle_looks,
    };
    let pool = ThreadPool::start_with("bench", vec![raising], options).expect("a thread starts");
    hand_off(criterion, name, &done, |job| {
        while pool.submit(job).is_err() {
            std::thread::yield_now();
        }
    });
}

fn crossbeam(criterion: &mut Criterion) {
    let (done, raising) = raising();
    let (sender, receiver) = crossbeam_channel::bounded(QUEUE_JOBS_MAX);
    let worker = std::thread::spawn(move || receiver.iter().for_each(|job| raising.raise(job)));
    hand_off(criterion, "crossbeam_channel", &done, |job| {
        sender.send(job).expect("the worker waits");
    });
    drop(sender);
    worker.join().expect("the worker does not panic");
}

fn rayon(criterion: &mut Criterion) {
    let (done, raising) = raising();
    let raising = Arc::new(raising);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread starts");
    hand_off(criterion, "rayon", &done, |job| {
        let raising = Arc::clone(&raising);
        // First in, first out, as the others.
        pool.spawn_fifo(move || raising.raise(job));
    });
}

fn threadpool(criterion: &mut Criterion) {
    let (done, raising) = raising();
    let raising = Arc::new(raising);
    let pool = threadpool::ThreadPool::new(1);
    hand_off(criterion, "threadpool", &done, |job| {
        let raising = Arc::clone(&raising);
        pool.execute(move || raising.raise(job));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = ours, ours_without_looks, crossbeam, rayon, threadpool
}
criterion_main!(benches);
