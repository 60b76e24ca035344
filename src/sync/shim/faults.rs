//! What loom and shuttle leave out: waits that wake for no reason, time-outs, weak failures.
//!
//! Promises: deterministic. A plan names one fault by its kind and its number, counted over the whole
//! execution: the third wait wakes for no reason, the first timed wait runs out, the second weak
//! compare-and-exchange fails though the value was the expected one. The harness repeats a model for every
//! plan. What the plan does not name never happens, so that neither a stray wake-up nor a timer
//! can hide a lost notification.
//! Leaves to the caller: to [`arm`] at the start of each execution. Both checkers run all the threads of an
//! execution on one system thread, which is why std's thread-local holds the plan.

use std::cell::Cell;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A wait returns though nobody notified.
    SpuriousWake,
    /// A timed wait runs out.
    TimeOut,
    /// A weak compare-and-exchange fails though it need not.
    WeakFailure,
}

/// All of them.
pub const FAULTS: [Fault; 3] = [Fault::SpuriousWake, Fault::TimeOut, Fault::WeakFailure];

#[derive(Clone, Copy)]
struct State {
    plan: Option<(Fault, u32)>,
    /// Occasions for each kind so far.
    occasions: [u32; FAULTS.len()],
}

thread_local! {
    static STATE: Cell<State> = const {
        Cell::new(State { plan: None, occasions: [0; FAULTS.len()] })
    };
}

/// Sets the plan of the execution that begins here: the kind and which occasion for it, from zero.
pub fn arm(plan: Option<(Fault, u32)>) {
    STATE.set(State {
        plan,
        occasions: [0; FAULTS.len()],
    });
}

/// How many occasions for a fault of `kind` there were since [`arm`]. Up to the fault an execution is one
/// without it, so the most that any execution without a fault has is how many plans there are to try.
#[must_use]
pub fn occasions(kind: Fault) -> u32 {
    STATE.get().occasions[kind as usize]
}

/// Counts one occasion for a fault of `kind`; true when it happens here.
pub(super) fn happens(kind: Fault) -> bool {
    let mut state = STATE.get();
    let now = state.occasions[kind as usize];
    state.occasions[kind as usize] += 1;
    STATE.set(state);
    state.plan == Some((kind, now))
}
