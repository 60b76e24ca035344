//! What a thread does on a connection: read what is there, answer every whole request in it, send.
//!
//! Promises: nothing here waits, for the client, the disk or a lock that is held for long. A turn is bounded
//! in requests and bytes, so that one busy client cannot hold a worker. In steady state nothing is
//! allocated: buffers belong to the thread and are reused.
//! Leaves to the caller: which thread. Workers do all of it, the reactor the refusing part when the workers'
//! queue is full, the log's writer the sending part after a commit.

use std::net::IpAddr;

use crate::admission::auth::ClientId;
use crate::clock::Instant;
use crate::http::{self, Head, Step};
use crate::ingest::{self, Answer, Submission};
use crate::limits;
use crate::log::{self, Appended, Refused};
use crate::metric::Scratch;
use crate::monitor::{Endpoint, Recorder};
use crate::net::Transfer;
use crate::sync::shim::Arc;
use crate::sync::thread_pool::Worker;

use super::budget::Exhausted;
use super::connection::{Broken, Connection, Fate};
use super::date::{Date, DateCache};
use super::pauses::Pacer;
use super::reply::{self, Form, Refusal};
use super::request_id::{RequestId, RequestIds};
use super::routes::{self, Route};
use super::rules::{Rules, View};
use super::turn::{Outcome, Turn};
use super::{Shared, pages};

/// The log of the server: its tokens are the connections whose turns wait for it.
pub type Log = log::Log<Box<Connection>>;

/// The sending half of a thread's work: outcome to bytes to socket, then to rest.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    rules: View<Rules>,
    recorder: Recorder,
    ids: RequestIds,
    out: Vec<u8>,
}

impl Sender {
    /// A sender of its own for one thread.
    #[must_use]
    pub fn new(shared: Arc<Shared>, recorder: Recorder) -> Self {
        Self {
            rules: shared.rules.view(),
            shared,
            recorder,
            ids: RequestIds::default(),
            out: Vec::with_capacity(limits::READ_BYTES),
        }
    }

    /// Says what the turn on `connection` decided, then lays it to rest or closes it.
    pub fn deliver(&mut self, mut connection: Box<Connection>, outcome: Outcome) {
        self.rules.refresh(&self.shared.rules);
        let now = self.shared.clock.now();
        crate::panic_point!(PANIC_BEFORE_SENDING);
        self.count(&connection, outcome);
        self.out.clear();
        connection.paused_until = connection.turn.shed_until();
        connection
            .turn
            .settle(outcome, now, &mut self.recorder, &mut self.ids, &mut self.out);
        self.shared.spare_turns.give(connection.turn.take_longer());
        if self.out.is_empty() {
            return self.shared.rest(connection, now, &self.rules.timeouts);
        }
        match connection.send(&self.out) {
            Ok(moved) => {
                self.shared.stats.sent_bytes.add(moved as u64);
                crate::panic_point!(PANIC_AFTER_SENDING);
                self.shared.rest(connection, now, &self.rules.timeouts);
            }
            Err(Broken) if crate::seeded!(LEASE_LEAKED) => std::mem::forget(connection),
            Err(Broken) => drop(connection),
        }
        self.out.shrink_to(limits::READ_BYTES);
    }

    fn count(&self, connection: &Connection, outcome: Outcome) {
        let (metrics, requests) = (
            connection.turn.stored_metrics(),
            connection.turn.stored_requests(),
        );
        let stats = &self.shared.stats;
        match outcome {
            Outcome::Stored => stats.metrics_acknowledged.add(metrics),
            Outcome::Refused(log::Refusal::FullOfBytes { .. } | log::Refusal::FullOfBatches { .. }) => {
                stats.refused_log_full.add(requests);
            }
            Outcome::Refused(_) | Outcome::Failed(_) => stats.refused_log_failed.add(requests),
        }
    }
}

/// From so many bytes on, the start of a request is read on in the buffer that holds it.
const OWN_BUFFER_BYTES: usize = limits::READ_BYTES / 4;

