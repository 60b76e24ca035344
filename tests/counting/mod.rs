//! A global allocator that counts: which thread asked for how much memory while somebody watched.
//!
//! Promises: each `alloc`, `alloc_zeroed` and `realloc` between [`start`] and [`stop`] is recorded, whoever
//! makes it, but for threads that called [`exempt`]; memory given back is not looked at. Recording itself is
//! not recorded. With [`TRACE`] in the environment the first few recorded also print where they were made.
//! Leaves to the caller: one watch at a time.

#![allow(unreachable_pub, reason = "a module of a test program")]
#![allow(unsafe_code, reason = "the interface of an allocator is unsafe")]
#![allow(clippy::disallowed_types, reason = "it counts for threads of any kind")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The environment variable that asks for backtraces.
pub const TRACE: &str = "METRICSTREAM_ALLOCATIONS_TRACE";

/// Backtraces printed by one watch: finding the lines of one takes long.
const TRACES_MAX: usize = 8;

/// One request for memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The name of the thread.
    pub thread: String,
    /// How many bytes; of a reallocation, all of them.
    pub bytes: usize,
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, watched.
struct Counting;

static WATCHED: AtomicBool = AtomicBool::new(false);
static ASKED: Mutex<Vec<Asked>> = Mutex::new(Vec::new());
static TRACES_LEFT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Initialised at compile time and without a destructor: an access cannot allocate in its turn.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// Nothing that this thread asks for is recorded from now on.
pub fn exempt() {
    EXEMPT.set(true);
}

/// Begins to record.
pub fn start() {
    let traces = std::env::var_os(TRACE).map_or(0, |_| TRACES_MAX);
    TRACES_LEFT.store(traces, Ordering::Relaxed);
    WATCHED.store(true, Ordering::SeqCst);
}

/// Ends to record, and gives what was.
pub fn stop() -> Vec<Asked> {
    WATCHED.store(false, Ordering::SeqCst);
    std::mem::take(&mut *ASKED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Records one request of this thread. What it allocates itself comes back here and finds the thread exempt.
fn note(bytes: usize) {
    if !WATCHED.load(Ordering::Relaxed) || EXEMPT.replace(true) {
        return;
    }
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let trace = |left: usize| left.checked_sub(1);
    if TRACES_LEFT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, trace)
        .is_ok()
    {
        eprintln!("{bytes} bytes on {thread}\n{}", Backtrace::force_capture());
    }
    ASKED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Asked { thread, bytes });
    EXEMPT.set(false);
}

// SAFETY: every call is passed on as it came to the system's allocator, which keeps the trait's promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises about `layout` are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller has `pointer` of this allocator, which has it of the system's.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
