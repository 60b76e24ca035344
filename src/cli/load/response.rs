//! One response of HTTP/1.1, out of bytes that arrive in any pieces (RFC 9112 sections 4, 6 and 7).
//!
//! Promises: pure; the same answer whatever the pieces; total work linear in the body. Interim (1xx)
//! responses are passed over. Bytes after the response are an error, as only one request is ever open.
//! Leaves to the caller: to keep the bytes from the start of the response on, and to say when they ended.

use serde::Deserialize;

/// Longest response head, in bytes; what a proxy in front of the server adds fits many times.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Longest response, in bytes. A reply to a batch is under 1 KiB; more than this is not a reply.
pub const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

const HEADERS_MAX: usize = 64;
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// A whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `metrics_processed` of a 2xx reply; 0 where there is none.
    pub metrics: u64,
    /// `Retry-After` in seconds, where it was given so.
    pub retry_after_s: Option<u32>,
    /// Whether the connection can take another request.
    pub keep_alive: bool,
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A beginning.
    Partial,
    /// A whole response.
    Whole(Response),
    /// No response of HTTP/1.1.
    Bad,
}

/// Reads one response.
#[derive(Debug, Default)]
pub struct Reader {
    /// Where the head begins: interim responses may stand before it.
    head_at: usize,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    keep_alive: bool,
    retry_after_s: Option<u32>,
    body_at: usize,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunks; the next chunk's size line begins here.
    Chunked { next_at: usize },
    /// All until the connection ends.
    UntilEnd,
}

enum Parsed<T> {
    Partial,
    Whole(T),
    Bad,
}

impl Reader {
    /// Reads `bytes`, which hold all that arrived since the request was sent; `ended` when nothing follows.
    pub fn advance(&mut self, bytes: &[u8], ended: bool) -> Progress {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Progress::Bad;
        }
        while self.head.is_none() {
            match parse_head(bytes, self.head_at) {
                Parsed::Partial => return Progress::Partial,
                Parsed::Bad => return Progress::Bad,
                Parsed::Whole(head) if (100..200).contains(&head.status) => self.head_at = head.body_at,
                Parsed::Whole(head) => self.head = Some(head),
            }
        }
        let Some(head) = &mut self.head else {
            return Progress::Partial;
        };
        match head.body_end(bytes, ended) {
            Parsed::Partial => Progress::Partial,
            Parsed::Whole(end) if end == bytes.len() => {
                Progress::Whole(head.response(&bytes[head.body_at..]))
            }
            Parsed::Whole(_) | Parsed::Bad => Progress::Bad,
        }
    }
}

impl Head {
    /// The end of the message.
    fn body_end(&mut self, bytes: &[u8], ended: bool) -> Parsed<usize> {
        match &mut self.framing {
            Framing::Length(length) => match self.body_at.checked_add(*length) {
                Some(end) if end <= bytes.len() => Parsed::Whole(end),
                Some(end) if end <= RESPONSE_BYTES_MAX => Parsed::Partial,
                _ => Parsed::Bad,
            },
            Framing::Chunked { next_at } => chunks_end(bytes, next_at),
            Framing::UntilEnd if ended => Parsed::Whole(bytes.len()),
            Framing::UntilEnd => Parsed::Partial,
        }
    }

    fn response(&self, body: &[u8]) -> Response {
        let metrics = match self.status {
            200..300 if self.framing == Framing::UntilEnd => metrics_processed(body),
            200..300 => match self.framing {
                Framing::Chunked { .. } => metrics_processed(&unchunked(body)),
                _ => metrics_processed(body),
            },
            _ => 0,
        };
        Response {
            status: self.status,
            metrics,
            retry_after_s: self.retry_after_s,
            keep_alive: self.keep_alive,
        }
    }
}

