//! A second reading of RFC 9110 and RFC 9112, written to be obviously right and not to be fast.
//!
//! It sees the whole stream at once, copies freely, and splits where [`metricstream::http`] scans. Where a
//! message breaks several rules the standard does not say which refusal comes first: the oracle gives the
//! set of refusals that are true, and the code under test must give one of them.

use std::collections::BTreeSet;

use metricstream::http::Limits;

use crate::http::{Class, End, Outcome, Seen, class};

/// What a stream must amount to.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The whole requests.
    pub requests: Vec<Seen>,
    /// How the stream ends.
    pub end: ExpectedEnd,
}

/// How a stream must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedEnd {
    /// Between two requests.
    Whole,
    /// Inside a request.
    Partial,
    /// After a request that closes the connection.
    Closed,
    /// With a refusal of one of these classes.
    Refused(BTreeSet<Class>),
}

impl Expected {
    /// # Panics
    ///
    /// If `outcome` is not as expected.
    pub fn assert_agrees(&self, outcome: &Outcome) {
        assert_eq!(self.requests, outcome.requests, "the oracle saw other requests");
        let agrees = match (&self.end, outcome.end) {
            (ExpectedEnd::Whole, End::Whole)
            | (ExpectedEnd::Partial, End::Partial)
            | (ExpectedEnd::Closed, End::Closed) => true,
            (ExpectedEnd::Refused(classes), End::Refused(error)) => classes.contains(&class(error)),
            _ => false,
        };
        assert!(
            agrees,
            "the oracle expected {:?}, got {:?}",
            self.end, outcome.end
        );
    }
}

/// Reads a whole connection.
pub fn connection(limits: &Limits, stream: &[u8]) -> Expected {
    let mut requests = Vec::new();
    let mut rest = stream;
    let end = loop {
        if rest.is_empty() {
            break ExpectedEnd::Whole;
        }
        match request(limits, rest) {
            Verdict::Whole(seen, used) => {
                rest = &rest[used..];
                let close = !seen.keep_alive;
                requests.push(*seen);
                if close {
                    break ExpectedEnd::Closed;
                }
            }
            Verdict::Partial => break ExpectedEnd::Partial,
            Verdict::Refused(classes) => break ExpectedEnd::Refused(classes),
        }
    };
    Expected { requests, end }
}

enum Verdict {
    Whole(Box<Seen>, usize),
    Partial,
    Refused(BTreeSet<Class>),
}

const TOKEN_MARKS: &str = "!#$%&'*+-.^_`|~";
const HOST_MARKS: &str = "-._~%!$&'()*+,;=";

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || TOKEN_MARKS.as_bytes().contains(&b))
}

fn is_value(text: &[u8]) -> bool {
    text.iter().all(|&b| b == b'\t' || !b.is_ascii_control())
}

fn is_host(text: &[u8]) -> bool {
    let percents_ok = |name: &str| {
        let hex = |text: &str| text.len() >= 2 && text.bytes().take(2).all(|b| b.is_ascii_hexdigit());
        name.split('%').skip(1).all(hex)
    };
    let named = |name: &[u8], extra: &str| {
        name.iter().all(|b| {
            b.is_ascii_alphanumeric() || HOST_MARKS.as_bytes().contains(b) || extra.as_bytes().contains(b)
        })
    };
    let text = String::from_utf8_lossy(text).into_owned();
    let (name, port) = match text.rfind(']') {
        Some(end) => (text[..=end].to_owned(), text[end + 1..].to_owned()),
        None => match text.find(':') {
            Some(colon) => (text[..colon].to_owned(), text[colon..].to_owned()),
            None => (text.clone(), String::new()),
        },
    };
    let name_ok = match name.strip_prefix('[') {
        Some(literal) => {
            let literal = literal.strip_suffix(']').unwrap_or("?");
            !literal.is_empty() && named(literal.as_bytes(), ":")
        }
        None => named(name.as_bytes(), ""),
    };
    let port_ok = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()));
    name_ok && percents_ok(&name) && port_ok
}

