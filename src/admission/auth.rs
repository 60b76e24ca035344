//! Who a request is from.
//!
//! Promises: with a token table, a request is named after the token it carries and every other one is
//! [`Unauthenticated`]; without a table, after its credential, or after its address when it carries none.
//! A credential is never kept, printed or logged: what remains of it is a keyed digest, with a key that
//! lives and dies with the process. Tokens are found by that digest and then compared in constant time, so
//! the time taken tells nothing of a token.
//! Leaves to the caller: transport secrecy; and, without a table, the knowledge that whoever invents a new
//! credential is a new client (a table is the protection against that).
//!
//! # The credential
//! RFC 9110 section 11.6.2: `Authorization = credentials`, and 11.4: `credentials = auth-scheme [ 1*SP (
//! token68 / ... ) ]`. Any scheme will do: what counts is what follows the first run of spaces, or the whole
//! value when there is none, so `Bearer abc`, `Token abc` and `abc` are the same credential. White space
//! around the value is not part of it (RFC 9110 section 5.5); an empty value is no credential.
//!
//! # The token table
//! One `name token` a line, or `name token requests-per-second`, separated by spaces or tabs; a line that is
//! empty or begins with `#` is skipped. A name is 1 to 64 characters and a token 1 to
//! [`CREDENTIAL_BYTES_MAX`], all of visible ASCII. A name may have several tokens (an old one and its
//! successor): they are one client. A token stands once. The number is the client's own limit of requests,
//! in place of the server's; 0 is no limit. It stands in any line of a name, and is the same in each.

use crate::limits::{CREDENTIAL_BYTES_MAX, TOKEN_NAME_BYTES_MAX, TOKENS_MAX};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use subtle::ConstantTimeEq as _;

/// Who a request is from: small, comparable, and without any part of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Kind);

/// Byte arrays and not integers, so that an id takes 17 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The peer's address; version 4 as `::ffff:a.b.c.d`.
    Address([u8; 16]),
    /// The head of the credential's keyed digest.
    Credential([u8; 16]),
    /// The head of the keyed digest of a name of the token table: the same in every table of the process, so
    /// that what is counted for a client outlives a new table.
    Name([u8; 16]),
}

/// `::ffff:0.0.0.0`, what addresses of version 4 are mapped onto.
const V4_MAPPED: u128 = 0xFFFF << 32;

impl ClientId {
    /// The client at `address`.
    #[must_use]
    pub fn from_address(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(v4) => V4_MAPPED | u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        // As one number and not byte by byte: who reads it next would wait for the bytes to come together.
        Self(Kind::Address(bits.to_be_bytes()))
    }

    /// This id as numbers: those of two ids are equal if and only if the ids are.
    #[inline]
    #[must_use]
    pub fn words(&self) -> [u64; 3] {
        let (kind, bytes) = match &self.0 {
            Kind::Address(bytes) => (0, bytes),
            Kind::Credential(bytes) => (1, bytes),
            Kind::Name(bytes) => (2, bytes),
        };
        let (head, tail) = bytes.split_at(8);
        let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes"));
        [word(head), word(tail), kind]
    }
}

impl Hash for Kind {
    /// What differs and no more: a derived one hashes lengths and a wide tag besides.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Address(bytes) => state.write(bytes),
            Self::Credential(bytes) => {
                state.write(bytes);
                state.write_u8(1);
            }
            Self::Name(bytes) => {
                state.write(bytes);
                state.write_u8(2);
            }
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(octets) => write!(f, "{}", Ipv6Addr::from(*octets).to_canonical()),
            Self::Credential(digest) => write!(
                f,
                "credential-{:02x}{:02x}{:02x}{:02x}",
                digest[0], digest[1], digest[2], digest[3]
            ),
            Self::Name(digest) => write!(f, "token-{:02x}{:02x}", digest[0], digest[1]),
        }
    }
}

/// A client and what is settled for it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Who.
    pub id: ClientId,
    /// Its own limit of requests in any one second: zero is no limit; `None` is the server's.
    pub requests_max: Option<u32>,
}

