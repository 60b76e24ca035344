//! Strings of a JSON document: checked where they stand, unescaped only when somebody reads them.
//!
//! Promises: a string without escapes is borrowed from the document; one with escapes is written to the
//! caller's scratch, or compared and measured without being written at all. Leaves to the caller: that the
//! document is UTF-8 (the parser has checked it before it comes here).

use super::{Error, ErrorKind, Span, scan};

/// A string of the document: its content between the quotes, and how long it is once unescaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The content as it stands in the document, quotes excluded.
    pub raw: Span,
    /// Bytes of UTF-8 after unescaping. Every escape is longer than what it stands for, so this is less than
    /// the raw length exactly when there is an escape.
    pub bytes: u32,
}

impl Text {
    /// Whether it holds an escape sequence.
    #[inline]
    #[must_use]
    pub const fn has_escapes(self) -> bool {
        (self.bytes as usize) < self.raw.len()
    }

    /// Whether it says `expected`, escapes read.
    #[inline]
    #[must_use]
    pub fn is(self, document: &[u8], expected: &[u8]) -> bool {
        let raw = self.raw.of(document);
        if self.has_escapes() {
            self.bytes as usize == expected.len() && unescaped(raw).eq(expected.iter().copied())
        } else {
            raw == expected
        }
    }

    /// Whether it says the same as `other`, a string of the same document, escapes read.
    #[inline]
    #[must_use]
    pub fn same(self, document: &[u8], other: Self) -> bool {
        self.bytes == other.bytes
            && if self.has_escapes() || other.has_escapes() {
                unescaped(self.raw.of(document)).eq(unescaped(other.raw.of(document)))
            } else {
                self.raw.of(document) == other.raw.of(document)
            }
    }

    /// What it says: a slice of the document, or of `scratch` when there is an escape to read.
    #[must_use]
    pub fn read<'a>(self, document: &'a str, scratch: &'a mut String) -> &'a str {
        let raw = &document[self.raw.start as usize..self.raw.end as usize];
        if !self.has_escapes() {
            return raw;
        }
        scratch.clear();
        let mut rest = raw.as_bytes();
        while let Some((plain, escape)) = split_at_escape(rest) {
            // Both cuts are beside a backslash, which is never part of a longer character.
            scratch.push_str(&raw[raw.len() - rest.len()..][..plain.len()]);
            let (character, after) = read_escape(escape);
            scratch.push(character);
            rest = after;
        }
        scratch.push_str(&raw[raw.len() - rest.len()..]);
        scratch
    }

    /// What it says, in `buffer`; nothing when it does not fit.
    #[must_use]
    pub fn copy_to<'a>(self, document: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let room = buffer.get_mut(..self.bytes as usize)?;
        for (place, byte) in room.iter_mut().zip(unescaped(self.raw.of(document))) {
            *place = byte;
        }
        Some(room)
    }
}

/// Reads a string whose opening quote ends at `at`: its content, and the offset after its closing quote.
#[inline]
pub(crate) fn text(bytes: &[u8], at: usize) -> Result<(Text, usize), Error> {
    let end = scan::text_end(bytes, at);
    if bytes.get(end) == Some(&b'"') {
        let raw = Span::new(at, end);
        let bytes = raw.end - raw.start;
        return Ok((Text { raw, bytes }, end + 1));
    }
    text_with_escapes(bytes, at, end)
}

/// The end of the string that starts at `at`, if it is plain text to its closing quote, which stands there.
#[inline]
pub(crate) fn plain_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = scan::text_end(bytes, at);
    (bytes.get(end) == Some(&b'"')).then_some(end)
}

/// The rest of [`text`] once plain text stopped at `stop` with something other than a quote.
#[cold]
#[inline(never)]
fn text_with_escapes(bytes: &[u8], at: usize, stop: usize) -> Result<(Text, usize), Error> {
    let mut stop = stop;
    let mut saved = 0;
    loop {
        match bytes.get(stop) {
            Some(b'"') => {
                let raw = Span::new(at, stop);
                let bytes = raw.end - raw.start - saved;
                return Ok((Text { raw, bytes }, stop + 1));
            }
            Some(b'\\') => {
                let (escape_bytes, character_bytes) = check_escape(bytes, stop)?;
                saved += escape_bytes - character_bytes;
                stop = scan::text_end(bytes, stop + escape_bytes as usize);
            }
            _ => return Err(ErrorKind::ControlCharacter.at(bytes, stop)),
        }
    }
}

