//! A bounded queue from one thread to one other, without locks.
//!
//! Promises: items come out in the order they went in, each exactly once (RING-FIFO); what the producer did
//! before a push happened before the consumer's pop of that item (RING-HB); never more than `capacity` items
//! inside, a push into a full ring gives the item back (RING-BOUND); items left when both halves are gone
//! are dropped once (RING-DROP). Neither side ever waits for the other. Each sees the other as it was at some
//! moment, never one before the last it saw: a push may be refused though room was made since, a pop may find
//! nothing though an item is in (RING-STALE); tried again, both see it.
//! Leaves to the caller: what to do when the ring is full or empty; there is no blocking and no wake-up.
//!
//! Single producer and single consumer are a matter of ownership: the halves are not `Clone`, and their
//! methods take `&mut self`.
//!
//! ```
//! use metricstream::sync::ring::ring;
//! let (mut producer, mut consumer) = ring(2);
//! producer.push("first").unwrap();
//! producer.push("second").unwrap();
//! assert_eq!(producer.push("third").unwrap_err().0, "third");
//! assert_eq!(consumer.pop(), Some("first"));
//! ```
//!
//! # How it works
//! `tail` counts the pushes and `head` the pops, both modulo 2^64 (`usize`); item `n` lives in slot
//! `n % capacity`. As the capacity is a power of two it divides 2^64, so the slot stays right when the
//! counters wrap, and `tail - head` (wrapping) is the number of items inside (RING-WRAP, machine-checked
//! in `verification/proofs`).
//!
//! Each side keeps its own counter in a plain field and its last view of the other side's counter beside
//! it. It reads the shared counter only when that view says full (or empty), so in steady state a push
//! touches one line of the other side once per lap and not once per item.

#![allow(
    unsafe_code,
    reason = "a slot is handed from thread to thread by index, which the borrow checker cannot follow"
)]

use crate::ord;
use crate::sync::cache_line::CacheLine;
use crate::sync::shim::Arc;
use crate::sync::shim::atomic::AtomicUsize;
use crate::sync::shim::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;

/// A ring for `capacity` items, and its two ends.
///
/// # Panics
/// When `capacity` is not a power of two.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring_from(capacity, 0)
}

/// As [`ring`], with both counters starting at `origin`.
///
/// No behaviour depends on `origin`; tests start near `usize::MAX` to see the counters wrap.
///
/// # Panics
/// When `capacity` is not a power of two.
#[must_use]
pub fn ring_from<T>(capacity: usize, origin: usize) -> (Producer<T>, Consumer<T>) {
    assert!(
        capacity.is_power_of_two(),
        "the capacity of a ring is a power of two, not {capacity}"
    );
    let shared = Arc::new(Shared {
        tail: CacheLine(AtomicUsize::new(origin)),
        head: CacheLine(AtomicUsize::new(origin)),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: origin,
        head_seen: origin,
    };
    let consumer = Consumer {
        shared,
        head: origin,
        tail_seen: origin,
    };
    (producer, consumer)
}

/// The end that puts items in.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// The next item's number; `shared.tail` follows it.
    tail: usize,
    /// The last value read of `shared.head`: at least this many items are out.
    head_seen: usize,
}

/// The end that takes items out.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The next item's number; `shared.head` follows it.
    head: usize,
    /// The last value read of `shared.tail`: at least this many items went in.
    tail_seen: usize,
}

/// The ring had no room; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> Producer<T> {
    /// Puts `item` in.
    ///
    /// # Errors
    /// [`Full`] with the item, when `capacity` items are inside.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if !counter::has_room(self.tail, self.head_seen, self.shared.slots.len()) {
            self.head_seen = self.shared.head.load(ord!(RING_RECLAIM, Acquire));
            if !counter::has_room(self.tail, self.head_seen, self.shared.slots.len()) {
                return Err(Full(item));
            }
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: the slot is vacant and this thread's alone. The consumer took its previous item before
            // it stored the `head` that RING_RECLAIM read, and touches the slot again only after the store
            // of `tail` below. There is one producer: it is not `Clone` and this takes `&mut self`.
            unsafe { slot.write(MaybeUninit::new(item)) }
        });
        self.tail = counter::next(self.tail);
        self.shared.tail.store(self.tail, ord!(RING_PUBLISH, Release));
        Ok(())
    }

    /// The most items the ring holds; a power of two.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item out; `None` when nothing is inside.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.load(ord!(RING_OBSERVE, Acquire));
            if self.head == self.tail_seen {
                return None;
            }
        }
        // Under loom this counts as a write, as it should: the item moves out.
        let item = self.shared.slot(self.head).with_mut(|slot| {
            // SAFETY: `head` is below a `tail` that RING_OBSERVE read, so the slot's item was written before
            // that store, and the producer leaves the slot alone until the store of `head` below.
            unsafe { slot.read() }
        });
        self.head = counter::next(self.head);
        self.shared.head.store(self.head, ord!(RING_RELEASE, Release));
        // SAFETY: every slot from `head` to `tail` holds an item, and this slot is now outside that range:
        // the item is read once.
        Some(unsafe { item.assume_init() })
    }

    /// The most items the ring holds; a power of two.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }
}

