//! The parser: a cursor over a document, moved by the caller's questions.
//!
//! Promises and the diagram of its states are in the [module](super) above. Leaves to the caller: asking in
//! an order the diagram has (after [`Parser::object_begin`] comes [`Parser::first_member`], and so on); any
//! other order gives an error or a wrong reading of that document, never a panic.

use super::{Error, ErrorKind, Number, Span, Text, number, scan, string};
use crate::limits::JSON_DEPTH_MAX;

/// The kinds of values, told apart by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    Text,
    /// `-` or a digit
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// A cursor over one document.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    document: &'a str,
    at: usize,
    /// Containers open at the cursor, at most [`JSON_DEPTH_MAX`].
    depth: usize,
}

impl<'a> Parser<'a> {
    /// A parser before the first byte of `document`.
    ///
    /// # Errors
    /// [`ErrorKind::Utf8`] at the first byte that is not UTF-8; [`ErrorKind::TooLong`] beyond 4 GiB.
    pub fn new(document: &'a [u8]) -> Result<Self, Error> {
        Self::of_bytes(document).ok_or_else(|| Self::refusal(document))
    }

    /// As [`Parser::new`], for a caller to whom the time of a short document counts: what is returned stays
    /// in registers.
    #[inline]
    pub(crate) fn of_bytes(document: &'a [u8]) -> Option<Self> {
        // Section 8.1: "JSON text exchanged between systems ... MUST be encoded using UTF-8".
        u32::try_from(document.len()).ok()?;
        scan::text(document).map(Self::of_text)
    }

    /// Why [`Parser::of_bytes`] refused `document`.
    #[cold]
    pub(crate) fn refusal(document: &[u8]) -> Error {
        if u32::try_from(document.len()).is_err() {
            return ErrorKind::TooLong.at(document, u32::MAX as usize);
        }
        let valid = std::str::from_utf8(document).map_or_else(|error| error.valid_up_to(), str::len);
        ErrorKind::Utf8.at(document, valid)
    }

    /// A parser before the first character of `document`, which is at most 4 GiB long.
    #[must_use]
    pub(crate) const fn of_text(document: &'a str) -> Self {
        Self {
            document,
            at: 0,
            depth: 0,
        }
    }

