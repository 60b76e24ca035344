//! The name of a request, by which a client and an operator speak of the same one.
//!
//! Promises: a client's own `X-Request-Id` is taken when it is 1 to [`REQUEST_ID_BYTES_MAX`] letters, digits,
//! `-`, `_` or `.`; otherwise one is made that nobody can guess and that is not made twice in practice (64
//! random bits, or as good as). Nothing is allocated, and nothing is made for a request that succeeds.
//! Leaves to the caller: to say it, in the reply of a refusal and where a request is logged.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use crate::limits::REQUEST_ID_BYTES_MAX;

/// A request's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES_MAX],
    length: u8,
}

/// Makes names; one for each thread.
#[derive(Clone, Debug, Default)]
pub struct RequestIds {
    hasher: RandomState,
    made: u64,
}

/// The client's own name for its request, if it can be taken.
#[must_use]
pub fn given(value: Option<&[u8]>) -> Option<&[u8]> {
    let is_taken = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    value.filter(|value| (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(is_taken))
}

impl RequestIds {
    /// The name of a request whose client calls it `value`.
    pub fn name(&mut self, value: Option<&[u8]>) -> RequestId {
        match given(value) {
            Some(value) => RequestId::from_bytes(value),
            None => self.make(),
        }
    }

    fn make(&mut self) -> RequestId {
        self.made += 1;
        let mut digits = [0; 16];
        let number = self.hasher.hash_one(self.made);
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = (number >> (4 * place)) & 0xF;
            *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or_default()];
        }
        RequestId::from_bytes(&digits)
    }
}

impl RequestId {
    fn from_bytes(value: &[u8]) -> Self {
        let mut bytes = [0; REQUEST_ID_BYTES_MAX];
        bytes[..value.len()].copy_from_slice(value);
        let length = u8::try_from(value.len()).expect("the bound is below 256");
        Self { bytes, length }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("ASCII by construction")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_name_is_taken_and_another_replaced() {
        let mut ids = RequestIds::default();
        let longest = [b'x'; REQUEST_ID_BYTES_MAX];
        for name in [&b"a"[..], b"8f14e45f-ceea_4.7A", &longest] {
            assert_eq!(ids.name(Some(name)).as_str().as_bytes(), name);
        }
        let too_long = [b'x'; REQUEST_ID_BYTES_MAX + 1];
        let mut made = Vec::new();
        for name in [&b""[..], b"a b", b"a\"b", b"\xC3\xA4", b"<a>", &too_long] {
            made.push(ids.name(Some(name)).as_str().to_owned());
        }
        made.push(ids.name(None).as_str().to_owned());
        assert!(made.iter().all(|id| id.len() == 16), "{made:?}");
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 7, "each is another");
    }

    #[test]
    fn two_threads_make_different_names() {
        assert_ne!(RequestIds::default().name(None), RequestIds::default().name(None));
    }
}
