//! Bugs on purpose, panics on purpose and marks of what was reached, for the simulation of the whole server.
//!
//! `seeded!(NAME)` is `false` in normal builds and under loom. Under `--cfg metricstream_shuttle` it is true
//! when the bug of that name is the one switched on: the simulation has to notice each. `reached!(NAME)` is
//! nothing in normal builds; in the simulation it counts, so that a run can be held to having been there.
//! `panic_point!(NAME)` is nothing in normal builds; in the simulation it panics, once, where the plan says
//! so.
//!
//! Promises: nothing of it is in a normal build. Leaves to the caller: to `begin` each execution. Shuttle
//! runs all the tasks of an execution on one system thread, so std's thread-local is shared between them.

/// Whether the bug of this name is switched on.
#[cfg(not(metricstream_shuttle))]
#[macro_export]
macro_rules! seeded {
    ($bug:ident) => {
        false
    };
}

/// Whether the bug of this name is switched on.
#[cfg(metricstream_shuttle)]
#[macro_export]
macro_rules! seeded {
    ($bug:ident) => {
        $crate::sync::shim::seeded::is_on(stringify!($bug))
    };
}

/// Counts that this place was reached.
#[cfg(not(metricstream_shuttle))]
#[macro_export]
macro_rules! reached {
    ($place:ident) => {{}};
}

/// Counts that this place was reached.
#[cfg(metricstream_shuttle)]
#[macro_export]
macro_rules! reached {
    ($place:ident) => {
        $crate::sync::shim::seeded::count(stringify!($place))
    };
}

/// Panics here where the plan of the simulation says so.
#[cfg(not(metricstream_shuttle))]
#[macro_export]
macro_rules! panic_point {
    ($place:ident) => {{}};
}

/// Panics here where the plan of the simulation says so.
#[cfg(metricstream_shuttle)]
#[macro_export]
macro_rules! panic_point {
    ($place:ident) => {
        $crate::sync::shim::seeded::panic_if_planned(stringify!($place))
    };
}

#[cfg(metricstream_shuttle)]
pub use simulation::{Plan, begin, count, end, is_on, panic_if_planned};

#[cfg(metricstream_shuttle)]
mod simulation {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// What one execution has on purpose.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Plan {
        /// The bug that is on.
        pub bug: Option<&'static str>,
        /// The place that panics, and at which visit, from zero.
        pub panic: Option<(&'static str, u32)>,
    }

    #[derive(Default)]
    struct State {
        plan: Plan,
        visits: u32,
        counts: BTreeMap<&'static str, u64>,
    }

    thread_local! {
        static STATE: RefCell<State> = RefCell::default();
    }

    /// Begins an execution.
    pub fn begin(plan: Plan) {
        STATE.replace(State {
            plan,
            ..State::default()
        });
    }

    /// Ends it; what was reached, and how often.
    pub fn end() -> BTreeMap<&'static str, u64> {
        STATE.take().counts
    }

    /// Whether `bug` is on.
    #[must_use]
    pub fn is_on(bug: &str) -> bool {
        STATE.with_borrow(|state| state.plan.bug == Some(bug))
    }

    /// Counts a visit of `place`.
    pub fn count(place: &'static str) {
        STATE.with_borrow_mut(|state| *state.counts.entry(place).or_default() += 1);
    }

    /// Panics when the plan says so, with the payload that is contained.
    pub fn panic_if_planned(place: &'static str) {
        let now = STATE.with_borrow_mut(|state| match state.plan.panic {
            Some((planned, visit)) if planned == place => {
                state.visits += 1;
                state.visits == visit + 1
            }
            _ => false,
        });
        if now {
            count(place);
            // Not by `panic!`: the hook is for what nobody planned.
            std::panic::resume_unwind(Box::new(super::super::panic::Injected));
        }
    }
}
