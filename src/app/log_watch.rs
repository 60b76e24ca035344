//! What the messages tell of the log's segments and its circuit breaker.
//!
//! Promises: each change is said once, with its figures. Leaves to the caller: how often to look.

use crate::log::breaker::BreakerState;
use crate::log::keeper::Kept;
use crate::log::{Failure, Status};

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct LogWatch {
    rotations: u64,
    rotation_failures: u64,
    breaker_opened: u64,
    resting: bool,
    kept: Kept,
}

impl LogWatch {
    /// Tells what is new in `status`.
    pub(super) fn tell(&mut self, status: &Status) {
        self.tell_rotation(status);
        self.tell_kept(&status.kept);
        self.tell_breaker(status);
    }

    fn tell_rotation(&mut self, status: &Status) {
        let progress = &status.progress;
        if progress.rotations != self.rotations {
            let (segment, segments) = (progress.last_sealed, status.segments());
            tracing::info!(segment, segments, "sealed a segment of the log");
            self.rotations = progress.rotations;
        }
        if progress.rotation_failures != self.rotation_failures {
            let failure = shown(progress.last_rotation_failure);
            tracing::warn!(
                failure,
                "a segment could not be sealed; the log goes on in it and tries again"
            );
            self.rotation_failures = progress.rotation_failures;
        }
    }

    fn tell_kept(&mut self, kept: &Kept) {
        if kept.removed_segments != self.kept.removed_segments {
            let segments = kept.removed_segments - self.kept.removed_segments;
            let bytes = kept.removed_bytes - self.kept.removed_bytes;
            tracing::info!(
                segments,
                bytes,
                "retention removed the oldest segments of the log"
            );
        }
        if kept.compressed_segments != self.kept.compressed_segments {
            let segments = kept.compressed_segments - self.kept.compressed_segments;
            let from_bytes = kept.compressed_from_bytes - self.kept.compressed_from_bytes;
            let to_bytes = kept.compressed_to_bytes - self.kept.compressed_to_bytes;
            tracing::info!(
                segments,
                from_bytes,
                to_bytes,
                "compressed sealed segments of the log"
            );
        }
        if kept.failures != self.kept.failures {
            let failure = shown(kept.last_failure);
            tracing::warn!(failure, "sealed segments could not be kept; it is tried again");
        }
        self.kept = *kept;
    }

    fn tell_breaker(&mut self, status: &Status) {
        let progress = &status.progress;
        if progress.breaker_opened != self.breaker_opened {
            let failure = shown(progress.last_failure);
            tracing::warn!(
                failure,
                "groups failed in a row; requests are refused until the disk is tried again"
            );
            self.breaker_opened = progress.breaker_opened;
            self.resting = true;
        }
        if self.resting && progress.breaker == BreakerState::Closed {
            tracing::info!("the disk takes lines again");
            self.resting = false;
        }
    }
}

fn shown(failure: Option<Failure>) -> Option<tracing::field::DisplayValue<Failure>> {
    failure.map(tracing::field::display)
}
