//! Time as a value.
//!
//! Promises: [`Instant`] never goes back and [`WallTime`] is what the system says it is; both are plain
//! integers, so a decision that takes `now` can be tested at any moment, the end of the range included.
//! Leaves to the caller: reading a clock at the edge (a socket became readable, a batch arrived) and
//! passing the value down. Nothing below `server` and `app` reads a clock.

use std::time::Duration;

/// A moment on the monotonic clock, in nanoseconds since an arbitrary origin of this process.
///
/// Range: `0 ..= u64::MAX` (584 years). Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`, or the end of the range.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment of civil time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Range: any `i64`; what can be written as RFC 3339 with a four-digit year is
/// `-62_167_219_200_000 ..= 253_402_300_799_999`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_epoch_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn epoch_millis(self) -> i64 {
        self.0
    }
}

/// Both clocks, for what needs time while it runs. A closure that gives the monotonic one is a clock too, for
/// tests: its civil time goes with it, from the Unix epoch on.
pub trait Clock: Send + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Civil time.
    fn wall(&self) -> WallTime;
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        self.now()
    }

    fn wall(&self) -> WallTime {
        self.wall()
    }
}

impl<F: Fn() -> Instant + Send + 'static> Clock for F {
    fn now(&self) -> Instant {
        self()
    }

    fn wall(&self) -> WallTime {
        WallTime::from_epoch_millis(i64::try_from(self().as_nanos() / 1_000_000).unwrap_or(i64::MAX))
    }
}

/// Microseconds of `CLOCK_MONOTONIC`, for a service manager that compares them with its own.
#[must_use]
pub fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// The clocks of this machine; one per process, shared by reference.
#[cfg(not(metricstream_shuttle))]
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

#[cfg(not(metricstream_shuttle))]
impl SystemClock {
    /// Starts a clock whose origin is now.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        clippy::new_without_default,
        reason = "the edge: the one reader of the clock"
    )]
    pub fn new() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO.after(self.origin.elapsed())
    }

    /// The system's civil time. It may jump either way when the system's clock is set.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the edge: the one reader of the clock")]
    pub fn wall(&self) -> WallTime {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => WallTime(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                WallTime(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis))
            }
        }
    }
}

/// The clocks of the simulation: they show the time of [`crate::sync::shim`], which only the one who runs the
/// simulation moves.
#[cfg(metricstream_shuttle)]
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(());

#[cfg(metricstream_shuttle)]
impl SystemClock {
    /// Civil time at the simulation's origin: 2026-01-02T03:04:05Z.
    const WALL_ORIGIN: i64 = 1_767_323_045_000;

    /// The simulation's clock.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "as the machine's")]
    pub fn new() -> Self {
        Self(())
    }

    /// The monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(crate::sync::shim::time::now_nanos())
    }

    /// Civil time, which goes with the monotonic clock.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let millis = crate::sync::shim::time::now_nanos() / 1_000_000;
        WallTime(Self::WALL_ORIGIN.saturating_add_unsigned(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Instant::ZERO.after(Duration::MAX), end);
        assert_eq!(Instant::ZERO.since(end), Duration::ZERO);
        assert_eq!(end.since(Instant::ZERO), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn the_managers_clock_does_not_go_back() {
        let before = monotonic_micros();
        assert!(before > 0 && monotonic_micros() >= before);
    }

    #[test]
    fn civil_time_is_after_this_was_written() {
        assert!(SystemClock::new().wall() > WallTime::from_epoch_millis(1_790_000_000_000));
    }
}
