//! Framing: the requests that go in come out, whatever the splits, and an oracle agrees on everything else.

use arbitrary::Unstructured;
use metricstream::http::{
    Bound, Error, Exceeded, Exchange, Fault, Limits, Response, Status, Step, Version, head, response,
};
use metricstream_proptests::http::{End, check, drive, pieces};
use metricstream_proptests::http_fuzz::{self, tight_limits};
use metricstream_proptests::http_hyper;
use metricstream_proptests::http_plan::Stream;
use metricstream_proptests::seeds;
use proptest::prelude::*;

/// `PROPTEST_CASES` makes a run longer.
fn config() -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if set {
        ProptestConfig::default().cases
    } else {
        20_000
    };
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_requests_come_out_as_they_went_in(raw in prop::collection::vec(any::<u8>(), 0..600)) {
        let stream = Stream::valid(&mut Unstructured::new(&raw)).unwrap();
        let outcome = check(&Limits::default(), &stream.bytes, &stream.cuts);
        prop_assert_eq!(&outcome.requests, &stream.requests);
        prop_assert!(matches!(outcome.end, End::Whole | End::Closed));
    }

    #[test]
    fn damaged_streams_agree_with_the_oracle(raw in prop::collection::vec(any::<u8>(), 0..600)) {
        let stream = Stream::damaged(&mut Unstructured::new(&raw)).unwrap();
        check(&Limits::default(), &stream.bytes, &stream.cuts);
    }

    #[test]
    fn damaged_streams_agree_with_the_oracle_at_tight_limits(raw in prop::collection::vec(any::<u8>(), 0..600)) {
        let stream = Stream::damaged(&mut Unstructured::new(&raw)).unwrap();
        check(&tight_limits(), &stream.bytes, &stream.cuts);
    }

    #[test]
    fn damaged_streams_agree_with_hyper(raw in prop::collection::vec(any::<u8>(), 0..600)) {
        let stream = Stream::damaged(&mut Unstructured::new(&raw)).unwrap();
        let pieces = pieces(&stream.bytes, &stream.cuts);
        let ours = drive(&Limits::default(), &pieces);
        http_hyper::assert_agrees(&stream.bytes, &ours, &http_hyper::serve(&pieces));
    }

    #[test]
    fn chunked_bodies_round_trip(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        http_fuzz::body(&raw);
    }

    #[test]
    fn damaged_heads_agree_with_httparse(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        http_fuzz::head(&Stream::damaged(&mut Unstructured::new(&raw)).unwrap().bytes);
    }

    #[test]
    fn arbitrary_bytes_agree_with_the_oracle(stream in prop::collection::vec(any::<u8>(), 0..200), cuts in any::<[usize; 3]>()) {
        check(&tight_limits(), &stream, &cuts);
    }
}

