//! The stop flag with any number of waiters and looks.

use metricstream::sync::shim::{Arc, thread};
use metricstream::sync::stop::Stop;
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// STOP-STAYS, STOP-WAKES: waiters with and without a time-out all wake, and nobody sees it undone.
    #[test]
    fn every_waiter_wakes_and_it_stays(waiters in prop::collection::vec(any::<bool>(), 0..8), requests in 1_usize..4) {
        let stop = Arc::new(Stop::new());
        let threads: Vec<_> = waiters.into_iter().map(|timed| {
            let stop = Arc::clone(&stop);
            let wait = move || {
                if timed {
                    assert!(stop.wait_timeout(Duration::from_secs(60)), "it comes within a minute");
                } else {
                    stop.wait();
                }
                stop.is_requested()
            };
            thread::spawn("waiter", wait).unwrap()
        }).collect();
        prop_assert!(!stop.is_requested());
        for _ in 0..requests {
            stop.request();
            prop_assert!(stop.is_requested());
        }
        for thread in threads {
            prop_assert!(thread.join().unwrap());
        }
        prop_assert!(stop.wait_timeout(Duration::ZERO));
    }
}