/// Skips a string whose opening quote ends at `at`, by the grammar alone: the offset after its closing quote.
pub(crate) fn skip(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let mut at = at;
    loop {
        at = scan::text_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'u') => {
                    hex4(bytes, at + 2)?;
                    at += 6;
                }
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                _ => return Err(ErrorKind::Escape.at(bytes, at + 1)),
            },
            _ => return Err(ErrorKind::ControlCharacter.at(bytes, at)),
        }
    }
}

/// Checks the escape sequence at `at` (its backslash): its length, and that of the character in UTF-8.
fn check_escape(bytes: &[u8], at: usize) -> Result<(u32, u32), Error> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok((2, 1)),
        Some(b'u') => match hex4(bytes, at + 2)? {
            0x0000..=0x007F => Ok((6, 1)),
            0x0080..=0x07FF => Ok((6, 2)),
            0xD800..=0xDBFF => {
                check_low_surrogate(bytes, at)?;
                Ok((12, 4))
            }
            0xDC00..=0xDFFF => Err(ErrorKind::LoneSurrogate.at(bytes, at)),
            _ => Ok((6, 3)),
        },
        _ => Err(ErrorKind::Escape.at(bytes, at + 1)),
    }
}

/// Checks that the high surrogate written at `at` is followed by a low one.
fn check_low_surrogate(bytes: &[u8], at: usize) -> Result<(), Error> {
    if bytes.get(at + 6) != Some(&b'\\') || bytes.get(at + 7) != Some(&b'u') {
        return Err(ErrorKind::LoneSurrogate.at(bytes, at));
    }
    match hex4(bytes, at + 8)? {
        0xDC00..=0xDFFF => Ok(()),
        _ => Err(ErrorKind::LoneSurrogate.at(bytes, at)),
    }
}

/// The four hexadecimal digits at `at`, of either case (section 7).
fn hex4(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let mut unit = 0;
    for place in at..at + 4 {
        let digit = bytes.get(place).and_then(|&byte| char::from(byte).to_digit(16));
        unit = unit << 4 | digit.ok_or_else(|| ErrorKind::Escape.at(bytes, place))?;
    }
    Ok(unit)
}

/// The text before the first escape, and the rest from its backslash; nothing when there is no escape.
fn split_at_escape(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = raw.iter().position(|&byte| byte == b'\\')?;
    Some(raw.split_at(place))
}

/// The character that the checked escape at the start of `raw` stands for, and what follows it.
fn read_escape(raw: &[u8]) -> (char, &[u8]) {
    let unit = |at| hex4(raw, at).unwrap_or(0xFFFD);
    let (code, length) = match raw.get(1) {
        Some(b'b') => (0x08, 2),
        Some(b'f') => (0x0C, 2),
        Some(b'n') => (0x0A, 2),
        Some(b'r') => (0x0D, 2),
        Some(b't') => (0x09, 2),
        Some(b'u') => match unit(2) {
            high @ 0xD800..=0xDBFF => {
                let low = unit(8) & 0x3FF;
                (0x1_0000 + ((high & 0x3FF) << 10 | low), 12)
            }
            code => (code, 6),
        },
        Some(&byte) => (u32::from(byte), 2),
        None => (0xFFFD, 1),
    };
    (
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
        raw.get(length..).unwrap_or(&[]),
    )
}

