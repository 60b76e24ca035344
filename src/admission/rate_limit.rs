//! How often each client may.
//!
//! Promises: a client's request is allowed if and only if fewer than the limit of its own were allowed in
//! the last second (RATE_LIMIT-EXACT, see [`window`](super::window)); what other clients do changes no
//! decision. At most `clients_max` clients are tracked. One is forgotten only when nothing of it counts
//! any more, when it decides as an unknown one does (RATE_LIMIT-EVICTION); a new client is turned away
//! ([`Decision::TableFull`]) only when its stripe is full of clients none of which can be forgotten. A call
//! takes one stripe's lock and, amortised, O(1) steps for a known client, O(log clients) for a new one.
//! Leaves to the caller: the clock, and a call of [`RateLimiter::sweep`] now and then (each second or so),
//! which gives back the memory of clients that went away.
//!
//! # Time
//! Threads read the clock before they reach the lock, so a stripe may be asked about a moment after a later
//! one. Such a request counts at the latest moment its stripe has seen: after the caller read the clock,
//! before the answer, and in the order in which the stripe was asked.
//!
//! # A stripe
//! A slab of clients, one cache line each; a table from id to slab place (`places`); and a heap with one
//! ticket for each client, the earliest moment on top. A ticket holds a moment at which its client was
//! allowed, not always the latest: a known client's request touches the table and its own line and nothing
//! else. Whoever needs the client that is idle first looks at the top, and while that ticket is out of date
//! gives it the right moment; the first one that is right is the earliest of all, for every moment in the
//! heap is at or before its client's. Each correction is paid for by a request since the last one.
//!
//! Each new client forgets up to [`EVICTIONS_PER_INSERT`] idle ones: a table under a flood of addresses
//! shrinks faster than it grows.
//!
//! A stripe's share is `clients_max / stripes`. Ids fall on stripes at random, so the first share is full a
//! little before the whole table is: at the defaults when about nine tenths of it are.

use crate::admission::auth::ClientId;
use crate::admission::keyed_hash::KeyedHash;
use crate::admission::places::Places;
use crate::admission::window::{Verdict, Window};
use crate::clock::Instant;
use crate::limits::{RATE_WINDOW, TOP_CLIENTS_MAX};
use crate::sync::mutex_pool::MutexPool;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::num::NonZeroU32;
use std::time::Duration;

/// Idle clients forgotten for each new one.
pub const EVICTIONS_PER_INSERT: usize = 2;

/// Tickets corrected for each new client, unless its place depends on it: the rest can wait.
const CORRECTIONS_PER_INSERT: usize = 8;

/// What a limiter is built for.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests a client may make in any one second, where the request brings no limit of its own; `None` is
    /// no limit, and then nobody is tracked.
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
    hash: KeyedHash<3>,
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
            hash: KeyedHash::new(),
            stripes: MutexPool::new(stripes, |index| Clients::new(share(clients_max, stripes, index))),
        }
    }

    /// Decides on a request of `client` at `now`, and counts it when it is allowed.
    pub fn allow(&self, client: ClientId, now: Instant) -> Decision {
        self.allow_up_to(self.requests_max, client, now)
    }

    /// As [`RateLimiter::allow`], with a limit of this request's own: it is allowed if and only if fewer than
    /// `requests_max` requests of the client were counted in the last second. `None` allows it and counts
    /// nothing.
    pub fn allow_up_to(&self, requests_max: Option<NonZeroU32>, client: ClientId, now: Instant) -> Decision {
        let Some(requests_max) = requests_max else {
            return Decision::Allowed;
        };
        let requests_max = requests_max.saturating_add(u32::from(crate::seeded!(RATE_LIMIT_OFF_BY_ONE)));
        let hash = self.hash.hash(client.words());
        self.stripes.with(hash, |clients| {
            clients.allow(tag(hash), client, requests_max, now)
        })
    }

    /// Forgets every client of which nothing counts at `now`; says how many were forgotten. Walks the
    /// stripes one at a time, holding
    /// each for a time that grows with the number of its clients that were allowed since the last sweep.
    pub fn sweep(&self, now: Instant) -> usize {
        let mut forgotten = 0;
        self.stripes.for_each(|_, clients| {
            let now = clients.advance(now);
            forgotten += clients.forget_idle(now, usize::MAX, usize::MAX);
            clients.give_back();
        });
        forgotten
    }

    /// The stripe that `client` falls on, below the number of stripes. Not the same in two limiters.
    #[must_use]
    pub fn stripe_of(&self, client: ClientId) -> usize {
        self.stripes.stripe_of(self.hash.hash(client.words()))
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

/// What a stripe knows of a hash: its upper half, which says little of the stripe.
fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).expect("32 bits are left")
}

/// The part of `clients_max` that stripe `index` has; the parts add up to it exactly.
fn share(clients_max: usize, stripes: usize, index: usize) -> usize {
    clients_max / stripes + usize::from(index < clients_max % stripes)
}

