//! Writes responses into the caller's buffer (RFC 9112 section 4, RFC 9110 section 6).
//!
//! Promises: what is written is a whole message that any recipient frames the same way; no byte of a value
//! can end a line; nothing is allocated but growth of the buffer, so a buffer used again is enough.
//! Leaves to the caller: which status, and the date.

use super::Version;

/// The interim response that lets a client send its body (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A status code with its reason phrase. The codes this server uses are `server::reply`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Three digits: 100 to 599.
    pub code: u16,
    /// The reason phrase of RFC 9110 section 15.
    pub reason: &'static str,
}

/// A response but for its body.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The status.
    pub status: Status,
    /// Whether the connection stays open. False writes `Connection: close`.
    pub keep_alive: bool,
    /// The version of the request. RFC 9112 section 9.3: a client of HTTP/1.0 has to be told that the
    /// connection stays open. The response itself is always HTTP/1.1 (RFC 9110 section 6.2).
    pub version: Version,
    /// The value of Date, an IMF-fixdate (RFC 9110 section 5.6.7).
    pub date: Option<&'a [u8]>,
    /// The value of Content-Type.
    pub content_type: Option<&'a str>,
    /// The value of Retry-After, in seconds.
    pub retry_after_s: Option<u64>,
    /// The value of Allow. RFC 9110 section 15.5.6: a 405 response MUST have it.
    pub allow: Option<&'a str>,
    /// The value of WWW-Authenticate. RFC 9110 section 15.5.2: a 401 response MUST have it.
    pub www_authenticate: Option<&'a str>,
    /// The value of X-Request-Id.
    pub request_id: Option<&'a str>,
    /// The value of Content-Security-Policy.
    pub content_security_policy: Option<&'a str>,
}

impl<'a> Response<'a> {
    /// A response with no optional field to a request of HTTP/1.1 on a connection that stays open.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            keep_alive: true,
            version: Version::Http11,
            date: None,
            content_type: None,
            retry_after_s: None,
            allow: None,
            www_authenticate: None,
            request_id: None,
            content_security_policy: None,
        }
    }

    /// Appends the response with `body` to `out`.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        out.reserve(256 + body.len());
        self.write_head(body.len(), out);
        if self.has_content() {
            out.extend_from_slice(body);
        }
    }

    /// Appends the response to a HEAD request to `out`: what [`Response::write`] would, without the body.
    ///
    /// RFC 9110 section 9.3.2: "the server MUST NOT send content in the response"; section 8.6: the
    /// Content-Length is that of "the same request \[with\] the method GET".
    pub fn write_without_body(&self, body_bytes: usize, out: &mut Vec<u8>) {
        self.write_head(body_bytes, out);
    }

    fn write_head(&self, body_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, u64::from(self.status.code));
        out.push(b' ');
        push_value(out, self.status.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        self.push_field(out, b"Date: ", self.date);
        self.push_field(out, b"Content-Type: ", self.content_type.map(str::as_bytes));
        self.push_field(out, b"Allow: ", self.allow.map(str::as_bytes));
        self.push_field(
            out,
            b"WWW-Authenticate: ",
            self.www_authenticate.map(str::as_bytes),
        );
        self.push_field(out, b"X-Request-Id: ", self.request_id.map(str::as_bytes));
        if let Some(policy) = self.content_security_policy {
            self.push_field(out, b"Content-Security-Policy: ", Some(policy.as_bytes()));
            // A page that is guarded against scripts of others is guarded against their frames as well.
            out.extend_from_slice(b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
        }
        if let Some(seconds) = self.retry_after_s {
            out.extend_from_slice(b"Retry-After: ");
            push_number(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
        if self.has_content() {
            out.extend_from_slice(b"Content-Length: ");
            push_number(out, body_bytes as u64);
            out.extend_from_slice(b"\r\n");
        }
        match (self.keep_alive, self.version) {
            (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
            (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, Version::Http11) => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    fn push_field(&self, out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            out.extend_from_slice(name);
            push_value(out, value);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// RFC 9112 section 6.3: responses with status 1xx, 204 and 304 end at the empty line. RFC 9110 section
    /// 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
    /// (Informational) or 204 (No Content)"; in a 304 it may be left out.
    fn has_content(&self) -> bool {
        !matches!(self.status.code, 100..=199 | 204 | 304)
    }
}

/// RFC 9110 section 5.5: a recipient of CR, LF or NUL in a value has to reject it or "replace each of those
/// characters with SP"; the same is done here, so that no value can start a line of its own.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|&byte| super::scan::is_value(byte)) {
        out.extend_from_slice(value);
    } else {
        out.extend(
            value
                .iter()
                .map(|&byte| if super::scan::is_value(byte) { byte } else { b' ' }),
        );
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    // 2^64 has twenty digits.
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Status = Status {
        code: 200,
        reason: "OK",
    };

    fn written(response: Response<'_>, body: &[u8]) -> String {
        let mut out = Vec::new();
        response.write(body, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_in_its_place() {
        let response = Response {
            keep_alive: false,
            date: Some(b"Thu, 01 Jan 1970 00:00:00 GMT"),
            content_type: Some("application/json"),
            retry_after_s: Some(0),
            allow: Some("GET, HEAD"),
            www_authenticate: Some("Bearer"),
            ..Response::new(Status {
                code: 503,
                reason: "Service Unavailable",
            })
        };
        let expected = "HTTP/1.1 503 Service Unavailable\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            Content-Type: application/json\r\nAllow: GET, HEAD\r\nWWW-Authenticate: Bearer\r\nRetry-After: 0\r\n\
            Content-Length: 2\r\nConnection: close\r\n\r\n{}";
        assert_eq!(written(response, b"{}"), expected);
    }

    #[test]
    fn a_response_without_content_has_no_length() {
        for code in [100, 199, 204, 304] {
            let response = Response::new(Status { code, reason: "R" });
            assert_eq!(written(response, b"x"), format!("HTTP/1.1 {code} R\r\n\r\n"));
        }
        for code in [200, 203, 205, 303, 305] {
            let response = Response::new(Status { code, reason: "R" });
            assert_eq!(
                written(response, b""),
                format!("HTTP/1.1 {code} R\r\nContent-Length: 0\r\n\r\n")
            );
        }
    }

    #[test]
    fn head_has_the_length_and_not_the_body() {
        let mut out = b"before".to_vec();
        Response::new(OK).write_without_body(1234567890, &mut out);
        assert_eq!(
            out,
            b"beforeHTTP/1.1 200 OK\r\nContent-Length: 1234567890\r\n\r\n"
        );
    }

    #[test]
    fn an_old_client_is_told_that_the_connection_stays() {
        let response = Response {
            version: Version::Http10,
            ..Response::new(OK)
        };
        assert_eq!(
            written(response, b""),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let response = Response {
            allow: Some("GET\r\nX: y\0"),
            ..Response::new(OK)
        };
        assert_eq!(
            written(response, b""),
            "HTTP/1.1 200 OK\r\nAllow: GET  X: y \r\nContent-Length: 0\r\n\r\n"
        );
    }
}
