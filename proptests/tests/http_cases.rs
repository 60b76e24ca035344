//! Conformance and request-smuggling cases, each from the section of the RFC that decides it.
//!
//! Each case is a whole stream. It is fed in one piece, cut in two at every place, and byte by byte, and an
//! independent oracle must agree (`http::check`). Names follow the literature: CL is Content-Length, TE is
//! Transfer-Encoding, `CL.TE` the attack where the first recipient believes one and the second the other.

use metricstream::http::{Error, Fault, Limits};
use metricstream_proptests::http::{Class, End, check, class};

enum Expect {
    /// These requests, as "METHOD path?query body", and then nothing.
    Accept(&'static [&'static str]),
    /// A refusal for a fault of the syntax, after so many whole requests.
    Fault(usize, Fault),
    /// A refusal of another class, after so many whole requests.
    Class(usize, Class),
}
use Expect::{Accept, Fault as Bad};

struct Case {
    name: &'static str,
    rfc: &'static str,
    stream: &'static [u8],
    expect: Expect,
}

const fn case(name: &'static str, rfc: &'static str, stream: &'static [u8], expect: Expect) -> Case {
    Case {
        name,
        rfc,
        stream,
        expect,
    }
}

/// A GET with these bytes after the Host line.
macro_rules! get {
    ($fields:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n").as_bytes()
    };
}

/// A POST with these field lines and these bytes after the head.
macro_rules! post {
    ($fields:literal, $body:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n", $body).as_bytes()
    };
}

/// A chunked POST.
macro_rules! chunked {
    ($body:literal) => {
        post!("Transfer-Encoding: chunked", $body)
    };
}

/// A request of HTTP/1.1 with this request line.
macro_rules! line {
    ($line:literal) => {
        concat!($line, "\r\nHost: a\r\n\r\n").as_bytes()
    };
}

