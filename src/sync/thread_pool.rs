//! A fixed number of threads that take jobs from one bounded queue.
//!
//! Promises: every job accepted is run exactly once, also when the pool is drained right after
//! (THREAD_POOL-ONCE); a worker that sleeps is woken for it (THREAD_POOL-WAKES); never more than
//! `queue_jobs_max` jobs wait, a submit beyond that is refused at once and gives the job back
//! (THREAD_POOL-BOUND); a job that panics is counted and its worker goes on (THREAD_POOL-PANIC);
//! [`ThreadPool::drain`] returns when every accepted job was run and every thread has ended, whoever else
//! drains at the same time (THREAD_POOL-DRAIN). Workers take the jobs in the order in which they came. The
//! queue is allocated at the start: a submit allocates nothing. A worker without a job looks for one for as
//! long as [`Options::idle_looks`] says, then it sleeps.
//! Leaves to the caller: what to do with a refused job, and not to drain (or drop) the pool from inside a
//! job: a thread cannot wait for its own end.
//!
//! The queue is in two halves with a lock each: jobs are submitted to the back, workers take from the front,
//! and the worker that finds the front empty exchanges the two. So who submits and who takes meet once for
//! all the jobs that came meanwhile and not once for each, and no worker keeps a job that another could run.

use crate::ord;
use crate::sync::cache_line::CacheLine;
use crate::sync::shim::atomic::AtomicUsize;
use crate::sync::shim::{Arc, Condvar, Mutex, MutexGuard, panic, thread};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;

/// What one thread of the pool does with a job, and what it keeps from job to job (buffers, scratch).
///
/// A panic in [`Worker::run`] is contained; the worker is used again as the panic left it, so `run` must
/// bring what it uses into a known state before it relies on it.
pub trait Worker: Send + 'static {
    /// What is queued.
    type Job: Send + 'static;

    /// Does one job.
    fn run(&mut self, job: Self::Job);

    /// The queue is empty and the thread is about to wait for a job (THREAD_POOL-IDLE). Called with the
    /// queue locked, so that whoever looks at the queue after what this does finds it as it was: it is to
    /// be brief, and not to call the pool nor to panic.
    fn idle(&mut self) {}
}

/// How a pool is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// So many jobs wait at most; one at least.
    pub queue_jobs_max: usize,
    /// So many times a worker without a job looks for one, giving way to other threads in between, before it
    /// sleeps. While it looks a submit needs no system call and the job no thread that wakes; it takes
    /// processor time, less than a microsecond a look where nobody else wants to run. A worker that looks and
    /// that found several jobs at once also lets the next ones gather for less than a microsecond. None where
    /// the processors are wanted by others, some tens where one job follows another at once.
    pub idle_looks: u32,
}

/// How long a worker that may look lets jobs gather, once after each exchange that brought several: some
/// 800 ns, in which they come from one thread by the dozen. Twice as long is no better on two processors and
/// a loss where both threads share one.
const GATHER_PAUSES: u32 = 32;

/// A bounded queue and the threads that empty it. Dropping it drains it.
#[derive(Debug)]
pub struct ThreadPool<J: Send + 'static> {
    shared: Arc<Shared<J>>,
    /// Held by the drain that joins, so that one that comes second returns no sooner.
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

/// A job that was not accepted, given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused<J> {
    /// `queue_jobs_max` jobs are waiting.
    Full(J),
    /// The pool was drained.
    Stopped(J),
}

