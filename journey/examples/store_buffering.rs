//! Lesson 5.2: two threads each store and then look at what the other stored. Can both miss it?
//!
//! With Release and Acquire they can; with a fence they cannot. With SeqCst accesses they cannot either, but
//! loom treats those as Release and Acquire and says that they can: the variant `seqcst` is right in the
//! language and fails here. Knowing what a checker cannot know is part of using it.

use std::process::ExitCode;

use metricstream_journey::lesson::{self, Explored, Variant};

#[cfg(metricstream_loom)]
fn both_look(store: Order, fenced: bool) -> Explored {
    use loom::sync::atomic::{AtomicBool, Ordering, fence};
    use metricstream::sync::shim::{Arc, thread};

    let (store, load) = match store {
        Order::ReleaseAcquire => (Ordering::Release, Ordering::Acquire),
        Order::SeqCst => (Ordering::SeqCst, Ordering::SeqCst),
    };
    lesson::explore(move || {
        let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let raise_and_look = move |flags: &[AtomicBool; 2], own: usize| {
            flags[own].store(true, store);
            if fenced {
                fence(Ordering::SeqCst);
            }
            flags[1 - own].load(load)
        };
        let theirs = Arc::clone(&flags);
        let other = thread::spawn("other", move || raise_and_look(&theirs, 1)).expect("a thread");
        let mine = raise_and_look(&flags, 0);
        let seen = (mine, other.join().expect("it ends"));
        assert_ne!(
            seen,
            (false, false),
            "[LESSON] both stored, and neither saw the other"
        );
        seen
    })
}

/// Without loom there is nothing to run; the frame says so before it comes here.
#[cfg(not(metricstream_loom))]
fn both_look(order: Order, fenced: bool) -> Explored {
    lesson::once(|| (order, fenced))
}

#[derive(Clone, Copy, Debug)]
enum Order {
    ReleaseAcquire,
    SeqCst,
}

fn main() -> ExitCode {
    lesson::main(
        "store_buffering",
        &[
            Variant {
                name: "right",
                about: "a SeqCst fence between the store and the load",
                run: || both_look(Order::ReleaseAcquire, true),
            },
            Variant {
                name: "wrong",
                about: "Release stores and Acquire loads",
                run: || both_look(Order::ReleaseAcquire, false),
            },
            Variant {
                name: "seqcst",
                about: "SeqCst stores and loads: right, and loom cannot tell",
                run: || both_look(Order::SeqCst, false),
            },
        ],
    )
}
