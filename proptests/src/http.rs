//! Drives [`metricstream::http`] as a server would and records what came out.
//!
//! Promises: [`drive`] feeds a stream in the given pieces, obeys every [`Step`], and checks on the way what
//! must hold at each of them (sizes, hints, when `100 Continue` is asked for). Its panics are findings.
//! Leaves to the caller: where the stream comes from (`http_plan`) and what should come out
//! (`http_oracle`, `http_hyper`).

use metricstream::http::{Error, Exchange, Framing, Head, Limits, Step, Version};

/// A request with everything copied out of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: Vec<u8>,
    /// The path.
    pub path: Vec<u8>,
    /// The query.
    pub query: Option<Vec<u8>>,
    /// Whether the version is 1.1 or later.
    pub http11: bool,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expect_continue: bool,
    /// The host asked for.
    pub host: Option<Vec<u8>>,
    /// The value of Authorization.
    pub authorization: Option<Vec<u8>>,
    /// The value of Content-Type.
    pub content_type: Option<Vec<u8>>,
    /// The first value of Content-Encoding.
    pub content_encoding: Option<Vec<u8>>,
    /// The first value of Accept.
    pub accept: Option<Vec<u8>>,
    /// Its Metricstream-Ack.
    pub ack: Option<Vec<u8>>,
    /// All field lines: name, value.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body without framing.
    pub body: Vec<u8>,
}

/// The class of an [`Error`]: what decides its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// [`Error::Syntax`].
    Syntax,
    /// [`Error::BodyTooLarge`].
    BodyTooLarge,
    /// [`Error::TargetTooLong`].
    TargetTooLong,
    /// [`Error::HeadTooLarge`].
    HeadTooLarge,
    /// [`Error::TransferCoding`].
    TransferCoding,
    /// [`Error::Version`].
    Version,
    /// [`Error::Expectation`].
    Expectation,
}

/// The class of `error`.
///
/// # Panics
///
/// On [`Error::LengthRequired`], which an exchange never gives: it is the routes'.
pub fn class(error: Error) -> Class {
    match error {
        Error::Syntax { .. } => Class::Syntax,
        Error::BodyTooLarge(_) => Class::BodyTooLarge,
        Error::TargetTooLong(_) => Class::TargetTooLong,
        Error::HeadTooLarge(_) => Class::HeadTooLarge,
        Error::TransferCoding { .. } => Class::TransferCoding,
        Error::Version { .. } => Class::Version,
        Error::Expectation { .. } => Class::Expectation,
        Error::LengthRequired => panic!("an exchange leaves the choice of 411 to the routes"),
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Between two requests.
    Whole,
    /// Inside a request.
    Partial,
    /// After a request that closes the connection; what follows it was not looked at.
    Closed,
    /// With a refusal.
    Refused(Error),
}

/// What came out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The whole requests, in order.
    pub requests: Vec<Seen>,
    /// How it ended.
    pub end: End,
    /// How often `100 Continue` was asked for; depends on the splits.
    pub continues: usize,
}

/// Copies a request out of the buffer.
pub fn seen(head: &Head<'_>, body: &[u8]) -> Seen {
    Seen {
        method: head.method.name().to_vec(),
        path: head.target.path.to_vec(),
        query: head.target.query.map(<[u8]>::to_vec),
        http11: head.version == Version::Http11,
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
        host: head.host.map(<[u8]>::to_vec),
        authorization: head.authorization.map(<[u8]>::to_vec),
        content_type: head.content_type.map(<[u8]>::to_vec),
        content_encoding: head.content_encoding.map(<[u8]>::to_vec),
        accept: head.accept.map(<[u8]>::to_vec),
        ack: head.ack.map(<[u8]>::to_vec),
        fields: head
            .fields()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
        body: body.to_vec(),
    }
}

/// Cuts `stream` at `cuts`, which are taken modulo its length and sorted.
pub fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| stream[pair[0]..pair[1]].to_vec())
        .collect()
}