/// One stripe's clients.
#[derive(Debug)]
struct Clients {
    /// The latest moment seen.
    now: Instant,
    /// Slab places, by tag.
    index: Places,
    slab: Vec<Client>,
    /// Slab places not in use.
    free: Vec<u32>,
    /// For each client one moment, at or before its latest.
    tickets: BinaryHeap<Reverse<Ticket>>,
    clients_max: usize,
}

/// A client in the slab: one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Client {
    window: Window,
    /// The upper half of the id's hash.
    tag: u32,
    id: ClientId,
}

const _: () = assert!(size_of::<Client>() == 64);

/// A moment at which the client in this place was allowed. Ordered by the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    moment: Instant,
    place: u32,
}

impl Clients {
    fn new(clients_max: usize) -> Self {
        Self {
            now: Instant::ZERO,
            index: Places::default(),
            slab: Vec::new(),
            free: Vec::new(),
            tickets: BinaryHeap::new(),
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

    fn allow(&mut self, tag: u32, id: ClientId, requests_max: NonZeroU32, asked_at: Instant) -> Decision {
        let now = self.advance(asked_at);
        let slab = &self.slab;
        let known = self.index.find(tag, |place| slab[place as usize].id == id);
        let place = match known {
            Some(place) => place,
            None => match self.insert(tag, id, now) {
                Ok(place) => place,
                Err(idle_after) => {
                    return Decision::TableFull {
                        retry_after: idle_after + now.since(asked_at),
                    };
                }
            },
        };
        match self.slab[place as usize].window.allow(requests_max, now) {
            Verdict::Allowed => Decision::Allowed,
            // Counted from the moment the caller named.
            Verdict::Refused { retry_after } => Decision::Refused {
                retry_after: retry_after + now.since(asked_at),
            },
        }
    }

    /// A place for an unknown client, which will be allowed at `now`; or how long until one can be free.
    #[cold]
    #[inline(never)]
    fn insert(&mut self, tag: u32, id: ClientId, now: Instant) -> Result<u32, Duration> {
        self.forget_idle(now, EVICTIONS_PER_INSERT, CORRECTIONS_PER_INSERT);
        if self.count() >= self.clients_max && self.forget_idle(now, 1, usize::MAX) == 0 {
            let age = now.since(self.earliest_newest());
            return Err(RATE_WINDOW.saturating_sub(age));
        }
        let client = Client {
            window: Window::new(),
            tag,
            id,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slab[place as usize] = client;
                place
            }
            None => {
                self.slab.push(client);
                u32::try_from(self.slab.len() - 1).expect("clients_max is below u32::MAX")
            }
        };
        self.tickets.push(Reverse(Ticket { moment: now, place }));
        self.index.insert(tag, place);
        Ok(place)
    }

    /// Forgets up to `clients_max` clients of which nothing counts at `now`, correcting up to
    /// `corrections_max` tickets on the way; says how many were forgotten. If neither bound was met, nobody
    /// else is idle.
    fn forget_idle(&mut self, now: Instant, clients_max: usize, mut corrections_max: usize) -> usize {
        let mut forgotten = 0;
        while forgotten < clients_max
            && let Some(place) = self.next_idle(now, &mut corrections_max)
        {
            self.remove(place);
            forgotten += 1;
        }
        forgotten
    }

    /// Takes the ticket of a client of which nothing counts at `now`, if there is one, and empties its
    /// window. Corrects tickets on the way and counts `corrections_max` down; at zero it gives up.
    fn next_idle(&mut self, now: Instant, corrections_max: &mut usize) -> Option<u32> {
        while *corrections_max > 0 {
            let mut top = self.tickets.peek_mut()?;
            let Reverse(Ticket { moment, place }) = *top;
            if now.since(moment) < RATE_WINDOW {
                return None;
            }
            let window = &mut self.slab[place as usize].window;
            if window.is_idle(now) {
                *window = Window::new();
                PeekMut::pop(top);
                return Some(place);
            }
            top.0.moment = window.newest();
            *corrections_max -= 1;
        }
        None
    }

    /// The earliest of the moments at which the clients were last allowed; there is a client.
    fn earliest_newest(&mut self) -> Instant {
        loop {
            let mut top = self.tickets.peek_mut().expect("a full stripe has clients");
            let newest = self.slab[top.0.place as usize].window.newest();
            if top.0.moment == newest {
                return newest;
            }
            top.0.moment = newest;
        }
    }

    /// Takes the client in `place` out of the table and frees its place.
    fn remove(&mut self, place: u32) {
        self.index.remove(self.slab[place as usize].tag, place);
        self.free.push(place);
    }

    /// Gives back memory when less than a quarter of the slab is in use: moves the clients to a new one.
    fn give_back(&mut self) {
        let count = self.count();
        if count * 4 >= self.slab.capacity() {
            return;
        }
        let mut slab: Vec<Client> = Vec::with_capacity(count);
        let mut index = Places::with_room_for(count);
        let mut tickets = std::mem::take(&mut self.tickets).into_vec();
        for Reverse(ticket) in &mut tickets {
            let client = &mut self.slab[ticket.place as usize];
            ticket.place = u32::try_from(slab.len()).expect("no more than before");
            index.insert(client.tag, ticket.place);
            slab.push(Client {
                window: std::mem::take(&mut client.window),
                ..*client
            });
        }
        tickets.shrink_to_fit();
        *self = Self {
            now: self.now,
            index,
            slab,
            tickets: tickets.into(),
            ..Self::new(self.clients_max)
        };
    }

    fn for_each_in_use(&mut self, now: Instant, mut visit: impl FnMut(ClientUse)) {
        for client in &mut self.slab {
            // A free place has an empty window.
            let requests = client.window.count(now);
            if requests > 0 {
                visit(ClientUse {
                    requests,
                    client: client.id,
                });
            }
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

    /// Clients that share the first stripe.
    fn of_first_stripe(limiter: &RateLimiter) -> impl Iterator<Item = ClientId> + '_ {
        (0..).map(client).filter(|&id| limiter.stripe_of(id) == 0)
    }

    fn after(nanos: u64) -> Duration {
        Duration::from_nanos(nanos)
    }

    /// Otherwise all clients would lie in one neighbourhood, and nothing but the time would tell.
    #[test]
    fn a_tag_is_the_upper_half_of_a_hash() {
        assert_eq!(tag(0x0123_4567_89AB_CDEF), 0x0123_4567);
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
    fn an_idle_client_is_found_behind_many_tickets_out_of_date() {
        let limiter = limiter(2, 40, 2);
        let mut ids = of_first_stripe(&limiter);
        let clients: Vec<_> = (0..20).zip(&mut ids).collect();
        for &(number, id) in &clients {
            assert_eq!(limiter.allow(id, at(number)), Decision::Allowed);
        }
        let (busy, idle) = clients.split_at(15);
        for &(_, id) in busy {
            assert_eq!(limiter.allow(id, at(SECOND - 1)), Decision::Allowed);
        }
        // The stripe is full, and the idle ones come last. Each newcomer takes the place of one of them.
        let now = at(SECOND + 100);
        for _ in idle {
            assert_eq!(limiter.allow(ids.next().unwrap(), now), Decision::Allowed);
        }
        assert_eq!(
            limiter.allow(ids.next().unwrap(), now),
            Decision::TableFull {
                retry_after: after(SECOND - 101)
            }
        );
        for &(_, id) in busy {
            assert_eq!(limiter.allow(id, now), Decision::Allowed);
            assert!(
                matches!(limiter.allow(id, now), Decision::Refused { .. }),
                "it was not forgotten"
            );
        }
    }

    #[test]
    fn a_forgotten_client_leaves_no_memory_behind() {
        let limiter = limiter(1000, 10, 2);
        let mut ids = of_first_stripe(&limiter);
        for _ in 0..2 {
            let id = ids.next().unwrap();
            (0..1000).for_each(|_| assert_eq!(limiter.allow(id, at(0)), Decision::Allowed));
        }
        // The newcomer forgets both and takes the place of one.
        limiter.allow(ids.next().unwrap(), at(SECOND));
        assert_eq!(limiter.clients(), 1);
        limiter.stripes.for_each(|_, clients| {
            assert!(
                clients
                    .slab
                    .iter()
                    .all(|client| client.window.heap_requests() == 0)
            );
        });
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

    #[test]
    fn the_work_of_forgetting_is_bounded() {
        let limiter = limiter(2, 2000, 2);
        let ids: Vec<_> = of_first_stripe(&limiter).take(20).collect();
        for (number, id) in (0..).zip(&ids) {
            limiter.allow(*id, at(number));
        }
        // Nine in ten have been here again: their tickets are out of date.
        for id in &ids[..18] {
            limiter.allow(*id, at(SECOND - 1));
        }
        limiter.stripes.for_each(|stripe, clients| {
            if stripe == 0 {
                let now = at(SECOND + 100);
                let none = clients.forget_idle(now, 100, 5);
                assert_eq!(none, 0, "five corrections do not get there");
                assert_eq!(clients.forget_idle(now, 1, 100), 1, "no more than asked for");
                assert_eq!((clients.forget_idle(now, 0, 100), clients.count()), (0, 19));
                assert_eq!(clients.forget_idle(now, 100, 100), 1);
            }
        });
        assert_eq!(limiter.clients(), 18);
    }

    #[test]
    fn memory_is_given_back_when_less_than_a_quarter_is_in_use() {
        let limiter = limiter(2, 2000, 2);
        for id in of_first_stripe(&limiter).take(64) {
            limiter.allow(id, at(1));
        }
        limiter.stripes.for_each(|stripe, clients| {
            if stripe == 0 {
                clients.give_back();
                let full = clients.slab.capacity();
                assert!(full >= 64);
                clients.forget_idle(at(2 * SECOND), 64 - full / 4, 1000);
                clients.give_back();
                let (count, capacity) = (clients.count(), clients.slab.capacity());
                assert_eq!((count, capacity), (full / 4, full), "a quarter is in use");
                clients.forget_idle(at(2 * SECOND), 1, 1000);
                clients.give_back();
                assert_eq!(clients.slab.capacity(), full / 4 - 1, "less is");
            }
        });
    }
}
