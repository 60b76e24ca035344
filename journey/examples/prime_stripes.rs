//! Lesson 4.3: why the number of stripes is a prime.
//!
//! No threads: for every stride up to 64 the stripes that are reached are counted.

use std::collections::BTreeSet;
use std::process::ExitCode;

use metricstream_journey::lesson::{self, Explored, Variant};

/// How many of `stripes` are reached by hashes that are multiples of `stride`.
fn reached(stripes: u64, stride: u64) -> usize {
    let all: BTreeSet<u64> = (0..10_000).map(|number| number * stride % stripes).collect();
    all.len()
}

fn every_stride(stripes: u64) -> Explored {
    lesson::once(|| {
        for stride in [1, 2, 3, 8, 10, 16, 32, 60] {
            println!(
                "  stride {stride:>2}: {:>2} of {stripes} stripes",
                reached(stripes, stride)
            );
        }
        for stride in 1..stripes {
            assert_eq!(
                reached(stripes, stride) as u64,
                stripes,
                "[LESSON] stride {stride} leaves stripes unused"
            );
        }
    })
}

fn main() -> ExitCode {
    lesson::main(
        "prime_stripes",
        &[
            Variant {
                name: "right",
                about: "61 stripes, a prime",
                run: || every_stride(61),
            },
            Variant {
                name: "wrong",
                about: "64 stripes, a power of two",
                run: || every_stride(64),
            },
        ],
    )
}
