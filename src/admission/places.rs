//! Where the clients of a stripe are: from the tag of an id to places in the slab.
//!
//! Promises: finds a place that was put in under the same tag and not taken out since, whatever else was put
//! in and taken out (checked against a map). Entries are in one array, eight bytes each, at most three
//! quarters and, after many came, at least three eighths of them in use; nothing is allocated before the
//! first. A look-up reads a neighbourhood of one entry, mostly one cache line, and asks the slab only where
//! all 32 bits of the tag agree.
//! Leaves to the caller: tags that outsiders cannot choose (a keyed hash), or the neighbourhoods grow long;
//! to put in a place once, and under the tag under which it is taken out.
//!
//! # How it works
//! Linear probing: an entry lies in the first slot, from the one that its tag names on, that was vacant when
//! it came. What is taken out leaves no gap: entries after it move back as far as their tags let them, so a
//! search ends at the first vacant slot. There is one, for a quarter is.

/// Slots of the first array; a power of two.
const SLOTS_MIN: usize = 8;

const VACANT: u64 = 0;

/// Places by tag. Not more than `u32::MAX - 1` of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Each [`VACANT`] or a tag above a place plus one. A power of two of them, or none.
    slots: Box<[u64]>,
    count: usize,
}

impl Places {
    /// Room for `count` places without another allocation.
    pub(super) fn with_room_for(count: usize) -> Self {
        let slots = if count == 0 {
            0
        } else {
            (count + count.div_ceil(3)).next_power_of_two().max(SLOTS_MIN)
        };
        Self {
            slots: vec![VACANT; slots].into_boxed_slice(),
            count: 0,
        }
    }

    /// How many places are in.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The place with this tag of which `is_it` is true.
    #[inline]
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut slot = self.home(tag);
        // Without slots this ends at once.
        while let Some(&entry) = self.slots.get(slot)
            && entry != VACANT
        {
            if tag_of(entry) == tag && is_it(place_of(entry)) {
                return Some(place_of(entry));
            }
            slot = self.after(slot);
        }
        None
    }

    /// Puts in a `place` that is not in.
    pub(super) fn insert(&mut self, tag: u32, place: u32) {
        if self.count == self.slots.len() / 4 * 3 {
            let mut larger = Self::with_room_for(self.count + 1);
            for &entry in self.slots.iter().filter(|&&entry| entry != VACANT) {
                larger.put(entry);
            }
            larger.count = self.count;
            *self = larger;
        }
        self.put(entry_of(tag, place));
        self.count += 1;
    }

    /// Takes out a place that was put in with this tag.
    pub(super) fn remove(&mut self, tag: u32, place: u32) {
        let entry = entry_of(tag, place);
        let mut hole = self.home(tag);
        while self.slots[hole] != entry {
            assert!(self.slots[hole] != VACANT, "what is taken out is in");
            hole = self.after(hole);
        }
        let mut slot = self.after(hole);
        while self.slots[slot] != VACANT {
            // It may move back to the hole if that is not before the slot its tag names.
            let home = self.home(tag_of(self.slots[slot]));
            if self.distance(home, slot) >= self.distance(hole, slot) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
            slot = self.after(slot);
        }
        self.slots[hole] = VACANT;
        self.count -= 1;
    }

    /// Writes an entry to the first vacant slot from its home on; there is one.
    fn put(&mut self, entry: u64) {
        let mut slot = self.home(tag_of(entry));
        while self.slots[slot] != VACANT {
            slot = self.after(slot);
        }
        self.slots[slot] = entry;
    }

    /// The slot that a tag names.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.mask()
    }

    /// The slot after `slot`; the first comes after the last.
    #[inline]
    fn after(&self, slot: usize) -> usize {
        (slot + 1) & self.mask()
    }

    /// How many slots `to` is after `from`.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }
}

fn entry_of(tag: u32, place: u32) -> u64 {
    (u64::from(tag) << 32) + u64::from(place) + 1
}

#[inline]
fn tag_of(entry: u64) -> u32 {
    u32::try_from(entry >> 32).expect("32 bits are left")
}

/// The place of an entry that is not vacant.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the tag is cut off")]
fn place_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Whatever is in is found under its tag and under no other, and what is not in is not.
    fn check(places: &Places, expected: &BTreeMap<u32, u32>) {
        assert_eq!(places.len(), expected.len());
        for place in 0..64 {
            for tag in 0..40 {
                let found = places.find(tag, |other| other == place);
                assert_eq!(
                    found.is_some(),
                    expected.get(&place) == Some(&tag),
                    "{tag} {place}"
                );
                assert!(found.is_none_or(|found| found == place));
            }
        }
    }

    #[test]
    fn equals_a_map_whatever_comes_and_goes() {
        // Tags at the end of every array up to 32 slots, so that neighbourhoods go around, and many alike.
        let tags: [u32; 8] = [0, 1, 7, 7, 15, 30, 31, 39];
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from((state >> 33) % below).unwrap()
        };
        for places_max in [3, 6, 12, 24, 64] {
            let mut places = Places::default();
            let mut expected = BTreeMap::new();
            check(&places, &expected);
            for _ in 0..400 {
                let place = random(places_max);
                if let Some(tag) = expected.remove(&place) {
                    places.remove(tag, place);
                } else {
                    let tag = tags[usize::try_from(random(8)).unwrap()];
                    places.insert(tag, place);
                    expected.insert(place, tag);
                }
                check(&places, &expected);
            }
        }
    }

    #[test]
    fn all_of_a_tag_counts() {
        let mut places = Places::default();
        for tag in [5, 5 + (1 << 20), 5 + (1 << 31), u32::MAX] {
            places.insert(tag, 9);
            assert_eq!(places.find(tag, |_| true), Some(9));
            assert_eq!(places.find(5 + (1 << 25), |_| true), None);
            places.remove(tag, 9);
        }
        places.insert(u32::MAX, u32::MAX - 1);
        assert_eq!(places.find(u32::MAX, |_| true), Some(u32::MAX - 1));
        assert_eq!(places.find(u32::MAX, |_| false), None);
    }

    #[test]
    fn each_tag_has_a_neighbourhood_of_its_own() {
        let mut places = Places::with_room_for(6);
        assert_eq!(places.slots.len(), 8);
        for tag in 90..96 {
            places.insert(tag, tag);
        }
        let tags: Vec<_> = places.slots.iter().map(|&entry| tag_of(entry)).collect();
        assert_eq!(tags, [0, 0, 90, 91, 92, 93, 94, 95]);
    }

    #[test]
    fn memory_follows_what_is_in() {
        let mut places = Places::default();
        assert_eq!(places.slots.len(), 0);
        for count in 1..=1000 {
            places.insert(
                u32::try_from(count).unwrap() * 7919,
                u32::try_from(count).unwrap(),
            );
            let slots = places.slots.len();
            assert!(4 * count <= 3 * slots, "a quarter is vacant: {count} of {slots}");
            assert!(slots == SLOTS_MIN || 8 * count > 3 * slots, "{count} of {slots}");
            let room = Places::with_room_for(count);
            assert_eq!(room.slots.len(), slots, "for {count}");
        }
        assert_eq!(Places::with_room_for(0).slots.len(), 0);
    }

    #[test]
    #[should_panic(expected = "what is taken out is in")]
    fn what_is_not_in_is_not_taken_out() {
        let mut places = Places::default();
        places.insert(1, 1);
        places.remove(1, 2);
    }
}
