//! Whatever happens to a log, `verify` finds it as far as it can be found, and `repair` loses nothing whole.

use metricstream::cli::log::bounds;
use metricstream::cli::log::scan::Beside;
use metricstream::cli::log::survey::{Survey, snapshot, survey};
use metricstream::log::segment::ACTIVE_NAME;
use metricstream::log::simulated::SimulatedDisk;
use metricstream_proptests::log_tools::{Plan, Seen, check, compress};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::path::Path;

/// `PROPTEST_CASES` makes a run longer.
fn config(cases: u32) -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if set {
            ProptestConfig::default().cases
        } else {
            cases
        })
    }
}

fn raw() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..100)
}

fn surveyed(disk: &SimulatedDisk, line_bytes_max: usize) -> Survey {
    let directory = Path::new("data");
    let snapshot = snapshot(disk, directory).expect("there is a log");
    survey(
        snapshot,
        directory,
        bounds(line_bytes_max),
        Beside::NOBODY,
        &mut |_| {},
    )
    .expect("nothing fails")
}

const LINE: &str = "{\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"name\":\"n\",\"value\":1,\"type\":\"gauge\",\"tags\":{}}\n";

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn verify_finds_the_damage_and_repair_keeps_what_is_whole(raw in raw()) {
        check(&Plan::of(&raw));
    }

    #[test]
    fn a_damaged_compressed_file_is_found_or_reads_as_before(at in any::<prop::sample::Index>(), bits in 1..=255_u8, cut in any::<bool>()) {
        let content = LINE.repeat(50);
        let mut stored = compress(content.as_bytes());
        let at = at.index(stored.len());
        if cut {
            stored.truncate(at);
        } else {
            stored[at] ^= bits;
        }
        let disk = SimulatedDisk::new();
        disk.put(Path::new("data/metrics.000000000001.jsonl.zst"), &stored);
        let surveyed = surveyed(&disk, 1024);
        let as_before = surveyed.sum(|segment| segment.lines) == 50
            && surveyed.sum(|segment| segment.bytes) == content.len() as u64;
        prop_assert!(surveyed.damage_count > 0 || as_before);
        prop_assert!(surveyed.damage_count > 0 || !cut);
    }
}

/// If the generator stopped damaging, the tests above would pass for no reason.
#[test]
fn the_generated_plans_meet_every_kind_of_damage() {
    let mut runner = TestRunner::deterministic();
    let mut sum = Seen::default();
    for _ in 0..1000 {
        let raw = prop::collection::vec(any::<u8>(), 100)
            .new_tree(&mut runner)
            .unwrap();
        let seen = check(&Plan::of(&raw.current()));
        sum.damaged += seen.damaged;
        sum.saved += seen.saved;
        sum.long += seen.long;
        sum.sound += seen.sound;
        sum.unseen += seen.unseen;
    }
    println!("{sum:?}");
    assert!(sum.damaged > 1000 && sum.saved > 100 && sum.long > 50, "{sum:?}");
    assert!(sum.sound > 20 && sum.unseen > 5, "{sum:?}");
}

#[test]
fn memory_does_not_grow_with_the_log_nor_with_what_is_in_it() {
    const MIB: usize = 1024 * 1024;
    for (what, content) in [
        ("lines", LINE.repeat(40 * MIB / LINE.len()).into_bytes()),
        ("one long line", vec![b'x'; 40 * MIB]),
        ("zeros", vec![0; 40 * MIB]),
        ("empty lines", vec![b'\n'; 2 * MIB]),
    ] {
        let (plain, compressed) = (SimulatedDisk::new(), SimulatedDisk::new());
        plain.put(&Path::new("data").join(ACTIVE_NAME), &content);
        compressed.put(
            Path::new("data/metrics.000000000001.jsonl.zst"),
            &compress(&content),
        );
        for disk in [plain, compressed] {
            let used = allocation_counter::measure(|| drop(surveyed(&disk, MIB)));
            assert!(
                used.bytes_max < 4 * MIB as u64,
                "{what}: {} bytes",
                used.bytes_max
            );
        }
    }
}