proptest! {
    #![proptest_config(config())]

    /// Any query comes out as it went in, whichever form its target has, and a byte that no target has is refused
    /// where it stands.
    #[test]
    fn queries_round_trip(
        query in prop::option::of("[!-\"$-~]{0,60}"),
        origin in prop_oneof![Just(""), Just("http://h:1"), Just("HTTPS://[::1]")],
        bad in prop_oneof![Just(b'#'), 0u8..=0x1F, 0x7Fu8..],
        place in 0usize..60,
    ) {
        let limits = Limits::default();
        let request = |query: Option<&[u8]>| {
            let mark = if query.is_some() { "?" } else { "" };
            let line = format!("GET {origin}/stats{mark}").into_bytes();
            [&line[..], query.unwrap_or_default(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()
        };
        let stream = request(query.as_ref().map(String::as_bytes));
        let head = head::parse(&limits, &stream).unwrap().unwrap();
        prop_assert_eq!(head.target.path, b"/stats");
        prop_assert_eq!(head.target.query, query.as_ref().map(String::as_bytes));
        let mut spoilt = query.unwrap_or_default().into_bytes();
        spoilt.insert(place.min(spoilt.len()), bad);
        prop_assert!(head::parse(&limits, &request(Some(&spoilt))).is_err());
    }
}

/// Bytes that look random and are the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A generator that never makes an interesting stream would pass every test above.
#[test]
fn damaged_streams_meet_every_refusal() {
    let mut met: Vec<String> = Vec::new();
    for seed in 0..60_000 {
        let stream = Stream::damaged(&mut Unstructured::new(&noise(seed, 500))).unwrap();
        for limits in [Limits::default(), tight_limits()] {
            let name = match drive(&limits, std::slice::from_ref(&stream.bytes)).end {
                End::Refused(Error::Syntax { fault, .. }) => format!("{fault:?}"),
                End::Refused(
                    Error::BodyTooLarge(exceeded)
                    | Error::HeadTooLarge(exceeded)
                    | Error::TargetTooLong(exceeded),
                ) => format!("{:?}", exceeded.bound),
                End::Refused(other) => other
                    .to_string()
                    .chars()
                    .filter(char::is_ascii_alphabetic)
                    .take(8)
                    .collect(),
                other => format!("{other:?}"),
            };
            if !met.contains(&name) {
                met.push(name);
            }
        }
    }
    met.sort();
    let expected = [
        "BareCr",
        "BareLf",
        "BodyBytes",
        "ChunkEnd",
        "ChunkExtension",
        "ChunkExtensionBytes",
        "ChunkLineBytes",
        "ChunkSize",
        "Closed",
        "CodingFinal",
        "CodingInHttp10",
        "ControlByte",
        "FieldName",
        "FieldRepeated",
        "Fold",
        "FramingConflict",
        "HTTPvers",
        "HeadBytes",
        "Headers",
        "Host",
        "HostMissing",
        "HostRepeated",
        "LeadingLines",
        "Length",
        "LengthRepeated",
        "Method",
        "Partial",
        "SpaceBeforeColon",
        "Target",
        "TargetBytes",
        "TargetForm",
        "TrailerBytes",
        "UserInfo",
        "VersionSyntax",
        "Whole",
        "expectat",
        "transfer",
    ];
    assert_eq!(met, expected);
}

fn refusal(limits: &Limits, stream: &[u8]) -> Option<Error> {
    match check(limits, stream, &[stream.len() / 2]).end {
        End::Refused(error) => Some(error),
        End::Whole | End::Closed => None,
        End::Partial => panic!("the stream is not whole"),
    }
}

/// `N` is accepted, `N + 1` refused with the bound, its value and what was seen.
fn exact(bound: Bound, limits: Limits, limit: usize, make: impl Fn(usize) -> Vec<u8>) {
    assert_eq!(refusal(&limits, &make(limit)), None, "{bound} of exactly {limit}");
    let exceeded = Exceeded {
        bound,
        limit,
        seen: limit as u64 + 1,
    };
    let error = match bound {
        Bound::TargetBytes => Error::TargetTooLong(exceeded),
        Bound::HeadBytes | Bound::Headers | Bound::TrailerBytes => Error::HeadTooLarge(exceeded),
        Bound::BodyBytes | Bound::ChunkLineBytes | Bound::ChunkExtensionBytes => {
            Error::BodyTooLarge(exceeded)
        }
    };
    assert_eq!(refusal(&limits, &make(limit + 1)), Some(error));
    assert!(
        error
            .to_string()
            .contains(&format!("{bound} is limited to {limit}, saw {}", limit + 1)),
        "{error}"
    );
}

fn chunked_request(framed: &[u8]) -> Vec<u8> {
    [
        &b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        framed,
    ]
    .concat()
}

#[test]
fn every_limit_is_exact() {
    let limits = Limits {
        head_bytes_max: 300,
        target_bytes_max: 40,
        headers_max: 5,
        body_bytes_max: 100,
        chunk_line_bytes_max: 10,
        chunk_extension_bytes_max: 15,
        trailer_bytes_max: 30,
    };
    let x = |count: usize| "x".repeat(count);
    exact(Bound::HeadBytes, limits, 300, |n| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", x(n - 32)).into()
    });
    exact(Bound::TargetBytes, limits, 40, |n| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", x(n - 1)).into()
    });
    exact(Bound::Headers, limits, 5, |n| {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(n - 1)).into()
    });
    exact(Bound::BodyBytes, limits, 100, |n| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{}",
            x(n)
        )
        .into()
    });
    exact(Bound::BodyBytes, limits, 100, |n| {
        chunked_request(format!("0032\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", x(50), n - 50, x(n - 50)).as_bytes())
    });
    exact(Bound::ChunkLineBytes, limits, 10, |n| {
        chunked_request(format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(n - 1)).as_bytes())
    });
    exact(Bound::ChunkLineBytes, limits, 10, |n| {
        chunked_request(format!("1;{}\r\nx\r\n0\r\n\r\n", x(n - 2)).as_bytes())
    });
    exact(Bound::ChunkExtensionBytes, limits, 15, |n| {
        chunked_request(format!("1;{}\r\nx\r\n0;{}\r\n\r\n", x(8), x(n - 10)).as_bytes())
    });
    exact(Bound::TrailerBytes, limits, 30, |n| {
        chunked_request(format!("0\r\nA: b\r\nX: {}\r\n\r\n", x(n - 11)).as_bytes())
    });
}