const REQUEST_LINE: &[Case] = &[
    case(
        "origin form",
        "9112 3.2.1",
        line!("GET /a/b?c=d HTTP/1.1"),
        Accept(&["GET /a/b?c=d "]),
    ),
    case(
        "query with question marks",
        "3986 3.4",
        line!("GET /?a?b?? HTTP/1.1"),
        Accept(&["GET /?a?b?? "]),
    ),
    case(
        "empty query",
        "3986 3.4",
        line!("GET /? HTTP/1.1"),
        Accept(&["GET /? "]),
    ),
    case(
        "absolute form",
        "9112 3.2.2",
        line!("GET http://a/b HTTP/1.1"),
        Accept(&["GET /b "]),
    ),
    case(
        "absolute form, scheme in capitals",
        "9110 4.2.3",
        line!("GET HTTP://a/b HTTP/1.1"),
        Accept(&["GET /b "]),
    ),
    case(
        "absolute form, https",
        "9110 4.2.2",
        line!("GET https://a:443/b HTTP/1.1"),
        Accept(&["GET /b "]),
    ),
    case(
        "absolute form, empty path",
        "9110 4.2.3",
        line!("GET http://a HTTP/1.1"),
        Accept(&["GET / "]),
    ),
    case(
        "absolute form, query without path",
        "3986 3",
        line!("GET http://a?b HTTP/1.1"),
        Accept(&["GET /?b "]),
    ),
    case(
        "absolute form, IPv6",
        "3986 3.2.2",
        line!("GET http://[::1]:80/ HTTP/1.1"),
        Accept(&["GET / "]),
    ),
    case(
        "absolute form, another host in Host",
        "9112 3.2.2",
        line!("GET http://b/c HTTP/1.1"),
        Accept(&["GET /c "]),
    ),
    case(
        "absolute form, no host",
        "9110 4.2.1",
        line!("GET http:///b HTTP/1.1"),
        Bad(0, Fault::Host),
    ),
    case(
        "absolute form, port and no host",
        "9110 4.2.1",
        line!("GET http://:80/b HTTP/1.1"),
        Bad(0, Fault::Host),
    ),
    case(
        "absolute form, user information",
        "9110 4.2.4",
        line!("GET http://u:p@a/ HTTP/1.1"),
        Bad(0, Fault::UserInfo),
    ),
    case(
        "absolute form, other scheme",
        "9110 4.2",
        line!("GET ftp://a/ HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "absolute form, bad port",
        "3986 3.2.3",
        line!("GET http://a:8o/ HTTP/1.1"),
        Bad(0, Fault::Host),
    ),
    case(
        "absolute form, bad escape in the host",
        "3986 2.1",
        line!("GET http://a%zz/ HTTP/1.1"),
        Bad(0, Fault::Host),
    ),
    case(
        "relative target",
        "9112 3.2",
        line!("GET a/b HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "asterisk form",
        "9112 3.2.4",
        line!("OPTIONS * HTTP/1.1"),
        Accept(&["OPTIONS * "]),
    ),
    case(
        "asterisk form with GET",
        "9112 3.2.4",
        line!("GET * HTTP/1.1"),
        Bad(0, Fault::TargetForm),
    ),
    case(
        "asterisk and more",
        "9112 3.2.4",
        line!("OPTIONS */a HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "authority form",
        "9112 3.2.3",
        line!("CONNECT a:80 HTTP/1.1"),
        Accept(&["CONNECT  "]),
    ),
    case(
        "authority form without port",
        "9110 9.3.6",
        line!("CONNECT a HTTP/1.1"),
        Bad(0, Fault::TargetForm),
    ),
    case(
        "authority form without host",
        "9110 9.3.6",
        line!("CONNECT :80 HTTP/1.1"),
        Bad(0, Fault::TargetForm),
    ),
    case(
        "CONNECT with a path",
        "9112 3.2.3",
        line!("CONNECT / HTTP/1.1"),
        Bad(0, Fault::TargetForm),
    ),
    case(
        "what follows CONNECT is not a request",
        "9110 9.3.6",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["CONNECT  "]),
    ),
    case(
        "authority form with GET",
        "9112 3.2.3",
        line!("GET a:80 HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "fragment",
        "9112 3.2",
        line!("GET /a#b HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "byte above ASCII in the target",
        "9112 3.2",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(0, Fault::Target),
    ),
    case(
        "DEL in the target",
        "9112 3.2",
        b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(0, Fault::Target),
    ),
    case(
        "NUL in the target",
        "9112 3.2",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(0, Fault::Target),
    ),
    case(
        "methods are case-sensitive",
        "9110 9.1",
        line!("get / HTTP/1.1"),
        Accept(&["get / "]),
    ),
    case(
        "unknown method",
        "9110 9.1",
        line!("M-SEARCH / HTTP/1.1"),
        Accept(&["M-SEARCH / "]),
    ),
    case(
        "method with every token byte",
        "9110 5.6.2",
        line!("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"),
        Accept(&["!#$%&'*+-.^_`|~09azAZ / "]),
    ),
    case(
        "method with a bracket",
        "9110 5.6.2",
        line!("GE{T / HTTP/1.1"),
        Bad(0, Fault::Method),
    ),
    case("no method", "9112 3", line!(" / HTTP/1.1"), Bad(0, Fault::Method)),
    case(
        "two spaces before the target",
        "9112 3",
        line!("GET  / HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "two spaces before the version",
        "9112 3",
        line!("GET /  HTTP/1.1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "tab for space",
        "9112 3",
        line!("GET\t/ HTTP/1.1"),
        Bad(0, Fault::Method),
    ),
    case(
        "space after the version",
        "9112 3",
        line!("GET / HTTP/1.1 "),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "space in the target",
        "9112 3",
        line!("GET /a b HTTP/1.1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "CR for space",
        "9112 2.2",
        line!("GET\r/ HTTP/1.1"),
        Bad(0, Fault::Method),
    ),
    case(
        "bare CR in the target",
        "9112 2.2",
        line!("GET /\r HTTP/1.1"),
        Bad(0, Fault::Target),
    ),
    case(
        "HTTP/0.9 simple request",
        "9112 2.3",
        b"GET /\r\n",
        Bad(0, Fault::VersionSyntax),
    ),
    case("method alone", "9112 3", b"GET\r\n", Bad(0, Fault::Method)),
    case(
        "HTTP/0.9",
        "9110 15.6.6",
        line!("GET / HTTP/0.9"),
        Expect::Class(0, Class::Version),
    ),
    case(
        "HTTP/2.0",
        "9110 15.6.6",
        line!("GET / HTTP/2.0"),
        Expect::Class(0, Class::Version),
    ),
    case(
        "preface of HTTP/2",
        "9113 3.4",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Expect::Class(0, Class::Version),
    ),
    case(
        "HTTP/1.9 is read as 1.1",
        "9110 2.5",
        line!("GET / HTTP/1.9"),
        Accept(&["GET / "]),
    ),
    case(
        "HTTP/1.10",
        "9112 2.3",
        line!("GET / HTTP/1.10"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "HTTP/01.1",
        "9112 2.3",
        line!("GET / HTTP/01.1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "HTTP/1",
        "9112 2.3",
        line!("GET / HTTP/1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "HTTP/1,1",
        "9112 2.3",
        line!("GET / HTTP/1,1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "the name is case-sensitive",
        "9112 2.3",
        line!("GET / http/1.1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "another protocol's name",
        "9112 2.3",
        line!("GET / HTPP/1.1"),
        Bad(0, Fault::VersionSyntax),
    ),
    case(
        "empty lines before the request line",
        "9112 2.2",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "as many empty lines as are forgiven",
        "9112 2.2",
        b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "one more",
        "9112 2.2",
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(0, Fault::LeadingLines),
    ),
    case(
        "LF before the request line",
        "9112 2.2",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(0, Fault::BareLf),
    ),
    case(
        "TLS ClientHello",
        "9112 3",
        b"\x16\x03\x01\x02\x00\x01\x00",
        Bad(0, Fault::Method),
    ),
    case(
        "TLS ClientHello with an LF",
        "9112 3",
        b"\x16\x03\n",
        Bad(0, Fault::Method),
    ),
];

const FIELDS: &[Case] = &[
    case("no white space", "9112 5", get!("A:b"), Accept(&["GET / "])),
    case(
        "white space around a value",
        "9112 5.1",
        get!("A: \t b \t "),
        Accept(&["GET / "]),
    ),
    case("empty value", "9110 5.5", get!("A:"), Accept(&["GET / "])),
    case(
        "colons in a value",
        "9110 5.5",
        get!("A: :b:"),
        Accept(&["GET / "]),
    ),
    case(
        "bytes above ASCII in a value",
        "9110 5.5",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: \x80\xff\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "space before the colon",
        "9112 5.1",
        get!("A : b"),
        Bad(0, Fault::SpaceBeforeColon),
    ),
    case(
        "tab before the colon",
        "9112 5.1",
        get!("A\t: b"),
        Bad(0, Fault::SpaceBeforeColon),
    ),
    case(
        "space in a name",
        "9110 5.1",
        get!("A b: c"),
        Bad(0, Fault::SpaceBeforeColon),
    ),
    case("no colon", "9112 5", get!("Abc"), Bad(0, Fault::FieldName)),
    case("empty name", "9110 5.1", get!(": b"), Bad(0, Fault::FieldName)),
    case(
        "bracket in a name",
        "9110 5.6.2",
        get!("A[: b"),
        Bad(0, Fault::FieldName),
    ),
    case(
        "quotation mark in a name",
        "9110 5.6.2",
        get!("\"A\": b"),
        Bad(0, Fault::FieldName),
    ),
    case(
        "NUL in a name",
        "9110 5.1",
        get!("A\0: b"),
        Bad(0, Fault::FieldName),
    ),
    case(
        "byte above ASCII in a name",
        "9110 5.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nA\xff: b\r\n\r\n",
        Bad(0, Fault::FieldName),
    ),
    case(
        "fold with a space",
        "9112 5.2",
        get!("A: b\r\n c"),
        Bad(0, Fault::Fold),
    ),
    case(
        "fold with a tab",
        "9112 5.2",
        get!("A: b\r\n\tc"),
        Bad(0, Fault::Fold),
    ),
    case(
        "fold of white space alone",
        "9112 5.2",
        get!("A: b\r\n "),
        Bad(0, Fault::Fold),
    ),
    case(
        "white space before the first field",
        "9112 2.2",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        Bad(0, Fault::Fold),
    ),
    case(
        "NUL in a value",
        "9110 5.5",
        get!("A: b\0c"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "DEL in a value",
        "9110 5.5",
        get!("A: b\x7fc"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "vertical tab in a value",
        "9110 5.5",
        get!("A: b\x0bc"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "escape in a value",
        "9110 5.5",
        get!("A: b\x1bc"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "bare CR in a value",
        "9112 2.2",
        get!("A: b\rc"),
        Bad(0, Fault::BareCr),
    ),
    case(
        "CR before CR LF",
        "9112 2.2",
        get!("A: b\r"),
        Bad(0, Fault::BareCr),
    ),
    case(
        "bare LF after a field",
        "9112 2.2",
        get!("A: b\nB: c"),
        Bad(0, Fault::BareLf),
    ),
    case(
        "bare LF after the request line",
        "9112 2.2",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        Bad(0, Fault::BareLf),
    ),
    case(
        "head that ends in LF LF",
        "9112 2.2",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        Bad(0, Fault::BareLf),
    ),
    case(
        "head that ends in CR LF LF",
        "9112 2.2",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        Bad(0, Fault::BareLf),
    ),
    case(
        "no Host",
        "9112 3.2",
        b"GET / HTTP/1.1\r\n\r\n",
        Bad(0, Fault::HostMissing),
    ),
    case(
        "no Host in an absolute form",
        "9112 3.2",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
        Bad(0, Fault::HostMissing),
    ),
    case(
        "no Host in HTTP/1.0",
        "9112 3.2",
        b"GET / HTTP/1.0\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "two Hosts",
        "9112 3.2",
        get!("host: a"),
        Bad(0, Fault::HostRepeated),
    ),
    case(
        "two Hosts in HTTP/1.0",
        "9112 3.2",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        Bad(0, Fault::HostRepeated),
    ),
    case(
        "empty Host",
        "9112 3.2",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "Host with two names",
        "9110 7.2",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with a path",
        "9110 7.2",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with user information",
        "9110 7.2",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with a bad port",
        "9110 7.2",
        b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with two ports",
        "9110 7.2",
        b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with an empty port",
        "3986 3.2.3",
        b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        Accept(&["GET / "]),
    ),
    case(
        "Host with an open bracket",
        "3986 3.2.2",
        b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with empty brackets",
        "3986 3.2.2",
        b"GET / HTTP/1.1\r\nHost: []\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "Host with text after brackets",
        "3986 3.2.2",
        b"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n",
        Bad(0, Fault::Host),
    ),
    case(
        "names in any case",
        "9110 5.1",
        b"POST / HTTP/1.1\r\nhOsT: a\r\ncONTENT-lENGTH: 1\r\n\r\nx",
        Accept(&["POST / x"]),
    ),
    case(
        "two Authorizations",
        "9110 5.3",
        get!("Authorization: a\r\nauthorization: b"),
        Bad(0, Fault::FieldRepeated),
    ),
    case(
        "two Content-Types",
        "9110 5.3",
        get!("Content-Type: a/b\r\nContent-Type: a/b"),
        Bad(0, Fault::FieldRepeated),
    ),
    case(
        "two levels asked for",
        "9110 5.3",
        get!("Metricstream-Ack: written\r\nmetricstream-ack: synced"),
        Bad(0, Fault::FieldRepeated),
    ),
    case(
        "two Accepts",
        "9110 12.5.1",
        get!("Accept: a/b\r\nAccept: c/d"),
        Accept(&["GET / "]),
    ),
    case(
        "unknown expectation",
        "9110 10.1.1",
        get!("Expect: 200-ok"),
        Expect::Class(0, Class::Expectation),
    ),
    case(
        "known and unknown expectation",
        "9110 10.1.1",
        get!("Expect: 100-continue, x=y"),
        Expect::Class(0, Class::Expectation),
    ),
    case(
        "expectation in any case",
        "9110 10.1.1",
        get!("Expect: 100-CONTINUE"),
        Accept(&["GET / "]),
    ),
];

const LENGTH: &[Case] = &[
    case(
        "length and body",
        "9110 8.6",
        post!("Content-Length: 3", "abc"),
        Accept(&["POST / abc"]),
    ),
    case(
        "length of zero",
        "9110 8.6",
        post!("Content-Length: 0", ""),
        Accept(&["POST / "]),
    ),
    case(
        "zeros before a length",
        "9110 8.6",
        post!("Content-Length: 0003", "abc"),
        Accept(&["POST / abc"]),
    ),
    case(
        "more zeros than any number has digits",
        "9110 8.6",
        post!("Content-Length: 0000000000000000000000000000003", "abc"),
        Accept(&["POST / abc"]),
    ),
    case(
        "white space around a length",
        "9112 5.1",
        post!("Content-Length: \t3 \t", "abc"),
        Accept(&["POST / abc"]),
    ),
    case(
        "GET with a body",
        "9110 9.3.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        Accept(&["GET / abc"]),
    ),
    case(
        "no framing is no body",
        "9112 6.3",
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["POST / ", "GET /b "]),
    ),
    case(
        "plus sign",
        "9110 8.6",
        post!("Content-Length: +3", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "minus sign",
        "9110 8.6",
        post!("Content-Length: -3", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "minus zero",
        "9110 8.6",
        post!("Content-Length: -0", ""),
        Bad(0, Fault::Length),
    ),
    case(
        "hexadecimal",
        "9110 8.6",
        post!("Content-Length: 0x3", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "fraction",
        "9110 8.6",
        post!("Content-Length: 3.0", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "exponent",
        "9110 8.6",
        post!("Content-Length: 3e0", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "underscore",
        "9110 8.6",
        post!("Content-Length: 1_0", "abcdefghij"),
        Bad(0, Fault::Length),
    ),
    case(
        "quoted",
        "9110 8.6",
        post!("Content-Length: \"3\"", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "empty",
        "9110 8.6",
        post!("Content-Length:", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "inner space",
        "9110 8.6",
        post!("Content-Length: 1 0", "abcdefghij"),
        Bad(0, Fault::Length),
    ),
    case(
        "digits of another script",
        "9110 8.6",
        post!("Content-Length: \u{0663}", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "list of equals",
        "9110 8.6",
        post!("Content-Length: 3, 3", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "list of two",
        "9110 8.6",
        post!("Content-Length: 3, 4", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "comma after the length",
        "9110 8.6",
        post!("Content-Length: 3,", "abc"),
        Bad(0, Fault::Length),
    ),
    case(
        "CL.CL, equal",
        "9112 6.3",
        post!("Content-Length: 3\r\nContent-Length: 3", "abc"),
        Bad(0, Fault::LengthRepeated),
    ),
    case(
        "CL.CL, different",
        "9112 6.3",
        post!("Content-Length: 3\r\ncontent-length: 0", "abc"),
        Bad(0, Fault::LengthRepeated),
    ),
    case(
        "2^64",
        "9110 8.6",
        post!("Content-Length: 18446744073709551616", ""),
        Expect::Class(0, Class::BodyTooLarge),
    ),
    case(
        "2^64 + 3, which wraps to 3",
        "9110 8.6",
        post!("Content-Length: 18446744073709551619", "abc"),
        Expect::Class(0, Class::BodyTooLarge),
    ),
    case(
        "2^32 + 3, which wraps to 3",
        "9110 8.6",
        post!("Content-Length: 4294967299", "abc"),
        Expect::Class(0, Class::BodyTooLarge),
    ),
    case(
        "0.CL: a hidden length does not start a request",
        "9112 6.3",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 23\r\n\r\nGET /b HTTP/1.1\r\nX: y",
        Bad(0, Fault::SpaceBeforeColon),
    ),
    case(
        "CL.0: the body is not the next request",
        "9112 6.3",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["GET / GET /", "GET /b "]),
    ),
];

const CODING: &[Case] = &[
    case(
        "chunked",
        "9112 7.1",
        chunked!("3\r\nabc\r\n0\r\n\r\n"),
        Accept(&["POST / abc"]),
    ),
    case(
        "chunked in any case",
        "9112 7",
        post!("Transfer-Encoding: CHUNKED", "0\r\n\r\n"),
        Accept(&["POST / "]),
    ),
    case(
        "white space around chunked",
        "9112 5.1",
        post!("Transfer-Encoding:\t chunked \t", "0\r\n\r\n"),
        Accept(&["POST / "]),
    ),
    case(
        "CL.TE",
        "9112 6.1",
        post!("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"),
        Bad(0, Fault::FramingConflict),
    ),
    case(
        "TE.CL",
        "9112 6.1",
        post!(
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "8\r\nSMUGGLED\r\n0\r\n\r\n"
        ),
        Bad(0, Fault::FramingConflict),
    ),
    case(
        "TE and a length of zero",
        "9112 6.1",
        post!("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"),
        Bad(0, Fault::FramingConflict),
    ),
    case(
        "TE.TE, xchunked",
        "9112 6.3",
        post!("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, space before the colon",
        "9112 5.1",
        post!("Transfer-Encoding : chunked", "0\r\n\r\n"),
        Bad(0, Fault::SpaceBeforeColon),
    ),
    case(
        "TE.TE, folded",
        "9112 5.2",
        post!("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
        Bad(0, Fault::Fold),
    ),
    case(
        "TE.TE, on a folded line of another",
        "9112 5.2",
        post!("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
        Bad(0, Fault::Fold),
    ),
    case(
        "TE.TE, after a bare LF",
        "9112 2.2",
        post!("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        Bad(0, Fault::BareLf),
    ),
    case(
        "TE.TE, after a bare CR",
        "9112 2.2",
        post!("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n"),
        Bad(0, Fault::BareCr),
    ),
    case(
        "TE.TE, vertical tab",
        "9110 5.5",
        post!("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "TE.TE, NUL",
        "9110 5.5",
        post!("Transfer-Encoding: chunked\0", "0\r\n\r\n"),
        Bad(0, Fault::ControlByte),
    ),
    case(
        "TE.TE, byte above ASCII",
        "9112 6.3",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n",
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, quoted",
        "9112 6.3",
        post!("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, quoted comma",
        "9112 6.3",
        post!("Transfer-Encoding: a=\",chunked\"", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, parameter",
        "9112 7",
        post!("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, underscore for hyphen",
        "9112 6.3",
        post!("Transfer_Encoding: chunked", ""),
        Accept(&["POST / "]),
    ),
    case(
        "TE.TE, second line of identity",
        "9112 6.3",
        post!(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "0\r\n\r\n"
        ),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, first line of identity",
        "9112 6.1",
        post!(
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n"
        ),
        Expect::Class(0, Class::TransferCoding),
    ),
    case(
        "TE.TE, chunked twice",
        "9112 7",
        post!("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, chunked on two lines",
        "9112 7",
        post!(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n"
        ),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, empty second line",
        "9112 6.3",
        post!("Transfer-Encoding: chunked\r\nTransfer-Encoding:", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, comma after chunked",
        "9112 6.3",
        post!("Transfer-Encoding: chunked,", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "TE.TE, comma before chunked",
        "9112 6.1",
        post!("Transfer-Encoding: ,chunked", "0\r\n\r\n"),
        Expect::Class(0, Class::TransferCoding),
    ),
    case(
        "empty coding",
        "9112 6.1",
        post!("Transfer-Encoding:", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "identity",
        "9112 6.3",
        post!("Transfer-Encoding: identity", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "gzip alone",
        "9112 6.3",
        post!("Transfer-Encoding: gzip", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "gzip, then chunked",
        "9112 6.1",
        post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        Expect::Class(0, Class::TransferCoding),
    ),
    case(
        "chunked, then gzip",
        "9112 6.3",
        post!("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
        Bad(0, Fault::CodingFinal),
    ),
    case(
        "chunked in HTTP/1.0",
        "9112 6.1",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Bad(0, Fault::CodingInHttp10),
    ),
    case(
        "TE is not Transfer-Encoding",
        "9110 10.1.4",
        post!("TE: chunked", ""),
        Accept(&["POST / "]),
    ),
];

const CHUNKS: &[Case] = &[
    case("digits in any case", "9112 7.1", chunked!("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        Accept(&["POST / 01234567890123456789"])),
    case("zeros before a size", "9112 7.1", chunked!("0003\r\nabc\r\n000\r\n\r\n"), Accept(&["POST / abc"])),
    case("data that look like framing", "9112 7.1", chunked!("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), Accept(&["POST / 0\r\n\r\n"])),
    case("no size", "9112 7.1", chunked!("\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("plus sign", "9112 7.1", chunked!("+3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("minus sign", "9112 7.1", chunked!("-3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("prefix 0x", "9112 7.1", chunked!("0x3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("underscore", "9112 7.1", chunked!("0_3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("letter past f", "9112 7.1", chunked!("g\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("space before a size", "9112 7.1", chunked!(" 3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("space after a size", "9112 7.1.1", chunked!("3 \r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("size that ends in LF", "9112 2.2", chunked!("3\nabc\r\n0\r\n\r\n"), Bad(0, Fault::BareLf)),
    case("size that ends in CR alone", "9112 2.2", chunked!("3\rabc\r\n0\r\n\r\n"), Bad(0, Fault::BareCr)),
    case("size with a comma", "9112 7.1", chunked!("3,3\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkSize)),
    case("size past 64 bits", "9112 7.1", chunked!("10000000000000003\r\nabc\r\n0\r\n\r\n"),
        Expect::Class(0, Class::BodyTooLarge)),
    case("size past 32 bits", "9112 7.1", chunked!("100000003\r\nabc\r\n0\r\n\r\n"), Expect::Class(0, Class::BodyTooLarge)),
    case("largest size", "9112 7.1", chunked!("ffffffffffffffff\r\nabc"), Expect::Class(0, Class::BodyTooLarge)),
    case("data longer than the size", "9112 7.1", chunked!("3\r\nabcd\r\n0\r\n\r\n"), Bad(0, Fault::ChunkEnd)),
    case("data shorter than the size", "9112 7.1", chunked!("3\r\nab\r\n0\r\n\r\n"), Bad(0, Fault::ChunkEnd)),
    case("data that end in LF", "9112 2.2", chunked!("3\r\nabc\n0\r\n\r\n"), Bad(0, Fault::ChunkEnd)),
    case("data that end in CR alone", "9112 2.2", chunked!("3\r\nabc\r0\r\n\r\n"), Bad(0, Fault::ChunkEnd)),
    case("extensions are skipped", "9112 7.1.1", chunked!("3;a\r\nabc\r\n0;a=b;c=\"d;e\"\r\n\r\n"), Accept(&["POST / abc"])),
    case("white space around an extension", "9112 7.1.1", chunked!("3 \t; a = b\r\nabc\r\n0\r\n\r\n"),
        Accept(&["POST / abc"])),
    case("size hidden in an extension", "9112 7.1.1", chunked!("3;10\r\nabc\r\n0\r\n\r\n"), Accept(&["POST / abc"])),
    case("EXT.TERM: LF in an extension", "9112 7.1.1", chunked!("3;\nabc\r\n0\r\n\r\n"), Bad(0, Fault::BareLf)),
    case("TERM.EXT: CR in an extension", "9112 7.1.1", chunked!("3;a\rb\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::BareCr)),
    case("NUL in an extension", "9112 7.1.1", chunked!("3;a\0\r\nabc\r\n0\r\n\r\n"), Bad(0, Fault::ChunkExtension)),
    case("quoted line end in an extension", "9112 7.1.1", chunked!("3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n"),
        Bad(0, Fault::ChunkEnd)),
    case("extension too long", "9112 7.1.1",
        concat!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "\r\nabc\r\n0\r\n\r\n").as_bytes(), Expect::Class(0, Class::BodyTooLarge)),
    case("trailers are dropped", "9112 7.1.2", chunked!("0\r\nA: b\r\nC:\r\n\r\n"), Accept(&["POST / "])),
    case("Content-Length in a trailer frames nothing", "9110 6.5.1",
        chunked!("1\r\nx\r\n0\r\nContent-Length: 99\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        Accept(&["POST / x", "GET /b "])),
    case("Transfer-Encoding in a trailer frames nothing", "9110 6.5.1",
        chunked!("0\r\nTransfer-Encoding: gzip\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"), Accept(&["POST / ", "GET /b "])),
    case("Host in a trailer is no second Host", "9110 6.5.1", chunked!("0\r\nHost: b\r\n\r\n"), Accept(&["POST / "])),
    case("request hidden in a trailer", "9112 7.1.2", chunked!("0\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        Bad(0, Fault::SpaceBeforeColon)),
    case("space before the colon of a trailer", "9112 5.1", chunked!("0\r\nA : b\r\n\r\n"), Bad(0, Fault::SpaceBeforeColon)),
    case("folded trailer", "9112 5.2", chunked!("0\r\nA: b\r\n c\r\n\r\n"), Bad(0, Fault::Fold)),
    case("trailer without a colon", "9112 5", chunked!("0\r\nA\r\n\r\n"), Bad(0, Fault::FieldName)),
    case("trailer without a name", "9112 5", chunked!("0\r\n: b\r\n\r\n"), Bad(0, Fault::FieldName)),
    case("NUL in a trailer", "9110 5.5", chunked!("0\r\nA: \0\r\n\r\n"), Bad(0, Fault::ControlByte)),
    case("bare LF in a trailer", "9112 2.2", chunked!("0\r\nA: b\n\r\n"), Bad(0, Fault::BareLf)),
    case("bare CR in a trailer", "9112 2.2", chunked!("0\r\nA: b\rc\r\n\r\n"), Bad(0, Fault::BareCr)),
    case("body that ends in LF", "9112 2.2", chunked!("0\r\n\n"), Bad(0, Fault::BareLf)),
    case("body that ends in CR and more", "9112 2.2", chunked!("0\r\n\rG"), Bad(0, Fault::BareCr)),
];

const CONNECTION: &[Case] = &[
    case("pipelined requests", "9112 9.3.2",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["GET /a ", "POST /b x", "GET /c "])),
    case("CR LF after a body", "9112 2.2",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["POST /a x", "GET /b "])),
    case("nothing after close", "9112 9.6", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n",
        Accept(&["GET / "])),
    case("close among other options", "9110 7.6.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,y\r\n\r\nGET /b", Accept(&["GET / "])),
    case("close on a second line", "9110 5.3",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\nGET /b", Accept(&["GET / "])),
    case("close in part of an option", "9110 7.6.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        Accept(&["GET / ", "GET /b "])),
    case("HTTP/1.0 closes", "9112 9.3", b"GET / HTTP/1.0\r\n\r\nGET /b", Accept(&["GET / "])),
    case("HTTP/1.0 with keep-alive", "9112 9.3",
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n", Accept(&["GET / ", "GET /b "])),
    case("HTTP/1.0 with both options", "9112 9.3",
        b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\nGET /b", Accept(&["GET / "])),
    case("a refusal ends the stream", "9112 9.6",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
        Bad(1, Fault::HostMissing)),
];

fn run(cases: &[Case]) {
    let limits = Limits::default();
    for Case {
        name,
        rfc,
        stream,
        expect,
    } in cases
    {
        println!("{name} (RFC {rfc})");
        let outcome = check(&limits, stream, &[]);
        for cut in 0..stream.len() {
            assert_eq!(
                check(&limits, stream, &[cut]).requests,
                outcome.requests,
                "{name}, cut at {cut}"
            );
        }
        let requests: Vec<String> = outcome
            .requests
            .iter()
            .map(|seen| {
                let query = seen.query.iter().flat_map(|query| [&b"?"[..], query].concat());
                let line = [
                    &seen.method[..],
                    b" ",
                    &seen.path,
                    &query.collect::<Vec<_>>(),
                    b" ",
                    &seen.body,
                ]
                .concat();
                String::from_utf8_lossy(&line).into_owned()
            })
            .collect();
        match (expect, outcome.end) {
            (Accept(expected), End::Whole | End::Closed) => assert_eq!(requests, *expected, "{name}"),
            (Bad(after, expected), End::Refused(Error::Syntax { fault, .. })) => {
                assert_eq!((requests.len(), fault), (*after, *expected), "{name}");
            }
            (Expect::Class(after, expected), End::Refused(error)) => {
                assert_eq!((requests.len(), class(error)), (*after, *expected), "{name}");
            }
            (_, end) => panic!("{name}: {end:?} after {requests:?}"),
        }
    }
}

#[test]
fn request_lines() {
    run(REQUEST_LINE);
}

#[test]
fn field_lines() {
    run(FIELDS);
}

#[test]
fn content_length() {
    run(LENGTH);
}

#[test]
fn transfer_encoding() {
    run(CODING);
}

#[test]
fn chunks_and_trailers() {
    run(CHUNKS);
}

#[test]
fn connections() {
    run(CONNECTION);
}

#[test]
fn names_of_cases_are_unique_within_a_table() {
    for table in [REQUEST_LINE, FIELDS, LENGTH, CODING, CHUNKS, CONNECTION] {
        let mut names: Vec<&str> = table.iter().map(|case| case.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[test]
fn absolute_form_decides_the_host() {
    let seen = check(
        &Limits::default(),
        b"GET http://b:1/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[],
    )
    .requests;
    assert_eq!(seen[0].host.as_deref(), Some(&b"b:1"[..]));
}

#[test]
fn a_hundred_continue_in_http_10_is_ignored() {
    let stream = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    let outcome = check(&Limits::default(), stream, &[]);
    assert!(!outcome.requests[0].expect_continue);
}
