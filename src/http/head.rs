//! The head of a request: request line and field lines (RFC 9112 sections 2 to 6, RFC 9110).
//!
//! Promises: a [`Head`] borrows everything from the buffer; parsing allocates nothing, never panics and
//! looks at each byte a fixed number of times. The answer for a prefix of the stream depends on that prefix
//! alone, so splitting the stream into reads changes nothing. All that recipients are known to frame
//! differently is refused (list in `proptests/tests/http_cases.rs`).
//!
//! Leaves to the caller: whether the method, the path and the content type are served, decoding of
//! percent-escapes, and how long to wait for the rest of a head.

use std::fmt;

use super::scan;
use super::{Bound, Error, Exceeded, Fault, Limits};
use crate::limits::LEADING_EMPTY_LINES_MAX;

/// The head of one request, checked and borrowed from the buffer it was read into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The request target.
    pub target: Target<'a>,
    /// The version.
    pub version: Version,
    /// Whether the connection may carry another request after this one: the client lets it, and the method
    /// is not CONNECT.
    pub keep_alive: bool,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body. False in HTTP/1.0.
    pub expect_continue: bool,
    /// The host asked for: the authority of an absolute target, else the value of Host. None in an
    /// HTTP/1.0 request without either.
    pub host: Option<&'a [u8]>,
    /// The value of Authorization. A secret: [`Head`]'s `Debug` leaves it out.
    pub authorization: Option<&'a [u8]>,
    /// The value of Content-Type.
    pub content_type: Option<&'a [u8]>,
    /// The value of Content-Encoding's first line.
    pub content_encoding: Option<&'a [u8]>,
    /// The value of Accept's first line; [`Head::values`] gives them all.
    pub accept: Option<&'a [u8]>,
    /// The value of X-Request-Id's first line.
    pub request_id: Option<&'a [u8]>,
    /// The value of Metricstream-Ack.
    pub ack: Option<&'a [u8]>,
    fields: &'a [u8],
    bytes: usize,
}

/// A request method. Methods are case-sensitive (RFC 9110 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// Any other token.
    Other(&'a [u8]),
}

/// HTTP/1.0 or HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, and any later 1.x: RFC 9110 section 2.5 has a recipient process those "as if [the message]
    /// was in the highest minor version within that major version to which the recipient is conformant".
    Http11,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The form it came in.
    pub form: Form,
    /// The path, as sent, with no percent-escape decoded: starts with `/` in the origin and absolute forms,
    /// is `*` in the asterisk form and empty in the authority form.
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a [u8]>,
    /// The authority of the absolute and authority forms.
    pub authority: Option<&'a [u8]>,
}

/// The four forms of a request target (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// No framing field. RFC 9112 section 6.3: "If this is a request message and none of the above are
    /// true, then the message body length is zero (no message body is present)."
    None,
    /// Content-Length, in bytes. A larger number than fits is `u64::MAX`.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

impl<'a> Head<'a> {
    /// Length of the head in bytes, its closing empty line included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All field lines in the order sent, as (name, value); values have no white space around them.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields }
    }

    /// The values of all lines of a field, in the order sent. `name` is matched without regard to case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// For a route that cannot work without a body: an error if no framing was announced.
    ///
    /// The framing itself permits that (see [`Framing::None`]), so the refusal is the route's choice. RFC
    /// 9110 section 15.5.12: "the server refuses to accept the request without a defined Content-Length".
    /// The connection must close, as a body may follow that only the client knows of.
    ///
    /// # Errors
    ///
    /// [`Error::LengthRequired`].
    pub fn require_length(&self) -> Result<(), Error> {
        match self.framing {
            Framing::None => Err(Error::LengthRequired),
            Framing::Length(_) | Framing::Chunked => Ok(()),
        }
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("version", &self.version)
            .field("keep_alive", &self.keep_alive)
            .field("framing", &self.framing)
            .field("expect_continue", &self.expect_continue)
            .finish_non_exhaustive()
    }
}

impl<'a> Method<'a> {
    /// The method as sent.
    pub fn name(&self) -> &'a [u8] {
        match *self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Post => b"POST",
            Self::Put => b"PUT",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
            Self::Patch => b"PATCH",
            Self::Trace => b"TRACE",
            Self::Connect => b"CONNECT",
            Self::Other(name) => name,
        }
    }

    fn from_token(token: &'a [u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            other => Self::Other(other),
        }
    }
}

