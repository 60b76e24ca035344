//! Clients that send lines of their own and note the answer to each request.
//!
//! Promises: a request is in its client's account before its first byte is sent, and is acknowledged there
//! only when the reply has arrived whole. Leaves to the caller: what it means that no answer came.

use super::ledger::{Fate, Ledger, PLACES, Request};
use super::{Draw, Error, PATIENCE};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most lines in a request.
const LINES_MAX: u64 = 20;

/// Most requests that a client has under way.
const DEPTH_MAX: u64 = 4;

/// The refusals of a server that has too much to do, or whose disk fails.
const REFUSALS: [&str; 4] = ["queue_full", "log_queue_full", "log_failed", "log_resting"];

/// How clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as replies come.
    Fast,
    /// With a pause after each reply: a small disk is not to fill by the load alone.
    Gentle,
}

/// What is counted while clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Requests acknowledged.
    Acknowledged,
    /// Requests refused.
    Refused,
    /// Requests refused because the disk failed, and is left alone for a while.
    Resting,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    resting: AtomicU64,
    stop: AtomicBool,
}

type Account = Vec<Request>;

/// Clients at work.
#[derive(Debug)]
pub struct Crew {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<(Account, Result<(), String>)>>,
}

impl Crew {
    /// Starts a client for each account.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no thread.
    pub fn start(address: SocketAddr, accounts: Vec<Account>, pace: Pace, seed: u64) -> Result<Self, Error> {
        let counts = Arc::new(Counts::default());
        let mut threads = Vec::new();
        for (number, mut account) in accounts.into_iter().enumerate() {
            let counts = Arc::clone(&counts);
            let draw = Draw::new(seed ^ ((number as u64) << 32));
            let thread = std::thread::Builder::new().spawn(move || {
                let result = work(address, number, &mut account, pace, draw, &counts);
                (account, result)
            })?;
            threads.push(thread);
        }
        Ok(Self { counts, threads })
    }

    /// Asks the clients to end after the replies they wait for.
    pub fn stop(&self) {
        self.counts.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the clients and gives their accounts back.
    ///
    /// # Errors
    /// [`Error::Broken`] when a reply was none that may be.
    pub fn join(self, ledger: &mut Ledger) -> Result<(), Error> {
        let mut accounts = Vec::new();
        let mut first = Ok(());
        for thread in self.threads {
            let (account, result) = thread
                .join()
                .map_err(|_| Error::Setup("a client panicked".to_owned()))?;
            accounts.push(account);
            first = first.and(result);
        }
        ledger.put(accounts);
        first.map_err(Error::Broken)
    }

    /// Waits until `count` has grown by `more`.
    ///
    /// # Errors
    /// [`Error::Broken`] when it does not.
    pub fn wait(&self, count: Count, more: u64, what: &str) -> Result<(), Error> {
        let count = match count {
            Count::Acknowledged => &self.counts.acknowledged,
            Count::Refused => &self.counts.refused,
            Count::Resting => &self.counts.resting,
        };
        let goal = count.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + PATIENCE;
        while count.load(Ordering::Relaxed) < goal {
            if Instant::now() > deadline {
                return Err(Error::Broken(format!("never: {what}")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Sends until the server is gone or a stop is asked for.
fn work(
    address: SocketAddr,
    client: usize,
    account: &mut Account,
    pace: Pace,
    mut draw: Draw,
    counts: &Counts,
) -> Result<(), String> {
    let Ok(stream) = connect(address) else {
        return Ok(());
    };
    let mut stream = BufReader::new(stream);
    while !counts.stop.load(Ordering::Relaxed) {
        let first = account.len();
        let mut bytes = String::new();
        for _ in 0..=draw.below(DEPTH_MAX) {
            let lines = 1 + draw.below(LINES_MAX);
            request(client, account.len() as u64, lines, &mut bytes);
            account.push(Request::new(u16::try_from(lines).unwrap_or(u16::MAX)));
        }
        if stream.get_mut().write_all(bytes.as_bytes()).is_err() {
            return Ok(());
        }
        for request in &mut account[first..] {
            // No reply, or a part of one: nobody knows what became of it.
            let Some(reply) = read_reply(&mut stream) else {
                return Ok(());
            };
            request.fate = judge(&reply)?;
            if reply.body.contains("\"log_resting\"") {
                counts.resting.fetch_add(1, Ordering::Relaxed);
            }
            match request.fate {
                Fate::Acknowledged => counts.acknowledged.fetch_add(1, Ordering::Relaxed),
                _ => counts.refused.fetch_add(1, Ordering::Relaxed),
            };
        }
        if pace == Pace::Gentle {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn request(client: usize, number: u64, lines: u64, out: &mut String) {
    let mut body = String::from("{\"metrics\":[");
    for place in 0..lines {
        let comma = if place > 0 { "," } else { "" };
        let value = number * PLACES + place;
        let _ = write!(body, "{comma}{{\"name\":\"{client}\",\"value\":{value}}}");
    }
    body.push_str("]}");
    let length = body.len();
    let _ = write!(
        out,
        "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

fn read_reply(stream: &mut BufReader<TcpStream>) -> Option<Reply> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = field(&head, "content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Reply { status, head, body })
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a reply says of its request.
fn judge(reply: &Reply) -> Result<Fate, String> {
    let of = |code: &&str| reply.body.contains(&format!("\"code\":\"{code}\""));
    match reply.status {
        200 => Ok(Fate::Acknowledged),
        503 if field(&reply.head, "retry-after").is_some() && REFUSALS.iter().any(of) => Ok(Fate::Refused),
        status => Err(format!("a reply of {status}: {} {}", reply.head, reply.body)),
    }
}
