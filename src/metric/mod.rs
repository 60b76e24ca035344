//! What a metric is: a batch of them comes as JSON, is checked, and leaves as lines for the log.
//!
//! ```text
//!   body --decode--> Draft --validate--> Batch --encode--> lines
//!        schema              bounds              only a Batch has this method
//! ```
//!
//! The schema, in the body of one request:
//!
//! ```text
//!   {"metrics": [ {"name": TEXT, "value": NUMBER, "type": TYPE?, "tags": {TEXT: TEXT, ..}?, "timestamp": TIME?} , .. ]}
//!   TYPE: "gauge" (the default), "counter", "histogram", "summary"
//!   TIME: an integer of milliseconds since 1970, or an RFC 3339 date and time; by default the time of arrival
//! ```
//!
//! Promises:
//! - what is accepted is what serde_json accepts for this schema, with these decisions written down: the
//!   order of members is free; unknown members are skipped but must be JSON; a known member, or a tag's key,
//!   given twice is refused, however it is spelt; `null` stands for an absent `type`, `tags` or `timestamp`,
//!   and for nothing else; a value out of the range of an f64 is refused; `-0` is not an integer of
//!   milliseconds; objects are not written as arrays;
//! - names, tag keys and tag values may hold any character: control characters come escaped and are stored
//!   escaped, so that a stored line has no line break but its last byte;
//! - a stored line is valid JSON and its values are bit for bit those decoded: numbers, names and tags are
//!   copied as the checked text they arrived in;
//! - memory: less than 20 KiB and 88 bytes a metric in [`Scratch`], which is reused; nothing is allocated
//!   once it has grown;
//! - a refusal names the metric, the member, the byte, the bound, the value seen and the setting.
//!
//! A metric is read in one of three ways, each of which reads what the next would, and leaves it what it
//! does not know: one that looks like one of the last few before it (`alike`), one of the usual form
//! (`usual`), any (`decode`).
//!
//! Leaves to the caller: the time of arrival, and where the lines go.

mod alike;
mod decode;
mod encode;
pub mod stored;
pub mod time;
mod usual;
mod validate;

pub use decode::{Draft, Scratch, decode};
pub use validate::{Batch, Metric, Tags};

use crate::json;
use crate::limits::{
    BATCH_METRICS_MAX_DEFAULT, NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX,
    TIMESTAMP_BYTES_MAX,
};

/// The bounds that are settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most metrics in one batch; at least 1.
    pub batch_metrics_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_metrics_max: BATCH_METRICS_MAX_DEFAULT,
        }
    }
}

/// How a metric's values relate to each other; MetricStream stores it and does not act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// A value that goes up and down.
    #[default]
    Gauge,
    /// A value that only rises.
    Counter,
    /// An observation for a distribution by buckets.
    Histogram,
    /// An observation for a distribution by quantiles.
    Summary,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gauge, Self::Counter, Self::Histogram, Self::Summary];

    /// Its name on the wire and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// The members of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// `name`
    Name,
    /// `value`
    Value,
    /// `type`
    Type,
    /// `tags`
    Tags,
    /// `timestamp`
    Timestamp,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Name, Self::Value, Self::Type, Self::Tags, Self::Timestamp];

    /// Its key on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Value => "value",
            Self::Type => "type",
            Self::Tags => "tags",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Why a batch was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The reason.
    pub kind: ErrorKind,
    /// Offset in the body of the byte that was wrong; the body's length when it ended too early.
    pub at: u32,
    /// The metric it is about, counted from 0; none when it is about the batch.
    pub metric: Option<u32>,
    /// The member it is about; none when it is about the whole metric or an unknown member.
    pub field: Option<Field>,
}

impl std::error::Error for Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(metric) = self.metric {
            write!(f, "metrics[{metric}]")?;
            if let Some(field) = self.field {
                write!(f, ".{}", field.name())?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{} at byte {}", self.kind, self.at)
    }
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        Self {
            kind: ErrorKind::Json(error.kind),
            at: error.at,
            metric: None,
            field: None,
        }
    }
}

impl Error {
    #[cold]
    fn new(kind: ErrorKind, at: u32) -> Self {
        Self {
            kind,
            at,
            metric: None,
            field: None,
        }
    }

    #[cold]
    fn of_metric(mut self, index: usize) -> Self {
        self.metric = u32::try_from(index).ok();
        self
    }

    #[cold]
    fn of_field(mut self, field: Field) -> Self {
        self.field = Some(field);
        self
    }
}

/// Why a batch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Not JSON, or a value of another type than the schema has there.
    #[error("{0}")]
    Json(json::ErrorKind),
    /// The body has no member `metrics`.
    #[error("the member \"metrics\" is missing")]
    MetricsMissing,
    /// A member that has no default is not there.
    #[error("the member is missing")]
    Missing,
    /// A known member is there twice.
    #[error("the member is given twice")]
    Duplicate,
    /// A tag's key is there twice.
    #[error("a tag is given twice")]
    TagDuplicate,
    /// No such type.
    #[error("unknown type, expected gauge, counter, histogram or summary")]
    UnknownType,
    /// Neither an integer nor RFC 3339.
    #[error(
        "expected an integer of epoch milliseconds or an RFC 3339 date and time of at most {} bytes (fixed)",
        TIMESTAMP_BYTES_MAX
    )]
    Timestamp,
    /// Before the year 0000 or after 9999.
    #[error("{seen} ms since 1970 is not in the years 0000 to 9999 (fixed)")]
    TimestampRange {
        /// Milliseconds since 1970, saturated.
        seen: i64,
    },
    /// Nothing in the batch.
    #[error("0 metrics, a batch has at least 1 (fixed)")]
    BatchEmpty,
    /// More metrics than the setting allows.
    #[error("more than {limit} metrics (setting batch_metrics_max)")]
    BatchTooLarge {
        /// The setting.
        limit: usize,
    },
    /// A name that is empty or too long.
    #[error("{seen} bytes, a name has 1 to {} (fixed)", NAME_BYTES_MAX)]
    NameLength {
        /// Its length in bytes of UTF-8.
        seen: u32,
    },
    /// Too many tags.
    #[error("more than {} tags (fixed)", TAGS_MAX)]
    TooManyTags,
    /// A tag's key that is empty or too long.
    #[error("a key of {seen} bytes, a tag's key has 1 to {} (fixed)", TAG_KEY_BYTES_MAX)]
    TagKeyLength {
        /// Its length in bytes of UTF-8.
        seen: u32,
    },
    /// A tag's value that is too long.
    #[error(
        "a value of {seen} bytes, a tag's value has at most {} (fixed)",
        TAG_VALUE_BYTES_MAX
    )]
    TagValueLength {
        /// Its length in bytes of UTF-8.
        seen: u32,
    },
}