/// Without a limit worth the name, a size is still not taken for its last sixteen digits.
#[test]
fn a_chunk_size_does_not_wrap() {
    let limits = Limits {
        body_bytes_max: usize::MAX,
        ..Limits::default()
    };
    for size in [
        "10000000000000003",
        "100000000000000000000000000000003",
        "ffffffffffffffffffff",
    ] {
        let stream = chunked_request(format!("{size}\r\nabc\r\n0\r\n\r\n").as_bytes());
        assert!(
            matches!(refusal(&limits, &stream), Some(Error::BodyTooLarge(_))),
            "{size}"
        );
    }
}

/// No split and no padding makes the work grow faster than the input: four megabytes byte by byte. Linear
/// work takes a fraction of a second, quadratic work hours; the bound stands between with room on both sides.
#[test]
fn work_is_linear_when_bytes_come_one_by_one() {
    const BYTES: usize = 4 << 20;
    let limits = Limits {
        head_bytes_max: BYTES + 1024,
        headers_max: BYTES,
        body_bytes_max: BYTES,
        trailer_bytes_max: BYTES,
        ..Limits::default()
    };
    let host = "POST / HTTP/1.1\r\nHost: a\r\n";
    let long_line = format!("{host}X: {}\r\n\r\n", "x".repeat(BYTES));
    let many_lines = format!("{host}{}\r\n", "X:\r\n".repeat(BYTES / 4));
    let long_body = format!("{host}Content-Length: {BYTES}\r\n\r\n{}", "x".repeat(BYTES));
    let many_chunks = format!(
        "{host}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "1\r\nx\r\n".repeat(BYTES / 6)
    );
    let trailers = format!(
        "{host}Transfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
        "X:\r\n".repeat(BYTES / 4 - 1)
    );
    let started = std::time::Instant::elapsed;
    let clock = start();
    for stream in [long_line, many_lines, long_body, many_chunks, trailers] {
        let (mut exchange, mut buffer, mut whole) =
            (Exchange::new(), Vec::with_capacity(stream.len()), false);
        for &byte in stream.as_bytes() {
            assert!(!whole);
            buffer.push(byte);
            match exchange.advance(&limits, &mut buffer) {
                Step::NeedMore { keep, .. } => buffer.truncate(keep),
                Step::Request { .. } => whole = true,
                Step::Refuse(error) => panic!("{error}"),
            }
        }
        assert!(whole);
    }
    assert!(started(&clock).as_secs() < 30, "took {:?}", started(&clock));
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that measures time has to read a clock"
)]
fn start() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn the_continue_response_is_a_whole_message() {
    let mut headers = [httparse::EMPTY_HEADER; 1];
    let mut parsed = httparse::Response::new(&mut headers);
    let read = parsed.parse(response::CONTINUE).unwrap().unwrap();
    assert_eq!((read, parsed.code), (response::CONTINUE.len(), Some(100)));
}

