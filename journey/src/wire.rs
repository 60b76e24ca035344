//! What no stage changes: how a request is read off a connection, and how the reply is written.
//!
//! Promises: requests are framed by the product's own parser, so no stage is fast by reading carelessly;
//! one request a connection; no client can hold a read or a write for more than [`PATIENCE`] a step.
//! Leaves to the caller: what the reply is.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use metricstream::http::exchange::{Exchange, Step};
use metricstream::http::response::CONTINUE;
use metricstream::http::{Head, Limits, Method};

/// Longest wait for a client's next bytes, or for it to take some of the reply.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Room made for a read, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /metrics`
    Metrics,
    /// `GET /stats`
    Stats,
    /// `GET /health`
    Health,
    /// Anything else.
    Other,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is for.
    pub route: Route,
    /// Who it is from: the value of Authorization, empty without one.
    pub client: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a stage answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// So many metrics were taken.
    Taken(u32),
    /// A page of JSON.
    Page(String),
    /// Not this time: status and reason.
    Refused(u16, String),
}

impl Reply {
    /// The answer to a request that a stage has no page for, or to `GET /health`.
    #[must_use]
    pub fn to_other(route: Route) -> Self {
        match route {
            Route::Health => Self::Page("{\"status\":\"ok\"}".to_owned()),
            _ => Self::Refused(
                404,
                "POST /metrics, GET /stats and GET /health are served".to_owned(),
            ),
        }
    }

    /// Whether it is a success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Refused(..))
    }
}

/// Serves the one request of a connection: reads it, answers what `handle` says, closes. Says whether a
/// success was sent.
pub fn serve_one(mut stream: TcpStream, handle: impl FnOnce(&Request) -> Reply) -> bool {
    match read(&mut stream) {
        Ok(Some(request)) => {
            let reply = handle(&request);
            write(&mut stream, &reply).is_ok() && reply.is_success()
        }
        Ok(None) => {
            let refusal = Reply::Refused(400, "the request cannot be read".to_owned());
            // Whoever sends what is no request may not read replies either.
            let _ = write(&mut stream, &refusal);
            false
        }
        // Nobody is there to be answered.
        Err(_) => false,
    }
}

/// Reads one request; `None` when what came is none.
fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let limits = Limits::default();
    let mut exchange = Exchange::new();
    let mut buffer = Vec::new();
    loop {
        let (keep, send_continue) = match exchange.advance(&limits, &mut buffer) {
            Step::Request { head, body, .. } => return Ok(Some(request(&head, body))),
            Step::Refuse(_) => return Ok(None),
            Step::NeedMore {
                keep, send_continue, ..
            } => (keep, send_continue),
        };
        if send_continue {
            stream.write_all(CONTINUE)?;
        }
        buffer.resize(keep + READ_BYTES, 0);
        let read = stream.read(&mut buffer[keep..])?;
        buffer.truncate(keep + read);
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn request(head: &Head<'_>, body: &[u8]) -> Request {
    let route = match (head.method, head.target.path) {
        (Method::Post, b"/metrics") => Route::Metrics,
        (Method::Get, b"/stats") => Route::Stats,
        (Method::Get, b"/health") => Route::Health,
        _ => Route::Other,
    };
    let client = String::from_utf8_lossy(head.authorization.unwrap_or_default());
    Request {
        route,
        client: client.into_owned(),
        body: body.to_vec(),
    }
}

fn write(stream: &mut TcpStream, reply: &Reply) -> io::Result<()> {
    let (status, body) = match reply {
        Reply::Taken(metrics) => (
            "200 OK",
            format!("{{\"success\":true,\"metrics_processed\":{metrics}}}"),
        ),
        Reply::Page(page) => ("200 OK", page.clone()),
        Reply::Refused(status, reason) => {
            let reason = reason.replace(['"', '\\'], "'");
            (
                reason_phrase(*status),
                format!("{{\"success\":false,\"error\":\"{reason}\"}}"),
            )
        }
    };
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    if matches!(reply, Reply::Refused(429 | 503, _)) {
        text.push_str("Retry-After: 1\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes())
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request",
        404 => "404 Not Found",
        429 => "429 Too Many Requests",
        503 => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}
