//! Tells somebody else over HTTP that an alert began to fire or was resolved.
//!
//! Promises: telling never waits: what cannot be queued is dropped and counted. A message is sent again, each
//! time after twice as long, until it is taken, refused for good, or was tried
//! [`WEBHOOK_ATTEMPTS_MAX`] times. A stop ends the waiting; what was not sent by then is dropped and counted.
//! Messages arrive in order. Nothing of the URL but its host is logged: some services put a secret in the
//! path.
//! Leaves to the caller: what a message says.

use std::io;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::limits::{
    WEBHOOK_ATTEMPTS_MAX, WEBHOOK_QUEUE_MAX, WEBHOOK_REPLY_BYTES_MAX, WEBHOOK_RETRY, WEBHOOK_TIMEOUT,
};
use crate::net::client::{self, Request, Url};
use crate::stats::Stats;
use crate::sync::shim::Arc;
use crate::sync::stop::Stop;
use crate::sync::thread_pool::{ThreadPool, Worker};

/// The queue of messages and the thread that sends them.
#[derive(Debug)]
pub struct Webhook {
    thread: ThreadPool<Vec<u8>>,
    stop: Arc<Stop>,
    stats: Arc<Stats>,
}

#[derive(Debug)]
struct Courier {
    url: Url,
    clock: SystemClock,
    stop: Arc<Stop>,
    stats: Arc<Stats>,
    retry: Duration,
}

/// What came of one attempt.
#[derive(Debug)]
enum Attempt {
    Taken,
    /// Another attempt may do.
    Later(String),
    /// No attempt will do.
    Never(String),
}

impl Webhook {
    /// A thread that sends to `url`.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub fn start(url: Url, clock: SystemClock, stats: Arc<Stats>) -> io::Result<Self> {
        Self::start_with(url, clock, stats, WEBHOOK_RETRY)
    }

    fn start_with(url: Url, clock: SystemClock, stats: Arc<Stats>, retry: Duration) -> io::Result<Self> {
        let stop = Arc::new(Stop::new());
        let courier = Courier {
            url,
            clock,
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
            retry,
        };
        Ok(Self {
            thread: ThreadPool::start("webhook", vec![courier], WEBHOOK_QUEUE_MAX)?,
            stop,
            stats,
        })
    }

    /// Queues a message, a document of JSON, or drops it when the queue is full.
    pub fn tell(&self, message: Vec<u8>) {
        if self.thread.submit(message).is_err() {
            self.stats.webhooks_dropped.add(1);
        }
    }

    /// Ends the thread after the attempt it is at.
    pub fn stop(&self) {
        self.stop.request();
        self.thread.drain();
    }
}

impl Courier {
    fn attempt(&self, message: &[u8]) -> Attempt {
        let request = Request {
            method: "POST",
            fields: "Content-Type: application/json\r\n",
            body: message,
            timeout: WEBHOOK_TIMEOUT,
            reply_bytes_max: WEBHOOK_REPLY_BYTES_MAX,
        };
        match client::call(&self.url, &request, &self.clock) {
            Ok(reply) => match reply.status {
                200..=299 => Attempt::Taken,
                // RFC 9110 section 15: these may be another tomorrow, the other 4xx are our own fault.
                408 | 425 | 429 | 500..=599 => Attempt::Later(format!("status {}", reply.status)),
                status => Attempt::Never(format!("status {status}")),
            },
            Err(error) => Attempt::Later(error.to_string()),
        }
    }
}

impl Worker for Courier {
    type Job = Vec<u8>;

