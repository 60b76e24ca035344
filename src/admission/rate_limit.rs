//! How often each client may.
//!
//! Promises: a client's request is allowed if and only if fewer than the limit of its own were allowed in
//! the last second (RATE_LIMIT-EXACT, see [`window`](super::window)); what other clients do changes no
//! decision. At most `clients_max` clients are tracked. One is forgotten only when nothing of it counts
//! any more, when it decides as an unknown one does (RATE_LIMIT-EVICTION); a new client is turned away
//! ([`Decision::TableFull`]) only when its stripe is full of clients none of which can be forgotten. A call
//! takes one stripe's lock and amortised O(1) steps.
//! Leaves to the caller: the clock, and a call of [`RateLimiter::sweep`] now and then (each second or so),
//! which gives back the memory of clients that went away.
//!
//! # Time
//! Threads read the clock before they reach the lock, so a stripe may be asked about a moment after a later
//! one. Such a request counts at the latest moment its stripe has seen: after the caller read the clock,
//! before the answer, and in the order in which the stripe was asked.
//!
//! # A stripe
//! A slab of clients, one cache line each, linked in the order in which they were last allowed; a table
//! from id to slab index. The client at the old end is the first to become idle, so whether anyone can be
//! forgotten is one look. Each new client forgets up to [`EVICTIONS_PER_INSERT`] idle ones: a table under
//! a flood of addresses shrinks faster than it grows.
//!
//! A stripe's share is `clients_max / stripes`. Ids fall on stripes at random, so the first share is full a
//! little before the whole table is: at the defaults when about nine tenths of it are.

use crate::admission::auth::ClientId;
use crate::admission::window::{Verdict, Window};
use crate::clock::Instant;
use crate::limits::TOP_CLIENTS_MAX;
use crate::sync::mutex_pool::MutexPool;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

/// Idle clients forgotten for each new one.
pub const EVICTIONS_PER_INSERT: usize = 2;

/// What a limiter is built for.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests a client may make in any one second; `None` is no limit, and then nobody is tracked.
    pub requests_max: Option<NonZeroU32>,
    /// Clients tracked at once; at least `stripes`, at most `u32::MAX - 1`.
    pub clients_max: usize,
    /// Locks the clients are spread over; a prime.
    pub stripes: usize,
}

/// What the limiter says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, and counted.
    Allowed,
    /// The client used up its second.
    Refused {
        /// After this long, and no sooner, a request is allowed if none of the client's is before it.
        retry_after: Duration,
    },
    /// The client is unknown and its stripe has no place: every client there counts.
    TableFull {
        /// After this long a place can be free.
        retry_after: Duration,
    },
}

/// One client's use of its last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientUse {
    /// Its requests that count.
    pub requests: usize,
    /// Who.
    pub client: ClientId,
}

/// The windows of all clients, behind the stripes of a mutex pool. Shared by reference.
#[derive(Debug)]
pub struct RateLimiter {
    requests_max: Option<NonZeroU32>,
    clients_max: usize,
    /// Keyed, so that nobody outside can pick ids that share a stripe or a bucket.
    hasher: RandomState,
    stripes: MutexPool<Clients>,
}

impl RateLimiter {
    /// A limiter that knows no client.
    ///
    /// # Panics
    /// When `stripes` is not prime or `clients_max` is out of its range.
    #[must_use]
    pub fn new(limits: RateLimits) -> Self {
        let RateLimits {
            clients_max, stripes, ..
        } = limits;
        assert!(
            clients_max >= stripes && clients_max < u32::MAX as usize,
            "clients_max is {clients_max}; it is at least the number of stripes, {stripes}"
        );
        Self {
            requests_max: limits.requests_max,
            clients_max,
            hasher: RandomState::new(),
            stripes: MutexPool::new(stripes, |index| Clients::new(share(clients_max, stripes, index))),
        }
    }

    /// Decides on a request of `client` at `now`, and counts it when it is allowed.
    pub fn allow(&self, client: ClientId, now: Instant) -> Decision {
        let Some(requests_max) = self.requests_max else {
            return Decision::Allowed;
        };
        let hash = self.hasher.hash_one(client);
        self.stripes.with(hash, |clients| {
            clients.allow(&self.hasher, hash, client, requests_max, now)
        })
    }

