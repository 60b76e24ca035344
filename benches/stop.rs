//! The stop flag: what a loop pays to look at it.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, criterion_group, criterion_main};
use metricstream::sync::stop::Stop;
use std::hint::black_box;
use std::time::Duration;

fn looks(criterion: &mut Criterion) {
    let stop = Stop::new();
    criterion.bench_function("stop/is_requested", |bencher| {
        bencher.iter(|| black_box(&stop).is_requested());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = looks
}
criterion_main!(benches);
