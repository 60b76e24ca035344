//! Contenders that take turns, so that what else the machine does meets all of them.
//!
//! Promises: turns that count come after some that do not, when the caches are warm. With `--test`, a smoke
//! run, there are as few as a median needs. Leaves to the bench: short turns, a millisecond or two, in which
//! each contender has one.

/// Turns that count.
const TURNS: usize = 200;

/// Turns before them.
const TURNS_WARM: usize = 100;

/// What came of the turns.
#[derive(Debug)]
pub struct Taken<T>(Vec<T>);

/// Has `turn` called for each turn.
pub fn take<T>(turn: impl FnMut() -> T) -> Taken<T> {
    let is_smoke = std::env::args().any(|argument| argument == "--test");
    let (warm, count) = if is_smoke { (0, 1) } else { (TURNS_WARM, TURNS) };
    let taken = std::iter::repeat_with(turn).take(warm + count);
    Taken(taken.skip(warm).collect())
}

impl<T> Taken<T> {
    /// The median of what `of` says of each turn.
    ///
    /// # Panics
    /// Never: there is a turn.
    pub fn median(&self, of: impl Fn(&T) -> u64) -> u64 {
        let mut values: Vec<_> = self.0.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    }
}
