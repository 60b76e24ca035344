//! From the bytes of a body to validated metrics: MetricStream beside serde_json and sonic-rs.
//!
//! The peers read into borrowed typed structs, tags as a list of pairs; ours checks the bounds as well. That
//! all three read the same values is checked before anything is measured.
//!
//! `JSON_COUNT=ours:usual:1000:200 valgrind --tool=callgrind ...` runs one of them a number of times and
//! ends, for counting instructions.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up data"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use metricstream::metric::{Limits, Scratch, decode};
use metricstream_benches::bodies::{Shape, body};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Deserialize)]
struct Metric<'a> {
    name: &'a str,
    value: f64,
    #[serde(rename = "type", default)]
    kind: Kind,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    timestamp: Option<i64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Gauge,
    Counter,
    Histogram,
    Summary,
}

#[derive(Default)]
struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags<'de>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tags<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(4);
                while let Some(pair) = access.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Tags(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn ours(body: &[u8], scratch: &mut Scratch) -> usize {
    let draft = decode(body, &Limits::default(), scratch).expect("a good body");
    black_box(draft.validate().expect("a good body")).len()
}

fn by_serde_json(body: &[u8]) -> usize {
    black_box(serde_json::from_slice::<Body<'_>>(body).expect("a good body"))
        .metrics
        .len()
}

fn by_sonic_rs(body: &[u8]) -> usize {
    black_box(sonic_rs::from_slice::<Body<'_>>(body).expect("a good body"))
        .metrics
        .len()
}

/// All three read the same.
fn agree(body: &[u8]) {
    let mut scratch = Scratch::default();
    let batch = decode(body, &Limits::default(), &mut scratch)
        .and_then(|draft| draft.validate())
        .expect("a good body");
    let serde: Body<'_> = serde_json::from_slice(body).expect("a good body");
    let sonic: Body<'_> = sonic_rs::from_slice(body).expect("a good body");
    assert_eq!(
        (batch.len(), batch.len()),
        (serde.metrics.len(), sonic.metrics.len())
    );
    for (ours, (serde, sonic)) in batch.metrics().zip(serde.metrics.iter().zip(&sonic.metrics)) {
        let mut name = String::new();
        let mut tags = Vec::new();
        ours.tags()
            .for_each(|key, value| tags.push((key.to_owned(), value.to_owned())));
        for peer in [serde, sonic] {
            assert_eq!(ours.name(&mut name), peer.name);
            assert_eq!(ours.value().to_bits(), peer.value.to_bits());
            assert_eq!(ours.kind() as usize, peer.kind as usize);
            assert_eq!(ours.timestamp(), peer.timestamp);
            let pairs = peer
                .tags
                .0
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(tags, pairs.collect::<Vec<_>>());
        }
    }
}

fn decode_and_validate(criterion: &mut Criterion) {
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("decode_validate/{}", shape.name()));
        for count in [3, 100, 1000] {
            let body = body(shape, count);
            agree(&body);
            let mut scratch = Scratch::default();
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(BenchmarkId::new("metricstream", count), &body, |bencher, body| {
                bencher.iter(|| ours(body, &mut scratch));
            });
            group.bench_with_input(BenchmarkId::new("sonic_rs", count), &body, |bencher, body| {
                bencher.iter(|| by_sonic_rs(body));
            });
            group.bench_with_input(BenchmarkId::new("serde_json", count), &body, |bencher, body| {
                bencher.iter(|| by_serde_json(body));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode_and_validate);

/// Runs what `JSON_COUNT` asks for, for an instruction counter; whether it asks for anything.
fn count() -> bool {
    let Ok(what) = std::env::var("JSON_COUNT") else {
        return false;
    };
    let parts: Vec<&str> = what.split(':').collect();
    let [who, shape, count, times] = parts[..] else {
        panic!("JSON_COUNT=who:shape:metrics:times");
    };
    let shape = Shape::ALL
        .into_iter()
        .find(|known| known.name() == shape)
        .expect("a shape");
    let body = body(shape, count.parse().expect("a number"));
    let mut scratch = Scratch::default();
    for _ in 0..times.parse::<usize>().expect("a number") {
        match who {
            "ours" => ours(&body, &mut scratch),
            "sonic_rs" => by_sonic_rs(&body),
            _ => by_serde_json(&body),
        };
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