fn parse_head(bytes: &[u8], at: usize) -> Parsed<Head> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(&bytes[at..]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() - at <= HEAD_BYTES_MAX => return Parsed::Partial,
        _ => return Parsed::Bad,
    };
    let status = response.code.unwrap_or(0);
    let mut head = Head {
        status,
        // RFC 9112 section 9.3: persistent by default since HTTP/1.1.
        keep_alive: response.version == Some(1),
        retry_after_s: None,
        body_at: at + length,
        framing: Framing::UntilEnd,
    };
    for header in response.headers {
        if !read_header(&mut head, header) {
            return Parsed::Bad;
        }
    }
    // RFC 9112 section 6.3: these have no body, whatever the header fields say.
    if (100..200).contains(&status) || status == 204 || status == 304 {
        head.framing = Framing::Length(0);
    }
    head.keep_alive &= head.framing != Framing::UntilEnd;
    Parsed::Whole(head)
}

/// Takes what matters of one header field; `false` when it is no valid one.
fn read_header(head: &mut Head, header: &httparse::Header<'_>) -> bool {
    let Ok(value) = std::str::from_utf8(header.value) else {
        return true;
    };
    let value = value.trim();
    let name = header.name;
    if name.eq_ignore_ascii_case("content-length") {
        // RFC 9112 section 6.1: chunked overrides a length.
        if !matches!(head.framing, Framing::Chunked { .. }) {
            match value.parse() {
                Ok(length) => head.framing = Framing::Length(length),
                Err(_) => return false,
            }
        }
    } else if name.eq_ignore_ascii_case("transfer-encoding") {
        if !value.eq_ignore_ascii_case("chunked") {
            return false;
        }
        head.framing = Framing::Chunked {
            next_at: head.body_at,
        };
    } else if name.eq_ignore_ascii_case("connection") {
        for option in value.split(',').map(str::trim) {
            if option.eq_ignore_ascii_case("close") {
                head.keep_alive = false;
            } else if option.eq_ignore_ascii_case("keep-alive") {
                head.keep_alive = true;
            }
        }
    } else if name.eq_ignore_ascii_case("retry-after") {
        head.retry_after_s = value.parse().ok();
    }
    true
}

/// Walks the chunks from `next_at` on, and answers with the end of the last one and its trailers.
fn chunks_end(bytes: &[u8], next_at: &mut usize) -> Parsed<usize> {
    loop {
        match chunk(bytes, *next_at) {
            Parsed::Whole((data_at, 0)) => return trailers_end(bytes, data_at),
            Parsed::Whole((data_at, size)) => match data_at.checked_add(size + 2) {
                Some(next) if next <= bytes.len() && bytes[next - 2..next] == *b"\r\n" => *next_at = next,
                Some(next) if next > bytes.len() && next <= RESPONSE_BYTES_MAX => return Parsed::Partial,
                _ => return Parsed::Bad,
            },
            Parsed::Partial => return Parsed::Partial,
            Parsed::Bad => return Parsed::Bad,
        }
    }
}

/// Where the data of the chunk at `at` begins, and its size.
fn chunk(bytes: &[u8], at: usize) -> Parsed<(usize, usize)> {
    match httparse::parse_chunk_size(&bytes[at..]) {
        Ok(httparse::Status::Complete((line, size))) => match usize::try_from(size) {
            Ok(size) if size <= RESPONSE_BYTES_MAX => Parsed::Whole((at + line, size)),
            _ => Parsed::Bad,
        },
        Ok(httparse::Status::Partial) if bytes.len() - at <= CHUNK_LINE_BYTES_MAX => Parsed::Partial,
        _ => Parsed::Bad,
    }
}

fn trailers_end(bytes: &[u8], at: usize) -> Parsed<usize> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(&bytes[at..], &mut headers) {
        Ok(httparse::Status::Complete((length, _))) => Parsed::Whole(at + length),
        Ok(httparse::Status::Partial) if bytes.len() - at <= HEAD_BYTES_MAX => Parsed::Partial,
        _ => Parsed::Bad,
    }
}

