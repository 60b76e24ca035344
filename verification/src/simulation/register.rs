//! The seeded bugs and the places to be reached, by name.
//!
//! Promises: the same sets as in the source of the server and in PROOFS.md; `verification/tests/proofs.rs`
//! holds the three together.

/// A bug that `seeded!` switches on.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// Its name in the source.
    pub name: &'static str,
    /// Executions, from seed 0 on, within which it is noticed.
    pub within: u64,
}

const fn bug(name: &'static str, within: u64) -> Bug {
    Bug { name, within }
}

/// All of them.
pub const BUGS: &[Bug] = &[
    bug("ACCEPT_NEVER_RESUMED", 200),
    bug("ACK_BEFORE_WRITE", 1_200),
    bug("ARMED_BEFORE_REST", 200),
    bug("BUDGET_LEAKED", 200),
    bug("CLOSE_NOT_SAID_AT_STOP", 300),
    bug("CUT_NOT_FLUSHED", 4_000),
    bug("DIRECTORY_NOT_SYNCED", 1_550),
    bug("DRAIN_NOT_FLUSHED", 2_000),
    bug("END_FORGOTTEN", 200),
    bug("EVENT_FORGOTTEN", 200),
    bug("FAILED_GROUP_NOT_CUT", 600),
    bug("LEASE_LEAKED", 200),
    bug("LEVEL_OF_LAST_REQUEST", 4_000),
    bug("LINES_KEPT_AFTER_PANIC", 750),
    bug("LINGER_SKIPPED", 250),
    bug("LOG_QUEUE_DROPPED_AT_STOP", 200),
    bug("LOG_TIMER_FOR_WAKE", 300),
    bug("NEW_SEGMENT_NOT_NAMED", 200),
    bug("PARTIAL_LOST", 200),
    bug("PARTIAL_NOT_ARMED", 200),
    bug("PAUSE_NOT_WOKEN", 4_000),
    bug("POOL_WAKE_ON_OLD_COUNT", 4_000),
    bug("QUEUE_BOUND_OFF_BY_ONE", 700),
    bug("RATE_LIMIT_OFF_BY_ONE", 200),
    bug("REPLIES_OUT_OF_ORDER", 200),
    bug("RULES_IN_PARTS", 2_500),
    bug("RULES_NOT_LOOKED_AT", 200),
    bug("SEALED_UNFLUSHED", 2_750),
    bug("SHORT_WRITE_REPEATED", 300),
    bug("STOP_CUTS_UNFINISHED", 3_100),
    bug("STOP_NOT_WOKEN", 200),
    bug("STOP_WITHOUT_WAIT", 200),
    bug("SYNCED_AS_WRITTEN", 250),
    bug("SYNC_FAILURE_FORGOTTEN", 4_000),
    bug("TOKENS_DROPPED_ON_FAILURE", 1_400),
    bug("TORN_LINE_KEPT", 200),
    bug("UNSENT_DROPPED", 200),
    bug("UNSENT_WAITS_FOR_READABLE", 200),
];

/// Places of the source that a suite has to reach: the rare ways on which the promises hang.
pub const PLACES: &[&str] = &[
    "ACCEPT_FAILED",
    "BACKLOG_RESET",
    "BUFFERS_FULL",
    "CLOSED_UNREAD",
    "CONNECTIONS_FULL",
    "CONNECTION_PAUSED",
    "CONNECTION_TIMED_OUT",
    "CONTINUE_SENT",
    "CUT_AT_DEADLINE",
    "CUT_FAILED",
    "DISK_INTERRUPTED",
    "DISK_WRITE_SHORT",
    "EVENT_KEPT",
    "EVENT_LATE",
    "FAILED_GROUP_CUT",
    "FLUSH_AWAITED",
    "FLUSH_BY_BYTES",
    "FLUSH_BY_TIMER",
    "FLUSH_TAKEN_BACK",
    "GROUP_OF_MANY",
    "LINGERS",
    "LINGER_TIMED_OUT",
    "LOG_CLOSED_REFUSES",
    "LOG_FULL_OF_BATCHES",
    "LOG_FULL_OF_BYTES",
    "LOG_RESTS",
    "PANIC_AFTER_APPENDING",
    "PANIC_AFTER_SENDING",
    "PANIC_BEFORE_SENDING",
    "PANIC_IN_TURN",
    "PANIC_WITH_LINES",
    "PARTIAL_KEPT",
    "PAUSE_ENDED_EARLY",
    "QUEUE_FULL",
    "RATE_LIMITED",
    "READ_BROKEN",
    "REFUSED_EARLY",
    "REPLY_LOST_TO_RESET",
    "REQUEST_TIMED_OUT",
    "ROTATION_FAILED",
    "RULES_RENEWED",
    "SEGMENT_SEALED",
    "SENDING_RESUMED",
    "SHED_ON_REACTOR",
    "STOP_WITH_WORK",
    "SYNC_FAILED",
    "TORN_LINE_CUT",
    "TURN_HANDED_ON",
    "TURN_ON_REACTOR",
    "WRITE_BLOCKED",
    "WRITE_BROKEN",
    "WRITE_SHORT",
];
