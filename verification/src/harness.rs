//! Runs a scenario many times and collects its outcomes: loom, shuttle or real threads.
//!
//! Promises: under `--cfg metricstream_loom` every execution that loom distinguishes is run, without a
//! preemption bound, a time limit or a permutation limit; under `--cfg metricstream_shuttle` as many random
//! and PCT schedules as the bounds say, from fixed seeds, or all of them for a small scenario; otherwise the
//! scenario runs on real threads. Under both checkers it is then run again for each wait that wakes for no
//! reason and each timed wait that runs out, until there is none left that it reaches.
//! Leaves to the caller: what the outcomes should be.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// How much to run where the harness is not exhaustive.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Random schedules under shuttle, for each fault plan.
    pub random: usize,
    /// PCT schedules (depth 3) under shuttle, for each fault plan.
    pub pct: usize,
    /// Whether shuttle's depth-first search ends in reasonable time; it is then run to the end.
    pub dfs: bool,
    /// Runs on real threads.
    pub stress: usize,
}

impl Bounds {
    /// For one of thousands of generated programs.
    pub const PROGRAM: Self = Self {
        random: 6,
        pct: 6,
        dfs: false,
        stress: 3,
    };

    /// For a scenario of its own.
    pub const SCENARIO: Self = Self {
        random: 2_000,
        pct: 2_000,
        dfs: false,
        stress: 2_000,
    };

    /// The same, with shuttle's search run to the end.
    #[must_use]
    pub const fn with_dfs(self) -> Self {
        Self { dfs: true, ..self }
    }

    /// The same, without PCT schedules.
    #[must_use]
    pub const fn without_pct(self) -> Self {
        Self { pct: 0, ..self }
    }
}

/// What came out of the runs without a fault.
#[derive(Debug)]
pub struct Report<O> {
    /// Every distinct outcome seen.
    pub outcomes: BTreeSet<O>,
    /// Every distinct outcome seen when a wait woke for no reason or a weak compare-and-exchange failed for
    /// none. Nobody should be able to tell.
    pub outcomes_spurious: BTreeSet<O>,
    /// Every distinct outcome seen when a timed wait ran out.
    pub outcomes_late: BTreeSet<O>,
    /// Executions, those with faults included.
    pub executions: u64,
    /// Whether `outcomes` is all there is: loom, or shuttle's search run to the end.
    pub exhaustive: bool,
}

/// The environment variable under which the first panic is written to standard error and ends the process:
/// for a parent that wants to know how a model failed. After a failed execution both checkers unwind threads
/// that were in the middle of something, and what they say then is no verdict.
pub const FIRST_PANIC_ENDS: &str = "METRICSTREAM_FIRST_PANIC_ENDS";

fn end_at_first_panic() {
    use std::io::Write as _;
    if std::env::var_os(FIRST_PANIC_ENDS).is_none() {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        // A panic without a message is how loom's coroutines end a thread that has nothing left to do.
        let Some(message) = info.payload_as_str() else {
            return;
        };
        let message = message.replace('\n', " ");
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        let text = format!("first panic in: {test}\nfirst panic: {message}\n");
        // Not by a macro: those are captured by the test harness and lost.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        std::process::exit(101);
    }));
}

/// Runs `scenario` in all the ways this harness has.
pub fn explore<O: Ord + Debug + Send + 'static>(
    bounds: Bounds,
    scenario: impl Fn() -> O + Send + Sync + 'static,
) -> Report<O> {
    end_at_first_panic();
    backend::explore(bounds, std::sync::Arc::new(scenario))
}

/// Waits on real threads until `threads` of them are here, so that what follows overlaps. Under the checkers
/// it does nothing: they choose the order.
#[derive(Debug, Default)]
pub struct StartLine(
    #[cfg(not(any(metricstream_loom, metricstream_shuttle)))] std::sync::atomic::AtomicUsize,
);

impl StartLine {
    /// Nobody is here yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more thread is here.
    pub fn wait(&self, threads: usize) {
        #[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
        {
            use std::sync::atomic::Ordering;
            self.0.fetch_add(1, Ordering::Relaxed);
            while self.0.load(Ordering::Relaxed) < threads {
                switch_point();
            }
        }
        let _ = threads;
    }
}

/// Lets another thread run here, between the two halves of something that should not be divisible. Nothing
/// under loom: it switches at every access anyway, and a yield makes it run fewer executions, not more.
#[allow(
    clippy::disallowed_methods,
    reason = "clippy looks through the shim's re-export"
)]
pub fn switch_point() {
    #[cfg(not(metricstream_loom))]
    metricstream::sync::shim::thread::yield_now();
}

#[cfg(any(metricstream_loom, metricstream_shuttle))]
mod backend {
    use super::{Bounds, Debug, Report};
    use metricstream::sync::shim::faults::{self, FAULTS, Fault};
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    /// More waits than any scenario here reaches.
    const OCCASIONS_MAX: u32 = 64;

