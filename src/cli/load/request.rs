//! The requests: built once for a thread, then a few digits are written over for each request.
//!
//! Promises: the head and the body lie in one contiguous run of bytes, so one write sends both; no
//! allocation for a request; every metric of a run differs from every other one in its tags.
//! Leaves to the caller: to send, or copy, the bytes before the next request is made.
//!
//! The shape of a metric, `I` the client (5 digits), `N` the number of the request of that client
//! (8 digits), `M` the metric's place in the request; names and types repeat every four metrics:
//!
//! ```json
//! {"name":"load.cpu.utilization","value":417.093,"type":"gauge",
//!  "tags":{"client":"IIIII","request":"NNNNNNNN","place":"M"},"timestamp":1767323045678}
//! ```

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::clock::WallTime;

/// How a client names itself in `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// No header: the server tells clients apart by their address.
    Anonymous,
    /// `Bearer <token>`, the same for all clients.
    Shared(String),
    /// `Bearer <prefix><client>`, each client its own.
    Each(String),
}

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub struct Form {
    /// The server, for `Host`.
    pub host: String,
    /// The server's address.
    pub address: SocketAddr,
    /// The target of the requests.
    pub path: String,
    /// Metrics in one request; at least one.
    pub batch: u32,
    /// Who the clients say they are.
    pub credential: Credential,
    /// Whether a connection serves more than one request.
    pub keep_alive: bool,
}

const KINDS: [(&str, &str); 4] = [
    ("load.cpu.utilization", "gauge"),
    ("load.requests.total", "counter"),
    ("load.request.duration", "histogram"),
    ("load.queue.wait", "summary"),
];

const CLIENT_DIGITS: usize = 5;
const REQUEST_DIGITS: usize = 8;
const VALUE_DIGITS: usize = 3;
const TIME_DIGITS: usize = 13;

/// Where the digits of one metric begin, in bytes from the start of the buffer.
#[derive(Clone, Copy, Debug)]
struct Places {
    whole: usize,
    fraction: usize,
    client: usize,
    request: usize,
    time: usize,
}

impl Form {
    /// The request head of one client.
    #[must_use]
    pub fn head(&self, client: u32, body_bytes: usize) -> Vec<u8> {
        let mut head = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.authority());
        match &self.credential {
            Credential::Anonymous => {}
            Credential::Shared(token) => _ = write!(head, "Authorization: Bearer {token}\r\n"),
            Credential::Each(prefix) => _ = write!(head, "Authorization: Bearer {prefix}{client}\r\n"),
        }
        head.push_str("Content-Type: application/json\r\n");
        if !self.keep_alive {
            head.push_str("Connection: close\r\n");
        }
        _ = write!(head, "Content-Length: {body_bytes}\r\n\r\n");
        head.into_bytes()
    }

    /// `Host` of RFC 9110 section 7.2: an IPv6 address stands in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        let port = self.address.port();
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

/// The buffer in which a thread makes its requests.
#[derive(Debug)]
pub struct Template {
    /// Room for a head, then the body.
    buffer: Vec<u8>,
    body_at: usize,
    places: Vec<Places>,
    /// State of the generator that the values come from.
    random: u64,
}