/// Feeds the pieces of a stream to an [`Exchange`], one read a piece.
///
/// # Panics
///
/// If a step breaks what its documentation promises.
pub fn drive(limits: &Limits, pieces: &[Vec<u8>]) -> Outcome {
    let mut driver = Driver::default();
    for piece in pieces {
        driver.buffer.extend_from_slice(piece);
        while driver.end.is_none() && driver.advance(limits) {}
        if driver.end.is_some() {
            break;
        }
    }
    let end = driver.end.unwrap_or(if driver.buffer.is_empty() {
        End::Whole
    } else {
        End::Partial
    });
    Outcome {
        requests: driver.requests,
        end,
        continues: driver.continues,
    }
}

#[derive(Default)]
struct Driver {
    exchange: Exchange,
    buffer: Vec<u8>,
    requests: Vec<Seen>,
    end: Option<End>,
    continues: usize,
    /// Least number of bytes that must still arrive, and the buffer's length when that was said.
    missing: usize,
    kept: usize,
    head_given: bool,
}

impl Driver {
    /// One step; whether another can be made on the same bytes.
    fn advance(&mut self, limits: &Limits) -> bool {
        let length = self.buffer.len();
        let arrived = length - self.kept;
        match self.exchange.advance(limits, &mut self.buffer) {
            Step::NeedMore {
                keep,
                missing,
                head,
                send_continue,
            } => {
                assert!(missing > 0 && keep <= length);
                assert!(
                    missing <= limits.body_bytes_max.saturating_add(1024),
                    "a hint beyond the limits"
                );
                assert!(head.is_none() || !self.head_given, "the head is given once");
                if let Some(head) = head {
                    self.head_given = true;
                    assert!(keep == head.bytes() || head.framing != Framing::None);
                }
                let bound = limits.head_bytes_max.saturating_add(limits.body_bytes_max);
                assert!(keep <= bound, "keeps {keep} bytes, more than {bound}");
                if send_continue {
                    assert!(head.is_some_and(|head| head.expect_continue && head.bytes() == keep));
                    self.continues += 1;
                }
                self.buffer.truncate(keep);
                (self.missing, self.kept) = (missing, keep);
                false
            }
            Step::Request { head, body, consumed } => {
                assert!(
                    arrived >= self.missing,
                    "whole after {arrived} bytes, {} were missing",
                    self.missing
                );
                assert!(head.bytes() + body.len() <= consumed && body.len() <= limits.body_bytes_max);
                self.requests.push(seen(&head, body));
                if !head.keep_alive {
                    self.end = Some(End::Closed);
                }
                self.buffer.drain(..consumed);
                (self.missing, self.kept, self.head_given) = (0, 0, false);
                !self.buffer.is_empty()
            }
            Step::Refuse(error) => {
                let Step::Refuse(again) = self.exchange.advance(limits, &mut self.buffer) else {
                    panic!("a refused stream went on");
                };
                assert_eq!(error, again);
                assert!(!error.to_string().is_empty());
                self.end = Some(End::Refused(error));
                false
            }
        }
    }
}

/// Checks one stream under one choice of cuts against [`crate::http_oracle`] and against itself uncut and
/// cut at every byte.
///
/// # Panics
///
/// On any difference.
pub fn check(limits: &Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    let whole = drive(limits, &[stream.to_vec()]);
    let every: Vec<Vec<u8>> = stream.chunks(1).map(<[u8]>::to_vec).collect();
    for other in [drive(limits, &pieces(stream, cuts)), drive(limits, &every)] {
        assert_eq!(whole.requests, other.requests, "the splits changed the requests");
        assert_eq!(whole.end, other.end, "the splits changed the end");
    }
    let oracle = crate::http_oracle::connection(limits, stream);
    oracle.assert_agrees(&whole);
    whole
}
