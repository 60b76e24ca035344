//! One HTTP request to somebody else, and its reply: for those who may wait, on a thread of their own.
//!
//! Promises: a call ends within its timeout, name resolution aside, and takes no more memory than its bound;
//! whatever comes back, it does not panic. `http` only. Leaves to the caller: retries, and what the reply
//! means.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use crate::clock::{Instant, SystemClock};

/// `http://host:port/path`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no [`Url`] that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("it must begin with http://")]
    Scheme,
    /// No host.
    #[error("it names no host")]
    Host,
    /// User and password.
    #[error("it must not hold a user or a password")]
    UserInfo,
    /// A port that is none.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// White space or a control character.
    #[error("it holds a character that must be escaped")]
    Character,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let rest = text.strip_prefix("http://").ok_or(UrlError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        // RFC 3986 section 3.2.2: an IPv6 address stands in brackets, since it holds colons.
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let port = match port {
            None => 80,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?,
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: host.to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }
}

impl Url {
    /// The same server, another path (with its leading slash).
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// Host and port, as the field Host has them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for Url {
    /// Without the path: some services put a secret there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/..", self.authority())
    }
}

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// More field lines, each ended by CR LF.
    pub fields: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// All of it must be done within this.
    pub timeout: Duration,
    /// Longest reply, head included, in bytes.
    pub reply_bytes_max: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks, on a connection of its own.
///
/// # Errors
/// What the system says, [`io::ErrorKind::TimedOut`] after the timeout, [`io::ErrorKind::InvalidData`] for
/// what is no reply or is longer than its bound.
pub fn call(url: &Url, request: &Request<'_>, clock: &SystemClock) -> io::Result<Reply> {
    let deadline = clock.now().after(request.timeout);
    let mut stream = connect(url, deadline, clock)?;
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: metricstream\r\nConnection: close\r\n\
         Content-Length: {}\r\n{}\r\n",
        request.method,
        url.path,
        url.authority(),
        request.body.len(),
        request.fields,
    );
    stream.set_write_timeout(Some(left(deadline, clock)?))?;
    stream.write_all(&[head.as_bytes(), request.body].concat())?;
    let mut received = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        if let Some(reply) = parse(&received, false)? {
            return Ok(reply);
        }
        stream.set_read_timeout(Some(left(deadline, clock)?))?;
        let count = match stream.read(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What a timeout of a socket is called.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        if count == 0 {
            let broke_off = || io::Error::new(io::ErrorKind::UnexpectedEof, "the reply broke off");
            return parse(&received, true)?.ok_or_else(broke_off);
        }
        received.extend_from_slice(&block[..count]);
        if received.len() > request.reply_bytes_max {
            let limit = request.reply_bytes_max;
            return Err(invalid(format!("the reply is longer than {limit} bytes")));
        }
    }
}

fn connect(url: &Url, deadline: Instant, clock: &SystemClock) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port).to_socket_addrs()?.collect();
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline, clock)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant, clock: &SystemClock) -> io::Result<Duration> {
    match deadline.since(clock.now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The reply in `bytes`, when it is whole; `ended` says that nothing more comes.
fn parse(bytes: &[u8], ended: bool) -> io::Result<Option<Reply>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes);
    let parsed = parsed.map_err(|error| invalid(format!("this is no reply of HTTP: {error}")))?;
    let httparse::Status::Complete(head_bytes) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let body = &bytes[head_bytes..];
    let field = |name: &str| {
        let mut fields = response.headers.iter();
        fields
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let body = if field("transfer-encoding").is_some() {
        match unchunked(body)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else if let Some(length) = field("content-length") {
        let length = std::str::from_utf8(length)
            .ok()
            .and_then(|text| text.parse().ok());
        let length: usize = length.ok_or_else(|| invalid("Content-Length is no number".to_owned()))?;
        match body.get(..length) {
            Some(body) => body.to_owned(),
            None => return Ok(None),
        }
    } else if ended || matches!(status, 204 | 304) {
        body.to_owned()
    } else {
        return Ok(None);
    };
    Ok(Some(Reply { status, body }))
}

/// A chunked body (RFC 9112 section 7.1), when it is whole; its trailers are left out.
fn unchunked(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(rest);
        let parsed = parsed.map_err(|_| invalid("a chunk has no size".to_owned()))?;
        let httparse::Status::Complete((at, size)) = parsed else {
            return Ok(None);
        };
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (Some(chunk), Some(after)) = (
            rest.get(at..at.saturating_add(size)),
            rest.get(at.saturating_add(size).saturating_add(2)..),
        ) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused() {
        for (text, shown) in [
            ("http://a", "http://a:80/"),
            ("http://a.b:9093/x/y?z=1#f", "http://a.b:9093/x/y?z=1"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://a?x", "http://a:80/?x"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), shown, "{text}");
        }
        for (text, error) in [
            ("https://a", UrlError::Scheme),
            ("a:80", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http://:80/", UrlError::Host),
            ("http://u:p@a/", UrlError::UserInfo),
            ("http://a:0/", UrlError::Port),
            ("http://a:x/", UrlError::Port),
            ("http://a/ b", UrlError::Character),
            ("http://a/\r\nX: y", UrlError::Character),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
        let secret: Url = "http://a/secret".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "http://a:80/..");
    }

    #[test]
    fn a_reply_is_whole_by_its_framing() {
        let reply = |text: &str, ended| parse(text.as_bytes(), ended).unwrap().map(|reply| reply.body);
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd";
        assert_eq!(reply(sized, false), Some(b"abc".to_vec()));
        assert_eq!(reply(&sized[..sized.len() - 2], false), None);
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(reply(chunked, false), Some(b"abc".to_vec()));
        assert_eq!(reply(&chunked[..chunked.len() - 6], false), None);
        let open = "HTTP/1.0 200 OK\r\n\r\nab";
        assert_eq!(reply(open, false), None);
        assert_eq!(reply(open, true), Some(b"ab".to_vec()));
        assert!(parse(b"SSH-2.0-x\r\n\r\n", false).is_err());
        assert!(
            parse(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                false
            )
            .is_err()
        );
    }
}
