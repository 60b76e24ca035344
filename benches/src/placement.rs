//! Where a bench's threads run. Left to itself the system keeps two threads together or apart for seconds,
//! and that alone decides by a factor of three.
//!
//! Promises: the calling thread runs on that core from here on, and so do the threads that it starts then.
//! Leaves to the bench: to ask how many there are first, and to name the placement in its figures.

use rustix::thread::{CpuSet, sched_setaffinity};

/// The calling thread runs on `core` only.
///
/// # Panics
/// When there is no such core for this process.
pub fn run_on(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("a core of this process");
}

/// The calling thread runs on any core.
///
/// # Panics
/// Never on a machine that has one.
pub fn run_anywhere() {
    let mut cores = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core));
    sched_setaffinity(None, &cores).expect("some of them are there");
}
