//! What happens in one execution, drawn from its seed: the settings, the clients, the faults, the end.
//!
//! Promises: the same seed draws the same plan; each bound is small, so that it is met.
//! Leaves to the caller: to do it.

use super::chance::Stream;
use super::request::Request;
use metricstream::config::{AckLevel, Config, Settings};
use metricstream::limits::LINGER;
use metricstream::log::simulated::{Fault, Request as DiskRequest, Survival};
use metricstream::sync::shim::seeded;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::Duration;

/// Longest body that the simulated server takes, in bytes.
pub const BODY_BYTES_MAX: usize = 600;

/// More bytes of lines than any connection's requests make.
pub const TURN_LINES_BYTES_MAX: usize = 1_500;

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// The server's settings at the start.
    pub config: Config,
    /// What they are replaced by.
    pub reload: Option<Reload>,
    /// Bytes under way in each direction of a connection.
    pub link_bytes: usize,
    /// What each client does.
    pub clients: Vec<ClientPlan>,
    /// Accepts that fail, after so many connections.
    pub accept_failures: u32,
    /// Faults of the disk: each strikes the request of its kind with this number.
    pub disk_faults: Vec<DiskFault>,
    /// Bytes that the disk has room for at first.
    pub space: Option<usize>,
    /// What is in the file before the start.
    pub old: String,
    /// When timers run out.
    pub timers: Timers,
    /// How it ends.
    pub end: End,
    /// What a power cut leaves of what was not flushed.
    pub survival: Survival,
    /// The place that panics.
    pub panic: Option<(&'static str, u32)>,
}

/// A reload, from open rules to strict ones or back. By strict rules none of the clients is known and none
/// may read statistics; by open ones all may do all. So most replies say by which of the two they were made.
#[derive(Debug)]
pub struct Reload {
    /// After so many steps of the main task.
    pub after: usize,
    /// The settings from then on.
    pub config: Config,
    /// Whether those are the strict ones.
    pub to_strict: bool,
}

/// One client: its connections one after the other.
#[derive(Debug)]
pub struct ClientPlan {
    /// Its connections.
    pub connections: Vec<ConnectionPlan>,
}

/// One connection.
#[derive(Debug)]
pub struct ConnectionPlan {
    /// What it sends.
    pub requests: Vec<Request>,
    /// Sends the next request without waiting for the reply.
    pub pipelines: bool,
    /// Sends in pieces of so many bytes at most.
    pub piece_bytes: usize,
    /// Does not read while it can send.
    pub reads_late: bool,
    /// How it goes.
    pub leaving: Leaving,
}

/// How a client leaves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Closes once every reply is there.
    Closes,
    /// Says that it sends no more, once it has sent all, and reads to the end.
    FinishesSending,
    /// Stays until the server closes, whatever the last reply says.
    Stays,
    /// Closes, resets or goes without a word after so many bytes.
    Early(Early, usize),
}

/// How a client leaves too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// As a program that ends.
    Closes,
    /// With a reset.
    Resets,
    /// The cable is pulled.
    Vanishes,
}

/// One fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// What it strikes.
    pub what: DiskOperation,
    /// At which of those, from zero.
    pub number: u32,
    /// What happens.
    pub fault: Fault,
}

/// A kind of disk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// A write.
    Append,
    /// A flush.
    Sync,
    /// A cut.
    Truncate,
    /// A new file.
    Open,
    /// A new name.
    Rename,
    /// A flush of the names.
    SyncDirectory,
}

impl DiskOperation {
    /// The kind of `request`, if faults strike it.
    #[must_use]
    pub fn of(request: DiskRequest) -> Option<Self> {
        match request {
            DiskRequest::Append(_) => Some(Self::Append),
            DiskRequest::Sync => Some(Self::Sync),
            DiskRequest::Truncate => Some(Self::Truncate),
            DiskRequest::Open => Some(Self::Open),
            DiskRequest::Rename => Some(Self::Rename),
            DiskRequest::SyncDirectory => Some(Self::SyncDirectory),
            _ => None,
        }
    }
}

/// When timers run out before the stop.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// So many times at most.
    pub firings: u32,
    /// Only when nothing else can go on; otherwise at any moment.
    pub quiet: bool,
    /// So far that every timer runs out.
    pub far: bool,
    /// The same of the time while the server stops.
    pub stop_quiet: bool,
}

/// How an execution ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The clients come to their end, then the server stops.
    Patient,
    /// The server stops after so many steps of the main task.
    Stop(usize),
    /// The process is killed then.
    Kill(usize),
    /// The power fails then.
    PowerCut(usize),
    /// As patient, and then the power fails: what was stopped properly is on the disk.
    StopThenPowerCut,
}