impl<J: Send + 'static> ThreadPool<J> {
    /// As [`ThreadPool::start_with`]; a worker without a job sleeps at once.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn start<W: Worker<Job = J>>(name: &str, workers: Vec<W>, queue_jobs_max: usize) -> io::Result<Self> {
        let options = Options {
            queue_jobs_max,
            idle_looks: 0,
        };
        Self::start_with(name, workers, options)
    }

    /// Starts one thread for each of `workers`, named `name-0`, `name-1` and so on.
    ///
    /// # Errors
    /// When the operating system refuses a thread; those already started have ended by then.
    ///
    /// # Panics
    /// When there is no worker, or no job may wait.
    pub fn start_with<W: Worker<Job = J>>(name: &str, workers: Vec<W>, options: Options) -> io::Result<Self> {
        let queue_jobs_max = options.queue_jobs_max;
        assert!(!workers.is_empty(), "a pool has at least one worker");
        assert!(queue_jobs_max > 0, "a queue holds at least one job");
        let pool = Self {
            shared: Arc::new(Shared {
                front: CacheLine(Mutex::new(VecDeque::with_capacity(queue_jobs_max))),
                state: CacheLine(Mutex::new(State {
                    back: VecDeque::with_capacity(queue_jobs_max),
                    front_max: 0,
                    looking: 0,
                    idle: 0,
                    woken: 0,
                    stopped: false,
                    panics: 0,
                })),
                news: AtomicUsize::new(0),
                job_or_stop: Condvar::new(),
                options,
            }),
            threads: Mutex::new(Vec::with_capacity(workers.len())),
        };
        for (index, worker) in workers.into_iter().enumerate() {
            let shared = Arc::clone(&pool.shared);
            let started = thread::spawn(&format!("{name}-{index}"), move || shared.work(worker))?;
            pool.threads.lock().push(started);
        }
        Ok(pool)
    }

    /// Queues `job`.
    ///
    /// # Errors
    /// [`Refused`] with the job, when the queue is full or the pool was drained.
    pub fn submit(&self, job: J) -> Result<(), Refused<J>> {
        let seen_awake = crate::seeded!(POOL_WAKE_ON_OLD_COUNT) && self.shared.state.lock().idle == 0;
        let mut state = self.shared.state.lock();
        if state.queued_max() >= self.shared.options.queue_jobs_max {
            state = self.shared.count(state);
        }
        if state.stopped {
            return Err(Refused::Stopped(job));
        }
        let off_by_one = usize::from(crate::seeded!(QUEUE_BOUND_OFF_BY_ONE));
        if state.queued_max() + off_by_one >= self.shared.options.queue_jobs_max {
            crate::reached!(QUEUE_FULL);
            return Err(Refused::Full(job));
        }
        state.back.push_back(job);
        // A busy worker looks at the queue before it sleeps, one that looks for a job does so by itself, and
        // one that was woken when it has the lock; waking costs a system call.
        let nobody_looks = state.queued_max() > state.looking;
        let someone_sleeps = nobody_looks && state.idle > state.woken && !seen_awake;
        state.woken += usize::from(someone_sleeps);
        self.shared.tell(&state);
        drop(state);
        if someone_sleeps {
            self.shared.job_or_stop.notify_one("THREAD_POOL_SUBMIT");
        }
        Ok(())
    }

    /// How many jobs wait now; at most `queue_jobs_max`.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        let shared = &self.shared;
        shared.count(shared.state.lock()).queued_max()
    }

    /// Whether no job waits and a worker waits for one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.shared.count(self.shared.state.lock());
        state.queued_max() == 0 && state.idle + state.looking > 0
    }

    /// How many jobs wait at most.
    #[must_use]
    pub fn queue_jobs_max(&self) -> usize {
        self.shared.options.queue_jobs_max
    }

    /// How many jobs panicked since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.shared.state.lock().panics
    }

    /// Accepts no more jobs, runs all that are queued and waits for the threads to end. Any thread but the
    /// pool's own may call it, any number of times.
    pub fn drain(&self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        self.shared.tell(&state);
        drop(state);
        self.shared.job_or_stop.notify_all("THREAD_POOL_STOP");
        let mut threads = self.threads.lock();
        for thread in threads.drain(..) {
            // A worker's panic is contained in the loop, so this is a bug of the pool itself.
            thread.join().expect("a thread of the pool does not panic");
        }
    }
}

impl<J: Send + 'static> Drop for ThreadPool<J> {
    fn drop(&mut self) {
        self.drain();
    }
}

