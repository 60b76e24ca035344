//! Group commit against a lock around a file and a call for each batch or record, on this machine's disk
//! (`BENCH_DIRECTORY` names another).
//!
//! Four threads append batches of one or of ten lines; the time is until all of them are at their level.
//! Nobody flushes at level written.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metricstream::clock::SystemClock;
use metricstream::log::fs::SystemDisk;
use metricstream::log::{Level, Log, Outcome, Settings};
use metricstream::sync::shim::{Arc, Mutex, thread};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const THREADS: u64 = 4;

/// So many lines of the length of a stored metric.
fn batch(records: u32) -> Vec<u8> {
    let line = r#"{"timestamp":"2026-01-02T03:04:05.678Z","name":"cpu.usage","value":42.5,"type":"gauge","tags":{"host":"a"}}"#;
    format!("{line}\n").repeat(records as usize).into_bytes()
}

fn directory() -> PathBuf {
    let root = std::env::var_os("BENCH_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
    root.join(format!("metricstream-bench-{}", std::process::id()))
}

/// Runs `body` `batches` times in all, on four threads.
fn on_threads(batches: u64, records: u32, body: impl Fn(&[u8]) + Clone + Send + 'static) {
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let body = body.clone();
            let share = batches / THREADS + u64::from(number < batches % THREADS);
            let work = move || {
                let batch = batch(records);
                (0..share).for_each(|_| body(&batch));
            };
            thread::spawn("bench", work).expect("a thread")
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
}

fn group_commit(level: Level, records: u32, batches: u64) -> Duration {
    let settings = Settings {
        level,
        queue_bytes_max: 32 << 20,
        queue_batches_max: 65_536,
        flush_interval_ms: 0,
        ..Settings::in_directory(&directory())
    };
    let clock = SystemClock::new();
    let count = |(), outcome| assert!(matches!(outcome, Outcome::Written(_)));
    let log = Arc::new(Log::open(&SystemDisk, &settings, clock, count).expect("a log"));
    let start = clock.now();
    let theirs = Arc::clone(&log);
    on_threads(batches, records, move |lines| {
        // A full queue is the disk's pace.
        while theirs.append(lines, records, ()).is_err() {
            theirs
                .wait_settled(theirs.status().accepted)
                .expect("all are decided");
        }
    });
    log.wait_settled(log.status().accepted).expect("all are decided");
    let time = clock.now().since(start);
    let progress = log.status().progress;
    assert_eq!((progress.batches, progress.failures), (batches, 0));
    drop(log);
    std::fs::remove_dir_all(directory()).expect("ours");
    time
}

fn naive(records: u32, batches: u64, append: fn(&mut File, &[u8])) -> Duration {
    std::fs::create_dir_all(directory()).expect("a directory");
    let path = directory().join("naive");
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("a file");
    let file = Arc::new(Mutex::new(file));
    let clock = SystemClock::new();
    let start = clock.now();
    on_threads(batches, records, move |lines| append(&mut file.lock(), lines));
    let time = clock.now().since(start);
    std::fs::remove_dir_all(directory()).expect("ours");
    time
}

fn write_batch(file: &mut File, lines: &[u8]) {
    file.write_all(lines).expect("written");
}

fn write_records(file: &mut File, lines: &[u8]) {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        file.write_all(line).expect("written");
    }
}

fn write_and_sync(file: &mut File, lines: &[u8]) {
    write_batch(file, lines);
    file.sync_data().expect("synced");
}

fn throughput(c: &mut Criterion) {
    for records in [1, 10] {
        let mut group = c.benchmark_group(format!("log_written_{records}"));
        group.throughput(Throughput::Elements(records.into()));
        group.bench_function("group_commit", |b| {
            b.iter_custom(|batches| group_commit(Level::Written, records, batches));
        });
        group.bench_function("write_per_batch", |b| {
            b.iter_custom(|batches| naive(records, batches, write_batch));
        });
        group.bench_function("write_per_record", |b| {
            b.iter_custom(|batches| naive(records, batches, write_records));
        });
        group.finish();
    }
    let mut group = c.benchmark_group("log_synced_10");
    group.throughput(Throughput::Elements(10));
    group.bench_function("group_commit", |b| {
        b.iter_custom(|batches| group_commit(Level::Synced, 10, batches));
    });
    group.bench_function("sync_per_batch", |b| {
        b.iter_custom(|batches| naive(10, batches, write_and_sync));
    });
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
}

criterion_group! { name = benches; config = quick(); targets = throughput }
criterion_main!(benches);
