//! What waits for the log's writer: one buffer that fills while the writer empties the other.
//!
//! Promises: a batch accepted is taken exactly once, in the order of positions, also when the queue is
//! stopped right after (LOG_QUEUE-ONCE); never more than the two bounds wait (LOG_QUEUE-BOUND); the writer
//! sleeps only while nothing waits, nobody nudged it and the queue goes on, and whatever ends one of these
//! wakes it (LOG_QUEUE-WAKES). In steady state nothing is allocated: the two buffers change places.
//! Leaves to the caller: that one thread at most takes, and keeps taking until [`Taken::End`].
//!
//! # Why the notification can be skipped
//! A notification costs a system call, so `push` sends one only when `writer_sleeps` is set. It is read and
//! written under the same lock as the buffer. The writer sets it while it holds the lock and has seen the
//! buffer empty; the wait releases the lock and sleeps in one step. A push therefore comes either before
//! the writer took the lock, and then the writer finds its batch, or after the writer was asleep, and then
//! it finds the flag set. It clears the flag, so a second push sends nothing: the notification of the first
//! is on its way, and the writer cannot sleep again before it took the lock and looked. A wake-up without
//! reason or by time-out only adds a look.
//!
//! The scenario to model: producers push from several threads, the writer takes until the end, another
//! thread stops the queue. Every token accepted comes out once, in order of position, and all threads end.
//! What must be seen to fail: the flag set outside the lock; `if` for `while`; no notification at the stop.

use crate::limits::LOG_BUFFER_KEEP_BYTES;
use crate::log::record::{Appended, Failure, Level, Position, Refusal, Refused, are_whole_lines};
use crate::sync::shim::{Condvar, Mutex};
use std::time::Duration;

/// A bounded double buffer between many appending threads and one writer.
#[derive(Debug)]
pub struct Queue<T> {
    bytes_max: usize,
    batches_max: usize,
    state: Mutex<State<T>>,
    /// Something waits, the writer was nudged, or the queue ends.
    work: Condvar,
}

#[derive(Debug)]
struct State<T> {
    group: Group<T>,
    accepted: Position,
    /// The writer is in the wait and nobody has woken it.
    writer_sleeps: bool,
    /// The writer is to look around though nothing waits.
    nudged: bool,
    /// [`Refusal::Stopped`] or [`Refusal::Poisoned`]; set once, the first time.
    ended: Option<Refusal>,
    door: Door,
}

/// Whether batches come in, while the queue has not ended: what the writer's circuit breaker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Those that fit.
    Open,
    /// None, for this reason.
    Shut(Refusal),
    /// Those that fit, until the writer takes them; then none, for this reason.
    OpenUntilTaken(Refusal),
}

/// Batches that are written together.
#[derive(Debug)]
pub struct Group<T> {
    pub(crate) bytes: Vec<u8>,
    /// Tokens to give back once the bytes are written.
    pub(crate) written: Vec<(Position, T)>,
    /// Tokens to give back once the bytes are flushed.
    pub(crate) synced: Vec<(Position, T)>,
    /// The most that a group had lately: of one that is long ago, little is left.
    recent_bytes: usize,
    pub(crate) batches: usize,
    pub(crate) records: u64,
    /// The position of the last batch.
    pub(crate) last: Position,
}

/// What the writer finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A group with at least one batch.
    Group,
    /// The time ran out, or there was a nudge, and nothing waits.
    Nothing,
    /// The queue ended and is empty; nothing will come.
    End,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Bytes that wait.
    pub bytes: usize,
    /// Batches that wait.
    pub batches: usize,
    /// The last batch accepted.
    pub accepted: Position,
    /// Why no more is accepted, when that is so.
    pub refusing: Option<Refusal>,
}

impl<T> Queue<T> {
    /// An empty queue.
    ///
    /// # Panics
    /// When a bound is zero.
    #[must_use]
    pub fn new(bytes_max: usize, batches_max: usize) -> Self {
        assert!(
            bytes_max > 0 && batches_max > 0,
            "a queue holds at least one batch"
        );
        Self {
            bytes_max,
            batches_max,
            state: Mutex::new(State {
                group: Group::new(),
                accepted: Position::START,
                writer_sleeps: false,
                nudged: false,
                ended: None,
                door: Door::Open,
            }),
            work: Condvar::new(),
        }
    }

    /// Copies `lines` to the end of the queue.
    ///
    /// # Errors
    /// [`Refused`] with the token.
    ///
    /// # Panics
    /// When `lines` does not end with a line feed: it would run into the next batch.
    pub fn push(
        &self,
        lines: &[u8],
        records: u32,
        level: Level,
        token: T,
    ) -> Result<Appended<T>, Refused<T>> {
        assert!(are_whole_lines(lines), "a batch is one or more whole lines");
        let mut state = self.state.lock();
        if let Some(refusal) = self.refusal(&state, lines.len()) {
            return Err(Refused { token, refusal });
        }
        let position = state.accepted.next();
        state.accepted = position;
        let appended = state.group.push(lines, records, level, position, token);
        let wake = std::mem::replace(&mut state.writer_sleeps, false);
        drop(state);
        if wake {
            self.work.notify_one("LOG_QUEUE_PUSH");
        }
        Ok(appended)
    }

    /// Accepts no more. What waits is still taken.
    pub fn stop(&self) {
        self.end(Refusal::Stopped);
    }

    /// Accepts no more, because of `failure`. What waits is still taken.
    pub fn poison(&self, failure: Failure) {
        self.end(Refusal::Poisoned(failure));
    }

