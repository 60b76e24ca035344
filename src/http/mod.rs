//! HTTP/1.1 and HTTP/1.0 messages as pure functions over bytes (RFC 9110, RFC 9112).
//!
//! No sockets, clocks or threads: bytes come in as slices, requests and refusals come out, and the same
//! code is run by the server, the property tests and the fuzzer.
//!
//! | module | job |
//! |---|---|
//! | `block`, `scan` | byte classes and searches, sixteen bytes at a time |
//! | [`head`] | request line and fields, borrowed from the buffer |
//! | [`body`] | the chunked coding, decoded in place |
//! | [`exchange`] | one connection's place in its byte stream: head, then body, then the next request |
//! | [`response`] | writes replies |
//!
//! # Promises
//!
//! - What comes out depends on the bytes alone, never on how they were split into reads.
//! - Total work is linear in the bytes received, whatever the splits.
//! - No input panics, and none makes this code allocate (it allocates nothing but the reply's growth in
//!   the caller's buffer).
//! - What another recipient could frame differently is refused, and a refusal ends the connection.
//!
//! # Left to the caller
//!
//! Reading, writing, time-outs, which methods and paths exist, and status codes: `server::reply` maps each
//! variant of [`Error`] to one.
//!
//! # How a server uses it
//!
//! ```
//! use metricstream::http::{Exchange, Limits, Step};
//!
//! let limits = Limits::default();
//! let mut exchange = Exchange::new();
//! let mut buffer = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /".to_vec();
//! match exchange.advance(&limits, &mut buffer) {
//!     Step::Request { head, body, consumed } => {
//!         assert_eq!((head.target.path, body), (&b"/metrics"[..], &b"{}"[..]));
//!         buffer.drain(..consumed);
//!     }
//!     Step::NeedMore { keep, .. } => buffer.truncate(keep), // then append what the socket gives
//!     Step::Refuse(error) => panic!("{error}"), // reply and close
//! }
//! assert_eq!(buffer, b"GET /"); // the start of the next request: call advance again
//! ```

mod block;
mod scan;

pub mod head;

pub mod body;

pub mod exchange;

pub mod response;

pub use exchange::{Exchange, Step};
pub use head::{Framing, Head, Method, Target, Version};
pub use response::{Response, Status};

use crate::limits;

/// The bounds of one request, checked settings and fixed bounds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest head in bytes, from the first byte of the request (empty lines before the request line
    /// included) to the end of the empty line that closes it.
    pub head_bytes_max: usize,
    /// Longest request target in bytes.
    pub target_bytes_max: usize,
    /// Most field lines.
    pub headers_max: usize,
    /// Longest body in bytes, chunked framing removed.
    pub body_bytes_max: usize,
    /// Longest chunk-size line in bytes, extensions included, line end excluded.
    pub chunk_line_bytes_max: usize,
    /// Most bytes of chunk extensions in one body: all that stands between chunk sizes and line ends.
    pub chunk_extension_bytes_max: usize,
    /// Longest trailer section in bytes: its field lines with their line ends.
    pub trailer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: limits::HEAD_BYTES_MAX_DEFAULT,
            target_bytes_max: limits::TARGET_BYTES_MAX,
            headers_max: limits::HEADERS_MAX,
            body_bytes_max: limits::BODY_BYTES_MAX_DEFAULT,
            chunk_line_bytes_max: limits::CHUNK_LINE_BYTES_MAX,
            chunk_extension_bytes_max: limits::CHUNK_EXTENSION_BYTES_MAX,
            trailer_bytes_max: limits::TRAILER_BYTES_MAX,
        }
    }
}

/// Why a request is refused. Each variant answers to one status, which `server::reply` knows.
///
/// After any of these the place of the next request in the stream is unknown or not worth knowing: the
/// connection must close (RFC 9112 section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message breaks the grammar, or its framing is ambiguous.
    #[error("malformed request: {fault} at byte {at}")]
    Syntax {
        /// What is wrong.
        fault: Fault,
        /// Where: bytes from the first byte of the request, as sent.
        at: usize,
    },
    /// The request needs a body and announces none; see [`Head::require_length`].
    #[error("a request with this method needs Content-Length or Transfer-Encoding: chunked")]
    LengthRequired,
    /// The body, or the chunked framing around it, is too long.
    #[error("body too large: {0}")]
    BodyTooLarge(Exceeded),
    /// The request target is too long.
    #[error("request target too long: {0}")]
    TargetTooLong(Exceeded),
    /// The head or the trailer section is too long or has too many fields.
    #[error("header fields too large: {0}")]
    HeadTooLarge(Exceeded),
    /// A transfer coding besides chunked. `at`: the field line.
    #[error("transfer coding at byte {at} is not implemented: only chunked is")]
    TransferCoding {
        /// Where: bytes from the first byte of the request, as sent.
        at: usize,
    },
    /// An HTTP version other than 1.x.
    #[error("HTTP version at byte {at} is not supported: only 1.0 and 1.1 are")]
    Version {
        /// Where: bytes from the first byte of the request, as sent.
        at: usize,
    },
    /// An expectation other than 100-continue. `at`: the field line.
    #[error("expectation at byte {at} cannot be met: only 100-continue can")]
    Expectation {
        /// Where: bytes from the first byte of the request, as sent.
        at: usize,
    },
}