#[derive(Debug)]
struct Shared<J> {
    /// The front half of the queue. Locked before `state` by whoever needs both.
    front: CacheLine<Mutex<VecDeque<J>>>,
    state: CacheLine<Mutex<State<J>>>,
    /// Changes when a job or the stop comes while a worker looks for one. Written with `state` locked, read
    /// by the workers that look; any number, wraps. Relaxed (THREAD_POOL_TELL, THREAD_POOL_LOOK): it
    /// publishes nothing and only says when a look under the lock may pay. A worker that misses it looks
    /// there all the same before it sleeps.
    news: AtomicUsize,
    job_or_stop: Condvar,
    options: Options,
}

#[derive(Debug)]
struct State<J> {
    /// The back half of the queue.
    back: VecDeque<J>,
    /// So many jobs are in the front half at most: as many as when both halves were last locked together.
    front_max: usize,
    /// Threads that look for a job: each of them looks at the queue before it sleeps.
    looking: usize,
    /// Threads in the wait below.
    idle: usize,
    /// Of these, so many at most were notified and have not looked at the queue since: each of them will.
    woken: usize,
    stopped: bool,
    panics: u64,
}

impl<J> State<J> {
    /// So many jobs wait at most; as many when the front half was just counted.
    fn queued_max(&self) -> usize {
        self.back.len() + self.front_max
    }
}

impl<J> Shared<J> {
    /// Counts the jobs in the front half; gives `state` back as it was, or as it was found, when both were
    /// locked together.
    fn count<'a>(&'a self, state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        if state.front_max == 0 {
            return state;
        }
        drop(state);
        let front = self.front.lock();
        let mut state = self.state.lock();
        state.front_max = front.len();
        state
    }

    /// Tells the workers that look for a job that there is something to see.
    fn tell(&self, state: &State<J>) {
        if state.looking > 0 {
            self.news.fetch_add(1, ord!(THREAD_POOL_TELL, Relaxed));
        }
    }

    /// One thread's life: until the pool is stopped and the queue is empty.
    fn work<W: Worker<Job = J>>(&self, mut worker: W) {
        let mut brought = 0;
        while let Some(job) = self.next_job(&mut brought, || worker.idle()) {
            // Outside the lock: a panic finds nothing of the pool half changed.
            if !panic::contain(|| worker.run(job)) {
                self.state.lock().panics += 1;
            }
        }
    }

    /// Waits for a job; `None` when the pool is stopped and the queue is empty. `brought` is how many jobs
    /// came with the exchange of the halves that this worker made last.
    fn next_job(&self, brought: &mut usize, mut idle: impl FnMut()) -> Option<J> {
        let mut looks = self.options.idle_looks;
        let mut looking = false;
        loop {
            let mut front = self.front.lock();
            if !looking && let Some(job) = front.pop_front() {
                return Some(job);
            }
            // Jobs come one after the other: let some gather, and do not meet who submits for each.
            if looks > 0 && mem::take(brought) > 1 {
                drop(front);
                thread::pause(GATHER_PAUSES);
                continue;
            }
            let mut state = self.state.lock();
            state.looking -= usize::from(mem::take(&mut looking));
            if front.is_empty() {
                mem::swap(&mut *front, &mut state.back);
                *brought = front.len();
            }
            let job = front.pop_front();
            state.front_max = front.len();
            if job.is_some() {
                return job;
            }
            // The queue stays empty while the state is locked: jobs come to the front from the back only.
            drop(front);
            if looks > 0 && !state.stopped {
                looking = true;
                state.looking += 1;
                looks = self.look(state, looks);
                continue;
            }
            idle();
            if !self.sleep(state) {
                return None;
            }
        }
    }

    /// Looks for news without the lock, `looks` times at most; answers how many times are left.
    fn look(&self, state: MutexGuard<'_, State<J>>, mut looks: u32) -> u32 {
        let news = || self.news.load(ord!(THREAD_POOL_LOOK, Relaxed));
        let seen = news();
        drop(state);
        while looks > 0 {
            looks -= 1;
            thread::give_way();
            if news() != seen {
                break;
            }
        }
        looks
    }

    /// Sleeps until there may be a job, or until the pool is stopped and there is none; answers which.
    fn sleep(&self, mut state: MutexGuard<'_, State<J>>) -> bool {
        state.idle += 1;
        let mut state = self.job_or_stop.wait_while("THREAD_POOL_IDLE", state, |state| {
            // Whoever comes to look counts, also without a notification: at worst one is sent too many.
            state.woken = state.woken.saturating_sub(1);
            state.queued_max() == 0 && !state.stopped
        });
        state.idle -= 1;
        state.queued_max() > 0
    }
}

