//! JSON text (RFC 8259), read in one pass over bytes that stay where they are.
//!
//! Promises:
//! - exactly the grammar of RFC 8259: no byte-order mark, no comment, no trailing comma, no leading zero, no
//!   `NaN`, no control character inside a string, nothing but white space after the value;
//! - the whole document is UTF-8 (section 8.1), also where it is skipped;
//! - time linear in the document, no recursion, no allocation, no panic, whatever the bytes;
//! - nesting deeper than [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX) is refused (section 9 allows it);
//! - a number's value is the nearest f64 (ties to even), as IEEE 754 and `str::parse` have it; one that would
//!   be infinite is refused (section 6 allows it), one too small becomes zero;
//! - each refusal carries its reason and the offset of the byte that was wrong.
//!
//! Leaves to the caller: what the values mean. The caller pulls the values it wants and skips the others, so
//! that nothing is built that nobody reads. A skipped value is held to the grammar, not to meaning: there a
//! number may be out of range and a surrogate may stand alone, as section 6 and 8.2 let them.
//!
//! # The state machine
//!
//! The parser's state is the offset it has reached, the number of open containers, and the point of the
//! diagram at which the caller stands; each arrow is one call of [`Parser`].
//!
//! ```text
//!              new                       end
//!   (bytes) ---------> VALUE .. AFTER ---------> accepted          only white space may be left
//!
//!   VALUE --string / number / word / skip--> AFTER
//!   VALUE --object_begin--> FIRST_MEMBER      VALUE --array_begin--> FIRST_ELEMENT
//!
//!   FIRST_MEMBER --first_member: '}'--> AFTER     FIRST_ELEMENT --first_element: ']'--> AFTER
//!   FIRST_MEMBER --first_member: '"'--> KEY       FIRST_ELEMENT --first_element: other-> VALUE
//!   KEY --key: string ':'--> VALUE
//!
//!   AFTER (in an object) --next_member: ',' '"'--> KEY     AFTER (in an array) --next_element: ','--> VALUE
//!   AFTER (in an object) --next_member: '}'--> AFTER       AFTER (in an array) --next_element: ']'--> AFTER
//! ```
//!
//! Within a string, [`string`]:
//!
//! ```text
//!   TEXT --any byte but '"' '\' 00..1F--> TEXT     TEXT --'"'--> done     TEXT --00..1F--> refused
//!   TEXT --'\'--> ESCAPE --one of "\/bfnrt--> TEXT
//!                 ESCAPE --'u' 4 hex, no surrogate--> TEXT
//!                 ESCAPE --'u' 4 hex, D800..DBFF--> LOW --'\u' 4 hex, DC00..DFFF--> TEXT    all else refused
//! ```
//!
//! Within a number, [`number`]:
//!
//! ```text
//!   START --'-'--> INT     START, INT --'0'--> POINT     START, INT --1..9--> DIGITS --0..9--> DIGITS
//!   POINT, DIGITS --'.'--> FRACTION --0..9--> MORE --0..9--> MORE
//!   POINT, DIGITS, MORE --e E--> SIGN --[+ -] 0..9--> EXPONENT --0..9--> EXPONENT
//!   POINT, DIGITS, MORE and EXPONENT --any other byte--> done; the others refuse it
//! ```

pub mod parser;

pub mod number;
pub mod string;

pub(crate) mod scan;
pub(crate) mod stops;

pub use number::Number;
pub use parser::{Kind, Parser};
pub use string::Text;

/// Where something stands in the document: byte offsets, the end exclusive.
///
/// 32 bits an offset keep what is decoded small; [`Parser::new`] refuses a document they cannot span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`. Both were reached by a parser, so both are below 2^32.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "Parser::new refuses a document longer than u32::MAX"
    )]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes of `document` it covers. Panics when `document` is not the one it came from and is shorter.
    #[inline]
    #[must_use]
    pub fn of(self, document: &[u8]) -> &[u8] {
        &document[self.start as usize..self.end as usize]
    }
}

/// Why a document was refused, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct Error {
    /// The reason.
    pub kind: ErrorKind,
    /// Offset of the byte that was wrong; the document's length when it ended too early.
    pub at: u32,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The document ends inside a value.
    #[error("the document ends too early")]
    UnexpectedEnd,
    /// A byte that cannot stand here, where a value was expected.
    #[error("expected a value")]
    ExpectedValue,
    /// A value of another type than the caller asked for.
    #[error("expected an object")]
    ExpectedObject,
    /// A value of another type than the caller asked for.
    #[error("expected an array")]
    ExpectedArray,
    /// A value of another type than the caller asked for.
    #[error("expected a string")]
    ExpectedString,
    /// A value of another type than the caller asked for.
    #[error("expected a number")]
    ExpectedNumber,
    /// A member's name must be a string (RFC 8259 section 4).
    #[error("expected a quoted key")]
    ExpectedKey,
    /// No colon after a key.
    #[error("expected ':'")]
    ExpectedColon,
    /// Neither a comma nor the object's end after a member.
    #[error("expected ',' or '}}'")]
    ExpectedCommaOrBrace,
    /// Neither a comma nor the array's end after an element.
    #[error("expected ',' or ']'")]
    ExpectedCommaOrBracket,
    /// Something other than white space after the value (section 2: JSON-text = ws value ws).
    #[error("unexpected bytes after the document")]
    TrailingBytes,
    /// A control character inside a string must be escaped (section 7).
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A backslash followed by something section 7 does not list.
    #[error("unknown escape sequence in a string")]
    Escape,
    /// Half a surrogate pair, which stands for no character (sections 7 and 8.2).
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    /// Not UTF-8 (section 8.1).
    #[error("invalid UTF-8")]
    Utf8,
    /// Not a number by the grammar of section 6.
    #[error("malformed number")]
    NumberSyntax,
    /// Its nearest f64 is infinite.
    #[error("number out of the range of a 64-bit float")]
    NumberRange,
    /// More containers open than [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX).
    #[error("nesting deeper than {} (fixed)", crate::limits::JSON_DEPTH_MAX)]
    TooDeep,
    /// Longer than 4 GiB.
    #[error("document longer than 4 GiB (fixed)")]
    TooLong,
}

impl ErrorKind {
    /// This reason at byte `at`; at the document's end it becomes [`ErrorKind::UnexpectedEnd`].
    #[cold]
    #[inline(never)]
    pub(crate) fn at(self, document: &[u8], at: usize) -> Error {
        let kind = if at >= document.len() {
            Self::UnexpectedEnd
        } else {
            self
        };
        Error {
            kind,
            at: u32::try_from(at.min(document.len())).unwrap_or(u32::MAX),
        }
    }
}
