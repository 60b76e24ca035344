//! The ring: a push and a pop on one thread, and items handed from one thread to another.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::disallowed_methods, reason = "benches use real threads")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::sync::ring::ring;
use std::hint::black_box;
use std::time::Duration;

const CAPACITY: usize = 1024;

fn one_thread(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = ring::<u64>(CAPACITY);
    criterion.bench_function("ring/push_and_pop", |bencher| {
        bencher.iter(|| {
            producer.push(black_box(1)).expect("there is room");
            consumer.pop()
        });
    });
}

/// The consumer runs on a thread of its own; one iteration hands over a ring's worth.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(CAPACITY as u64));
    let (mut producer, mut consumer) = ring::<u64>(CAPACITY);
    let popping = std::thread::spawn(move || {
        loop {
            match consumer.pop() {
                Some(u64::MAX) => return,
                Some(item) => drop(black_box(item)),
                None => std::thread::yield_now(),
            }
        }
    });
    let mut push = |item: u64| {
        while producer.push(item).is_err() {
            std::thread::yield_now();
        }
    };
    group.bench_function("hand_over", |bencher| {
        bencher.iter(|| (0..CAPACITY as u64).for_each(&mut push));
    });
    push(u64::MAX);
    popping.join().expect("the consumer does not panic");
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = one_thread, two_threads
}
criterion_main!(benches);
