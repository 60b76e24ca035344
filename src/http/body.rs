//! The chunked transfer coding (RFC 9112 section 7.1), decoded in place.
//!
//! ```text
//! chunk-size [ext] CRLF data CRLF ... 0 [ext] CRLF [trailer lines] CRLF
//!
//! Size -> Extension -> SizeEnd -> Data -> DataCr -> DataLf -> Size
//!                         \ (size 0)
//!                          TrailerStart -> TrailerName -> TrailerValue -> TrailerEnd -> TrailerStart
//!                              \ CR -> End -> Done
//! ```
//!
//! Promises: the data end up in one piece at the start of the caller's bytes; each byte is looked at once
//! and moved at most once, whatever the splits; nothing is allocated; a body longer than the limit is
//! refused at the digit of the chunk size that says so. Extensions and trailers are checked, counted
//! against their bounds and dropped.
//!
//! Leaves to the caller: giving the bytes again with more after them, as [`Progress`] says.

use super::scan;
use super::{Bound, Error, Exceeded, Fault, Limits};

/// A chunked body being decoded.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Bytes of data decoded; they lie at the start of the caller's bytes.
    body_bytes: usize,
    /// Offset in the request, as sent, of the next byte.
    at: usize,
    line_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// Where a body stands after a call of [`Decoder::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes given were used. The first `body_bytes` are decoded data: keep those alone and put what
    /// arrives after them.
    More {
        /// Length of the decoded data so far, in bytes.
        body_bytes: usize,
        /// Least number of bytes that must still arrive. At least 1.
        missing: usize,
    },
    /// The body is whole.
    Done {
        /// Length of the body; it lies at the start of the bytes given.
        body_bytes: usize,
        /// Length of what was used of the bytes given; what follows is the next request.
        consumed: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the chunk size; `digits` tells whether there was one.
    Size {
        size: usize,
        digits: bool,
    },
    /// After the chunk size; `named` tells whether the first semicolon was seen.
    Extension {
        size: usize,
        named: bool,
    },
    SizeEnd {
        size: usize,
    },
    Data {
        left: usize,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    End,
    Done,
}

impl Decoder {
    /// A decoder for a body that starts `at` bytes into its request.
    pub fn new(at: usize) -> Self {
        Self {
            state: State::Size {
                size: 0,
                digits: false,
            },
            body_bytes: 0,
            at,
            line_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Decodes on. `bytes` holds the data decoded before, as [`Progress::More`] left them, then what has
    /// arrived since.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`], [`Error::BodyTooLarge`], [`Error::HeadTooLarge`] (the trailer section). The
    /// decoder must not be used after an error.
    pub fn advance(&mut self, limits: &Limits, bytes: &mut [u8]) -> Result<Progress, Error> {
        let mut read = self.body_bytes;
        while self.state != State::Done {
            let Some(&byte) = bytes.get(read) else {
                return Ok(Progress::More {
                    body_bytes: self.body_bytes,
                    missing: self.missing(),
                });
            };
            let used = match self.state {
                State::Data { left } => self.data(left, bytes, read),
                _ => self.line_byte(limits, byte).map(|()| 1)?,
            };
            read += used;
            self.at += used;
        }
        Ok(Progress::Done {
            body_bytes: self.body_bytes,
            consumed: read,
        })
    }

    /// Moves the data at `read` to the data before it; the number of bytes taken.
    fn data(&mut self, left: usize, bytes: &mut [u8], read: usize) -> usize {
        let used = left.min(bytes.len() - read);
        if read != self.body_bytes {
            bytes.copy_within(read..read + used, self.body_bytes);
        }
        self.body_bytes += used;
        self.state = if used == left {
            State::DataCr
        } else {
            State::Data { left: left - used }
        };
        used
    }

    fn line_byte(&mut self, limits: &Limits, byte: u8) -> Result<(), Error> {
        self.state = match self.state {
            State::Size { size, digits } => self.size_byte(limits, size, digits, byte)?,
            State::Extension { size, named } => self.extension_byte(limits, size, named, byte)?,
            State::SizeEnd { size } => match (byte, size) {
                (b'\n', 0) => State::TrailerStart,
                (b'\n', left) => State::Data { left },
                _ => return Err(Error::syntax(Fault::BareCr, self.at - 1)),
            },
            // The data end where the size said, or two recipients will disagree about where.
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => {
                self.line_bytes = 0;
                State::Size {
                    size: 0,
                    digits: false,
                }
            }
            State::DataCr | State::DataLf => return Err(Error::syntax(Fault::ChunkEnd, self.at)),
            State::TrailerStart if byte == b'\r' => State::End,
            State::End if byte == b'\n' => State::Done,
            State::End => return Err(Error::syntax(Fault::BareCr, self.at - 1)),
            state => self.trailer_byte(limits, state, byte)?,
        };
        Ok(())
    }

    /// RFC 9112 section 7.1: "chunk-size = 1*HEXDIG"; "recipients MUST anticipate potentially large
    /// hexadecimal numerals and prevent parsing errors due to integer conversion overflows".
    fn size_byte(&mut self, limits: &Limits, size: usize, digits: bool, byte: u8) -> Result<State, Error> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.count_line(limits)?;
            let size = size.saturating_mul(16).saturating_add(digit as usize);
            let seen = self.body_bytes.saturating_add(size);
            // No slice is longer than isize::MAX, whatever the limit.
            if seen > limits.body_bytes_max || seen > isize::MAX.cast_unsigned() {
                return Err(Error::BodyTooLarge(Exceeded {
                    bound: Bound::BodyBytes,
                    limit: limits.body_bytes_max,
                    seen: seen as u64,
                }));
            }
            return Ok(State::Size { size, digits: true });
        }
        match byte {
            b'\r' if digits => Ok(State::SizeEnd { size }),
            b';' | b' ' | b'\t' if digits => self.extension_byte(limits, size, false, byte),
            b'\n' if digits => Err(Error::syntax(Fault::BareLf, self.at)),
            _ => Err(Error::syntax(Fault::ChunkSize, self.at)),
        }
    }

    /// RFC 9112 section 7.1.1: "chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )",
    /// and "A recipient MUST ignore unrecognized chunk extensions. A server ought to limit the total length
    /// of chunk extensions received in a request". White space with no extension after it is refused.
    fn extension_byte(
        &mut self,
        limits: &Limits,
        size: usize,
        named: bool,
        byte: u8,
    ) -> Result<State, Error> {
        if byte == b'\r' && named {
            return Ok(State::SizeEnd { size });
        }
        let allowed = if named {
            scan::is_value(byte)
        } else {
            matches!(byte, b';' | b' ' | b'\t')
        };
        if !allowed {
            let fault = match (byte, named) {
                (b'\n', _) => Fault::BareLf,
                (_, true) => Fault::ChunkExtension,
                (_, false) => Fault::ChunkSize,
            };
            return Err(Error::syntax(fault, self.at));
        }
        self.count_line(limits)?;
        count(
            &mut self.extension_bytes,
            limits.chunk_extension_bytes_max,
            Bound::ChunkExtensionBytes,
        )
        .map_err(Error::BodyTooLarge)?;
        Ok(State::Extension {
            size,
            named: named || byte == b';',
        })
    }

    fn count_line(&mut self, limits: &Limits) -> Result<(), Error> {
        count(
            &mut self.line_bytes,
            limits.chunk_line_bytes_max,
            Bound::ChunkLineBytes,
        )
        .map_err(Error::BodyTooLarge)
    }

    /// RFC 9112 section 7.1.2: a recipient "MAY ... discard" trailer fields, and section 6.5.1 of RFC 9110
    /// forbids to merge those that frame, route or authenticate. All are dropped, none is acted on.
    fn trailer_byte(&mut self, limits: &Limits, state: State, byte: u8) -> Result<State, Error> {
        let next = match (state, byte) {
            (State::TrailerStart, b' ' | b'\t') => return Err(Error::syntax(Fault::Fold, self.at)),
            (State::TrailerStart | State::TrailerName, _) if scan::is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerName, b' ' | b'\t') => {
                return Err(Error::syntax(Fault::SpaceBeforeColon, self.at));
            }
            (State::TrailerValue, b'\r') => State::TrailerEnd,
            (State::TrailerValue, _) if scan::is_value(byte) => State::TrailerValue,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::TrailerEnd, _) => return Err(Error::syntax(Fault::BareCr, self.at - 1)),
            (_, b'\n') => return Err(Error::syntax(Fault::BareLf, self.at)),
            (State::TrailerValue, _) => return Err(Error::syntax(Fault::ControlByte, self.at)),
            _ => return Err(Error::syntax(Fault::FieldName, self.at)),
        };
        count(
            &mut self.trailer_bytes,
            limits.trailer_bytes_max,
            Bound::TrailerBytes,
        )
        .map_err(Error::HeadTooLarge)?;
        Ok(next)
    }

    /// The shortest ending from here: the rest of what is begun, then `0 CR LF CR LF` if it is not begun.
    fn missing(&self) -> usize {
        const LAST_CHUNK: usize = 5;
        match self.state {
            State::Size { digits: false, .. } => LAST_CHUNK,
            State::Size { size: 0, .. } | State::Extension { size: 0, named: true } => 4,
            State::Extension {
                size: 0,
                named: false,
            } => 5,
            State::SizeEnd { size: 0 } => 3,
            State::Size { size, .. } | State::Extension { size, named: true } => size + 4 + LAST_CHUNK,
            State::Extension { size, named: false } => size + 5 + LAST_CHUNK,
            State::SizeEnd { size } => size + 3 + LAST_CHUNK,
            State::Data { left } => left + 2 + LAST_CHUNK,
            State::DataCr => 2 + LAST_CHUNK,
            State::DataLf => 1 + LAST_CHUNK,
            State::TrailerName => 5,
            State::TrailerValue => 4,
            State::TrailerEnd => 3,
            State::TrailerStart => 2,
            State::End => 1,
            State::Done => 0,
        }
    }
}

