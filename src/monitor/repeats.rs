//! Messages that would be said again and again: the first at once, then how often, once a while.
//!
//! Promises: the first of a series is said when it happens; while the series goes on, its count is said once
//! every [`REPEAT_INTERVAL`]; a series ends after an interval without one.
//! Leaves to the caller: the clock, and to ask again ([`Repeats::due`]) so that the last count is said.

use crate::clock::Instant;
use crate::limits::REPEAT_INTERVAL;

/// One kind of message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeats {
    /// When something was said last, in a series that goes on.
    said: Option<Instant>,
    /// How many were not said since.
    held: u64,
}

/// What to say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It happened so often, for the first time in a while.
    First(u64),
    /// It happened so often since it was last said.
    Again(u64),
}

impl Repeats {
    /// It happened `count` times more (zero only asks). What to say now, if anything.
    pub fn due(&mut self, count: u64, now: Instant) -> Option<Say> {
        self.held = self.held.saturating_add(count);
        match self.said {
            None if self.held == 0 => None,
            None => {
                self.said = Some(now);
                Some(Say::First(std::mem::take(&mut self.held)))
            }
            Some(said) if now.since(said) < REPEAT_INTERVAL => None,
            Some(_) if self.held == 0 => {
                self.said = None;
                None
            }
            Some(_) => {
                self.said = Some(now);
                Some(Say::Again(std::mem::take(&mut self.held)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_is_said_at_once_and_the_rest_as_counts() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.due(0, at(0)), None);
        assert_eq!(repeats.due(2, at(1)), Some(Say::First(2)));
        let mut said = Vec::new();
        for second in 2..=130 {
            let count = u64::from(second <= 100);
            said.extend(repeats.due(count, at(second)).map(|say| (second, say)));
        }
        assert_eq!(said, [(61, Say::Again(60)), (121, Say::Again(39))]);
        assert_eq!(repeats.due(0, at(181)), None);
        assert_eq!(repeats.due(1, at(182)), Some(Say::First(1)), "a series ended");
    }

    #[test]
    fn nothing_that_happened_is_left_out() {
        let mut repeats = Repeats::default();
        let (mut happened, mut told) = (0, 0);
        for second in 0..1000_u64 {
            let count = if second.is_multiple_of(7) { second % 5 } else { 0 };
            happened += count;
            if let Some(Say::First(more) | Say::Again(more)) = repeats.due(count, at(second)) {
                told += more;
            }
        }
        told += repeats.held;
        assert_eq!(told, happened);
    }
}
