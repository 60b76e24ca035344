//! The whole server in simulation: the real [`App`] on network, disk and clock in memory, under shuttle.
//!
//! Promises: an execution is a function of its seed ([`run`]): the settings, the clients, the faults of disk
//! and network, the schedule, when timers run out, and how it ends. What must hold is in `check`.
//! Leaves to the caller: how many seeds, and which bug is switched on.
//!
//! | module | job |
//! |---|---|
//! | [`chance`] | numbers from a seed |
//! | [`plan`] | what happens in an execution |
//! | [`request`] | what clients send |
//! | [`reply`] | what they read |
//! | [`schedule`] | which task goes on |
//! | [`world`] | what the tasks share; the time |
//! | [`client`] | what a client does |
//! | [`check`] | what must hold |
//! | [`register`] | the seeded bugs and the places to be reached |
//! | [`tally`] | sums over executions |

pub mod chance;
pub mod check;
pub mod client;
pub mod plan;
pub mod register;
pub mod reply;
pub mod request;
pub mod schedule;
pub mod tally;
pub mod world;

use chance::Stream;
use check::Facts;
use metricstream::app::{App, Platform};
use metricstream::clock::SystemClock;
use metricstream::log::simulated::{Fault, SimulatedDisk};
use metricstream::net::simulated::Network;
use metricstream::sync::shim::thread::{self, JoinHandle};
use metricstream::sync::shim::{Arc, seeded, time};
use plan::{DiskFault, DiskOperation, End, Plan};
use schedule::{OneExecution, Trace};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once};
use world::World;

/// Steps after which an execution counts as one that does not end. The longest seen has a tenth of it.
const STEPS_MAX: usize = 400_000;

/// Stack of a task, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Where an execution's clock begins.
const BEGIN_NANOS: u64 = 1_000_000_000;

/// What an execution showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must not be; empty when all is well.
    pub violations: Vec<String>,
    /// The places reached, and how often.
    pub reached: BTreeMap<&'static str, u64>,
    /// The choices made.
    pub trace: Trace,
}

/// Runs the execution of `seed`, with one bug switched on or none.
///
/// On a thread of its own: a panic that was left in the middle, as a failed execution leaves it, would make
/// every later one of the same thread a panicking one.
#[must_use]
pub fn run(seed: u64, bug: Option<&'static str>) -> Outcome {
    remember_panics();
    let thread = std::thread::spawn(move || run_here(seed, bug));
    thread.join().expect("panics are caught")
}

thread_local! {
    static FIRST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what the first panic of each thread says: shuttle may show another one.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let said = info.payload_as_str().unwrap_or("a panic without a text");
            let at = info
                .location()
                .filter(|location| location.file().starts_with("src/"));
            let at = at.map(|location| format!(" at {location}")).unwrap_or_default();
            FIRST_PANIC.with_borrow_mut(|first| {
                first.get_or_insert(format!("{said}{at}"));
            });
            before(info);
        }));
    });
}

fn run_here(seed: u64, bug: Option<&'static str>) -> Outcome {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    // Without a planned panic every panic is a verdict, and nothing should run after it.
    config.ungraceful_shutdown_config.immediately_return_on_panic = Plan::draw(seed).panic.is_none();
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let theirs = Arc::clone(&outcome);
    let runner = shuttle::Runner::new(OneExecution::new(seed), config);
    let result = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            let found = execute(seed, bug);
            *theirs.lock().expect("nothing panics with it held") = found;
        })
    }));
    let left = seeded::end();
    let mut outcome = std::mem::take(&mut *outcome.lock().expect("nothing panics with it held"));
    if let Err(payload) = result {
        let first = FIRST_PANIC.take();
        let text = first.unwrap_or_else(|| text_of(payload.as_ref()));
        outcome.violations.push(text.replace('\n', " "));
        outcome.reached = left;
    }
    outcome.trace = schedule::trace();
    outcome
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").to_owned()
}

