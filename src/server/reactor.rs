//! The reactor: one thread that accepts connections, owns the idle ones and keeps every deadline.
//!
//! Promises: it never waits for a client or a worker. A few short turns it takes itself, while no job waits
//! for a worker; the others are the workers'. When their queue is full it answers 503 itself, at once. A stop
//! refuses new connections, lets what is in flight finish, and ends at the deadline.
//! Leaves to the caller: draining the workers and the log after it has ended.

use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Instant;
use crate::limits;
use crate::monitor::repeats::{Repeats, Say};
use crate::net::tls::Stream;
use crate::net::{Interest, Listener, Readiness, Ready, Socket, Token};
use crate::sync::shim::{Arc, panic};
use crate::sync::thread_pool::{Refused, ThreadPool};

use super::Shared;
use super::budget::Budget;
use super::connection::{Connection, Fate};
use super::rules::Rules;
use super::servant::Servant;
use super::table::Table;

/// The workers of the server.
pub type Workers = ThreadPool<Box<Connection>>;

/// The listener's name at the poller: above every slot.
const LISTENER: Token = Token::MAX - 1;

/// Time between two looks while stopping, when every connection that finishes may be the last.
const STOPPING_INTERVAL: Duration = Duration::from_millis(10);

/// The reactor's own state.
#[derive(Debug)]
pub struct Reactor {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    servant: Servant,
    listener: Option<Listener>,
    /// When to accept again after the descriptors ran out.
    accept_after: Option<Instant>,
    /// What was said of connections that could not be accepted.
    accept_failures: Repeats,
    next_sweep: Instant,
}

/// How the stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were cut off at the deadline.
    pub connections_cut: usize,
}

impl Reactor {
    /// A reactor for `listener`, which serves with `servant` what it does not hand to `workers`.
    ///
    /// # Errors
    /// When the listener cannot be watched.
    pub fn new(
        shared: Arc<Shared>,
        workers: Arc<Workers>,
        servant: Servant,
        listener: Listener,
    ) -> std::io::Result<Self> {
        shared.poller.add_repeating(&listener, LISTENER)?;
        let next_sweep = shared.clock.now().after(limits::SWEEP_INTERVAL);
        Ok(Self {
            shared,
            workers,
            servant,
            listener: Some(listener),
            accept_after: None,
            accept_failures: Repeats::default(),
            next_sweep,
        })
    }

    /// Runs until the stop was requested and every connection is closed, or the deadline after it has passed.
    pub fn run(mut self) -> Stopped {
        let mut ready = Ready::new();
        while !self.shared.stopping.is_requested() {
            self.step(&mut ready, limits::SWEEP_INTERVAL);
        }
        self.stop(&mut ready)
    }

    fn stop(&mut self, ready: &mut Ready) -> Stopped {
        // What already waits in the backlog was answered by the kernel in our name: serve it.
        while self.accept() {}
        if let Some(listener) = self.listener.take() {
            let _ = self.shared.poller.remove(&listener);
        }
        let stop_timeout = self.servant.rules().timeouts.stop_timeout;
        let deadline = self.shared.clock.now().after(stop_timeout);
        // Before the first look for who is idle: what they sent meanwhile arrived, too.
        self.end_pauses(self.shared.clock.now());
        while self.shared.table.open() > 0
            && self.shared.clock.now() < deadline
            && !crate::seeded!(STOP_WITHOUT_WAIT)
        {
            self.step(ready, STOPPING_INTERVAL);
            self.shared.table.take_each(
                |connection| connection.is_idle() || crate::seeded!(STOP_CUTS_UNFINISHED),
                drop,
            );
            if self.shared.table.open() > 0 {
                crate::reached!(STOP_WITH_WORK);
            }
        }
        let mut connections_cut = 0;
        self.shared.table.take_each(|_| true, |_| connections_cut += 1);
        if connections_cut > 0 {
            crate::reached!(CUT_AT_DEADLINE);
        }
        Stopped { connections_cut }
    }

    /// Waits for events and sees to each.
    fn step(&mut self, ready: &mut Ready, timeout: Duration) {
        self.shared.reactor_steps.add(1);
        if let Err(error) = self.shared.poller.wait(ready, timeout) {
            tracing::error!(%error, "waiting for sockets failed");
        }
        let sockets = ready.sockets();
        let own_turns = if self.workers.queue_depth() > 0 {
            0
        } else {
            limits::REACTOR_TURNS_MAX
        };
        let handed_on = sockets.len().saturating_sub(own_turns);
        for (index, socket) in sockets.enumerate() {
            self.see_to(socket, index >= handed_on);
        }
        let now = self.shared.clock.now();
        self.end_pauses(now);
        if now >= self.next_sweep {
            self.next_sweep = now.after(limits::SWEEP_INTERVAL);
            self.servant.pacer().adapt(now);
            self.sweep(now);
        }
        if self.accept_after.is_some_and(|after| now >= after) && !crate::seeded!(ACCEPT_NEVER_RESUMED) {
            self.resume_accepting();
        }
    }

    /// Accepts, or has a ready connection served: here if a brief turn will do and is `allowed`, or else by a
    /// worker.
    fn see_to(&mut self, Readiness { token, end }: Readiness, allowed: bool) {
        if token == LISTENER {
            self.accept();
            return;
        }
        let connection = self.shared.table.take(token, |connection| {
            connection.end_reported |= end;
            connection.paused_until.is_none()
        });
        match connection {
            Some(connection) if allowed && connection.is_light() => {
                crate::reached!(TURN_ON_REACTOR);
                contain(&self.shared, || self.servant.turn_briefly(connection));
            }
            Some(connection) => self.dispatch(connection),
            None => {}
        }
    }

