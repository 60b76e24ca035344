//! One client: the state between its schedule and its connection.
//!
//! Promises: pure; each request handed out by the schedule ends exactly once, as a reply or as a failure,
//! unless the run is stopped while it waits for its time.
//! A connection found closed before a request is sent is opened anew; a request of which a byte may have
//! left is never sent again, so what the server stored can be compared with what it acknowledged.
//! Leaves to the caller: sockets and timers, to do what [`Next`] says, and to close the socket whenever
//! [`Client::has_connection`] is false after an event.

use std::io;
use std::time::Duration;

use crate::clock::Instant;

use super::plan::{Due, Pace, Plan, Schedule};
use super::response::{Progress, Reader, Response};
use super::tally::{Failure, Sample, Tally};

/// Pause before the first repeated attempt to connect, doubled for each further one; and before the next
/// request once one failed for want of a connection, so that a server that is gone is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What a client does beyond its plan.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// Longest time from the start of a request (or of a connection) to its reply.
    pub timeout: Duration,
    /// Whether a connection serves more than one request.
    pub keep_alive: bool,
    /// Further attempts to connect, for each request, before it fails.
    pub connect_retries: u32,
    /// Whether `Retry-After` is obeyed.
    pub obey_retry_after: bool,
}

/// What the caller does next for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call [`Client::woken`] at this moment.
    Sleep(Instant),
    /// Connect, then call [`Client::connected`] or [`Client::failed`].
    Connect,
    /// Send request `number`, then call [`Client::sent`].
    Send {
        /// The number of the request among those of its client.
        number: u64,
    },
    /// Wait for the socket.
    Wait,
    /// Nothing: the client is finished.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sleeping,
    Connecting,
    Sending,
    Receiving,
    Finished,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    schedule: Schedule,
    open_loop: bool,
    conduct: Conduct,
    state: State,
    has_connection: bool,
    /// The request that is due or under way.
    due: Due,
    /// When work on it began.
    began: Instant,
    /// Attempts to connect that failed for it.
    attempts: u32,
    reader: Reader,
    /// All bytes received since the request was sent.
    received: Vec<u8>,
}

impl Client {
    /// Client `id` of a plan that starts at `start`. The first event is [`Client::begin`].
    #[must_use]
    pub fn new(plan: Plan, id: u32, start: Instant, conduct: Conduct) -> Self {
        Self {
            schedule: Schedule::new(plan, id, start),
            open_loop: matches!(plan.pace, Pace::Open { .. }),
            conduct,
            state: State::Finished,
            has_connection: false,
            due: Due {
                at: start,
                number: 0,
                measured: false,
            },
            began: start,
            attempts: 0,
            reader: Reader::default(),
            received: Vec::new(),
        }
    }