    /// What one plan's runs have collected.
    struct Collected<O> {
        report: Report<O>,
        /// The most occasions for each kind of fault in any execution.
        occasions: [u32; FAULTS.len()],
    }

    pub(super) fn explore<O: Ord + Debug + Send + 'static>(
        bounds: Bounds,
        scenario: Arc<dyn Fn() -> O + Send + Sync>,
    ) -> Report<O> {
        refuse_loom_variables();
        let first = run(bounds, None, &scenario);
        let mut total = first.report;
        for (kind, occasions) in FAULTS.into_iter().zip(first.occasions) {
            assert!(occasions <= OCCASIONS_MAX, "the scenario waits without end");
            for k in 0..occasions {
                let with_fault = run(bounds, Some((kind, k)), &scenario).report;
                total.executions += with_fault.executions;
                let seen = match kind {
                    Fault::TimeOut => &mut total.outcomes_late,
                    Fault::SpuriousWake | Fault::WeakFailure => &mut total.outcomes_spurious,
                };
                seen.extend(with_fault.outcomes);
            }
        }
        total
    }

    /// loom reads its bounds from the environment; an exhaustive claim made under one would be false.
    fn refuse_loom_variables() {
        if let Some((name, _)) =
            std::env::vars_os().find(|(name, _)| name.to_string_lossy().starts_with("LOOM_"))
        {
            panic!("{} is set: it can make loom stop early and pass", name.display());
        }
    }

    fn run<O: Ord + Debug + Send + 'static>(
        bounds: Bounds,
        plan: Option<(Fault, u32)>,
        scenario: &Arc<dyn Fn() -> O + Send + Sync>,
    ) -> Collected<O> {
        let collected = Arc::new(Mutex::new(Collected {
            report: Report {
                outcomes: BTreeSet::new(),
                outcomes_spurious: BTreeSet::new(),
                outcomes_late: BTreeSet::new(),
                executions: 0,
                exhaustive: cfg!(metricstream_loom) || bounds.dfs,
            },
            occasions: [0; FAULTS.len()],
        }));
        let one = {
            let (collected, scenario) = (Arc::clone(&collected), Arc::clone(scenario));
            move || {
                faults::arm(plan);
                let outcome = scenario();
                let mut collected = collected.lock().expect("nothing panics with it held");
                collected.report.outcomes.insert(outcome);
                collected.report.executions += 1;
                for (most, kind) in collected.occasions.iter_mut().zip(FAULTS) {
                    *most = (*most).max(faults::occasions(kind));
                }
            }
        };
        schedule(bounds, one);
        let mut collected = collected.lock().expect("nothing panics with it held");
        Collected {
            report: Report {
                outcomes: std::mem::take(&mut collected.report.outcomes),
                outcomes_spurious: BTreeSet::new(),
                outcomes_late: BTreeSet::new(),
                ..collected.report
            },
            occasions: collected.occasions,
        }
    }

    #[cfg(metricstream_loom)]
    fn schedule(_bounds: Bounds, one: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 10_000;
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.preemption_bound = None;
        builder.checkpoint_file = None;
        builder.check(one);
    }

    #[cfg(metricstream_shuttle)]
    fn schedule(bounds: Bounds, one: impl Fn() + Send + Sync + 'static) {
        use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
        const SEED: u64 = 0x6d65_7472_6963_7321;
        let mut config = shuttle::Config::new();
        config.stack_size = 0x2_0000;
        config.silence_warnings = true;
        let one = Arc::new(one);
        let again = |one: &Arc<_>| {
            let one: Arc<dyn Fn() + Send + Sync> = Arc::clone(one) as _;
            move || one()
        };
        shuttle::Runner::new(
            RandomScheduler::new_from_seed(SEED, bounds.random),
            config.clone(),
        )
        .run(again(&one));
        if bounds.pct > 0 {
            shuttle::Runner::new(PctScheduler::new_from_seed(SEED, 3, bounds.pct), config.clone())
                .run(again(&one));
        }
        if bounds.dfs {
            shuttle::Runner::new(DfsScheduler::new(None, false), config).run(again(&one));
        }
    }
}

#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
mod backend {
    use super::{Bounds, Debug, Report};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    pub(super) fn explore<O: Ord + Debug + Send + 'static>(
        bounds: Bounds,
        scenario: Arc<dyn Fn() -> O + Send + Sync>,
    ) -> Report<O> {
        Report {
            outcomes: (0..bounds.stress).map(|_| scenario()).collect(),
            outcomes_spurious: BTreeSet::new(),
            outcomes_late: BTreeSet::new(),
            executions: bounds.stress as u64,
            exhaustive: false,
        }
    }
}
