//! Bodies to measure with: batches as agents send them, the same in every run.

use std::fmt::Write;

/// What the metrics of a body look like.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Name, value, type and two tags.
    Usual,
    /// The same with a timestamp in milliseconds.
    Timed,
    /// The same with seventeen digits a value, as a program prints any f64.
    Precise,
    /// The usual shape, indented.
    Pretty,
    /// The usual shape and another with other tags, in no order: what follows is not alike.
    Mixed,
}

impl Shape {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Usual, Self::Timed, Self::Precise, Self::Pretty, Self::Mixed];

    /// Its name in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Timed => "timed",
            Self::Precise => "precise",
            Self::Pretty => "pretty",
            Self::Mixed => "mixed",
        }
    }
}

const NAMES: [&str; 12] = [
    "cpu.usage",
    "mem.used_bytes",
    "disk.io.read_bytes",
    "http.requests.total",
    "http.request.duration_seconds",
    "queue.depth",
    "gc.pause_ms",
    "db.pool.connections",
    "cache.hit_ratio",
    "net.rx_packets",
    "load.1m",
    "process.open_file_descriptors",
];
const TYPES: [&str; 4] = ["gauge", "counter", "histogram", "summary"];
const REGIONS: [&str; 5] = ["eu-west-1", "us-east-1", "ap-south-1", "sa-east-1", "eu"];
const SERVICES: [&str; 6] = ["checkout", "api", "frontend", "billing-worker", "auth", "search"];

/// A body of `count` metrics.
pub fn body(shape: Shape, count: usize) -> Vec<u8> {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut body = String::from("{\"metrics\":[");
    for index in 0..count {
        if index > 0 {
            body.push(',');
        }
        metric(shape, index, &mut random, &mut body);
    }
    body.push_str("]}");
    if matches!(shape, Shape::Pretty) {
        let value: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
        body = serde_json::to_string_pretty(&value).expect("it is JSON");
    }
    body.into_bytes()
}

fn metric(shape: Shape, index: usize, random: &mut Random, body: &mut String) {
    let name = NAMES[random.below(NAMES.len())];
    let kind = TYPES[random.below(TYPES.len())];
    let (region, service) = (
        REGIONS[random.below(REGIONS.len())],
        SERVICES[random.below(SERVICES.len())],
    );
    let host = random.below(200);
    let value = value(shape, random);
    if matches!(shape, Shape::Mixed) && random.below(2) == 0 {
        write!(
            body,
            "{{\"name\":\"{name}\",\"type\":\"{kind}\",\"value\":{value},\"tags\":{{\"host\":\"web-{host}\",\"device\":\"sda\"}}}}"
        )
        .expect("a string takes all");
        return;
    }
    write!(
        body,
        "{{\"name\":\"{name}\",\"value\":{value},\"type\":\"{kind}\",\"tags\":{{\"host\":\"web-{host}\",\"region\":\"{region}\",\"service\":\"{service}\"}}"
    )
    .expect("a string takes all");
    if matches!(shape, Shape::Timed) {
        write!(body, ",\"timestamp\":{}", 1_767_323_045_678u64 + index as u64).expect("a string takes all");
    }
    body.push('}');
}

/// Counts, ratios and measures with a few decimals, in equal parts.
fn value(shape: Shape, random: &mut Random) -> String {
    let any = random.next() as f64 / u64::MAX as f64;
    match (shape, random.below(3)) {
        (Shape::Precise, _) => format!("{:?}", any * 1000.0),
        (_, 0) => format!("{}", random.below(1_000_000)),
        (_, 1) => format!("{any:.4}"),
        _ => format!("{:.2}", any * 10_000.0),
    }
}

/// xorshift64*: the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 33) as usize % count
    }
}
