//! Every bound of the server with its reason, and the relations between them asserted at compile time.
//!
//! A constant ending in `_DEFAULT` is a setting's default (see `config`); the others are fixed by the
//! design. What is refused because of a bound names the bound, the value seen and the setting to change.

// ---- http

/// Longest request head (request line and header fields) in bytes. 16 KiB holds what browsers and proxies
/// send with room to spare; nginx's default is 32 KiB in four buffers, Apache's 8 KiB a line.
pub const HEAD_BYTES_MAX_DEFAULT: usize = 16 * 1024;

/// Most header fields in one request.
pub const HEADERS_MAX: usize = 100;

/// Longest request target in bytes. RFC 9112 section 3 recommends request lines of 8000 octets at least.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Most empty lines before a request line. RFC 9112 section 2.2 asks for one; old clients send one after a
/// body, a few more cost nothing, and without a bound a client could send them for ever.
pub const LEADING_EMPTY_LINES_MAX: usize = 4;

/// Longest request body in bytes after removal of any chunked framing.
pub const BODY_BYTES_MAX_DEFAULT: usize = 4 * 1024 * 1024;

/// Longest chunk-size line, extensions included, in bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Most bytes of chunk extensions in one body. They are skipped, so they only cost; RFC 9112 section 7.1.1
/// asks for a bound on their sum.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Longest trailer section of a chunked body, in bytes.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// Longest `X-Request-Id` that is taken over, in bytes; nginx's and Envoy's have 32 and 36.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

// ---- json and metrics

/// Deepest nesting of arrays and objects in a document.
pub const JSON_DEPTH_MAX: usize = 64;

/// Longest metric name in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// Most metrics in one request.
pub const BATCH_METRICS_MAX_DEFAULT: usize = 10_000;

/// Most tags on one metric.
pub const TAGS_MAX: usize = 32;

/// Longest tag key in bytes of UTF-8.
pub const TAG_KEY_BYTES_MAX: usize = 128;

/// Longest tag value in bytes of UTF-8.
pub const TAG_VALUE_BYTES_MAX: usize = 256;

/// Longest timestamp text in bytes: RFC 3339 with 44 digits of fraction.
pub const TIMESTAMP_BYTES_MAX: usize = 64;

// ---- admission

/// Length of the rate limiter's window. The limit is "so many in any one second".
pub const RATE_WINDOW: std::time::Duration = std::time::Duration::from_secs(1);

/// Requests a client may make in any one second.
pub const CLIENT_REQUESTS_PER_SECOND_MAX_DEFAULT: u32 = 10_000;

/// Clients tracked at once. One that made no request for a window is forgotten.
pub const CLIENTS_MAX_DEFAULT: usize = 100_000;

/// Stripes of the client table: prime, see `sync::mutex_pool`.
pub const CLIENT_STRIPES: usize = 61;

/// Longest credential (the value of `Authorization` without its scheme) in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 1024;

/// Tokens in the token table. Each takes some 150 bytes; a larger fleet wants a proxy that knows it.
pub const TOKENS_MAX: usize = 65_536;

/// Longest name in the token table in bytes: it stands in statistics and logs.
pub const TOKEN_NAME_BYTES_MAX: usize = 64;

/// Addresses and networks in one list.
pub const ADDRESSES_MAX: usize = 256;

/// Clients named in one answer about the busiest ones.
pub const TOP_CLIENTS_MAX: usize = 100;

// ---- log

/// Bytes that may wait for the log writer.
pub const LOG_QUEUE_BYTES_MAX_DEFAULT: usize = 32 * 1024 * 1024;

/// Batches that may wait for the log writer.
pub const LOG_QUEUE_BATCHES_MAX_DEFAULT: usize = 65_536;

/// Capacity that an emptied buffer of the log keeps, in bytes. One rush must not hold memory for ever, and
/// steady traffic must not allocate.
pub const LOG_BUFFER_KEEP_BYTES: usize = 1024 * 1024;

/// Bytes read at once when the end of a log is looked for.
pub const LOG_RECOVERY_BLOCK_BYTES: usize = 64 * 1024;

/// Longest segment in bytes before it is sealed. Large enough that sealing costs nothing, small enough that
/// retention, compression and a copy work in steps of seconds.
pub const SEGMENT_BYTES_MAX_DEFAULT: u64 = 256 * 1024 * 1024;

/// The largest number of bytes that a setting of segments or retention may name: a pebibyte.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 50;

/// The smallest bound of a segment, in bytes: below it the log would be all names.
pub const SEGMENT_BYTES_MIN: u64 = 1024;

