//! Models of the log's two threads: the writer seals segments while the keeper compresses and removes them.

use metricstream::clock::Instant;
use metricstream::log::segment::{ACTIVE_NAME, Sealed};
use metricstream::log::simulated::SimulatedDisk;
use metricstream::log::{Compression, Level, Log, Outcome, Settings};
use metricstream::sync::shim::{Arc, Mutex, thread};
use metricstream_verification::harness::{Bounds, explore};
use std::path::Path;

/// An execution writes some files, compresses them and reads them back.
const BOUNDS: Bounds = Bounds {
    random: 300,
    pct: 300,
    dfs: false,
    stress: 200,
};

const LINES: [&str; 3] = ["first\n", "second\n", "third\n"];

fn settings() -> Settings {
    Settings {
        level: Level::Synced,
        flush_interval_ms: 0,
        segment_bytes_max: 8,
        segment_compression: Compression::Zstd,
        ..Settings::in_directory(Path::new("data"))
    }
}

/// The segments by the rule for readers: for each whether it is compressed, and what is in it.
fn segments(disk: &SimulatedDisk) -> Vec<(bool, String)> {
    let paths = disk.paths();
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    // A plain name comes before the compressed one.
    let mut sealed: Vec<_> = names.filter_map(Sealed::parse).collect();
    sealed.dedup_by_key(|sealed| sealed.number);
    let content = |name: &str| disk.content(&Path::new("data").join(name));
    let sealed = sealed.iter().map(|sealed| {
        let bytes = content(&sealed.file_name());
        let bytes = match sealed.compressed {
            true => zstd::decode_all(bytes.as_slice()).unwrap(),
            false => bytes,
        };
        (sealed.compressed, bytes)
    });
    let active = std::iter::once((false, content(ACTIVE_NAME)));
    sealed
        .chain(active)
        .map(|(compressed, bytes)| (compressed, String::from_utf8(bytes).unwrap()))
        .collect()
}

/// Two threads append, a third stops the log as soon as it likes.
fn run(settings: &Settings) -> (SimulatedDisk, Vec<(&'static str, Outcome)>) {
    let disk = SimulatedDisk::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&told);
    let tell = move |line, outcome| theirs.lock().push((line, outcome));
    let log = Arc::new(Log::open(&disk, settings, || Instant::ZERO, tell).unwrap());
    let theirs = Arc::clone(&log);
    let other = thread::spawn("other", move || {
        theirs.append(LINES[0].as_bytes(), 1, LINES[0]).unwrap();
    })
    .unwrap();
    for line in &LINES[1..] {
        log.append(line.as_bytes(), 1, line).unwrap();
    }
    other.join().unwrap();
    log.drain();
    let told = told.lock().clone();
    (disk, told)
}

/// LOG-ROTATION and LOG-COMPRESSION with both threads: whatever the order, and wherever the stop finds the
/// keeper, each line is read once, in the order of the tokens, and both threads end.
#[test]
fn a_segment_is_sealed_while_another_is_compressed() {
    let report = explore(BOUNDS, || {
        let (disk, told) = run(&settings());
        assert_eq!(told.len(), LINES.len(), "[LOG-TOKENS]");
        let segments = segments(&disk);
        let text: String = segments.iter().map(|(_, text)| text.as_str()).collect();
        let mut order: Vec<_> = told.iter().map(|(line, _)| *line).collect();
        assert_eq!(text, order.concat(), "[LOG-COMPRESSION] each line once, in order");
        order.sort_unstable();
        assert_eq!(order, LINES, "[LOG-TOKENS]");
        segments.iter().filter(|(compressed, _)| *compressed).count()
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    if cfg!(metricstream_shuttle) {
        assert_eq!(outcomes, [0, 1, 2], "[HONEST-OUTCOMES] the stop comes anywhere");
    }
}

/// LOG-RETENTION with both threads: what is there is the newest, without a gap.
#[test]
fn a_segment_is_sealed_while_another_is_removed() {
    let settings = Settings {
        segment_compression: Compression::None,
        retention_bytes_max: 7,
        ..settings()
    };
    let report = explore(BOUNDS, move || {
        let (disk, told) = run(&settings);
        let segments = segments(&disk);
        let text: String = segments.iter().map(|(_, text)| text.as_str()).collect();
        let all: String = told.iter().map(|(line, _)| *line).collect();
        assert!(all.ends_with(&text), "[LOG-RETENTION] {text:?} of {all:?}");
        assert!(
            disk.paths().contains(&Path::new("data").join(ACTIVE_NAME)),
            "[LOG-RETENTION] the active one is never removed"
        );
        all.len() > text.len()
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    if cfg!(metricstream_shuttle) {
        assert_eq!(
            outcomes,
            [false, true],
            "[HONEST-OUTCOMES] the stop comes anywhere"
        );
    }
}
