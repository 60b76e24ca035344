//! The limiter against governor's keyed limiter: the same keys, the same limit, both reading the clock.
//!
//! governor keeps one word for each client (the cell rate algorithm: an average with a burst); ours keeps
//! each request of the last second, which is what "exact" costs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use governor::Quota;
use governor::clock::QuantaClock;
use governor::state::keyed::DashMapStateStore;
use metricstream::admission::auth::ClientId;
use metricstream::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use metricstream::clock::{Instant, SystemClock};
use metricstream::limits::{CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT, CLIENT_STRIPES};
use metricstream::sync::shim::{Arc, thread};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

type Governor = governor::RateLimiter<ClientId, DashMapStateStore<ClientId>, QuantaClock>;

const MILLION: u32 = 1_000_000;

fn client(number: u32) -> ClientId {
    ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
}

fn limit() -> NonZeroU32 {
    NonZeroU32::new(CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT).expect("not zero")
}

fn ours() -> RateLimiter {
    RateLimiter::new(RateLimits {
        requests_max: Some(limit()),
        clients_max: 2 * MILLION as usize,
        stripes: CLIENT_STRIPES,
    })
}

fn governors() -> Governor {
    Governor::dashmap_with_clock(Quota::per_second(limit()), QuantaClock::default())
}

/// Clients in an order that no cache likes.
fn next(state: &mut u32, clients: u32) -> ClientId {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let number = (u64::from(*state) * u64::from(clients)) >> 32;
    client(u32::try_from(number).expect("below the number of clients"))
}

fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("rate_limit");
    group.throughput(Throughput::Elements(1));
    for clients in [1, 100, MILLION] {
        let clock = SystemClock::new();
        let limiter = ours();
        for number in 0..clients {
            limiter.allow(client(number), clock.now());
        }
        group.bench_function(BenchmarkId::new("ours", clients), |b| {
            let mut state = 1;
            b.iter(|| black_box(limiter.allow(next(&mut state, clients), clock.now())));
        });
        let limiter = governors();
        (0..clients).for_each(|number| drop(limiter.check_key(&client(number))));
        group.bench_function(BenchmarkId::new("governor", clients), |b| {
            let mut state = 1;
            b.iter(|| black_box(limiter.check_key(&next(&mut state, clients)).is_ok()));
        });
    }
    group.finish();
}

/// Time for `iterations` calls on each of two threads.
fn on_two_threads(iterations: u64, body: impl Fn(u32, u64) + Clone + Send + 'static) -> Duration {
    let clock = SystemClock::new();
    let start = clock.now();
    let threads: Vec<_> = [1, 77]
        .into_iter()
        .map(|seed| {
            let body = body.clone();
            thread::spawn("bench", move || body(seed, iterations)).expect("a thread")
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    clock.now().since(start)
}

fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("rate_limit_2_threads");
    group.throughput(Throughput::Elements(2));
    for clients in [1, 100, MILLION] {
        let limiter = Arc::new(ours());
        group.bench_function(BenchmarkId::new("ours", clients), |b| {
            b.iter_custom(|iterations| {
                let limiter = Arc::clone(&limiter);
                let clock = SystemClock::new();
                on_two_threads(iterations, move |mut state, iterations| {
                    for _ in 0..iterations {
                        black_box(limiter.allow(next(&mut state, clients), clock.now()));
                    }
                })
            });
        });
        let limiter = Arc::new(governors());
        group.bench_function(BenchmarkId::new("governor", clients), |b| {
            b.iter_custom(|iterations| {
                let limiter = Arc::clone(&limiter);
                on_two_threads(iterations, move |mut state, iterations| {
                    for _ in 0..iterations {
                        black_box(limiter.check_key(&next(&mut state, clients)).is_ok());
                    }
                })
            });
        });
    }
    group.finish();
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

/// Not a time: what a million clients with one request each take, and what a sweep gives back.
fn memory(_: &mut Criterion) {
    let before = resident_bytes();
    let limiter = ours();
    for number in 0..MILLION {
        assert_eq!(limiter.allow(client(number), Instant::ZERO), Decision::Allowed);
    }
    let per_client = |bytes: u64| bytes.saturating_sub(before) / u64::from(MILLION);
    let full = per_client(resident_bytes());
    limiter.sweep(Instant::from_nanos(2_000_000_000));
    println!(
        "rate_limit/memory: ours {full} bytes a client, {} after a sweep",
        per_client(resident_bytes())
    );
    let before = resident_bytes();
    let limiter = governors();
    (0..MILLION).for_each(|number| drop(limiter.check_key(&client(number))));
    let bytes = resident_bytes().saturating_sub(before) / u64::from(MILLION);
    println!("rate_limit/memory: governor {bytes} bytes a client");
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! { name = benches; config = quick(); targets = memory, one_thread, two_threads }
criterion_main!(benches);
