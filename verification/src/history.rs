//! Who called what when, and whether some order of the calls explains what they returned.
//!
//! Promises: [`is_linearizable`] is Wing and Gong's search (1993) with Lowe's memory of visited states: a
//! history passes if and only if its calls can be put in an order that the specification allows and in which
//! a call that returned before another began comes first.
//! Leaves to the caller: not to use it under loom. There a load may return an old value, so that a call may
//! rightly miss what a call finished earlier did; between threads that nothing else orders this is what
//! `Release` and `Acquire` promise and no more. Under loom the oracle's outcomes are the judge.

use crate::oracle::{Spec, World};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// One call and what it returned.
#[derive(Clone, Debug)]
pub struct Event<C, R> {
    /// The call.
    pub call: C,
    /// What it returned.
    pub returned: R,
    /// When it began.
    pub from: u64,
    /// When it returned.
    pub to: u64,
}

/// One thread's calls.
#[derive(Debug)]
pub struct Recorder<C, R>(Vec<Event<C, R>>);

/// Ticks at each beginning and end of a call; std's own, so that no checker sees it.
static CLOCK: AtomicU64 = AtomicU64::new(0);

impl<C, R> Recorder<C, R> {
    /// No call yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes `call` and notes it.
    pub fn call(&mut self, call: C, make: impl FnOnce(&C) -> R) {
        let from = self.now();
        let returned = make(&call);
        self.note(call, returned, from);
    }

    /// The time before a call that is noted by [`Recorder::note`].
    #[must_use]
    pub fn now(&self) -> u64 {
        CLOCK.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes a call that began at `from` and has returned.
    pub fn note(&mut self, call: C, returned: R, from: u64) {
        let to = self.now();
        self.0.push(Event {
            call,
            returned,
            from,
            to,
        });
    }

    /// The calls, in order.
    #[must_use]
    pub fn into_events(self) -> Vec<Event<C, R>> {
        self.0
    }
}

impl<C, R> Default for Recorder<C, R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether `history` (of at most 64 calls) can be explained from `start`.
#[must_use]
pub fn is_linearizable<S: Spec>(start: &S, history: &[Event<S::Call, S::Return>]) -> bool {
    assert!(history.len() <= 64, "one bit for each call");
    let all = if history.len() == 64 {
        u64::MAX
    } else {
        (1 << history.len()) - 1
    };
    search(start, history, all, &mut HashSet::new())
}

fn search<S: Spec>(
    state: &S,
    history: &[Event<S::Call, S::Return>],
    left: u64,
    seen: &mut HashSet<(S, u64)>,
) -> bool {
    if left == 0 {
        return true;
    }
    if !seen.insert((state.clone(), left)) {
        return false;
    }
    let is_left = |index: usize| left & (1 << index) != 0;
    let Some(first_return) = (0..history.len())
        .filter(|&i| is_left(i))
        .map(|i| history[i].to)
        .min()
    else {
        return true;
    };
    // Real threads have a real clock. No call may miss what was done before it began.
    let world = World {
        late: true,
        stale: false,
    };
    let may_be_next = |index: usize| is_left(index) && history[index].from < first_return;
    (0..history.len())
        .filter(|&index| may_be_next(index))
        .any(|index| {
            state
                .step(&history[index].call, world)
                .into_iter()
                .filter(|(_, returned)| *returned == history[index].returned)
                .any(|(next, _)| search(&next, history, left & !(1 << index), seen))
        })
        || state
            .hidden_steps()
            .iter()
            .any(|next| search(next, history, left, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue: `Some(n)` puts n in, `None` takes one out.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Queue(Vec<u32>);

    impl Spec for Queue {
        type Call = Option<u32>;
        type Return = Option<u32>;

        fn step(&self, call: &Option<u32>, _world: World) -> Vec<(Self, Option<u32>)> {
            let mut next = self.clone();
            let returned = match *call {
                Some(item) => {
                    next.0.push(item);
                    None
                }
                None if next.0.is_empty() => None,
                None => Some(next.0.remove(0)),
            };
            vec![(next, returned)]
        }
    }

    fn event(
        call: Option<u32>,
        returned: Option<u32>,
        from: u64,
        to: u64,
    ) -> Event<Option<u32>, Option<u32>> {
        Event {
            call,
            returned,
            from,
            to,
        }
    }

    #[test]
    fn overlapping_calls_may_be_ordered_either_way() {
        let history = [
            event(Some(1), None, 0, 3),
            event(None, None, 1, 2),
            event(None, Some(1), 4, 5),
        ];
        assert!(is_linearizable(&Queue(vec![]), &history));
    }

    #[test]
    fn a_finished_push_must_be_seen() {
        let history = [event(Some(1), None, 0, 1), event(None, None, 2, 3)];
        assert!(!is_linearizable(&Queue(vec![]), &history));
    }

    #[test]
    fn order_and_count_must_fit() {
        let pushes = [event(Some(1), None, 0, 1), event(Some(2), None, 2, 3)];
        let swapped = [event(None, Some(2), 4, 5), event(None, Some(1), 6, 7)];
        let twice = [event(None, Some(1), 4, 5), event(None, Some(1), 6, 7)];
        for pops in [swapped, twice] {
            assert!(!is_linearizable(
                &Queue(vec![]),
                &[pushes.to_vec(), pops.to_vec()].concat()
            ));
        }
    }
}
