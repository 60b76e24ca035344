//! An exact sliding window over one client's requests.
//!
//! Promises: a request at `now` is allowed if and only if fewer than the limit were allowed in the interval
//! `(now - RATE_WINDOW, now]`. So no half-open second holds more than the limit wherever it begins, and two
//! requests exactly one second apart never count together. A refusal changes nothing and says exactly when
//! it would have been an acceptance. Memory follows what the window holds: none on the heap up to
//! [`FEW`] requests, then four bytes for each, doubled at most, given back as the requests age: by the first
//! call that comes a window after the last look at their age.
//! A call costs amortised O(1): each request allowed is written once and expires once.
//! Leaves to the caller: the clock. A `now` before the newest request counts as that request's moment: time
//! in a window never goes back.
//!
//! # Four bytes a request
//! Only requests younger than a second count, so the low 32 bits of their nanoseconds (4.29 s before they
//! repeat) say when they were, given one full moment near them: the newest. A window whose newest request
//! is a second old is emptied before its bits are read.
//!
//! # No look at the old ones
//! Requests that no longer count are dropped where that changes something: when, with them, there are as many
//! as the limit or the memory has room for, or when the last such look is a window ago (where there is no
//! room to keep its time: when the oldest is two windows old). Until then a request is written behind the
//! newest: one line of the cache and no branch on how many expired since, which nobody can predict. All that
//! is in a window is younger than two windows then, and the low bits tell it apart still when the next look
//! comes.

use crate::clock::Instant;
use crate::limits::RATE_WINDOW;
use std::num::NonZeroU32;
use std::time::Duration;

/// Requests a window holds without memory of its own.
///
/// As many as leave a client of [`rate_limit`](super::rate_limit) one cache line.
pub const FEW: usize = 7;

/// [`RATE_WINDOW`] in nanoseconds.
#[allow(clippy::cast_possible_truncation, reason = "asserted below")]
const WINDOW_NANOS: u32 = RATE_WINDOW.as_nanos() as u32;

/// Younger than this all are that are in [`Times::Few`], when the newest of them is added.
const FEW_NANOS: u32 = 2 * WINDOW_NANOS;

/// The first ring, in requests; a power of two that is more than [`FEW`].
const RING_MIN: usize = 16;

const _: () = {
    assert!(RATE_WINDOW.as_nanos() > 0);
    // `now` is less than a window after the newest, which came less than one after the last look, when the
    // oldest was less than one old.
    assert!(3 * RATE_WINDOW.as_nanos() < u32::MAX as u128);
    assert!(RING_MIN > FEW && RING_MIN / 4 <= FEW);
};

/// The requests of one client that still count.
#[derive(Debug)]
pub struct Window {
    /// The request allowed last, in nanoseconds; without meaning when there is none.
    newest_nanos: u64,
    times: Times,
}

/// What a window says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, and counted.
    Allowed,
    /// The window is full; nothing was counted.
    Refused {
        /// After this long, and no sooner, a request of this client is allowed if none is before it.
        retry_after: Duration,
    },
}

