//! Which request is for what.
//!
//! Promises: every path names the methods it takes, in 405's Allow and in the answer to OPTIONS alike.
//! Leaves to the caller: to do it.

use crate::http::head::Form as TargetForm;
use crate::http::{Head, Method};
use crate::log::Level;
use crate::monitor::Endpoint;

use super::reply::Refusal;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Store the metrics of the body, and acknowledge them at this level, if one was asked for.
    Ingest(Option<Level>),
    /// Show a page.
    Read(Page),
    /// Say which methods there are.
    Options(&'static str),
}

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The process answers.
    Health,
    /// The server takes metrics.
    Ready,
    /// The statistics as JSON.
    Stats,
    /// The statistics for Prometheus.
    Exposition,
    /// The statistics drawn, for a browser.
    Dashboard,
}

impl Route {
    /// What the monitor files the request under.
    #[must_use]
    pub fn endpoint(self) -> Endpoint {
        match self {
            Self::Ingest(_) => Endpoint::Ingest,
            Self::Read(Page::Health | Page::Ready) => Endpoint::Health,
            Self::Read(Page::Stats) => Endpoint::Stats,
            Self::Read(Page::Dashboard) => Endpoint::Page,
            Self::Read(Page::Exposition) => Endpoint::Metrics,
            Self::Options(_) => Endpoint::Other,
        }
    }
}

const READ_METHODS: &str = "GET, HEAD, OPTIONS";
const METRICS_METHODS: &str = "GET, HEAD, OPTIONS, POST";

/// Finds what a request is for.
///
/// # Errors
/// Nothing at the path, a method the path does not take, or a POST whose body is not announced or not JSON,
/// or that asks for a level there is not.
pub fn find(head: &Head<'_>) -> Result<Route, Refusal> {
    // RFC 9110 section 9.3.7: the target "*" asks about the server in general.
    if head.target.form == TargetForm::Asterisk {
        return Ok(Route::Options(METRICS_METHODS));
    }
    let (page, allow) = match head.target.path {
        b"/" => (Page::Dashboard, READ_METHODS),
        b"/metrics" => (metrics_page(head), METRICS_METHODS),
        b"/health" => (Page::Health, READ_METHODS),
        b"/ready" => (Page::Ready, READ_METHODS),
        b"/stats" => (Page::Stats, READ_METHODS),
        _ => return Err(Refusal::NotFound),
    };
    match head.method {
        Method::Get | Method::Head => Ok(Route::Read(page)),
        Method::Options => Ok(Route::Options(allow)),
        Method::Post if allow == METRICS_METHODS => {
            head.require_length().map_err(Refusal::Http)?;
            check_content(head)?;
            Ok(Route::Ingest(ack_level(head)?))
        }
        _ => Err(Refusal::MethodNotAllowed(allow)),
    }
}

/// The level that the client asks its lines to be acknowledged at, if it does.
fn ack_level(head: &Head<'_>) -> Result<Option<Level>, Refusal> {
    const SHOWN_BYTES: usize = 32;
    let Some(value) = head.ack else {
        return Ok(None);
    };
    match Level::from_name(value) {
        Some(level) => Ok(Some(level)),
        None => {
            let shown = &value[..value.len().min(SHOWN_BYTES)];
            Err(Refusal::AckLevel(String::from_utf8_lossy(shown).into_owned()))
        }
    }
}

/// Prometheus text unless the client asks for JSON and not for text.
fn metrics_page(head: &Head<'_>) -> Page {
    let accept = head.accept.unwrap_or(b"*/*");
    let names = |wanted: &str| contains_token(accept, wanted);
    if names("application/json") && !names("text/plain") && !names("application/openmetrics-text") {
        Page::Stats
    } else {
        Page::Exposition
    }
}

/// A body without Content-Type is taken as what it must be; `application/x-www-form-urlencoded` too, since
/// that is what `curl -d` says without being asked. A JSON parser follows either way.
fn check_content(head: &Head<'_>) -> Result<(), Refusal> {
    const TAKEN: [&str; 3] = [
        "application/json",
        "text/json",
        "application/x-www-form-urlencoded",
    ];
    if head
        .content_encoding
        .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Refusal::ContentEncoding);
    }
    let Some(value) = head.content_type else {
        return Ok(());
    };
    let essence = value
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let is_json_suffix = essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
    if is_json_suffix
        || TAKEN
            .iter()
            .any(|taken| essence.eq_ignore_ascii_case(taken.as_bytes()))
    {
        return Ok(());
    }
    Err(Refusal::MediaType)
}