/// The bytes that checked raw text stands for.
fn unescaped(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = raw;
    let mut pending = [0u8; 4];
    let mut left = 0..0;
    std::iter::from_fn(move || {
        if let Some(index) = left.next() {
            return pending.get(index).copied();
        }
        let (&first, after) = rest.split_first()?;
        if first != b'\\' {
            rest = after;
            return Some(first);
        }
        let (character, after) = read_escape(rest);
        rest = after;
        left = 1..character.encode_utf8(&mut pending).len();
        Some(pending[0])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `"content"`; the text and what it says.
    fn read(content: &str) -> Result<(Text, String), Error> {
        let document = format!("\"{content}\"");
        let (text, end) = text(document.as_bytes(), 1)?;
        assert_eq!(end, document.len());
        assert_eq!(skip(document.as_bytes(), 1), Ok(end));
        let mut scratch = String::new();
        Ok((text, text.read(&document, &mut scratch).to_owned()))
    }

    #[test]
    fn plain_text_is_borrowed() {
        let document = "\"cpu.load é\"";
        let (text, _) = text(document.as_bytes(), 1).unwrap();
        let mut scratch = String::new();
        let said = text.read(document, &mut scratch);
        assert_eq!(said, "cpu.load é");
        assert!(document.as_bytes().as_ptr_range().contains(&said.as_ptr()));
        assert_eq!(scratch.capacity(), 0);
    }

    #[test]
    fn each_escape_of_section_7_says_its_character() {
        let (text, said) = read(r#"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\uD834\udd1e."#).unwrap();
        let expected = "\"\\/\u{8}\u{c}\n\r\tAé€\u{1D11E}.";
        assert_eq!(said, expected);
        assert_eq!(text.bytes as usize, expected.len());
        assert!(text.has_escapes());
    }

    #[test]
    fn surrogates_come_in_pairs_or_not_at_all() {
        for lone in [
            r"\uD800",
            r"\uDC00",
            r"\uDBFFx",
            r"\uD800\uD800",
            r"\uD800\u0041",
            r"\uD800\n",
            r"\uDFFF\uD800",
        ] {
            assert_eq!(read(lone).unwrap_err().kind, ErrorKind::LoneSurrogate, "{lone}");
        }
        assert_eq!(read(r"\uD800\uDC00").unwrap().1, "\u{10000}");
        assert_eq!(read(r"\uDBFF\uDFFF").unwrap().1, "\u{10FFFF}");
        assert_eq!(read(r"\uD7FF\uE000").unwrap().1, "\u{D7FF}\u{E000}");
    }

    #[test]
    fn what_is_wrong_is_found_at_its_byte() {
        for (content, kind, at) in [
            ("ab\u{1f}", ErrorKind::ControlCharacter, 3),
            ("ab\n", ErrorKind::ControlCharacter, 3),
            (r"a\x", ErrorKind::Escape, 3),
            (r"a\u12G4", ErrorKind::Escape, 6),
            (r"a\u+123", ErrorKind::Escape, 4),
            (r"a\U0041", ErrorKind::Escape, 3),
        ] {
            let error = read(content).unwrap_err();
            assert_eq!((error.kind, error.at), (kind, at), "{content}");
            let document = format!("\"{content}\"");
            assert_eq!(skip(document.as_bytes(), 1), Err(error), "{content}");
        }
        for cut in ["\"", "\"a", "\"a\\", "\"a\\u00", "\"\\ud800\\u"] {
            let error = text(cut.as_bytes(), 1).unwrap_err();
            assert_eq!(
                (error.kind, error.at as usize),
                (ErrorKind::UnexpectedEnd, cut.len()),
                "{cut}"
            );
        }
    }

    #[test]
    fn comparison_reads_escapes() {
        let document = r#"name na\u006de n\u0061me nam"#;
        let bytes = document.as_bytes();
        let whole = Text {
            raw: Span::new(0, 4),
            bytes: 4,
        };
        let escaped = Text {
            raw: Span::new(5, 14),
            bytes: 4,
        };
        let other = Text {
            raw: Span::new(15, 24),
            bytes: 4,
        };
        let short = Text {
            raw: Span::new(25, 28),
            bytes: 3,
        };
        assert!(whole.same(bytes, escaped) && escaped.same(bytes, other));
        assert!(!escaped.same(bytes, short) && !whole.same(bytes, short));
        assert!(escaped.is(bytes, b"name") && !escaped.is(bytes, b"nama") && !escaped.is(bytes, b"nam"));
        let mut buffer = [0; 4];
        assert_eq!(escaped.copy_to(bytes, &mut buffer), Some(&b"name"[..]));
        assert_eq!(escaped.copy_to(bytes, &mut [0; 3]), None);
    }

    /// Otherwise every string would take the long way, and nothing but the time would tell.
    #[test]
    fn the_end_of_plain_text_is_found_at_once() {
        for length in [0, 1, 2, 15, 16, 17, 40] {
            let plain = format!("\"{}\",", "a".repeat(length));
            assert_eq!(plain_end(plain.as_bytes(), 1), Some(1 + length));
        }
        for other in ["\"a\\n\"", "\"a", "\"a\u{1}\""] {
            assert_eq!(plain_end(other.as_bytes(), 1), None, "{other}");
        }
    }
}
