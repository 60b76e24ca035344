//! Starts the stages one after the other, each in a process of its own, and sends all of them the same load.
//!
//! Promises: a stage gets a new process and an empty file for each number of clients, so memory is that of
//! this load; whatever happens, the processes started here are ended. Leaves to the caller: a machine that
//! does nothing else, or to say that it did.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use metricstream::cli::load::client::Conduct;
use metricstream::cli::load::plan::{Extent, Pace, Plan};
use metricstream::cli::load::report::Report;
use metricstream::cli::load::request::Credential;
use metricstream::cli::load::{self, Settings};
use rustix::process::{Pid, Signal, kill_process};

use crate::catalog::Stage;

/// What to run.
#[derive(Clone, Debug)]
pub struct Course {
    /// The stages, in order.
    pub stages: Vec<&'static Stage>,
    /// The numbers of clients, in order.
    pub clients: Vec<u32>,
    /// How long each pair of the two is measured.
    pub time: Duration,
    /// Metrics in a request.
    pub batch: u32,
    /// Longest wait for a connection and for a reply.
    pub timeout: Duration,
    /// Where stages store meanwhile.
    pub directory: PathBuf,
    /// What is put before the command of each stage: a profiler, or nothing.
    pub launcher: Vec<OsString>,
}

/// One stage under one load.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub stage: &'static Stage,
    /// How many clients.
    pub clients: u32,
    /// How long requests were begun.
    pub time: Duration,
    /// What they saw.
    pub report: Report,
    /// The most memory the stage had, in bytes.
    pub memory_bytes: u64,
    /// Processor time for each request that was answered with success, in microseconds.
    pub cpu_us: f64,
}

impl Row {
    /// Requests answered with success in a second of the time in which requests were begun. What comes after,
    /// in which the last clients lose their patience, is left out: it says nothing about the stage.
    #[must_use]
    pub fn successes_per_second(&self) -> f64 {
        self.report.requests_succeeded as f64 / self.time.as_secs_f64()
    }
}

/// Why a run was not made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for the stages' files.
    #[error("cannot use {path}: {error}; choose another place with --output")]
    Directory {
        /// Which.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// A stage did not start.
    #[error("stage {stage} did not start: {error}")]
    Start {
        /// Which.
        stage: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The load was not sent.
    #[error("stage {stage} with {clients} clients: {error}")]
    Load {
        /// Which.
        stage: &'static str,
        /// How many.
        clients: u32,
        /// Why.
        error: load::Error,
    },
    /// A signal came.
    #[error("ended early; nothing was written")]
    Interrupted,
}

impl Course {
    /// How long the whole will take, starts and ends not counted.
    #[must_use]
    pub fn time_total(&self) -> Duration {
        let pairs = u32::try_from(self.stages.len() * self.clients.len()).unwrap_or(u32::MAX);
        (self.time + self.warmup()).saturating_mul(pairs)
    }

    /// What is sent before the measurement, so that it does not begin with a cold server.
    #[must_use]
    pub fn warmup(&self) -> Duration {
        (self.time / 4).min(Duration::from_secs(1))
    }

    /// Makes the run, showing its progress on a terminal.
    ///
    /// # Errors
    /// [`Error`]; nothing is left running.
    pub fn run(&self) -> Result<Vec<Row>, Error> {
        let pairs = self.stages.len() * self.clients.len();
        let bar = ProgressBar::new(pairs as u64).with_style(progress_style());
        bar.enable_steady_tick(Duration::from_millis(250));
        let mut rows = Vec::with_capacity(pairs);
        for stage in &self.stages {
            for clients in &self.clients {
                bar.set_message(format!(
                    "stage {}, {clients} clients: {}",
                    stage.name, stage.title
                ));
                let row = self.measure(stage, *clients);
                if row.is_err() {
                    bar.finish_and_clear();
                }
                rows.push(row?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    fn measure(&self, stage: &'static Stage, clients: u32) -> Result<Row, Error> {
        let directory = self.directory.join(format!("stage-{}", stage.name));
        // What an earlier run left is not to be appended to.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).map_err(|error| Error::Directory {
            path: directory.display().to_string(),
            error,
        })?;
        let row = self.measure_in(stage, clients, &directory);
        let _ = std::fs::remove_dir_all(&directory);
        row
    }

    fn measure_in(&self, stage: &'static Stage, clients: u32, directory: &Path) -> Result<Row, Error> {
        let start = |error| Error::Start {
            stage: stage.name,
            error,
        };
        let server = Server::start(&self.launcher, stage, directory).map_err(start)?;
        let cpu_before = cpu_time(server.pid()).map_err(start)?;
        let report =
            load::measure(&self.settings(server.address.port(), clients)).map_err(|error| Error::Load {
                stage: stage.name,
                clients,
                error,
            })?;
        if report.interrupted {
            return Err(Error::Interrupted);
        }
        // The warm-up is in the time and therefore in the number.
        let cpu = cpu_time(server.pid()).map_err(start)?.saturating_sub(cpu_before);
        let requests = report.requests_succeeded + report.warmup_requests - report.warmup_requests_failed;
        let memory_bytes = memory_most(server.pid()).map_err(start)?;
        Ok(Row {
            stage,
            clients,
            time: self.time,
            report,
            memory_bytes,
            cpu_us: cpu.as_secs_f64() * 1e6 / requests.max(1) as f64,
        })
    }

    fn settings(&self, port: u16, clients: u32) -> Settings {
        Settings {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            path: "/metrics".to_owned(),
            plan: Plan {
                clients,
                warmup: self.warmup(),
                extent: Extent::Time(self.time),
                pace: Pace::Closed {
                    interval: Duration::ZERO,
                },
            },
            conduct: Conduct {
                timeout: self.timeout,
                keep_alive: true,
                connect_retries: 0,
                obey_retry_after: false,
            },
            batch: self.batch,
            credential: Credential::Each("journey-".to_owned()),
            allow_refusals: true,
            idle: 0,
            threads: 1,
            print_json: false,
            json: None,
            quiet: true,
        }
    }
}

/// How progress is shown.
#[must_use]
pub fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A stage's process.
#[derive(Debug)]
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts this program once more as a server, and waits for it to say where it listens.
    fn start(launcher: &[OsString], stage: &Stage, directory: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?.into_os_string();
        let mut words = launcher.iter().chain([&program]);
        let mut child = Command::new(words.next().unwrap_or(&program))
            .args(words)
            .args([
                "serve",
                "--stage",
                stage.name,
                "--port",
                "0",
                "--end-with-parent",
                "--directory",
            ])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://")?.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("it did not say where it listens"));
        };
        Ok(Self { child, address })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The last stage stops in good order; the others just end.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The most memory that process `pid` had, in bytes.
fn memory_most(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| {
        let rest = line.strip_prefix("VmHWM:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("/proc has no VmHWM"))
}

/// The processor time that process `pid` has had.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it.
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => {
            let ticks = rustix::param::clock_ticks_per_second();
            Ok(Duration::from_millis((user + system) * 1000 / ticks))
        }
        _ => Err(io::Error::other("/proc has no processor time")),
    }
}