/// Whether a comma-separated list of media ranges names `wanted`, whatever its parameters.
fn contains_token(list: &[u8], wanted: &str) -> bool {
    list.split(|byte| *byte == b',')
        .filter_map(|range| range.split(|byte| *byte == b';').next())
        .any(|range| range.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{self, Limits};

    fn route(request_line: &str, fields: &str) -> Result<Route, Refusal> {
        let text = format!("{request_line} HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
        let head = http::head::parse(&Limits::default(), text.as_bytes())
            .expect("well-formed")
            .expect("whole");
        find(&head)
    }

    #[test]
    fn a_level_is_asked_for_by_its_name() {
        let asked = |value: &str| {
            let fields = format!("Content-Length: 0\r\nMetricstream-Ack: {value}\r\n");
            route("POST /metrics", &fields)
        };
        assert_eq!(asked("queued"), Ok(Route::Ingest(Some(Level::Queued))));
        assert_eq!(asked("Written"), Ok(Route::Ingest(Some(Level::Written))));
        assert_eq!(asked("synced"), Ok(Route::Ingest(Some(Level::Synced))));
        for other in ["", "sync", "written, synced", &"x".repeat(33)] {
            let shown = other[..other.len().min(32)].to_owned();
            assert_eq!(asked(other), Err(Refusal::AckLevel(shown)));
        }
    }

    #[test]
    fn each_path_takes_its_methods() {
        assert_eq!(
            route("POST /metrics", "Content-Length: 0\r\n"),
            Ok(Route::Ingest(None))
        );
        assert_eq!(route("GET /metrics?x=1", ""), Ok(Route::Read(Page::Exposition)));
        assert_eq!(route("HEAD /ready", ""), Ok(Route::Read(Page::Ready)));
        assert_eq!(route("OPTIONS /stats", ""), Ok(Route::Options(READ_METHODS)));
        assert_eq!(route("OPTIONS *", ""), Ok(Route::Options(METRICS_METHODS)));
        assert_eq!(
            route("PUT /metrics", ""),
            Err(Refusal::MethodNotAllowed(METRICS_METHODS))
        );
        assert_eq!(
            route("POST /stats", "Content-Length: 0\r\n"),
            Err(Refusal::MethodNotAllowed(READ_METHODS))
        );
        assert_eq!(route("GET /metrics/", ""), Err(Refusal::NotFound));
        assert_eq!(route("GET /", ""), Ok(Route::Read(Page::Dashboard)));
        assert_eq!(route("GET /index.html", ""), Err(Refusal::NotFound));
    }

    #[test]
    fn accept_chooses_between_text_and_json() {
        for (accept, page) in [
            ("application/json", Page::Stats),
            ("Application/JSON; q=0.9", Page::Stats),
            ("text/plain;version=0.0.4, application/json", Page::Exposition),
            ("*/*", Page::Exposition),
            ("application/jsonx", Page::Exposition),
        ] {
            assert_eq!(
                route("GET /metrics", &format!("Accept: {accept}\r\n")),
                Ok(Route::Read(page)),
                "{accept}"
            );
        }
    }

    #[test]
    fn only_json_is_taken() {
        for (fields, taken) in [
            ("", true),
            ("Content-Type: application/json\r\n", true),
            ("Content-Type: Application/JSON ; charset=utf-8\r\n", true),
            ("Content-Type: application/vnd.x+json\r\n", true),
            ("Content-Type: application/x-www-form-urlencoded\r\n", true),
            ("Content-Encoding: identity\r\n", true),
            ("Content-Type: text/plain\r\n", false),
            ("Content-Type: +json\r\n", false),
            ("Content-Type: \r\n", false),
            ("Content-Encoding: gzip\r\n", false),
        ] {
            let found = route("POST /metrics", &format!("{fields}Content-Length: 0\r\n"));
            assert_eq!(found.is_ok(), taken, "{fields} {found:?}");
        }
    }

    #[test]
    fn a_post_announces_its_body() {
        assert_eq!(
            route("POST /metrics", ""),
            Err(Refusal::Http(http::Error::LengthRequired))
        );
    }
}