    /// Has [`Queue::take`] return, the one that waits or the next one, though nothing may wait.
    pub fn nudge(&self) {
        let mut state = self.state.lock();
        state.nudged = true;
        state.writer_sleeps = false;
        drop(state);
        self.work.notify_one("LOG_QUEUE_NUDGE");
    }

    /// Lets batches in, or not, from now on. The writer's side.
    pub fn set_door(&self, door: Door) {
        self.state.lock().door = door;
    }

    /// Waits for a group and exchanges it for `group`, which is empty; for at most `timeout` when there is
    /// one, and until a nudge. The writer's side: one thread at a time.
    pub fn take(&self, group: &mut Group<T>, timeout: Option<Duration>) -> Taken {
        debug_assert!(group.is_empty(), "what is exchanged has been dealt with");
        let mut state = self.state.lock();
        if state.is_idle() {
            state.writer_sleeps = timeout.is_none() || !crate::seeded!(LOG_TIMER_FOR_WAKE);
            state = match timeout {
                None => self
                    .work
                    .wait_while("LOG_QUEUE_IDLE", state, |state| state.is_idle()),
                Some(timeout) => {
                    self.work
                        .wait_timeout_while("LOG_QUEUE_IDLE_TIMED", state, timeout, |state| state.is_idle())
                        .0
                }
            };
            state.writer_sleeps = false;
        }
        state.nudged = false;
        if crate::seeded!(LOG_QUEUE_DROPPED_AT_STOP) && state.ended.is_some() {
            return Taken::End;
        }
        if !state.group.is_empty() {
            std::mem::swap(&mut state.group, group);
            if let Door::OpenUntilTaken(refusal) = state.door {
                state.door = Door::Shut(refusal);
            }
            Taken::Group
        } else if state.ended.is_some() {
            Taken::End
        } else {
            Taken::Nothing
        }
    }

    /// How full it is, at one moment.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        let state = self.state.lock();
        QueueStatus {
            bytes: state.group.bytes.len(),
            batches: state.group.batches,
            accepted: state.accepted,
            refusing: state.ended,
        }
    }

    fn end(&self, refusal: Refusal) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(refusal);
        state.writer_sleeps = false;
        drop(state);
        // Without looking at the flag: this happens once or twice in a log's life.
        self.work.notify_one("LOG_QUEUE_END");
    }

    /// Why a batch of `seen` bytes is not accepted now.
    fn refusal(&self, state: &State<T>, seen: usize) -> Option<Refusal> {
        let waiting = state.group.bytes.len();
        if state.ended.is_some() {
            crate::reached!(LOG_CLOSED_REFUSES);
            return state.ended;
        }
        if let Door::Shut(refusal) = state.door {
            crate::reached!(LOG_RESTS);
            return Some(refusal);
        }
        if seen > self.bytes_max {
            return Some(Refusal::TooLarge {
                limit: self.bytes_max,
                seen,
            });
        }
        if seen > self.bytes_max - waiting {
            crate::reached!(LOG_FULL_OF_BYTES);
            return Some(Refusal::FullOfBytes {
                limit: self.bytes_max,
                waiting,
                seen,
            });
        }
        (state.group.batches >= self.batches_max).then(|| {
            crate::reached!(LOG_FULL_OF_BATCHES);
            Refusal::FullOfBatches {
                limit: self.batches_max,
                waiting: state.group.batches,
            }
        })
    }
}

impl<T> State<T> {
    /// Whether the writer has nothing to do.
    fn is_idle(&self) -> bool {
        self.group.is_empty() && self.ended.is_none() && !self.nudged
    }
}

impl<T> Group<T> {
    /// A group without batches.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            written: Vec::new(),
            synced: Vec::new(),
            recent_bytes: 0,
            batches: 0,
            records: 0,
            last: Position::START,
        }
    }

    /// Whether it holds no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// The lines, in order of position.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes out the tokens with their positions: those waiting for the write, then those for the flush.
    pub fn drain_tokens(&mut self) -> impl Iterator<Item = (Position, T)> + '_ {
        self.written.drain(..).chain(self.synced.drain(..))
    }

    /// Empties it for use again, tokens included. A buffer that one rush made far larger than what the last
    /// groups needed is given back.
    pub fn clear(&mut self) {
        let used = self.bytes.len();
        self.bytes.clear();
        self.recent_bytes = used.max(self.recent_bytes - self.recent_bytes / 16);
        if self.bytes.capacity() > LOG_BUFFER_KEEP_BYTES && self.recent_bytes < self.bytes.capacity() / 4 {
            self.bytes
                .shrink_to(LOG_BUFFER_KEEP_BYTES.max(2 * self.recent_bytes));
        }
        self.written.clear();
        self.synced.clear();
        self.batches = 0;
        self.records = 0;
    }

    fn push(
        &mut self,
        lines: &[u8],
        records: u32,
        level: Level,
        position: Position,
        token: T,
    ) -> Appended<T> {
        self.bytes.extend_from_slice(lines);
        self.batches += 1;
        self.records += u64::from(records);
        self.last = position;
        match level {
            Level::Queued => return Appended::Acknowledged(token),
            Level::Written => self.written.push((position, token)),
            Level::Synced if crate::seeded!(SYNCED_AS_WRITTEN) => self.written.push((position, token)),
            Level::Synced => self.synced.push((position, token)),
        }
        Appended::Pending(position)
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self::new()
    }
}
