//! The ring beside rtrb: a push and a pop on one thread, and items handed from one thread to another.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::disallowed_methods, reason = "benches use real threads")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use metricstream::sync::ring::ring;
use std::hint::black_box;
use std::time::Duration;

const CAPACITY: usize = 1024;
/// Tells the consumer to end.
const LAST: u64 = u64::MAX;

/// A ring as the benches use it: two closures.
type Ends<Push, Pop> = (Push, Pop);

fn ours() -> Ends<impl FnMut(u64) -> bool + Send, impl FnMut() -> Option<u64> + Send> {
    let (mut producer, mut consumer) = ring::<u64>(CAPACITY);
    (move |item| producer.push(item).is_ok(), move || consumer.pop())
}

fn rtrb() -> Ends<impl FnMut(u64) -> bool + Send, impl FnMut() -> Option<u64> + Send> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(CAPACITY);
    (
        move |item| producer.push(item).is_ok(),
        move || consumer.pop().ok(),
    )
}

/// Fills, empties and overfills a ring twice: what is timed below is a queue.
fn check((mut push, mut pop): Ends<impl FnMut(u64) -> bool, impl FnMut() -> Option<u64>>) {
    for _ in 0..2 {
        assert!((0..CAPACITY as u64).all(&mut push), "there is room");
        assert!(!push(LAST), "a full ring refuses");
        assert!((0..CAPACITY as u64).all(|item| pop() == Some(item)), "in order");
        assert_eq!(pop(), None);
    }
}

fn one_thread(criterion: &mut Criterion) {
    check(ours());
    check(rtrb());
    let mut group = criterion.benchmark_group("ring/push_and_pop");
    push_and_pop(&mut group, "ours", ours());
    push_and_pop(&mut group, "rtrb", rtrb());
    group.finish();
}

fn push_and_pop(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (mut push, mut pop): Ends<impl FnMut(u64) -> bool, impl FnMut() -> Option<u64>>,
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            assert!(push(black_box(1)));
            pop()
        });
    });
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring/hand_over");
    group.throughput(Throughput::Elements(CAPACITY as u64));
    hand_over(&mut group, "ours", ours());
    hand_over(&mut group, "rtrb", rtrb());
    group.finish();
}

/// The consumer runs on a thread of its own; one iteration hands over a ring's worth.
fn hand_over(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (mut push, mut pop): Ends<impl FnMut(u64) -> bool, impl FnMut() -> Option<u64> + Send + 'static>,
) {
    let popping = std::thread::spawn(move || {
        let mut expected = 0;
        loop {
            match pop() {
                Some(LAST) => return,
                Some(item) => {
                    assert_eq!(item, expected, "in order");
                    expected = (item + 1) % CAPACITY as u64;
                }
                None => std::thread::yield_now(),
            }
        }
    });
    let mut push = |item: u64| {
        while !push(item) {
            std::thread::yield_now();
        }
    };
    group.bench_function(name, |bencher| {
        bencher.iter(|| (0..CAPACITY as u64).for_each(&mut push));
    });
    push(LAST);
    popping.join().expect("the consumer does not panic");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = one_thread, two_threads
}
criterion_main!(benches);