impl Window {
    /// A window without requests.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            newest_nanos: 0,
            times: Times::Few {
                count: 0,
                times: [0; FEW],
            },
        }
    }

    /// Allows and counts a request at `now` if fewer than `requests_max` count at that moment.
    ///
    /// `requests_max` may differ from call to call.
    #[inline]
    pub fn allow(&mut self, requests_max: NonZeroU32, now: Instant) -> Verdict {
        match self.allow_at_once(requests_max, now) {
            Some(verdict) => verdict,
            None => self.allow_exactly(requests_max, now),
        }
    }

    /// The verdict, where it takes no look at what has expired.
    #[inline]
    fn allow_at_once(&mut self, requests_max: NonZeroU32, now: Instant) -> Option<Verdict> {
        let now_nanos = now.as_nanos().max(self.newest_nanos);
        let time = low(now_nanos);
        let is_idle = now_nanos - self.newest_nanos >= u64::from(WINDOW_NANOS);
        match &mut self.times {
            Times::Few { count, times } if is_idle => {
                times[0] = time;
                *count = 1;
            }
            // Fewer than the limit, whether they count or not, and the oldest can be told from a young one.
            Times::Few { count, times }
                if usize::from(*count) < FEW
                    && u32::from(*count) < requests_max.get()
                    && time.wrapping_sub(times[0]) < FEW_NANOS =>
            {
                times[usize::from(*count)] = time;
                *count += 1;
            }
            Times::Many { looked_at, ring } if !is_idle && time.wrapping_sub(*looked_at) < WINDOW_NANOS => {
                // Those after the request in the way are younger: if it counts they do.
                if let Some(in_the_way) = ring.count.checked_sub(requests_max.get()) {
                    let age = time.wrapping_sub(ring.get(in_the_way as usize));
                    return (age < WINDOW_NANOS).then(|| refusal(age, now, now_nanos));
                }
                // There are fewer than the limit, whether they count or not.
                if ring.is_full() {
                    return None;
                }
                ring.push(time);
            }
            _ => return None,
        }
        self.newest_nanos = now_nanos;
        Some(Verdict::Allowed)
    }

    /// As [`Window::allow`], with all dropped first that no longer counts.
    #[cold]
    #[inline(never)]
    fn allow_exactly(&mut self, requests_max: NonZeroU32, now: Instant) -> Verdict {
        let now_nanos = self.expire(now);
        let counted = self.times.count();
        let requests_max = requests_max.get() as usize;
        if counted < requests_max {
            self.times.push(low(now_nanos), requests_max);
            self.newest_nanos = now_nanos;
            return Verdict::Allowed;
        }
        // The request with fewer than `requests_max` others after it: when it expires a place is free.
        let last_in_the_way = self.times.get(counted - requests_max);
        refusal(low(now_nanos).wrapping_sub(last_in_the_way), now, now_nanos)
    }

    /// How many requests count at `now`.
    pub fn count(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.times.count()
    }

    /// Whether no request counts at `now`: then this window decides as a new one does.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.times.count() == 0 || self.newest_age_nanos(now) >= u64::from(WINDOW_NANOS)
    }

    /// When a request was last allowed; without meaning when none ever was.
    #[must_use]
    pub const fn newest(&self) -> Instant {
        Instant::from_nanos(self.newest_nanos)
    }

    /// Requests that the memory on the heap has room for.
    #[cfg(test)]
    pub(crate) fn heap_requests(&self) -> usize {
        match &self.times {
            Times::Few { .. } => 0,
            Times::Many { ring, .. } => ring.slots.len(),
        }
    }

    /// Drops what no longer counts at `now`; the moment that counts as now, in nanoseconds.
    fn expire(&mut self, now: Instant) -> u64 {
        if self.times.count() == 0 {
            return now.as_nanos();
        }
        if self.is_idle(now) {
            self.times.clear();
            return now.as_nanos();
        }
        let now_nanos = now.as_nanos().max(self.newest_nanos);
        self.times.drop_older(low(now_nanos));
        now_nanos
    }

    fn newest_age_nanos(&self, now: Instant) -> u64 {
        now.as_nanos().saturating_sub(self.newest_nanos)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// A refusal for a request of `age` that is in the way of one at `now`, which counts as `now_nanos`.
#[inline]
fn refusal(age: u32, now: Instant, now_nanos: u64) -> Verdict {
    debug_assert!(age < WINDOW_NANOS, "what is older has expired");
    Verdict::Refused {
        // From the caller's `now`, which may be before the moment at which the request counted.
        retry_after: Duration::from_nanos(
            u64::from(WINDOW_NANOS - age) + (now_nanos - now.as_nanos().min(now_nanos)),
        ),
    }
}

/// The low 32 bits of a moment in nanoseconds.
#[allow(clippy::cast_possible_truncation, reason = "the cut is the point")]
const fn low(nanos: u64) -> u32 {
    nanos as u32
}

/// Moments in order, oldest first, as the low bits of their nanoseconds.
#[derive(Debug)]
enum Times {
    /// Up to [`FEW`], in place: `times[..count]`, younger than [`FEW_NANOS`] at the newest.
    Few { count: u8, times: [u32; FEW] },
    /// More, or lately more.
    Many {
        /// When what no longer counted was dropped last; no more than a window before the newest.
        looked_at: u32,
        ring: Ring,
    },
}

#[derive(Debug)]
struct Ring {
    /// Index of the oldest; below the capacity.
    head: u32,
    count: u32,
    slots: Box<[u32]>,
}

impl Times {
    #[inline]
    fn count(&self) -> usize {
        match self {
            Self::Few { count, .. } => usize::from(*count),
            Self::Many { ring, .. } => ring.count as usize,
        }
    }

    /// The moment at `index`, zero being the oldest.
    #[inline]
    fn get(&self, index: usize) -> u32 {
        match self {
            Self::Few { times, .. } => times[index],
            Self::Many { ring, .. } => ring.get(index),
        }
    }

    /// Adds the newest; `requests_max` bounds the memory taken.
    fn push(&mut self, time: u32, requests_max: usize) {
        match self {
            Self::Few { count, times } if usize::from(*count) < FEW => {
                times[usize::from(*count)] = time;
                *count += 1;
            }
            Self::Few { times, .. } => {
                let mut ring = Ring::copy_of(times.iter().copied(), RING_MIN.min(requests_max));
                ring.push(time);
                *self = Self::Many {
                    looked_at: time,
                    ring,
                };
            }
            Self::Many { ring, .. } => {
                if ring.is_full() {
                    let capacity = ring.slots.len();
                    let wanted = (capacity * 2).min(requests_max).max(capacity + 1);
                    *ring = Ring::copy_of(ring.iter(), wanted);
                }
                ring.push(time);
            }
        }
    }

    /// Drops, from the oldest, those that are a window old or older at `now`, and memory far too large.
    fn drop_older(&mut self, now: u32) {
        let expired = |time: u32| now.wrapping_sub(time) >= WINDOW_NANOS;
        match self {
            Self::Few { count, times } => {
                let old = times[..usize::from(*count)]
                    .iter()
                    .take_while(|time| expired(**time))
                    .count();
                if old == 0 {
                    return;
                }
                times.copy_within(old.., 0);
                *count -= u8::try_from(old).expect("at most FEW");
            }
            Self::Many { looked_at, ring } => {
                *looked_at = now;
                while ring.count > 0 && expired(ring.slots[ring.head as usize]) {
                    ring.pop();
                }
                self.shrink();
            }
        }
    }

    /// Gives memory back where a quarter or less is used, until more is: at least a quarter of the capacity
    /// has expired since it was taken, which pays for the copy.
    fn shrink(&mut self) {
        let Self::Many { ring, .. } = self else { return };
        let (count, capacity) = (ring.count as usize, ring.slots.len());
        let is_too_large = |capacity: usize| count * 4 <= capacity;
        let mut wanted = capacity;
        while is_too_large(wanted) && wanted > RING_MIN {
            wanted /= 2;
        }
        if is_too_large(wanted) {
            let mut times = [0; FEW];
            ring.iter()
                .zip(&mut times)
                .for_each(|(time, place)| *place = time);
            *self = Self::Few {
                count: u8::try_from(count).expect("a quarter of RING_MIN"),
                times,
            };
        } else if wanted < capacity {
            *ring = Ring::copy_of(ring.iter(), wanted);
        }
    }

    fn clear(&mut self) {
        *self = Self::Few {
            count: 0,
            times: [0; FEW],
        };
    }
}

impl Ring {
    /// A ring of `capacity` that holds `times`, which fit.
    fn copy_of(times: impl Iterator<Item = u32>, capacity: usize) -> Self {
        let mut slots = vec![0; capacity].into_boxed_slice();
        let mut count = 0;
        for (slot, time) in slots.iter_mut().zip(times) {
            *slot = time;
            count += 1;
        }
        Self {
            head: 0,
            count,
            slots,
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.count as usize == self.slots.len()
    }

    /// The moment at `index`, zero being the oldest.
    #[inline]
    fn get(&self, index: usize) -> u32 {
        self.slots[self.slot(index)]
    }

    /// Where the moment at `index` lies.
    #[inline]
    fn slot(&self, index: usize) -> usize {
        let slot = self.head as usize + index;
        if slot < self.slots.len() {
            slot
        } else {
            slot - self.slots.len()
        }
    }

    /// Adds the newest; there is room.
    #[inline]
    fn push(&mut self, time: u32) {
        debug_assert!((self.count as usize) < self.slots.len());
        let slot = self.slot(self.count as usize);
        self.slots[slot] = time;
        self.count += 1;
    }

    /// Drops the oldest; there is one.
    #[inline]
    fn pop(&mut self) {
        debug_assert!(self.count > 0);
        self.head += 1;
        if self.head as usize == self.slots.len() {
            self.head = 0;
        }
        self.count -= 1;
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count as usize).map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn max(requests: u32) -> NonZeroU32 {
        NonZeroU32::new(requests).unwrap()
    }

    fn refused(nanos: u64) -> Verdict {
        Verdict::Refused {
            retry_after: Duration::from_nanos(nanos),
        }
    }

    #[test]
    fn the_edge_of_the_window_is_exact() {
        let mut window = Window::new();
        assert_eq!(window.allow(max(2), at(5)), Verdict::Allowed);
        assert_eq!(window.allow(max(2), at(7)), Verdict::Allowed);
        // One nanosecond before the first is a second old it still counts.
        assert_eq!(window.allow(max(2), at(SECOND + 4)), refused(1));
        assert_eq!(window.allow(max(2), at(SECOND + 5)), Verdict::Allowed);
        assert_eq!(window.allow(max(2), at(SECOND + 5)), refused(2));
        assert_eq!(window.allow(max(2), at(SECOND + 7)), Verdict::Allowed);
    }

    #[test]
    fn a_moment_before_the_newest_counts_as_the_newest() {
        let mut window = Window::new();
        assert_eq!(window.allow(max(2), at(100)), Verdict::Allowed);
        assert_eq!(window.allow(max(2), at(40)), Verdict::Allowed);
        // Both count at 100; seen from 40 that is a second and 60 ns away.
        assert_eq!(window.allow(max(2), at(40)), refused(SECOND + 60));
        assert_eq!(window.allow(max(2), at(SECOND + 99)), refused(1));
        assert_eq!(window.count(at(SECOND + 100)), 0);
    }

    #[test]
    fn the_end_of_time_is_a_moment_like_any_other() {
        let mut window = Window::new();
        assert_eq!(window.allow(max(1), at(u64::MAX - SECOND)), Verdict::Allowed);
        assert_eq!(window.allow(max(1), at(u64::MAX - 1)), refused(1));
        assert_eq!(window.allow(max(1), at(u64::MAX)), Verdict::Allowed);
        assert_eq!(window.allow(max(1), at(u64::MAX)), refused(SECOND));
    }

    #[test]
    fn moments_whose_low_bits_repeat_are_not_confused() {
        let wrap = 1 << 32;
        let mut window = Window::new();
        assert_eq!(window.allow(max(1), at(wrap - 1)), Verdict::Allowed);
        assert_eq!(window.allow(max(1), at(wrap)), refused(SECOND - 1));
        assert_eq!(window.allow(max(1), at(2 * wrap - 1)), Verdict::Allowed);
        let mut window = Window::new();
        for start in [0, wrap + 100, 2 * wrap + 200] {
            for now in 0..20 {
                assert_eq!(window.allow(max(20), at(start + now)), Verdict::Allowed);
            }
            assert_eq!(window.allow(max(20), at(start + 20)), refused(SECOND - 20));
        }
    }

    #[test]
    fn a_lower_limit_waits_for_the_right_request() {
        let mut window = Window::new();
        for now in 0..5 {
            assert_eq!(window.allow(max(5), at(now)), Verdict::Allowed);
        }
        // With a limit of 2 the place is free when three are left out: the fourth, at 3, must expire.
        assert_eq!(window.allow(max(2), at(10)), refused(SECOND + 3 - 10));
        assert_eq!(window.allow(max(2), at(SECOND + 2)), refused(1));
        assert_eq!(window.allow(max(2), at(SECOND + 3)), Verdict::Allowed);
    }

    #[test]
    fn memory_follows_what_counts() {
        let mut window = Window::new();
        for held in 0..1000_u32 {
            window.allow(max(1000), at(u64::from(held)));
            assert!(window.heap_requests() <= 1000.min((2 * held as usize).max(RING_MIN)));
        }
        assert_eq!(window.heap_requests(), 1000, "never more than the limit");
        for gone in 0..996_u32 {
            window.count(at(SECOND + u64::from(gone)));
            assert!(window.heap_requests() <= RING_MIN.max(4 * (999 - gone as usize)));
        }
        assert_eq!(window.count(at(SECOND + 998)), 1);
        assert_eq!(window.heap_requests(), 0);
    }

    #[test]
    fn memory_is_doubled_when_it_is_full_and_halved_when_three_quarters_are_free() {
        let ring = u64::try_from(RING_MIN).unwrap();
        let full = |requests: u64, limit: u64| {
            let mut window = Window::new();
            for held in 0..requests {
                window.allow(max(u32::try_from(limit).unwrap()), at(held));
            }
            window
        };
        for held in 1..=2 * ring + 1 {
            let expected = match usize::try_from(held).unwrap() {
                few if few <= FEW => 0,
                some if some <= RING_MIN => RING_MIN,
                more if more <= 2 * RING_MIN => 2 * RING_MIN,
                _ => 3 * RING_MIN,
            };
            assert_eq!(full(held, 3 * ring).heap_requests(), expected, "{held}");
        }
        let capacity = 2 * ring;
        let mut window = full(capacity, capacity);
        window.count(at(SECOND + capacity - capacity / 4 - 2));
        assert_eq!(
            window.heap_requests(),
            2 * RING_MIN,
            "more than a quarter is in use"
        );
        window.count(at(SECOND + capacity - capacity / 4 - 1));
        assert_eq!(window.heap_requests(), RING_MIN, "a quarter is");
        window.count(at(SECOND + capacity - 2));
        assert_eq!(window.heap_requests(), 0, "the smallest is not halved");
        let mut window = full(ring, ring);
        window.count(at(SECOND + ring - 6));
        assert_eq!(window.heap_requests(), RING_MIN, "five are more than a quarter");
        window.count(at(SECOND + ring - 4));
        assert_eq!(window.heap_requests(), 0, "three are held in place");
    }

    /// All verdicts of a client that is asked at `moments`, against a plain count.
    fn check(limit_of: impl Fn(u64) -> u32, moments: impl Iterator<Item = u64>) {
        let mut window = Window::new();
        let mut allowed: Vec<u64> = Vec::new();
        for now in moments {
            let limit = limit_of(now);
            allowed.retain(|time| now - time < SECOND);
            let in_the_way = allowed.len().checked_sub(limit as usize);
            let expected = in_the_way.map(|index| allowed[index] + SECOND - now);
            assert_eq!(
                window.allow(max(limit), at(now)),
                expected.map_or(Verdict::Allowed, refused),
                "{now}"
            );
            if expected.is_none() {
                allowed.push(now);
            }
        }
    }

    #[test]
    fn what_was_not_looked_at_decides_nothing() {
        let tenth = SECOND / 10;
        // Below the limit, at it now and then, and mostly above it; gaps up to an idle window.
        for limit in [1, 5, 15, 16, 17, 40, 100] {
            for step in [tenth / 20, tenth / 5, tenth - 1, 9 * tenth, SECOND - 1, SECOND] {
                check(|_| limit, (0..500).map(|n| n * step));
                let uneven = (0..500).scan(0, |now, n: u64| {
                    *now += n * n % 7 * step / 4;
                    Some(*now)
                });
                check(|_| limit, uneven);
            }
        }
        // A limit that goes up and down between requests.
        check(
            |now| 3 + u32::try_from(now / tenth % 30).unwrap(),
            (0..900).map(|n| n * tenth / 13),
        );
    }

    #[test]
    fn what_was_not_looked_at_for_long_is_not_taken_for_new() {
        // Some at once, in place or in a ring, then few enough that nothing but the time says to look.
        let together = [1, 2, 3, 5, 20];
        for (together, apart) in together
            .into_iter()
            .flat_map(|together| [SECOND / 2, 6 * SECOND / 10, SECOND - 1].map(|apart| (together, apart)))
        {
            let mut window = Window::new();
            for now in 0..together {
                assert_eq!(window.allow(max(1000), at(now)), Verdict::Allowed);
            }
            // Up to the moment at which the low bits of the first are those of just now.
            let calls = (1 << 32) / apart + 1;
            for call in 1..calls {
                assert_eq!(window.allow(max(1000), at(call * apart)), Verdict::Allowed);
            }
            assert_eq!(
                window.allow(max(4), at(calls * apart)),
                Verdict::Allowed,
                "{together} {apart}"
            );
            assert!(window.count(at(calls * apart)) <= 3, "{together} {apart}");
        }
    }

    #[test]
    fn a_second_later_memory_is_given_back_without_being_asked_for() {
        let mut window = Window::new();
        for now in 0..1000 {
            window.allow(max(2000), at(now));
        }
        // Nobody looks at the old ones before.
        window.allow(max(2000), at(SECOND / 2));
        window.allow(max(2000), at(SECOND + 6));
        assert_eq!(window.heap_requests(), 1024);
        // The first look was at the eighth request, as it needed memory.
        window.allow(max(2000), at(SECOND + 7 + 1000));
        assert_eq!(window.heap_requests(), 0);
    }

    #[test]
    fn idle_is_when_nothing_counts() {
        let mut window = Window::new();
        assert!(window.is_idle(at(0)));
        window.allow(max(1), at(10));
        assert_eq!(window.newest(), at(10));
        assert!(!window.is_idle(at(SECOND + 9)));
        assert!(window.is_idle(at(SECOND + 10)));
    }

    #[test]
    fn a_window_is_small() {
        assert!(size_of::<Window>() <= 40);
    }
}
