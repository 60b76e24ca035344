//! Flushes that nobody waits for, on a thread of their own: the writer orders one and goes on writing.
//!
//! Promises: one flush is ordered, under way or not yet heard of at a time; [`Flusher::settle`] returns
//! when none is under way, with the outcome of the one that was (LOG_FLUSHER-SETTLED); an order is carried
//! out, by this thread or by the writer who took it back, and the outcome is heard once, also beside an end
//! (LOG_FLUSHER-ONCE); whoever waits is woken (LOG_FLUSHER-WAKES).
//! Leaves to the caller: that one thread, the writer, orders, looks and settles, that another runs, and
//! what an outcome means.
//!
//! # Why the writer settles before it flushes itself
//! The system reports what it could not write once for an open file, to whoever asks first. Were the writer
//! to flush beside a flush that fails, it could be told that all is well, and acknowledge lines that are
//! lost.

use crate::log::fs::LogFile;
use crate::log::uninterrupted;
use crate::sync::shim::{Arc, Condvar, Mutex};
use std::io;

/// What the writer and the thread that flushes have in common.
#[derive(Debug)]
pub struct Flusher<F> {
    state: Mutex<State<F>>,
    /// There is an order, or the end.
    ordered: Condvar,
    /// No flush is under way any more.
    done: Condvar,
}

#[derive(Debug)]
struct State<F> {
    stage: Stage<F>,
    ended: bool,
}

#[derive(Debug)]
enum Stage<F> {
    Idle,
    Ordered(Order<F>),
    UnderWay,
    Done(Flushed),
}

/// A flush that is wanted.
#[derive(Debug)]
pub struct Order<F> {
    /// Of this file.
    pub file: Arc<F>,
    /// Its length.
    pub bytes: u64,
    /// Whether nobody is likely to read it soon: what was flushed may then leave the system's memory, so
    /// that a log written at full speed neither drives out what others have there nor takes ever new pages.
    pub forget: bool,
}

/// A flush and its outcome.
#[derive(Debug)]
pub struct Flushed {
    /// Length of the file when it was ordered: so much of it was to be flushed at least.
    pub bytes: u64,
    /// What the system said.
    pub outcome: io::Result<()>,
}

impl<F: LogFile> Flusher<F> {
    /// Nothing is ordered.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                stage: Stage::Idle,
                ended: false,
            }),
            ordered: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Has a file flushed. The writer's side, as the next two.
    ///
    /// # Panics
    /// When the outcome of an order before was not heard.
    pub fn order(&self, order: Order<F>) {
        let mut state = self.state.lock();
        assert!(matches!(state.stage, Stage::Idle), "one flush at a time");
        state.stage = Stage::Ordered(order);
        drop(state);
        self.ordered.notify_one("LOG_FLUSHER_ORDER");
    }

    /// The outcome of the flush, if it is over; does not wait.
    pub fn look(&self) -> Option<Flushed> {
        self.state.lock().take_outcome()
    }

    /// Waits for the flush that is under way. None when there was none: an order that was not begun is
    /// taken back, and the flush is the caller's.
    pub fn settle(&self) -> Option<Flushed> {
        let mut state = self.state.lock();
        if matches!(state.stage, Stage::Ordered(_)) {
            state.stage = Stage::Idle;
        }
        let is_under_way = |state: &mut State<F>| matches!(state.stage, Stage::UnderWay);
        self.done
            .wait_while("LOG_FLUSHER_SETTLE", state, is_under_way)
            .take_outcome()
    }

    /// Carries out orders until the end; calls `wake` when there is an outcome to hear. The life of the
    /// thread.
    pub fn run(&self, mut wake: impl FnMut()) {
        let is_idle = |state: &mut State<F>| !state.ended && !matches!(state.stage, Stage::Ordered(_));
        loop {
            let state = self.state.lock();
            let mut state = self.ordered.wait_while("LOG_FLUSHER_IDLE", state, is_idle);
            let Some(order) = state.begin() else {
                return;
            };
            drop(state);
            self.carry_out(&order);
            wake();
        }
    }

    /// Carries out the order if there is one, for tests that want no thread.
    pub fn step(&self) {
        let order = self.state.lock().begin();
        if let Some(order) = order {
            self.carry_out(&order);
        }
    }

    /// Ends the thread; what is ordered still is carried out before.
    pub fn end(&self) {
        self.state.lock().ended = true;
        self.ordered.notify_one("LOG_FLUSHER_END");
    }

    fn carry_out(&self, order: &Order<F>) {
        let outcome = uninterrupted(|| order.file.sync());
        if order.forget && outcome.is_ok() {
            order.file.forget(order.bytes);
        }
        self.state.lock().stage = Stage::Done(Flushed {
            bytes: order.bytes,
            outcome,
        });
        self.done.notify_one("LOG_FLUSHER_DONE");
    }
}

impl<F: LogFile> Default for Flusher<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> State<F> {
    fn begin(&mut self) -> Option<Order<F>> {
        match std::mem::replace(&mut self.stage, Stage::UnderWay) {
            Stage::Ordered(order) => Some(order),
            other => {
                self.stage = other;
                None
            }
        }
    }

    fn take_outcome(&mut self) -> Option<Flushed> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Done(flushed) => Some(flushed),
            other => {
                self.stage = other;
                None
            }
        }
    }
}