/// The main task of an execution.
fn execute(seed: u64, bug: Option<&'static str>) -> Outcome {
    let plan = Plan::draw(seed);
    time::begin(BEGIN_NANOS);
    chance::begin(Stream::new(seed, 3));
    seeded::begin(plan.seeded(bug));
    let path = plan.config.data_dir.join(metricstream::log::FILE_NAME);
    let disk = SimulatedDisk::new();
    if !plan.old.is_empty() {
        disk.put(&path, plan.old.as_bytes());
    }
    let network = Network::new(plan.link_bytes, Box::new(chance::below));
    let platform = Platform {
        clock: SystemClock::new(),
        listener: network.listen(plan.config.listen),
        poller: network.poller(),
        disk: disk.clone(),
    };
    let app = App::start_on(&plan.config, platform).expect("nothing fails at the start");
    disk.set_space(plan.space.map(|space| space + plan.old.len()));
    set_faults(&disk, &network, &plan.disk_faults);
    network.fail_accepts(plan.accept_failures);
    let end = plan.end;
    let server = Arc::clone(app.shared());
    let log = Arc::clone(app.log());
    let world = Arc::new(World::new(plan, network, disk, server));
    let mut tasks: Vec<_> = (0..world.plan.clients.len())
        .map(|index| spawn(&world, "client", move |world| client::run(world, index)))
        .collect();
    tasks.push(spawn(&world, "time", World::move_time));
    reload(&world, &app);
    wait_for_the_end(&world, end);
    let crashed = world.disk.is_dead();
    world.begin_stop();
    let report = app.stop();
    let stopped_after = world.stopping_for().expect("it began");
    world.end();
    for task in tasks {
        task.join().expect("a task of the simulation does not panic");
    }
    let notes = world.take_notes();
    let facts = Facts {
        report,
        stopped_after,
        status: log.status(),
        crashed: crashed || world.disk.is_dead(),
        reached: seeded::end(),
        conversations: notes.conversations,
    };
    drop(log);
    // The log that is opened again has the bug too, and no panic.
    seeded::begin(seeded::Plan { bug, panic: None });
    let mut violations = notes.violations;
    violations.extend(check::judge(&world, &facts));
    Outcome {
        violations,
        reached: facts.all_reached(),
        trace: Trace::default(),
    }
}

fn spawn(world: &Arc<World>, name: &str, body: impl FnOnce(&World) + Send + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(name, move || body(&world)).expect("shuttle has threads")
}

/// Replaces the rules as the plan says.
#[allow(
    clippy::disallowed_methods,
    reason = "clippy looks through the shim's re-export"
)]
fn reload(world: &World, app: &App) {
    let Some(plan) = &world.plan.reload else { return };
    for _ in 0..plan.after {
        thread::yield_now();
    }
    world.reload.begin();
    if let Err(error) = app.reload(&plan.config) {
        world.violation(format!("the reload fails: {error}"));
    }
    world.reload.finish();
}

/// Waits as long as the plan says, and ends the process if it says so.
#[allow(
    clippy::disallowed_methods,
    reason = "clippy looks through the shim's re-export"
)]
fn wait_for_the_end(world: &World, end: End) {
    match end {
        End::Patient | End::StopThenPowerCut => world.wait_for_clients(),
        End::Stop(steps) | End::Kill(steps) | End::PowerCut(steps) => {
            for _ in 0..steps {
                thread::yield_now();
            }
        }
    }
    if matches!(end, End::Kill(_) | End::PowerCut(_)) {
        // First the network: a reply to what was written may be lost, a written line may not.
        world.network.crash();
        world.disk.kill();
    } else {
        // Somebody made room.
        world.disk.set_space(None);
    }
}

/// Lets the disk fail as planned; when a fault ends the process, it ends for the network too.
fn set_faults(disk: &SimulatedDisk, network: &Network, faults: &[DiskFault]) {
    let (network, faults) = (network.clone(), faults.to_vec());
    let mut counts: Vec<(DiskOperation, u32)> = Vec::new();
    disk.set_plan(move |request| {
        let Some(what) = DiskOperation::of(request) else {
            return Fault::None;
        };
        let number = match counts.iter_mut().find(|(other, _)| *other == what) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                counts.push((what, 0));
                0
            }
        };
        let strikes = |fault: &&DiskFault| fault.what == what && fault.number == number;
        let fault = faults
            .iter()
            .find(strikes)
            .map_or(Fault::None, |found| found.fault);
        if matches!(fault, Fault::Crash(_)) {
            network.crash();
        }
        fault
    });
}