fn request(limits: &Limits, stream: &[u8]) -> Verdict {
    let window = &stream[..stream.len().min(limits.head_bytes_max)];
    let mut empty_lines = 0;
    while window[2 * empty_lines..].starts_with(b"\r\n") {
        empty_lines += 1;
    }
    if empty_lines > metricstream::limits::LEADING_EMPTY_LINES_MAX {
        return Verdict::Refused([Class::Syntax].into());
    }
    let start = 2 * empty_lines;
    // Complete lines, each without its LF, up to the one that closes the head.
    let mut lines: Vec<&[u8]> = window[start..].split(|&b| b == b'\n').collect();
    let unfinished = lines.pop().unwrap_or_default();
    let mut refusals = BTreeSet::new();
    if let Some(bare) = lines.iter().position(|line| line.last() != Some(&b'\r')) {
        let close = lines.iter().position(|line| *line == b"\r");
        if close.is_none_or(|close| bare < close) {
            refusals.insert(Class::Syntax);
            lines.truncate(bare);
        }
    }
    let lines: Vec<&[u8]> = lines
        .iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let close = lines.iter().position(|line| line.is_empty());
    let line = lines
        .first()
        .map(|line| request_line(limits, line, &mut refusals));
    if lines.is_empty() && unfinished.first().is_some_and(|&b| b != b'\r' && !is_token(&[b])) {
        refusals.insert(Class::Syntax);
    }
    let Some(close) = close.filter(|_| !refusals.contains(&Class::Syntax)) else {
        if window.len() == limits.head_bytes_max && close.is_none() {
            refusals.insert(Class::HeadTooLarge);
            let target = unfinished
                .iter()
                .position(|&b| b == b' ')
                .map_or(0, |space| unfinished.len() - space - 1);
            if lines.is_empty() && target > limits.target_bytes_max {
                refusals.insert(Class::TargetTooLong);
            }
        }
        return if refusals.is_empty() {
            Verdict::Partial
        } else {
            Verdict::Refused(refusals)
        };
    };
    let head_bytes = start + lines[..=close].iter().map(|line| line.len() + 2).sum::<usize>();
    let Some(Some(line)) = line else {
        return Verdict::Refused(refusals);
    };
    let head = head(limits, line, &lines[1..close], &mut refusals);
    if !refusals.is_empty() {
        return Verdict::Refused(refusals);
    }
    body(limits, head, stream, head_bytes)
}

struct RequestLine {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    http11: bool,
}

fn request_line(limits: &Limits, line: &[u8], refusals: &mut BTreeSet<Class>) -> Option<RequestLine> {
    let parts: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    if parts
        .get(1)
        .is_some_and(|target| target.len() > limits.target_bytes_max)
    {
        refusals.insert(Class::TargetTooLong);
    }
    let &[method, target, version] = &parts[..] else {
        refusals.insert(Class::Syntax);
        return None;
    };
    let digits = version.strip_prefix(b"HTTP/").unwrap_or_default();
    let http11 = match digits {
        [b'1', b'.', minor] if minor.is_ascii_digit() => *minor != b'0',
        [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            refusals.insert(Class::Version);
            false
        }
        _ => {
            refusals.insert(Class::Syntax);
            false
        }
    };
    let visible = !target.is_empty() && target.iter().all(|&b| b.is_ascii_graphic() && b != b'#');
    let parsed = if visible && is_token(method) {
        parse_target(method, target)
    } else {
        None
    };
    let Some((path, query, authority)) = parsed else {
        refusals.insert(Class::Syntax);
        return None;
    };
    Some(RequestLine {
        method: method.to_vec(),
        path,
        query,
        authority,
        http11,
    })
}

type ParsedTarget = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn parse_target(method: &[u8], target: &[u8]) -> Option<ParsedTarget> {
    let text = std::str::from_utf8(target).ok()?;
    if method == b"CONNECT" {
        let (host, port) = text.rsplit_once(':')?;
        let valid = !host.is_empty() && !port.is_empty() && is_host(target);
        return valid.then(|| (Vec::new(), None, Some(target.to_vec())));
    }
    if text == "*" {
        return (method == b"OPTIONS").then(|| (b"*".to_vec(), None, None));
    }
    let (authority, rest) = if text.starts_with('/') {
        (None, text)
    } else {
        let (scheme, rest) = text.split_once("://")?;
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = &rest[..end];
        if authority.is_empty() || authority.starts_with(':') || !is_host(authority.as_bytes()) {
            return None;
        }
        (Some(authority.as_bytes().to_vec()), &rest[end..])
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes().to_vec())),
        None => (rest, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    Some((path.as_bytes().to_vec(), query, authority))
}

struct ParsedHead {
    seen: Seen,
    framing: Framing,
}

enum Framing {
    None,
    Length(u128),
    Chunked,
}

/// The fields by name and value; a line that is none is a refusal.
fn field_lines(lines: &[&[u8]], refusals: &mut BTreeSet<Class>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    for line in lines {
        let text = String::from_utf8_lossy(line);
        let colon = text
            .find(':')
            .filter(|_| line.contains(&b':'))
            .and(line.iter().position(|&b| b == b':'));
        match colon.map(|colon| (&line[..colon], &line[colon + 1..])) {
            Some((name, value)) if is_token(name) && is_value(value) => {
                let blank = |b: &u8| *b == b' ' || *b == b'\t';
                let first = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
                let last = value
                    .iter()
                    .rposition(|b| !blank(b))
                    .map_or(first, |last| last + 1);
                fields.push((name.to_vec(), value[first..last].to_vec()));
            }
            _ => {
                refusals.insert(Class::Syntax);
            }
        }
    }
    fields
}

