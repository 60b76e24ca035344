//! The time of the simulation, under shuttle: it stands still until somebody moves it.
//!
//! Promises: the moment never goes back; a timed wait that was registered ([`register`]) runs out only by
//! [`advance_to`] and [`wake_expired`], never by itself, so that whoever runs the simulation has a budget of
//! timers and none hides a lost wake-up. Without [`begin`] nothing here is active and timed waits are what
//! [`super::faults`] makes of them.
//! Leaves to the caller: to begin and end each execution. Shuttle runs all the tasks of an execution on one
//! system thread, which is why std's thread-local holds the time.

use super::backend::sync::Condvar;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Each look at the clock takes so long, in nanoseconds: two moments are never the same.
const LOOK_NANOS: u64 = 1_000;

#[derive(Default)]
struct State {
    active: bool,
    now_nanos: u64,
    waits: BTreeMap<u64, Wait>,
    registered: u64,
}

struct Wait {
    deadline_nanos: u64,
    condvar: Arc<Condvar>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Begins an execution at `now_nanos`, in nanoseconds since the clock's origin.
pub fn begin(now_nanos: u64) {
    STATE.replace(State {
        active: true,
        now_nanos,
        ..State::default()
    });
}

/// Ends the execution.
pub fn end() {
    STATE.take();
}

/// The moment, in nanoseconds since the clock's origin.
#[must_use]
pub fn now_nanos() -> u64 {
    STATE.with_borrow_mut(|state| {
        state.now_nanos += LOOK_NANOS;
        state.now_nanos
    })
}

/// Moves the time on; never back.
pub fn advance_to(nanos: u64) {
    STATE.with_borrow_mut(|state| state.now_nanos = state.now_nanos.max(nanos));
}

/// When the timed waits under way run out, in nanoseconds, the earliest first.
#[must_use]
pub fn deadlines() -> Vec<u64> {
    let mut deadlines: Vec<_> =
        STATE.with_borrow(|state| state.waits.values().map(|wait| wait.deadline_nanos).collect());
    deadlines.sort_unstable();
    deadlines
}

/// Notifies every timed wait whose time has run out, and says whether there was one. One that was about to
/// sleep may miss it: ask again, with a yield in between, until there is none.
pub fn wake_expired() -> bool {
    let expired: Vec<_> = STATE.with_borrow(|state| {
        let waits = state.waits.values();
        let expired = waits.filter(|wait| wait.deadline_nanos <= state.now_nanos);
        expired.map(|wait| Arc::clone(&wait.condvar)).collect()
    });
    for condvar in &expired {
        condvar.notify_all();
    }
    !expired.is_empty()
}

/// One timed wait under way; it ends when this is dropped.
pub(super) struct Registered(u64);

/// Registers a wait of `nanos` on `condvar`; nothing when no execution was begun.
pub(super) fn register(condvar: &Arc<Condvar>, nanos: u64) -> Option<Registered> {
    STATE.with_borrow_mut(|state| {
        if !state.active {
            return None;
        }
        state.registered += 1;
        let wait = Wait {
            deadline_nanos: state.now_nanos.saturating_add(nanos),
            condvar: Arc::clone(condvar),
        };
        state.waits.insert(state.registered, wait);
        Some(Registered(state.registered))
    })
}

impl Registered {
    /// Whether its time has run out.
    pub(super) fn is_over(&self) -> bool {
        STATE.with_borrow(|state| {
            let wait = state.waits.get(&self.0);
            wait.is_none_or(|wait| wait.deadline_nanos <= state.now_nanos)
        })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        STATE.with_borrow_mut(|state| state.waits.remove(&self.0));
    }
}
