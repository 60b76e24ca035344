//! Replies: the only place that knows status codes.
//!
//! Promises: every refusal has one status, a JSON body that says what was refused, the bound, the value seen
//! and the setting to change where there is one, and the header fields its status requires (RFC 9110
//! section 15). Over quota is 429; overload, disk trouble and draining are 503; bad data is never 5xx.
//! Leaves to the caller: whether the connection goes on, which [`Form`] carries.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::http::response::{Response, Status};
use crate::http::{self, Head, Method, Version};
use crate::ingest;
use crate::limits::OVERLOAD_RETRY_AFTER_S;
use crate::log;
use crate::metric;

use super::budget::Exhausted;
use super::date::Date;
use super::request_id::RequestId;

/// What of a request shapes its reply, whatever the reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The version of the request.
    pub version: Version,
    /// Whether the connection goes on.
    pub keep_alive: bool,
    /// Whether the body is left out (HEAD).
    pub head_only: bool,
    /// The value of Date.
    pub date: Date,
}

impl Form {
    /// The form of a reply to what could not be read as a request.
    #[must_use]
    pub fn close(date: Date) -> Self {
        Self {
            version: Version::Http11,
            keep_alive: false,
            head_only: false,
            date,
        }
    }

    /// The form of the reply to a request with `head`; a server that is `stopping` keeps no connection.
    #[must_use]
    pub fn of(head: &Head<'_>, stopping: bool, date: Date) -> Self {
        Self {
            version: head.version,
            keep_alive: head.keep_alive && (!stopping || crate::seeded!(CLOSE_NOT_SAID_AT_STOP)),
            head_only: matches!(head.method, Method::Head),
            date,
        }
    }
}

/// What a reply says, for the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The code of the refusal, if it is one.
    pub reason: Option<&'static str>,
}

