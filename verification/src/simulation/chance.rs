//! Randomness that a seed repeats.
//!
//! Promises: the same seed gives the same numbers. All tasks of an execution run on one system thread, so
//! [`below`] draws from one stream for all of them, in the order in which they come.
//! Leaves to the caller: to [`begin`] each execution.

use std::cell::Cell;

/// A stream of numbers (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Stream(u64);

impl Stream {
    /// The stream of `seed`; another `lane` is another stream.
    #[must_use]
    pub fn new(seed: u64, lane: u64) -> Self {
        let mut stream = Self(seed ^ lane.wrapping_mul(0xd1b5_4a32_d192_ed03));
        stream.next_u64();
        stream
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a small number");
        usize::try_from(self.next_u64() % bound).expect("below a small number")
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

thread_local! {
    static WORLD: Cell<Stream> = const { Cell::new(Stream(0)) };
}

/// Begins the stream of an execution.
pub fn begin(stream: Stream) {
    WORLD.set(stream);
}

/// A number below `bound`, from the stream of the execution.
pub fn below(bound: usize) -> usize {
    let mut stream = WORLD.get();
    let number = stream.below(bound);
    WORLD.set(stream);
    number
}

/// True once in `times`, from the stream of the execution.
pub fn one_in(times: usize) -> bool {
    below(times) == 0
}