/// The field lines of a [`Head`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Checked when the head was parsed: each line is name, colon, value, CR LF.
        let colon = scan::token_end(self.rest);
        let (name, rest) = self.rest.split_at_checked(colon)?;
        let rest = rest.strip_prefix(b":")?;
        let (value, rest) = rest.split_at_checked(scan::value_end(rest))?;
        self.rest = rest.strip_prefix(b"\r\n")?;
        Some((name, scan::trim(value)))
    }
}

/// Parses a head from the start of `buffer`; `None` if the buffer does not hold all of it.
///
/// # Errors
///
/// Any [`Error`] but those about bodies. Offsets count from the start of `buffer`.
pub fn parse<'a>(limits: &Limits, buffer: &'a [u8]) -> Result<Option<Head<'a>>, Error> {
    if let Some(head) = parse_whole(limits, buffer) {
        return Ok(Some(head));
    }
    match Scan::default().advance(limits, buffer)? {
        Some(found) => parse_found(limits, buffer, found).map(Some),
        None => Ok(None),
    }
}

/// The fast way for what nearly all buffers hold, a whole good head of moderate size. For anything else none,
/// and the caller asks [`Scan`], which alone decides between errors.
///
/// The line ends are found first, in one sweep, so that no line has to wait for the one before it.
fn parse_whole<'a>(limits: &Limits, buffer: &'a [u8]) -> Option<Head<'a>> {
    let window = &buffer[..buffer.len().min(limits.head_bytes_max)];
    let mut places = [0; scan::LINES_MAX];
    let places = scan::line_feeds(window, &mut places)?;
    let found = Found::from_line_feeds(places)?;
    let mut places = places[1..].iter();
    let line = |at: usize| {
        let feed = places.next().map_or(at, |&place| usize::from(place));
        let line = window.get(at..feed.saturating_sub(1)).unwrap_or_default();
        let name_end = scan::token_end(&window[at..]).min(line.len());
        let (name, rest) = line.split_at(name_end);
        match rest {
            [b':', value @ ..] if name_end > 0 => Ok((name, scan::trim(value), feed + 1 - at)),
            // Not the error that is reported: Scan's way finds that.
            _ => Err(Error::syntax(Fault::FieldName, at)),
        }
    };
    parse_lines(limits, window, found, line).ok()
}

/// The search for the end of a head, resumable: it remembers how far it got.
///
/// What it answers for a buffer is the same whether the buffer grew in one step or in many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scan {
    /// Bytes searched.
    searched: usize,
    /// Start of the line that is not complete yet.
    line: usize,
    empty_lines: usize,
    /// Start and end (without CR LF) of the request line, once complete.
    request_line: Option<(usize, usize)>,
    request_line_checked: bool,
}

/// Where a head lies in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    request_line: (usize, usize),
    /// End of the head, the closing empty line included; or of what may hold it.
    pub(super) end: usize,
}

impl Found {
    /// The head whose line ends are at `places`, unless an empty line comes before its request line.
    fn from_line_feeds(places: &[u16]) -> Option<Self> {
        let (first, last) = (places.first()?, places.last()?);
        let request_line = (0, usize::from(*first).checked_sub(1)?);
        (request_line.1 > 0).then_some(Self {
            request_line,
            end: usize::from(*last) + 1,
        })
    }
}

impl Scan {
    /// Searches on in `buffer`, which starts where it started before and holds at least as much.
    pub(super) fn advance(&mut self, limits: &Limits, buffer: &[u8]) -> Result<Option<Found>, Error> {
        let window = &buffer[..buffer.len().min(limits.head_bytes_max)];
        if self.searched == 0
            && let Some(found) =
                scan::line_feeds(window, &mut [0; scan::LINES_MAX]).and_then(Found::from_line_feeds)
        {
            return Ok(Some(found));
        }
        while let Some(distance) = window.get(self.searched..).and_then(scan::line_feed) {
            if let Some(found) = self.line_end(limits, window, self.searched + distance)? {
                return Ok(Some(found));
            }
        }
        self.searched = window.len();
        self.check_request_line(limits, window)?;
        self.request_line_checked = self.request_line.is_some();
        if window.len() == limits.head_bytes_max {
            return Err(self.too_long(limits, window));
        }
        Ok(None)
    }

