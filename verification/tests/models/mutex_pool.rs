//! Models of `sync::mutex_pool`.

use metricstream::sync::mutex_pool::MutexPool;
use metricstream::sync::shim::thread;
use metricstream_verification::harness::{Bounds, explore, switch_point};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, sequences, unordered_pairs};
use std::sync::Arc;

/// What the models need of a pool of counters, so that the faulty ones of `must_fail` run in the same models.
pub(crate) trait Counters: Send + Sync + 'static {
    fn new() -> Self;
    /// Adds one to the counter of `key` and returns what it was.
    fn add(&self, key: u64) -> u32;
    /// Shows each counter in index order.
    fn walk(&self, visit: impl FnMut(u32));
}

/// Two stripes: the smallest prime, and enough for two locks to be taken in two orders.
pub(crate) const STRIPES: usize = 2;

impl Counters for MutexPool<u32> {
    fn new() -> Self {
        Self::new(STRIPES, |_| 0)
    }

    fn add(&self, key: u64) -> u32 {
        self.with(key, |count| {
            let before = *count;
            // Between the load and the store every harness may switch threads, if the lock lets it.
            switch_point();
            *count = before + 1;
            before
        })
    }

    fn walk(&self, mut visit: impl FnMut(u32)) {
        self.for_each(|_, count| visit(*count));
    }
}

/// The sequential pool. A walk is not one step but one for each stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model([u32; STRIPES]);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Add(usize),
    Walk,
    Visit(usize),
}

impl Spec for Model {
    type Call = Call;
    type Return = u32;

    fn step(&self, call: &Call, _world: World) -> Vec<(Self, u32)> {
        let mut next = self.clone();
        let returned = match *call {
            Call::Add(stripe) => {
                next.0[stripe] += 1;
                self.0[stripe]
            }
            Call::Visit(stripe) => self.0[stripe],
            Call::Walk => unreachable!("a walk is expanded into visits"),
        };
        vec![(next, returned)]
    }
}

fn actor<P: Counters>(pool: Arc<P>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, u32>| match call {
        Call::Add(stripe) => recorder.call(call.clone(), |_| pool.add(*stripe as u64)),
        Call::Walk => {
            let mut stripe = 0;
            let mut from = recorder.now();
            pool.walk(|count| {
                recorder.note(Call::Visit(stripe), count, from);
                from = recorder.now();
                stripe += 1;
            });
        }
        Call::Visit(_) => unreachable!("programs hold walks"),
    })
}

fn subject<P: Counters>() -> Subject<Model> {
    Subject {
        id: "MUTEX_POOL-EXCLUSIVE",
        spec: Model::default(),
        actors: |_| {
            let pool = Arc::new(P::new());
            vec![actor(Arc::clone(&pool)), actor(pool)]
        },
        steps: |_, call| match call {
            Call::Walk => (0..STRIPES).map(Call::Visit).collect(),
            other => vec![other.clone()],
        },
        loom_is_blind: |_| false,
    }
}

/// MUTEX_POOL-EXCLUSIVE and MUTEX_POOL-ORDER: every pair of programs over adding to either stripe and walking
/// both; no addition is lost and nothing gets stuck.
pub(crate) fn programs<P: Counters>(length_max: usize) -> metricstream_verification::program::Tally {
    let alphabet = [Call::Add(0), Call::Add(1), Call::Walk];
    subject::<P>().check(
        Bounds::PROGRAM,
        unordered_pairs(&sequences(&alphabet, length_max)),
    )
}

#[test]
fn all_programs_of_three_calls() {
    programs::<MutexPool<u32>>(3).expect(820, 89_186, 6814, 0, 0);
}

/// MUTEX_POOL-EXCLUSIVE with three threads: one on each stripe and one that walks.
#[test]
fn three_threads() {
    let report = explore(Bounds::SCENARIO, || {
        let pool = Arc::new(MutexPool::new(STRIPES, |_| 0_u32));
        let adding: Vec<_> = (0..2_u64)
            .map(|key| {
                let pool = Arc::clone(&pool);
                thread::spawn("adder", move || pool.add(key)).unwrap()
            })
            .collect();
        let mut seen = Vec::new();
        pool.walk(|count| seen.push(count));
        let before: Vec<_> = adding.into_iter().map(|adder| adder.join().unwrap()).collect();
        assert_eq!(before, [0, 0], "[MUTEX_POOL-EXCLUSIVE]");
        let mut total = 0;
        pool.walk(|count| total += count);
        assert_eq!(total, 2, "[MUTEX_POOL-EXCLUSIVE] an addition is lost");
        seen
    });
    if report.exhaustive {
        let seen: Vec<_> = report.outcomes.into_iter().collect();
        assert_eq!(seen, [[0, 0], [0, 1], [1, 0], [1, 1]], "[HONEST-OUTCOMES]");
    }
}