/// A thread's whole kit for serving connections.
#[derive(Debug)]
pub struct Servant {
    shared: Arc<Shared>,
    log: Arc<Log>,
    sender: Sender,
    input: Vec<u8>,
    lines: Vec<u8>,
    scratch: Scratch,
    dates: DateCache,
    ids: RequestIds,
    duty: Duty,
    /// When those may come back.
    pacer: Pacer,
}

/// How much of a turn is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// All of it.
    Whole,
    /// What one read brings; the rest is left for a turn of a worker.
    Brief,
    /// What would need work is refused, because the workers' queue is full.
    Shed,
}

/// How serving the bytes at hand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// What is left is not a whole request.
    NeedMore,
    /// The turn is long enough; whole requests may be left.
    TurnFull,
    /// Nothing further on this connection is answered.
    Last,
}

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// There is nothing more now: a read that did not fill the buffer says so (epoll(7), question 9). What
    /// comes later is an edge (READY-KEPT).
    Drained,
    /// There may be more.
    Filled,
    /// The peer has finished sending.
    End,
    /// The peer is gone.
    Broken,
}

impl Servant {
    /// A servant that does all the work.
    #[must_use]
    pub fn new(shared: Arc<Shared>, log: Arc<Log>, recorder: Recorder) -> Self {
        let sender = Sender::new(Arc::clone(&shared), recorder);
        let input = Vec::with_capacity(limits::READ_BYTES);
        let pacer = Pacer::new(shared.clock.now());
        Self {
            shared,
            log,
            sender,
            input,
            lines: Vec::new(),
            scratch: Scratch::default(),
            dates: DateCache::default(),
            ids: RequestIds::default(),
            duty: Duty::Whole,
            pacer,
        }
    }

    /// When those come back whom this servant refuses.
    pub fn pacer(&mut self) -> &mut Pacer {
        &mut self.pacer
    }

    /// The rules in force.
    pub fn rules(&mut self) -> &Rules {
        self.sender.rules.refresh(&self.shared.rules);
        &self.sender.rules
    }

    /// Lays a connection to rest until its client does something.
    fn rest(&self, connection: Box<Connection>) {
        let now = self.shared.clock.now();
        self.shared.rest(connection, now, &self.sender.rules.timeouts);
    }

    /// One turn on a connection that is ready, or that a turn left with a backlog.
    pub fn turn(&mut self, connection: Box<Connection>) {
        self.turn_as(Duty::Whole, connection);
    }

    /// A turn that ends after one read: on the thread that others wait for.
    pub fn turn_briefly(&mut self, connection: Box<Connection>) {
        self.turn_as(Duty::Brief, connection);
    }

    /// A turn that refuses what would need work, on the thread that found the workers' queue full.
    pub fn turn_shedding(&mut self, connection: Box<Connection>) {
        self.turn_as(Duty::Shed, connection);
    }

    fn turn_as(&mut self, duty: Duty, mut connection: Box<Connection>) {
        self.duty = duty;
        self.rules();
        // A turn that panicked may have left lines of a connection that is gone.
        if !crate::seeded!(LINES_KEPT_AFTER_PANIC) {
            self.lines.clear();
        }
        crate::panic_point!(PANIC_IN_TURN);
        if duty == Duty::Shed {
            crate::reached!(SHED_ON_REACTOR);
        }
        if connection.lingering {
            return self.drop_input(connection);
        }
        if duty == Duty::Shed && connection.is_handshaking() {
            // The work of a handshake is a worker's; without one, a refusal cannot be said either.
            self.shared.stats.refused_queue_full.add(1);
            return;
        }
        if connection.has_unsent() {
            crate::reached!(SENDING_RESUMED);
            match connection.resume_sending() {
                Ok(moved) => self.shared.stats.sent_bytes.add(moved as u64),
                Err(Broken) => return,
            }
            if connection.has_unsent() || connection.fate != Fate::KeepAlive {
                return self.rest(connection);
            }
        }
        if self.read_and_serve(&mut connection).is_ok() {
            self.finish(connection);
        }
    }

