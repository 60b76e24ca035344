//! A simulated client: sends what its plan says, reads replies, writes down what it saw.
//!
//! Promises: it never waits for what the server need not do: it reads while it waits to send, and stops
//! sending once a reply says that the connection ends. Leaves to the caller: the verdict.

use super::chance;
use super::plan::{ConnectionPlan, Early, Leaving};
use super::reply::{self, Reply};
use super::request::{Kind, Request};
use super::world::World;
use metricstream::net::Transfer;
use metricstream::net::simulated::Client;
use metricstream::sync::shim::time;

/// One request and what became of it.
#[derive(Debug)]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// All of it was sent.
    pub whole: bool,
    /// The rules had been reloaded before the first byte was sent, or somebody had been answered by new ones.
    pub reloaded_before_begin: bool,
    /// A reload had begun when the reply was read.
    pub reloading_at_reply: bool,
    /// The server had been told to stop before the last byte was sent.
    pub stopping_before_end: bool,
    /// The server had been told to stop when the reply was read.
    pub stopping_at_reply: bool,
    /// The reply.
    pub reply: Option<Reply>,
}

impl Exchange {
    /// Whether the reply was made by strict rules (see [`super::plan::Reload`]), if it tells.
    #[must_use]
    pub fn is_by_strict_rules(&self) -> Option<bool> {
        let reply = self.reply.as_ref()?;
        match (self.request.kind, reply.status, reply.code.as_str()) {
            (_, 401, _) | (Kind::Statistics, 403, _) => Some(true),
            (Kind::Statistics | Kind::Metrics, 200, _)
            | (Kind::BadJson | Kind::BadMetrics, 400, _)
            | (Kind::Metrics | Kind::BadJson | Kind::BadMetrics, 429, _)
            | (Kind::Metrics, 503, "log_queue_full" | "log_failed" | "log_resting") => Some(false),
            _ => None,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nobody listened.
    Refused,
    /// The client left as planned, with every reply.
    Done,
    /// The client left early, as planned.
    LeftEarly,
    /// The server closed.
    Closed,
    /// A reset came.
    Reset,
}

/// What a client saw on one connection.
#[derive(Debug)]
pub struct Conversation {
    /// Which.
    pub name: String,
    /// Its requests in order.
    pub exchanges: Vec<Exchange>,
    /// How it ended.
    pub ending: Ending,
    /// Bytes of a reply that was not whole.
    pub leftover: usize,
    /// The client had said that it sends no more.
    pub finished: bool,
    /// The server had been told to stop when it ended.
    pub stopping: bool,
    /// The deadline of the stop was past.
    pub past_deadline: bool,
    /// The time when it ended, in nanoseconds.
    pub ended_nanos: u64,
}

/// All that client `index` does.
pub fn run(world: &World, index: usize) {
    let mut staying = Vec::new();
    for (number, plan) in world.plan.clients[index].connections.iter().enumerate() {
        let name = format!("{index}.{number}");
        let exchanges = plan.requests.iter().map(|request| Exchange {
            request: request.clone(),
            whole: false,
            reloaded_before_begin: false,
            reloading_at_reply: false,
            stopping_before_end: false,
            stopping_at_reply: false,
            reply: None,
        });
        let mut talk = Talk {
            world,
            name,
            plan,
            stream: Vec::new(),
            ends: Vec::new(),
            sent: 0,
            inbox: Vec::new(),
            exchanges: exchanges.collect(),
            replies: 0,
            closing: false,
            finished: false,
        };
        for request in &plan.requests {
            talk.stream.extend_from_slice(&request.bytes);
            talk.ends.push(talk.stream.len());
        }
        let Some(client) = world.network.connect() else {
            talk.end(Ending::Refused);
            continue;
        };
        match talk.hold(&client) {
            Some(Ending::LeftEarly) => {
                talk.end(Ending::LeftEarly);
                leave_early(client, plan.leaving);
            }
            Some(ending) => talk.end(ending),
            None => staying.push((client, talk)),
        }
    }
    world.finish_talking();
    for (client, mut talk) in staying {
        let ending = talk.read_to_the_end(&client);
        talk.end(ending);
    }
}

fn leave_early(client: Client, leaving: Leaving) {
    match leaving {
        Leaving::Early(Early::Resets, _) => client.reset(),
        Leaving::Early(Early::Vanishes, _) => client.vanish(),
        _ => drop(client),
    }
}

struct Talk<'a> {
    world: &'a World,
    name: String,
    plan: &'a ConnectionPlan,
    stream: Vec<u8>,
    /// Where each request ends in the stream.
    ends: Vec<usize>,
    sent: usize,
    inbox: Vec<u8>,
    exchanges: Vec<Exchange>,
    replies: usize,
    /// A reply said that the connection ends.
    closing: bool,
    finished: bool,
}

impl Talk<'_> {
    /// Talks to the end; `None` when the client stays until the server closes.
    fn hold(&mut self, client: &Client) -> Option<Ending> {
        loop {
            if self.closing && self.plan.leaving == Leaving::Stays {
                return None;
            }
            if self.closing {
                client.finish_sending();
                self.finished = true;
                return Some(self.read_to_the_end(client));
            }
            let limit = self.limit();
            let mut moved = false;
            if self.sent < limit {
                match self.send(client, limit) {
                    Transfer::Moved(_) => moved = true,
                    Transfer::WouldBlock => {}
                    Transfer::End | Transfer::Broken(_) => return Some(Ending::Reset),
                }
            }
            if let Leaving::Early(_, bytes) = self.plan.leaving
                && self.sent >= bytes
            {
                return Some(Ending::LeftEarly);
            }
            let all_sent = self.sent == self.stream.len();
            if all_sent && !self.finished && self.plan.leaving == Leaving::FinishesSending {
                client.finish_sending();
                self.finished = true;
            }
            if !(moved && self.plan.reads_late) {
                match self.receive(client) {
                    Transfer::Moved(_) => moved = true,
                    Transfer::WouldBlock => {}
                    Transfer::End => return Some(Ending::Closed),
                    Transfer::Broken(_) => return Some(Ending::Reset),
                }
            }
            if all_sent && self.replies == self.exchanges.len() && !self.closing {
                match self.plan.leaving {
                    Leaving::FinishesSending => return Some(self.read_to_the_end(client)),
                    Leaving::Stays => return None,
                    _ => return Some(Ending::Done),
                }
            }
            if !moved {
                client.wait(self.sent < self.limit());
            }
        }
    }