/// The places that may panic.
pub const PANICS: [&str; 5] = [
    "PANIC_IN_TURN",
    "PANIC_WITH_LINES",
    "PANIC_AFTER_APPENDING",
    "PANIC_BEFORE_SENDING",
    "PANIC_AFTER_SENDING",
];

impl Plan {
    /// The plan of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut stream = Stream::new(seed, 2);
        let stream = &mut stream;
        let steps = stream.below(300);
        let end = match stream.below(10) {
            0..=3 => End::Patient,
            4 => End::StopThenPowerCut,
            5 | 6 => End::Stop(steps),
            7 => End::Kill(steps),
            _ => End::PowerCut(steps),
        };
        let accept_failures = if stream.one_in(12) { 1 } else { 0 };
        let mut reloading = Stream::new(seed, 4);
        let reloads = reloading.one_in(6);
        let clients = draw_clients(stream, reloads);
        let mut config = draw_config(stream);
        let reload = reloads.then(|| draw_reload(&mut reloading, &mut config));
        Self {
            config,
            reload,
            link_bytes: stream.pick(&[90, 300, 1_000, 6_000]),
            clients,
            accept_failures,
            disk_faults: draw_disk_faults(stream),
            space: stream.one_in(12).then(|| stream.below(400)),
            old: draw_old(stream),
            timers: draw_timers(stream, accept_failures > 0),
            end,
            survival: Survival {
                changes: stream.below(6),
                bytes: stream.below(120),
                zeros: stream.pick(&[0, 0, 3]),
                names: stream.below(3),
            },
            panic: stream.one_in(6).then(|| {
                (
                    stream.pick(&PANICS),
                    u32::try_from(stream.below(4)).expect("small"),
                )
            }),
        }
    }

    /// What the shim has on purpose in this execution.
    #[must_use]
    pub fn seeded(&self, bug: Option<&'static str>) -> seeded::Plan {
        seeded::Plan {
            bug,
            panic: self.panic,
        }
    }

    /// The connections of all clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.clients.iter().map(|client| client.connections.len()).sum()
    }

    /// The shortest time after which the server may give up on a client.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let config = &self.config;
        let least = config.idle_timeout.min(config.request_timeout);
        least.min(config.write_timeout).min(LINGER)
    }
}

fn draw_config(stream: &mut Stream) -> Config {
    let checked = Settings::from_flags(Vec::<String>::new()).map(|settings| settings.check(1));
    let defaults = checked.expect("no flags").expect("the defaults fit");
    let timeout = if stream.one_in(3) { 200 } else { 20_000 };
    Config {
        ack_level: stream.pick(&[
            AckLevel::Queued,
            AckLevel::Written,
            AckLevel::Written,
            AckLevel::Synced,
            AckLevel::Synced,
        ]),
        flush_interval_ms: stream.pick(&[0, 40, 1_000]),
        segment_bytes_max: stream.pick(&[0, 0, 300, 900]),
        segment_age_ms_max: stream.pick(&[0, 0, 60]),
        breaker_failures_max: stream.pick(&[0, 1, 2]),
        breaker_retry_ms: stream.pick(&[40, 2_000]),
        // Below `TURN_LINES_BYTES_MAX` there are turns that never fit.
        log_queue_bytes_max: stream.pick(&[500, TURN_LINES_BYTES_MAX, 40_000, 40_000]),
        log_queue_batches_max: stream.pick(&[1, 2, 64, 64]),
        workers: 1 + stream.below(2),
        queue_jobs_max: stream.pick(&[1, 2, 64]),
        connections_max: stream.pick(&[1, 2, 16, 16, 16]),
        head_bytes_max: 2_000,
        body_bytes_max: BODY_BYTES_MAX,
        request_buffer_bytes_max: stream.pick(&[200, 100_000, 100_000, 100_000]),
        client_requests_per_second_max: NonZeroU32::new(stream.pick(&[0, 0, 1, 2, 4])),
        clients_max: 1_000,
        idle_timeout: Duration::from_millis(timeout + 150),
        request_timeout: Duration::from_millis(timeout),
        write_timeout: Duration::from_millis(timeout + 50),
        stop_timeout: Duration::from_millis(60),
        ..defaults
    }
}