    fn read_and_serve(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        // A turn that panicked took the buffer with it; otherwise it is there.
        self.input.reserve(limits::READ_BYTES);
        // A connection has no buffer of its own to read into but for a long request: it borrows the thread's.
        let borrowed = connection.partial.len() < OWN_BUFFER_BYTES;
        let mut input = std::mem::take(if borrowed {
            &mut self.input
        } else {
            &mut connection.partial
        });
        input.extend_from_slice(&connection.partial);
        connection.partial.clear();
        let result = self.serve_input(connection, &mut input);
        if self.input_is_lent() {
            if result.is_ok() && !input.is_empty() && !crate::seeded!(PARTIAL_LOST) {
                crate::reached!(PARTIAL_KEPT);
                if connection.partial.capacity() == 0 {
                    connection.partial = self.shared.spare_buffers.take();
                }
                connection.partial.extend_from_slice(&input);
            }
            input.clear();
            self.input = input;
        } else {
            let before = std::mem::replace(&mut connection.partial, input);
            self.shared.spare_buffers.give(before);
        }
        result
    }

    /// Whether the thread's buffer is what is read into now.
    fn input_is_lent(&self) -> bool {
        self.input.capacity() == 0
    }

    /// Sees to it that `input` has room for at least a head. The thread's buffer does not grow: a request
    /// that is too long for it goes on in one that was another's.
    fn make_room(&mut self, input: &mut Vec<u8>) {
        if input.capacity() - input.len() >= limits::READ_BYTES / 4 {
            return;
        }
        if !self.input_is_lent() {
            return input.reserve(limits::READ_BYTES);
        }
        let mut longer = self.shared.spare_buffers.take();
        longer.reserve(input.len() + limits::READ_BYTES);
        longer.append(input);
        self.input = std::mem::replace(input, longer);
    }

    /// Reads into `input` and answers the requests in it; leaves there what is not answered.
    fn serve_input(&mut self, connection: &mut Connection, input: &mut Vec<u8>) -> Result<(), Broken> {
        let mut read = if std::mem::take(&mut connection.backlog) {
            Read::Filled
        } else {
            let read = self.read(connection, input);
            connection.heavy = read == Read::Filled;
            read
        };
        loop {
            // Who sent this after a reload is answered by what that put in force, also in a turn of before.
            self.rules();
            let arrived = self.shared.clock.now();
            if !input.is_empty() {
                connection.request_began.get_or_insert(arrived);
            }
            let served = self.serve(connection, input, arrived);
            match (served, read) {
                (_, Read::Broken) => return Err(Broken),
                (Served::Last, _) => return Ok(()),
                (Served::TurnFull, _) => {
                    connection.backlog = true;
                    return Ok(());
                }
                (Served::NeedMore, Read::End) => {
                    // The peer may have finished sending and still read: answer, then close.
                    connection.fate = Fate::Close;
                    input.clear();
                    return Ok(());
                }
                (Served::NeedMore, Read::Drained) => return Ok(()),
                (Served::NeedMore, Read::Filled) if self.duty == Duty::Brief => {
                    crate::reached!(TURN_HANDED_ON);
                    connection.backlog = true;
                    return Ok(());
                }
                (Served::NeedMore, Read::Filled) if self.reserve(connection, input, arrived).is_err() => {
                    return Ok(());
                }
                (Served::NeedMore, Read::Filled) => read = self.read(connection, input),
            }
        }
    }

    /// Reads once, with room for at least a head.
    fn read(&mut self, connection: &mut Connection, input: &mut Vec<u8>) -> Read {
        self.make_room(input);
        let room = input.capacity() - input.len();
        let was_handshaking = connection.is_handshaking();
        let transfer = connection.read(input);
        if was_handshaking {
            self.note_handshake(connection, transfer);
        }
        match transfer {
            Transfer::Moved(count) => {
                self.shared.stats.received_bytes.add(count as u64);
                if count == room {
                    Read::Filled
                } else {
                    Read::Drained
                }
            }
            Transfer::WouldBlock => Read::Drained,
            Transfer::End => Read::End,
            Transfer::Broken(_) => Read::Broken,
        }
    }

