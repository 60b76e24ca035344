# Each recipe is one plain command; run `just` for this list.

_list:
    @just --list --unsorted

# run the server
serve *flags:
    cargo run --release -- serve {{flags}}

# every ordinary test
test:
    cargo test --workspace

# the units of deploy/ under a systemd of their own: start, reload, restart and stop under load, the watchdog (root)
systemd:
    cargo build --release && deploy/test-systemd

# format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# the models under loom: every execution, the seeded faults, the mutation gate
loom *args:
    RUSTFLAGS="--cfg metricstream_loom" cargo test -p metricstream-verification --profile model --target-dir target-loom --test models {{args}}

# the mutation gate alone: every ordering weakened, every predicate and notification lost
mutation: (loom "mutation")

# the same models under shuttle: random, PCT and depth-first schedules
shuttle *args:
    RUSTFLAGS="--cfg metricstream_shuttle" cargo test -p metricstream-verification --profile model --target-dir target-shuttle --test models {{args}}

# the whole server in simulation for longer: --executions COUNT or --seconds COUNT, --replay SEED, --help
soak *args:
    RUSTFLAGS="--cfg metricstream_shuttle" cargo run -p metricstream-verification --profile model --target-dir target-shuttle --example soak -- {{args}}

# the same models on real threads
stress:
    cargo test -p metricstream-verification

# the ring under ThreadSanitizer (nightly), each of its orderings weakened in turn
tsan:
    RUSTFLAGS="--cfg metricstream_tsan -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" cargo +nightly run -p metricstream-verification --profile model --target-dir target-tsan --target x86_64-unknown-linux-gnu --example tsan

# the ring's counters over all 64-bit values (pip install z3-solver)
z3:
    python3 verification/proofs/ring_counters.py

# kill -9 under load, N rounds, what was acknowledged compared with what is stored; more flags: --help
crash-rounds rounds="20" *flags:
    cargo run --release -p metricstream-verification --example crash_rounds -- --rounds {{rounds}} {{flags}}

# a disk that fills up under load and gets space again, N rounds (takes root)
disk-full-rounds rounds="20" *flags:
    cargo run --release -p metricstream-verification --example crash_rounds -- --disk-full {{rounds}} {{flags}}

# what each level of acknowledgement costs: a table of queued, written and synced in one run
levels *args:
    benches/server/levels {{args}}

# every bench in full
bench *args:
    cargo bench -p metricstream-benches {{args}}

# every bench once, to see that it works
bench-smoke:
    cargo bench -p metricstream-benches -- --test

# every stage of the journey under the same load, with a report
journey *args:
    cargo run --release -p metricstream-journey -- run {{args}}

# every command of the journey's chapters, what it prints compared with what they show
chapters:
    cargo test --workspace --test chapters -- --ignored --nocapture

# mutation testing of json, http, admission and metric: cargo-mutants' mutants in one build (a file: one file's)
mutants *args:
    cargo run --manifest-path verification/mutants/Cargo.toml -- {{args}}

# one fault after the other planted in a copy: the everyday tests must notice each
planted-faults *names:
    proptests/planted_faults {{names}}

# line and region coverage of json and http by the property tests
coverage *args:
    proptests/coverage {{args}}

# everything the gate runs
ci:
    .ci/run

# all fuzz targets for HOURS over all cores: corpus kept and minimised, summary written, non-zero on a failure
fuzz-night hours="8":
    fuzz/night --hours {{hours}}

# the server beside nginx, actix-web, axum and VictoriaMetrics, in one run: table and plot in benches/peers
bench-peers *args:
    benches/peers/run {{args}}