/// Makes `config` one end of a reload, and draws the other.
fn draw_reload(stream: &mut Stream, config: &mut Config) -> Reload {
    let strict = Config {
        tokens_file: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulation/tokens").into()),
        admin_addresses: Some("10.9.9.9".parse().expect("an address")),
        ..config.clone()
    };
    let to_strict = stream.one_in(2);
    let after = if to_strict {
        strict
    } else {
        std::mem::replace(config, strict)
    };
    // A step of the main task is few steps of the others, or many: it depends on the schedule.
    let within = stream.pick(&[8, 40, 250]);
    Reload {
        after: stream.below(within),
        config: after,
        to_strict,
    }
}

fn draw_clients(stream: &mut Stream, reloads: bool) -> Vec<ClientPlan> {
    let clients = 1 + stream.below(4);
    (0..clients)
        .map(|client| {
            let credential = stream.below(3);
            let connections = 1 + stream.below(2);
            let connections = (0..connections)
                .map(|connection| draw_connection(stream, [client, connection], credential, reloads))
                .collect();
            ClientPlan { connections }
        })
        .collect()
}

fn draw_connection(
    stream: &mut Stream,
    [client, connection]: [usize; 2],
    credential: usize,
    reloads: bool,
) -> ConnectionPlan {
    let count = 1 + stream.below(4);
    let requests: Vec<_> = (0..count)
        .map(|number| {
            let prefix = format!("m{client}.{connection}.{number}");
            Request::draw(stream, &prefix, credential, number + 1 == count, reloads)
        })
        .collect();
    let bytes: usize = requests.iter().map(|request| request.bytes.len()).sum();
    let leaving = match stream.below(10) {
        0 => Leaving::Early(
            stream.pick(&[Early::Closes, Early::Resets, Early::Vanishes]),
            stream.below(bytes),
        ),
        1 | 2 => Leaving::FinishesSending,
        3 => Leaving::Stays,
        _ => Leaving::Closes,
    };
    ConnectionPlan {
        requests,
        pipelines: stream.one_in(2),
        piece_bytes: stream.pick(&[20, 100, 10_000]),
        reads_late: stream.one_in(4),
        leaving,
    }
}

fn draw_disk_faults(stream: &mut Stream) -> Vec<DiskFault> {
    let count = stream.pick(&[0, 0, 1, 1, 2]);
    let mut faults = Vec::new();
    for _ in 0..count {
        let mut number = u32::try_from(stream.below(5)).expect("small");
        let kind = stream.pick(&[ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::Interrupted]);
        let bytes = stream.below(150);
        let names = stream.pick(&[
            DiskOperation::Open,
            DiskOperation::Rename,
            DiskOperation::SyncDirectory,
        ]);
        let (what, fault) = match stream.below(10) {
            0..=2 => (DiskOperation::Append, Fault::Short(bytes)),
            3 => (DiskOperation::Append, Fault::Error(kind)),
            4 => (DiskOperation::Append, Fault::Crash(bytes)),
            5 => (DiskOperation::Sync, Fault::Crash(0)),
            6 => (names, Fault::Crash(0)),
            7 => (names, Fault::Error(kind)),
            _ => (DiskOperation::Sync, Fault::Error(kind)),
        };
        if what == names {
            // A segment is sealed now and then only.
            number /= 3;
        }
        faults.push(DiskFault { what, number, fault });
        let after = match (what, fault) {
            // A short write with nothing after it is made good; with an error after it, it is cut off.
            (DiskOperation::Append, Fault::Short(_)) if stream.one_in(2) => DiskFault {
                what,
                number: number + 1,
                fault: Fault::Error(ErrorKind::StorageFull),
            },
            (DiskOperation::Append, Fault::Error(_)) if stream.one_in(4) => DiskFault {
                what: DiskOperation::Truncate,
                number: 0,
                fault: Fault::Error(ErrorKind::Other),
            },
            _ => continue,
        };
        faults.push(after);
    }
    faults
}

fn draw_old(stream: &mut Stream) -> String {
    let line = |number: usize| format!("{{\"name\":\"old.{number}\",\"value\":{number}}}\n");
    let whole: String = (0..stream.below(3)).map(line).collect();
    let torn = if stream.one_in(4) { "{\"name\":\"to" } else { "" };
    whole + torn
}

fn draw_timers(stream: &mut Stream, needed: bool) -> Timers {
    let stop_quiet = !stream.one_in(3);
    if needed {
        return Timers {
            firings: 4,
            quiet: true,
            far: true,
            stop_quiet,
        };
    }
    let firings = if stream.one_in(2) { 0 } else { 1 + stream.below(8) };
    Timers {
        firings: u32::try_from(firings).expect("small"),
        quiet: stream.one_in(2),
        far: stream.one_in(3),
        stop_quiet,
    }
}
