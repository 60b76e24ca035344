//! RFC 8259, case by case.

use metricstream_proptests::json::{check, read, skip};
use metricstream_proptests::json_cases::{ACCEPTED, DECIDED, REFUSED, nested};

#[test]
fn what_the_rfc_accepts_is_accepted() {
    for case in ACCEPTED {
        assert_eq!(
            skip(case.document),
            Ok(()),
            "{} (section {})",
            case.name,
            case.section
        );
        assert!(
            read(case.document).is_ok(),
            "{} (section {})",
            case.name,
            case.section
        );
        check(case.document);
    }
}

#[test]
fn what_the_rfc_excludes_is_refused() {
    for case in REFUSED {
        assert!(
            skip(case.document).is_err(),
            "{} (section {})",
            case.name,
            case.section
        );
        assert!(
            read(case.document).is_err(),
            "{} (section {})",
            case.name,
            case.section
        );
        check(case.document);
    }
}

#[test]
fn what_the_rfc_leaves_open_is_as_decided() {
    for decided in DECIDED {
        let case = decided.case;
        assert_eq!(
            skip(case.document).is_ok(),
            decided.skipped,
            "{} (section {})",
            case.name,
            case.section
        );
        assert_eq!(
            read(case.document).is_ok(),
            decided.read,
            "{} (section {})",
            case.name,
            case.section
        );
        check(case.document);
    }
}

#[test]
fn nesting_is_bounded_exactly() {
    for document in nested(0).iter().chain(&nested(-1)) {
        assert!(skip(document).is_ok() && read(document).is_ok());
        check(document);
    }
    for document in nested(1).iter().chain(&nested(2)) {
        assert!(skip(document).is_err() && read(document).is_err());
        check(document);
    }
    // Far beyond: refused at once, without using up the stack.
    for bracket in ["[", "{\"\":"] {
        assert!(skip(bracket.repeat(1_000_000).as_bytes()).is_err());
    }
}

#[test]
fn every_prefix_and_every_single_byte_change_of_every_case() {
    let cases = ACCEPTED
        .iter()
        .chain(REFUSED)
        .copied()
        .chain(DECIDED.iter().map(|decided| decided.case));
    for case in cases {
        let mut document = case.document.to_vec();
        for end in 0..document.len() {
            check(&document[..end]);
        }
        for place in 0..document.len() {
            let byte = document[place];
            for other in 0..=255 {
                document[place] = other;
                check(&document);
            }
            document[place] = byte;
        }
    }
}