fn head(limits: &Limits, line: RequestLine, lines: &[&[u8]], refusals: &mut BTreeSet<Class>) -> ParsedHead {
    let fields = field_lines(lines, refusals);
    if lines.len() > limits.headers_max {
        refusals.insert(Class::HeadTooLarge);
    }
    let all = |name: &str| -> Vec<Vec<u8>> {
        let same = |found: &[u8]| String::from_utf8_lossy(found).to_lowercase() == name;
        fields
            .iter()
            .filter(|(found, _)| same(found))
            .map(|(_, value)| value.clone())
            .collect()
    };
    let hosts = all("host");
    let mut syntax = hosts.len() > 1 || hosts.iter().any(|host| !is_host(host));
    syntax |= line.http11 && hosts.is_empty();
    syntax |= ["content-type", "authorization", "metricstream-ack"]
        .iter()
        .any(|name| all(name).len() > 1);
    let framing = framing(
        line.http11,
        &all("content-length"),
        &members(&all("transfer-encoding")),
        refusals,
        !all("transfer-encoding").is_empty(),
    );
    if syntax {
        refusals.insert(Class::Syntax);
    }
    let expectations = list(&all("expect"));
    if expectations.iter().any(|one| one != "100-continue") {
        refusals.insert(Class::Expectation);
    }
    let options = list(&all("connection"));
    let has = |option: &str| options.iter().any(|one| one == option);
    let tunnel = line.method == b"CONNECT";
    let seen = Seen {
        method: line.method,
        path: line.path,
        query: line.query,
        http11: line.http11,
        keep_alive: !tunnel && !has("close") && (line.http11 || has("keep-alive")),
        expect_continue: line.http11 && !expectations.is_empty(),
        host: line.authority.or(hosts.first().cloned()),
        authorization: all("authorization").first().cloned(),
        content_type: all("content-type").first().cloned(),
        content_encoding: all("content-encoding").first().cloned(),
        accept: all("accept").first().cloned(),
        ack: all("metricstream-ack").first().cloned(),
        fields: fields.clone(),
        body: Vec::new(),
    };
    ParsedHead { seen, framing }
}

/// The members of a list field, lower case, empty ones left out.
fn list(values: &[Vec<u8>]) -> Vec<String> {
    members(values)
        .into_iter()
        .filter(|one| !one.is_empty())
        .collect()
}

