//! One generator thread: an event loop over the sockets and timers of its clients.
//!
//! Promises: no thread for a client, no allocation for a request in steady state, two system calls for a
//! request and its reply besides the wait; a request is begun when it is due to within the kernel's timer.
//! Leaves to the caller: threads, and what the clients are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::{Instant, SystemClock};
use crate::net::system::{Interest, Poller, Ready, Socket, Token, Transfer};
use crate::sync::shim::Mutex;

use super::client::{Client, Conduct, Next};
use super::plan::Plan;
use super::request::{Form, Template};
use super::tally::{Failure, Tally};

/// Time between two looks at the board, and the resolution of deadlines.
const TICK: Duration = Duration::from_millis(20);

/// Room made for a read. A reply is a few hundred bytes.
const READ_BYTES: usize = 2048;

/// What all threads share by copy.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server.
    pub address: SocketAddr,
    /// The requests.
    pub form: Form,
    /// When they are due.
    pub plan: Plan,
    /// How clients behave.
    pub conduct: Conduct,
    /// When the run starts.
    pub start: Instant,
    /// The clock that `start` is on.
    pub clock: SystemClock,
}

/// What a generator thread and the thread that watches it say to each other.
#[derive(Debug, Default)]
pub struct Board(Mutex<Notes>);

/// What is on a board.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes {
    /// The watcher wants the run to end.
    pub stop: bool,
    /// Measured requests that ended.
    pub requests: u64,
    /// Those of them not answered with 2xx.
    pub failed: u64,
    /// The thread has ended.
    pub finished: bool,
}

impl Board {
    /// What the thread has done so far.
    #[must_use]
    pub fn notes(&self) -> Notes {
        *self.0.lock()
    }

    /// Asks the thread to begin no more requests.
    pub fn stop(&self) {
        self.0.lock().stop = true;
    }

    /// Says that the thread has ended.
    pub fn finish(&self) {
        self.0.lock().finished = true;
    }

    /// Notes what is done, and answers whether to stop.
    fn exchange(&self, tally: &Tally) -> bool {
        let mut notes = self.0.lock();
        notes.requests = tally.requests();
        notes.failed = notes.requests - tally.successes();
        notes.stop
    }
}

/// What a thread brings back.
#[derive(Debug)]
pub struct Outcome {
    /// What it counted.
    pub tally: Tally,
    /// When its last client finished.
    pub end: Instant,
}

/// Runs the clients `ids` to their end.
///
/// # Errors
/// When the kernel refuses a descriptor to wait on.
pub fn drive(setup: &Setup, ids: &[u32], board: &Board) -> io::Result<Outcome> {
    // Timers to the microsecond, not to the 50 of the default. Without it the run is only less precise.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
    let mut generator = Generator::new(setup, ids)?;
    generator.begin();
    generator.run(board)?;
    board.exchange(&generator.tally);
    Ok(Outcome {
        end: setup.clock.now(),
        tally: generator.tally,
    })
}

/// A client and its socket.
struct Seat {
    id: u32,
    client: Client,
    head: Vec<u8>,
    socket: Option<Socket>,
    connecting: bool,
    /// Told apart by it: events of a socket that was closed since.
    generation: u32,
    /// What the kernel has not taken of the request; empty nearly always.
    unsent: Vec<u8>,
}

impl Seat {
    fn drop_socket(&mut self) {
        self.socket = None;
        self.connecting = false;
        self.unsent.clear();
    }
}

struct Generator<'a> {
    setup: &'a Setup,
    poller: Poller,
    seats: Vec<Seat>,
    /// Clients that are not finished.
    live: usize,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    template: Template,
    tally: Tally,
    stopped: bool,
}

impl<'a> Generator<'a> {
    fn new(setup: &'a Setup, ids: &[u32]) -> io::Result<Self> {
        let body_bytes = Template::new(setup.form.batch, 0).body_bytes();
        let seats: Vec<_> = ids
            .iter()
            .map(|id| Seat {
                id: *id,
                client: Client::new(setup.plan, *id, setup.start, setup.conduct),
                head: setup.form.head(*id, body_bytes),
                socket: None,
                connecting: false,
                generation: 0,
                unsent: Vec::new(),
            })
            .collect();
        let head_bytes_max = seats.iter().map(|seat| seat.head.len()).max().unwrap_or(0);
        Ok(Self {
            setup,
            poller: Poller::new()?,
            live: seats.len(),
            seats,
            timers: BinaryHeap::new(),
            template: Template::new(setup.form.batch, head_bytes_max),
            tally: Tally::new(),
            stopped: false,
        })
    }