    /// One more line is complete: its LF is at `at`.
    fn line_end(&mut self, limits: &Limits, window: &[u8], at: usize) -> Result<Option<Found>, Error> {
        // RFC 9112 section 2.2: "a recipient MAY recognize a single LF as a line terminator". We do not:
        // a proxy that does not either would see one field where we saw two.
        if at == self.line || window[at - 1] != b'\r' {
            self.check_request_line(limits, window)?;
            return Err(Error::syntax(Fault::BareLf, at));
        }
        let empty = at - 1 == self.line;
        match (self.request_line, empty) {
            (Some(request_line), true) => {
                return Ok(Some(Found {
                    request_line,
                    end: at + 1,
                }));
            }
            (Some(_), false) => {}
            (None, false) => self.request_line = Some((self.line, at - 1)),
            (None, true) => {
                // RFC 9112 section 2.2: "a server that is expecting to receive and parse a request-line
                // SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
                self.empty_lines += 1;
                if self.empty_lines > LEADING_EMPTY_LINES_MAX {
                    return Err(Error::syntax(Fault::LeadingLines, self.line));
                }
            }
        }
        self.line = at + 1;
        self.searched = at + 1;
        Ok(None)
    }

    /// Refuses a bad request line as soon as it is complete, and what cannot become one at its first byte,
    /// so that a client of another protocol is not left waiting for a time-out.
    fn check_request_line(&self, limits: &Limits, window: &[u8]) -> Result<(), Error> {
        match self.request_line {
            Some(_) if self.request_line_checked => Ok(()),
            Some((start, end)) => request_line(limits, &window[start..end], start).map(drop),
            None => match window.get(self.line) {
                Some(&first) if first != b'\r' && first != b'\n' && !scan::is_token(first) => {
                    Err(Error::syntax(Fault::Method, self.line))
                }
                _ => Ok(()),
            },
        }
    }

    fn too_long(&self, limits: &Limits, window: &[u8]) -> Error {
        if self.request_line.is_none() {
            let line = &window[self.line..];
            let target = line
                .iter()
                .position(|&byte| byte == b' ')
                .map_or(0, |space| line.len() - space - 1);
            if target > limits.target_bytes_max {
                return target_too_long(limits);
            }
        }
        Error::HeadTooLarge(Exceeded {
            bound: Bound::HeadBytes,
            limit: limits.head_bytes_max,
            seen: limits.head_bytes_max as u64 + 1,
        })
    }
}

/// Parses a head that [`Scan`] found: `bytes` holds at least `found.end` bytes. The head ends at the first
/// empty line, which is where [`Scan`] says it does.
pub(super) fn parse_found<'a>(limits: &Limits, bytes: &'a [u8], found: Found) -> Result<Head<'a>, Error> {
    match parse_whole(limits, &bytes[..found.end]) {
        Some(head) => Ok(head),
        None => parse_lines(limits, bytes, found, |at| field_line(&bytes[at..found.end], at)),
    }
}

/// Parses the request line at its place and the field lines as `line` gives them for their offsets: name,
/// value, length.
#[inline]
fn parse_lines<'a>(
    limits: &Limits,
    bytes: &'a [u8],
    found: Found,
    mut line: impl FnMut(usize) -> Result<(&'a [u8], &'a [u8], usize), Error>,
) -> Result<Head<'a>, Error> {
    let bytes = &bytes[..found.end];
    let (line_start, line_end) = found.request_line;
    let (method, target, version) = request_line(limits, &bytes[line_start..line_end], line_start)?;
    let fields_start = line_end + 2;
    let mut known = Known::default();
    let mut at = fields_start;
    let mut count = 0;
    while !bytes[at..].starts_with(b"\r\n") {
        let (name, value, line_bytes) = line(at)?;
        count += 1;
        if count > limits.headers_max {
            return Err(Error::HeadTooLarge(Exceeded {
                bound: Bound::Headers,
                limit: limits.headers_max,
                seen: count as u64,
            }));
        }
        known.note(name, value, at)?;
        at += line_bytes;
    }
    Ok(Head {
        method,
        target,
        version,
        // A client of a tunnel may send its bytes ahead of our refusal: they are no requests.
        keep_alive: known.keep_alive(version) && method != Method::Connect,
        host: known.host(&target, version, line_start)?,
        framing: known.framing(version)?,
        expect_continue: known.expect_continue(version)?,
        authorization: known.authorization,
        content_type: known.content_type,
        content_encoding: known.content_encoding,
        accept: known.accept,
        request_id: known.request_id,
        ack: known.ack,
        fields: &bytes[fields_start..at],
        bytes: at + 2,
    })
}