    /// Forgets every client of which nothing counts at `now`; says how many were forgotten. Walks the
    /// stripes one at a time, holding each for a time that grows with the number forgotten.
    pub fn sweep(&self, now: Instant) -> usize {
        let mut forgotten = 0;
        self.stripes.for_each(|_, clients| {
            let now = clients.advance(now);
            forgotten += clients.forget_idle(&self.hasher, now, usize::MAX);
            clients.give_back(&self.hasher);
        });
        forgotten
    }

    /// The stripe that `client` falls on, below the number of stripes. Not the same in two limiters.
    #[must_use]
    pub fn stripe_of(&self, client: ClientId) -> usize {
        self.stripes.stripe_of(self.hasher.hash_one(client))
    }

    /// Most clients that stripe `index` tracks: the shares of all stripes add up to `clients_max`.
    #[must_use]
    pub fn share_of(&self, index: usize) -> usize {
        share(self.clients_max, self.stripes.stripes(), index)
    }

    /// How many clients are tracked, idle ones that were not forgotten yet included; at most `clients_max`.
    #[must_use]
    pub fn clients(&self) -> usize {
        let mut count = 0;
        self.stripes.for_each(|_, clients| count += clients.count());
        count
    }

    /// The clients with most requests in the second before `now`, busiest first; `clients_max` of them at
    /// most, and never more than [`TOP_CLIENTS_MAX`]. Walks all clients, one stripe at a time.
    #[must_use]
    pub fn top(&self, clients_max: usize, now: Instant) -> Vec<ClientUse> {
        let wanted = clients_max.min(TOP_CLIENTS_MAX);
        let mut top = BinaryHeap::with_capacity(wanted + 1);
        self.stripes.for_each(|_, clients| {
            let now = clients.advance(now);
            clients.for_each_in_use(now, |in_use| {
                top.push(Reverse(in_use));
                if top.len() > wanted {
                    top.pop();
                }
            });
        });
        // Ascending order of the reversed is descending order.
        top.into_sorted_vec()
            .into_iter()
            .map(|Reverse(in_use)| in_use)
            .collect()
    }
}

/// The part of `clients_max` that stripe `index` has; the parts add up to it exactly.
fn share(clients_max: usize, stripes: usize, index: usize) -> usize {
    clients_max / stripes + usize::from(index < clients_max % stripes)
}

/// No client: the end of a list.
const NONE: u32 = u32::MAX;

/// One stripe's clients.
#[derive(Debug)]
struct Clients {
    /// The latest moment seen.
    now: Instant,
    /// Indices into the slab, by the hash of the id.
    index: HashTable<u32>,
    slab: Vec<Client>,
    /// Slab places not in use, linked through `newer`.
    free: u32,
    /// The ends of the list of clients in the order in which they were last allowed.
    oldest: u32,
    newest: u32,
    clients_max: usize,
}

/// A client in the slab: one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Client {
    window: Window,
    /// The neighbours in the order of last allowed, or [`NONE`].
    older: u32,
    newer: u32,
    id: ClientId,
}

const _: () = assert!(size_of::<Client>() == 64);

impl Clients {
    fn new(clients_max: usize) -> Self {
        Self {
            now: Instant::ZERO,
            index: HashTable::new(),
            slab: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            clients_max,
        }
    }

    fn count(&self) -> usize {
        self.index.len()
    }

