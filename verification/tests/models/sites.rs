//! Every named site of the source, and what can be broken at it.
//!
//! The gate of `mutation.rs` breaks each in a process of its own; `proofs.rs` compares this table with the
//! source and with PROOFS.md.

/// A site and the ways to break it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Its name in the source.
    pub(crate) name: &'static str,
    /// What it is: an ordering, `wait`, `notify_one` or `notify_all`.
    pub(crate) kind: &'static str,
    /// The models that have to notice; the prefix of their tests' names.
    pub(crate) models: &'static str,
}

const fn site(name: &'static str, kind: &'static str, models: &'static str) -> Site {
    Site { name, kind, models }
}

/// All of them, by name.
pub(crate) const SITES: &[Site] = &[
    site("BUDGET_GIVE", "Relaxed", "budget::"),
    site("BUDGET_READ", "Relaxed", "budget::"),
    site("BUDGET_TAKE", "Relaxed", "budget::"),
    site("LOG_FLUSHER_DONE", "notify_one", "log_flusher::"),
    site("LOG_FLUSHER_END", "notify_one", "log_flusher::"),
    site("LOG_FLUSHER_IDLE", "wait", "log_flusher::"),
    site("LOG_FLUSHER_ORDER", "notify_one", "log_flusher::"),
    site("LOG_FLUSHER_SETTLE", "wait", "log_flusher::"),
    site("LOG_QUEUE_END", "notify_one", "log_queue::"),
    site("LOG_QUEUE_IDLE", "wait", "log_queue::"),
    site("LOG_QUEUE_IDLE_TIMED", "wait", "log_queue::"),
    site("LOG_QUEUE_NUDGE", "notify_one", "log_queue::"),
    site("LOG_QUEUE_PUSH", "notify_one", "log_queue::"),
    site("RING_DROP_HEAD", "Relaxed", "ring::"),
    site("RING_DROP_TAIL", "Relaxed", "ring::"),
    site("RING_OBSERVE", "Acquire", "ring::"),
    site("RING_PUBLISH", "Release", "ring::"),
    site("RING_RECLAIM", "Acquire", "ring::"),
    site("RING_RELEASE", "Release", "ring::"),
    site("STATS_ADD", "Relaxed", ""),
    site("STATS_READ", "Relaxed", ""),
    site("STOP_OBSERVE", "Acquire", "stop::"),
    site("STOP_PUBLISH", "Release", "stop::"),
    site("STOP_RAISED", "notify_all", "stop::"),
    site("STOP_WAIT", "wait", "stop::"),
    site("STOP_WAIT_TIMEOUT", "wait", "stop::"),
    site("THREAD_POOL_IDLE", "wait", "thread_pool::"),
    site("THREAD_POOL_LOOK", "Relaxed", "thread_pool::"),
    site("THREAD_POOL_STOP", "notify_all", "thread_pool::"),
    site("THREAD_POOL_SUBMIT", "notify_one", "thread_pool::"),
    site("THREAD_POOL_TELL", "Relaxed", "thread_pool::"),
    site("WATERMARK_CLOSED", "notify_all", "watermark::"),
    site("WATERMARK_OBSERVE", "Acquire", "watermark::"),
    site("WATERMARK_PUBLISH", "Release", "watermark::"),
    site("WATERMARK_RISEN", "notify_all", "watermark::"),
    site("WATERMARK_WAIT", "wait", "watermark::"),
    site("WATERMARK_WAIT_TIMEOUT", "wait", "watermark::"),
];

impl Site {
    /// Every way to break it: each weaker ordering, the predicate looked at once, the notification lost or
    /// sent to one waiter only. None for a relaxed access: there is nothing weaker.
    #[must_use]
    pub(crate) fn changes(&self) -> &'static [&'static str] {
        match self.kind {
            "Relaxed" => &[],
            "Acquire" | "Release" => &["Relaxed"],
            "AcqRel" => &["Acquire", "Release", "Relaxed"],
            "SeqCst" => &["AcqRel", "Acquire", "Release", "Relaxed"],
            "wait" => &["if"],
            "notify_one" => &["none"],
            "notify_all" => &["none", "one"],
            other => panic!("no kind of site is called {other}"),
        }
    }
}