/// The longest age that a setting of segments or retention may name, in milliseconds: a hundred years.
pub const AGE_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// Time until a rotation that failed is tried again.
pub const LOG_ROTATION_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Time until the keeper of sealed segments tries again what failed. A compression that fails reads a whole
/// segment first.
pub const LOG_KEEPER_RETRY: std::time::Duration = std::time::Duration::from_secs(30);

/// Bytes of a segment that are compressed at once, and compared at once.
pub const LOG_COMPRESSION_BLOCK_BYTES: usize = 128 * 1024;

/// Level of compression: zstd's own default.
pub const LOG_COMPRESSION_LEVEL: i32 = 3;

/// Groups that fail in a row before the log refuses for a while.
pub const BREAKER_FAILURES_MAX_DEFAULT: u32 = 5;

/// Time for which it then refuses, in milliseconds.
pub const BREAKER_RETRY_MS_DEFAULT: u64 = 1_000;

/// Bytes read at once when a log is read back.
pub const LOG_READ_BLOCK_BYTES: usize = 256 * 1024;

/// Longest line that the tools of the log take for one, in bytes; a request of the default size makes none
/// that is longer.
pub const LOG_LINE_BYTES_MAX_DEFAULT: usize = 8 * 1024 * 1024;

/// Largest window of a compressed segment, as a power of two in bytes: what every decoder must take at least
/// (RFC 8878 section 3.1.1.1.2).
pub const LOG_ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Stretches of damage that a report of the log's tools lists; the others are counted.
pub const LOG_DAMAGE_LISTED_MAX: usize = 1000;

/// Time between two looks at a log that is followed.
pub const LOG_FOLLOW_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Time between flushes of written data to the disk, in milliseconds.
pub const FLUSH_INTERVAL_MS_DEFAULT: u64 = 1_000;

// ---- server

/// Connections open at once.
pub const CONNECTIONS_MAX_DEFAULT: usize = 16_384;

/// Readable connections that may wait for a worker.
pub const QUEUE_JOBS_MAX_DEFAULT: usize = 4_096;

/// Bytes of partly received requests that the server holds, over all connections.
pub const REQUEST_BUFFER_BYTES_MAX_DEFAULT: usize = 256 * 1024 * 1024;

/// Threads that serve requests. Workers never wait for a client or the disk, so one a core is enough;
/// this bound keeps a typing error from starting a million.
pub const WORKERS_MAX: usize = 1024;

/// A connection without a request is closed after this, in milliseconds.
pub const IDLE_TIMEOUT_MS_DEFAULT: u64 = 75_000;

/// A request must be whole this long after its first byte, in milliseconds; then 408.
pub const REQUEST_TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// A reply must make progress within this, in milliseconds; then the connection is closed.
pub const WRITE_TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// A graceful stop lets what is in flight finish for at most this, in milliseconds.
pub const STOP_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Longest time any setting may name, in milliseconds: one day.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// Time a connection that is being closed after a refusal goes on being read, so that the reply is not lost
/// to a reset (RFC 9112 section 9.6).
pub const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

/// Bytes written and not flushed for which a timed flush begins before its time. Sealing a segment waits for
/// about as much to be flushed, so less is a shorter wait and more flushes. Few in the simulation, whose logs
/// are short.
pub const LOG_FLUSH_BYTES: u64 = if cfg!(metricstream_shuttle) {
    400
} else {
    2 * 1024 * 1024
};

/// Time between two looks at the connections' deadlines; deadlines are kept this exactly.
pub const SWEEP_INTERVAL: std::time::Duration = std::time::Duration::from_millis(250);

/// Bytes a thread reads at once, and the buffer it keeps for that. Few in the simulation, whose requests are
/// short, so that a read often leaves something.
pub const READ_BYTES: usize = if cfg!(metricstream_shuttle) {
    512
} else {
    64 * 1024
};

/// Largest buffer of the start of a request that is kept for the next such request, in bytes: with it a body
/// of a thousand usual metrics is read without allocating.
pub const SPARE_BUFFER_BYTES_MAX: usize = 4 * READ_BYTES;

/// Most such buffers that are kept, 8 MiB at most: for so many requests at a time that are partly here. More
/// of them allocate.
pub const SPARE_BUFFERS_MAX: usize = 32;

/// Most lists of what a turn of pipelined requests decided that are kept for the next such turn.
pub const SPARE_TURNS_MAX: usize = 32;

/// A worker goes on to the next connection once a turn has made lines of this many bytes.
pub const TURN_LINE_BYTES: usize = 256 * 1024;

/// A worker goes on to the next connection once the replies of a turn that wait to be sent are this many
/// bytes: with the last reply, what a client that does not read can make the server hold.
pub const TURN_REPLY_BYTES: usize = 256 * 1024;