/// The members of a list field, lower case.
fn members(values: &[Vec<u8>]) -> Vec<String> {
    values
        .iter()
        .flat_map(|value| {
            let text: String = value
                .iter()
                .map(|&b| char::from(b).to_ascii_lowercase())
                .collect();
            text.split(',')
                .map(|one| one.trim_matches([' ', '\t']).to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn framing(
    http11: bool,
    lengths: &[Vec<u8>],
    codings: &[String],
    refusals: &mut BTreeSet<Class>,
    coded: bool,
) -> Framing {
    let number = |text: &Vec<u8>| {
        let digits = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        let significant = digits.trim_start_matches('0');
        if digits.is_empty() {
            None
        } else {
            Some(
                significant
                    .parse::<u128>()
                    .unwrap_or(if significant.is_empty() { 0 } else { u128::MAX }),
            )
        }
    };
    if lengths.len() > 1
        || lengths.iter().any(|text| number(text).is_none())
        || (coded && !lengths.is_empty())
    {
        refusals.insert(Class::Syntax);
    }
    if !coded {
        return lengths
            .first()
            .and_then(number)
            .map_or(Framing::None, Framing::Length);
    }
    let chunked = codings.iter().filter(|one| *one == "chunked").count();
    if !http11 || chunked != 1 || codings.last().is_none_or(|last| last != "chunked") {
        refusals.insert(Class::Syntax);
    } else if codings.len() > 1 {
        refusals.insert(Class::TransferCoding);
    }
    Framing::Chunked
}

fn body(limits: &Limits, mut head: ParsedHead, stream: &[u8], head_bytes: usize) -> Verdict {
    let rest = &stream[head_bytes..];
    match head.framing {
        Framing::None => Verdict::Whole(Box::new(head.seen), head_bytes),
        Framing::Length(length) if length > limits.body_bytes_max as u128 => {
            Verdict::Refused([Class::BodyTooLarge].into())
        }
        Framing::Length(length) if length > rest.len() as u128 => Verdict::Partial,
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            head.seen.body = rest[..length].to_vec();
            Verdict::Whole(Box::new(head.seen), head_bytes + length)
        }
        Framing::Chunked => match chunked(limits, rest) {
            Chunked::Whole(body, used) => {
                head.seen.body = body;
                Verdict::Whole(Box::new(head.seen), head_bytes + used)
            }
            Chunked::Partial => Verdict::Partial,
            Chunked::Refused(refusals) => Verdict::Refused(refusals),
        },
    }
}

/// What a chunked body amounts to.
pub enum Chunked {
    /// The body, and the length of its framed form.
    Whole(Vec<u8>, usize),
    /// Not whole.
    Partial,
    /// Refused for one of these.
    Refused(BTreeSet<Class>),
}

/// How a line of the framing ends.
#[derive(PartialEq, Eq)]
enum LineEnd {
    Missing,
    CrMissingLf,
    Good,
    Bad,
}

fn line_of(bytes: &[u8]) -> (&[u8], LineEnd) {
    let Some(end) = bytes.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
        return (bytes, LineEnd::Missing);
    };
    let ending = match &bytes[end..] {
        [b'\r', b'\n', ..] => LineEnd::Good,
        [b'\r'] => LineEnd::CrMissingLf,
        _ => LineEnd::Bad,
    };
    (&bytes[..end], ending)
}

/// Reads a chunked body from the start of `bytes`.
pub fn chunked(limits: &Limits, bytes: &[u8]) -> Chunked {
    let mut body = Vec::new();
    let (mut at, mut extensions) = (0, 0);
    loop {
        let (line, ending) = line_of(&bytes[at..]);
        let mut refusals = BTreeSet::new();
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = line[..digits].iter().fold(0u128, |size, &digit| {
            size.saturating_mul(16)
                .saturating_add(u128::from(char::from(digit).to_digit(16).unwrap_or(0)))
        });
        let extension = &line[digits..];
        let blanks = extension.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let semicolon = extension.get(blanks) == Some(&b';');
        extensions += extension.len();
        let broken = (digits == 0 && (!line.is_empty() || ending != LineEnd::Missing))
            || (blanks < extension.len() && !semicolon)
            || (!extension.is_empty() && !semicolon && ending != LineEnd::Missing)
            || !is_value(extension)
            || ending == LineEnd::Bad;
        if broken {
            refusals.insert(Class::Syntax);
        }
        if size.saturating_add(body.len() as u128) > limits.body_bytes_max as u128
            || line.len() > limits.chunk_line_bytes_max
            || extensions > limits.chunk_extension_bytes_max
        {
            refusals.insert(Class::BodyTooLarge);
        }
        if !refusals.is_empty() {
            return Chunked::Refused(refusals);
        }
        if ending != LineEnd::Good {
            return Chunked::Partial;
        }
        at += line.len() + 2;
        if size == 0 {
            return trailers(limits, bytes, at, body);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let data = &bytes[at..];
        if data.len() < size {
            return Chunked::Partial;
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
        match &data[size..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Chunked::Partial,
            _ => return Chunked::Refused([Class::Syntax].into()),
        }
    }
}

fn trailers(limits: &Limits, bytes: &[u8], start: usize, body: Vec<u8>) -> Chunked {
    let mut at = start;
    loop {
        let (line, ending) = line_of(&bytes[at..]);
        let mut refusals = BTreeSet::new();
        let name_end = line.iter().position(|&b| b == b':');
        let name = &line[..name_end.unwrap_or(line.len())];
        let value_ok = name_end.is_none_or(|colon| is_value(&line[colon + 1..]));
        let name_ok = if name_end.is_some() {
            is_token(name)
        } else {
            name.is_empty() || is_token(name)
        };
        let unfinished_name = name_end.is_none() && !line.is_empty() && ending != LineEnd::Missing;
        if !name_ok || !value_ok || unfinished_name || ending == LineEnd::Bad {
            refusals.insert(Class::Syntax);
        }
        let end = match ending {
            LineEnd::Good => 2,
            LineEnd::CrMissingLf => 1,
            LineEnd::Bad => usize::from(bytes[at + line.len()] == b'\r'),
            LineEnd::Missing => 0,
        };
        if !line.is_empty() && at - start + line.len() + end > limits.trailer_bytes_max {
            refusals.insert(Class::HeadTooLarge);
        }
        if !refusals.is_empty() {
            return Chunked::Refused(refusals);
        }
        if ending != LineEnd::Good {
            return Chunked::Partial;
        }
        at += line.len() + 2;
        if line.is_empty() {
            return Chunked::Whole(body, at);
        }
    }
}
