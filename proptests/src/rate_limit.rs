//! The rate limiter against a count of everything, for property tests and fuzzers alike.
//!
//! Promises: [`check`] runs a [`Plan`] on the limiter and on an oracle that keeps every request it ever
//! allowed and counts them anew each time; decisions, waiting times, places and the busiest clients are the
//! same at each step, or it panics. The same input makes the same plan; the moments it holds gather
//! around the edges (a window after an earlier one, the repeat of the low 32 bits, the end of time, backwards).
//! Leaves to the caller: the input.

use arbitrary::{Arbitrary, Result, Unstructured};
use metricstream::admission::auth::ClientId;
use metricstream::admission::rate_limit::{ClientUse, Decision, RateLimiter, RateLimits};
use metricstream::clock::Instant;
use metricstream::limits::RATE_WINDOW;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

/// A limiter and what it is asked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests in a window.
    pub requests_max: u32,
    /// Clients tracked.
    pub clients_max: usize,
    /// Stripes, a prime.
    pub stripes: usize,
    /// What happens, in order, each at its moment in nanoseconds.
    pub steps: Vec<(u64, Step)>,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request of a client.
    Allow(u8),
    /// One with a limit of its own.
    AllowUpTo(u8, u32),
    /// Idle clients are forgotten.
    Sweep,
    /// The busiest clients, so many.
    Top(u8),
}

/// The window in nanoseconds.
#[must_use]
pub fn window_nanos() -> u64 {
    u64::try_from(RATE_WINDOW.as_nanos()).expect("a second")
}

/// The client with this number.
#[must_use]
pub fn client(number: u32) -> ClientId {
    ClientId::from_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
}

impl Plan {
    /// The plan that `raw` makes.
    #[must_use]
    pub fn of(raw: &[u8]) -> Self {
        Self::arbitrary(&mut Unstructured::new(raw)).expect("bytes that run out are zeros")
    }
}

impl<'a> Arbitrary<'a> for Plan {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let requests_max = *u.choose(&[1, 2, 3, 4, 5, 9, 40])?;
        let stripes = *u.choose(&[2, 3, 7])?;
        // Some stripes hold more clients than one insert corrects tickets of.
        let clients_max = stripes + *u.choose(&[0, 1, 3, 7, 12, 30, 60])?;
        let mut now = *u.choose(&[0, 0, (1 << 32) - 5, u64::MAX - 3 * window_nanos()])?;
        let is_calm = u.ratio(1, 8)?;
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < 400 {
            let step = if is_calm {
                now = now.saturating_add(u.int_in_range(window_nanos() / 4..=window_nanos() - 1)?);
                calm_step(u)?
            } else {
                now = next_moment(u, now, &steps)?;
                busy_step(u)?
            };
            steps.push((now, step));
        }
        Ok(Self {
            requests_max,
            clients_max,
            stripes,
            steps,
        })
    }
}

fn busy_step(u: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match u.int_in_range(0..=31_u8)? {
        0 => Step::Sweep,
        1 => Step::Top(u.int_in_range(0..=20)?),
        // A few busy ones, a crowd, and now and then someone new.
        2..=5 => Step::Allow(u.arbitrary()?),
        6..=15 => Step::Allow(u.int_in_range(0..=30)?),
        // Lower and higher than before, for a client that is held to the others' limit, too.
        16..=19 => Step::AllowUpTo(u.int_in_range(0..=3)?, *u.choose(&[1, 2, 6, 8, 15, 50])?),
        _ => Step::Allow(u.int_in_range(0..=3)?),
    })
}

/// One client that is never idle and far below its limit, so that nothing but the time says to look at what
/// no longer counts; now and then a low limit asks whether it was.
fn calm_step(u: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match u.int_in_range(0..=7_u8)? {
        0 => Step::AllowUpTo(0, u.int_in_range(1..=4)?),
        1 => Step::Top(1),
        _ => Step::AllowUpTo(0, 40),
    })
}

/// A moment near `now`, or in a telling distance of an earlier one.
fn next_moment(u: &mut Unstructured<'_>, now: u64, steps: &[(u64, Step)]) -> Result<u64> {
    let window = window_nanos();
    Ok(match u.int_in_range(0..=11_u8)? {
        0..=3 => now,
        4 => now.saturating_add(1),
        5 => now.saturating_add(u.int_in_range(0..=window / 4)?),
        6 => now.saturating_add(u.int_in_range(0..=3 * window)?),
        7 | 8 if !steps.is_empty() => {
            // One nanosecond before, at or after an earlier moment is a window old.
            let recent = &steps[steps.len().saturating_sub(50)..];
            let (earlier, _) = *u.choose(recent)?;
            now.max(earlier.saturating_add(window - 1 + u.int_in_range(0..=2)?))
        }
        9 => now.saturating_add((1 << 32) - 2 + u.int_in_range(0..=4)?),
        10 => now.saturating_sub(u.int_in_range(0..=3 * window)?),
        _ => now.saturating_sub(u.int_in_range(0..=3)?),
    })
}