/// A worker goes on to the next connection once a turn has answered this many requests.
pub const TURN_REQUESTS_MAX: usize = 256;

/// Turns that the reactor takes itself of those that one wait brings, while no job waits for a worker: waking
/// a worker costs more than a short turn. More than so many go to the workers, the first of them first.
pub const REACTOR_TURNS_MAX: usize = 8;

/// Connections accepted in one go before the sockets that are ready get their turn.
pub const ACCEPTS_MAX: usize = 64;

/// Time until a full server tries to accept again.
pub const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What `Retry-After` says when the server is overloaded or draining, in seconds.
pub const OVERLOAD_RETRY_AFTER_S: u64 = 1;

/// Longest `Retry-After` of a request that was refused because the workers' queue was full, in seconds.
pub const OVERLOAD_RETRY_AFTER_S_MAX: u64 = 10;

/// Those refused because the workers' queue was full come back one for each so many connections that a worker
/// took: refusing and coming back cost the server this share of its work at most.
pub const OVERLOAD_TAKEN_A_RETURN: u32 = 8;

/// And no slower than so many a second.
pub const OVERLOAD_RETURNS_PER_S_MIN: u64 = 16;

/// So many a second as long as it is not known what the workers can do.
pub const OVERLOAD_RETURNS_PER_S_DEFAULT: u64 = 256;

/// Time between two collections of the request events.
pub const COLLECT_INTERVAL: std::time::Duration = std::time::Duration::from_millis(25);

/// Request events that may wait for the monitor, for each worker. A power of two.
pub const EVENT_RING_CAPACITY: usize = 8_192;

/// What "recent" is: rates and latencies are over this window, besides since the start.
pub const RECENT_WINDOW: std::time::Duration = std::time::Duration::from_secs(10);

/// The recent window moves on in steps of this.
pub const RECENT_SLOT: std::time::Duration = std::time::Duration::from_secs(1);

/// Steps of the recent window.
pub const RECENT_SLOTS: usize = 10;

/// Clients whose requests are counted for the statistics, each; the table may hold twice as many for a while.
pub const CLIENT_FIGURES_MAX: usize = 1_024;

/// Clients that the statistics show.
pub const CLIENTS_SHOWN_MAX: usize = 20;

/// Rules of alerts in a settings file.
pub const ALERTS_MAX: usize = 256;

/// Longest name of an alert in bytes.
pub const ALERT_NAME_BYTES_MAX: usize = 64;

/// An alert that was resolved is shown as such for this long.
pub const RESOLVED_SHOWN: std::time::Duration = std::time::Duration::from_secs(300);

/// Messages that may wait to be sent to the webhook; alerts change a few times a minute at most.
pub const WEBHOOK_QUEUE_MAX: usize = 64;

/// One attempt to send a message must be done within this.
pub const WEBHOOK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Attempts to send a message.
pub const WEBHOOK_ATTEMPTS_MAX: u32 = 6;

/// Time until the second attempt; until each further one, twice the time before: 1, 2, 4, 8, 16 s.
pub const WEBHOOK_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Longest reply of a webhook that is read, in bytes.
pub const WEBHOOK_REPLY_BYTES_MAX: usize = 64 * 1024;

/// A message about what goes on happening is repeated after this, with a count.
pub const REPEAT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Time between two lines of summary in the log, in milliseconds; 0 writes none.
pub const SUMMARY_INTERVAL_MS_DEFAULT: u64 = 60_000;

// ---- tls

/// Encrypted bytes of one connection that may wait for its socket; the rest of a reply waits unencrypted.
pub const TLS_UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Longest file with certificates or a key in bytes: a chain of a hundred certificates.
pub const TLS_FILE_BYTES_MAX: u64 = 1 << 20;

// ---- settings

/// Longest file of settings in bytes: a hundred times what all of them take with a comment each.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

const _: () = {
    assert!(EVENT_RING_CAPACITY.is_power_of_two());
    assert!(RECENT_WINDOW.as_secs() == RECENT_SLOTS as u64 * RECENT_SLOT.as_secs());
    assert!(CLIENTS_SHOWN_MAX <= CLIENT_FIGURES_MAX);
    assert!(TRAILER_BYTES_MAX < BODY_BYTES_MAX_DEFAULT);
    // A body of the largest size becomes lines that are at most a few times as long; the queue takes one.
    assert!(LOG_QUEUE_BYTES_MAX_DEFAULT >= 4 * BODY_BYTES_MAX_DEFAULT);
    assert!(LOG_LINE_BYTES_MAX_DEFAULT > BODY_BYTES_MAX_DEFAULT);
    assert!(CREDENTIAL_BYTES_MAX < HEAD_BYTES_MAX_DEFAULT);
};
