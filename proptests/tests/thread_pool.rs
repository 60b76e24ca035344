//! The thread pool: what was accepted was run, once; what was not came back.

use metricstream::sync::thread_pool::{Options, Refused, ThreadPool, Worker};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how often each job is run; panics at some of them, without a message on the screen.
struct Counting {
    runs: Arc<Vec<AtomicUsize>>,
    panics_at: usize,
}

impl Worker for Counting {
    type Job = usize;

    fn run(&mut self, job: usize) {
        self.runs[job].fetch_add(1, Ordering::Relaxed);
        if job.is_multiple_of(self.panics_at) {
            std::panic::resume_unwind(Box::new("expected by this test"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// THREAD_POOL-ONCE, THREAD_POOL-BOUND, THREAD_POOL-PANIC, THREAD_POOL-DRAIN.
    #[test]
    fn what_was_accepted_was_run_once(
        workers in 1_usize..5,
        queue_jobs_max in 1_usize..20,
        idle_looks in 0_u32..3,
        jobs in 0_usize..200,
        panics_at in 2_usize..50,
    ) {
        let runs: Arc<Vec<_>> = Arc::new((0..jobs).map(|_| AtomicUsize::new(0)).collect());
        let make = |_| Counting { runs: Arc::clone(&runs), panics_at };
        let options = Options { queue_jobs_max, idle_looks };
        let pool = ThreadPool::start_with("test", (0..workers).map(make).collect(), options).unwrap();
        let mut accepted = Vec::new();
        for job in 0..jobs {
            prop_assert!(pool.queue_depth() <= queue_jobs_max);
            match pool.submit(job) {
                Ok(()) => accepted.push(job),
                Err(Refused::Full(returned)) => prop_assert_eq!(returned, job),
                Err(Refused::Stopped(_)) => prop_assert!(false, "nobody stopped it"),
            }
        }
        pool.drain();
        prop_assert_eq!(pool.submit(7), Err(Refused::Stopped(7)));
        let expected: Vec<_> = (0..jobs).map(|job| usize::from(accepted.contains(&job))).collect();
        let seen: Vec<_> = runs.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        prop_assert_eq!(seen, expected);
        let panics = accepted.iter().filter(|&&job| job % panics_at == 0).count();
        prop_assert_eq!(pool.panics(), panics as u64);
        prop_assert!(accepted.len() >= queue_jobs_max.min(jobs));
    }
}
