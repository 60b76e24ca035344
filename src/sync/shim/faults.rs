//! What loom and shuttle leave out: waits that wake for no reason, and time-outs.
//!
//! Promises: deterministic. A plan names the one wait, counted over the whole execution, that wakes for no
//! reason, and the one timed wait whose time runs out; the harness repeats a model for every plan up to
//! its bound. A plan is a budget: what it does not name never happens, so that neither a stray wake-up
//! nor a timer can hide a lost notification.
//! Leaves to the caller: to [`arm`] at the start of each execution. Both checkers run all the threads of an
//! execution on one system thread, which is why std's thread-local holds the plan.

use std::cell::Cell;

/// Which waits fail, counted from zero; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The wait that wakes for no reason.
    pub spurious_wake: Option<u32>,
    /// The timed wait whose time runs out.
    pub time_out: Option<u32>,
}

#[derive(Clone, Copy, Default)]
struct State {
    plan: Plan,
    waits: u32,
    timed_waits: u32,
    fired: bool,
}

thread_local! {
    static STATE: Cell<State> = const {
        Cell::new(State {
            plan: Plan { spurious_wake: None, time_out: None },
            waits: 0,
            timed_waits: 0,
            fired: false,
        })
    };
}

/// Sets the plan of the execution that begins here and counts from zero again.
pub fn arm(plan: Plan) {
    STATE.set(State {
        plan,
        ..State::default()
    });
}

/// Whether anything of the plan has happened since [`arm`]. A plan that never fires in any execution of a
/// model names a wait that the model does not reach: the harness has tried them all.
#[must_use]
pub fn fired() -> bool {
    STATE.get().fired
}

/// Counts one wait; true when the plan says that it wakes for no reason.
pub(super) fn wakes_spuriously() -> bool {
    let mut state = STATE.get();
    let now = state.waits;
    state.waits += 1;
    let hit = state.plan.spurious_wake == Some(now);
    state.fired |= hit;
    STATE.set(state);
    hit
}

/// Counts one timed wait; true when the plan says that its time runs out.
pub(super) fn times_out() -> bool {
    let mut state = STATE.get();
    let now = state.timed_waits;
    state.timed_waits += 1;
    let hit = state.plan.time_out == Some(now);
    state.fired |= hit;
    STATE.set(state);
    hit
}