    /// Whether the client wants its socket kept.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        self.has_connection
    }

    /// When the request under way has taken too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Connecting | State::Sending | State::Receiving => {
                Some(self.began.after(self.conduct.timeout))
            }
            State::Sleeping | State::Finished => None,
        }
    }

    /// Where received bytes are to be appended, before [`Client::arrived`].
    pub fn received_mut(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// The start of the run.
    pub fn begin(&mut self, now: Instant) -> Next {
        self.plan_next(now, now)
    }

    /// The moment of a [`Next::Sleep`] has come.
    pub fn woken(&mut self, now: Instant) -> Next {
        if self.state != State::Sleeping {
            return self.wait();
        }
        if self.attempts == 0 {
            self.began = now;
        }
        if self.has_connection {
            return self.send();
        }
        self.has_connection = true;
        self.state = State::Connecting;
        Next::Connect
    }

    /// The connection stands.
    pub fn connected(&mut self, tally: &mut Tally) -> Next {
        debug_assert_eq!(self.state, State::Connecting, "nobody else connects");
        tally.connections += 1;
        self.send()
    }

    /// The last byte of the request was handed to the kernel.
    pub fn sent(&mut self) {
        if self.state == State::Sending {
            self.state = State::Receiving;
        }
    }

    /// Bytes were appended to what was received.
    pub fn arrived(&mut self, now: Instant, tally: &mut Tally) -> Next {
        match self.state {
            State::Sending | State::Receiving => self.read(now, false, tally),
            State::Sleeping | State::Finished | State::Connecting => {
                // Nobody asked: a server that gives up on an idle connection may say so before it closes.
                self.received.clear();
                self.has_connection = false;
                self.wait()
            }
        }
    }

    /// The server finished sending.
    pub fn ended(&mut self, now: Instant, tally: &mut Tally) -> Next {
        match self.state {
            State::Sending | State::Receiving => self.read(now, true, tally),
            State::Connecting => self.failed(io::ErrorKind::ConnectionReset, now, tally),
            State::Sleeping | State::Finished => {
                self.has_connection = false;
                self.wait()
            }
        }
    }

    /// The connection, or the attempt to make it, failed.
    pub fn failed(&mut self, kind: io::ErrorKind, now: Instant, tally: &mut Tally) -> Next {
        self.has_connection = false;
        match self.state {
            State::Connecting => self.connect_failed(kind, now, tally),
            State::Sending | State::Receiving => self.fail(Failure::of_connection(kind), now, tally),
            State::Sleeping | State::Finished => self.wait(),
        }
    }

    /// The deadline has passed.
    pub fn timed_out(&mut self, now: Instant, tally: &mut Tally) -> Next {
        let failure = match self.state {
            State::Connecting => Failure::ConnectTimeout,
            State::Sending | State::Receiving => Failure::Timeout,
            State::Sleeping | State::Finished => return self.wait(),
        };
        self.fail(failure, now, tally)
    }

    /// No request is begun any more; the one under way goes on. Answers with the requests that were due and
    /// are dropped.
    pub fn stop(&mut self) -> u64 {
        let slept = u64::from(self.state == State::Sleeping && self.open_loop);
        let dropped = self.schedule.owed() + slept;
        self.schedule.end();
        if self.state == State::Sleeping {
            self.state = State::Finished;
            self.has_connection = false;
        }
        dropped
    }

    fn wait(&self) -> Next {
        match self.state {
            State::Finished => Next::Finish,
            _ => Next::Wait,
        }
    }

    fn send(&mut self) -> Next {
        self.state = State::Sending;
        self.reader = Reader::default();
        self.received.clear();
        Next::Send {
            number: self.due.number,
        }
    }

    fn read(&mut self, now: Instant, ended: bool, tally: &mut Tally) -> Next {
        match self.reader.advance(&self.received, ended) {
            Progress::Whole(response) => self.replied(response, ended, now, tally),
            Progress::Bad => self.fail(Failure::BadResponse, now, tally),
            Progress::Partial if ended => self.fail(Failure::Closed, now, tally),
            Progress::Partial => Next::Wait,
        }
    }

    fn replied(&mut self, response: Response, ended: bool, now: Instant, tally: &mut Tally) -> Next {
        // A reply before the request was sent whole: the rest cannot be taken back.
        let whole = self.state == State::Receiving;
        self.has_connection = whole && response.keep_alive && self.conduct.keep_alive && !ended;
        tally.reply(&self.sample(now), &response);
        let pause = match response.retry_after_s {
            Some(seconds) if self.conduct.obey_retry_after => Duration::from_secs(seconds.into()),
            _ => Duration::ZERO,
        };
        self.plan_next(now, now.after(pause))
    }

    fn connect_failed(&mut self, kind: io::ErrorKind, now: Instant, tally: &mut Tally) -> Next {
        if self.attempts >= self.conduct.connect_retries {
            return self.fail(Failure::of_connect(kind), now, tally);
        }
        let pause = CONNECT_PAUSE.saturating_mul(1 << self.attempts.min(16));
        self.attempts += 1;
        tally.connect_retries += 1;
        self.state = State::Sleeping;
        Next::Sleep(now.after(pause))
    }

    fn fail(&mut self, failure: Failure, now: Instant, tally: &mut Tally) -> Next {
        let pause = if self.state == State::Connecting {
            CONNECT_PAUSE
        } else {
            Duration::ZERO
        };
        self.has_connection = false;
        tally.failure(self.due.measured, failure);
        self.plan_next(now, now.after(pause))
    }

    /// Takes the next request; it starts no earlier than `earliest`.
    fn plan_next(&mut self, now: Instant, earliest: Instant) -> Next {
        self.attempts = 0;
        self.received.clear();
        let Some(due) = self.schedule.next(now) else {
            self.state = State::Finished;
            self.has_connection = false;
            return Next::Finish;
        };
        self.due = due;
        self.state = State::Sleeping;
        Next::Sleep(due.at.max(earliest))
    }

    fn sample(&self, now: Instant) -> Sample {
        let service = now.since(self.began);
        Sample {
            measured: self.due.measured,
            latency: if self.open_loop {
                now.since(self.due.at)
            } else {
                service
            },
            service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Extent;
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);
    const REPLY: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"success\":true,\"metrics_processed\":3}";
    const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    const CONDUCT: Conduct = Conduct {
        timeout: Duration::from_secs(10),
        keep_alive: true,
        connect_retries: 2,
        obey_retry_after: false,
    };

    fn client(requests: u32, conduct: Conduct) -> Client {
        let pace = Pace::Closed {
            interval: Duration::ZERO,
        };
        client_at(requests, pace, conduct)
    }

    fn client_at(requests: u32, pace: Pace, conduct: Conduct) -> Client {
        let plan = Plan {
            clients: 1,
            warmup: Duration::ZERO,
            extent: Extent::Requests(requests),
            pace,
        };
        Client::new(plan, 0, START, conduct)
    }

    /// Brings a fresh client to where its first request was sent.
    fn to_sent(client: &mut Client, tally: &mut Tally) {
        assert_eq!(client.begin(START), Next::Sleep(START));
        assert_eq!(client.woken(START), Next::Connect);
        assert_eq!(client.connected(tally), Next::Send { number: 0 });
        client.sent();
    }

    fn arrive(client: &mut Client, bytes: &[u8], now: Instant, tally: &mut Tally) -> Next {
        client.received_mut().extend_from_slice(bytes);
        client.arrived(now, tally)
    }

    #[test]
    fn a_connection_is_kept_for_the_next_request() {
        let (mut client, mut tally) = (client(2, CONDUCT), Tally::new());
        to_sent(&mut client, &mut tally);
        let now = START.after(Duration::from_millis(5));
        assert_eq!(arrive(&mut client, REPLY, now, &mut tally), Next::Sleep(now));
        assert!(client.has_connection());
        assert_eq!(client.woken(now), Next::Send { number: 1 });
        client.sent();
        assert_eq!(arrive(&mut client, REPLY, now, &mut tally), Next::Finish);
        assert!(!client.has_connection(), "a finished client leaves");
        assert_eq!((tally.successes(), tally.metrics, tally.connections), (2, 6, 1));
        assert_eq!(client.deadline(), None);
    }

    #[test]
    fn a_reply_is_the_same_under_every_split() {
        for reply in [REPLY, REFUSAL, LAST] {
            for first in 1..reply.len() {
                for second in first..reply.len() {
                    let (mut client, mut tally) = (client(1, CONDUCT), Tally::new());
                    to_sent(&mut client, &mut tally);
                    assert_eq!(
                        arrive(&mut client, &reply[..first], START, &mut tally),
                        Next::Wait
                    );
                    let middle = arrive(&mut client, &reply[first..second], START, &mut tally);
                    assert_eq!((middle, tally.requests()), (Next::Wait, 0));
                    assert_eq!(
                        arrive(&mut client, &reply[second..], START, &mut tally),
                        Next::Finish
                    );
                    assert_eq!((tally.requests(), tally.failures.len()), (1, 0));
                    assert_eq!(tally.metrics, if reply == REPLY { 3 } else { 0 });
                }
            }
        }
    }

    #[test]
    fn a_server_that_closes_is_connected_to_again() {
        // Said in the reply; seen while idle; said by bytes nobody asked for.
        for case in 0..3 {
            let (mut client, mut tally) = (client(2, CONDUCT), Tally::new());
            to_sent(&mut client, &mut tally);
            let reply = if case == 0 { LAST } else { REPLY };
            assert_eq!(arrive(&mut client, reply, START, &mut tally), Next::Sleep(START));
            match case {
                0 => {}
                1 => assert_eq!(client.ended(START, &mut tally), Next::Wait),
                _ => assert_eq!(arrive(&mut client, LAST, START, &mut tally), Next::Wait),
            }
            assert!(!client.has_connection(), "case {case}");
            assert_eq!(client.woken(START), Next::Connect);
            assert!(client.has_connection());
            assert_eq!((tally.requests(), tally.failures.len()), (1, 0));
        }
    }

    #[test]
    fn a_connection_per_request_is_not_kept() {
        let conduct = Conduct {
            keep_alive: false,
            ..CONDUCT
        };
        let (mut client, mut tally) = (client(2, conduct), Tally::new());
        to_sent(&mut client, &mut tally);
        arrive(&mut client, REPLY, START, &mut tally);
        assert!(!client.has_connection());
        assert_eq!(client.woken(START), Next::Connect);
    }

    #[test]
    fn each_way_to_fail_has_its_name() {
        type Event = fn(&mut Client, &mut Tally) -> Next;
        let cases: [(Failure, Event); 6] = [
            (Failure::Closed, |client, tally| client.ended(START, tally)),
            (Failure::Closed, |client, tally| {
                arrive(client, &REPLY[..20], START, tally);
                client.ended(START, tally)
            }),
            (Failure::Reset, |client, tally| {
                client.failed(io::ErrorKind::ConnectionReset, START, tally)
            }),
            (Failure::Reset, |client, tally| {
                client.failed(io::ErrorKind::BrokenPipe, START, tally)
            }),
            (Failure::Timeout, |client, tally| client.timed_out(START, tally)),
            (Failure::BadResponse, |client, tally| {
                arrive(client, b"nonsense\r\n", START, tally)
            }),
        ];
        for (failure, event) in cases {
            let (mut client, mut tally) = (client(2, CONDUCT), Tally::new());
            to_sent(&mut client, &mut tally);
            assert_eq!(event(&mut client, &mut tally), Next::Sleep(START));
            assert!(!client.has_connection());
            assert_eq!((tally.failures.get(&failure), tally.requests()), (Some(&1), 1));
            assert_eq!(client.woken(START), Next::Connect);
        }
    }

    #[test]
    fn connecting_is_tried_again_with_growing_pauses_then_fails() {
        let (mut client, mut tally) = (client(1, CONDUCT), Tally::new());
        client.begin(START);
        let mut now = START;
        for pause_ms in [20, 40] {
            assert_eq!(client.woken(now), Next::Connect);
            let next = client.failed(io::ErrorKind::ConnectionRefused, now, &mut tally);
            let later = now.after(Duration::from_millis(pause_ms));
            assert_eq!(next, Next::Sleep(later));
            now = later;
        }
        assert_eq!(client.woken(now), Next::Connect);
        assert_eq!(
            client.failed(io::ErrorKind::ConnectionRefused, now, &mut tally),
            Next::Finish
        );
        assert_eq!(
            (tally.failures[&Failure::ConnectRefused], tally.connect_retries),
            (1, 2)
        );
    }

    #[test]
    fn a_server_that_is_gone_is_not_hammered() {
        let conduct = Conduct {
            connect_retries: 0,
            ..CONDUCT
        };
        let (mut client, mut tally) = (client(2, conduct), Tally::new());
        client.begin(START);
        assert_eq!(client.woken(START), Next::Connect);
        let next = client.failed(io::ErrorKind::AddrNotAvailable, START, &mut tally);
        assert_eq!(next, Next::Sleep(START.after(CONNECT_PAUSE)));
        assert_eq!(tally.failures[&Failure::NoLocalPort], 1);
    }

    #[test]
    fn a_reply_that_comes_early_counts_and_ends_the_connection() {
        let (mut client, mut tally) = (client(2, CONDUCT), Tally::new());
        client.begin(START);
        client.woken(START);
        client.connected(&mut tally);
        // Not sent whole yet.
        assert_eq!(
            arrive(&mut client, REFUSAL, START, &mut tally),
            Next::Sleep(START)
        );
        assert!(!client.has_connection());
        assert_eq!(tally.statuses[&429], 1);
    }

    #[test]
    fn retry_after_is_obeyed_on_demand() {
        for (obey_retry_after, pause_s) in [(false, 0), (true, 2)] {
            let conduct = Conduct {
                obey_retry_after,
                ..CONDUCT
            };
            let (mut client, mut tally) = (client(2, conduct), Tally::new());
            to_sent(&mut client, &mut tally);
            let next = arrive(&mut client, REFUSAL, START, &mut tally);
            assert_eq!(next, Next::Sleep(START.after(Duration::from_secs(pause_s))));
        }
    }

    #[test]
    fn open_loop_latency_counts_from_when_the_request_was_due() {
        let pace = Pace::Open {
            requests_per_second: 10.0,
        };
        let (mut client, mut tally) = (client_at(3, pace, CONDUCT), Tally::new());
        to_sent(&mut client, &mut tally);
        // The first reply takes a second: the second request was due 900 ms ago, the third 800 ms.
        let now = START.after(Duration::from_secs(1));
        assert_eq!(arrive(&mut client, REPLY, now, &mut tally), Next::Sleep(now));
        client.woken(now);
        client.sent();
        arrive(&mut client, REPLY, now, &mut tally);
        client.woken(now);
        client.sent();
        assert_eq!(arrive(&mut client, REPLY, now, &mut tally), Next::Finish);
        let millis = |value: u64| value / 1_000_000;
        assert!((799..=801).contains(&millis(tally.latency.min())));
        assert_eq!(tally.service.min(), 0);
        assert!((999..=1001).contains(&millis(tally.latency.max())));
    }

    #[test]
    fn stopping_lets_the_request_under_way_finish() {
        let (mut client, mut tally) = (client(5, CONDUCT), Tally::new());
        to_sent(&mut client, &mut tally);
        assert_eq!(client.stop(), 0, "a closed loop owes nothing");
        assert!(client.has_connection());
        assert_eq!(arrive(&mut client, REPLY, START, &mut tally), Next::Finish);
        assert_eq!(tally.requests(), 1);

        let pace = Pace::Open {
            requests_per_second: 10.0,
        };
        let mut sleeping = client_at(5, pace, CONDUCT);
        sleeping.begin(START);
        assert_eq!(sleeping.stop(), 5, "one slept for, four not handed out");
        assert_eq!(sleeping.woken(START), Next::Finish);
    }

    /// What a socket, a timer and a server may do next, drawn at random: every request ends exactly once.
    #[test]
    fn every_request_ends_once_whatever_happens() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..2000 {
            let (mut client, mut tally) = (client(12, CONDUCT), Tally::new());
            let mut now = START;
            let mut next = client.begin(now);
            let mut steps = 0;
            while next != Next::Finish {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                steps += 1;
                assert!(steps < 5000, "round {round} does not end");
                now = now.after(Duration::from_micros(random % 500));
                let before = tally.requests();
                next = step(&mut client, next, random >> 20, &mut now, &mut tally);
                assert!(tally.requests() <= before + 1);
            }
            assert_eq!(tally.requests(), 12, "round {round}");
            assert_eq!(
                tally.latency.len() + tally.refused_latency.len(),
                tally.statuses.values().sum::<u64>()
            );
        }
    }

    fn step(client: &mut Client, next: Next, random: u64, now: &mut Instant, tally: &mut Tally) -> Next {
        match next {
            Next::Sleep(at) if client.has_connection() && random.is_multiple_of(4) => {
                // The connection ends while nobody uses it; the timer still stands.
                let event = match random % 3 {
                    0 => client.ended(*now, tally),
                    1 => client.failed(io::ErrorKind::ConnectionReset, *now, tally),
                    _ => arrive(client, LAST, *now, tally),
                };
                assert_eq!(event, Next::Wait);
                Next::Sleep(at)
            }
            Next::Sleep(at) => {
                *now = at.max(*now);
                client.woken(*now)
            }
            Next::Connect => match random % 5 {
                0 => client.failed(io::ErrorKind::ConnectionRefused, *now, tally),
                1 => client.timed_out(*now, tally),
                _ => client.connected(tally),
            },
            Next::Send { .. } => {
                if !random.is_multiple_of(8) {
                    client.sent();
                }
                Next::Wait
            }
            Next::Wait => match random % 9 {
                0 => client.ended(*now, tally),
                1 => client.failed(io::ErrorKind::ConnectionReset, *now, tally),
                2 => client.timed_out(*now, tally),
                3 => arrive(client, REFUSAL, *now, tally),
                4 => arrive(client, LAST, *now, tally),
                _ => arrive(client, REPLY, *now, tally),
            },
            Next::Finish => Next::Finish,
        }
    }
}
