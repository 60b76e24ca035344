//! Byte classes of RFC 9110 and searches for the first byte outside one.
//!
//! Promises: each search looks at no byte twice and returns at most the length of its input.

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

/// Index of the first byte that no token has.
pub(super) fn token_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(bytes.len())
}

/// Index of the first byte that no request target has.
pub(super) fn target_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| CLASSES[usize::from(byte)] & TARGET == 0)
        .unwrap_or(bytes.len())
}

/// Index of the first byte that no field value has: a control byte, line ends among them.
pub(super) fn value_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_value(byte))
        .unwrap_or(bytes.len())
}

/// Index of the first LF.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
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