    /// Time in a stripe never goes back: the latest moment seen, `now` included.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn allow(
        &mut self,
        hasher: &RandomState,
        hash: u64,
        id: ClientId,
        requests_max: NonZeroU32,
        asked_at: Instant,
    ) -> Decision {
        let now = self.advance(asked_at);
        // What the answer says is counted from the moment the caller named.
        let since_asked = now.since(asked_at);
        let slab = &self.slab;
        let known = self.index.find(hash, |&place| slab[place as usize].id == id);
        let place = match known.copied() {
            Some(place) => place,
            None => match self.insert(hasher, hash, id, now) {
                Ok(place) => place,
                Err(idle_after) => {
                    return Decision::TableFull {
                        retry_after: idle_after + since_asked,
                    };
                }
            },
        };
        match self.slab[place as usize].window.allow(requests_max, now) {
            Verdict::Allowed => {
                self.make_newest(place);
                Decision::Allowed
            }
            Verdict::Refused { retry_after } => Decision::Refused {
                retry_after: retry_after + since_asked,
            },
        }
    }

    /// A place for an unknown client, at the new end of the list; or how long until one can be free.
    fn insert(
        &mut self,
        hasher: &RandomState,
        hash: u64,
        id: ClientId,
        now: Instant,
    ) -> Result<u32, Duration> {
        self.forget_idle(hasher, now, EVICTIONS_PER_INSERT);
        if self.count() >= self.clients_max {
            // The oldest is not idle, or it had been forgotten; so nobody is.
            return Err(self.slab[self.oldest as usize].window.idle_after(now));
        }
        let client = Client {
            window: Window::new(),
            older: NONE,
            newer: NONE,
            id,
        };
        let place = self.free;
        let place = if place == NONE {
            self.slab.push(client);
            u32::try_from(self.slab.len() - 1).expect("clients_max is below u32::MAX")
        } else {
            self.free = self.slab[place as usize].newer;
            self.slab[place as usize] = client;
            place
        };
        self.link_newest(place);
        let slab = &self.slab;
        self.index
            .insert_unique(hash, place, |&place| hasher.hash_one(slab[place as usize].id));
        Ok(place)
    }

    /// Forgets up to `clients_max` clients of which nothing counts at `now`, oldest first; says how many.
    fn forget_idle(&mut self, hasher: &RandomState, now: Instant, clients_max: usize) -> usize {
        let mut forgotten = 0;
        while forgotten < clients_max && self.oldest != NONE {
            let place = self.oldest;
            let client = &self.slab[place as usize];
            // Every other one was allowed later, so it is not idle either.
            if !client.window.is_idle(now) {
                break;
            }
            let hash = hasher.hash_one(client.id);
            self.unlink(place);
            self.slab[place as usize].window = Window::new();
            self.slab[place as usize].newer = self.free;
            self.free = place;
            match self.index.find_entry(hash, |&other| other == place) {
                Ok(entry) => drop(entry.remove()),
                Err(_) => unreachable!("every client in the list is in the table"),
            }
            forgotten += 1;
        }
        forgotten
    }

    /// Gives back memory when less than a quarter of the slab is in use: moves the clients, in their order,
    /// to a new one.
    fn give_back(&mut self, hasher: &RandomState) {
        if self.count() * 4 >= self.slab.capacity() {
            return;
        }
        let count = self.count();
        let mut old = std::mem::take(&mut self.slab);
        let mut place = std::mem::replace(&mut self.oldest, NONE);
        self.newest = NONE;
        self.free = NONE;
        self.index = HashTable::with_capacity(count);
        self.slab.reserve_exact(count);
        while place != NONE {
            let client = &mut old[place as usize];
            place = client.newer;
            let to = u32::try_from(self.slab.len()).expect("no more than before");
            let hash = hasher.hash_one(client.id);
            self.slab.push(Client {
                window: std::mem::take(&mut client.window),
                older: NONE,
                newer: NONE,
                id: client.id,
            });
            self.link_newest(to);
            let slab = &self.slab;
            self.index
                .insert_unique(hash, to, |&place| hasher.hash_one(slab[place as usize].id));
        }
    }

    fn for_each_in_use(&mut self, now: Instant, mut visit: impl FnMut(ClientUse)) {
        let mut place = self.newest;
        while place != NONE {
            let client = &mut self.slab[place as usize];
            let requests = client.window.count(now);
            if requests == 0 {
                // Every older one is idle too.
                return;
            }
            visit(ClientUse {
                requests,
                client: client.id,
            });
            place = client.older;
        }
    }

    /// Moves a client to the new end of the list.
    fn make_newest(&mut self, place: u32) {
        if self.newest != place {
            self.unlink(place);
            self.link_newest(place);
        }
    }

    fn link_newest(&mut self, place: u32) {
        let older = self.newest;
        let client = &mut self.slab[place as usize];
        client.older = older;
        client.newer = NONE;
        match older {
            NONE => self.oldest = place,
            older => self.slab[older as usize].newer = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Client { older, newer, .. } = self.slab[place as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.slab[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slab[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn client(number: u32) -> ClientId {
        ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    fn limiter(requests_max: u32, clients_max: usize, stripes: usize) -> RateLimiter {
        RateLimiter::new(RateLimits {
            requests_max: NonZeroU32::new(requests_max),
            clients_max,
            stripes,
        })
    }

    fn after(nanos: u64) -> Duration {
        Duration::from_nanos(nanos)
    }

    #[test]
    fn each_client_has_its_own_limit() {
        let limiter = limiter(2, 100, 7);
        let refused = Decision::Refused {
            retry_after: after(SECOND - 2),
        };
        for (now, decision) in [(1, Decision::Allowed), (2, Decision::Allowed), (3, refused)] {
            for number in 0..10 {
                assert_eq!(limiter.allow(client(number), at(now)), decision);
            }
        }
        assert_eq!(limiter.clients(), 10);
        assert_eq!(limiter.allow(client(3), at(SECOND + 1)), Decision::Allowed);
    }

    #[test]
    fn without_a_limit_nobody_is_tracked() {
        let limiter = limiter(0, 100, 7);
        for _ in 0..1000 {
            assert_eq!(limiter.allow(client(1), at(1)), Decision::Allowed);
        }
        assert_eq!(limiter.clients(), 0);
    }

    #[test]
    fn a_full_stripe_turns_new_clients_away_until_one_is_idle() {
        let limiter = limiter(2, 3, 2);
        let clients = |range: std::ops::Range<u32>| range.map(client);
        // Two stripes with two places and one: a flood of new clients fills them.
        let mut admitted: Vec<_> = clients(0..100)
            .filter(|&id| limiter.allow(id, at(5)) == Decision::Allowed)
            .collect();
        assert_eq!((admitted.len(), limiter.clients()), (3, 3));
        for id in clients(100..200) {
            assert_eq!(
                limiter.allow(id, at(SECOND)),
                Decision::TableFull {
                    retry_after: after(5)
                }
            );
        }
        // Those inside are not touched by it.
        let stays = admitted.pop().unwrap();
        assert_eq!(limiter.allow(stays, at(SECOND)), Decision::Allowed);
        admitted = clients(200..300)
            .filter(|&id| limiter.allow(id, at(SECOND + 5)) == Decision::Allowed)
            .collect();
        assert_eq!((admitted.len(), limiter.clients()), (2, 3));
        assert_eq!(limiter.allow(stays, at(SECOND + 5)), Decision::Allowed);
        assert!(matches!(
            limiter.allow(stays, at(SECOND + 6)),
            Decision::Refused { .. }
        ));
    }

    #[test]
    fn what_came_late_counts_at_the_latest_moment() {
        let limiter = limiter(1, 10, 2);
        assert_eq!(limiter.allow(client(1), at(100)), Decision::Allowed);
        assert_eq!(
            limiter.allow(client(1), at(60)),
            Decision::Refused {
                retry_after: after(SECOND + 40)
            }
        );
        assert_eq!(limiter.allow(client(1), at(SECOND + 100)), Decision::Allowed);
    }

    #[test]
    fn a_sweep_forgets_the_idle_and_gives_their_memory_back() {
        let limiter = limiter(10, 10_000, 61);
        for number in 0..5000 {
            limiter.allow(client(number), at(u64::from(number)));
        }
        assert_eq!(limiter.sweep(at(SECOND - 1)), 0);
        assert_eq!(limiter.sweep(at(SECOND + 4899)), 4900);
        assert_eq!(limiter.clients(), 100);
        limiter.stripes.for_each(|_, clients| {
            assert!(clients.slab.capacity() <= 4.max(4 * clients.count()));
        });
        for number in 4900..5000 {
            for _ in 0..9 {
                assert_eq!(
                    limiter.allow(client(number), at(SECOND + 4899)),
                    Decision::Allowed
                );
            }
            assert!(matches!(
                limiter.allow(client(number), at(SECOND + 4899)),
                Decision::Refused { .. }
            ));
        }
        assert_eq!(limiter.sweep(at(3 * SECOND)), 100);
        assert_eq!(limiter.clients(), 0);
    }

    #[test]
    fn the_busiest_come_first() {
        let limiter = limiter(100, 1000, 7);
        for number in 1..=50 {
            for _ in 0..number {
                limiter.allow(client(number), at(7));
            }
        }
        let top: Vec<_> = limiter
            .top(3, at(8))
            .iter()
            .map(|one| (one.requests, one.client))
            .collect();
        assert_eq!(top, [(50, client(50)), (49, client(49)), (48, client(48))]);
        assert_eq!(limiter.top(usize::MAX, at(8)).len(), 50);
        assert!(limiter.top(0, at(8)).is_empty());
        assert!(limiter.top(3, at(SECOND + 7)).is_empty());
    }
}
