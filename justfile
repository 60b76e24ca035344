# Each recipe is one plain command; run `just` for this list.

_list:
    @just --list --unsorted

# run the server
serve *flags:
    cargo run --release -- serve {{flags}}

# every ordinary test
test:
    cargo test --workspace

# format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# everything the gate runs
ci:
    .ci/run

# all fuzz targets for HOURS over all cores: corpus kept and minimised, summary written, non-zero on a failure
fuzz-night hours="8":
    fuzz/night --hours {{hours}}
