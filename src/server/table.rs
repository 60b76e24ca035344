//! The connections at rest: those that wait for their client and hold no worker.
//!
//! Promises: a connection is either here or with exactly one thread; taking it is what makes it yours. The
//! number of connections is bounded: each holds a [`Lease`] of a slot from its first moment to its last,
//! and gives it back when dropped, also by a panic.
//! An event for a connection that is with a thread is kept for its next rest (READY-KEPT).
//! Leaves to the caller: to arm the socket under [`Table::rest`]'s lock, so that the event cannot come
//! before the connection is here.

use crate::net::Token;
use crate::stats::Stats;
use crate::sync::shim::{Arc, Mutex};

/// Slots for connections of type `C`.
#[derive(Debug)]
pub struct Table<C> {
    slots: Vec<Mutex<Slot<C>>>,
    free: Mutex<Vec<u32>>,
    stats: Arc<Stats>,
}

#[derive(Debug)]
struct Slot<C> {
    resting: Option<C>,
    /// An event came when the connection could not be taken.
    missed: bool,
}

/// The right to a slot, and a place among the connections that may be open.
#[derive(Debug)]
pub struct Lease<C> {
    table: Arc<Table<C>>,
    slot: u32,
}

impl<C> Table<C> {
    /// `slots` empty slots.
    #[must_use]
    pub fn new(slots: usize, stats: Arc<Stats>) -> Self {
        let slots = u32::try_from(slots).expect("config bounds connections_max");
        Self {
            slots: (0..slots)
                .map(|_| {
                    Mutex::new(Slot {
                        resting: None,
                        missed: false,
                    })
                })
                .collect(),
            // Low slots first, so that a sweep of few connections touches few lines.
            free: Mutex::new((0..slots).rev().collect()),
            stats,
        }
    }

    /// A slot for a new connection, or `None` when all are leased.
    #[must_use]
    pub fn lease(table: &Arc<Self>) -> Option<Lease<C>> {
        let slot = table.free.lock().pop()?;
        table.stats.connections_accepted.add(1);
        Some(Lease {
            table: Arc::clone(table),
            slot,
        })
    }

    /// Connections open: at rest or with a thread.
    #[must_use]
    pub fn open(&self) -> usize {
        self.slots.len() - self.free.lock().len()
    }

    /// Lays `connection` to rest in the slot of `token` and calls `arm` on it before anyone can take it, with
    /// whether an event came since the last rest that found nobody. When `arm` fails the connection comes
    /// back.
    ///
    /// # Errors
    /// The connection, when it could not be armed.
    pub fn rest(
        &self,
        token: Token,
        mut connection: C,
        arm: impl FnOnce(&mut C, bool) -> bool,
    ) -> Result<(), C> {
        if crate::seeded!(ARMED_BEFORE_REST) {
            let missed = std::mem::take(&mut self.slot(token).lock().missed);
            if !arm(&mut connection, missed) {
                return Err(connection);
            }
            self.slot(token).lock().resting = Some(connection);
            return Ok(());
        }
        let mut slot = self.slot(token).lock();
        debug_assert!(slot.resting.is_none(), "one connection a slot");
        let missed = std::mem::take(&mut slot.missed);
        if !arm(&mut connection, missed) {
            return Err(connection);
        }
        slot.resting = Some(connection);
        Ok(())
    }

    /// Takes the connection at rest under `token` for an event on it, if `wanted` says so. `None`, and the
    /// event is kept, when it is not wanted, with a thread or gone.
    #[must_use]
    pub fn take(&self, token: Token, wanted: impl FnOnce(&mut C) -> bool) -> Option<C> {
        let mut slot = self.slot(token).lock();
        let taken = slot.resting.take_if(wanted);
        if taken.is_none() {
            crate::reached!(EVENT_KEPT);
            slot.missed = !crate::seeded!(EVENT_FORGOTTEN);
        }
        taken
    }

    /// Calls `keep` on the connection at rest under `token`, if there is one, and takes it when the answer is
    /// no.
    pub fn visit(&self, token: Token, keep: impl FnOnce(&mut C) -> bool) -> Option<C> {
        self.slot(token)
            .lock()
            .resting
            .take_if(|connection| !keep(connection))
    }

