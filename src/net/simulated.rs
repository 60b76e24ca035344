//! A network in memory with the interface of the system's, for the simulation of the whole server.
//!
//! Promises: readiness is epoll's. An armed socket is reported when its interest holds at the moment of the
//! wait, whatever came first; a one-shot one is reported once and then not until it is armed again, an
//! edge-triggered one once more for each arrival (what a read leaves has not arrived yet); an error is
//! reported whatever the interest; which of several ready sockets a wait reports, and in which order, is
//! chance, one at least. Bytes arrive whole, in order and once, in pieces of any size; both directions are
//! bounded. A socket closed with bytes unread resets the connection, as TCP does, and what the peer had not
//! read yet may be lost then. Everything is a function of the chance given and of the order in which the
//! threads come. A wait ends by its timeout only when the time of the simulation is moved on.
//! Leaves to the caller: the chance, and what the clients do.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sync::shim::{Arc, Condvar, Mutex, MutexGuard};

pub use super::poller::{Interest, Readiness, Token};
pub use super::socket::Transfer;

/// A number below the one given, by chance.
pub type Chance = Box<dyn FnMut(usize) -> usize + Send>;

/// A network with one server, shared by all clones of it.
#[derive(Clone, Debug)]
pub struct Network {
    shared: Arc<Shared>,
}

/// The server's listening socket.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// The server's end of a connection; closed when dropped.
#[derive(Debug)]
pub struct Socket {
    shared: Arc<Shared>,
    link: usize,
}

/// The server's epoll set.
#[derive(Debug)]
pub struct Poller {
    shared: Arc<Shared>,
}

/// The tokens of one wait.
#[derive(Debug, Default)]
pub struct Ready {
    sockets: Vec<Readiness>,
}

/// A client's end of a connection; closed when dropped.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    link: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is ready, or the poller was woken.
    events: Condvar,
    /// Something changed that a client may wait for.
    changes: Condvar,
}

struct State {
    links: Vec<Link>,
    backlog: VecDeque<usize>,
    listening: bool,
    listener: Option<Token>,
    accept_failures: u32,
    woken: bool,
    crashed: bool,
    link_bytes: usize,
    chance: Chance,
}

#[derive(Debug, Default)]
struct Link {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    client_finished: bool,
    client_gone: bool,
    server_finished: bool,
    server_gone: bool,
    /// A reset has reached the server.
    server_reset: bool,
    /// A reset has reached the client.
    client_reset: bool,
    watch: Option<Watch>,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    token: Token,
    interest: Interest,
    armed: bool,
    /// Every arrival arms it again.
    edge: bool,
}

impl Network {
    /// A network on which `link_bytes` bytes are under way in each direction of a connection at most.
    #[must_use]
    pub fn new(link_bytes: usize, chance: Chance) -> Self {
        let state = State {
            links: Vec::new(),
            backlog: VecDeque::new(),
            listening: false,
            listener: None,
            accept_failures: 0,
            woken: false,
            crashed: false,
            link_bytes,
            chance,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                events: Condvar::new(),
                changes: Condvar::new(),
            }),
        }
    }

    /// The server's listener.
    #[must_use]
    pub fn listen(&self, address: SocketAddr) -> Listener {
        self.shared.state.lock().listening = true;
        Listener {
            shared: Arc::clone(&self.shared),
            address,
        }
    }

    /// The server's poller.
    #[must_use]
    pub fn poller(&self) -> Poller {
        Poller {
            shared: Arc::clone(&self.shared),
        }
    }

    /// A new connection, or `None` when nobody listens.
    #[must_use]
    pub fn connect(&self) -> Option<Client> {
        let mut state = self.shared.state.lock();
        if !state.listening || state.crashed {
            return None;
        }
        let link = state.links.len();
        state.links.push(Link::default());
        state.backlog.push_back(link);
        self.shared.changed(state);
        Some(Client {
            shared: Arc::clone(&self.shared),
            link,
        })
    }

    /// The next `count` accepts fail as if the descriptors had run out.
    pub fn fail_accepts(&self, count: u32) {
        self.shared.state.lock().accept_failures = count;
    }

    /// The server's process ended: nothing that it sends from here on leaves it. What had left it arrives.
    pub fn crash(&self) {
        let mut state = self.shared.state.lock();
        state.crashed = true;
        self.shared.changed(state);
    }
}