/// Why a request is from nobody. Says nothing of the credential itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Tokens are configured and the request carries no credential.
    #[error("a token is needed: send it as \"Authorization: Bearer TOKEN\"")]
    Missing,
    /// Tokens are configured and this is none of them.
    #[error("the credential is none of the configured tokens")]
    Unknown,
    /// The credential is longer than any that is accepted.
    #[error("the credential is {seen} bytes long, over the limit of {CREDENTIAL_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        seen: usize,
    },
}

/// Names the client of each request. Shared by reference; nothing in it changes.
pub struct Authenticator {
    key: [u8; 32],
    /// Without a table any credential is a client.
    table: Option<Lookup>,
}

/// The token table in the form it is searched in.
struct Lookup {
    names: HashMap<ClientId, Box<str>>,
    /// Of the clients that have one.
    limits: HashMap<ClientId, u32>,
    /// By the first eight bytes of the digest; an outsider does not know the key and so cannot steer them.
    tokens: HashMap<[u8; 8], (Digest, ClientId)>,
}

type Digest = [u8; 32];

impl Authenticator {
    /// With `table`, only its tokens are clients; without, every credential and every address is one.
    ///
    /// # Errors
    /// When the operating system gives no random bytes for the key.
    pub fn new(table: Option<&TokenTable>) -> Result<Self, getrandom::Error> {
        Ok(Self::with_key(random_key()?, table))
    }

    /// One with another table in which every client keeps its id: a name its name's, a credential its
    /// credential's.
    #[must_use]
    pub fn successor(&self, table: Option<&TokenTable>) -> Self {
        Self::with_key(self.key, table)
    }

    fn with_key(key: [u8; 32], table: Option<&TokenTable>) -> Self {
        Self {
            key,
            table: table.map(|table| Lookup::new(&key, table)),
        }
    }

    /// How many tokens are known; `None` when none is needed.
    #[must_use]
    pub fn tokens(&self) -> Option<usize> {
        self.table.as_ref().map(|table| table.tokens.len())
    }

    /// The client that a request with this `Authorization` value, from `peer`, is from.
    ///
    /// # Errors
    /// [`Unauthenticated`]; with a table a credential is needed and known, and none is over
    /// [`CREDENTIAL_BYTES_MAX`].
    pub fn identify(&self, authorization: Option<&[u8]>, peer: IpAddr) -> Result<ClientId, Unauthenticated> {
        let credential = authorization.map(credential_of).unwrap_or_default();
        if credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(Unauthenticated::TooLong {
                seen: credential.len(),
            });
        }
        match &self.table {
            None if credential.is_empty() => Ok(ClientId::from_address(peer)),
            None => {
                let digest = digest(&self.key, credential);
                let head = digest.first_chunk().expect("32 bytes have a head of 16");
                Ok(ClientId(Kind::Credential(*head)))
            }
            Some(_) if credential.is_empty() => Err(Unauthenticated::Missing),
            Some(table) => table
                .find(&digest(&self.key, credential))
                .ok_or(Unauthenticated::Unknown),
        }
    }

    /// As [`Authenticator::identify`], with what is settled for that client alone.
    ///
    /// # Errors
    /// As [`Authenticator::identify`].
    pub fn recognise(&self, authorization: Option<&[u8]>, peer: IpAddr) -> Result<Client, Unauthenticated> {
        let id = self.identify(authorization, peer)?;
        let limits = self
            .table
            .as_ref()
            .map(|table| &table.limits)
            .filter(|limits| !limits.is_empty());
        let requests_max = limits.and_then(|limits| limits.get(&id).copied());
        Ok(Client { id, requests_max })
    }

    /// What to call `client` in statistics and logs: its name in the table, its address, or
    /// `credential-` and eight hexadecimal digits that mean something in this process only.
    pub fn label(&self, client: ClientId) -> impl fmt::Display + '_ {
        Label {
            name: self
                .table
                .as_ref()
                .and_then(|table| table.names.get(&client))
                .map(AsRef::as_ref),
            client,
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("tokens", &self.tokens())
            .finish_non_exhaustive()
    }
}