/// The data of a whole chunked body.
fn unchunked(body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut at = 0;
    while let Parsed::Whole((data_at, size @ 1..)) = chunk(body, at) {
        data.extend_from_slice(&body[data_at..data_at + size]);
        at = data_at + size + 2;
    }
    data
}

/// What a reply says was taken; another server's reply says nothing.
fn metrics_processed(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Reply {
        metrics_processed: u64,
    }
    serde_json::from_slice(body).map_or(0, |reply: Reply| reply.metrics_processed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "{\"success\":true,\"metrics_processed\":3}";

    fn sized(status: &str, fields: &str, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn whole(bytes: &[u8]) -> Response {
        match Reader::default().advance(bytes, true) {
            Progress::Whole(response) => response,
            other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    const TAKEN: Response = Response {
        status: 200,
        metrics: 3,
        retry_after_s: None,
        keep_alive: true,
    };

    fn documents() -> Vec<(Vec<u8>, Response)> {
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na;x=1\r\n{}\r\n{:X}\r\n{}\r\n0\r\nT: 1\r\n\r\n",
            &REPLY[..10],
            REPLY.len() - 10,
            &REPLY[10..]
        );
        let interim = [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n".as_slice(),
            &sized("200 OK", "", REPLY),
        ]
        .concat();
        let refused = Response {
            status: 429,
            metrics: 0,
            retry_after_s: Some(2),
            keep_alive: false,
        };
        vec![
            (sized("200 OK", "", REPLY), TAKEN),
            (chunked.into_bytes(), TAKEN),
            (interim, TAKEN),
            (
                sized(
                    "429 Too Many Requests",
                    "Retry-After: 2\r\nConnection: close\r\n",
                    REPLY,
                ),
                refused,
            ),
            (
                b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
                Response {
                    status: 204,
                    metrics: 0,
                    ..TAKEN
                },
            ),
        ]
    }

    #[test]
    fn responses_are_read_the_same_under_every_split() {
        for (bytes, expected) in documents() {
            assert_eq!(whole(&bytes), expected);
            for first in 0..bytes.len() {
                for second in first..bytes.len() {
                    let mut reader = Reader::default();
                    for end in [first, second] {
                        let progress = reader.advance(&bytes[..end], false);
                        assert_eq!(progress, Progress::Partial, "{end} of {}", bytes.len());
                    }
                    assert_eq!(reader.advance(&bytes, false), Progress::Whole(expected));
                }
            }
        }
    }

    #[test]
    fn a_byte_too_many_is_an_error() {
        for (mut bytes, _) in documents() {
            bytes.push(b'H');
            assert_eq!(Reader::default().advance(&bytes, false), Progress::Bad);
        }
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_is_the_end() {
        let bytes = format!("HTTP/1.1 200 OK\r\n\r\n{REPLY}").into_bytes();
        let mut reader = Reader::default();
        assert_eq!(reader.advance(&bytes, false), Progress::Partial);
        assert_eq!(
            reader.advance(&bytes, true),
            Progress::Whole(Response {
                keep_alive: false,
                ..TAKEN
            })
        );
    }

    #[test]
    fn http_1_0_closes_unless_it_says_otherwise() {
        let close = format!(
            "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{REPLY}",
            REPLY.len()
        );
        assert!(!whole(close.as_bytes()).keep_alive);
        let keep = close.replace("\r\n\r\n", "\r\nConnection: Keep-Alive\r\n\r\n");
        assert!(whole(keep.as_bytes()).keep_alive);
    }

    #[test]
    fn what_is_no_response_is_bad_at_once() {
        for bytes in [
            "SSH-2.0-OpenSSH\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX),
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                RESPONSE_BYTES_MAX + 1
            ),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r0\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX)),
        ] {
            let progress = Reader::default().advance(bytes.as_bytes(), false);
            assert_eq!(progress, Progress::Bad, "{:?}", &bytes[..bytes.len().min(80)]);
        }
    }
}
