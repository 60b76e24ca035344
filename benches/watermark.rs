//! The watermark: a look, a rise that nobody waits for, and a wait that need not.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, criterion_group, criterion_main};
use metricstream::sync::watermark::Watermark;
use std::hint::black_box;
use std::time::Duration;

fn calls(criterion: &mut Criterion) {
    let watermark = Watermark::new(0);
    criterion.bench_function("watermark/get", |bencher| {
        bencher.iter(|| black_box(&watermark).get())
    });
    let mut position = 0;
    criterion.bench_function("watermark/advance", |bencher| {
        bencher.iter(|| {
            position += 1;
            watermark.advance(black_box(position));
        });
    });
    criterion.bench_function("watermark/wait_for_what_is_reached", |bencher| {
        bencher.iter(|| watermark.wait(black_box(0)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = calls
}
criterion_main!(benches);