impl Said {
    fn no_refusal(status: u16) -> Self {
        Self { status, reason: None }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// It could not be read.
    Http(http::Error),
    /// The data path refused it.
    Ingest(ingest::Refusal),
    /// The peer is not among those who may read this.
    Forbidden {
        /// Its address.
        peer: IpAddr,
    },
    /// There is nothing at this path.
    NotFound,
    /// The path does not take this method; these it takes.
    MethodNotAllowed(&'static str),
    /// The body is not said to be JSON.
    MediaType,
    /// The body is compressed.
    ContentEncoding,
    /// Metricstream-Ack names no level; the start of what it is.
    AckLevel(String),
    /// It was not whole in time.
    TimedOut(Duration),
    /// Every connection is taken.
    ConnectionsFull {
        /// `connections_max`
        limit: usize,
    },
    /// The workers' queue is full.
    QueueFull {
        /// `queue_jobs_max`
        limit: usize,
        /// When the connection is read again, unless the workers run out of work.
        retry_after: Duration,
    },
    /// The partly received requests take all the memory they may.
    BuffersFull(Exhausted),
    /// The log does not accept lines now, or never so many.
    LogRefused(log::Refusal),
    /// The log accepted lines and could not store them.
    LogFailed(log::Failure),
}

impl From<ingest::Refusal> for Refusal {
    fn from(refusal: ingest::Refusal) -> Self {
        Self::Ingest(refusal)
    }
}

const OK: Status = Status {
    code: 200,
    reason: "OK",
};
const NO_CONTENT: Status = Status {
    code: 204,
    reason: "No Content",
};
const BAD_REQUEST: Status = Status {
    code: 400,
    reason: "Bad Request",
};
const UNAUTHORIZED: Status = Status {
    code: 401,
    reason: "Unauthorized",
};
const FORBIDDEN: Status = Status {
    code: 403,
    reason: "Forbidden",
};
const NOT_FOUND: Status = Status {
    code: 404,
    reason: "Not Found",
};
const METHOD_NOT_ALLOWED: Status = Status {
    code: 405,
    reason: "Method Not Allowed",
};
const REQUEST_TIMEOUT: Status = Status {
    code: 408,
    reason: "Request Timeout",
};
const LENGTH_REQUIRED: Status = Status {
    code: 411,
    reason: "Length Required",
};
const CONTENT_TOO_LARGE: Status = Status {
    code: 413,
    reason: "Content Too Large",
};
const URI_TOO_LONG: Status = Status {
    code: 414,
    reason: "URI Too Long",
};
const UNSUPPORTED_MEDIA_TYPE: Status = Status {
    code: 415,
    reason: "Unsupported Media Type",
};
const EXPECTATION_FAILED: Status = Status {
    code: 417,
    reason: "Expectation Failed",
};
const TOO_MANY_REQUESTS: Status = Status {
    code: 429,
    reason: "Too Many Requests",
};
const HEAD_TOO_LARGE: Status = Status {
    code: 431,
    reason: "Request Header Fields Too Large",
};
const NOT_IMPLEMENTED: Status = Status {
    code: 501,
    reason: "Not Implemented",
};
const UNAVAILABLE: Status = Status {
    code: 503,
    reason: "Service Unavailable",
};
const VERSION_NOT_SUPPORTED: Status = Status {
    code: 505,
    reason: "HTTP Version Not Supported",
};

/// The type of JSON bodies.
pub const JSON: &str = "application/json";

/// Writes the success of a request whose `metrics` metrics are stored.
pub fn ingested(metrics: u32, form: Form, out: &mut Vec<u8>) -> Said {
    let mut body = [0_u8; 64];
    let room = body.len();
    let mut rest = body.as_mut_slice();
    // The longest body, with ten digits, is 47 bytes.
    let written = write!(rest, "{{\"success\":true,\"metrics_processed\":{metrics}}}");
    debug_assert!(written.is_ok(), "the body fits");
    let length = room - rest.len();
    page(JSON, &body[..length], form, out)
}

/// Writes a page.
pub fn page(content_type: &str, body: &[u8], form: Form, out: &mut Vec<u8>) -> Said {
    let response = Response {
        content_type: Some(content_type),
        ..response(OK, &form)
    };
    write(&response, body, form, out)
}

/// Writes a page for a browser, which is held to `policy`.
pub fn browser_page(body: &[u8], policy: &str, form: Form, out: &mut Vec<u8>) -> Said {
    let response = Response {
        content_type: Some("text/html; charset=utf-8"),
        content_security_policy: Some(policy),
        ..response(OK, &form)
    };
    write(&response, body, form, out)
}

/// Writes the page of a server that is not ready.
pub fn not_ready(body: &[u8], form: Form, out: &mut Vec<u8>) -> Said {
    let retry_after_s = Some(OVERLOAD_RETRY_AFTER_S);
    let response = Response {
        content_type: Some(JSON),
        retry_after_s,
        ..response(UNAVAILABLE, &form)
    };
    write(&response, body, form, out)
}

/// Writes the answer to OPTIONS.
pub fn options(allow: &'static str, form: Form, out: &mut Vec<u8>) -> Said {
    write(
        &Response {
            allow: Some(allow),
            ..response(NO_CONTENT, &form)
        },
        b"",
        form,
        out,
    )
}

/// Writes the refusal of the request `id`.
pub fn refuse(refusal: &Refusal, form: Form, id: &RequestId, out: &mut Vec<u8>) -> Said {
    let problem = problem(refusal);
    let (status, reason) = (problem.status.code, problem.code);
    // The message may quote the client; the code cannot.
    tracing::debug!(request_id = %id, status, reason, "refused");
    let body = serde_json::to_vec(&Body {
        success: false,
        error: &problem,
        request_id: id.as_str(),
    })
    .unwrap_or_default();
    let response = Response {
        content_type: Some(JSON),
        retry_after_s: problem.retry_after_s,
        allow: if let Refusal::MethodNotAllowed(allow) = refusal {
            Some(allow)
        } else {
            None
        },
        request_id: Some(id.as_str()),
        www_authenticate: (problem.status == UNAUTHORIZED).then_some("Bearer realm=\"metricstream\""),
        ..response(problem.status, &form)
    };
    write(&response, &body, form, out);
    Said {
        status,
        reason: Some(reason),
    }
}

fn response(status: Status, form: &Form) -> Response<'_> {
    Response {
        keep_alive: form.keep_alive,
        version: form.version,
        date: Some(form.date.as_bytes()),
        ..Response::new(status)
    }
}

fn write(response: &Response<'_>, body: &[u8], form: Form, out: &mut Vec<u8>) -> Said {
    if form.head_only {
        response.write_without_body(body.len(), out);
    } else {
        response.write(body, out);
    }
    Said::no_refusal(response.status.code)
}

#[derive(Serialize)]
struct Body<'a> {
    success: bool,
    error: &'a Problem,
    request_id: &'a str,
}