/// Parses a request line without its CR LF; `at` is its offset.
///
/// RFC 9112 section 3: "request-line = method SP request-target SP HTTP-version". "Recipients MAY instead
/// parse on whitespace-delimited word boundaries": we do not, as "lenient parsing can result in request
/// smuggling security vulnerabilities".
fn request_line<'a>(
    limits: &Limits,
    line: &'a [u8],
    at: usize,
) -> Result<(Method<'a>, Target<'a>, Version), Error> {
    let method_end = scan::token_end(line);
    if method_end == 0 || line.get(method_end) != Some(&b' ') {
        return Err(Error::syntax(Fault::Method, at + method_end));
    }
    let method = Method::from_token(&line[..method_end]);
    let target_start = method_end + 1;
    let target = &line[target_start..];
    let target_bytes = scan::target_end(target);
    // RFC 9112 section 3: "A server that receives a request-target longer than any URI it wishes to parse
    // MUST respond with a 414 (URI Too Long) status code".
    if target_bytes > limits.target_bytes_max {
        return Err(target_too_long(limits));
    }
    let target_end = target_start + target_bytes;
    match line.get(target_end) {
        Some(b' ') if target_bytes > 0 => {}
        // HTTP/0.9: a target and no version.
        None if target_bytes > 0 => return Err(Error::syntax(Fault::VersionSyntax, at + target_end)),
        _ => return Err(Error::syntax(Fault::Target, at + target_end)),
    }
    // The version goes first, so that the preface of HTTP/2 (`PRI * HTTP/2.0`) is called what it is.
    let version = version(&line[target_end + 1..], at + target_end + 1)?;
    let target = Target::from_bytes(method, &target[..target_bytes], at + target_start)?;
    Ok((method, target, version))
}

fn target_too_long(limits: &Limits) -> Error {
    Error::TargetTooLong(Exceeded {
        bound: Bound::TargetBytes,
        limit: limits.target_bytes_max,
        seen: limits.target_bytes_max as u64 + 1,
    })
}

/// RFC 9112 section 2.3: "HTTP-version = HTTP-name "/" DIGIT "." DIGIT; HTTP-name = %x48.54.54.50 ; HTTP".
fn version(bytes: &[u8], at: usize) -> Result<Version, Error> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            if *major == b'1' {
                Ok(Version::Http11)
            } else {
                Err(Error::Version { at })
            }
        }
        _ => Err(Error::syntax(Fault::VersionSyntax, at)),
    }
}

impl<'a> Target<'a> {
    /// RFC 9112 section 3.2: "request-target = origin-form / absolute-form / authority-form /
    /// asterisk-form". `bytes` is not empty and has only the bytes of a target.
    fn from_bytes(method: Method<'a>, bytes: &'a [u8], at: usize) -> Result<Self, Error> {
        // Section 3.2.3: "The "authority-form" of request-target is only used for CONNECT requests".
        if method == Method::Connect {
            return Self::authority(bytes).ok_or(Error::syntax(Fault::TargetForm, at));
        }
        match bytes {
            [b'/', ..] => Ok(Self::origin(bytes)),
            // Section 3.2.4: "The "asterisk-form" of request-target is only used for a server-wide OPTIONS
            // request".
            b"*" if method == Method::Options => Ok(Self {
                form: Form::Asterisk,
                path: bytes,
                query: None,
                authority: None,
            }),
            b"*" => Err(Error::syntax(Fault::TargetForm, at)),
            _ => Self::absolute(bytes, at),
        }
    }

    fn origin(bytes: &'a [u8]) -> Self {
        let (path, query) = split_query(bytes);
        Self {
            form: Form::Origin,
            path,
            query,
            authority: None,
        }
    }

    fn authority(bytes: &'a [u8]) -> Option<Self> {
        let port = bytes.rsplit(|&byte| byte == b':').next()?;
        let valid = host_is_valid(bytes) && !port.is_empty() && port.len() < bytes.len() && bytes[0] != b':';
        valid.then_some(Self {
            form: Form::Authority,
            path: b"",
            query: None,
            authority: Some(bytes),
        })
    }

