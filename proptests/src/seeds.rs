//! The seeds and past crashes of the fuzz targets, for ordinary tests to replay.
//!
//! Promises: every file under `fuzz/seeds/TARGET` and `fuzz/crashes/TARGET`, in the order of their names.

use std::path::{Path, PathBuf};

/// Calls `check` with the content of each seed and each past crash of `target`; how many there were.
///
/// # Panics
/// When a file cannot be read, or `check` panics; the file is named first.
pub fn replay(target: &str, mut check: impl FnMut(&[u8])) -> usize {
    let files = files(target);
    for file in &files {
        println!("{}", file.display());
        check(&std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    files.len()
}

fn files(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut files: Vec<PathBuf> = ["seeds", "crashes"]
        .iter()
        .filter_map(|kind| std::fs::read_dir(fuzz.join(kind).join(target)).ok())
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