    /// Hands a ready connection to a worker, or refuses its requests here when the queue is full.
    fn dispatch(&mut self, connection: Box<Connection>) {
        match self.workers.submit(connection) {
            Ok(()) => self.servant.pacer().note_taken(),
            Err(Refused::Full(connection) | Refused::Stopped(connection)) => {
                contain(&self.shared, || self.servant.turn_shedding(connection));
            }
        }
    }

    /// Has those read again whose pause is over; when the workers have nothing to do, so many of the others,
    /// too, as give them work.
    fn end_pauses(&mut self, now: Instant) {
        let Self { shared, workers, .. } = self;
        if shared.pauses.is_empty() {
            return;
        }
        let early_max = if shared.stopping.is_requested() {
            usize::MAX
        } else if workers.is_idle() {
            workers.queue_jobs_max().div_ceil(2)
        } else {
            0
        };
        let early = shared.pauses.end(now, early_max, |token| shared.end_pause(token));
        if early > 0 {
            crate::reached!(PAUSE_ENDED_EARLY);
            // Those who came back may have nothing to say: look again.
            shared.poller.wake();
        }
    }

    /// Accepts who waits, so many at most; answers whether more may be waiting.
    fn accept(&mut self) -> bool {
        for _ in 0..limits::ACCEPTS_MAX {
            let Some(listener) = &self.listener else {
                return false;
            };
            match listener.accept() {
                Ok(Some((socket, peer))) => self.welcome(socket, peer),
                Ok(None) => return false,
                Err(error) => {
                    self.pause_accepting(&error);
                    return false;
                }
            }
        }
        true
    }

    fn welcome(&mut self, socket: Socket, peer: SocketAddr) {
        let Some(lease) = Table::lease(&self.shared.table) else {
            crate::reached!(CONNECTIONS_FULL);
            self.shared.stats.connections_refused.add(1);
            if self.servant.rules().tls.is_some() {
                // What could be said before the handshake is nothing that the client would understand.
                return;
            }
            let mut out = Vec::new();
            self.servant.refuse_connection(&mut out);
            // A new socket has room for this; if not, the client sees the connection close.
            let _ = socket.write(&out);
            return;
        };
        let token = lease.token();
        let now = self.shared.clock.now();
        let reserved = Budget::reserve_none(&self.shared.buffers);
        let Rules { timeouts, tls, .. } = self.servant.rules();
        let edge = tls.is_none();
        let poller = &self.shared.poller;
        let added = if edge {
            poller.add_edge(&socket, token)
        } else {
            poller.add(&socket, token, Interest::Readable)
        };
        if let Err(error) = added {
            tracing::error!(%error, "a connection cannot be watched");
            return;
        }
        let stream = match Stream::new(socket, tls.as_ref()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!(%error, "a connection under TLS cannot be begun");
                return;
            }
        };
        let mut connection = Box::new(Connection::new(stream, peer.ip(), lease, reserved));
        connection.edge = edge;
        connection.deadline = now.after(timeouts.idle_timeout);
        if connection.is_handshaking() {
            connection.request_began = Some(now);
            connection.deadline = now.after(timeouts.request_timeout);
        }
        // Added armed: the event, if it is there already, waits in the poller until this thread asks.
        if self.shared.table.rest(token, connection, |_, _| true).is_err() {
            unreachable!("arming is not tried");
        }
    }

    fn pause_accepting(&mut self, error: &std::io::Error) {
        let now = self.shared.clock.now();
        if let Some(Say::First(count) | Say::Again(count)) = self.accept_failures.due(1, now) {
            tracing::warn!(
                %error,
                count,
                "accepting connections fails; raise the limit of open files (ulimit -n)"
            );
        }
        if let Some(listener) = &self.listener {
            let _ = self.shared.poller.remove(listener);
        }
        self.accept_after = Some(now.after(limits::ACCEPT_PAUSE));
    }

    fn resume_accepting(&mut self) {
        self.accept_after = None;
        if let Some(listener) = &self.listener
            && let Err(error) = self.shared.poller.add_repeating(listener, LISTENER)
        {
            tracing::error!(%error, "the listener cannot be watched");
        }
    }

    /// Ends what is past its deadline.
    fn sweep(&mut self, now: Instant) {
        let Self { shared, servant, .. } = self;
        shared.table.take_each(
            |connection| connection.deadline <= now,
            |connection| {
                if connection.lingering {
                    crate::reached!(LINGER_TIMED_OUT);
                } else {
                    crate::reached!(CONNECTION_TIMED_OUT);
                    shared.stats.connections_timed_out.add(1);
                }
                if connection.is_handshaking() {
                    shared.stats.tls_handshakes_failed.add(1);
                    return;
                }
                let unfinished_request = connection.request_began.is_some() && !connection.has_unsent();
                if unfinished_request && connection.fate == Fate::KeepAlive && !connection.lingering {
                    contain(shared, || servant.time_out(connection));
                }
            },
        );
    }
}

/// A panic of a turn on this thread costs the connection and not the server, as a worker's does; a turn
/// begins by clearing what an earlier one left.
fn contain(shared: &Shared, turn: impl FnOnce()) {
    if !panic::contain(turn) {
        shared.stats.reactor_panics.add(1);
    }
}
