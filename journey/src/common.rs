//! What the stages share besides the wire: where they listen, where they store, what they count.
//!
//! Promises: a stage says on standard output where it listens, so that whoever started it need not guess.
//! Leaves to the caller: everything that differs from stage to stage.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use metricstream::stats::Counter;
use rustix::net::listen;

/// Where metrics are stored, in the stage's directory.
pub const FILE_NAME: &str = "metrics.jsonl";

/// Connections that the kernel keeps for a stage that has not come round to accept them: what many first
/// servers ask for. One more, and the kernel drops the connection request without a word.
pub const BACKLOG: i32 = 10;

/// What every stage is started with.
#[derive(Clone, Debug)]
pub struct Place {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Where to store, made if it is missing.
    pub directory: PathBuf,
    /// Requests a client may make in any one second, from stage 4 on.
    pub requests_max: NonZeroU32,
}

impl Place {
    /// The address asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Listens, with room for `backlog` connections in the kernel, and says so.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn listen(&self, backlog: i32) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(self.address())?;
        // A second call changes the backlog of the first, which std chose.
        listen(&listener, backlog)?;
        let path = self.directory.join(FILE_NAME);
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "listens on http://{} and appends to {}",
            listener.local_addr()?,
            path.display()
        )?;
        out.flush()?;
        Ok(listener)
    }

    /// Opens the file to append to.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self) -> io::Result<File> {
        open(&self.directory)
    }
}

fn open(directory: &Path) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(FILE_NAME))
}

/// What every stage counts, for `GET /stats`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Requests answered with a success.
    pub succeeded: Counter,
    /// Metrics taken.
    pub metrics: Counter,
    /// Connections turned away for want of a thread or of room in a queue.
    pub shed: Counter,
}

impl Counters {
    /// Notes how a request ended.
    pub fn note(&self, success: bool) {
        self.succeeded.add(u64::from(success));
    }

    /// The page of `GET /stats`; `more` are further members, each with a comma before it.
    #[must_use]
    pub fn page(&self, more: &str) -> String {
        format!(
            "{{\"accepted\":{},\"succeeded\":{},\"metrics\":{},\"shed\":{}{more}}}",
            self.accepted.get(),
            self.succeeded.get(),
            self.metrics.get(),
            self.shed.get()
        )
    }
}
