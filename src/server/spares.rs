//! Emptied buffers, kept for whoever needs one next.
//!
//! A connection at rest has next to no memory of its own, and threads pass connections on to each other. So
//! what a turn needs beyond its thread's buffers, one thread would allocate and another one free, for each
//! request. Here the one leaves it for the other.
//!
//! Promises: what is kept is bounded in buffers and in the size of each, and was allocated for somebody; in
//! steady state nothing is allocated to keep or to lend. Nothing here waits but for the lock, which is held
//! for a push or a pop.
//! Leaves to the caller: to give back what it took. A buffer that is lost is only memory to be allocated
//! again.

use crate::sync::shim::Mutex;

/// Buffers of `T` that nobody uses.
#[derive(Debug)]
pub struct Spares<T> {
    kept: Mutex<Vec<Vec<T>>>,
    buffers_max: usize,
    items_max: usize,
}

impl<T> Spares<T> {
    /// Keeps up to `buffers_max` buffers that have room for `items_max` each at most.
    #[must_use]
    pub fn new(buffers_max: usize, items_max: usize) -> Self {
        Self {
            kept: Mutex::new(Vec::with_capacity(buffers_max)),
            buffers_max,
            items_max,
        }
    }

    /// An empty buffer: the one given last, whatever it has room for, or one without room.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        self.kept.lock().pop().unwrap_or_default()
    }

    /// Keeps the memory of `buffer`, if it is within the bounds; drops what is in it.
    pub fn give(&self, mut buffer: Vec<T>) {
        if buffer.capacity() == 0 || buffer.capacity() > self.items_max {
            return;
        }
        buffer.clear();
        let mut kept = self.kept.lock();
        if kept.len() < self.buffers_max {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_given_last_is_taken_first_and_is_empty() {
        let spares = Spares::new(2, 100);
        assert_eq!(spares.take().capacity(), 0);
        let (first, second) = (vec![1; 10], vec![2; 20]);
        let place = second.as_ptr();
        spares.give(first);
        spares.give(second);
        let taken = spares.take();
        assert_eq!((taken.as_ptr(), taken.len(), taken.capacity()), (place, 0, 20));
        assert_eq!((spares.take().capacity(), spares.take().capacity()), (10, 0));
    }

    #[test]
    fn neither_more_nor_larger_ones_are_kept_than_may_be() {
        let spares = Spares::new(2, 100);
        spares.give(Vec::new());
        spares.give(vec![0; 101]);
        assert_eq!(spares.take().capacity(), 0);
        for items in [100, 1, 2] {
            spares.give(vec![0; items]);
        }
        assert_eq!([(); 3].map(|()| spares.take().capacity()), [1, 100, 0]);
    }
}
