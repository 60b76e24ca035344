//! The limiter against governor's keyed limiter: the same keys in the same order, the same limit, and the
//! same clock policy on both sides.
//!
//! governor keeps one word for each client (the cell rate algorithm: an average with a burst); ours keeps
//! each request of the last second, which is what "exact" costs.
//!
//! `own_clock`: each reads its clock for each decision, ours the system's, governor its cycle counter.
//! Decisions come as fast as they are made, so that one client, or a hundred, are far above their limit.
//! `cycle_counter`: the same, and both read the cycle counter, by governor's clock.
//! `given_time`: neither reads a clock. Time is given to both, and passes by [`PACE_NANOS`] a decision, so
//! that the clients are as busy as those of a server at its peak: one is above its limit, a hundred are below
//! theirs, each of a million comes now and then. So is the limiter called in the server, which reads the
//! clock once a turn.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use governor::Quota;
use governor::clock::{Clock, QuantaClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use metricstream::admission::auth::ClientId;
use metricstream::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use metricstream::clock::{Instant, SystemClock};
use metricstream::limits::{CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT, CLIENT_STRIPES};
use metricstream::sync::shim::{Arc, thread};
use metricstream_benches::placement::{run_anywhere, run_on};
use metricstream_benches::turns;
use std::cell::Cell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

type Governor<C> =
    governor::RateLimiter<ClientId, DashMapStateStore<ClientId>, C, NoOpMiddleware<<C as Clock>::Instant>>;

const MILLION: u32 = 1_000_000;

/// Given time passes by this much from decision to decision: some 140,000 a second, a server's peak.
const PACE_NANOS: u64 = 7_000;

/// Decisions of a turn, and of each of two threads that are started for one.
const TURN_DECISIONS: u64 = 20_000;
const TURN_OF_TWO_DECISIONS: u64 = 100_000;

thread_local! {
    /// The time given to the decisions of this thread, in nanoseconds.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// The moment after the last one given to this thread.
fn pass() -> u64 {
    let now = NOW.get() + PACE_NANOS;
    NOW.set(now);
    now
}

/// governor's view of the given time.
#[derive(Clone, Copy, Debug)]
struct Given;

impl Clock for Given {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        pass().into()
    }
}

fn client(number: u32) -> ClientId {
    ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
}

fn limit() -> NonZeroU32 {
    NonZeroU32::new(CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT).expect("not zero")
}

fn limiter() -> RateLimiter {
    RateLimiter::new(RateLimits {
        requests_max: Some(limit()),
        clients_max: 2 * MILLION as usize,
        stripes: CLIENT_STRIPES,
    })
}

fn governors<C: Clock>(clock: C) -> Governor<C> {
    Governor::dashmap_with_clock(Quota::per_second(limit()), clock)
}

fn ours(now: impl Fn() -> Instant + Send + Sync) -> impl Fn(ClientId) -> bool + Send + Sync {
    let limiter = limiter();
    move |client| limiter.allow(client, now()) == Decision::Allowed
}

fn ours_with_own_clock() -> impl Fn(ClientId) -> bool + Send + Sync {
    let clock = SystemClock::new();
    ours(move || clock.now())
}

fn ours_with_cycle_counter() -> impl Fn(ClientId) -> bool + Send + Sync {
    let clock = QuantaClock::default();
    let start = clock.now();
    ours(move || Instant::from_nanos(clock.now().duration_since(start).into()))
}

fn ours_with_given_time() -> impl Fn(ClientId) -> bool + Send + Sync {
    ours(|| Instant::from_nanos(pass()))
}

fn governor_with(clock: impl Clock + Send + Sync) -> impl Fn(ClientId) -> bool + Send + Sync {
    let limiter = governors(clock);
    move |client| limiter.check_key(&client).is_ok()
}

/// Clients in an order that no cache likes.
fn next(state: &mut u32, clients: u32) -> ClientId {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let number = (u64::from(*state) * u64::from(clients)) >> 32;
    client(u32::try_from(number).expect("below the number of clients"))
}

/// What is timed limits each client on its own: in less than a second ours lets exactly the limit through and
/// governor's what is made up for meanwhile besides.
fn check(decide: impl Fn(ClientId) -> bool) {
    let limit = limit().get();
    let allowed = (0..limit + limit / 2)
        .filter(|_| decide(client(u32::MAX)))
        .count();
    let spare = u64::from(limit + limit / 2) * PACE_NANOS * u64::from(limit) / 1_000_000_000;
    let most = u64::from(limit) + spare;
    assert!(
        (u64::from(limit)..=most).contains(&u64::try_from(allowed).expect("few")),
        "{allowed} allowed"
    );
    assert!(decide(client(u32::MAX - 1)), "another client has its own limit");
}

fn one_thread(criterion: &mut Criterion) {
    for clients in [1, 100, MILLION] {
        time(criterion, "own_clock", "ours", clients, ours_with_own_clock());
        time(
            criterion,
            "own_clock",
            "governor",
            clients,
            governor_with(QuantaClock::default()),
        );
        time(criterion, "given_time", "ours", clients, ours_with_given_time());
        time(criterion, "given_time", "governor", clients, governor_with(Given));
    }
}

/// Lets each client in once. No given time passes, or ours would forget the first while the last come.
fn get_known(clients: u32, decide: impl Fn(ClientId) -> bool) {
    let now = NOW.get();
    for number in 0..clients {
        NOW.set(now);
        assert!(decide(client(number)), "its first");
    }
}

/// Times decisions on clients that are all known.
fn time(criterion: &mut Criterion, clock: &str, name: &str, clients: u32, decide: impl Fn(ClientId) -> bool) {
    check(&decide);
    get_known(clients, &decide);
    let mut group = criterion.benchmark_group(format!("rate_limit/{clock}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new(name, clients), |bencher| {
        let mut state = 1;
        bencher.iter(|| black_box(decide(next(&mut state, clients))));
    });
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    for clients in [1, 100, MILLION] {
        time_two(criterion, "own_clock", "ours", clients, ours_with_own_clock());
        time_two(
            criterion,
            "own_clock",
            "governor",
            clients,
            governor_with(QuantaClock::default()),
        );
        time_two(criterion, "given_time", "ours", clients, ours_with_given_time());
        time_two(criterion, "given_time", "governor", clients, governor_with(Given));
    }
}

/// As [`time`], on two threads at once; a time is that in which each of them made one decision.
fn time_two(
    criterion: &mut Criterion,
    clock: &str,
    name: &str,
    clients: u32,
    decide: impl Fn(ClientId) -> bool + Send + Sync + 'static,
) {
    get_known(clients, &decide);
    let decide = Arc::new(decide);
    let mut from = NOW.get();
    let mut group = criterion.benchmark_group(format!("rate_limit_2_threads/{clock}"));
    group.throughput(Throughput::Elements(2));
    group.bench_function(BenchmarkId::new(name, clients), |bencher| {
        bencher.iter_custom(|iterations| {
            let took = decide_on_two_threads(&decide, clients, from, iterations);
            from += iterations * PACE_NANOS;
            took
        });
    });
    group.finish();
}

/// Time for so many decisions on each of two threads, on a core of its own where there are two, from a seed
/// of its own and from the given time `from` on.
fn decide_on_two_threads(
    decide: &Arc<impl Fn(ClientId) -> bool + Send + Sync + 'static>,
    clients: u32,
    from: u64,
    decisions: u64,
) -> Duration {
    let other_core = thread::cores().min(2) - 1;
    let clock = SystemClock::new();
    let start = clock.now();
    let threads: Vec<_> = [(0, 1), (other_core, 77)]
        .into_iter()
        .map(|(core, mut state)| {
            let decide = Arc::clone(decide);
            let work = move || {
                run_on(core);
                NOW.set(from);
                for _ in 0..decisions {
                    black_box(decide(next(&mut state, clients)));
                }
            };
            thread::spawn("bench", work).expect("a thread")
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    clock.now().since(start)
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
    let limiter = limiter();
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
    let limiter = governors(QuantaClock::default());
    (0..MILLION).for_each(|number| drop(limiter.check_key(&client(number))));
    let bytes = resident_bytes().saturating_sub(before) / u64::from(MILLION);
    println!("rate_limit/memory: governor {bytes} bytes a client");
}

/// One of two limiters that are timed in turns.
struct Side<F> {
    decide: Arc<F>,
    clients: u32,
    /// The time given to its last decision.
    now: u64,
    state: u32,
}

impl<F: Fn(ClientId) -> bool + Send + Sync + 'static> Side<F> {
    fn new(clients: u32, decide: F) -> Self {
        get_known(clients, &decide);
        let (now, state) = (NOW.get(), 1);
        Self {
            decide: Arc::new(decide),
            clients,
            now,
            state,
        }
    }

    /// Picoseconds a decision.
    fn turn(&mut self) -> u64 {
        NOW.set(self.now);
        let clock = SystemClock::new();
        let start = clock.now();
        for _ in 0..TURN_DECISIONS {
            black_box((self.decide)(next(&mut self.state, self.clients)));
        }
        let took = clock.now().since(start);
        self.now = NOW.get();
        picoseconds_each(took, TURN_DECISIONS)
    }

    /// Picoseconds in which each of two threads, on cores of their own, makes one decision.
    fn turn_of_two(&mut self) -> u64 {
        let took = decide_on_two_threads(&self.decide, self.clients, self.now, TURN_OF_TWO_DECISIONS);
        self.now += TURN_OF_TWO_DECISIONS * PACE_NANOS;
        picoseconds_each(took, TURN_OF_TWO_DECISIONS)
    }
}

fn picoseconds_each(took: Duration, decisions: u64) -> u64 {
    u64::try_from(took.as_nanos()).expect("a short turn") * 1000 / decisions
}

/// Ours and governor's in turns of a millisecond or so, so that what else the machine does meets both:
/// medians, and the median of the ratios of one turn.
fn in_turns(_: &mut Criterion) {
    for clients in [1, 100, MILLION] {
        both(
            "given_time",
            clients,
            ours_with_given_time(),
            governor_with(Given),
        );
        let governor = || governor_with(QuantaClock::default());
        both("cycle_counter", clients, ours_with_cycle_counter(), governor());
        both("own_clock", clients, ours_with_own_clock(), governor());
    }
}

fn both(
    clock: &str,
    clients: u32,
    ours: impl Fn(ClientId) -> bool + Send + Sync + 'static,
    governor: impl Fn(ClientId) -> bool + Send + Sync + 'static,
) {
    let (mut ours, mut governor) = (Side::new(clients, ours), Side::new(clients, governor));
    run_on(0);
    medians(&format!("{clock}/{clients}"), || (ours.turn(), governor.turn()));
    run_anywhere();
    if thread::cores() > 1 {
        let what = format!("two_threads/{clock}/{clients}");
        medians(&what, || (ours.turn_of_two(), governor.turn_of_two()));
    }
}

fn medians(what: &str, turn: impl FnMut() -> (u64, u64)) {
    let taken = turns::take(turn);
    println!(
        "rate_limit/in_turns/{what}: ours {} ps, governor {} ps, ours / governor {} %",
        taken.median(|turn| turn.0),
        taken.median(|turn| turn.1),
        taken.median(|turn| turn.0 * 100 / turn.1)
    );
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! { name = benches; config = quick(); targets = memory, in_turns, one_thread, two_threads }
criterion_main!(benches);