    /// How far the stream may be sent now.
    fn limit(&self) -> usize {
        let all = self.stream.len();
        let limit = if self.plan.pipelines {
            all
        } else {
            self.ends.get(self.replies).copied().unwrap_or(all)
        };
        match self.plan.leaving {
            Leaving::Early(_, bytes) => limit.min(bytes),
            _ => limit,
        }
    }

    fn send(&mut self, client: &Client, limit: usize) -> Transfer {
        let most = (limit - self.sent).min(self.plan.piece_bytes);
        let piece = if chance::one_in(3) {
            1 + chance::below(most)
        } else {
            most
        };
        let stopping = self.world.server.stopping.is_requested();
        let reloaded = self.world.reload.is_done();
        let before = self.sent;
        let transfer = client.send(&self.stream[self.sent..self.sent + piece]);
        if let Transfer::Moved(count) = transfer {
            self.sent += count;
            let begins = std::iter::once(&0).chain(&self.ends);
            for ((exchange, end), begin) in self.exchanges.iter_mut().zip(&self.ends).zip(begins) {
                if (before..self.sent).contains(begin) {
                    exchange.reloaded_before_begin = reloaded;
                }
                if !exchange.whole && *end <= self.sent {
                    exchange.whole = true;
                    exchange.stopping_before_end = stopping;
                }
            }
        }
        transfer
    }

    fn receive(&mut self, client: &Client) -> Transfer {
        let transfer = client.receive(&mut self.inbox);
        if let Transfer::Moved(_) = transfer {
            self.take_replies();
        }
        transfer
    }

    fn take_replies(&mut self) {
        loop {
            let reply = match reply::take(&mut self.inbox) {
                Ok(Some(reply)) => reply,
                Ok(None) => return,
                Err(error) => {
                    self.complain(&format!("a reply cannot be read: {error}"));
                    self.inbox.clear();
                    self.closing = true;
                    return;
                }
            };
            if self.closing {
                return self.complain(&format!("a reply after the last one: {reply:?}"));
            }
            self.closing = reply.close;
            let Some(exchange) = self.exchanges.get_mut(self.replies) else {
                return self.complain(&format!("a reply to nothing: {reply:?}"));
            };
            exchange.stopping_at_reply = self.world.server.stopping.is_requested();
            exchange.reloading_at_reply = self.world.reload.has_begun();
            exchange.reply = Some(reply);
            let to_strict = self.world.plan.reload.as_ref().map(|reload| reload.to_strict);
            if exchange.reloading_at_reply
                && exchange.is_by_strict_rules() == to_strict
                && to_strict.is_some()
            {
                self.world.reload.finish();
            }
            self.replies += 1;
        }
    }

    /// Reads until the server closes.
    fn read_to_the_end(&mut self, client: &Client) -> Ending {
        loop {
            match self.receive(client) {
                Transfer::Moved(_) => {}
                Transfer::WouldBlock => client.wait(false),
                Transfer::End => return Ending::Closed,
                Transfer::Broken(_) => return Ending::Reset,
            }
        }
    }

    fn complain(&self, what: &str) {
        self.world.violation(format!("connection {}: {what}", self.name));
    }

    fn end(self, ending: Ending) {
        let since = self.world.stopping_for();
        self.world.note(Conversation {
            name: self.name,
            exchanges: self.exchanges,
            ending,
            leftover: self.inbox.len(),
            finished: self.finished,
            stopping: since.is_some(),
            past_deadline: since.is_some_and(|since| since >= self.world.plan.config.stop_timeout),
            ended_nanos: time::now_nanos(),
        });
    }
}
