//! The mutex pool: one access, and a walk over all stripes.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, criterion_group, criterion_main};
use metricstream::limits::CLIENT_STRIPES;
use metricstream::sync::mutex_pool::MutexPool;
use std::hint::black_box;
use std::time::Duration;

fn accesses(criterion: &mut Criterion) {
    let pool = MutexPool::new(CLIENT_STRIPES, |_| 0_u64);
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    criterion.bench_function("mutex_pool/with", |bencher| {
        bencher.iter(|| {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            pool.with(black_box(hash), |count| *count += 1);
        });
    });
    criterion.bench_function("mutex_pool/for_each", |bencher| {
        bencher.iter(|| {
            let mut total = 0;
            pool.for_each(|_, count| total += *count);
            total
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = accesses
}
criterion_main!(benches);
