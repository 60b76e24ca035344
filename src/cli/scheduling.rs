//! How the kernel schedules the threads of this process.
//!
//! Promises: after [`apply`] the calling thread, and every thread that it starts, has the policy asked for,
//! or nothing has changed and it says why. The nice value stays as it was.
//! Leaves to the caller: to call it before the other threads are started, for they inherit the policy.
//!
//! Under `SCHED_BATCH` a thread that is woken does not interrupt the one that runs (sched(7)): the reactor
//! finds more requests at once, and the writer more lines, where there are more threads than processors.

#![allow(unsafe_code, reason = "one system call")]

use std::io;

use crate::config::SchedulingPolicy;

/// Puts `policy` in force for this thread and those that it will start.
///
/// # Errors
/// When the kernel, or a filter of system calls, refuses.
pub fn apply(policy: SchedulingPolicy) -> io::Result<()> {
    match policy {
        SchedulingPolicy::Inherited => Ok(()),
        SchedulingPolicy::Batch => {
            // Priority zero is the only one of the policies that are not real-time.
            // SAFETY: all bytes zero is a value of this structure of integers.
            let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
            // SAFETY: zero is the calling thread, and the structure outlives the call, which only reads it.
            match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::shim::thread;

    /// Field 41 of proc(5)'s stat: the policy of the calling thread.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the kernel tells");
        let (_, after_name) = stat.rsplit_once(')').expect("the name is in brackets");
        after_name
            .split_whitespace()
            .nth(38)
            .expect("field 41")
            .to_owned()
    }

    #[test]
    fn threads_started_after_it_are_batch_ones() {
        let before = policy();
        let tried = thread::spawn("tried", || {
            apply(SchedulingPolicy::Inherited).expect("nothing to do");
            let inherited = policy();
            apply(SchedulingPolicy::Batch).expect("the kernel lets everybody");
            let started = thread::spawn("started", policy).expect("a thread");
            (inherited, policy(), started.join().expect("it ends"))
        });
        let (inherited, own, started) = tried.expect("a thread").join().expect("it ends");
        assert_eq!(inherited, before);
        assert_eq!((own.as_str(), started.as_str()), ("3", "3"), "SCHED_BATCH");
        assert_eq!(policy(), before, "of this thread only");
    }
}
