//! Makes streams of requests from raw bytes, for property tests and fuzzers alike.
//!
//! Promises: [`Stream::valid`] holds requests that must all be accepted, with what they must be read as;
//! [`Stream::damaged`] is such a stream with bytes changed, cut and pasted where it hurts. The same input
//! makes the same stream, and a shorter input a simpler one.

use arbitrary::{Result, Unstructured};

use crate::http::Seen;

/// A stream, the requests it was made of, and where to cut it.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What was put in; what must come out if nothing was damaged.
    pub requests: Vec<Seen>,
    /// Where to cut, for `http::pieces`.
    pub cuts: Vec<usize>,
}

/// Snippets that framing attacks are made of.
const SNIPPETS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\x0b",
    b"\x80",
    b":",
    b",",
    b"+",
    b"-",
    b"0",
    b"0x",
    b"1",
    b";",
    b"\"",
    b"#",
    b"?",
    b"*",
    b"/",
    b"http://",
    b"@",
    b"[",
    b"]",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"content-length:+3\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\tChunked \r\n",
    b"Transfer-Encoding:\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Host: b\r\n",
    b"Host: a b\r\n",
    b" folded: x\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: 200-ok\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Content-Type: a/b\r\n",
    b"Authorization: x\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1.2",
    b"0\r\n\r\n",
    b"0;x\r\n\r\n",
    b"0\r\nContent-Length: 9\r\n\r\n",
    b"3\r\nabc\r\n",
    b"fffffffffffffffff\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\n\r\n\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Content-Type: a/b\r\nContent-Type: c/d\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

