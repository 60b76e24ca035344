//! One connection's place in its byte stream: head, body, next request.
//!
//! The caller keeps one buffer whose first byte is the first byte of the present request, appends what the
//! socket gives and calls [`Exchange::advance`] until it says `NeedMore`:
//!
//! ```text
//! NeedMore { keep, .. }   truncate the buffer to `keep` bytes, read more after them, call again
//! Request { consumed, .. } serve it, drop the first `consumed` bytes of the buffer, call again
//! Refuse(error)            reply, close
//! ```
//!
//! Promises: the requests that come out, and the refusal that may end them, depend on the bytes of the
//! stream alone. A head is not searched twice and a body not moved twice: total work is linear in the bytes
//! received. Memory of its own: a few words; of the caller's: never more than head, decoded body and what
//! one read adds.
//!
//! Leaves to the caller: time-outs, and the end of the stream (it is an error if and only if the buffer is
//! not empty).

use super::body::{Decoder, Progress};
use super::head::{self, Found, Scan};
use super::{Bound, Error, Exceeded, Framing, Head, Limits};

/// A connection's framing state between reads.
#[derive(Debug, Clone)]
pub struct Exchange {
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    Head(Scan),
    /// The head is whole and good.
    Body {
        found: Found,
        body: Body,
    },
    Refused(Error),
}

#[derive(Debug, Clone)]
enum Body {
    Length(usize),
    Chunked(Decoder),
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Step<'a> {
    /// The request is not whole.
    NeedMore {
        /// How many bytes of the buffer to keep. What is after them was consumed: drop it, then append.
        keep: usize,
        /// Least number of bytes that must still arrive for the request to be whole. At least 1, at most
        /// the body limit and a few more; a good size for the next read.
        missing: usize,
        /// The head, once in a request: when it is whole and the body is not. A request that will be
        /// refused for its head alone (path, method, credential) can be refused here.
        head: Option<Head<'a>>,
        /// Send [`super::response::CONTINUE`] now. True at most once in a request, only with `head`, and
        /// only if the client asked for it, speaks HTTP/1.1 and has sent nothing of the body.
        send_continue: bool,
    },
    /// A request is whole.
    Request {
        /// Its head.
        head: Head<'a>,
        /// Its body, with no framing; empty if there is none.
        body: &'a [u8],
        /// How many bytes of the buffer were this request's.
        consumed: usize,
    },
    /// The stream cannot be followed any further. Every later call answers the same.
    Refuse(Error),
}

impl Exchange {
    /// The state of a connection that has just been accepted.
    pub fn new() -> Self {
        Self {
            stage: Stage::Head(Scan::default()),
        }
    }