#[test]
fn a_fault_names_the_byte() {
    let stream = b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n";
    let error = refusal(&Limits::default(), stream).unwrap();
    assert_eq!(
        error,
        Error::Syntax {
            fault: Fault::ControlByte,
            at: 29
        }
    );
    assert_eq!(
        error.to_string(),
        "malformed request: control byte in a field value at byte 29"
    );
    // In a chunked body too, where the buffer no longer holds all that was sent.
    let stream = chunked_request(b"3\r\nabc\r\n2\r\ndeX\r\n");
    let at = stream.iter().position(|&byte| byte == b'X').unwrap();
    assert_eq!(
        refusal(&Limits::default(), &stream),
        Some(Error::Syntax {
            fault: Fault::ChunkEnd,
            at
        })
    );
}

#[test]
fn seeds_and_past_crashes_agree() {
    for (target, check) in [
        ("http_head", http_fuzz::head as fn(&[u8])),
        ("http_body", http_fuzz::body),
        ("http_exchange", http_fuzz::exchange),
    ] {
        assert!(
            seeds::replay(target, check) > 10,
            "{target}: the seeds are where they are looked for"
        );
    }
}

#[test]
fn a_head_answers_for_its_fields_and_keeps_its_secret() {
    let limits = Limits::default();
    let stream = b"POST / HTTP/1.1\r\nHost: a\r\nAccept: x/1\r\nACCEPT: x/2\r\nAuthorization: secret\r\n\r\n";
    let head = head::parse(&limits, stream).unwrap().unwrap();
    assert_eq!(head.values("accept").collect::<Vec<_>>(), [b"x/1", b"x/2"]);
    assert_eq!(head.require_length(), Err(Error::LengthRequired));
    assert!(!format!("{head:?}").contains("secret"));
    let stream = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        head::parse(&limits, stream).unwrap().unwrap().require_length(),
        Ok(())
    );
}

proptest! {
    #![proptest_config(config())]

    /// httparse reads back what was written, whatever the values hold, and the message ends where it says.
    #[test]
    fn responses_read_back(
        code in 200u16..600,
        keep_alive: bool,
        http10: bool,
        date in prop::collection::vec(any::<u8>(), 0..30),
        allow in ".{0,20}",
        retry_after_s: Option<u64>,
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let response = Response {
            keep_alive,
            version: if http10 { Version::Http10 } else { Version::Http11 },
            date: Some(&date),
            content_type: Some("a/b"),
            allow: Some(&allow),
            www_authenticate: Some(&allow),
            retry_after_s,
            ..Response::new(Status { code, reason: "Some Reason" })
        };
        let mut out = Vec::new();
        response.write(&body, &mut out);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        let end = parsed.parse(&out).unwrap().unwrap();
        prop_assert_eq!((parsed.code, parsed.reason), (Some(code), Some("Some Reason")));
        let value = |name: &str| parsed.headers.iter().find(|field| field.name == name).map(|field| field.value);
        let number = |name: &str| value(name).map(|text| String::from_utf8_lossy(text).parse::<u64>().unwrap());
        prop_assert_eq!(number("Retry-After"), retry_after_s);
        let connection = match (keep_alive, http10) {
            (false, _) => Some(&b"close"[..]),
            (true, true) => Some(&b"keep-alive"[..]),
            (true, false) => None,
        };
        prop_assert_eq!(value("Connection"), connection);
        prop_assert_eq!(value("Content-Type"), Some(&b"a/b"[..]));
        prop_assert_eq!(value("WWW-Authenticate"), value("Allow"));
        let length = number("Content-Length").unwrap_or(0);
        prop_assert_eq!(length > 0 || body.is_empty() || matches!(code, 204 | 304), true);
        prop_assert_eq!(out.len() as u64, end as u64 + length);
        prop_assert!(length == 0 || out.ends_with(&body));
        let mut without_body = Vec::new();
        response.write_without_body(body.len(), &mut without_body);
        prop_assert_eq!(&without_body[..], &out[..end]);
    }
}