    fn run(&mut self, message: Vec<u8>) {
        let host = self.url.authority();
        let mut wait = self.retry;
        for attempt in 1..=WEBHOOK_ATTEMPTS_MAX {
            if self.stop.is_requested() {
                self.stats.webhooks_dropped.add(1);
                return;
            }
            match self.attempt(&message) {
                Attempt::Taken => {
                    self.stats.webhooks_sent.add(1);
                    return;
                }
                Attempt::Later(reason) if attempt < WEBHOOK_ATTEMPTS_MAX => {
                    tracing::debug!(
                        host,
                        attempt,
                        reason,
                        "the webhook did not take an alert; trying again"
                    );
                    self.stop.wait_timeout(wait);
                    wait *= 2;
                }
                Attempt::Later(reason) | Attempt::Never(reason) => {
                    self.stats.webhooks_failed.add(1);
                    tracing::warn!(
                        host,
                        attempt,
                        reason,
                        "the webhook did not take an alert; given up"
                    );
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(any(metricstream_loom, metricstream_shuttle)))]
mod tests {
    use super::*;
    use crate::sync::shim::thread;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Answers each connection with the next status; gives the requests.
    fn receiver(statuses: &'static [u16]) -> (Url, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook/secret", listener.local_addr().unwrap());
        let body = move || {
            let mut requests = Vec::new();
            for status in statuses {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                while !text.ends_with('}') {
                    let mut block = [0; 1024];
                    let count = stream.read(&mut block).unwrap();
                    text.push_str(std::str::from_utf8(&block[..count]).unwrap());
                }
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").unwrap();
                requests.push(text);
            }
            requests
        };
        (url.parse().unwrap(), thread::spawn("receiver", body).unwrap())
    }

    fn sent(statuses: &'static [u16], messages: &[&str]) -> (Vec<String>, [u64; 3]) {
        let (url, receiver) = receiver(statuses);
        let stats = Arc::new(Stats::default());
        let short = Duration::from_millis(1);
        let webhook = Webhook::start_with(url, SystemClock::new(), Arc::clone(&stats), short).unwrap();
        for message in messages {
            webhook.tell(message.as_bytes().to_vec());
        }
        let requests = receiver.join().unwrap();
        webhook.thread.drain();
        let counts = [
            stats.webhooks_sent.get(),
            stats.webhooks_failed.get(),
            stats.webhooks_dropped.get(),
        ];
        (requests, counts)
    }

    #[test]
    fn a_message_is_sent_until_it_is_taken_and_the_order_is_kept() {
        let (requests, counts) = sent(&[503, 500, 200, 204], &["{\"a\":1}", "{\"b\":2}"]);
        let bodies: Vec<_> = requests
            .iter()
            .map(|text| text.rsplit("\r\n").next().unwrap())
            .collect();
        assert_eq!(bodies, ["{\"a\":1}", "{\"a\":1}", "{\"a\":1}", "{\"b\":2}"]);
        assert!(requests[0].starts_with("POST /hook/secret HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert_eq!(counts, [2, 0, 0]);
    }

    #[test]
    fn what_is_refused_for_good_is_not_sent_again() {
        assert_eq!(sent(&[404, 200], &["{}", "{}"]).1, [1, 1, 0]);
        let (requests, counts) = sent(&[500; WEBHOOK_ATTEMPTS_MAX as usize], &["{}"]);
        assert_eq!(
            (requests.len(), counts),
            (WEBHOOK_ATTEMPTS_MAX as usize, [0, 1, 0])
        );
    }

    #[test]
    fn a_full_queue_drops_and_a_stop_does_not_wait() {
        // Nobody accepts: the kernel takes the connection and the request, and no reply comes.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let stats = Arc::new(Stats::default());
        let webhook = Webhook::start(url.parse().unwrap(), SystemClock::new(), Arc::clone(&stats)).unwrap();
        for _ in 0..WEBHOOK_QUEUE_MAX + 10 {
            webhook.tell(b"{}".to_vec());
        }
        let dropped = stats.webhooks_dropped.get();
        assert!((9..=10).contains(&dropped), "{dropped}");
        drop(listener);
        webhook.stop();
        assert_eq!(stats.webhooks_sent.get(), 0);
        let all = stats.webhooks_dropped.get() + stats.webhooks_failed.get();
        assert_eq!(all, WEBHOOK_QUEUE_MAX as u64 + 10);
    }
}