/// A refusal as the client reads it.
#[derive(Serialize)]
struct Problem {
    #[serde(skip)]
    status: Status,
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

impl Problem {
    fn new(status: Status, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            limit: None,
            seen: None,
            setting: None,
            byte: None,
            metric: None,
            field: None,
            retry_after_s: None,
        }
    }

    fn overload(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(OVERLOAD_RETRY_AFTER_S),
            ..Self::new(UNAVAILABLE, code, message)
        }
    }

    fn bound(self, limit: u64, seen: u64, setting: Option<&'static str>) -> Self {
        Self {
            limit: Some(limit),
            seen: Some(seen),
            setting,
            ..self
        }
    }
}

fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Http(error) => http_problem(error),
        Refusal::Ingest(refusal) => ingest_problem(refusal),
        Refusal::Forbidden { peer } => Problem {
            setting: Some("admin_addresses"),
            ..Problem::new(
                FORBIDDEN,
                "forbidden",
                format!(
                    "{} is not among the addresses that may read this",
                    peer.to_canonical()
                ),
            )
        },
        Refusal::NotFound => Problem::new(
            NOT_FOUND,
            "not_found",
            "there is nothing at this path; metrics go to POST /metrics",
        ),
        Refusal::MethodNotAllowed(allow) => Problem::new(
            METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path takes {allow}"),
        ),
        Refusal::MediaType => {
            let message = "the body must be JSON: send Content-Type: application/json";
            Problem::new(UNSUPPORTED_MEDIA_TYPE, "media_type", message)
        }
        Refusal::ContentEncoding => {
            let message = "the body must not be compressed: send no Content-Encoding";
            Problem::new(UNSUPPORTED_MEDIA_TYPE, "content_encoding", message)
        }
        Refusal::AckLevel(seen) => {
            let message = format!("Metricstream-Ack is {seen:?}: it must be queued, written or synced");
            Problem::new(BAD_REQUEST, "bad_ack_level", message)
        }
        Refusal::TimedOut(limit) => {
            let message = "the request was not whole in time";
            let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let problem = Problem::new(REQUEST_TIMEOUT, "timeout", message);
            problem.bound(millis, millis, Some("request_timeout_ms"))
        }
        refusal => overload_problem(refusal),
    }
}

fn overload_problem(refusal: &Refusal) -> Problem {
    match *refusal {
        Refusal::ConnectionsFull { limit } => {
            let problem = Problem::overload("connections_full", "all connections are taken");
            problem.bound(limit as u64, limit as u64 + 1, Some("connections_max"))
        }
        Refusal::QueueFull { limit, retry_after } => {
            let problem = Problem::overload("queue_full", "too many requests wait for a worker");
            Problem {
                // Rounded down: who comes early waits unread for the rest of a second.
                retry_after_s: Some(retry_after.as_secs().max(1)),
                ..problem.bound(limit as u64, limit as u64 + 1, Some("queue_jobs_max"))
            }
        }
        Refusal::BuffersFull(Exhausted { limit, seen }) => {
            let problem = Problem::overload("buffers_full", "partly received requests take all their memory");
            problem.bound(limit as u64, seen as u64, Some("request_buffer_bytes_max"))
        }
        Refusal::LogRefused(ref refusal) => log_problem(refusal),
        Refusal::LogFailed(failure) => {
            Problem::overload("log_failed", format!("{failure}; nothing was acknowledged"))
        }
        _ => unreachable!("the caller answers every other refusal"),
    }
}

fn log_problem(refusal: &log::Refusal) -> Problem {
    let message = refusal.to_string();
    let full = |message| Problem::overload("log_queue_full", message);
    match *refusal {
        log::Refusal::FullOfBytes { limit, waiting, seen } => {
            full(message).bound(limit as u64, (waiting + seen) as u64, Some("log_queue_bytes_max"))
        }
        log::Refusal::FullOfBatches { limit, waiting } => {
            full(message).bound(limit as u64, waiting as u64 + 1, Some("log_queue_batches_max"))
        }
        log::Refusal::TooLarge { limit, seen } => Problem::new(CONTENT_TOO_LARGE, "batch_too_large", message)
            .bound(limit as u64, seen as u64, Some("log_queue_bytes_max")),
        log::Refusal::Resting { retry_after_ms, .. } => Problem {
            retry_after_s: Some(whole_seconds(Duration::from_millis(retry_after_ms))),
            setting: Some("breaker_failures_max"),
            ..Problem::overload("log_resting", message)
        },
        log::Refusal::Poisoned(_) => Problem::overload("log_failed", message),
        log::Refusal::Stopped => Problem::overload("stopping", message),
    }
}