    /// The whole document.
    #[inline]
    #[must_use]
    pub const fn document(&self) -> &'a str {
        self.document
    }

    /// The whole document as bytes; every [`Span`] of this parser is a span of them.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.document.as_bytes()
    }

    /// The offset of the cursor.
    #[inline]
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The offset of the cursor once it is past white space.
    #[inline]
    pub(crate) fn at_token(&mut self) -> usize {
        self.token();
        self.at
    }

    /// The offset of the cursor, as errors have it.
    #[inline]
    #[must_use]
    pub const fn error_at(&self) -> u32 {
        Span::new(self.at, self.at).start
    }

    /// `kind` at the cursor.
    #[inline]
    #[must_use]
    pub fn error(&self, kind: ErrorKind) -> Error {
        kind.at(self.bytes(), self.at)
    }

    /// Moves past `expected` if exactly these bytes come next. A short way past what is usually there; the
    /// caller has already established that these bytes, if there, mean what it takes them for.
    #[inline]
    #[must_use]
    pub fn accept<const N: usize>(&mut self, expected: &[u8; N]) -> bool {
        let next = self.bytes().get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let accepted = next == Some(expected);
        self.at += if accepted { N } else { 0 };
        accepted
    }

    /// VALUE to AFTER for a caller that has read the value itself: it ends at `after`.
    #[inline]
    pub(crate) fn move_past_value(&mut self, after: usize) {
        debug_assert!((self.at..=self.document.len()).contains(&after));
        self.at = after;
    }

    /// The kind of the value that comes next; the cursor stops at its first byte.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedValue`] when no value starts with the next byte.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, Error> {
        match self.token() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.error(ErrorKind::ExpectedValue)),
        }
    }

    /// VALUE to FIRST_MEMBER: enters an object.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedObject`], [`ErrorKind::TooDeep`].
    #[inline]
    pub fn object_begin(&mut self) -> Result<(), Error> {
        self.begin(b'{', ErrorKind::ExpectedObject)
    }

    /// VALUE to FIRST_ELEMENT: enters an array.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedArray`], [`ErrorKind::TooDeep`].
    #[inline]
    pub fn array_begin(&mut self) -> Result<(), Error> {
        self.begin(b'[', ErrorKind::ExpectedArray)
    }

    /// FIRST_MEMBER to KEY (true), or out of the empty object to AFTER (false).
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedKey`].
    #[inline]
    pub fn first_member(&mut self) -> Result<bool, Error> {
        match self.token() {
            Some(b'"') => Ok(true),
            Some(b'}') => Ok(self.leave()),
            _ => Err(self.error(ErrorKind::ExpectedKey)),
        }
    }

    /// AFTER a member's value to the next KEY (true), or out of the object to AFTER (false).
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedCommaOrBrace`], [`ErrorKind::ExpectedKey`].
    #[inline]
    pub fn next_member(&mut self) -> Result<bool, Error> {
        match self.token() {
            Some(b',') => self.at += 1,
            Some(b'}') => return Ok(self.leave()),
            _ => return Err(self.error(ErrorKind::ExpectedCommaOrBrace)),
        }
        if self.token() == Some(b'"') {
            return Ok(true);
        }
        Err(self.error(ErrorKind::ExpectedKey))
    }

    /// FIRST_ELEMENT to VALUE (true), or out of the empty array to AFTER (false).
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEnd`]; what is no value is refused when it is read.
    #[inline]
    pub fn first_element(&mut self) -> Result<bool, Error> {
        match self.token() {
            Some(b']') => Ok(self.leave()),
            Some(_) => Ok(true),
            None => Err(self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    /// AFTER an element to the next VALUE (true), or out of the array to AFTER (false).
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedCommaOrBracket`].
    #[inline]
    pub fn next_element(&mut self) -> Result<bool, Error> {
        match self.token() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b']') => Ok(self.leave()),
            _ => Err(self.error(ErrorKind::ExpectedCommaOrBracket)),
        }
    }

    /// KEY to VALUE: the member's key, with its colon.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedKey`], [`ErrorKind::ExpectedColon`], or what is wrong in the string.
    #[inline]
    pub fn key(&mut self) -> Result<Text, Error> {
        let key = self.quoted(ErrorKind::ExpectedKey)?;
        self.colon()?;
        Ok(key)
    }

    /// VALUE to AFTER: a string.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedString`], or what is wrong in the string.
    #[inline]
    pub fn text(&mut self) -> Result<Text, Error> {
        self.quoted(ErrorKind::ExpectedString)
    }

    /// VALUE to AFTER: a string from after its opening quote, which [`Parser::accept`] has taken.
    ///
    /// # Errors
    /// What is wrong in the string.
    #[inline]
    pub fn text_rest(&mut self) -> Result<Text, Error> {
        let (text, end) = string::text(self.bytes(), self.at)?;
        self.at = end;
        Ok(text)
    }

    /// VALUE to AFTER: a number.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedNumber`], [`ErrorKind::NumberSyntax`], [`ErrorKind::NumberRange`].
    #[inline]
    pub fn number(&mut self) -> Result<Number, Error> {
        if !matches!(self.token(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.error(ErrorKind::ExpectedNumber));
        }
        let number = number::number(self.bytes(), self.at)?;
        self.at = number.raw.end as usize;
        Ok(number)
    }

    /// VALUE to AFTER: one of the words `null`, `true` and `false`; nothing for `null`.
    ///
    /// # Errors
    /// [`ErrorKind::ExpectedValue`] for anything else.
    pub fn word(&mut self) -> Result<Option<bool>, Error> {
        self.token();
        if self.accept(b"null") {
            Ok(None)
        } else if self.accept(b"true") {
            Ok(Some(true))
        } else if self.accept(b"false") {
            Ok(Some(false))
        } else {
            Err(self.misspelt())
        }
    }

    /// VALUE to AFTER: skips any value; its span. Held to the grammar and the depth bound, not to meaning.
    ///
    /// # Errors
    /// Whatever in it is not JSON.
    #[cold]
    pub fn skip(&mut self) -> Result<Span, Error> {
        self.token();
        let start = self.at;
        // One bit for each container that this value has open: 1 for an object. JSON_DEPTH_MAX fit.
        let mut objects = 0u64;
        let outer = self.depth;
        loop {
            let entered = self.skip_one(&mut objects)?;
            // Leave what is complete; stop at the next value, or once nothing is open.
            let mut first = entered;
            loop {
                if self.depth == outer {
                    return Ok(Span::new(start, self.at));
                }
                let more = match (objects & 1 == 1, first) {
                    (true, true) => self.first_member()?,
                    (true, false) => self.next_member()?,
                    (false, true) => self.first_element()?,
                    (false, false) => self.next_element()?,
                };
                if more {
                    break;
                }
                objects >>= 1;
                first = false;
            }
            if objects & 1 == 1 {
                // KEY to VALUE
                self.at = string::skip(self.bytes(), self.at + 1)?;
                self.colon()?;
            }
        }
    }

    /// Skips a scalar, or enters a container and notes its kind in `objects`; whether it entered one.
    fn skip_one(&mut self, objects: &mut u64) -> Result<bool, Error> {
        match self.kind()? {
            Kind::Object => {
                self.object_begin()?;
                *objects = *objects << 1 | 1;
                return Ok(true);
            }
            Kind::Array => {
                self.array_begin()?;
                *objects <<= 1;
                return Ok(true);
            }
            Kind::Text => self.at = string::skip(self.bytes(), self.at + 1)?,
            Kind::Number => self.at = number::skip(self.bytes(), self.at)?,
            Kind::Bool | Kind::Null => {
                self.word()?;
            }
        }
        Ok(false)
    }

    /// AFTER the outermost value: accepts the document if only white space is left.
    ///
    /// # Errors
    /// [`ErrorKind::TrailingBytes`].
    pub fn end(&mut self) -> Result<(), Error> {
        match self.token() {
            None => Ok(()),
            Some(_) => Err(self.error(ErrorKind::TrailingBytes)),
        }
    }

    /// The next byte that is not white space, under the cursor; nothing at the document's end.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        match self.bytes().get(self.at).copied() {
            Some(byte @ 0x21..) => Some(byte),
            _ => {
                self.at = after_white_space(self.bytes(), self.at);
                self.bytes().get(self.at).copied()
            }
        }
    }

    #[inline]
    fn begin(&mut self, bracket: u8, otherwise: ErrorKind) -> Result<(), Error> {
        if self.token() != Some(bracket) {
            return Err(self.error(otherwise));
        }
        if self.depth == JSON_DEPTH_MAX {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Past the closing bracket under the cursor.
    #[inline]
    fn leave(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
        false
    }

    #[inline]
    fn quoted(&mut self, otherwise: ErrorKind) -> Result<Text, Error> {
        if self.token() != Some(b'"') {
            return Err(self.error(otherwise));
        }
        let (text, end) = string::text(self.bytes(), self.at + 1)?;
        self.at = end;
        Ok(text)
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Error> {
        if self.token() != Some(b':') {
            return Err(self.error(ErrorKind::ExpectedColon));
        }
        self.at += 1;
        Ok(())
    }

    /// The error for something that starts like a word: at the byte that differs from it.
    #[cold]
    fn misspelt(&self) -> Error {
        let rest = self.bytes().get(self.at..).unwrap_or_default();
        let same = [&b"null"[..], b"true", b"false"]
            .iter()
            .map(|word| word.iter().zip(rest).take_while(|(a, b)| a == b).count())
            .max();
        ErrorKind::ExpectedValue.at(self.bytes(), self.at + same.unwrap_or(0))
    }
}

/// The offset of the first byte at or after `at` that is not white space (RFC 8259 section 2: `ws`).
#[cold]
#[inline(never)]
fn after_white_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .count();
    at + blanks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(document: &[u8]) -> Result<Span, Error> {
        let mut parser = Parser::new(document)?;
        let span = parser.skip()?;
        parser.end()?;
        Ok(span)
    }

    fn refused(document: &str) -> (ErrorKind, usize) {
        let error = skip(document.as_bytes()).unwrap_err();
        (error.kind, error.at as usize)
    }

    #[test]
    fn the_span_of_a_skipped_value_is_the_value() {
        for value in [
            "0",
            "-1.5e3",
            "\"a\\\"b\"",
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[1,[2],{\"a\":{}}]",
        ] {
            let document = format!(" \t\r\n{value} \n");
            let span = skip(document.as_bytes()).unwrap();
            assert_eq!(span.of(document.as_bytes()), value.as_bytes());
        }
    }

    #[test]
    fn nesting_is_allowed_up_to_the_bound_and_no_further() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| {
                let core = if open == "[" { "" } else { "{}" };
                let depth = if open == "[" { depth } else { depth - 1 };
                format!("{}{core}{}", open.repeat(depth), close.repeat(depth))
            };
            assert!(skip(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
            assert_eq!(refused(&nested(JSON_DEPTH_MAX + 1)).0, ErrorKind::TooDeep);
        }
        // Side by side is not deep.
        assert!(skip(format!("[{}0]", "[[]],".repeat(1000)).as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_found_at_its_byte() {
        for (document, kind, at) in [
            ("", ErrorKind::UnexpectedEnd, 0),
            ("  ", ErrorKind::UnexpectedEnd, 2),
            ("[1,]", ErrorKind::ExpectedValue, 3),
            ("[1 2]", ErrorKind::ExpectedCommaOrBracket, 3),
            ("[1", ErrorKind::UnexpectedEnd, 2),
            ("{\"a\" 1}", ErrorKind::ExpectedColon, 5),
            ("{\"a\":1,}", ErrorKind::ExpectedKey, 7),
            ("{\"a\":1 \"b\":2}", ErrorKind::ExpectedCommaOrBrace, 7),
            ("{a:1}", ErrorKind::ExpectedKey, 1),
            ("{1:1}", ErrorKind::ExpectedKey, 1),
            ("[1}", ErrorKind::ExpectedCommaOrBracket, 2),
            ("{\"a\":1]", ErrorKind::ExpectedCommaOrBrace, 6),
            ("nul", ErrorKind::UnexpectedEnd, 3),
            ("nulL", ErrorKind::ExpectedValue, 3),
            ("truefalse", ErrorKind::TrailingBytes, 4),
            ("1 2", ErrorKind::TrailingBytes, 2),
            ("\u{feff}1", ErrorKind::ExpectedValue, 0),
            ("[\u{a0}1]", ErrorKind::ExpectedValue, 1),
            ("]", ErrorKind::ExpectedValue, 0),
        ] {
            assert_eq!(refused(document), (kind, at), "{document}");
        }
        let error = skip(b"[\"a\xFF\"]").unwrap_err();
        assert_eq!((error.kind, error.at), (ErrorKind::Utf8, 3));
    }

    #[test]
    fn skipped_values_are_held_to_the_grammar_only() {
        assert!(skip(br#"[1e999, "\ud800"]"#).is_ok());
        assert!(skip(br#"["\u12"]"#).is_err());
    }

    #[test]
    fn a_token_is_past_white_space() {
        let mut parser = Parser::new(b" \n [1]").unwrap();
        assert_eq!((parser.at(), parser.at_token(), parser.at()), (0, 3, 3));
    }

    #[test]
    fn accept_moves_only_past_the_whole() {
        let mut parser = Parser::new(b"\"name\":1").unwrap();
        assert!(!parser.accept(b"\"name\": "));
        assert!(!parser.accept(b"\"name\":1 "));
        assert_eq!(parser.at(), 0);
        assert!(parser.accept(b"\"name\":"));
        assert_eq!(parser.at(), 7);
    }

    #[test]
    fn the_rest_of_a_text_is_read_from_after_its_quote() {
        let document = br#"["ab\n",1]"#;
        let mut parser = Parser::new(document).unwrap();
        assert!(parser.array_begin().is_ok() && parser.first_element().unwrap());
        assert!(parser.accept(b"\""));
        assert_eq!((parser.at(), parser.error_at()), (2, 2));
        let text = parser.text_rest().unwrap();
        assert_eq!((text.raw.of(document), text.bytes), (&br"ab\n"[..], 3));
        assert!(parser.next_element().unwrap());
        assert_eq!(parser.number().unwrap().value.to_bits(), 1.0_f64.to_bits());
    }
}