impl Template {
    /// A buffer for requests of `batch` metrics with heads of at most `head_bytes_max`.
    #[must_use]
    pub fn new(batch: u32, head_bytes_max: usize) -> Self {
        let mut text = " ".repeat(head_bytes_max);
        text.push_str("{\"metrics\":[");
        let places = (0..batch).map(|place| push_metric(&mut text, place)).collect();
        text.push_str("]}");
        Self {
            buffer: text.into_bytes(),
            body_at: head_bytes_max,
            places,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Length of every body made here.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.buffer.len() - self.body_at
    }

    /// Makes request `number` of `client` and answers with its bytes, which begin with `head`.
    pub fn make(&mut self, head: &[u8], client: u32, number: u64, now: WallTime) -> &[u8] {
        let client: [u8; CLIENT_DIGITS] = digits(client.into());
        let request: [u8; REQUEST_DIGITS] = digits(number);
        let time: [u8; TIME_DIGITS] = digits(now.epoch_millis().unsigned_abs());
        for places in &self.places {
            // Xorshift (Marsaglia 2003): bodies must differ, nothing more is asked of it.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            // The first digit is not 0, which JSON's numbers do not allow.
            let whole: [u8; VALUE_DIGITS] = digits(100 + self.random % 900);
            let fraction: [u8; VALUE_DIGITS] = digits((self.random >> 32) % 1000);
            put(&mut self.buffer, places.whole, whole);
            put(&mut self.buffer, places.fraction, fraction);
            put(&mut self.buffer, places.client, client);
            put(&mut self.buffer, places.request, request);
            put(&mut self.buffer, places.time, time);
        }
        let start = self.body_at - head.len();
        self.buffer[start..self.body_at].copy_from_slice(head);
        &self.buffer[start..]
    }
}

fn push_metric(text: &mut String, place: u32) -> Places {
    let (name, kind) = KINDS[place as usize % KINDS.len()];
    if place > 0 {
        text.push(',');
    }
    let mut field = |before: &str, digits: &str| {
        text.push_str(before);
        let at = text.len();
        text.push_str(digits);
        at
    };
    let whole = field(&format!("{{\"name\":\"{name}\",\"value\":"), "100");
    let fraction = field(".", "000");
    let client = field(&format!(",\"type\":\"{kind}\",\"tags\":{{\"client\":\""), "00000");
    let request = field("\",\"request\":\"", "00000000");
    let time = field(
        &format!("\",\"place\":\"{place}\"}},\"timestamp\":"),
        "1000000000000",
    );
    text.push('}');
    Places {
        whole,
        fraction,
        client,
        request,
        time,
    }
}

#[inline]
fn put<const N: usize>(buffer: &mut [u8], at: usize, digits: [u8; N]) {
    buffer[at..at + N].copy_from_slice(&digits);
}

/// The last `N` decimal digits of `number`.
#[inline]
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn form(credential: Credential, keep_alive: bool) -> Form {
        Form {
            host: "127.0.0.1".to_owned(),
            address: "127.0.0.1:8080".parse().expect("address"),
            path: "/metrics".to_owned(),
            batch: 3,
            credential,
            keep_alive,
        }
    }

    fn body(request: &[u8], head: &[u8]) -> serde_json::Value {
        assert!(request.starts_with(head));
        serde_json::from_slice(&request[head.len()..]).expect("the body is JSON")
    }

    #[test]
    fn heads_say_who_how_long_and_whether_to_close() {
        let each = form(Credential::Each("load-".to_owned()), true);
        let head = String::from_utf8(each.head(7, 42)).expect("text");
        assert_eq!(
            head,
            "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer load-7\r\n\
             Content-Type: application/json\r\nContent-Length: 42\r\n\r\n"
        );
        let shared = String::from_utf8(form(Credential::Shared("s".to_owned()), false).head(7, 1));
        let shared = shared.expect("text");
        assert!(shared.contains("Authorization: Bearer s\r\n"));
        assert!(shared.contains("Connection: close\r\n"));
        let anonymous = String::from_utf8(form(Credential::Anonymous, true).head(7, 1)).expect("text");
        assert!(!anonymous.contains("Authorization"));
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        let form = Form {
            host: "::1".to_owned(),
            ..form(Credential::Anonymous, true)
        };
        assert_eq!(form.authority(), "[::1]:8080");
    }

    #[test]
    fn every_metric_of_every_request_is_its_own() {
        let form = form(Credential::Each("load-".to_owned()), true);
        let mut template = Template::new(6, 200);
        let length = template.body_bytes();
        let mut seen = HashSet::new();
        for client in [0, 1, 99_999] {
            let head = form.head(client, length);
            for number in [0, 1, 2, 12_345_678] {
                let now = WallTime::from_epoch_millis(1_767_323_045_678);
                let request = template.make(&head, client, number, now).to_vec();
                assert_eq!(request.len(), head.len() + length);
                let body = body(&request, &head);
                for (place, metric) in body["metrics"].as_array().expect("array").iter().enumerate() {
                    let value = metric["value"].as_f64().expect("number");
                    assert!((100.0..1000.0).contains(&value));
                    assert_eq!(metric["timestamp"], 1_767_323_045_678_i64);
                    let tags = &metric["tags"];
                    assert_eq!(tags["client"], format!("{client:05}"));
                    assert_eq!(tags["request"], format!("{number:08}"));
                    assert_eq!(tags["place"], place.to_string());
                    assert!(seen.insert(tags.to_string()));
                }
            }
        }
        assert_eq!(seen.len(), 3 * 4 * 6);
    }
}