impl Stream {
    /// A stream of requests that all follow the standard.
    ///
    /// # Errors
    ///
    /// None in practice; what [`Unstructured`] gives when it has run out.
    pub fn valid(u: &mut Unstructured<'_>) -> Result<Self> {
        let (mut bytes, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..u.int_in_range(1..=4)? {
            let plan = Plan::arbitrary(u)?;
            plan.write(&mut bytes);
            let last = !plan.seen.keep_alive;
            requests.push(plan.seen);
            if last {
                break;
            }
        }
        Ok(Self {
            bytes,
            requests,
            cuts: cuts(u)?,
        })
    }

    /// A stream of requests with damage.
    ///
    /// # Errors
    ///
    /// As [`Stream::valid`].
    pub fn damaged(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut stream = Self::valid(u)?;
        for _ in 0..u.int_in_range(0..=3)? {
            damage(&mut stream.bytes, u)?;
        }
        Ok(stream)
    }
}

fn cuts(u: &mut Unstructured<'_>) -> Result<Vec<usize>> {
    (0..u.int_in_range(0..=6)?)
        .map(|_| Ok(usize::from(u.arbitrary::<u16>()?)))
        .collect()
}

fn damage(bytes: &mut Vec<u8>, u: &mut Unstructured<'_>) -> Result<()> {
    let at = u.int_in_range(0..=bytes.len())?;
    // Where a snippet hurts most: at the start of a line.
    let line = bytes[..at]
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |lf| lf + 1);
    match u.int_in_range(0..=5)? {
        0 => insert(bytes, at, u.choose(SNIPPETS)?),
        1 | 2 => insert(bytes, line, u.choose(SNIPPETS)?),
        3 if at < bytes.len() => bytes[at] = u.arbitrary()?,
        4 => {
            let end = (at + u.int_in_range(1..=4)?).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => bytes.truncate(at),
    }
    Ok(())
}

fn insert(bytes: &mut Vec<u8>, at: usize, snippet: &[u8]) {
    bytes.splice(at..at, snippet.iter().copied());
}

struct Plan {
    seen: Seen,
    empty_lines: usize,
    target: Vec<u8>,
    version: &'static [u8],
    /// White space before and after each value.
    blanks: Vec<(&'static [u8], &'static [u8])>,
    coded: Option<Vec<u8>>,
}

impl Plan {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let version: &[u8] = u.choose(&[
            &b"HTTP/1.1"[..],
            b"HTTP/1.1",
            b"HTTP/1.1",
            b"HTTP/1.0",
            b"HTTP/1.2",
        ])?;
        let http11 = version != b"HTTP/1.0";
        let body: Vec<u8> = u.arbitrary::<Vec<u8>>()?;
        let (target, mut seen) = target(u, http11)?;
        if seen.host.is_none() && (http11 || u.arbitrary()?) {
            let host: &[u8] = u.choose(&[&b"a"[..], b"example.com:8080", b"[::1]:80", b"", b"%41_b"])?;
            seen.host = Some(host.to_vec());
            seen.fields.push((cased(u, b"Host")?, host.to_vec()));
        } else if http11 {
            seen.fields.push((cased(u, b"Host")?, b"ignored".to_vec()));
        }
        for _ in 0..u.int_in_range(0..=4)? {
            field(u, &mut seen)?;
        }
        connection(u, http11, &mut seen)?;
        let coded = framing(u, http11, body, &mut seen)?;
        let blanks = (0..seen.fields.len()).map(|_| blank(u)).collect::<Result<_>>()?;
        Ok(Self {
            seen,
            empty_lines: u.int_in_range(0..=2)?,
            target,
            version,
            blanks,
            coded,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        for _ in 0..self.empty_lines {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(
            &[
                &self.seen.method[..],
                b" ",
                &self.target,
                b" ",
                self.version,
                b"\r\n",
            ]
            .concat(),
        );
        for ((name, value), (before, after)) in self.seen.fields.iter().zip(&self.blanks) {
            out.extend_from_slice(&[&name[..], b":", before, value, after, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.coded.as_deref().unwrap_or(&self.seen.body));
    }
}

fn blank(u: &mut Unstructured<'_>) -> Result<(&'static [u8], &'static [u8])> {
    const BLANKS: [&[u8]; 4] = [b" ", b"", b"\t", b" \t "];
    Ok((u.choose(&BLANKS)?, u.choose(&[&b""[..], b"", b" ", b"\t\t"])?))
}

/// True for one in eight, and false when `u` has run out.
fn rarely(u: &mut Unstructured<'_>) -> Result<bool> {
    Ok(u.int_in_range(0..=7)? == 7)
}

/// A name in some mixture of cases.
fn cased(u: &mut Unstructured<'_>, name: &[u8]) -> Result<Vec<u8>> {
    let flips: u32 = u.arbitrary()?;
    let flip = |(index, &b): (usize, &u8)| {
        if flips >> (index % 32) & 1 == 1 {
            b ^ 0x20
        } else {
            b
        }
    };
    Ok(name
        .iter()
        .enumerate()
        .map(|(index, b)| {
            if b.is_ascii_alphabetic() {
                flip((index, b))
            } else {
                *b
            }
        })
        .collect())
}

fn text(u: &mut Unstructured<'_>, alphabet: &[u8], most: usize) -> Result<Vec<u8>> {
    (0..u.int_in_range(0..=most)?)
        .map(|_| u.choose(alphabet).copied())
        .collect()
}

fn target(u: &mut Unstructured<'_>, http11: bool) -> Result<(Vec<u8>, Seen)> {
    const METHODS: [&[u8]; 9] = [
        b"POST",
        b"GET",
        b"HEAD",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"PATCH",
        b"TRACE",
        b"M-SEARCH",
    ];
    let method = u.choose(&METHODS)?.to_vec();
    let path = [b"/", &text(u, b"metrics/%20~.-_!$&'()*+,;=:@", 12)?[..]].concat();
    let query = if u.arbitrary()? {
        Some(text(u, b"a=1&b?/%2f", 8)?)
    } else {
        None
    };
    let tail = match &query {
        Some(query) => [&path[..], b"?", query].concat(),
        None => path.clone(),
    };
    let mut seen = Seen {
        method,
        path,
        query,
        http11,
        keep_alive: http11,
        expect_continue: false,
        host: None,
        authorization: None,
        content_type: None,
        content_encoding: None,
        accept: None,
        ack: None,
        fields: Vec::new(),
        body: Vec::new(),
    };
    Ok(match u.int_in_range(0..=7)? {
        7 => {
            let authority: &[u8] = u.choose(&[&b"example.com"[..], b"b:1", b"[::1]", b"127.0.0.1:80"])?;
            seen.host = Some(authority.to_vec());
            let scheme = cased(u, b"http://")?;
            ([&scheme[..], authority, &tail].concat(), seen)
        }
        6 if seen.method == b"OPTIONS" => {
            (seen.path, seen.query) = (b"*".to_vec(), None);
            (b"*".to_vec(), seen)
        }
        _ => (tail, seen),
    })
}

fn field(u: &mut Unstructured<'_>, seen: &mut Seen) -> Result<()> {
    const NAMES: [&[u8]; 12] = [
        b"Accept",
        b"Authorization",
        b"Content-Type",
        b"Content-Encoding",
        b"Metricstream-Ack",
        b"User-Agent",
        b"X-Forwarded-For",
        b"Cookie",
        b"!#$%&'*+-.^_`|~",
        b"te",
        b"Upgrade",
        b"x",
    ];
    let name = *u.choose(&NAMES)?;
    let mut value = text(u, b"ab: \t,;=\"()[]{}/\\\x80\xff~!", 40)?;
    while value.first().is_some_and(|b| b" \t".contains(b)) {
        value.remove(0);
    }
    while value.last().is_some_and(|b| b" \t".contains(b)) {
        value.pop();
    }
    match name {
        b"Accept" => seen.accept = seen.accept.take().or(Some(value.clone())),
        b"Content-Encoding" => seen.content_encoding = seen.content_encoding.take().or(Some(value.clone())),
        // A second line of these is refused.
        b"Authorization" if seen.authorization.is_some() => return Ok(()),
        b"Content-Type" if seen.content_type.is_some() => return Ok(()),
        b"Metricstream-Ack" if seen.ack.is_some() => return Ok(()),
        b"Metricstream-Ack" => seen.ack = Some(value.clone()),
        b"Authorization" => seen.authorization = Some(value.clone()),
        b"Content-Type" => seen.content_type = Some(value.clone()),
        _ => {}
    }
    seen.fields.push((cased(u, name)?, value));
    Ok(())
}

fn connection(u: &mut Unstructured<'_>, http11: bool, seen: &mut Seen) -> Result<()> {
    let options: [&[u8]; 6] = [b"", b"keep-alive", b"Keep-Alive, x", b"x", b"close", b"x,, CLOSE"];
    // Mostly such that another request can follow.
    let mostly = !rarely(u)?;
    let option = *u.choose(if mostly { &options[..4] } else { &options })?;
    if !option.is_empty() {
        let close = option.to_ascii_lowercase().ends_with(b"close");
        let persist = option.to_ascii_lowercase().starts_with(b"keep-alive");
        seen.keep_alive = !close && (http11 || persist);
        seen.fields.push((cased(u, b"Connection")?, option.to_vec()));
    }
    if rarely(u)? {
        seen.expect_continue = http11;
        seen.fields
            .push((cased(u, b"Expect")?, cased(u, b"100-continue")?));
    }
    Ok(())
}

/// Adds the framing fields and the body; the coded form if there is one.
fn framing(
    u: &mut Unstructured<'_>,
    http11: bool,
    body: Vec<u8>,
    seen: &mut Seen,
) -> Result<Option<Vec<u8>>> {
    match u.int_in_range(0..=4)? {
        0 => Ok(None),
        1 | 2 => {
            let zeros = if rarely(u)? { "000" } else { "" };
            let length = format!("{zeros}{}", body.len());
            seen.fields
                .push((cased(u, b"Content-Length")?, length.into_bytes()));
            seen.body = body;
            Ok(None)
        }
        _ if !http11 => Ok(None),
        _ => {
            seen.fields
                .push((cased(u, b"Transfer-Encoding")?, cased(u, b"chunked")?));
            let coded = chunk(u, &body)?;
            seen.body = body;
            Ok(Some(coded))
        }
    }
}

/// The chunked form of `body`, with chunks, extensions and trailers as `u` has it.
///
/// # Errors
///
/// As [`Stream::valid`].
pub fn chunk(u: &mut Unstructured<'_>, body: &[u8]) -> Result<Vec<u8>> {
    const EXTENSIONS: [&[u8]; 6] = [b"", b"", b";", b";name=value", b" \t; a = \"q;\x80\"", b";a;b=c"];
    const TRAILERS: [&[u8]; 4] = [
        b"",
        b"T: v\r\n",
        b"Content-Length: 9\r\nX:\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ];
    let (mut out, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let size = u.int_in_range(1..=rest.len())?;
        // The chunk size has at most a few zeros before it and any case.
        let zeros = if rarely(u)? { "00" } else { "" };
        let line = if u.arbitrary()? {
            format!("{zeros}{size:x}")
        } else {
            format!("{zeros}{size:X}")
        };
        out.extend_from_slice(
            &[
                line.as_bytes(),
                *u.choose(&EXTENSIONS)?,
                b"\r\n",
                &rest[..size],
                b"\r\n",
            ]
            .concat(),
        );
        rest = &rest[size..];
    }
    let zero: &[u8] = u.choose(&[&b"0"[..], b"0", b"000"])?;
    out.extend_from_slice(
        &[
            zero,
            *u.choose(&EXTENSIONS)?,
            b"\r\n",
            *u.choose(&TRAILERS)?,
            b"\r\n",
        ]
        .concat(),
    );
    Ok(out)
}