    /// Takes the buffer as far as it goes: through at most one request.
    ///
    /// `buffer` starts with the first byte of the present request and holds what the call before left of it
    /// (see [`Step`]) and whatever has arrived since; it may be empty.
    ///
    /// # Panics
    ///
    /// If `buffer` is shorter than the head that an earlier call found in it: the caller lost bytes.
    pub fn advance<'a>(&mut self, limits: &Limits, buffer: &'a mut [u8]) -> Step<'a> {
        match self.step(limits, buffer) {
            Ok(step) => step,
            Err(error) => {
                self.stage = Stage::Refused(error);
                Step::Refuse(error)
            }
        }
    }

    fn step<'a>(&mut self, limits: &Limits, buffer: &'a mut [u8]) -> Result<Step<'a>, Error> {
        let (found, begun) = match std::mem::take(&mut self.stage) {
            Stage::Refused(error) => return Err(error),
            Stage::Body { found, body } => (found, Some(body)),
            Stage::Head(mut scan) => match scan.advance(limits, buffer)? {
                Some(found) => (found, None),
                None => {
                    self.stage = Stage::Head(scan);
                    return Ok(Step::NeedMore {
                        keep: buffer.len(),
                        missing: 1,
                        head: None,
                        send_continue: false,
                    });
                }
            },
        };
        let (head_part, rest) = buffer.split_at_mut(found.end);
        let head_part: &'a [u8] = head_part;
        let (mut body, head) = match begun {
            Some(body) => (body, None),
            None => {
                let head = head::parse_found(limits, head_part, found)?;
                (Body::new(limits, &head)?, Some(head))
            }
        };
        let body_begun = !rest.is_empty();
        match body.advance(limits, rest)? {
            Progress::More { body_bytes, missing } => {
                self.stage = Stage::Body { found, body };
                // RFC 9110 section 10.1.1: "A server MAY omit sending a 100 (Continue) response if it has
                // already received some or all of the content for the corresponding request".
                let send_continue = !body_begun && head.is_some_and(|head| head.expect_continue);
                Ok(Step::NeedMore {
                    keep: found.end + body_bytes,
                    missing,
                    head,
                    send_continue,
                })
            }
            Progress::Done { body_bytes, consumed } => {
                // The stage is that of a new request again.
                let head = match head {
                    Some(head) => head,
                    // The buffer may have moved since the head was parsed: once more, not once a read.
                    None => head::parse_found(limits, head_part, found)?,
                };
                Ok(Step::Request {
                    head,
                    body: &rest[..body_bytes],
                    consumed: found.end + consumed,
                })
            }
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head(Scan::default())
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

impl Body {
    fn new(limits: &Limits, head: &Head<'_>) -> Result<Self, Error> {
        match head.framing {
            Framing::None => Ok(Self::Length(0)),
            Framing::Chunked => Ok(Self::Chunked(Decoder::new(head.bytes()))),
            // Refused before a byte of it is read, and before it is asked for with 100 Continue.
            Framing::Length(seen) => match usize::try_from(seen) {
                Ok(length) if length <= limits.body_bytes_max => Ok(Self::Length(length)),
                _ => Err(Error::BodyTooLarge(Exceeded {
                    bound: Bound::BodyBytes,
                    limit: limits.body_bytes_max,
                    seen,
                })),
            },
        }
    }

    fn advance(&mut self, limits: &Limits, bytes: &mut [u8]) -> Result<Progress, Error> {
        match self {
            Self::Chunked(decoder) => decoder.advance(limits, bytes),
            Self::Length(length) if bytes.len() >= *length => Ok(Progress::Done {
                body_bytes: *length,
                consumed: *length,
            }),
            Self::Length(length) => Ok(Progress::More {
                body_bytes: bytes.len(),
                missing: *length - bytes.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_one_piece() {
        let mut buffer = b"POST /metrics?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET".to_vec();
        match Exchange::new().advance(&Limits::default(), &mut buffer) {
            Step::Request { head, body, consumed } => {
                assert_eq!(head.target.query, Some(&b"x=1"[..]));
                assert_eq!(body, b"abc");
                assert_eq!(consumed, 61);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chunked_body_byte_by_byte_keeps_only_what_is_decoded() {
        let stream = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n";
        let (mut exchange, mut buffer) = (Exchange::new(), Vec::new());
        for (index, &byte) in stream.iter().enumerate() {
            buffer.push(byte);
            match exchange.advance(&Limits::default(), &mut buffer) {
                Step::NeedMore { keep, missing, .. } => {
                    assert!(missing < stream.len() - index, "at {index}");
                    buffer.truncate(keep);
                }
                Step::Request { body, consumed, .. } => {
                    assert_eq!((body, index + 1), (&b"abcde"[..], stream.len()));
                    assert_eq!(consumed, buffer.len());
                    return;
                }
                Step::Refuse(error) => panic!("{error}"),
            }
        }
        panic!("not whole");
    }

    #[test]
    fn continue_is_sent_once_and_only_before_the_body() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
        let (mut exchange, mut buffer) = (Exchange::new(), head.to_vec());
        let limits = Limits::default();
        let step = exchange.advance(&limits, &mut buffer);
        assert!(matches!(
            step,
            Step::NeedMore {
                send_continue: true,
                head: Some(_),
                missing: 2,
                ..
            }
        ));
        let step = exchange.advance(&limits, &mut buffer);
        assert!(matches!(
            step,
            Step::NeedMore {
                send_continue: false,
                head: None,
                ..
            }
        ));
        let mut begun = [&head[..], b"x"].concat();
        let step = Exchange::new().advance(&limits, &mut begun);
        assert!(matches!(
            step,
            Step::NeedMore {
                send_continue: false,
                head: Some(_),
                missing: 1,
                ..
            }
        ));
        let refused = Limits {
            body_bytes_max: 1,
            ..limits
        };
        let step = Exchange::new().advance(&refused, &mut buffer);
        assert!(matches!(
            step,
            Step::Refuse(Error::BodyTooLarge(Exceeded { seen: 2, .. }))
        ));
    }
}
