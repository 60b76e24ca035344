//! Latency of one endpoint: since the start and over the recent window.
//!
//! Promises: quantiles within 1%, in bounded memory: 20 KiB since the start, and half as much for each
//! slot of the window, taken when the first request comes. A latency over a minute counts as a minute.
//! Leaves to the caller: the clock. A slot is a second, so the window ends up to a second early.

use std::time::Duration;

use hdrhistogram::{Counter, Histogram};

use crate::clock::Instant;
use crate::limits::{RECENT_SLOT, RECENT_SLOTS};

/// Longest latency told apart from longer ones, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// The quantiles of a summary.
pub const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// The latencies of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many requests.
    pub count: u64,
    /// Latency at each of [`QUANTILES`], in microseconds.
    pub quantiles_us: [u64; QUANTILES.len()],
    /// The longest, in microseconds.
    pub max_us: u64,
}

impl Quantiles {
    fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        Self {
            count: histogram.len(),
            quantiles_us: QUANTILES.map(|quantile| histogram.value_at_quantile(quantile)),
            max_us: histogram.max(),
        }
    }
}

/// The latency of one endpoint.
#[derive(Debug)]
pub struct Latency {
    since_start: Histogram<u64>,
    sum: Duration,
    /// Empty until there is a request.
    recent: Vec<Histogram<u32>>,
}

fn histogram<C: Counter>() -> Histogram<C> {
    // Two significant figures.
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are constants")
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            since_start: histogram(),
            sum: Duration::ZERO,
            recent: Vec::new(),
        }
    }
}

impl Latency {
    /// Counts a request in the slot `slot`, below [`RECENT_SLOTS`].
    pub fn record(&mut self, latency: Duration, slot: usize) {
        if self.recent.is_empty() {
            self.recent = (0..RECENT_SLOTS).map(|_| histogram()).collect();
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.since_start.saturating_record(micros);
        self.recent[slot].saturating_record(micros);
        self.sum = self.sum.saturating_add(latency);
    }

    /// Empties the slot `slot` for what comes now.
    pub fn begin(&mut self, slot: usize) {
        if let Some(histogram) = self.recent.get_mut(slot)
            && !histogram.is_empty()
        {
            histogram.reset();
        }
    }

    /// Since the start.
    #[must_use]
    pub fn since_start(&self) -> Quantiles {
        Quantiles::of(&self.since_start)
    }

    /// The sum of all latencies since the start.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Over the recent window.
    #[must_use]
    pub fn recent(&self) -> Quantiles {
        let mut used = self.recent.iter().filter(|slot| !slot.is_empty());
        let Some(first) = used.next() else {
            return Quantiles::default();
        };
        let mut all = first.clone();
        for slot in used {
            all.add(slot).expect("all have the same bounds");
        }
        Quantiles::of(&all)
    }
}

/// The place of `now` in the recent window.
#[derive(Debug, Default)]
pub struct Slots {
    current: usize,
    began: Instant,
    /// Slots begun, this one included; more than there are once the window is whole.
    begun: usize,
}

impl Slots {
    /// The slot of what comes now.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current
    }

    /// Moves on to `now` and calls `begin` for each slot that begins.
    pub fn advance(&mut self, now: Instant, mut begin: impl FnMut(usize)) {
        if self.begun == 0 {
            (self.begun, self.began) = (1, now);
        }
        let gone = now.since(self.began).as_nanos() / RECENT_SLOT.as_nanos();
        let gone = usize::try_from(gone).unwrap_or(usize::MAX);
        for _ in 0..gone.min(RECENT_SLOTS) {
            self.current = (self.current + 1) % RECENT_SLOTS;
            begin(self.current);
        }
        let whole = u64::try_from(RECENT_SLOT.as_nanos()).unwrap_or(u64::MAX);
        let whole = whole.saturating_mul(gone as u64);
        self.began = self.began.after(Duration::from_nanos(whole));
        self.begun = self.begun.saturating_add(gone);
    }

    /// The time that the slots cover at `now`.
    #[must_use]
    pub fn covered(&self, now: Instant) -> Duration {
        let whole = u32::try_from(self.begun.clamp(1, RECENT_SLOTS) - 1).unwrap_or(u32::MAX);
        whole * RECENT_SLOT + now.since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn the_recent_window_forgets_and_the_start_does_not() {
        let (mut latency, mut slots) = (Latency::default(), Slots::default());
        assert_eq!(latency.recent(), Quantiles::default());
        for second in 0..25_u64 {
            slots.advance(at(500 + second * 1000), |slot| latency.begin(slot));
            latency.record(Duration::from_micros(100 + second), slots.current());
        }
        assert_eq!(latency.since_start().count, 25);
        let recent = latency.recent();
        assert_eq!((recent.count, recent.max_us), (10, 124));
        assert_eq!(slots.covered(at(24_600)), Duration::from_millis(9_100));
        slots.advance(at(10_000_000), |slot| latency.begin(slot));
        assert_eq!(latency.recent().count, 0);
        assert_eq!(latency.since_start().count, 25);
    }

    #[test]
    fn a_latency_beyond_the_histogram_counts_as_its_longest() {
        let mut latency = Latency::default();
        latency.record(Duration::MAX, 0);
        assert_eq!(latency.since_start().count, 1);
        assert_eq!(latency.sum(), Duration::MAX);
    }
}
