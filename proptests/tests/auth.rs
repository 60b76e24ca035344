//! Who a request is from: the table against a search through its text, and nothing that makes it fall over.

use metricstream::admission::auth::{Authenticator, ClientId, TokenTable, Unauthenticated};
use metricstream::limits::CREDENTIAL_BYTES_MAX;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv6Addr};

const PEER: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Names and tokens as a table has them; few letters, so that they meet.
fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ab#]{1,2}", "[!a~]{1,4}"), 1..12)
}

/// What follows the first blank, by the standard library's means.
fn credential(value: &str) -> &str {
    let value = value.trim_matches([' ', '\t']);
    match value.split_once([' ', '\t']) {
        Some((_, rest)) => rest.trim_start_matches([' ', '\t']),
        None => value,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_knows_its_tokens_and_no_other(
        entries in entries(),
        blank in "[ \t]{1,3}",
        asked in prop::collection::vec("([A-Z]{1,6}[ \t]{1,2})?[!a~]{0,4}[ \t]{0,2}", 1..20),
    ) {
        let text: String = entries.iter().map(|(name, token)| format!("{blank}{name}{blank}{token} \n")).collect();
        let lines: Vec<_> = entries.iter().filter(|(name, _)| !name.starts_with('#')).collect();
        let repeated = (1..lines.len()).any(|end| lines[..end].iter().any(|line| line.1 == lines[end].1));
        let table = match TokenTable::parse(&text) {
            Ok(table) => table,
            Err(_) => {
                prop_assert!(repeated || lines.is_empty());
                return Ok(());
            }
        };
        prop_assert!(!repeated);
        prop_assert_eq!(table.len(), lines.len());
        let auth = Authenticator::new(Some(&table)).unwrap();
        for value in &asked {
            let token = credential(value);
            let found = auth.identify(Some(value.as_bytes()), PEER);
            match lines.iter().find(|line| line.1 == token) {
                Some((name, _)) => prop_assert_eq!(auth.label(found.unwrap()).to_string(), name.as_str()),
                None if token.is_empty() => prop_assert_eq!(found, Err(Unauthenticated::Missing)),
                None => prop_assert_eq!(found, Err(Unauthenticated::Unknown)),
            }
        }
    }

    #[test]
    fn without_a_table_clients_are_equal_when_their_credentials_are(a in "[ab \t]{0,6}", b in "[ab \t]{0,6}") {
        let auth = Authenticator::new(None).unwrap();
        let id = |value: &str| auth.identify(Some(value.as_bytes()), PEER).unwrap();
        prop_assert_eq!(id(&a) == id(&b), credential(&a) == credential(&b));
        prop_assert_eq!(id(&a) == ClientId::from_address(PEER), credential(&a).is_empty());
    }

    #[test]
    fn any_bytes_are_answered(value in prop::collection::vec(any::<u8>(), 0..2 * CREDENTIAL_BYTES_MAX)) {
        let open = Authenticator::new(None).unwrap();
        let table = TokenTable::parse("a b").unwrap();
        let closed = Authenticator::new(Some(&table)).unwrap();
        for auth in [open, closed] {
            if let Err(Unauthenticated::TooLong { seen }) = auth.identify(Some(&value), PEER) {
                prop_assert!(seen > CREDENTIAL_BYTES_MAX && seen <= value.len());
            }
        }
    }

    #[test]
    fn any_text_is_a_table_or_an_error_with_a_line_of_it(text in "([ab#\u{e9}]{0,3}[ \t\n]{0,2}){0,12}") {
        match TokenTable::parse(&text) {
            Ok(table) => prop_assert!(!table.is_empty()),
            Err(error) => {
                prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{error}");
            }
        }
    }

    #[test]
    fn an_address_is_shown_as_itself(v4 in any::<std::net::Ipv4Addr>(), v6 in any::<Ipv6Addr>()) {
        let auth = Authenticator::new(None).unwrap();
        for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
            let id = auth.identify(None, address).unwrap();
            prop_assert_eq!(auth.label(id).to_string().parse::<IpAddr>().unwrap(), address.to_canonical());
        }
    }
}