/// Runs the plan on both and compares. Says how many were allowed, refused, and turned away.
///
/// # Panics
/// When they differ.
pub fn check(plan: &Plan) -> [usize; 3] {
    let limits = RateLimits {
        requests_max: NonZeroU32::new(plan.requests_max),
        clients_max: plan.clients_max,
        stripes: plan.stripes,
    };
    let limiter = RateLimiter::new(limits);
    let mut oracle = Oracle::new(plan);
    let mut seen = [0; 3];
    for (index, &(nanos, step)) in plan.steps.iter().enumerate() {
        let now = Instant::from_nanos(nanos);
        let context = || format!("step {index}, {step:?} at {nanos}, of {plan:?}");
        match step {
            Step::Allow(number) | Step::AllowUpTo(number, _) => {
                let id = client(number.into());
                let stripe = limiter.stripe_of(id);
                let share = limiter.share_of(stripe);
                let (requests_max, decision) = match step {
                    Step::AllowUpTo(_, max) => (max, limiter.allow_up_to(NonZeroU32::new(max), id, now)),
                    _ => (plan.requests_max, limiter.allow(id, now)),
                };
                let expected = oracle.allow(stripe, share, number, requests_max as usize, nanos);
                assert_eq!(decision, expected, "{}", context());
                seen[match expected {
                    Decision::Allowed => 0,
                    Decision::Refused { .. } => 1,
                    Decision::TableFull { .. } => 2,
                }] += 1;
            }
            Step::Sweep => {
                oracle.advance_all(nanos);
                limiter.sweep(now);
                assert_eq!(limiter.clients(), oracle.in_use(), "{}", context());
            }
            Step::Top(wanted) => {
                oracle.advance_all(nanos);
                let top = limiter.top(wanted.into(), now);
                assert_eq!(top, oracle.top(wanted.into()), "{}", context());
            }
        }
        let clients = limiter.clients();
        assert!(clients <= plan.clients_max, "{}", context());
        assert!(clients >= oracle.in_use(), "{}", context());
    }
    seen
}

/// Everything that was ever allowed, by stripe and client, and the latest moment of each stripe.
struct Oracle {
    stripes: Vec<(u64, BTreeMap<u8, Vec<u64>>)>,
}

/// How many of these moments lie in the window that ends at `now`, which may be after the end of time.
fn count(times: &[u64], now: u128) -> usize {
    let counts = |time: &&u64| now - u128::from(**time) < u128::from(window_nanos());
    times.iter().filter(counts).count()
}

impl Oracle {
    fn new(plan: &Plan) -> Self {
        Self {
            stripes: vec![(0, BTreeMap::new()); plan.stripes],
        }
    }

    fn advance_all(&mut self, nanos: u64) {
        for (now, _) in &mut self.stripes {
            *now = nanos.max(*now);
        }
    }

    fn allow(
        &mut self,
        stripe: usize,
        share: usize,
        client: u8,
        requests_max: usize,
        asked_at: u64,
    ) -> Decision {
        let (now, clients) = &mut self.stripes[stripe];
        *now = asked_at.max(*now);
        let now = *now;
        // The first moment at which it would be so, sought and not calculated.
        let wait = |free: &dyn Fn(u128) -> bool, times: &mut dyn Iterator<Item = u64>| {
            let moment = times
                .map(|time| u128::from(time) + u128::from(window_nanos()))
                .filter(|&moment| free(moment))
                .min()
                .expect("it is free some day");
            Duration::from_nanos(u64::try_from(moment - u128::from(asked_at)).expect("it is soon"))
        };
        let used = clients.get(&client).map_or(0, |times| count(times, now.into()));
        if used == 0 {
            let in_use = |moment: u128| clients.values().filter(|times| count(times, moment) > 0).count();
            if in_use(now.into()) >= share {
                let mut times = clients
                    .values()
                    .flatten()
                    .copied()
                    .filter(|time| now - time < window_nanos());
                let retry_after = wait(&|moment| in_use(moment) < share, &mut times);
                return Decision::TableFull { retry_after };
            }
        }
        let times = clients.entry(client).or_default();
        if used < requests_max {
            times.push(now);
            return Decision::Allowed;
        }
        let recent = times.clone();
        let mut counting = recent.iter().copied().filter(|time| now - time < window_nanos());
        Decision::Refused {
            retry_after: wait(&|moment| count(times, moment) < requests_max, &mut counting),
        }
    }

    /// Each client that counts, with how often.
    fn uses(&self) -> impl Iterator<Item = ClientUse> {
        self.stripes.iter().flat_map(|(now, clients)| {
            clients.iter().map(|(&number, times)| ClientUse {
                requests: count(times, (*now).into()),
                client: client(number.into()),
            })
        })
    }

    fn in_use(&self) -> usize {
        self.uses().filter(|in_use| in_use.requests > 0).count()
    }

    fn top(&self, wanted: usize) -> Vec<ClientUse> {
        let mut all: Vec<_> = self.uses().filter(|in_use| in_use.requests > 0).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(wanted);
        all
    }
}
