//! Counters that any thread may add to and any thread may read.
//!
//! Promises: no addition is lost; a count never goes down. Leaves to the caller: to add after the fact it
//! counts. Two counters read one after the other are not one moment's picture.

use crate::sync::shim::atomic::AtomicU64;

/// A count that only rises.
///
/// Writers: any thread, by `fetch_add`. Readers: any thread. Range: all of `u64`, wrapping after 2^64.
/// PROOFS.md STATS_ADD, STATS_READ: relaxed, since a count publishes nothing but itself.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, crate::ord!(STATS_ADD, Relaxed));
    }

    /// The count so far.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(crate::ord!(STATS_READ, Relaxed))
    }
}

/// What the server counts itself, exactly; what is measured per request (latency, status) goes through the
/// monitor's rings.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted and served.
    pub connections_accepted: Counter,
    /// Connections refused because `connections_max` were open.
    pub connections_refused: Counter,
    /// Connections that are gone; open are those accepted less these.
    pub connections_closed: Counter,
    /// Connections closed because a deadline passed: idle, a slow request or a slow reader.
    pub connections_timed_out: Counter,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: Counter,
    /// TLS handshakes that failed, were broken off or were not done in time.
    pub tls_handshakes_failed: Counter,
    /// Bytes read from clients.
    pub received_bytes: Counter,
    /// Bytes written to clients.
    pub sent_bytes: Counter,
    /// Requests answered.
    pub requests: Counter,
    /// Metrics acknowledged: their lines are at the configured level.
    pub metrics_acknowledged: Counter,
    /// Requests refused because a client was over its limit (429).
    pub refused_rate_limited: Counter,
    /// Requests refused because the workers' queue was full (503).
    pub refused_queue_full: Counter,
    /// Requests refused because the log's queue was full (503).
    pub refused_log_full: Counter,
    /// Requests refused because the log could not store them (503).
    pub refused_log_failed: Counter,
    /// Panics of a turn on the reactor's thread, each a bug; those of workers are the thread pool's to count.
    pub reactor_panics: Counter,
    /// Request events dropped because a ring to the monitor was full.
    pub events_dropped: Counter,
    /// Messages about alerts that the webhook took.
    pub webhooks_sent: Counter,
    /// Messages about alerts that the webhook did not take.
    pub webhooks_failed: Counter,
    /// Messages about alerts that were not sent: too many waited, or the server stopped.
    pub webhooks_dropped: Counter,
}

impl Stats {
    /// Connections open now.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        // Read in this order, a connection that opens and closes in between makes the answer too small and
        // never negative without the saturation.
        let closed = self.connections_closed.get();
        self.connections_accepted.get().saturating_sub(closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_are_accepted_less_closed() {
        let stats = Stats::default();
        stats.connections_accepted.add(5);
        stats.connections_closed.add(2);
        assert_eq!(stats.connections_open(), 3);
    }
}