    /// Counts a TLS handshake that this read ended, one way or the other.
    fn note_handshake(&self, connection: &mut Connection, transfer: Transfer) {
        let stats = &self.shared.stats;
        if matches!(transfer, Transfer::Broken(_)) {
            stats.tls_handshakes_failed.add(1);
        } else if !connection.is_handshaking() {
            stats.tls_handshakes.add(1);
            // It began when its handshake did; its first request has not, unless it came along.
            connection.request_began = None;
        }
    }

    /// Bytes of replies after which a turn is over.
    fn reply_bytes_max(&self) -> usize {
        match self.duty {
            // The first page or refusal ends it: a page may take long to make.
            Duty::Brief => 1,
            Duty::Whole | Duty::Shed => limits::TURN_REPLY_BYTES,
        }
    }

    /// Answers the whole requests at the start of `input` and removes them.
    fn serve(&mut self, connection: &mut Connection, input: &mut Vec<u8>, arrived: Instant) -> Served {
        let date = self.date();
        let mut from = 0;
        let served = loop {
            if connection.turn.len() >= limits::TURN_REQUESTS_MAX
                || self.lines.len() >= limits::TURN_LINE_BYTES
                || connection.turn.ready_bytes() >= self.reply_bytes_max()
            {
                break Served::TurnFull;
            }
            if from == input.len() {
                break Served::NeedMore;
            }
            if connection.turn.is_crowded() {
                connection.turn.go_on_in(self.shared.spare_turns.take());
            }
            let peer = connection.peer();
            match connection
                .exchange
                .advance(&self.shared.bounds.http, &mut input[from..])
            {
                Step::Request { head, body, consumed } => {
                    let form = Form::of(&head, self.shared.stopping.is_requested(), date);
                    self.answer(&mut connection.turn, peer, &head, body, form, arrived);
                    from += consumed;
                    connection.request_began = (from < input.len()).then_some(arrived);
                    if !form.keep_alive {
                        // What was sent after the last request would turn the close into a reset.
                        connection.fate = if from < input.len() {
                            Fate::Linger
                        } else {
                            Fate::Close
                        };
                        break Served::Last;
                    }
                }
                Step::NeedMore {
                    keep,
                    head,
                    send_continue,
                    ..
                } => {
                    let early = head.and_then(|head| self.refuse_early(peer, &head, arrived));
                    if let Some((asked, refusal)) = early {
                        crate::reached!(REFUSED_EARLY);
                        refuse_rest(connection, &asked, &refusal, date);
                        break Served::Last;
                    }
                    if send_continue {
                        crate::reached!(CONTINUE_SENT);
                        connection.turn.interim(arrived, http::response::CONTINUE);
                    }
                    input.truncate(from + keep);
                    break Served::NeedMore;
                }
                Step::Refuse(error) => {
                    let asked = self.unreadable(arrived);
                    refuse_rest(connection, &asked, &Refusal::Http(error), date);
                    break Served::Last;
                }
            }
        };
        match served {
            // What follows the last request is not answered.
            Served::Last => input.clear(),
            Served::NeedMore | Served::TurnFull => drop(input.drain(..from)),
        }
        served
    }

    /// Writes the refusal of a connection that nobody serves.
    pub fn refuse_connection(&mut self, out: &mut Vec<u8>) {
        let limit = self.shared.bounds.connections_max;
        let form = Form::close(self.date());
        let id = self.ids.name(None);
        reply::refuse(&Refusal::ConnectionsFull { limit }, form, &id, out);
    }

    /// The Date of a reply made now.
    pub fn date(&mut self) -> Date {
        self.dates.at(self.shared.clock.wall())
    }