struct Label<'a> {
    name: Option<&'a str>,
    client: ClientId,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{:?}", self.client.0),
        }
    }
}

impl Lookup {
    fn new(key: &[u8; 32], table: &TokenTable) -> Self {
        let mut names: HashMap<ClientId, Box<str>> = HashMap::new();
        let mut tokens = HashMap::with_capacity(table.tokens.len());
        let id_of = |name: &str| {
            let digest = digest(key, name.as_bytes());
            ClientId(Kind::Name(
                *digest.first_chunk().expect("32 bytes have a head of 16"),
            ))
        };
        let limits = table.limits.iter().map(|(name, limit)| (id_of(name), *limit));
        let limits = limits.collect();
        for (name, Secret(token)) in &table.tokens {
            let client = id_of(name);
            let other = names.insert(client, name.clone());
            debug_assert!(
                other.is_none_or(|other| other == *name),
                "a chance of one in 2^128"
            );
            let digest = digest(key, token);
            let before = tokens.insert(head_of(&digest), (digest, client));
            // The tokens differ, so two equal heads are a chance of one in 2^64 for each pair.
            assert!(before.is_none(), "two tokens share a digest: start again");
        }
        Self {
            names,
            limits,
            tokens,
        }
    }

    fn find(&self, digest: &Digest) -> Option<ClientId> {
        let (known, client) = self.tokens.get(&head_of(digest))?;
        bool::from(known.ct_eq(digest)).then_some(*client)
    }
}

fn head_of(digest: &Digest) -> [u8; 8] {
    *digest.first_chunk().expect("32 bytes have a head of 8")
}

/// A key that nobody outside knows; always the same one in the simulation, so that it can be repeated.
fn random_key() -> Result<[u8; 32], getrandom::Error> {
    let mut key = [0; 32];
    if !cfg!(metricstream_shuttle) {
        getrandom::fill(&mut key)?;
    }
    Ok(key)
}

/// SHA-256 over a key of fixed length and the credential. No digest leaves the process whole, so appending
/// to the hashed text gains nothing.
fn digest(key: &[u8; 32], credential: &[u8]) -> Digest {
    Sha256::new()
        .chain_update(key)
        .chain_update(credential)
        .finalize()
        .into()
}

/// What identifies the client in the value of `Authorization`; empty when there is nothing.
fn credential_of(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = value.trim_ascii();
    match value.iter().position(is_blank) {
        Some(end_of_scheme) => value[end_of_scheme..].trim_ascii_start(),
        None => value,
    }
}

/// The tokens of the configuration, parsed and not yet digested. Its `Debug` shows no token.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TokenTable {
    tokens: Vec<(Box<str>, Secret)>,
    /// By name; of those that have one.
    limits: HashMap<Box<str>, u32>,
}

#[derive(PartialEq, Eq)]
struct Secret(Box<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What is wrong with a token table, and in which line (from 1). Shows no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TokenTableError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: TokenTableProblem,
}

/// What can be wrong with a line of a token table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTableProblem {
    /// Not two words, or three.
    #[error("a line is a name, a token and perhaps a limit, separated by spaces; this one has {words} words")]
    Words {
        /// How many it has.
        words: usize,
    },
    /// The name is too long.
    #[error("the name is {seen} bytes long, over the limit of {TOKEN_NAME_BYTES_MAX}")]
    NameTooLong {
        /// Its length in bytes.
        seen: usize,
    },
    /// The token is too long.
    #[error("the token is {seen} bytes long, over the limit of {CREDENTIAL_BYTES_MAX}")]
    TokenTooLong {
        /// Its length in bytes.
        seen: usize,
    },
    /// A character that no header can carry safely, or no log should.
    #[error("names and tokens are visible ASCII characters")]
    Character,
    /// The third word is no number.
    #[error("the limit, the third word, is requests per second: a whole number, 0 for no limit")]
    Limit,
    /// A name with two limits.
    #[error("the limit is {seen} and in line {first} {limit}; a name has one")]
    LimitDiffers {
        /// The limit here.
        seen: u32,
        /// Where the other stands.
        first: usize,
        /// What it is there.
        limit: u32,
    },
    /// The same token again.
    #[error("this token stands in line {first} too")]
    Repeated {
        /// Where it stands first.
        first: usize,
    },
    /// More than [`TOKENS_MAX`].
    #[error("there are more than {TOKENS_MAX} tokens")]
    TooMany,
    /// None at all: then no request could ever be admitted.
    #[error("the table holds no token")]
    Empty,
}