fn http_problem(error: &http::Error) -> Problem {
    use http::Error;
    let message = error.to_string();
    match *error {
        Error::Syntax { at, .. } => Problem {
            byte: Some(at as u64),
            ..Problem::new(BAD_REQUEST, "bad_request", message)
        },
        Error::LengthRequired => Problem::new(LENGTH_REQUIRED, "length_required", message),
        Error::BodyTooLarge(exceeded) => {
            exceeded_problem(CONTENT_TOO_LARGE, "body_too_large", message, exceeded)
        }
        Error::TargetTooLong(exceeded) => {
            exceeded_problem(URI_TOO_LONG, "target_too_long", message, exceeded)
        }
        Error::HeadTooLarge(exceeded) => {
            exceeded_problem(HEAD_TOO_LARGE, "head_too_large", message, exceeded)
        }
        Error::TransferCoding { .. } => Problem::new(NOT_IMPLEMENTED, "transfer_coding", message),
        Error::Version { .. } => Problem::new(VERSION_NOT_SUPPORTED, "http_version", message),
        Error::Expectation { .. } => Problem::new(EXPECTATION_FAILED, "expectation", message),
    }
}

fn exceeded_problem(
    status: Status,
    code: &'static str,
    message: String,
    exceeded: http::Exceeded,
) -> Problem {
    let http::Exceeded { bound, limit, seen } = exceeded;
    Problem::new(status, code, message).bound(limit as u64, seen, bound.setting())
}

/// A duration as `Retry-After` says it: whole seconds, rounded up so that the client is not too early.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

fn ingest_problem(refusal: &ingest::Refusal) -> Problem {
    match refusal {
        ingest::Refusal::Unauthenticated(reason) => {
            Problem::new(UNAUTHORIZED, "unauthenticated", reason.to_string())
        }
        ingest::Refusal::RateLimited { limit, retry_after } => {
            let message = format!("this client may make {limit} requests a second");
            let problem = Problem::new(TOO_MANY_REQUESTS, "rate_limited", message);
            let setting = Some("client_requests_per_second_max");
            let problem = problem.bound(u64::from(*limit), u64::from(*limit) + 1, setting);
            Problem {
                retry_after_s: Some(whole_seconds(*retry_after)),
                ..problem
            }
        }
        ingest::Refusal::ClientsFull { limit, retry_after } => {
            let problem = Problem::overload("clients_full", "too many clients are active to track another");
            let problem = problem.bound(*limit as u64, *limit as u64 + 1, Some("clients_max"));
            Problem {
                retry_after_s: Some(whole_seconds(*retry_after)),
                ..problem
            }
        }
        ingest::Refusal::Metrics(error) => metrics_problem(error),
    }
}

fn metrics_problem(error: &metric::Error) -> Problem {
    use metric::ErrorKind;
    let message = error.to_string();
    let problem = match error.kind {
        ErrorKind::Json(_) => Problem::new(BAD_REQUEST, "bad_json", message),
        ErrorKind::BatchTooLarge { limit } => Problem::new(CONTENT_TOO_LARGE, "batch_too_large", message)
            .bound(limit as u64, limit as u64 + 1, Some("batch_metrics_max")),
        _ => Problem::new(BAD_REQUEST, "bad_metrics", message),
    };
    Problem {
        byte: Some(u64::from(error.at)),
        metric: error.metric.map(u64::from),
        field: error.field.map(metric::Field::name),
        ..problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_never_too_early_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2)] {
            assert_eq!(
                whole_seconds(Duration::from_millis(millis)),
                seconds,
                "{millis} ms"
            );
        }
    }

    #[test]
    fn the_largest_count_fits_the_success() {
        let form =
            Form::close(crate::server::date::DateCache::default().at(crate::clock::WallTime::default()));
        let mut out = Vec::new();
        assert_eq!(ingested(u32::MAX, form, &mut out), Said::no_refusal(200));
        let text = String::from_utf8(out).expect("ASCII");
        assert!(
            text.ends_with("\r\n\r\n{\"success\":true,\"metrics_processed\":4294967295}"),
            "{text}"
        );
        assert!(text.contains("\r\nContent-Length: 47\r\n"), "{text}");
    }
}