impl<J> fmt::Debug for Refused<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Stopped(_) => "Stopped(..)",
        })
    }
}

impl<J> fmt::Display for Refused<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the pool's queue is full",
            Self::Stopped(_) => "the pool was drained",
        })
    }
}

impl<J> std::error::Error for Refused<J> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::stop::Stop;

    /// Runs closures; one type of job is enough for the tests.
    struct Runner;

    type Task = Box<dyn FnOnce() + Send>;

    impl Worker for Runner {
        type Job = Task;

        fn run(&mut self, job: Task) {
            job();
        }
    }

    fn pool(workers: usize, queue_jobs_max: usize) -> ThreadPool<Task> {
        ThreadPool::start("test", (0..workers).map(|_| Runner).collect(), queue_jobs_max).unwrap()
    }

    /// A job that holds its worker until `release`, and says when it has begun.
    fn blocker(begun: &Arc<Stop>, release: &Arc<Stop>) -> Task {
        let (begun, release) = (Arc::clone(begun), Arc::clone(release));
        Box::new(move || {
            begun.request();
            release.wait();
        })
    }

    #[test]
    fn refuses_when_full_and_runs_everything_on_drain() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let (begun, release) = (Arc::new(Stop::new()), Arc::new(Stop::new()));
        let pool = pool(1, 2);
        pool.submit(blocker(&begun, &release)).unwrap();
        begun.wait();
        for n in 0..2 {
            let done = Arc::clone(&done);
            pool.submit(Box::new(move || done.lock().push(n))).unwrap();
        }
        assert_eq!((pool.queue_depth(), pool.is_idle()), (2, false));
        assert!(matches!(pool.submit(Box::new(|| ())), Err(Refused::Full(_))));
        release.request();
        pool.drain();
        pool.drain();
        assert_eq!(*done.lock(), [0, 1]);
        assert_eq!(pool.queue_depth(), 0);
        assert!(matches!(pool.submit(Box::new(|| ())), Err(Refused::Stopped(_))));
    }

    #[test]
    fn a_panic_is_counted_and_the_worker_goes_on() {
        let done = Arc::new(Stop::new());
        let pool = pool(1, 4);
        pool.submit(Box::new(|| panic!("expected by this test"))).unwrap();
        let later = Arc::clone(&done);
        pool.submit(Box::new(move || later.request())).unwrap();
        pool.drain();
        assert!(done.is_requested());
        assert_eq!((pool.panics(), pool.is_idle()), (1, false));
    }

    #[test]
    fn the_queue_is_allocated_once() {
        let pool = pool(1, 100);
        let capacity = pool.shared.state.lock().back.capacity();
        assert!(capacity >= 100);
        for _ in 0..1000 {
            let _ = pool.submit(Box::new(|| ()));
        }
        assert_eq!(pool.shared.state.lock().back.capacity(), capacity);
    }

    #[test]
    fn dropping_the_pool_drains_it() {
        let count = Arc::new(Mutex::new(0));
        let pool = pool(2, 100);
        for _ in 0..100 {
            let count = Arc::clone(&count);
            pool.submit(Box::new(move || *count.lock() += 1)).unwrap();
        }
        drop(pool);
        assert_eq!(*count.lock(), 100);
    }

    #[test]
    #[should_panic(expected = "at least one worker")]
    fn a_pool_without_workers_is_refused() {
        let _ = ThreadPool::start("none", Vec::<Runner>::new(), 1);
    }
}