impl Shared {
    /// Wakes whoever may have something to do now.
    fn changed(&self, state: MutexGuard<'_, State>) {
        let event = state.has_event();
        drop(state);
        if event {
            self.events.notify_one("SIMULATED_EVENT");
        }
        self.changes.notify_all("SIMULATED_CHANGE");
    }
}

impl Link {
    /// Something arrived at the server.
    fn news(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.armed |= watch.edge;
        }
    }
}

impl State {
    fn has_event(&self) -> bool {
        self.woken || self.accepts() || self.links.iter().any(|link| self.is_event(link))
    }

    fn accepts(&self) -> bool {
        self.listener.is_some() && !self.backlog.is_empty() && !self.crashed
    }

    fn is_event(&self, link: &Link) -> bool {
        let Some(watch) = link.watch.filter(|watch| watch.armed) else {
            return false;
        };
        let readable = !link.to_server.is_empty() || link.client_finished;
        let writable = link.to_client.len() < self.link_bytes;
        let broken = link.server_reset || self.crashed;
        broken
            || match watch.interest {
                Interest::Readable => readable,
                Interest::Writable => writable,
                Interest::Any => readable || writable,
            }
    }

    /// What is ready, or some of it; it is disarmed.
    fn take_events(&mut self, sockets: &mut Vec<Readiness>) {
        let mut ready: Vec<_> = (0..self.links.len())
            .filter(|&index| self.is_event(&self.links[index]))
            .map(Some)
            .collect();
        if self.accepts() {
            ready.push(None);
        }
        while !ready.is_empty() {
            let index = ready.swap_remove((self.chance)(ready.len()));
            if !sockets.is_empty() && (self.chance)(8) == 0 {
                crate::reached!(EVENT_LATE);
                continue;
            }
            match index {
                None => sockets.extend(self.listener.map(|token| Readiness { token, end: false })),
                Some(index) => {
                    let link = &mut self.links[index];
                    let end = link.client_finished || link.server_reset || self.crashed;
                    if let Some(watch) = &mut link.watch {
                        watch.armed = false;
                        let token = watch.token;
                        sockets.push(Readiness { token, end });
                    }
                }
            }
        }
    }

    /// How much of `count` is moved at once: all of it, or less.
    fn some_of(&mut self, count: usize) -> usize {
        if count > 1 && (self.chance)(4) == 0 {
            1 + (self.chance)(count - 1)
        } else {
            count
        }
    }
}