fn count(counter: &mut usize, limit: usize, bound: Bound) -> Result<(), Exceeded> {
    *counter += 1;
    if *counter > limit {
        return Err(Exceeded {
            bound,
            limit,
            seen: *counter as u64,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the body begins in its request.
    const AT: usize = 100;

    fn progress(limits: &Limits, body: &str) -> Result<Progress, Error> {
        Decoder::new(AT).advance(limits, &mut body.as_bytes().to_vec())
    }

    #[test]
    fn what_is_wrong_is_found_at_its_byte() {
        for (body, fault, at) in [
            ("\n", Fault::ChunkSize, 0),
            ("x", Fault::ChunkSize, 0),
            ("5\n", Fault::BareLf, 1),
            ("5\rx", Fault::BareCr, 1),
            ("1\r\nab", Fault::ChunkEnd, 4),
            ("1\r\na\rb", Fault::ChunkEnd, 5),
            ("0\r\n\rx", Fault::BareCr, 3),
            ("0\r\n a", Fault::Fold, 3),
            ("0\r\na b", Fault::SpaceBeforeColon, 4),
            ("0\r\na:b\n", Fault::BareLf, 6),
            ("0\r\na:b\rx", Fault::BareCr, 6),
            ("0\r\na:\u{1}", Fault::ControlByte, 5),
            ("0\r\n:", Fault::FieldName, 3),
        ] {
            let error = progress(&Limits::default(), body).unwrap_err();
            assert_eq!(error, Error::syntax(fault, AT + at), "{}", body.escape_debug());
        }
    }

    #[test]
    fn what_is_missing_is_the_shortest_ending() {
        for (body, ending) in [
            ("", "0\r\n\r\n"),
            ("0", "\r\n\r\n"),
            ("00", "\r\n\r\n"),
            ("0 ", ";\r\n\r\n"),
            ("0;a", "\r\n\r\n"),
            ("0\r", "\n\r\n"),
            ("3", "\r\nabc\r\n0\r\n\r\n"),
            ("3 ", ";\r\nabc\r\n0\r\n\r\n"),
            ("3;a", "\r\nabc\r\n0\r\n\r\n"),
            ("3\r", "\nabc\r\n0\r\n\r\n"),
            ("3\r\n", "abc\r\n0\r\n\r\n"),
            ("3\r\na", "bc\r\n0\r\n\r\n"),
            ("3\r\nabc", "\r\n0\r\n\r\n"),
            ("3\r\nabc\r", "\n0\r\n\r\n"),
            ("3\r\nabc\r\n", "0\r\n\r\n"),
            ("0\r\n", "\r\n"),
            ("0\r\n\r", "\n"),
            ("0\r\na", ":\r\n\r\n"),
            ("0\r\na:", "\r\n\r\n"),
            ("0\r\na:\r", "\n\r\n"),
        ] {
            match progress(&Limits::default(), body).unwrap() {
                Progress::More { missing, .. } => {
                    assert_eq!(missing, ending.len(), "{}", body.escape_debug())
                }
                done @ Progress::Done { .. } => panic!("{done:?}"),
            }
            let whole = format!("{body}{ending}");
            let consumed = match progress(&Limits::default(), &whole).unwrap() {
                Progress::Done { consumed, .. } => consumed,
                more @ Progress::More { .. } => panic!("{more:?}"),
            };
            assert_eq!(consumed, whole.len());
        }
    }

    #[test]
    fn no_chunk_is_longer_than_a_slice_can_be() {
        let limits = Limits {
            body_bytes_max: usize::MAX,
            ..Limits::default()
        };
        assert!(progress(&limits, "7fffffffffffffff").is_ok());
        for size in ["8000000000000000", "ffffffffffffffff", "10000000000000000"] {
            assert!(
                matches!(progress(&limits, size), Err(Error::BodyTooLarge(_))),
                "{size}"
            );
        }
    }
}
