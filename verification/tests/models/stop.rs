//! Models of `sync::stop`.

use crate::note::Note;
use metricstream::sync::shim::thread;
use metricstream::sync::stop::Stop;
use metricstream_verification::harness::{Bounds, explore};
use metricstream_verification::history::Recorder;
use metricstream_verification::oracle::{Spec, World};
use metricstream_verification::program::{Actor, Subject, Tally, sequences, unordered_pairs};
use std::sync::Arc;
use std::time::Duration;

/// What the models need of a stop flag, so that the faulty ones of `must_fail` run in the same models.
pub(crate) trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn request(&self);
    fn is_requested(&self) -> bool;
    fn wait(&self);
    fn wait_timeout(&self, timeout: Duration) -> bool;
}

impl Flag for Stop {
    fn new() -> Self {
        Self::new()
    }

    fn request(&self) {
        self.request();
    }

    fn is_requested(&self) -> bool {
        self.is_requested()
    }

    fn wait(&self) {
        self.wait();
    }

    fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_timeout(timeout)
    }
}

/// The sequential flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model(bool);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Call {
    Request,
    IsRequested,
    Wait,
    WaitTimeout,
}

impl Spec for Model {
    type Call = Call;
    /// Whether a stop was requested.
    type Return = bool;

    fn step(&self, call: &Call, world: World) -> Vec<(Self, bool)> {
        match call {
            Call::Request => vec![(Self(true), true)],
            Call::IsRequested => vec![(self.clone(), self.0)],
            Call::Wait | Call::WaitTimeout if self.0 => vec![(self.clone(), true)],
            Call::WaitTimeout if world.late => vec![(self.clone(), false)],
            Call::Wait | Call::WaitTimeout => vec![],
        }
    }
}

fn actor<F: Flag>(stop: Arc<F>) -> Actor<Model> {
    Box::new(move |call, recorder: &mut Recorder<Call, bool>| {
        recorder.call(call.clone(), |call| match call {
            Call::Request => {
                stop.request();
                true
            }
            Call::IsRequested => stop.is_requested(),
            Call::Wait => {
                stop.wait();
                // After a wait the flag is up, for those who only look as well.
                stop.is_requested()
            }
            Call::WaitTimeout => stop.wait_timeout(Duration::from_micros(100)),
        });
    })
}

/// STOP-STAYS and STOP-WAKES: every pair of programs of up to `length_max` calls that cannot rightly wait for
/// ever.
pub(crate) fn programs<F: Flag>(length_max: usize) -> Tally {
    let subject = Subject {
        id: "STOP-WAKES",
        spec: Model::default(),
        actors: |_| {
            let stop = Arc::new(F::new());
            vec![actor(Arc::clone(&stop)), actor(stop)]
        },
        steps: |_, call| vec![call.clone()],
        loom_is_blind: |programs| {
            let loads = |call: &Call| matches!(call, Call::IsRequested | Call::Wait);
            programs
                .iter()
                .any(|program| program.iter().any(loads) && program.contains(&Call::Request))
        },
    };
    let alphabet = [Call::Request, Call::IsRequested, Call::Wait, Call::WaitTimeout];
    subject.check(
        Bounds::PROGRAM.with_dfs(),
        unordered_pairs(&sequences(&alphabet, length_max)),
    )
}

#[test]
fn all_programs_of_two_calls() {
    programs::<Stop>(2).expect(231, 8_634, 149, 0, 5);
}

/// STOP-WAKES with two waiters: both go.
#[test]
fn two_waiters() {
    let report = explore(Bounds::SCENARIO, || {
        let stop = Arc::new(Stop::new());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn("waiter", move || stop.wait()).unwrap()
            })
            .collect();
        stop.request();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
    assert!(report.executions > 1);
}

/// STOP-HB: what was done before the request is seen by one who looks, without a lock, and by one who waits.
#[test]
fn happens_before() {
    for waiting in [false, true] {
        let report = explore(Bounds::SCENARIO.with_dfs(), move || {
            let stop = Arc::new(Stop::new());
            let note = Arc::new(Note::new());
            let asking = {
                let (stop, note) = (Arc::clone(&stop), Arc::clone(&note));
                thread::spawn("asking", move || {
                    note.write(7);
                    stop.request();
                })
                .unwrap()
            };
            if waiting {
                stop.wait();
            }
            let seen = (waiting || stop.is_requested()).then(|| note.read());
            asking.join().unwrap();
            seen
        });
        let expected = if waiting {
            vec![Some(7)]
        } else {
            vec![None, Some(7)]
        };
        assert!(
            report.outcomes.iter().all(|seen| expected.contains(seen)),
            "[STOP-HB] {report:?}"
        );
        if report.exhaustive {
            assert_eq!(
                report.outcomes.into_iter().collect::<Vec<_>>(),
                expected,
                "[HONEST-OUTCOMES]"
            );
        }
    }
}
