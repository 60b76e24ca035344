//! Byte classes of RFC 9110 and searches for the first byte outside one.
//!
//! Promises: each search looks at no byte twice and returns at most the length of its input.

use super::block;

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;
const HOST: u8 = 8;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    // RFC 9110 section 5.6.2: "tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" /
    // "_" / "`" / "|" / "~" / DIGIT / ALPHA".
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
    {
        class |= TOKEN;
    }
    // RFC 9112 section 3.2 allows the characters of a URI. Deployed clients also send the other visible
    // ones, and they are harmless; "#" would start a fragment, which is never sent.
    if byte > b' ' && byte < 0x7f && byte != b'#' {
        class |= TARGET;
    }
    // RFC 9110 section 5.5: "field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]",
    // "field-vchar = VCHAR / obs-text".
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        class |= VALUE;
    }
    // RFC 3986 section 3.2.2: "reg-name = *( unreserved / pct-encoded / sub-delims )".
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
    {
        class |= HOST;
    }
    class
}

pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

pub(super) fn is_value(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & VALUE != 0
}

pub(super) fn is_host(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & HOST != 0
}

pub(super) fn is_target(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TARGET != 0
}

/// Index of the first byte that no token has.
pub(super) fn token_end(bytes: &[u8]) -> usize {
    // Most names are letters, digits and hyphens; the block search stops at any other byte.
    let mut at = find(bytes, block::not_name, |byte| !is_name(byte));
    while bytes.get(at).is_some_and(|&byte| is_token(byte)) {
        at += 1 + find(&bytes[at + 1..], block::not_name, |byte| !is_name(byte));
    }
    at
}

/// Index of the first byte that no request target has.
pub(super) fn target_end(bytes: &[u8]) -> usize {
    find(bytes, block::not_target, |byte| !is_target(byte))
}

/// Index of the first byte that no field value has: a control byte, line ends among them.
pub(super) fn value_end(bytes: &[u8]) -> usize {
    find(bytes, block::not_value, |byte| !is_value(byte))
}

/// Index of the first byte that no host has.
pub(super) fn host_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_host(byte))
        .unwrap_or(bytes.len())
}

/// Index of the first LF.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    let at = find(bytes, |block| block::equals(block, b'\n'), |byte| byte == b'\n');
    (at < bytes.len()).then_some(at)
}

/// Index of the first question mark.
pub(super) fn question_mark(bytes: &[u8]) -> Option<usize> {
    let at = find(bytes, |block| block::equals(block, b'?'), |byte| byte == b'?');
    (at < bytes.len()).then_some(at)
}

/// Index of the first byte that `one` matches: blocks of [`block::BYTES`] first, for which `many` gives a
/// bit for each byte, then the rest one by one.
fn find(bytes: &[u8], many: impl Fn(&[u8; block::BYTES]) -> u32, one: impl Fn(u8) -> bool) -> usize {
    let (blocks, rest) = bytes.as_chunks::<{ block::BYTES }>();
    for (index, bytes) in blocks.iter().enumerate() {
        let mask = many(bytes);
        if mask != 0 {
            return index * block::BYTES + mask.trailing_zeros() as usize;
        }
    }
    let from = blocks.len() * block::BYTES;
    rest.iter()
        .position(|&byte| one(byte))
        .map_or(bytes.len(), |at| from + at)
}

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Room for the line ends of a head with sixty-two fields.
pub(super) const LINES_MAX: usize = 64;

/// Places of the LFs of a head, the last of them that of its closing empty line, if nothing else than pairs
/// of CR and LF in it is a byte that no field value has. None if that does not hold, if there are more lines
/// than fit, or if the head is longer than a place can tell.
pub(super) fn line_feeds<'a>(bytes: &[u8], places: &'a mut [u16; LINES_MAX]) -> Option<&'a [u16]> {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    let (blocks, rest) = bytes.as_chunks::<{ block::BYTES }>();
    let mut last = [b' '; block::BYTES];
    last[..rest.len()].copy_from_slice(rest);
    let (mut count, mut before, mut carry) = (0, usize::MAX - 2, 0);
    for (index, block) in blocks.iter().chain([&last]).enumerate() {
        let (stop, cr, lf) = (
            block::not_value(block),
            block::equals(block, b'\r'),
            block::equals(block, b'\n'),
        );
        let (mut left, mut looked_at) = (lf, u32::MAX);
        while left != 0 {
            let place = index * block::BYTES + left.trailing_zeros() as usize;
            *places.get_mut(count)? = u16::try_from(place).ok()?;
            count += 1;
            if place == before + 2 {
                looked_at = left ^ (left - 1);
                break;
            }
            before = place;
            left &= left - 1;
        }
        // Each LF follows a CR, the last byte of the block before included, and no other byte stops.
        let looked_at = looked_at | (lf ^ left);
        if (lf ^ (cr << 1 | carry)) & looked_at & FULL != 0 || (stop ^ (cr | lf)) & looked_at != 0 {
            return None;
        }
        if left != 0 {
            return Some(&places[..count]);
        }
        carry = cr >> (block::BYTES - 1);
    }
    None
}