impl TokenTable {
    /// Parses the text of a token file.
    ///
    /// # Errors
    /// The first line that breaks the format, see the top of this file.
    pub fn parse(text: &str) -> Result<Self, TokenTableError> {
        let mut tokens: Vec<(Box<str>, Secret)> = Vec::new();
        let mut line_of: HashMap<&str, usize> = HashMap::new();
        let mut limits: HashMap<&str, (u32, usize)> = HashMap::new();
        let mut lines = 0;
        for (index, line) in text.lines().enumerate() {
            let error = |problem| TokenTableError {
                line: index + 1,
                problem,
            };
            lines = index + 1;
            let Some((name, token, limit)) = parse_line(line).map_err(error)? else {
                continue;
            };
            if tokens.len() == TOKENS_MAX {
                return Err(error(TokenTableProblem::TooMany));
            }
            if let Some(first) = line_of.insert(token, index + 1) {
                return Err(error(TokenTableProblem::Repeated { first }));
            }
            if let Some(seen) = limit {
                let (limit, first) = *limits.entry(name).or_insert((seen, index + 1));
                if limit != seen {
                    return Err(error(TokenTableProblem::LimitDiffers { seen, first, limit }));
                }
            }
            tokens.push((name.into(), Secret(token.as_bytes().into())));
        }
        if tokens.is_empty() {
            return Err(TokenTableError {
                line: lines.max(1),
                problem: TokenTableProblem::Empty,
            });
        }
        let limits = limits.into_iter().map(|(name, (limit, _))| (name.into(), limit));
        let limits = limits.collect();
        Ok(Self { tokens, limits })
    }

