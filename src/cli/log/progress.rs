//! How far a command is that reads a whole log: a bar on standard error, where that is a terminal.

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::log::fs::Filesystem;
use crate::log::reader::Snapshot;

/// Bytes of all segments of `snapshot`, as stored; an estimate beside a server.
pub(super) fn stored_bytes<F: Filesystem>(snapshot: &Snapshot<F>, directory: &Path) -> u64 {
    let of_file = |name: String| {
        let details = snapshot.filesystem().details(&directory.join(name));
        details.map_or(0, |details| details.bytes)
    };
    let sealed: u64 = snapshot
        .sealed
        .iter()
        .map(|sealed| of_file(sealed.file_name()))
        .sum();
    sealed + snapshot.active.as_ref().map_or(0, |active| active.stored_bytes)
}

/// A bar for so many bytes; indicatif hides it by itself where standard error is no terminal.
pub(super) fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{elapsed:>4} [{bar:40}] {percent:>3}% {binary_bytes} of {binary_total_bytes}, {eta} left",
    );
    ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
