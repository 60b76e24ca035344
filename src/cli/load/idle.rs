//! Idle connections: held open beside the load, to see that they cost the server nothing and are kept.
//!
//! Promises: each is opened before the run, left alone during it and asked for `GET /health` at its end.
//! Leaves to the caller: the limit of open files, and a run shorter than the server's idle limit.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::SystemClock;

use super::response::{Progress, Reader};
use super::tally::is_success;

/// Connections that carry nothing.
#[derive(Debug)]
pub struct Idle {
    connections: Vec<TcpStream>,
}

impl Idle {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// The first failure; `timeout` bounds each attempt.
    pub fn open(address: SocketAddr, count: u32, timeout: Duration) -> io::Result<Self> {
        let connections = (0..count)
            .map(|_| TcpStream::connect_timeout(&address, timeout))
            .collect::<io::Result<_>>()?;
        Ok(Self { connections })
    }

    /// Connections held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Asks on every connection and answers how many gave a 2xx reply; `timeout` bounds the whole.
    #[must_use]
    pub fn alive(self, authority: &str, timeout: Duration, clock: &SystemClock) -> usize {
        let request = format!("GET /health HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let end = clock.now().after(timeout);
        let asked: Vec<_> = self
            .connections
            .into_iter()
            .filter_map(|mut connection| connection.write_all(request.as_bytes()).ok().map(|()| connection))
            .collect();
        asked
            .into_iter()
            .filter_map(|connection| answer(connection, || end.since(clock.now())))
            .count()
    }
}

/// Reads the reply; `None` when there is none, or no good one, in the time `left`.
fn answer(mut connection: TcpStream, left: impl Fn() -> Duration) -> Option<()> {
    let mut reader = Reader::default();
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    loop {
        // Zero means no limit to the kernel, hence the least that is one.
        connection
            .set_read_timeout(Some(left().max(Duration::from_millis(1))))
            .ok()?;
        let count = connection.read(&mut piece).ok()?;
        received.extend_from_slice(&piece[..count]);
        match reader.advance(&received, count == 0) {
            Progress::Whole(response) => return is_success(response.status).then_some(()),
            Progress::Partial if count > 0 => {}
            Progress::Partial | Progress::Bad => return None,
        }
    }
}