/// The arithmetic of the counters at one width: the ring's own, and eight bits for the exhaustive test.
macro_rules! counters {
    ($module:ident, $counter:ty) => {
        mod $module {
            /// Whether fewer than `capacity` items are inside after `tail` pushes and `head` pops.
            #[inline]
            pub(super) fn has_room(tail: $counter, head: $counter, capacity: $counter) -> bool {
                tail.wrapping_sub(head) < capacity
            }

            /// The counter after one more item.
            #[inline]
            pub(super) fn next(counter: $counter) -> $counter {
                counter.wrapping_add(1)
            }

            /// Where item `number` lives.
            #[inline]
            pub(super) fn slot(number: $counter, capacity: $counter) -> $counter {
                number & (capacity - 1)
            }
        }
    };
}

counters!(counter, usize);

struct Shared<T> {
    /// Pushes so far (wrapping). Written by the producer, read by the consumer; any `usize`. The Release
    /// store publishes the slots below it (RING_PUBLISH, RING_OBSERVE).
    tail: CacheLine<AtomicUsize>,
    /// Pops so far (wrapping). Written by the consumer, read by the producer; any `usize`, at most
    /// `capacity` behind `tail`. The Release store hands the slots below it back (RING_RELEASE,
    /// RING_RECLAIM).
    head: CacheLine<AtomicUsize>,
    /// Slot `n % capacity` holds item `n` for `head <= n < tail`; the others are vacant.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, number: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[counter::slot(number, self.slots.len())]
    }
}

// SAFETY: sharing a `Shared` between the two halves moves items from one thread to another (hence `T: Send`)
// and never lets two threads refer to one item (hence no `T: Sync`); slots are handed over by the Release
// and Acquire pairs of `head` and `tail`.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both halves are gone: `Arc` made their last stores visible here.
        let tail = self.tail.load(ord!(RING_DROP_TAIL, Relaxed));
        let mut head = self.head.load(ord!(RING_DROP_HEAD, Relaxed));
        while head != tail {
            let item = self.slot(head).with_mut(|slot| {
                // SAFETY: nobody else refers to the slots any more, `&mut self` says so.
                unsafe { slot.read() }
            });
            // SAFETY: every slot from `head` to `tail` holds an item, and `head` steps over this one.
            drop(unsafe { item.assume_init() });
            head = counter::next(head);
        }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full")
    }
}

impl<T> std::error::Error for Full<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_when_full_and_gives_the_item_back() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!(producer.push(1), Ok(()));
        assert_eq!(producer.push(2), Ok(()));
        assert_eq!(producer.push(3), Err(Full(3)));
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(producer.push(3), Ok(()));
        assert_eq!(
            [consumer.pop(), consumer.pop(), consumer.pop()],
            [Some(2), Some(3), None]
        );
    }

    #[test]
    fn counters_wrap() {
        for origin in [usize::MAX, usize::MAX - 1, usize::MAX - 3] {
            let (mut producer, mut consumer) = ring_from(2, origin);
            for n in 0..8 {
                assert_eq!(producer.push(n), Ok(()));
                assert_eq!(producer.push(n + 100), Ok(()));
                assert_eq!(producer.push(0), Err(Full(0)));
                assert_eq!(
                    [consumer.pop(), consumer.pop(), consumer.pop()],
                    [Some(n), Some(n + 100), None]
                );
            }
        }
    }

    counters!(narrow, u8);

    /// RING-WRAP over the whole range of a narrower counter: every capacity and every state a ring can
    /// reach, by the same source text.
    #[test]
    fn index_arithmetic_is_right_for_every_u8() {
        let mut states = 0_u32;
        for capacity in (0..8).map(|shift| 1_u8 << shift) {
            for head in 0..=u8::MAX {
                let mut tail = head;
                let mut taken = [false; 256];
                for inside in 0..=capacity {
                    states += 1;
                    assert_eq!(narrow::has_room(tail, head, capacity), inside < capacity);
                    assert_eq!(tail == head, inside == 0);
                    if inside < capacity {
                        let slot = usize::from(narrow::slot(tail, capacity));
                        assert!(slot < usize::from(capacity));
                        assert!(!std::mem::replace(&mut taken[slot], true));
                        tail = narrow::next(tail);
                    }
                }
            }
        }
        assert_eq!(states, 256 * (255 + 8));
    }

    #[test]
    fn what_is_left_is_dropped_once_whichever_half_goes_first() {
        for producer_first in [true, false] {
            let item = std::rc::Rc::new(());
            let (mut producer, mut consumer) = ring_from(4, usize::MAX - 1);
            for _ in 0..4 {
                producer.push(std::rc::Rc::clone(&item)).unwrap();
            }
            drop(consumer.pop());
            if producer_first {
                drop(producer);
                drop(consumer);
            } else {
                drop(consumer);
                drop(producer);
            }
            assert_eq!(std::rc::Rc::strong_count(&item), 1);
        }
    }

    #[test]
    #[should_panic(expected = "a power of two, not 3")]
    fn a_capacity_that_is_no_power_of_two_is_refused() {
        let _ = ring::<u8>(3);
    }

    #[test]
    #[should_panic(expected = "a power of two, not 0")]
    fn a_capacity_of_zero_is_refused() {
        let _ = ring::<u8>(0);
    }
}
