//! Models of `admission::rate_limit`: decisions are exact whatever the threads do.

use metricstream::admission::auth::ClientId;
use metricstream::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use metricstream::clock::Instant;
use metricstream_verification::harness::Bounds;
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, sequences, unordered_pairs};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const STRIPES: usize = 2;
/// Two requests in any one second.
const REQUESTS_MAX: usize = 2;
/// Two clients to a stripe.
const CLIENTS_MAX: usize = 2 * STRIPES;

/// The sequential limiter: for each stripe the latest moment and each client's allowed requests, counted one
/// by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model([Stripe; STRIPES]);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Stripe {
    now: u64,
    /// Clients tracked, in the order in which they were last allowed.
    clients: Vec<(u8, Vec<u64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Call {
    /// Client `client` of stripe `stripe` asks at a moment.
    Allow {
        stripe: usize,
        client: u8,
        at: u64,
    },
    Sweep(u64),
    /// One stripe's part of a sweep.
    SweepStripe(usize, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Return {
    Allowed,
    Refused,
    TableFull,
    Swept,
}

impl Stripe {
    fn counting(times: &[u64], now: u64) -> usize {
        times.iter().filter(|&&time| now - time < SECOND).count()
    }

    fn forget(&mut self, most: usize) {
        for _ in 0..most {
            match self.clients.first() {
                Some((_, times)) if Self::counting(times, self.now) == 0 => drop(self.clients.remove(0)),
                _ => return,
            }
        }
    }

    fn allow(&mut self, client: u8, at: u64) -> Return {
        self.now = self.now.max(at);
        let known = self.clients.iter().position(|(id, _)| *id == client);
        let mut entry = match known {
            Some(index) if Self::counting(&self.clients[index].1, self.now) >= REQUESTS_MAX => {
                return Return::Refused;
            }
            Some(index) => self.clients.remove(index),
            None => {
                self.forget(2);
                if self.clients.len() == CLIENTS_MAX / STRIPES {
                    return Return::TableFull;
                }
                (client, Vec::new())
            }
        };
        entry.1.push(self.now);
        self.clients.push(entry);
        Return::Allowed
    }
}

impl Spec for Model {
    type Call = Call;
    type Return = Return;

    fn step(&self, call: &Call, _world: World) -> Vec<(Self, Return)> {
        let mut next = self.clone();
        let returned = match *call {
            Call::Allow { stripe, client, at } => next.0[stripe].allow(client, at),
            Call::SweepStripe(stripe, at) => {
                let stripe = &mut next.0[stripe];
                stripe.now = stripe.now.max(at);
                stripe.forget(usize::MAX);
                Return::Swept
            }
            Call::Sweep(_) => unreachable!("a sweep is expanded into its stripes"),
        };
        vec![(next, returned)]
    }
}

/// A limiter, and for each stripe three clients that fall on it: the hash is keyed anew for each limiter.
struct Limiter {
    limiter: RateLimiter,
    clients: [Vec<ClientId>; STRIPES],
}

impl Limiter {
    fn new() -> Self {
        let limiter = RateLimiter::new(RateLimits {
            requests_max: NonZeroU32::new(u32::try_from(REQUESTS_MAX).unwrap()),
            clients_max: CLIENTS_MAX,
            stripes: STRIPES,
        });
        let ids = || (0..).map(|n| ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(n))));
        let on = |stripe| {
            ids()
                .filter(|&id| limiter.stripe_of(id) == stripe)
                .take(3)
                .collect()
        };
        let clients = [on(0), on(1)];
        Self { limiter, clients }
    }

    fn call(&self, call: Call) -> Return {
        match call {
            Call::Allow { stripe, client, at } => {
                let id = self.clients[stripe][usize::from(client)];
                match self.limiter.allow(id, Instant::from_nanos(at)) {
                    Decision::Allowed => Return::Allowed,
                    Decision::Refused { .. } => Return::Refused,
                    Decision::TableFull { .. } => Return::TableFull,
                }
            }
            Call::Sweep(_) | Call::SweepStripe(..) => unreachable!("dealt with by the actor"),
        }
    }
}

fn actor(limiter: Arc<Limiter>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, Return>| match *call {
        Call::Sweep(at) => {
            // From outside the steps of a sweep all take as long as the whole.
            let from = recorder.now();
            limiter.limiter.sweep(Instant::from_nanos(at));
            for stripe in 0..STRIPES {
                recorder.note(Call::SweepStripe(stripe, at), Return::Swept, from);
            }
        }
        call => recorder.call(call, |call| limiter.call(*call)),
    })
}

/// RATE_LIMIT-EXACT and RATE_LIMIT-EVICTION: every pair of programs of two calls, over one client within and
/// beyond the window, others of its stripe, one of another stripe, and a sweep.
#[test]
fn all_programs_of_two_calls() {
    let ask = |stripe, client, at| Call::Allow { stripe, client, at };
    let alphabet = [
        ask(0, 0, SECOND),
        ask(0, 0, 2 * SECOND),
        ask(0, 1, SECOND + SECOND / 2),
        ask(0, 2, SECOND),
        ask(1, 0, SECOND),
        Call::Sweep(2 * SECOND),
    ];
    let subject = Subject {
        id: "RATE_LIMIT-EXACT",
        spec: Model::default(),
        actors: |_| {
            let limiter = Arc::new(Limiter::new());
            vec![actor(Arc::clone(&limiter)), actor(limiter)]
        },
        steps: |_, call| match *call {
            Call::Sweep(at) => (0..STRIPES).map(|stripe| Call::SweepStripe(stripe, at)).collect(),
            other => vec![other],
        },
        loom_is_blind: |_| false,
    };
    subject
        .check(
            Bounds::PROGRAM.with_dfs(),
            unordered_pairs(&sequences(&alphabet, 2)),
        )
        .expect(946, 12_498, 1254, 0, 0);
}