impl Listener {
    /// Nothing to bind to: a simulated listener comes from [`Network::listen`].
    ///
    /// # Errors
    /// Always.
    pub fn bind(_address: SocketAddr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing to inherit, as with [`Listener::bind`].
    ///
    /// # Errors
    /// Always.
    pub fn inherit(_socket: std::os::fd::OwnedFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The address in force.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, or `None` when none is waiting.
    ///
    /// # Errors
    /// Where the simulation wants it so.
    pub fn accept(&self) -> io::Result<Option<(Socket, SocketAddr)>> {
        let mut state = self.shared.state.lock();
        if state.backlog.is_empty() || state.crashed {
            return Ok(None);
        }
        if state.accept_failures > 0 {
            state.accept_failures -= 1;
            crate::reached!(ACCEPT_FAILED);
            return Err(io::Error::other("no descriptor left, by the simulation"));
        }
        let link = state.backlog.pop_front();
        // All clients are at one address: one client to the rate limiter, whatever its secret key.
        let peer = SocketAddr::from(([127, 0, 0, 1], 1024));
        Ok(link.map(|link| {
            let shared = Arc::clone(&self.shared);
            (Socket { shared, link }, peer)
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.listening = false;
        state.listener = None;
        while let Some(link) = state.backlog.pop_front() {
            crate::reached!(BACKLOG_RESET);
            state.links[link].server_gone = true;
            state.links[link].client_reset = true;
        }
        self.shared.changed(state);
    }
}

impl Socket {
    /// Reads once into `bytes`, which must not be empty.
    pub fn read_into(&self, bytes: &mut [u8]) -> Transfer {
        let mut buffer = Vec::with_capacity(bytes.len());
        let transfer = self.read(&mut buffer);
        let count = buffer.len().min(bytes.len());
        bytes[..count].copy_from_slice(&buffer[..count]);
        transfer
    }

    /// Reads once into the spare capacity of `buffer`, which must not be empty.
    pub fn read(&self, buffer: &mut Vec<u8>) -> Transfer {
        let room = buffer.capacity() - buffer.len();
        debug_assert!(room > 0, "a read needs room");
        let mut state = self.shared.state.lock();
        let waiting = state.links[self.link].to_server.len();
        let reset = state.links[self.link].server_reset;
        if state.crashed || (reset && (waiting == 0 || (state.chance)(2) == 0)) {
            crate::reached!(READ_BROKEN);
            return Transfer::Broken(io::ErrorKind::ConnectionReset);
        }
        if waiting == 0 {
            return if state.links[self.link].client_finished {
                Transfer::End
            } else {
                Transfer::WouldBlock
            };
        }
        let count = state.some_of(waiting.min(room));
        let link = &mut state.links[self.link];
        buffer.extend(link.to_server.drain(..count));
        if count < waiting && count < room {
            link.news();
        }
        self.shared.changed(state);
        Transfer::Moved(count)
    }

    /// Writes once from `bytes`, which must not be empty.
    pub fn write(&self, bytes: &[u8]) -> Transfer {
        debug_assert!(!bytes.is_empty(), "a write needs bytes");
        let mut state = self.shared.state.lock();
        let (link_bytes, crashed) = (state.link_bytes, state.crashed);
        let link = &mut state.links[self.link];
        debug_assert!(!link.server_finished, "nothing is written after the end");
        let room = link_bytes - link.to_client.len();
        if link.server_reset || crashed {
            crate::reached!(WRITE_BROKEN);
            return Transfer::Broken(io::ErrorKind::BrokenPipe);
        }
        if link.client_gone {
            // The peer's answer to what it can no longer take.
            link.server_reset = true;
            self.shared.changed(state);
            return Transfer::Moved(bytes.len());
        }
        if room == 0 {
            crate::reached!(WRITE_BLOCKED);
            return Transfer::WouldBlock;
        }
        let count = state.some_of(bytes.len().min(room));
        if count < bytes.len() {
            crate::reached!(WRITE_SHORT);
        }
        state.links[self.link].to_client.extend(&bytes[..count]);
        self.shared.changed(state);
        Transfer::Moved(count)
    }

    /// Tells the peer that nothing more will be sent; it can still be read from.
    pub fn finish_sending(&self) {
        let mut state = self.shared.state.lock();
        state.links[self.link].server_finished = true;
        self.shared.changed(state);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let link = &mut state.links[self.link];
        link.watch = None;
        link.server_gone = true;
        link.server_finished = true;
        if !link.to_server.is_empty() {
            crate::reached!(CLOSED_UNREAD);
            link.client_reset = true;
        }
        self.shared.changed(state);
    }
}

impl Poller {
    /// No poller without a network: it comes from [`Network::poller`].
    ///
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Adds a socket and arms it once for `interest`.
    ///
    /// # Errors
    /// Never.
    pub fn add(&self, socket: &Socket, token: Token, interest: Interest) -> io::Result<()> {
        self.watch(socket, token, interest, false);
        Ok(())
    }

    /// Adds a socket of which every arrival is reported.
    ///
    /// # Errors
    /// Never.
    pub fn add_edge(&self, socket: &Socket, token: Token) -> io::Result<()> {
        self.arm_edge(socket, token)
    }

    /// Has every arrival on a socket reported, and what is there already.
    ///
    /// # Errors
    /// Never.
    pub fn arm_edge(&self, socket: &Socket, token: Token) -> io::Result<()> {
        self.watch(socket, token, Interest::Readable, true);
        Ok(())
    }

    /// Adds the listener, which is reported as often as somebody waits to be accepted.
    ///
    /// # Errors
    /// Never.
    pub fn add_repeating(&self, _listener: &Listener, token: Token) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.listener = Some(token);
        self.shared.changed(state);
        Ok(())
    }

    /// Arms a socket once more, from any thread.
    ///
    /// # Errors
    /// When the socket was never added.
    pub fn arm(&self, socket: &Socket, token: Token, interest: Interest) -> io::Result<()> {
        self.watch(socket, token, interest, false);
        Ok(())
    }

    /// Takes the listener out of the set.
    ///
    /// # Errors
    /// Never.
    pub fn remove(&self, _listener: &Listener) -> io::Result<()> {
        self.shared.state.lock().listener = None;
        Ok(())
    }

    /// Waits for events, a wake-up or the end of `timeout`, and puts the tokens of the events into `ready`.
    ///
    /// # Errors
    /// Never.
    pub fn wait(&self, ready: &mut Ready, timeout: Duration) -> io::Result<()> {
        ready.sockets.clear();
        let state = self.shared.state.lock();
        let (mut state, _) =
            self.shared
                .events
                .wait_timeout_while("SIMULATED_POLL", state, timeout, |state| !state.has_event());
        state.woken = false;
        state.take_events(&mut ready.sockets);
        Ok(())
    }

    /// Ends the wait that is under way, or the next one.
    pub fn wake(&self) {
        let mut state = self.shared.state.lock();
        state.woken = true;
        self.shared.changed(state);
    }

    fn watch(&self, socket: &Socket, token: Token, interest: Interest, edge: bool) {
        let mut state = self.shared.state.lock();
        state.links[socket.link].watch = Some(Watch {
            token,
            interest,
            armed: true,
            edge,
        });
        self.shared.changed(state);
    }
}

impl Ready {
    /// Room for the events of one wait.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tokens that are ready.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.sockets().map(|socket| socket.token)
    }

    /// The sockets that are ready.
    pub fn sockets(&self) -> impl ExactSizeIterator<Item = Readiness> + '_ {
        self.sockets.iter().copied()
    }
}

impl Client {
    /// Sends some of `bytes`, which must not be empty.
    pub fn send(&self, bytes: &[u8]) -> Transfer {
        let mut state = self.shared.state.lock();
        let (link_bytes, crashed) = (state.link_bytes, state.crashed);
        let link = &mut state.links[self.link];
        if link.client_reset || crashed {
            return Transfer::Broken(io::ErrorKind::ConnectionReset);
        }
        if link.server_gone {
            link.client_reset = true;
            return Transfer::Moved(bytes.len());
        }
        let room = link_bytes - link.to_server.len();
        if room == 0 {
            return Transfer::WouldBlock;
        }
        let count = state.some_of(bytes.len().min(room));
        let link = &mut state.links[self.link];
        link.to_server.extend(&bytes[..count]);
        link.news();
        self.shared.changed(state);
        Transfer::Moved(count)
    }

    /// Receives some of what is there.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> Transfer {
        let mut state = self.shared.state.lock();
        let waiting = state.links[self.link].to_client.len();
        if waiting > 0 && state.links[self.link].client_reset && (state.chance)(2) == 0 {
            crate::reached!(REPLY_LOST_TO_RESET);
            state.links[self.link].to_client.clear();
            return Transfer::Broken(io::ErrorKind::ConnectionReset);
        }
        if waiting == 0 {
            let link = &state.links[self.link];
            return if link.client_reset || (state.crashed && !link.server_finished) {
                Transfer::Broken(io::ErrorKind::ConnectionReset)
            } else if link.server_finished {
                Transfer::End
            } else {
                Transfer::WouldBlock
            };
        }
        let count = state.some_of(waiting);
        buffer.extend(state.links[self.link].to_client.drain(..count));
        self.shared.changed(state);
        Transfer::Moved(count)
    }

    /// Waits until there is something to receive or, when `sending`, something can be sent.
    pub fn wait(&self, sending: bool) {
        let state = self.shared.state.lock();
        let waits = |state: &mut State| {
            let link = &state.links[self.link];
            let receives = !link.to_client.is_empty() || link.server_finished || link.client_reset;
            let sends = sending && (link.to_server.len() < state.link_bytes || link.server_gone);
            !(receives || sends || state.crashed)
        };
        drop(self.shared.changes.wait_while("SIMULATED_CLIENT", state, waits));
    }

    /// Tells the server that nothing more will be sent.
    pub fn finish_sending(&self) {
        let mut state = self.shared.state.lock();
        let link = &mut state.links[self.link];
        link.client_finished = true;
        link.news();
        self.shared.changed(state);
    }

    /// Resets the connection.
    pub fn reset(self) {
        let mut state = self.shared.state.lock();
        let link = &mut state.links[self.link];
        link.server_reset = true;
        link.news();
        self.shared.changed(state);
    }

    /// Goes without a word: the server hears nothing any more.
    pub fn vanish(self) {
        std::mem::forget(self);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let link = &mut state.links[self.link];
        link.client_gone = true;
        link.client_finished = true;
        link.server_reset |= !link.to_client.is_empty();
        link.news();
        self.shared.changed(state);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("links", &self.links)
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
