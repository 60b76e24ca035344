//! hyper's server connection over in-memory reads, as a second implementation to differ from.
//!
//! Promises: [`serve`] says which requests hyper served from a stream and whether it refused the rest.
//! [`assert_agrees`] names every difference that is intended; any other is a finding.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use metricstream::http::{Error, Fault};

use crate::http::{End, Outcome, Seen};

/// What hyper made of a stream.
#[derive(Debug, Default)]
pub struct Served {
    /// Method, request target and body of each request whose body was whole.
    pub requests: Vec<(Vec<u8>, String, Vec<u8>)>,
    /// Whether hyper refused bytes that it had read: it answered with a 4xx or 5xx of its own, or the body
    /// of a request was malformed.
    pub refused: bool,
}

struct Pipe {
    pieces: VecDeque<Vec<u8>>,
    written: Rc<RefCell<Vec<u8>>>,
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop_front() {
            let taken = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..taken]);
            if taken < piece.len() {
                self.pieces.push_front(piece.split_off(taken));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.written.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Serves a stream, which arrives in the given pieces and then ends.
///
/// # Panics
///
/// If hyper waits although nothing blocks.
pub fn serve(pieces: &[Vec<u8>]) -> Served {
    let served = Rc::new(RefCell::new(Served::default()));
    let written = Rc::new(RefCell::new(Vec::new()));
    // An empty read is the end of a stream.
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
    let pipe = Pipe {
        pieces,
        written: Rc::clone(&written),
    };
    let log = Rc::clone(&served);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let log = Rc::clone(&log);
        async move {
            let (method, target) = (request.method().as_str().into(), request.uri().to_string());
            match request.into_body().collect().await {
                Ok(body) => log
                    .borrow_mut()
                    .requests
                    .push((method, target, body.to_bytes().to_vec())),
                Err(error) => log.borrow_mut().refused |= !error.is_incomplete_message(),
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    // The stream's end is read ahead of the last request's reply: without half_close hyper would drop it.
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(pipe, service);
    let mut connection = std::pin::pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    let done = (0..10_000).find_map(|_| match connection.as_mut().poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    });
    let error = done.expect("hyper waits").err();
    let mut served = served.take();
    served.refused |= error.is_some_and(|error| error.is_parse() && !error.is_incomplete_message());
    served
}

/// Compares what hyper made of a stream with what we made of it.
///
/// # Panics
///
/// On a difference that is not intended.
pub fn assert_agrees(stream: &[u8], ours: &Outcome, hyper: &Served) {
    for (index, (seen, (method, target, body))) in ours.requests.iter().zip(&hyper.requests).enumerate() {
        assert_eq!(&seen.method, method, "method of request {index}");
        assert_eq!(&seen.body, body, "body of request {index}");
        let (path, query) = target
            .split_once('?')
            .map_or((&target[..], None), |(path, query)| (path, Some(query)));
        // hyper gives an absolute target whole and lowers its scheme's case; the path is its end.
        let path_agrees = path.as_bytes().ends_with(&seen.path);
        assert!(
            path_agrees,
            "path of request {index}: {target} and {:?}",
            seen.path
        );
        assert_eq!(
            seen.query.as_deref(),
            query.map(str::as_bytes),
            "query of request {index}"
        );
    }
    let (our_count, hyper_count) = (ours.requests.len(), hyper.requests.len());
    if our_count > hyper_count {
        assert!(
            hyper_is_stricter(stream, ours, hyper_count),
            "hyper served {hyper_count} of {our_count}"
        );
    }
    if our_count < hyper_count {
        let intended = match ours.end {
            End::Refused(error) => we_are_stricter(stream, error),
            End::Whole | End::Partial | End::Closed => false,
        };
        assert!(
            intended,
            "hyper served {hyper_count}, we {our_count}: {:?}",
            ours.end
        );
    }
    if let End::Refused(error) = ours.end
        && our_count == hyper_count
        && !hyper.refused
    {
        assert!(
            we_are_stricter(stream, error) || we_are_earlier(error),
            "hyper did not refuse: {error}"
        );
    }
}

/// Refusals where hyper serves the request.
fn we_are_stricter(stream: &[u8], error: Error) -> bool {
    match error {
        // Content-Length is not looked at next to Transfer-Encoding.
        Error::Syntax {
            fault: Fault::Length, ..
        } => stream
            .to_ascii_lowercase()
            .windows(18)
            .any(|text| text == b"transfer-encoding:"),
        Error::Syntax { fault, .. } => matches!(
            fault,
            // hyper skips any number.
            Fault::LeadingLines
                // httparse ends a line at LF.
                | Fault::BareLf
                // The routes of hyper's user check Host.
                | Fault::HostMissing | Fault::HostRepeated | Fault::Host
                // Chunked wins over Content-Length.
                | Fault::FramingConflict
                // Equal lengths become one.
                | Fault::LengthRepeated
                // Its user's business.
                | Fault::FieldRepeated
                // http::Uri knows authority, "*" and fragments apart from the method.
                | Fault::TargetForm | Fault::Target | Fault::UserInfo
                // White space after a chunk size, and any byte but CR and LF in an extension.
                | Fault::ChunkSize | Fault::ChunkExtension
                // Only the last coding is looked at.
                | Fault::CodingFinal
        ),
        // Only the last coding is looked at, an unknown expectation is ignored, and limits are the user's.
        Error::TransferCoding { .. }
        | Error::Expectation { .. }
        | Error::BodyTooLarge(_)
        | Error::TargetTooLong(_)
        | Error::HeadTooLarge(_) => true,
        Error::Version { .. } | Error::LengthRequired => false,
    }
}

/// Refusals that hyper would make only with more bytes than the stream had.
fn we_are_earlier(error: Error) -> bool {
    match error {
        Error::Syntax { .. } | Error::Version { .. } => true,
        Error::LengthRequired => false,
        _ => true,
    }
}

/// Whether hyper has a reason to refuse the request with this index, which we served.
fn hyper_is_stricter(stream: &[u8], ours: &Outcome, index: usize) -> bool {
    // RFC 9110 section 2.5 has a recipient process a higher minor version as its own; httparse does not.
    let minor = |text: &[u8]| text.starts_with(b" HTTP/1.") && matches!(text[8..], [b'2'..=b'9', b'\r']);
    let seen = &ours.requests[index];
    (seen.http11 && stream.windows(10).any(minor)) || uri_is_stricter(seen) || close_is_likelier(ours, index)
}

/// hyper overlooks keep-alive in a Connection value that is not all ASCII.
fn close_is_likelier(ours: &Outcome, index: usize) -> bool {
    let odd =
        |(name, value): &(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"connection") && !value.is_ascii();
    index > 0 && ours.requests[index - 1].fields.iter().any(odd)
}

/// http::Uri refuses some visible bytes that no URI has and that we let pass, and in an authority some that
/// RFC 3986 allows.
fn uri_is_stricter(seen: &Seen) -> bool {
    let path = seen
        .path
        .iter()
        .chain(seen.query.iter().flatten())
        .any(|b| b"\"<>\\^`{|}".contains(b));
    path || seen.host.iter().flatten().any(|b| b"%!$&'()*+,;=".contains(b))
}
