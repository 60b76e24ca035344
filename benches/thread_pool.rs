//! The thread pool: jobs through the queue while the workers are busy, and one job to a sleeping worker and
//! back.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::disallowed_methods, reason = "benches use real threads")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::sync::shim::Arc;
use metricstream::sync::thread_pool::{ThreadPool, Worker};
use metricstream::sync::watermark::Watermark;
use std::time::Duration;

const JOBS: u64 = 1024;
const QUEUE_JOBS_MAX: usize = 2048;

/// Raises the watermark to the job's number.
struct Raising(Arc<Watermark>);

impl Worker for Raising {
    type Job = u64;

    fn run(&mut self, job: u64) {
        if job != 0 {
            self.0.advance(job);
        }
    }
}

fn jobs(criterion: &mut Criterion) {
    let done = Arc::new(Watermark::new(0));
    let workers = vec![Raising(Arc::clone(&done))];
    let pool = ThreadPool::start("bench", workers, QUEUE_JOBS_MAX).expect("a thread starts");
    let submit = |job: u64| {
        while pool.submit(job).is_err() {
            std::thread::yield_now();
        }
    };
    let mut round = 0;
    let mut group = criterion.benchmark_group("thread_pool");
    group.bench_function("one_job_and_back", |bencher| {
        bencher.iter(|| {
            round += 1;
            submit(round);
            done.wait(round).expect("nobody closes it");
        });
    });
    group.throughput(Throughput::Elements(JOBS));
    group.bench_function("many_jobs", |bencher| {
        bencher.iter(|| {
            round += 1;
            (1..JOBS).for_each(|_| submit(0));
            submit(round);
            done.wait(round).expect("nobody closes it");
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = jobs
}
criterion_main!(benches);
