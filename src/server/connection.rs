//! One client's connection between its turns.
//!
//! Promises: a connection holds memory only for what is unfinished: the start of a request that is not yet
//! whole, the rest of a reply that the client has not yet taken. An idle one holds neither.
//! Leaves to the caller: reading the clock, and which thread it is with.

use std::net::IpAddr;

use crate::clock::Instant;
use crate::http::Exchange;
use crate::net::tls::Stream;
use crate::net::{Interest, Socket, Transfer};

use super::budget::Reserved;
use super::table::Lease;
use super::turn::Turn;

/// What happens to a connection after its replies are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on to the next request.
    KeepAlive,
    /// It is closed: the peer or the last request asked for it, or the server is stopping.
    Close,
    /// It is closed after a refusal in the middle of a request: what the client still sends is read and
    /// dropped for a while, so that the reply is not lost to a reset (RFC 9112 section 9.6).
    Linger,
}

/// A connection with its unfinished business.
#[derive(Debug)]
pub struct Connection {
    /// The bytes of requests that are not yet answered.
    pub partial: Vec<u8>,
    /// The memory of `partial`, counted against the server's bound.
    pub reserved: Reserved,
    /// Where the framing stands in `partial`.
    pub exchange: Exchange,
    /// The decisions that wait for the log.
    pub turn: Turn,
    /// What happens when `unsent` is out.
    pub fate: Fate,
    /// `partial` holds whole requests that a turn left for the next one.
    pub backlog: bool,
    /// The reply is out and only the peer's end of stream is awaited.
    pub lingering: bool,
    /// When the first byte of the request in `partial` came, or a connection whose TLS handshake is not done.
    pub request_began: Option<Instant>,
    /// The poller reports every arrival, armed or not.
    pub edge: bool,
    /// The poller has reported the end of what the peer sends.
    pub end_reported: bool,
    /// The last turn found more than one read's worth: the next ones may take long, too.
    pub heavy: bool,
    /// Not to be read before then, unless the workers run out of work.
    pub paused_until: Option<Instant>,
    /// When to give up on the client.
    pub deadline: Instant,
    unsent: Vec<u8>,
    unsent_from: usize,
    peer: IpAddr,
    lease: Lease<Box<Connection>>,
    stream: Stream,
}

impl Connection {
    /// A new connection without a request.
    #[must_use]
    pub fn new(stream: Stream, peer: IpAddr, lease: Lease<Box<Self>>, reserved: Reserved) -> Self {
        Self {
            partial: Vec::new(),
            reserved,
            exchange: Exchange::new(),
            turn: Turn::default(),
            fate: Fate::KeepAlive,
            backlog: false,
            lingering: false,
            request_began: None,
            edge: false,
            end_reported: false,
            heavy: false,
            paused_until: None,
            deadline: Instant::ZERO,
            unsent: Vec::new(),
            unsent_from: 0,
            peer,
            lease,
            stream,
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The name of the connection at the poller.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.lease.token()
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.stream.socket()
    }

    /// Reads what is there into the spare capacity of `buffer`; see [`Stream::read`].
    #[inline]
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Transfer {
        self.stream.read(buffer)
    }

    /// Tells the client that nothing more will be sent; it can still be read from.
    pub fn finish_sending(&mut self) {
        self.stream.finish_sending();
    }

    /// Whether the TLS handshake is not done.
    #[inline]
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.stream.is_handshaking()
    }

    /// Whether the client has bytes to take, of a reply or of TLS.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.has_unsent_reply() || self.stream.wants_write()
    }

    fn has_unsent_reply(&self) -> bool {
        self.unsent_from < self.unsent.len()
    }

    /// Whether nothing is unfinished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_empty() && !self.has_unsent() && !self.lingering && !self.stream.is_mid_handshake()
    }

    /// Whether a turn on it is short: what is to be done is at most one read's worth of requests.
    #[must_use]
    pub fn is_light(&self) -> bool {
        let unfinished = self.heavy || self.backlog || self.lingering || self.has_unsent();
        !unfinished && !self.is_handshaking()
    }

    /// Whether all that it waits for is something new from the peer, which an edge would report: a turn
    /// reads all that is there or leaves a backlog (READY-KEPT). An end that was reported is not reported
    /// again (READY-END), and TLS reads in units of its own.
    #[must_use]
    pub fn waits_for_news(&self) -> bool {
        let ended = self.end_reported && !crate::seeded!(END_FORGOTTEN);
        let goes_on = self.fate == Fate::KeepAlive && !ended && !self.stream.is_tls();
        goes_on && self.interest() == Interest::Readable
    }

    /// What to wait for at rest. A backlog waits for writability, which is there at once: that is a place at
    /// the end of the queue. So does what TLS has read already.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let unsent = self.has_unsent() && !crate::seeded!(UNSENT_WAITS_FOR_READABLE);
        if unsent || self.backlog || self.stream.is_pending() {
            Interest::Writable
        } else {
            Interest::Readable
        }
    }

    /// Sends `bytes` now as far as the client takes them and keeps the rest. Answers with the bytes moved, or
    /// `Err` when the connection is broken.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        debug_assert!(!self.has_unsent_reply(), "replies go out in order");
        let moved = write_all(&mut self.stream, bytes)?;
        self.unsent.clear();
        self.unsent_from = 0;
        if !crate::seeded!(UNSENT_DROPPED) {
            self.unsent.extend_from_slice(&bytes[moved..]);
        }
        Ok(moved)
    }

    /// Sends more of what is unsent.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn resume_sending(&mut self) -> Result<usize, Broken> {
        self.stream.flush().map_err(|_| Broken)?;
        let moved = write_all(&mut self.stream, &self.unsent[self.unsent_from..])?;
        self.unsent_from += moved;
        if !self.has_unsent_reply() {
            self.unsent = Vec::new();
            self.unsent_from = 0;
        }
        Ok(moved)
    }
}

/// The peer is gone; nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

fn write_all(stream: &mut Stream, bytes: &[u8]) -> Result<usize, Broken> {
    let mut moved = 0;
    while moved < bytes.len() {
        match stream.write(&bytes[moved..]) {
            Transfer::Moved(count) => moved += count,
            Transfer::WouldBlock => break,
            Transfer::End | Transfer::Broken(_) => return Err(Broken),
        }
    }
    Ok(moved)
}