    /// Section 3.2.2: "a server MUST accept the absolute-form in requests even though most HTTP/1.1 clients
    /// will only send the absolute-form to a proxy".
    fn absolute(bytes: &'a [u8], at: usize) -> Result<Self, Error> {
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| {
                bytes
                    .get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
            .ok_or(Error::syntax(Fault::Target, at))?;
        let rest = &bytes[scheme.len()..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let at = at + scheme.len();
        // RFC 9110 section 4.2.4: "a recipient SHOULD parse for userinfo and treat its presence as an
        // error; it is likely being used to obscure the authority".
        if authority.contains(&b'@') {
            return Err(Error::syntax(Fault::UserInfo, at));
        }
        // RFC 9110 section 4.2.1: "A recipient that processes such a URI reference [with an empty host
        // identifier] MUST reject it as invalid."
        if authority.is_empty() || authority[0] == b':' || !host_is_valid(authority) {
            return Err(Error::syntax(Fault::Host, at));
        }
        let (path, query) = split_query(rest);
        // RFC 9110 section 4.2.3: "an empty path component is equivalent to an absolute path of "/"".
        let path = if path.is_empty() { b"/" } else { path };
        Ok(Self {
            form: Form::Absolute,
            path,
            query,
            authority: Some(authority),
        })
    }
}

fn split_query(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match scan::question_mark(bytes) {
        Some(mark) => (&bytes[..mark], Some(&bytes[mark + 1..])),
        None => (bytes, None),
    }
}

/// RFC 9110 section 7.2: "Host = uri-host [ ":" port ]". The host may be empty: RFC 9112 section 3.2 has
/// clients send an empty value where the target has no authority.
fn host_is_valid(value: &[u8]) -> bool {
    let (name, port) = match value {
        // RFC 3986 section 3.2.2: "IP-literal = "[" ( IPv6address / IPvFuture ) "]"".
        [b'[', rest @ ..] => match rest.iter().position(|&byte| byte == b']') {
            Some(end) if end > 0 => (&rest[..end], &rest[end + 1..]),
            _ => return false,
        },
        _ => value.split_at(scan::host_end(value)),
    };
    let port_is_valid = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let literal = value.first() == Some(&b'[');
    port_is_valid
        && (!literal || name.iter().all(|&byte| byte == b':' || scan::is_host(byte)))
        && (!name.contains(&b'%') || escapes_are_valid(name))
}

/// RFC 3986 section 2.1: "pct-encoded = "%" HEXDIG HEXDIG".
fn escapes_are_valid(name: &[u8]) -> bool {
    let is_escape = |after: &[u8]| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit);
    name.split(|&byte| byte == b'%').skip(1).all(is_escape)
}

/// Parses the field line at the start of `bytes`, which lies at `at`: name, value, and the line's length.
///
/// RFC 9112 section 5: "field-line = field-name ":" OWS field-value OWS".
fn field_line(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8], usize), Error> {
    let name_end = scan::token_end(bytes);
    if name_end == 0 || bytes.get(name_end) != Some(&b':') {
        return Err(name_error(bytes, name_end, at));
    }
    let value = &bytes[name_end + 1..];
    let value_bytes = scan::value_end(value);
    // RFC 9110 section 5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous";
    // we refuse the other control bytes with them.
    match value.get(value_bytes..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([b'\r', ..]) => return Err(Error::syntax(Fault::BareCr, at + name_end + 1 + value_bytes)),
        _ => return Err(Error::syntax(Fault::ControlByte, at + name_end + 1 + value_bytes)),
    }
    Ok((
        &bytes[..name_end],
        scan::trim(&value[..value_bytes]),
        name_end + 1 + value_bytes + 2,
    ))
}

fn name_error(bytes: &[u8], name_end: usize, at: usize) -> Error {
    let fault = match bytes.get(name_end) {
        // RFC 9112 section 5.2: "A server that receives an obs-fold in a request message ... MUST either
        // reject the message by sending a 400 (Bad Request) ... or replace each received obs-fold".
        // Section 2.2 says the same of white space before the first field.
        Some(b' ' | b'\t') if name_end == 0 => Fault::Fold,
        // Section 5.1: "A server MUST reject, with a response status code of 400 (Bad Request), any
        // received request message that contains whitespace between a header field name and colon."
        Some(b' ' | b'\t') => Fault::SpaceBeforeColon,
        _ => Fault::FieldName,
    };
    Error::syntax(fault, at + name_end)
}

