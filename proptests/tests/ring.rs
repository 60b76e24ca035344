//! The ring against a queue with a bound.

use metricstream::sync::ring::{Full, ring_from};
use proptest::prelude::*;
use std::collections::VecDeque;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RING-FIFO, RING-BOUND, RING-WRAP: any pushes (`true`) and pops, any capacity, counters from anywhere.
    #[test]
    fn behaves_as_a_queue_with_a_bound(
        shift in 0_u32..7,
        origin in prop_oneof![any::<usize>(), (usize::MAX - 100..=usize::MAX)],
        calls in prop::collection::vec(any::<bool>(), 0..400),
    ) {
        let capacity = 1 << shift;
        let (mut producer, mut consumer) = ring_from(capacity, origin);
        let mut model = VecDeque::new();
        for (number, push) in calls.into_iter().enumerate() {
            if push {
                let expected = if model.len() < capacity { Ok(()) } else { Err(Full(number)) };
                if expected.is_ok() {
                    model.push_back(number);
                }
                prop_assert_eq!(producer.push(number), expected);
            } else {
                prop_assert_eq!(consumer.pop(), model.pop_front());
            }
        }
    }

    /// RING-DROP: whatever is inside is dropped once, whichever half goes first.
    #[test]
    fn what_is_inside_is_dropped_once(
        pushes in 0_usize..20,
        pops in 0_usize..20,
        origin in any::<usize>(),
        producer_first in any::<bool>(),
    ) {
        let item = std::rc::Rc::new(());
        let (mut producer, mut consumer) = ring_from(16, origin);
        for _ in 0..pushes {
            let _ = producer.push(std::rc::Rc::clone(&item));
        }
        for _ in 0..pops {
            drop(consumer.pop());
        }
        prop_assert_eq!(std::rc::Rc::strong_count(&item), 1 + pushes.min(16).saturating_sub(pops));
        if producer_first {
            drop(producer);
            drop(consumer);
        } else {
            drop(consumer);
            drop(producer);
        }
        prop_assert_eq!(std::rc::Rc::strong_count(&item), 1);
    }
}