    /// Takes every connection at rest that `wanted` points out, and hands it to `taken` outside the lock.
    pub fn take_each(&self, mut wanted: impl FnMut(&C) -> bool, mut taken: impl FnMut(C)) {
        for slot in &self.slots {
            let found = slot.lock().resting.take_if(|connection| wanted(connection));
            if let Some(connection) = found {
                taken(connection);
            }
        }
    }

    fn slot(&self, token: Token) -> &Mutex<Slot<C>> {
        let index = usize::try_from(token).expect("tokens are slot numbers");
        &self.slots[index]
    }
}

impl<C> Lease<C> {
    /// The token of the slot.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::from(self.slot)
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        self.table.stats.connections_closed.add(1);
        self.table.free.lock().push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(slots: usize) -> Arc<Table<&'static str>> {
        Arc::new(Table::new(slots, Arc::new(Stats::default())))
    }

    #[test]
    fn leases_are_bounded_and_come_back_when_dropped() {
        let table = table(2);
        let first = Table::lease(&table).expect("a slot");
        let second = Table::lease(&table).expect("a slot");
        assert!(Table::lease(&table).is_none());
        assert_eq!((table.open(), table.stats.connections_open()), (2, 2));
        let token = first.token();
        drop(first);
        assert_eq!((table.open(), table.stats.connections_open()), (1, 1));
        assert_eq!(Table::lease(&table).expect("the slot again").token(), token);
        drop(second);
    }

    #[test]
    fn a_connection_is_taken_once() {
        let table = table(1);
        let lease = Table::lease(&table).expect("a slot");
        assert_eq!(table.take(lease.token(), |_| true), None);
        table.rest(lease.token(), "c", |_, _| true).expect("armed");
        assert_eq!(table.take(lease.token(), |_| true), Some("c"));
        assert_eq!(table.take(lease.token(), |_| true), None);
        assert_eq!(table.rest(lease.token(), "c", |_, _| false), Err("c"));
        assert_eq!(table.take(lease.token(), |_| true), None);
    }

    #[test]
    fn an_event_that_finds_nobody_is_told_at_the_next_rest_and_once() {
        let table = table(1);
        let token = Table::lease(&table).expect("a slot").token();
        let rest = || {
            let mut told = false;
            let armed = |_: &mut _, missed| {
                told = missed;
                true
            };
            table.rest(token, "c", armed).expect("armed");
            told
        };
        assert!(!rest());
        assert_eq!(table.take(token, |_| false), None, "not wanted");
        assert_eq!(table.take(token, |_| true), Some("c"));
        assert!(rest());
        assert_eq!(table.take(token, |_| true), Some("c"));
        assert_eq!(table.take(token, |_| true), None, "with a thread");
        assert!(rest());
        assert_eq!(table.take(token, |_| true), Some("c"));
        assert!(!rest(), "told once");
    }

    #[test]
    fn a_visited_connection_stays_or_goes() {
        let table = table(1);
        let lease = Table::lease(&table).expect("a slot");
        assert_eq!(table.visit(lease.token(), |_| unreachable!()), None);
        table.rest(lease.token(), "c", |_, _| true).expect("armed");
        let renamed = table.visit(lease.token(), |connection| {
            *connection = "d";
            true
        });
        assert_eq!(renamed, None, "it stays");
        assert_eq!(table.visit(lease.token(), |_| false), Some("d"));
        assert_eq!(table.take(lease.token(), |_| true), None);
    }

    #[test]
    fn take_each_takes_what_is_wanted_only() {
        let table = table(3);
        let leases: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let lease = Table::lease(&table).expect("a slot");
                table.rest(lease.token(), name, |_, _| true).expect("armed");
                lease
            })
            .into();
        let mut taken = Vec::new();
        table.take_each(|name| *name != "b", |name| taken.push(name));
        taken.sort_unstable();
        assert_eq!(taken, ["a", "c"]);
        assert_eq!(table.take(leases[1].token(), |_| true), Some("b"));
    }
}