/// The fields that this server acts on, gathered line by line.
#[derive(Default)]
struct Known<'a> {
    host: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    accept: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    ack: Option<&'a [u8]>,
    length: Option<u64>,
    /// Offset of the first Transfer-Encoding line.
    coding_at: Option<usize>,
    codings: usize,
    chunked_codings: usize,
    last_coding_is_chunked: bool,
    close: bool,
    persist: bool,
    expects_continue: bool,
    /// Offset of the first Expect line with an expectation other than 100-continue.
    expectation_at: Option<usize>,
}

impl<'a> Known<'a> {
    /// Field names are case-insensitive (RFC 9110 section 5.1).
    fn note(&mut self, name: &'a [u8], value: &'a [u8], at: usize) -> Result<(), Error> {
        match name.len() {
            4 if scan::same_name(name, b"host") => return self.note_host(value, at),
            6 if scan::same_name(name, b"accept") => self.accept = self.accept.or(Some(value)),
            6 if scan::same_name(name, b"expect") => self.note_expect(value, at),
            10 if scan::same_name(name, b"connection") => self.note_connection(value),
            12 if scan::same_name(name, b"content-type") => {
                return set_once(&mut self.content_type, value, at);
            }
            12 if scan::same_name(name, b"x-request-id") => {
                self.request_id = self.request_id.or(Some(value));
            }
            13 if scan::same_name(name, b"authorization") => {
                return set_once(&mut self.authorization, value, at);
            }
            14 if scan::same_name(name, b"content-length") => return self.note_length(value, at),
            16 if scan::same_name(name, b"content-encoding") => {
                self.content_encoding = self.content_encoding.or(Some(value))
            }
            16 if scan::same_name(name, b"metricstream-ack") => {
                return set_once(&mut self.ack, value, at);
            }
            17 if scan::same_name(name, b"transfer-encoding") => self.note_coding(value, at),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
    /// request message that lacks a Host header field and to any request message that contains more than
    /// one Host header field line or a Host header field with an invalid field value."
    fn note_host(&mut self, value: &'a [u8], at: usize) -> Result<(), Error> {
        if self.host.is_some() {
            return Err(Error::syntax(Fault::HostRepeated, at));
        }
        if !host_is_valid(value) {
            return Err(Error::syntax(Fault::Host, at));
        }
        self.host = Some(value);
        Ok(())
    }

    /// RFC 9110 section 8.6: "Content-Length = 1*DIGIT", and of a list of equal numbers: "the recipient of
    /// the message MUST either reject the message as invalid or replace the duplicated field values". We
    /// reject, in one line or in many.
    fn note_length(&mut self, value: &[u8], at: usize) -> Result<(), Error> {
        if self.length.is_some() {
            return Err(Error::syntax(Fault::LengthRepeated, at));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Error::syntax(Fault::Length, at));
        }
        // Section 8.6: "a recipient MUST anticipate potentially large decimal numerals and prevent parsing
        // errors due to integer conversion overflows". The end of the range is above any body limit.
        let digits = value.iter().map(|digit| u64::from(digit - b'0'));
        self.length = Some(digits.fold(0, |number: u64, digit| {
            number.saturating_mul(10).saturating_add(digit)
        }));
        Ok(())
    }

    /// Empty members count here, unlike in other lists: a recipient that looks at the last line or the last
    /// member alone would see no chunked in `Transfer-Encoding: chunked` followed by an empty one.
    fn note_coding(&mut self, value: &[u8], at: usize) {
        self.coding_at = self.coding_at.or(Some(at));
        for coding in value.split(|&byte| byte == b',').map(scan::trim) {
            self.last_coding_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.codings += 1;
            self.chunked_codings += usize::from(self.last_coding_is_chunked);
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in members(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.persist |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_expect(&mut self, value: &[u8], at: usize) {
        for expectation in members(value) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expects_continue = true;
            } else {
                self.expectation_at = self.expectation_at.or(Some(at));
            }
        }
    }

    fn host(&self, target: &Target<'a>, version: Version, at: usize) -> Result<Option<&'a [u8]>, Error> {
        if self.host.is_none() && version == Version::Http11 {
            return Err(Error::syntax(Fault::HostMissing, at));
        }
        // RFC 9112 section 3.2.2: "When an origin server receives a request with an absolute-form of
        // request-target, the origin server MUST ignore the received Host header field (if any) and
        // instead use the host information of the request-target."
        Ok(target.authority.or(self.host))
    }

    /// RFC 9112 section 9.3, in its order.
    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.persist)
    }

    fn framing(&self, version: Version) -> Result<Framing, Error> {
        let Some(at) = self.coding_at else {
            return Ok(self.length.map_or(Framing::None, Framing::Length));
        };
        // RFC 9112 section 6.1: "A server MAY reject a request that contains both Content-Length and
        // Transfer-Encoding": it "might indicate an attempt to perform request smuggling".
        if self.length.is_some() {
            return Err(Error::syntax(Fault::FramingConflict, at));
        }
        // Section 6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding
        // header field MUST treat the message as if the framing is faulty".
        if version == Version::Http10 {
            return Err(Error::syntax(Fault::CodingInHttp10, at));
        }
        // Section 6.3: "If a Transfer-Encoding header field is present in a request and the chunked transfer
        // coding is not the final encoding, the message body length cannot be determined reliably; the
        // server MUST respond with the 400 (Bad Request) status code and then close the connection."
        // Section 7: "A sender MUST NOT apply the chunked transfer coding more than once".
        if !self.last_coding_is_chunked || self.chunked_codings > 1 {
            return Err(Error::syntax(Fault::CodingFinal, at));
        }
        // Section 6.1: "A server that receives a request message with a transfer coding it does not
        // understand SHOULD respond with 501 (Not Implemented)."
        if self.codings > 1 {
            return Err(Error::TransferCoding { at });
        }
        Ok(Framing::Chunked)
    }

    fn expect_continue(&self, version: Version) -> Result<bool, Error> {
        // RFC 9110 section 10.1.1: "A server that receives an Expect field value containing a member other
        // than 100-continue MAY respond with a 417 (Expectation Failed) status code".
        if let Some(at) = self.expectation_at {
            return Err(Error::Expectation { at });
        }
        // Same section: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST
        // ignore that expectation."
        Ok(self.expects_continue && version == Version::Http11)
    }
}

/// A field with one value: two lines of it have no meaning that all recipients share.
fn set_once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], at: usize) -> Result<(), Error> {
    if slot.replace(value).is_some() {
        return Err(Error::syntax(Fault::FieldRepeated, at));
    }
    Ok(())
}