    fn begin(&mut self) {
        for index in 0..self.seats.len() {
            let next = self.seats[index].client.begin(self.setup.start);
            self.follow(index, next);
        }
    }

    fn run(&mut self, board: &Board) -> io::Result<()> {
        let give_up = self.setup.plan.time().map(|time| {
            let timeout = self.setup.conduct.timeout;
            self.setup.start.after(time).after(timeout)
        });
        let mut ready = Ready::new();
        let mut tick = self.setup.clock.now();
        while self.live > 0 {
            let now = self.setup.clock.now();
            if now >= tick {
                tick = now.after(TICK);
                self.time_out(now);
                let asked = board.exchange(&self.tally);
                let late = give_up.is_some_and(|end| now >= end);
                if asked || late {
                    self.stop(late);
                }
            }
            self.wake_sleepers();
            let until = self.timers.peek().map_or(tick, |Reverse((at, _))| tick.min(*at));
            self.poller
                .wait(&mut ready, until.since(self.setup.clock.now()))?;
            for token in ready.tokens() {
                self.event(token);
            }
        }
        Ok(())
    }

    /// Begins what is due now. A client may become due again at once; it then waits for its turn.
    fn wake_sleepers(&mut self) {
        let now = self.setup.clock.now();
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let next = self.seats[index].client.woken(self.setup.clock.now());
            self.follow(index, next);
        }
    }

    fn time_out(&mut self, now: Instant) {
        for index in 0..self.seats.len() {
            if self.seats[index]
                .client
                .deadline()
                .is_some_and(|deadline| now >= deadline)
            {
                let next = self.seats[index].client.timed_out(now, &mut self.tally);
                self.follow(index, next);
            }
        }
    }

    /// Begins nothing more. What an open loop still owed at its end was due and not sent.
    fn stop(&mut self, late: bool) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.timers.clear();
        let dropped = self.seats.iter_mut().map(|seat| seat.client.stop()).sum();
        if late {
            self.tally.failures_add(Failure::Unsent, dropped);
        }
        for seat in self.seats.iter_mut().filter(|seat| !seat.client.has_connection()) {
            seat.drop_socket();
        }
        self.live = self
            .seats
            .iter()
            .filter(|seat| seat.client.deadline().is_some())
            .count();
    }

    fn event(&mut self, token: Token) {
        let (generation, index) = split(token);
        let seat = &mut self.seats[index];
        let Some(socket) = seat.socket.as_ref().filter(|_| seat.generation == generation) else {
            return;
        };
        if seat.connecting {
            let result = socket.connect_result();
            let result = result.and_then(|()| self.poller.arm_repeating(socket, token, Interest::Readable));
            seat.connecting = false;
            let next = match result {
                Ok(()) => seat.client.connected(&mut self.tally),
                Err(error) => {
                    let now = self.setup.clock.now();
                    seat.client.failed(error.kind(), now, &mut self.tally)
                }
            };
            return self.follow(index, next);
        }
        let next = self.read(index);
        self.follow(index, next);
        let seat = &self.seats[index];
        if seat.generation == generation && seat.socket.is_some() && !seat.unsent.is_empty() {
            let next = self.send_rest(index);
            self.follow(index, next);
        }
    }

    /// Does what a client wants until it waits for something.
    fn follow(&mut self, index: usize, mut next: Next) {
        loop {
            let seat = &mut self.seats[index];
            if !seat.client.has_connection() {
                seat.drop_socket();
            }
            next = match next {
                Next::Sleep(at) => return self.timers.push(Reverse((at, index))),
                Next::Wait => return,
                Next::Finish => {
                    self.live -= 1;
                    return;
                }
                Next::Connect => self.connect(index),
                Next::Send { number } => self.send(index, number),
            }
        }
    }

    fn connect(&mut self, index: usize) -> Next {
        let seat = &mut self.seats[index];
        seat.drop_socket();
        seat.generation = seat.generation.wrapping_add(1);
        let token = join(seat.generation, index);
        let begun = Socket::connect(self.setup.address).and_then(|socket| {
            self.poller.add(&socket, token, Interest::Writable)?;
            Ok(socket)
        });
        match begun {
            Ok(socket) => {
                seat.socket = Some(socket);
                seat.connecting = true;
                Next::Wait
            }
            Err(error) => {
                let now = self.setup.clock.now();
                seat.client.failed(error.kind(), now, &mut self.tally)
            }
        }
    }

    fn send(&mut self, index: usize, number: u64) -> Next {
        let seat = &mut self.seats[index];
        let Some(socket) = &seat.socket else {
            return Next::Wait;
        };
        let bytes = self
            .template
            .make(&seat.head, seat.id, number, self.setup.clock.wall());
        let (sent, end) = write_all(socket, bytes);
        self.tally.bytes_sent += sent as u64;
        seat.unsent.clear();
        seat.unsent.extend_from_slice(&bytes[sent..]);
        if end == Transfer::WouldBlock {
            // Also readable: a server that refuses the request need not read it to its end.
            let token = join(seat.generation, index);
            if let Err(error) = self.poller.arm_repeating(socket, token, Interest::Any) {
                let now = self.setup.clock.now();
                return seat.client.failed(error.kind(), now, &mut self.tally);
            }
        }
        self.sent(index, end)
    }

    fn send_rest(&mut self, index: usize) -> Next {
        let seat = &mut self.seats[index];
        let Some(socket) = &seat.socket else {
            return Next::Wait;
        };
        let (sent, end) = write_all(socket, &seat.unsent);
        self.tally.bytes_sent += sent as u64;
        seat.unsent.drain(..sent);
        if seat.unsent.is_empty() {
            let token = join(seat.generation, index);
            if let Err(error) = self.poller.arm_repeating(socket, token, Interest::Readable) {
                let now = self.setup.clock.now();
                return seat.client.failed(error.kind(), now, &mut self.tally);
            }
        }
        self.sent(index, end)
    }

    fn sent(&mut self, index: usize, end: Transfer) -> Next {
        let seat = &mut self.seats[index];
        if let Transfer::Broken(_) = end {
            // The poller reports a broken socket as readable, and the server may have said why before it
            // closed: reading finds the reply or the failure.
            seat.unsent.clear();
            return Next::Wait;
        }
        if seat.unsent.is_empty() {
            seat.client.sent();
        }
        Next::Wait
    }

    fn read(&mut self, index: usize) -> Next {
        let seat = &mut self.seats[index];
        let Some(socket) = &seat.socket else {
            return Next::Wait;
        };
        let received = seat.client.received_mut();
        received.reserve(READ_BYTES);
        let transfer = socket.read(received);
        let now = self.setup.clock.now();
        match transfer {
            Transfer::Moved(count) => {
                self.tally.bytes_received += count as u64;
                seat.client.arrived(now, &mut self.tally)
            }
            Transfer::WouldBlock => Next::Wait,
            Transfer::End => seat.client.ended(now, &mut self.tally),
            Transfer::Broken(kind) => seat.client.failed(kind, now, &mut self.tally),
        }
    }
}

/// Writes until all is written, the kernel takes no more or the connection breaks.
fn write_all(socket: &Socket, bytes: &[u8]) -> (usize, Transfer) {
    let mut sent = 0;
    loop {
        match socket.write(&bytes[sent..]) {
            Transfer::Moved(count) if sent + count < bytes.len() => sent += count,
            Transfer::Moved(count) => return (sent + count, Transfer::Moved(count)),
            end => return (sent, end),
        }
    }
}

fn join(generation: u32, index: usize) -> Token {
    (u64::from(generation) << 32) | (index as u64)
}

#[allow(clippy::cast_possible_truncation, reason = "the halves of `join`")]
fn split(token: Token) -> (u32, usize) {
    ((token >> 32) as u32, (token & u64::from(u32::MAX)) as usize)
}