/// The bits of a block's answer.
const FULL: u32 = u32::MAX >> (32 - block::BYTES);

/// Whether a token equals `known`, which is lower-case, without regard to case.
///
/// Of the bytes a token has, only a letter and its capital become that letter with bit 5 set.
pub(super) fn same_name<const N: usize>(token: &[u8], known: &[u8; N]) -> bool {
    let Ok(token) = <&[u8; N]>::try_from(token) else {
        return false;
    };
    let mut difference = 0;
    for (have, want) in token.iter().zip(known) {
        difference |= (have | 0x20) ^ want;
    }
    difference == 0
}

/// The value without the optional white space around it (RFC 9110 section 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every place of two blocks and a rest, in a text of bytes that all classes have.
    fn agree(search: fn(&[u8]) -> usize, outside: impl Fn(u8) -> bool) {
        for length in 0..40 {
            let mut text = vec![b'a'; length];
            assert_eq!(search(&text), length);
            for at in 0..length {
                for byte in 0..=255 {
                    text[at] = byte;
                    assert_eq!(
                        search(&text),
                        if outside(byte) { at } else { length },
                        "{byte:#x} at {at} of {length}"
                    );
                }
                text[at] = b'a';
            }
        }
    }

    #[test]
    fn blocks_find_what_bytes_find() {
        agree(token_end, |byte| !is_token(byte));
        agree(target_end, |byte| !is_target(byte));
        agree(value_end, |byte| !is_value(byte));
        agree(host_end, |byte| !is_host(byte));
        agree(|text| line_feed(text).unwrap_or(text.len()), |byte| byte == b'\n');
        agree(
            |text| question_mark(text).unwrap_or(text.len()),
            |byte| byte == b'?',
        );
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_no_other() {
        let known = *b"content-length";
        for at in 0..known.len() {
            for byte in (0..=255).filter(|&byte| is_token(byte)) {
                let mut name = known;
                name[at] = byte;
                assert_eq!(
                    same_name(&name, &known),
                    name.eq_ignore_ascii_case(&known),
                    "{name:?}"
                );
            }
        }
        assert!(!same_name(b"content-lengt", &known) && !same_name(b"content-length-", &known));
    }

    #[test]
    fn trimming_takes_blanks_from_both_ends() {
        assert_eq!(trim(b" \t a \tb \t"), b"a \tb");
        assert_eq!(trim(b" \t"), b"");
    }

    /// [`line_feeds`] byte by byte.
    fn plain_line_feeds(bytes: &[u8]) -> Option<Vec<u16>> {
        let mut places: Vec<u16> = Vec::new();
        for (at, &byte) in bytes.iter().enumerate().take(usize::from(u16::MAX)) {
            match byte {
                b'\n' if at > 0 && bytes[at - 1] == b'\r' && places.len() < LINES_MAX => {
                    let before = places.last().copied();
                    let place = u16::try_from(at).ok()?;
                    places.push(place);
                    if before.is_some_and(|before| before + 2 == place) {
                        return Some(places);
                    }
                }
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => {}
                byte if !is_value(byte) => return None,
                _ => {}
            }
        }
        None
    }

    fn agree_on_line_feeds(bytes: &[u8]) -> bool {
        let mut places = [0; LINES_MAX];
        let found = line_feeds(bytes, &mut places).map(<[u16]>::to_vec);
        assert_eq!(found, plain_line_feeds(bytes), "{}", bytes.escape_ascii());
        found.is_some()
    }

    /// Any byte that means something at every place of heads whose lines end at every place of a block.
    #[test]
    fn line_ends_are_found_as_byte_by_byte() {
        for pad in 0..2 * block::BYTES {
            let pad = "a".repeat(pad);
            let head = format!("GET /{pad} HTTP/1.1\r\nHost: a\r\nX:\r\nYy: \t\u{e9}\r\n\r\n\0\r\n\r\n");
            let mut head = head.into_bytes();
            assert!(agree_on_line_feeds(&head));
            for at in 0..head.len() {
                agree_on_line_feeds(&head[..at]);
                let byte = head[at];
                for other in [b'\r', b'\n', b'\t', b'a', 0, 0x1f, 0x7f, 0x80] {
                    head[at] = other;
                    agree_on_line_feeds(&head);
                }
                head[at] = byte;
            }
        }
    }

    #[test]
    fn lines_and_bytes_are_counted_to_what_fits() {
        let lines = |count: usize| ["X:\r\n".repeat(count - 1).as_bytes(), b"\r\n"].concat();
        assert!(agree_on_line_feeds(&lines(LINES_MAX)));
        assert!(!agree_on_line_feeds(&lines(LINES_MAX + 1)));
        let long = |length: usize| ["x".repeat(length - 4).as_bytes(), b"\r\n\r\n"].concat();
        assert!(agree_on_line_feeds(&long(usize::from(u16::MAX))));
        assert!(!agree_on_line_feeds(&long(usize::from(u16::MAX) + 1)));
    }
}