    /// Answers one request.
    fn answer(
        &mut self,
        turn: &mut Turn,
        peer: IpAddr,
        head: &Head<'_>,
        body: &[u8],
        form: Form,
        arrived: Instant,
    ) {
        let route = match routes::find(head) {
            Ok(route) => route,
            Err(refusal) => {
                let asked = self.asked(head, Endpoint::Other, None, arrived);
                return refuse(turn, &asked, &refusal, form);
            }
        };
        match route {
            Route::Ingest(_) if self.duty == Duty::Shed => {
                self.shared.stats.refused_queue_full.add(1);
                let limit = self.shared.bounds.queue_jobs_max;
                let asked = self.asked(head, Endpoint::Ingest, None, arrived);
                let until = turn.shed(|| self.pacer.next_return(arrived));
                let retry_after = until.since(arrived);
                refuse(turn, &asked, &Refusal::QueueFull { limit, retry_after }, form);
            }
            Route::Ingest(level) => match self.ingest(peer, head, body, arrived) {
                Answer {
                    client,
                    result: Ok(metrics),
                } => {
                    turn.promise(level.unwrap_or(self.log.level()));
                    turn.ingested(arrived, metrics, form, client, head.request_id);
                }
                Answer {
                    client,
                    result: Err(refusal),
                } => {
                    let asked = self.asked(head, Endpoint::Ingest, client, arrived);
                    refuse(turn, &asked, &refusal.into(), form);
                }
            },
            Route::Read(page) if !self.sender.rules.may_read(page, peer) => {
                let asked = self.asked(head, route.endpoint(), None, arrived);
                refuse(turn, &asked, &Refusal::Forbidden { peer }, form);
            }
            Route::Read(page) => {
                turn.reply(arrived, route.endpoint(), None, |out| {
                    pages::write(page, &self.shared, form, out)
                });
            }
            Route::Options(allow) => {
                turn.reply(arrived, route.endpoint(), None, |out| {
                    reply::options(allow, form, out)
                });
            }
        }
    }

    /// The data path: see [`crate::ingest`]. The lines wait for the end of the turn.
    fn ingest(&mut self, peer: IpAddr, head: &Head<'_>, body: &[u8], now: Instant) -> Answer {
        let arrival = self.shared.clock.wall();
        let submission = Submission {
            credential: head.authorization,
            peer,
            body,
            now,
            arrival,
        };
        let admission = &self.sender.rules.admission;
        let answer = self
            .shared
            .ingest
            .run(admission, &submission, &mut self.scratch, &mut self.lines);
        if let Err(ingest::Refusal::RateLimited { .. }) = answer.result {
            crate::reached!(RATE_LIMITED);
            self.shared.stats.refused_rate_limited.add(1);
        }
        crate::panic_point!(PANIC_WITH_LINES);
        answer
    }

    /// What is known of a request with `head`, to refuse it.
    fn asked(
        &mut self,
        head: &Head<'_>,
        endpoint: Endpoint,
        client: Option<ClientId>,
        arrived: Instant,
    ) -> Asked {
        Asked {
            arrived,
            endpoint,
            client,
            id: self.ids.name(head.request_id),
        }
    }

    /// As [`Servant::asked`], of one whose head is not known.
    fn unreadable(&mut self, arrived: Instant) -> Asked {
        Asked {
            arrived,
            endpoint: Endpoint::Other,
            client: None,
            id: self.ids.name(None),
        }
    }

    /// What a request whose body is not here yet is refused for already, so that the body need not come.
    fn refuse_early(&mut self, peer: IpAddr, head: &Head<'_>, arrived: Instant) -> Option<(Asked, Refusal)> {
        let (endpoint, refusal) = match routes::find(head) {
            Ok(Route::Ingest(_)) => {
                let admission = &self.sender.rules.admission;
                let refusal = admission.identify(head.authorization, peer).err()?;
                (Endpoint::Ingest, refusal.into())
            }
            Ok(_) => return None,
            Err(refusal) => (Endpoint::Other, refusal),
        };
        Some((self.asked(head, endpoint, None, arrived), refusal))
    }

    /// Reserves memory for twice what a request has so far; refuses it when there is none.
    fn reserve(&mut self, connection: &mut Connection, input: &mut Vec<u8>, now: Instant) -> Result<(), ()> {
        let Err(exhausted) = connection.reserved.resize(input.len() * 2) else {
            return Ok(());
        };
        crate::reached!(BUFFERS_FULL);
        let (date, asked) = (self.date(), self.unreadable(now));
        refuse_rest(connection, &asked, &Refusal::BuffersFull(exhausted), date);
        input.clear();
        Err(())
    }

