//! What the fuzz targets check, as functions of raw bytes; ordinary tests replay the seeds through them.
//!
//! Promises: each function panics exactly on a difference that is not named here, in `http_oracle` or in
//! `http_hyper`. Leaves to the caller: the bytes.

use arbitrary::Unstructured;
use metricstream::http::body::{Decoder, Progress};
use metricstream::http::{Error, Fault, Head, Limits, Version, head};

use crate::http::{End, check, class, drive, pieces};
use crate::http_hyper;
use crate::http_oracle::{Chunked, chunked};
use crate::http_plan::{Stream, chunk};

/// Small enough that short inputs meet every limit.
pub fn tight_limits() -> Limits {
    Limits {
        head_bytes_max: 160,
        target_bytes_max: 40,
        headers_max: 6,
        body_bytes_max: 64,
        chunk_line_bytes_max: 12,
        chunk_extension_bytes_max: 20,
        trailer_bytes_max: 24,
    }
}

/// A head: against httparse, against the oracle, and prefix by prefix.
///
/// # Panics
///
/// On a difference.
pub fn head(bytes: &[u8]) {
    for limits in [Limits::default(), tight_limits()] {
        check(&limits, bytes, &[bytes.len() / 2]);
    }
    let limits = Limits::default();
    let ours = head::parse(&limits, bytes);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    match (ours, request.parse(bytes)) {
        (Ok(Some(head)), Ok(httparse::Status::Complete(length))) => same_head(&head, &request, length),
        // RFC 9110 section 2.5: a higher minor version is read as ours; httparse knows two.
        (Ok(Some(head)), Err(httparse::Error::Version)) if head.version == Version::Http11 => {}
        (Ok(Some(head)), theirs) => panic!("we read {head:?}, httparse {theirs:?}"),
        (Ok(None), Ok(httparse::Status::Complete(length))) => {
            panic!("httparse read {length} bytes, we want more")
        }
        (Err(error), Ok(httparse::Status::Complete(_))) => {
            assert!(beyond_httparse(error), "httparse took {error}")
        }
        (Ok(None) | Err(_), _) => {}
    }
}

fn same_head(ours: &Head<'_>, theirs: &httparse::Request<'_, '_>, length: usize) {
    assert_eq!(ours.bytes(), length);
    assert_eq!(Some(ours.method.name()), theirs.method.map(str::as_bytes));
    assert_eq!(ours.version == Version::Http11, theirs.version == Some(1));
    let target = theirs.path.unwrap_or_default().as_bytes();
    let ending = match ours.target.query {
        Some(query) => [b"?", query].concat(),
        None => Vec::new(),
    };
    assert!(target.ends_with(&ending));
    let path = &target[..target.len() - ending.len()];
    assert!(path.ends_with(ours.target.path) || ours.target.path == b"/");
    let fields: Vec<_> = theirs
        .headers
        .iter()
        .map(|field| (field.name.as_bytes(), field.value))
        .collect();
    assert_eq!(ours.fields().collect::<Vec<_>>(), fields);
}

/// Refusals for what httparse leaves to its user, and for line ends it forgives.
fn beyond_httparse(error: Error) -> bool {
    match error {
        Error::Syntax { fault, .. } => !matches!(
            fault,
            Fault::Method
                | Fault::VersionSyntax
                | Fault::BareCr
                | Fault::ControlByte
                | Fault::FieldName
                | Fault::SpaceBeforeColon
                | Fault::Fold
        ),
        Error::Version { .. } => false,
        _ => true,
    }
}

/// A chunked body: the bytes as framing, cut in pieces, and the bytes as data framed in a generated way.
///
/// # Panics
///
/// On a difference.
pub fn body(bytes: &[u8]) {
    let (cuts, framed) = bytes.split_at(bytes.len().min(3));
    let cuts: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut)).collect();
    for limits in [Limits::default(), tight_limits()] {
        chunked_agrees(&limits, framed, &cuts);
    }
    let mut u = Unstructured::new(bytes);
    let Ok(data) = u.arbitrary::<Vec<u8>>() else {
        return;
    };
    let Ok(framed) = chunk(&mut u, &data) else { return };
    let (body, consumed) = chunked_agrees(&Limits::default(), &framed, &cuts).expect("well framed");
    assert_eq!((body, consumed), (data, framed.len()));
}

/// Decodes `framed` in one piece, in the pieces between `cuts` and byte by byte, and asks the oracle; the
/// body and the length of its framing if it is whole.
fn chunked_agrees(limits: &Limits, framed: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, usize)> {
    let whole = decode(limits, &[framed.to_vec()]);
    let every: Vec<Vec<u8>> = framed.chunks(1).map(<[u8]>::to_vec).collect();
    assert_eq!(
        whole,
        decode(limits, &pieces(framed, cuts)),
        "the splits changed the body"
    );
    assert_eq!(whole, decode(limits, &every), "the splits changed the body");
    match (whole, chunked(limits, framed)) {
        (Ok(Some((body, used))), Chunked::Whole(expected, length)) => {
            assert_eq!((&body, used), (&expected, length));
            Some((body, used))
        }
        (Ok(None), Chunked::Partial) => None,
        (Err(error), Chunked::Refused(classes)) => {
            assert!(
                classes.contains(&class(error)),
                "{error}, the oracle expected {classes:?}"
            );
            None
        }
        (whole, _) => panic!("the oracle disagrees with {whole:?}"),
    }
}

fn decode(limits: &Limits, pieces: &[Vec<u8>]) -> Result<Option<(Vec<u8>, usize)>, Error> {
    let mut decoder = Decoder::new(0);
    let (mut buffer, mut dropped) = (Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match decoder.advance(limits, &mut buffer)? {
            Progress::More { body_bytes, missing } => {
                assert!(missing > 0 && body_bytes <= limits.body_bytes_max);
                dropped += buffer.len() - body_bytes;
                buffer.truncate(body_bytes);
            }
            Progress::Done { body_bytes, consumed } => {
                buffer.truncate(body_bytes);
                return Ok(Some((buffer, dropped + consumed)));
            }
        }
    }
    Ok(None)
}

/// A stream of requests, generated and damaged, or after an `r` the bytes themselves: against the oracle and
/// against hyper, under splits.
///
/// # Panics
///
/// On a difference.
pub fn exchange(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let stream = match bytes {
        [b'r', raw @ ..] => Stream {
            bytes: raw.to_vec(),
            requests: Vec::new(),
            cuts: vec![raw.len() / 3, raw.len() / 2],
        },
        _ => match Stream::damaged(&mut u) {
            Ok(stream) => stream,
            Err(_) => return,
        },
    };
    check(&tight_limits(), &stream.bytes, &stream.cuts);
    let ours = check(&Limits::default(), &stream.bytes, &stream.cuts);
    let pieces = pieces(&stream.bytes, &stream.cuts);
    http_hyper::assert_agrees(&stream.bytes, &ours, &http_hyper::serve(&pieces));
    if let Ok(valid) = Stream::valid(&mut Unstructured::new(bytes)) {
        let outcome = drive(&Limits::default(), &[valid.bytes]);
        assert_eq!(outcome.requests, valid.requests);
        assert!(matches!(outcome.end, End::Whole | End::Closed));
    }
}
