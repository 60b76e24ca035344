//! From the bytes of a body to the lines that the log stores: decode, validate, encode.
//!
//! That the lines read back is checked before anything is measured. `METRIC_COUNT=usual:1000:200` runs it a
//! number of times and ends, for counting instructions.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up data"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use metricstream::clock::WallTime;
use metricstream::metric::{Limits, Scratch, decode, time};
use metricstream_benches::bodies::{Shape, body};

fn store(body: &[u8], scratch: &mut Scratch, lines: &mut Vec<u8>) -> usize {
    lines.clear();
    let draft = decode(body, &Limits::default(), scratch).expect("a good body");
    let batch = draft.validate().expect("a good body");
    batch.encode(WallTime::from_epoch_millis(1_767_323_045_678), lines);
    black_box(&*lines).len()
}

fn decode_validate_encode(criterion: &mut Criterion) {
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("store/{}", shape.name()));
        for count in [3, 100, 1000, 10_000] {
            let body = body(shape, count);
            let (mut scratch, mut lines) = (Scratch::default(), Vec::new());
            store(&body, &mut scratch, &mut lines);
            let read = lines
                .split_inclusive(|&byte| byte == b'\n')
                .map(serde_json::from_slice::<serde_json::Value>);
            assert_eq!(read.filter(Result::is_ok).count(), count);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(BenchmarkId::new("metricstream", count), &body, |bencher, body| {
                bencher.iter(|| store(body, &mut scratch, &mut lines));
            });
        }
        group.finish();
    }
}

fn format_time(criterion: &mut Criterion) {
    criterion.bench_function("time/format", |bencher| {
        bencher.iter(|| time::format(black_box(1_767_323_045_678)));
    });
    criterion.bench_function("time/parse", |bencher| {
        bencher.iter(|| time::parse(black_box(b"2026-01-02T03:04:05.678Z")));
    });
}

criterion_group!(benches, decode_validate_encode, format_time);

/// Runs what `METRIC_COUNT` asks for, for an instruction counter; whether it asks for anything.
fn count() -> bool {
    let Ok(what) = std::env::var("METRIC_COUNT") else {
        return false;
    };
    let parts: Vec<&str> = what.split(':').collect();
    let [shape, count, times] = parts[..] else {
        panic!("METRIC_COUNT=shape:metrics:times");
    };
    let shape = Shape::ALL
        .into_iter()
        .find(|known| known.name() == shape)
        .expect("a shape");
    let body = body(shape, count.parse().expect("a number"));
    let (mut scratch, mut lines) = (Scratch::default(), Vec::new());
    for _ in 0..times.parse::<usize>().expect("a number") {
        store(&body, &mut scratch, &mut lines);
    }
    eprintln!("{} bytes", body.len());
    true
}

fn main() {
    if !count() {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