/// The members of a comma-separated list. RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a
/// reasonable number of empty list elements"; the head's length bounds them.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(scan::trim)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /metrics?a=b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 2\r\nAccept:\r\n\r\n{}";

    /// Otherwise every head would take the long way, and nothing but the time would tell.
    #[test]
    fn usual_heads_take_the_short_way_and_it_says_what_the_long_one_does() {
        let limits = Limits::default();
        let end = HEAD.len() - 2;
        let found = Found {
            request_line: (0, 26),
            end,
        };
        let long = parse_lines(&limits, HEAD, found, |at| field_line(&HEAD[at..end], at)).unwrap();
        assert_eq!(long.bytes(), end);
        assert_eq!(long.fields().count(), 3);
        for bytes in [HEAD, &HEAD[..end]] {
            assert_eq!(parse_whole(&limits, bytes), Some(long));
            assert_eq!(parse(&limits, bytes), Ok(Some(long)));
        }
        let mut scan = Scan::default();
        assert_eq!(scan.advance(&limits, HEAD).unwrap().unwrap().end, end);
        assert_eq!(scan.searched, 0, "found in one sweep");
        assert_eq!(parse_whole(&limits, &HEAD[..end - 1]), None);
    }

    #[test]
    fn what_has_no_name_is_left_to_the_long_way() {
        let limits = Limits::default();
        for head in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(parse_whole(&limits, head), None, "{}", head.escape_ascii());
        }
    }

    /// A line that does not end within the head's bound is refused for its target only if that is too long.
    #[test]
    fn an_endless_line_is_refused_for_the_bound_that_it_passed() {
        for empty_lines in ["", "\r\n"] {
            let line = format!("{empty_lines}GET /{}", "x".repeat(100));
            let limits = |target_bytes_max| Limits {
                head_bytes_max: empty_lines.len() + 50,
                target_bytes_max,
                ..Limits::default()
            };
            let bound = |target_bytes_max| match parse(&limits(target_bytes_max), line.as_bytes()) {
                Err(Error::TargetTooLong(exceeded) | Error::HeadTooLarge(exceeded)) => exceeded.bound,
                other => panic!("{other:?}"),
            };
            // Of the fifty bytes four are before the target.
            assert_eq!(bound(45), Bound::TargetBytes);
            assert_eq!(bound(46), Bound::HeadBytes);
        }
        let no_space = "G".repeat(100);
        let limits = Limits {
            head_bytes_max: 50,
            target_bytes_max: 0,
            ..Limits::default()
        };
        let error = parse(&limits, no_space.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::HeadTooLarge(_)), "{error}");
    }

    #[test]
    fn a_head_is_shown_without_its_secrets() {
        let head = b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: secret\r\n\r\n";
        let shown = format!("{:?}", parse(&Limits::default(), head).unwrap().unwrap());
        assert!(
            shown.starts_with("Head { method: Get, target: Target {"),
            "{shown}"
        );
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_refusal_is_at_the_byte_that_is_wrong() {
        // Empty lines before the request, so that no place is 0.
        const BEFORE: &str = "\r\n\r\n";
        let at_of = |rest: &str| match parse(&Limits::default(), format!("{BEFORE}{rest}").as_bytes()) {
            Err(Error::Syntax { fault, at }) => (fault, at - BEFORE.len()),
            Err(Error::Version { at }) => (Fault::VersionSyntax, at - BEFORE.len()),
            other => panic!("{rest}: {other:?}"),
        };
        for (line, fault, at) in [
            ("G@T / HTTP/1.1", Fault::Method, 1),
            ("GET", Fault::Method, 3),
            ("GET /abc", Fault::VersionSyntax, 8),
            ("GET /a\x7fb HTTP/1.1", Fault::Target, 6),
            ("GET  HTTP/1.1", Fault::Target, 4),
            ("GET /a HTTP/x", Fault::VersionSyntax, 7),
            ("GET /a HTTP/2.0", Fault::VersionSyntax, 7),
            ("GET abc HTTP/1.1", Fault::Target, 4),
            ("GET http:///a HTTP/1.1", Fault::Host, 11),
            ("GET http://u@h/a HTTP/1.1", Fault::UserInfo, 11),
            ("CONNECT a: HTTP/1.1", Fault::TargetForm, 8),
            ("CONNECT a%zz:80 HTTP/1.1", Fault::TargetForm, 8),
        ] {
            assert_eq!(
                at_of(&format!("{line}\r\nHost: a\r\n\r\n")),
                (fault, at),
                "{line}"
            );
        }
        let line = "GET / HTTP/1.1\r\n";
        for (field, fault, at) in [
            ("Ab: x\u{1}y", Fault::ControlByte, 5),
            ("Ab: x\ry", Fault::BareCr, 5),
            ("A b: x", Fault::SpaceBeforeColon, 1),
            ("A@b: x", Fault::FieldName, 1),
            (" a: x", Fault::Fold, 0),
        ] {
            let (seen_fault, seen) = at_of(&format!("{line}{field}\r\n\r\n"));
            assert_eq!((seen_fault, seen - line.len()), (fault, at), "{field}");
        }
    }

    #[test]
    fn a_host_in_brackets_is_an_address() {
        for good in [
            "[::1]",
            "[::1]:80",
            "[2001:db8::7]",
            "a-b.example:8080",
            "a%20b",
            "",
        ] {
            assert!(host_is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "[a@b]", "[::1/]", "[]", "[::1", "[::1]x", "[::1]:x", "a:b", "a@b", "a%2", "[::%zz]",
        ] {
            assert!(!host_is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_request_is_in_its_own_field() {
        let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let name = |fields: &str| {
            let bytes = head(fields).into_bytes();
            let head = parse(&Limits::default(), &bytes).unwrap().unwrap();
            head.request_id.map(|id| String::from_utf8_lossy(id).into_owned())
        };
        assert_eq!(name("X-Request-ID: r7\r\n").as_deref(), Some("r7"));
        assert_eq!(
            name("X-Request-Id: r7\r\nx-request-id: r8\r\n").as_deref(),
            Some("r7")
        );
        assert_eq!(name("X-Request-Ie: r7\r\n"), None);
        assert_eq!(name(""), None);
    }
}
