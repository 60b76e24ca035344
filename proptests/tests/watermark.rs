//! The watermark against a maximum, and against threads that wait on it.

use metricstream::sync::shim::{Arc, thread};
use metricstream::sync::watermark::{Closed, Watermark};
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// WATERMARK-RISES: any advances, with a close somewhere.
    #[test]
    fn is_the_maximum_until_it_is_closed(
        start in any::<u64>(),
        advances in prop::collection::vec(any::<u64>(), 0..50),
        closed_after in 0_usize..60,
        asked in any::<u64>(),
    ) {
        let watermark = Watermark::new(start);
        let mut reached = start;
        for (index, to) in advances.into_iter().enumerate() {
            if index == closed_after {
                watermark.close();
            }
            if index < closed_after {
                reached = reached.max(to);
            }
            watermark.advance(to);
            prop_assert_eq!(watermark.get(), reached);
        }
        watermark.close();
        let expected = if asked <= reached { Ok(true) } else { Err(Closed { reached }) };
        prop_assert_eq!(watermark.wait(asked).map(|()| true), expected);
        prop_assert_eq!(watermark.wait_timeout(asked, Duration::from_secs(60)), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    /// WATERMARK-WAKES: real threads wait for any positions; each gets what the last position says.
    #[test]
    fn every_waiter_gets_its_answer(
        positions in prop::collection::vec(0_u64..20, 1..6),
        advances in prop::collection::vec(0_u64..20, 0..6),
    ) {
        let watermark = Arc::new(Watermark::new(0));
        let waiters: Vec<_> = positions.iter().map(|&position| {
            let watermark = Arc::clone(&watermark);
            thread::spawn("waiter", move || watermark.wait(position)).unwrap()
        }).collect();
        for &to in &advances {
            watermark.advance(to);
        }
        watermark.close();
        let reached = advances.into_iter().max().unwrap_or(0);
        for (waiter, position) in waiters.into_iter().zip(positions) {
            let expected = if position <= reached { Ok(()) } else { Err(Closed { reached }) };
            prop_assert_eq!(waiter.join().unwrap(), expected);
        }
    }
}