/// A bound that was exceeded: which one, its value, and what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bound} is limited to {limit}, saw {seen} or more{}", .bound.advice())]
pub struct Exceeded {
    /// Which bound.
    pub bound: Bound,
    /// Its value.
    pub limit: usize,
    /// What was seen: the announced value where one was announced, else the limit plus one.
    pub seen: u64,
}

/// The bounds of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// [`Limits::head_bytes_max`].
    HeadBytes,
    /// [`Limits::target_bytes_max`].
    TargetBytes,
    /// [`Limits::headers_max`].
    Headers,
    /// [`Limits::body_bytes_max`].
    BodyBytes,
    /// [`Limits::chunk_line_bytes_max`].
    ChunkLineBytes,
    /// [`Limits::chunk_extension_bytes_max`].
    ChunkExtensionBytes,
    /// [`Limits::trailer_bytes_max`].
    TrailerBytes,
}

impl Bound {
    /// The bound's name, as in [`Limits`].
    pub fn name(self) -> &'static str {
        match self {
            Self::HeadBytes => "head_bytes_max",
            Self::TargetBytes => "target_bytes_max",
            Self::Headers => "headers_max",
            Self::BodyBytes => "body_bytes_max",
            Self::ChunkLineBytes => "chunk_line_bytes_max",
            Self::ChunkExtensionBytes => "chunk_extension_bytes_max",
            Self::TrailerBytes => "trailer_bytes_max",
        }
    }

    /// The setting that changes the bound; none if it is fixed.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::HeadBytes | Self::BodyBytes => Some(self.name()),
            _ => None,
        }
    }

    fn advice(self) -> &'static str {
        match self.setting() {
            Some(_) => " (a setting of the same name changes it)",
            None => " (fixed)",
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is malformed in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// More empty lines before the request line than are forgiven.
    #[error("too many empty lines before the request line")]
    LeadingLines,
    /// The method is empty or has a byte that no token has.
    #[error("bad method")]
    Method,
    /// The target is empty, has a byte no target has, or is in none of the four forms.
    #[error("bad request target")]
    Target,
    /// The target's form does not go with the method.
    #[error("this form of request target does not go with the method")]
    TargetForm,
    /// The request line does not end in a version.
    #[error("bad HTTP version")]
    VersionSyntax,
    /// LF without CR before it.
    #[error("line feed without carriage return")]
    BareLf,
    /// CR without LF after it.
    #[error("carriage return without line feed")]
    BareCr,
    /// A control byte (NUL and DEL among them) in a field value.
    #[error("control byte in a field value")]
    ControlByte,
    /// The field name is empty or has a byte that no token has.
    #[error("bad field name")]
    FieldName,
    /// White space between field name and colon.
    #[error("white space before the colon")]
    SpaceBeforeColon,
    /// A field line that starts with white space.
    #[error("folded field line")]
    Fold,
    /// No Host field in HTTP/1.1.
    #[error("no Host field")]
    HostMissing,
    /// More than one Host field.
    #[error("more than one Host field")]
    HostRepeated,
    /// A Host field or an authority that names no host.
    #[error("bad host")]
    Host,
    /// User information in the target's authority.
    #[error("user information in the request target")]
    UserInfo,
    /// More than one line of a field that has one value.
    #[error("repeated field")]
    FieldRepeated,
    /// More than one Content-Length field.
    #[error("more than one Content-Length field")]
    LengthRepeated,
    /// Content-Length is not a plain decimal number.
    #[error("bad Content-Length")]
    Length,
    /// Both Content-Length and Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    FramingConflict,
    /// Transfer-Encoding in HTTP/1.0.
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    /// Transfer-Encoding whose last coding is not chunked, or that has chunked twice.
    #[error("Transfer-Encoding does not end in one chunked")]
    CodingFinal,
    /// The chunk size is empty or is followed by what cannot follow it.
    #[error("bad chunk size")]
    ChunkSize,
    /// A chunk extension with a control byte.
    #[error("bad chunk extension")]
    ChunkExtension,
    /// The data of a chunk is not followed by a line end.
    #[error("chunk data is longer than its size")]
    ChunkEnd,
}

impl Error {
    pub(crate) fn syntax(fault: Fault, at: usize) -> Self {
        Self::Syntax { fault, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What, limit, value, setting: what an operator needs of each bound.
    #[test]
    fn a_refusal_names_the_bound_and_what_changes_it() {
        for (bound, name, advice) in [
            (
                Bound::HeadBytes,
                "head_bytes_max",
                "(a setting of the same name changes it)",
            ),
            (Bound::TargetBytes, "target_bytes_max", "(fixed)"),
            (Bound::Headers, "headers_max", "(fixed)"),
            (
                Bound::BodyBytes,
                "body_bytes_max",
                "(a setting of the same name changes it)",
            ),
            (Bound::ChunkLineBytes, "chunk_line_bytes_max", "(fixed)"),
            (Bound::ChunkExtensionBytes, "chunk_extension_bytes_max", "(fixed)"),
            (Bound::TrailerBytes, "trailer_bytes_max", "(fixed)"),
        ] {
            let exceeded = Exceeded {
                bound,
                limit: 5,
                seen: 6,
            };
            assert_eq!(
                exceeded.to_string(),
                format!("{name} is limited to 5, saw 6 or more {advice}")
            );
            assert_eq!(bound.setting(), (advice != "(fixed)").then_some(name));
        }
    }
}