    /// Ends a turn: lines to the log, with the connection as token, or else replies to the client.
    fn finish(&mut self, mut connection: Box<Connection>) {
        if connection.partial.is_empty() {
            let emptied = std::mem::take(&mut connection.partial);
            self.shared.spare_buffers.give(emptied);
        }
        if let Err(exhausted) = reserve_partial(&mut connection) {
            crate::reached!(BUFFERS_FULL);
            let (now, date) = (self.shared.clock.now(), self.date());
            let asked = self.unreadable(now);
            refuse_rest(&mut connection, &asked, &Refusal::BuffersFull(exhausted), date);
            connection.partial = Vec::new();
        }
        if self.lines.is_empty() {
            return self.sender.deliver(connection, Outcome::Stored);
        }
        let records = u32::try_from(connection.turn.stored_metrics()).unwrap_or(u32::MAX);
        let level = connection.turn.level().unwrap_or(self.log.level());
        let appended = self.log.append_at(level, &self.lines, records, connection);
        crate::panic_point!(PANIC_AFTER_APPENDING);
        self.lines.clear();
        self.lines.shrink_to(2 * limits::TURN_LINE_BYTES);
        match appended {
            Ok(Appended::Pending(_)) => {}
            Ok(Appended::Acknowledged(connection)) => self.sender.deliver(connection, Outcome::Stored),
            Err(Refused { token, refusal }) => self.sender.deliver(token, Outcome::Refused(refusal)),
        }
    }

    /// Answers a request that was not whole in time.
    pub fn time_out(&mut self, mut connection: Box<Connection>) {
        crate::reached!(REQUEST_TIMED_OUT);
        let refusal = Refusal::TimedOut(self.rules().timeouts.request_timeout);
        let (now, date) = (self.shared.clock.now(), self.date());
        let asked = self.unreadable(now);
        refuse_rest(&mut connection, &asked, &refusal, date);
        connection.partial = Vec::new();
        self.sender.deliver(connection, Outcome::Stored);
    }

    /// Reads and drops what the peer of a refused request still sends.
    fn drop_input(&mut self, mut connection: Box<Connection>) {
        // A bounded number of reads in one turn; a fast sender gets the next ones in its next turn, until the
        // deadline.
        for _ in 0..8 {
            self.input.clear();
            // As in `read_and_serve`: a read needs room.
            self.input.reserve(limits::READ_BYTES);
            match connection.read(&mut self.input) {
                Transfer::Moved(_) => {}
                Transfer::WouldBlock => break,
                Transfer::End | Transfer::Broken(_) => return,
            }
        }
        self.input.clear();
        self.rest(connection);
    }
}

impl Worker for Servant {
    type Job = Box<Connection>;

    fn run(&mut self, connection: Box<Connection>) {
        self.turn(connection);
    }

    fn idle(&mut self) {
        self.shared.pauses.wake_if_any(&self.shared.poller);
    }
}

/// Counts the memory of what is unfinished; when it is too much, no more than that has to take.
fn reserve_partial(connection: &mut Connection) -> Result<(), Exhausted> {
    let Connection {
        partial, reserved, ..
    } = connection;
    reserved.resize(partial.capacity()).or_else(|_| {
        partial.shrink_to_fit();
        reserved.resize(partial.capacity())
    })
}

/// What is known of a request that is refused.
#[derive(Debug)]
struct Asked {
    arrived: Instant,
    endpoint: Endpoint,
    client: Option<ClientId>,
    id: RequestId,
}

/// Refuses what follows on a connection: its place in the stream is lost or not worth finding.
fn refuse_rest(connection: &mut Connection, asked: &Asked, refusal: &Refusal, date: Date) {
    refuse(&mut connection.turn, asked, refusal, Form::close(date));
    connection.fate = Fate::Linger;
    // What it sent is not answered, so there is nothing to come back for but its end.
    connection.backlog = false;
}

fn refuse(turn: &mut Turn, asked: &Asked, refusal: &Refusal, form: Form) {
    turn.reply(asked.arrived, asked.endpoint, asked.client, |out| {
        reply::refuse(refusal, form, &asked.id, out)
    });
}
