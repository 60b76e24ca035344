//! Heads, bodies and responses, each head next to httparse in the same run.
//!
//! httparse is given sixteen header slots that live outside the loop. It stops where the head ends and
//! leaves Host, framing, connection and expectation to its user; [`head::parse`] decides those too.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::http::{Exchange, Limits, Response, Status, Step, head};

/// What an agent sends.
const AGENT: &[u8] = b"POST /metrics HTTP/1.1\r\n\
Host: metrics.example.com:8080\r\n\
User-Agent: agent/1.2.3\r\n\
Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
Content-Type: application/json\r\n\
Accept: */*\r\n\
Content-Length: 0\r\n\r\n";

/// What curl sends.
const CURL: &[u8] = b"POST /metrics HTTP/1.1\r\n\
Host: localhost:8080\r\n\
User-Agent: curl/8.5.0\r\n\
Accept: */*\r\n\
Content-Length: 0\r\n\
Content-Type: application/x-www-form-urlencoded\r\n\r\n";

/// What arrives from a browser through a proxy.
const PROXY: &[u8] = b"GET /dashboards/metrics?range=3600&step=15&host=web-01.example.com HTTP/1.1\r\n\
Host: www.example.com\r\n\
X-Real-IP: 203.0.113.195\r\n\
X-Forwarded-For: 203.0.113.195, 198.51.100.178\r\n\
X-Forwarded-Proto: https\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.com/dashboards\r\n\
Connection: keep-alive\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1234567890; consent=all-of-it\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    for (name, bytes) in [("agent", AGENT), ("curl", CURL), ("proxy", PROXY)] {
        let mut group = criterion.benchmark_group(format!("http/head/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("httparse", |bencher| {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            bencher.iter(|| {
                let mut request = httparse::Request::new(&mut headers);
                let status = request.parse(black_box(bytes));
                assert!(status.is_ok_and(|status| status.is_complete()));
                request.headers.len()
            });
        });
        group.bench_function("metricstream", |bencher| {
            bencher.iter(|| {
                let head = head::parse(black_box(&limits), black_box(bytes));
                assert!(matches!(black_box(&head), Ok(Some(_))));
            });
        });
        group.finish();
    }
}

fn exchanges(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http/exchange");
    let mut run = |name: &str, bytes: &[u8]| {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            let mut buffer = bytes.to_vec();
            let mut exchange = Exchange::new();
            bencher.iter(|| {
                // A chunked body is decoded in place: start from the bytes as sent.
                buffer.copy_from_slice(bytes);
                let step = exchange.advance(black_box(&limits), black_box(&mut buffer));
                assert!(matches!(black_box(&step), Step::Request { .. }));
            });
        });
    };
    run("agent without body", AGENT);
    let length = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n{}",
        "x".repeat(65536)
    );
    run("64 KiB with a length", length.as_bytes());
    let chunked = |size: usize| {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size)).repeat(65536 / size);
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
    };
    run("64 KiB in chunks of 8 KiB", chunked(8192).as_bytes());
    run("64 KiB in chunks of 64 bytes", chunked(64).as_bytes());
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http/response");
    let mut out = Vec::with_capacity(4096);
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            let response = Response {
                date: Some(b"Thu, 01 Jan 1970 00:00:00 GMT"),
                content_type: Some("application/json"),
                ..Response::new(black_box(Status {
                    code: 200,
                    reason: "OK",
                }))
            };
            response.write(
                black_box(b"{\"success\":true,\"metrics_processed\":100}"),
                &mut out,
            );
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = heads, exchanges, responses
}
criterion_main!(benches);