    /// How many tokens it holds; at least one when it was parsed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// A name, a token and a limit.
type Line<'a> = (&'a str, &'a str, Option<u32>);

/// What one line says, or nothing when it is empty or a comment.
fn parse_line(line: &str) -> Result<Option<Line<'_>>, TokenTableProblem> {
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(name), Some(token), limit, None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(TokenTableProblem::Words {
            words: line.split([' ', '\t']).filter(|word| !word.is_empty()).count(),
        });
    };
    if name.len() > TOKEN_NAME_BYTES_MAX {
        return Err(TokenTableProblem::NameTooLong { seen: name.len() });
    }
    if token.len() > CREDENTIAL_BYTES_MAX {
        return Err(TokenTableProblem::TokenTooLong { seen: token.len() });
    }
    if !name
        .bytes()
        .chain(token.bytes())
        .all(|byte| byte.is_ascii_graphic())
    {
        return Err(TokenTableProblem::Character);
    }
    let limit = limit.map(|limit| {
        let is_number = limit.bytes().all(|byte| byte.is_ascii_digit());
        let number = limit.parse().ok().filter(|_| is_number);
        number.ok_or(TokenTableProblem::Limit)
    });
    Ok(Some((name, token, limit.transpose()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn open() -> Authenticator {
        Authenticator::new(None).unwrap()
    }

    fn with_tokens(text: &str) -> Authenticator {
        Authenticator::new(Some(&TokenTable::parse(text).unwrap())).unwrap()
    }

    #[test]
    fn without_a_table_the_credential_or_the_address_names_the_client() {
        let auth = open();
        let of = |value: &str| auth.identify(Some(value.as_bytes()), PEER).unwrap();
        assert_eq!(of("Bearer abc"), of("  Token \t abc "));
        assert_eq!(of("Bearer abc"), of("abc"));
        assert_ne!(of("Bearer abc"), of("Bearer abd"));
        assert_eq!(of(" \t "), ClientId::from_address(PEER));
        assert_eq!(auth.identify(None, PEER), Ok(ClientId::from_address(PEER)));
        assert_eq!(auth.label(of("")).to_string(), "192.0.2.7");
    }

    #[test]
    fn with_a_table_only_its_tokens_are_clients() {
        let auth = with_tokens("# fleet\n\nweb  t0ken-1\nweb\tt0ken-2\n  db t0ken-3  ");
        let web = auth.identify(Some(b"Bearer t0ken-1"), PEER).unwrap();
        assert_eq!(auth.label(web).to_string(), "web");
        assert_eq!(auth.identify(Some(b"Bearer t0ken-2"), PEER), Ok(web));
        assert_ne!(auth.identify(Some(b"Bearer t0ken-3"), PEER), Ok(web));
        assert_eq!(auth.identify(None, PEER), Err(Unauthenticated::Missing));
        for other in ["Bearer t0ken-4", "Bearer t0ken-1x", "Bearer t0ken-", "T0KEN-1"] {
            assert_eq!(
                auth.identify(Some(other.as_bytes()), PEER),
                Err(Unauthenticated::Unknown)
            );
        }
    }

    #[test]
    fn a_name_has_its_own_limit_or_the_servers() {
        let auth = with_tokens("a t1 5\na t2\nb t3\nc t4 0\nd t5 4294967295");
        let limit = |token: &str| auth.recognise(Some(token.as_bytes()), PEER).unwrap().requests_max;
        assert_eq!(["t1", "t2", "t3"].map(limit), [Some(5), Some(5), None]);
        assert_eq!(["t4", "t5"].map(limit), [Some(0), Some(u32::MAX)]);
        assert_eq!(auth.recognise(None, PEER), Err(Unauthenticated::Missing));
        assert_eq!(open().recognise(None, PEER).unwrap().requests_max, None);
    }

    #[test]
    fn a_client_keeps_its_id_when_the_table_is_replaced() {
        let before = with_tokens("web t0ken-1\ndb t0ken-2");
        let after = before.successor(Some(
            &TokenTable::parse("new t0ken-4\ndb t0ken-3\nweb t0ken-1").unwrap(),
        ));
        let of = |auth: &Authenticator, value: &str| auth.identify(Some(value.as_bytes()), PEER);
        assert_eq!(of(&before, "t0ken-1"), of(&after, "t0ken-1"));
        assert_eq!(of(&before, "t0ken-2"), of(&after, "t0ken-3"), "by its name");
        assert_eq!(of(&after, "t0ken-2"), Err(Unauthenticated::Unknown));
        assert_ne!(of(&after, "t0ken-4"), of(&before, "t0ken-1"));
        assert_eq!(after.label(of(&after, "t0ken-4").unwrap()).to_string(), "new");
        let open = after.successor(None);
        assert_eq!(of(&open, "abc"), of(&open.successor(None), "abc"));
        assert_eq!((after.tokens(), open.tokens()), (Some(3), None));
    }

    #[test]
    fn the_length_of_a_credential_is_bounded() {
        let longest = vec![b'a'; CREDENTIAL_BYTES_MAX];
        let longer = vec![b'a'; CREDENTIAL_BYTES_MAX + 1];
        assert!(open().identify(Some(&longest), PEER).is_ok());
        let seen = longer.len();
        for auth in [open(), with_tokens("a b")] {
            assert_eq!(
                auth.identify(Some(&longer), PEER),
                Err(Unauthenticated::TooLong { seen })
            );
        }
    }

    #[test]
    fn nothing_that_can_be_printed_holds_a_credential() {
        let table = TokenTable::parse("web hunter2-hunter2").unwrap();
        let auth = Authenticator::new(Some(&table)).unwrap();
        let named = auth.identify(Some(b"Bearer hunter2-hunter2"), PEER);
        let fingerprint = open().identify(Some(b"Bearer hunter2-hunter2"), PEER).unwrap();
        let repeated = TokenTable::parse("web hunter2-hunter2\ndb hunter2-hunter2").unwrap_err();
        let shown = format!(
            "{table:?} {auth:?} {named:?} {fingerprint:?} {} {repeated} {repeated:?}",
            open().label(fingerprint)
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("credential-"), "{shown}");
        assert!(shown.contains("Authenticator"), "{shown}");
        assert_eq!(format!("{:?}", Secret(Box::new([90]))), "(hidden)");
    }

    #[test]
    fn keys_are_random() {
        let [first, second] = [random_key().unwrap(), random_key().unwrap()];
        assert_ne!(first, second);
        assert!([first, second].iter().all(|key| key.iter().any(|byte| *byte > 1)));
    }

    #[test]
    fn a_bad_table_is_refused_with_its_line() {
        let problem = |text: &str| {
            let error = TokenTable::parse(text).unwrap_err();
            (error.line, error.problem)
        };
        assert_eq!(problem(""), (1, TokenTableProblem::Empty));
        assert_eq!(problem("# a\n\n"), (2, TokenTableProblem::Empty));
        assert_eq!(problem("a b\nc"), (2, TokenTableProblem::Words { words: 1 }));
        assert_eq!(problem("a b 1 2"), (1, TokenTableProblem::Words { words: 4 }));
        for limit in ["c", "-1", "+1", "1.5", "4294967296"] {
            assert_eq!(problem(&format!("a b {limit}")), (1, TokenTableProblem::Limit));
        }
        let (seen, first, limit) = (6, 1, 5);
        assert_eq!(
            problem("a b 5\na c 6"),
            (2, TokenTableProblem::LimitDiffers { seen, first, limit })
        );
        assert_eq!(problem("a b\nc b"), (2, TokenTableProblem::Repeated { first: 1 }));
        assert_eq!(problem("a \u{e9}"), (1, TokenTableProblem::Character));
        assert_eq!(problem("a b\u{7f}"), (1, TokenTableProblem::Character));
        let longest = format!(
            "{} {}",
            "n".repeat(TOKEN_NAME_BYTES_MAX),
            "t".repeat(CREDENTIAL_BYTES_MAX)
        );
        let table = TokenTable::parse(&longest).unwrap();
        assert_eq!((table.len(), table.is_empty()), (1, false));
        let long = "n".repeat(TOKEN_NAME_BYTES_MAX + 1);
        assert_eq!(
            problem(&format!("{long} b")),
            (1, TokenTableProblem::NameTooLong { seen: long.len() })
        );
        let long = "t".repeat(CREDENTIAL_BYTES_MAX + 1);
        assert_eq!(
            problem(&format!("a {long}")),
            (1, TokenTableProblem::TokenTooLong { seen: long.len() })
        );
    }

    #[test]
    fn an_address_has_one_id_however_it_is_written() {
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(ClientId::from_address(PEER), ClientId::from_address(mapped));
        assert_eq!(
            ClientId::from_address(mapped).words(),
            ClientId::from_address(PEER).words()
        );
        assert_eq!(format!("{:?}", ClientId::from_address(PEER).0), "192.0.2.7");
        assert_eq!(size_of::<ClientId>(), 17);
    }

    #[test]
    fn the_words_of_an_id_say_all_of_it() {
        let bytes: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let words = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908];
        for (id, kind) in [
            (ClientId::from_address(IpAddr::from(bytes)), 0),
            (ClientId(Kind::Credential(bytes)), 1),
            (ClientId(Kind::Name(bytes)), 2),
        ] {
            assert_eq!(id.words(), [words[0], words[1], kind]);
        }
    }
}
