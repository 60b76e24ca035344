//! How many requests of each client were allowed and refused: a table of bounded size.
//!
//! Promises: at most [`CLIENT_FIGURES_MAX`] clients are kept, twice as many for a moment; every count shown
//! is of requests that were made, and at most [`Clients::missed_max`] short of all that the client made.
//! Until more clients than that were seen it is zero and the counts are exact. A client that makes more
//! requests than the many that come once stays.
//! Leaves to the caller: the clock, and the words for a client ([`crate::admission::auth`]).
//!
//! When the table is full the clients with fewest requests are dropped, half of it at once, so that a new
//! client costs O(log n) steps whoever comes. What the busiest of those dropped had is what a client that
//! comes back may be short of; such losses add up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::admission::auth::ClientId;
use crate::clock::Instant;
use crate::limits::{CLIENT_FIGURES_MAX, RECENT_WINDOW};

/// Half of the recent window: what is recent is this half and the one before.
const HALF: Duration = Duration::from_millis(RECENT_WINDOW.as_secs() * 500);

/// One client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCounts {
    /// Who.
    pub client: ClientId,
    /// Answered with success, since the start.
    pub allowed: u64,
    /// Answered with a refusal, since the start.
    pub refused: u64,
    /// Of `allowed`, those in the recent window.
    pub recent_allowed: u64,
    /// Of `refused`, those in the recent window.
    pub recent_refused: u64,
}

/// The clients and their requests.
#[derive(Debug, Default)]
pub struct Clients {
    places: HashMap<ClientId, usize>,
    entries: Vec<Entry>,
    /// The place of the client seen last: the next request is often of the same one.
    last: usize,
    missed_max: u64,
    half_began: Instant,
    before_began: Instant,
}

#[derive(Debug)]
struct Entry {
    client: ClientId,
    total: Pair,
    this_half: Pair,
    half_before: Pair,
}

/// Allowed and refused.
#[derive(Clone, Copy, Debug, Default)]
struct Pair([u64; 2]);

impl Entry {
    fn requests(&self) -> u64 {
        self.total.0[0] + self.total.0[1]
    }

    fn counts(&self) -> ClientCounts {
        let recent = |index: usize| self.this_half.0[index] + self.half_before.0[index];
        ClientCounts {
            client: self.client,
            allowed: self.total.0[0],
            refused: self.total.0[1],
            recent_allowed: recent(0),
            recent_refused: recent(1),
        }
    }
}

impl Clients {
    /// Counts a request of `client`.
    pub fn record(&mut self, client: ClientId, allowed: bool) {
        let known = self
            .entries
            .get(self.last)
            .is_some_and(|entry| entry.client == client);
        if !known {
            self.last = match self.places.get(&client) {
                Some(place) => *place,
                None => self.insert(client),
            };
        }
        let entry = &mut self.entries[self.last];
        entry.total.0[usize::from(!allowed)] += 1;
        entry.this_half.0[usize::from(!allowed)] += 1;
    }

    /// Moves the recent window on to `now`.
    pub fn advance(&mut self, now: Instant) {
        let gone = now.since(self.half_began);
        if gone < HALF {
            return;
        }
        for entry in &mut self.entries {
            let ended = std::mem::take(&mut entry.this_half);
            entry.half_before = if gone < 2 * HALF { ended } else { Pair::default() };
        }
        self.before_began = if gone < 2 * HALF { self.half_began } else { now };
        self.half_began = now;
    }

    /// The time that the recent counts are of, at `now`.
    #[must_use]
    pub fn recent_time(&self, now: Instant) -> Duration {
        now.since(self.before_began)
    }

    /// Requests that any client shown may have made besides those counted for it, at most.
    #[must_use]
    pub fn missed_max(&self) -> u64 {
        self.missed_max
    }

    /// The clients with most recent requests, and of equal ones with most since the start; `clients_max` of
    /// them at most.
    #[must_use]
    pub fn top(&self, clients_max: usize) -> Vec<ClientCounts> {
        let mut all: Vec<_> = self.entries.iter().map(Entry::counts).collect();
        all.sort_by_key(|counts| {
            let recent = counts.recent_allowed + counts.recent_refused;
            Reverse((recent, counts.allowed + counts.refused, counts.client))
        });
        all.truncate(clients_max);
        all
    }

    fn insert(&mut self, client: ClientId) -> usize {
        if self.entries.len() >= 2 * CLIENT_FIGURES_MAX {
            self.shrink();
        }
        self.entries.push(Entry {
            client,
            total: Pair::default(),
            this_half: Pair::default(),
            half_before: Pair::default(),
        });
        self.places.insert(client, self.entries.len() - 1);
        self.entries.len() - 1
    }

    /// Keeps the half of the clients that made most requests.
    fn shrink(&mut self) {
        self.entries.sort_by_key(|entry| Reverse(entry.requests()));
        let dropped = self.entries.get(CLIENT_FIGURES_MAX).map_or(0, Entry::requests);
        self.missed_max = self.missed_max.saturating_add(dropped);
        self.entries.truncate(CLIENT_FIGURES_MAX);
        let places = self.entries.iter().enumerate();
        self.places = places.map(|(place, entry)| (entry.client, place)).collect();
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn client(number: u32) -> ClientId {
        ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn counts_are_exact_while_the_clients_fit() {
        let mut clients = Clients::default();
        for number in (0_u32..).take(2 * CLIENT_FIGURES_MAX) {
            for request in 0..=number % 5 {
                clients.record(client(number), request % 2 == 0);
            }
        }
        assert_eq!(clients.missed_max(), 0);
        let all = clients.top(usize::MAX);
        assert_eq!(all.len(), 2 * CLIENT_FIGURES_MAX);
        for counts in all {
            let number = (0..).find(|number| client(*number) == counts.client).unwrap();
            let requests = u64::from(number % 5) + 1;
            assert_eq!(
                (counts.allowed, counts.refused),
                (requests.div_ceil(2), requests / 2)
            );
        }
    }

    #[test]
    fn a_busy_client_outlives_a_flood_of_others() {
        let mut clients = Clients::default();
        let mut made = 0;
        for number in 1..50_000 {
            clients.record(client(number), true);
            if number % 100 == 0 {
                clients.record(client(0), false);
                made += 1;
            }
        }
        let busiest = clients.top(1)[0];
        assert_eq!(busiest.client, client(0));
        assert!(busiest.refused <= made && made <= busiest.refused + clients.missed_max());
        assert!(clients.entries.len() <= 2 * CLIENT_FIGURES_MAX);
        assert_eq!(clients.places.len(), clients.entries.len());
    }

    #[test]
    fn what_is_recent_ends() {
        let mut clients = Clients::default();
        clients.advance(at(1));
        clients.record(client(1), true);
        let recent = |clients: &Clients| clients.top(1)[0].recent_allowed;
        assert_eq!(recent(&clients), 1);
        let half = u64::try_from(HALF.as_millis()).unwrap();
        clients.advance(at(half));
        assert_eq!(recent(&clients), 1, "the half before counts");
        assert_eq!(clients.recent_time(at(half + 5)), HALF + Duration::from_millis(5));
        clients.advance(at(2 * half));
        assert_eq!(recent(&clients), 0);
        clients.record(client(1), true);
        clients.advance(at(5 * half));
        assert_eq!(recent(&clients), 0, "after a long pause nothing is recent");
        assert_eq!(clients.top(1)[0].allowed, 2);
    }
}
