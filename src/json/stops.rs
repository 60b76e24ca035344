//! Where plain text stops, found ahead of whoever asks.
//!
//! A reader that looks for the end of each text waits for the end of the one before it. Here the offsets of
//! all `"`, `\` and control characters are found first, some hundred at a time and 64 bytes at once; a reader
//! that knows how many of them stand between two values finds every value's end at once.
//!
//! Promises: [`Stops::from`] gives the offsets of the stops at or after `at`, in order, leaving none out;
//! each byte of a document is looked at once, whatever is asked; memory is fixed. Leaves to the caller: to
//! ask for offsets that do not go back, to ask of one document between two calls of [`Stops::clear`], and
//! what stops outside of texts are.

use super::scan;

/// Most stops that can be asked for at once.
pub(crate) const STOPS_MAX: usize = 256;

/// Room for those asked for, when all but one of them are there, and for a block.
const ROOM: usize = 1024;

const _: () = assert!(ROOM >= STOPS_MAX + 2 * scan::BLOCK);

/// The stops of one document from where its reader is. Memory that is used again.
#[derive(Debug)]
pub(crate) struct Stops {
    /// Of stops, those in `next..end` after the reader.
    offsets: [u32; ROOM],
    next: usize,
    end: usize,
    /// Bytes before this one were looked at, or passed by.
    seen: usize,
}

impl Default for Stops {
    fn default() -> Self {
        Self {
            offsets: [0; ROOM],
            next: 0,
            end: 0,
            seen: 0,
        }
    }
}

impl Stops {
    /// Before the first byte of another document.
    pub(crate) fn clear(&mut self) {
        (self.next, self.end, self.seen) = (0, 0, 0);
    }

    /// The stops of `bytes` at or after `at`, at least `count` of them; nothing when there are fewer. `count`
    /// is at most [`STOPS_MAX`].
    #[inline]
    pub(crate) fn from(&mut self, bytes: &[u8], at: usize, count: usize) -> Option<&[u32]> {
        while self.next < self.end && (self.offsets[self.next] as usize) < at {
            self.next += 1;
        }
        if self.end - self.next < count && self.seen < bytes.len() {
            self.look(bytes, at);
        }
        self.offsets
            .get(self.next..self.end)
            .filter(|stops| stops.len() >= count)
    }

    /// Passes by the next `count` stops, which are there.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        self.next += count;
    }

    /// Looks ahead as far as there is room.
    #[cold]
    #[inline(never)]
    fn look(&mut self, bytes: &[u8], at: usize) {
        self.offsets.copy_within(self.next..self.end, 0);
        (self.next, self.end) = (0, self.end - self.next);
        if self.end == 0 {
            self.seen = self.seen.max(at);
        }
        let (count, seen) = scan::stops(bytes, self.seen, &mut self.offsets[self.end..]);
        self.end += count;
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets at or after `at`, one byte after the other.
    fn expected(bytes: &[u8], at: usize) -> Vec<u32> {
        let stops = (at..bytes.len()).filter(|&at| scan::is_stop(bytes[at]));
        stops.map(|at| u32::try_from(at).unwrap()).collect()
    }

    /// Documents of many lengths, dense and sparse, asked at many places: what is given begins what there is.
    #[test]
    fn none_is_left_out_wherever_the_reader_goes() {
        let mut stops = Stops::default();
        for every in [1, 2, 7, 64, 1000] {
            for length in [0, 1, 15, 63, 64, 65, 200, 5000, 20_000] {
                let mut bytes = vec![b'x'; length];
                bytes.iter_mut().step_by(every).for_each(|byte| *byte = b'"');
                for step in [1, 3, 50, 999] {
                    stops.clear();
                    for at in (0..=length).step_by(step) {
                        let all = expected(&bytes[..bytes.len().min(at + 2 * STOPS_MAX * every)], at);
                        let count = [0, 1, at % STOPS_MAX, STOPS_MAX][at % 4];
                        match stops.from(&bytes, at, count) {
                            Some(given) => {
                                let common = given.len().min(all.len());
                                assert!(given.len() >= count);
                                assert_eq!(given[..common], all[..common], "{every} {length} {at}");
                            }
                            None => assert!(all.len() < count, "{every} {length} {at} {count}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_passed_by_is_not_given_again() {
        let bytes = [b'"'; 300];
        let mut stops = Stops::default();
        assert_eq!(stops.from(&bytes, 0, 3).map(|stops| stops[0]), Some(0));
        stops.pass(3);
        assert_eq!(stops.from(&bytes, 2, 1).map(|stops| stops[0]), Some(3));
        stops.clear();
        assert_eq!(stops.from(&bytes, 0, 1).map(|stops| stops[0]), Some(0));
    }
}
