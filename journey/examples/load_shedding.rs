//! Lesson 6.1: what a queue without a bound does to those who wait in it. Simulated, so that it is the same
//! on every machine: no threads, and time is a number.
//!
//! Three requests arrive in each millisecond, two are served. A client gives up after 20 ms, and what is
//! served after that was work for nobody.

use std::collections::VecDeque;
use std::process::ExitCode;

use metricstream_journey::lesson::{self, Explored, Variant};

const ARRIVE: usize = 3;
const SERVE: usize = 2;
const PATIENCE_MS: u64 = 20;
const TIME_MS: u64 = 1000;

/// What became of the requests.
#[derive(Debug, Default)]
struct Sums {
    /// Served in time.
    served: usize,
    /// Served, and the client had gone.
    in_vain: usize,
    /// Told at once.
    refused: usize,
}

fn simulate(queue_max: usize) -> Explored {
    lesson::once(|| {
        let (mut queue, mut sums) = (VecDeque::new(), Sums::default());
        for now in 0..TIME_MS {
            for _ in 0..ARRIVE {
                if queue.len() < queue_max {
                    queue.push_back(now);
                } else {
                    sums.refused += 1;
                }
            }
            for arrived in (0..SERVE).filter_map(|_| queue.pop_front()).collect::<Vec<_>>() {
                if now - arrived <= PATIENCE_MS {
                    sums.served += 1;
                } else {
                    sums.in_vain += 1;
                }
            }
        }
        println!("  queue at the end: {}", queue.len());
        println!("  {sums:?}");
        assert_eq!(
            sums.in_vain, 0,
            "[LESSON] work was done for clients that had gone"
        );
        assert!(sums.served >= SERVE * (usize::try_from(TIME_MS).expect("small") - 1));
    })
}

fn main() -> ExitCode {
    lesson::main(
        "load_shedding",
        &[
            Variant {
                name: "right",
                about: "at most 40 wait, the others are told at once",
                run: || simulate(40),
            },
            Variant {
                name: "wrong",
                about: "everybody may wait",
                run: || simulate(usize::MAX),
            },
        ],
    )
}
