//! The settings are what was given, within their ranges, or refused by name.

use metricstream_proptests::config::{Found, RANGES, check, flags_of};
use metricstream_proptests::seeds;
use proptest::prelude::*;

/// A value near the edges of a range, or any.
fn value(least: u64, most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => least..=most,
        1 => Just(least),
        1 => Just(most),
        1 => Just(least.saturating_sub(1)),
        1 => Just(most.saturating_add(1)),
        1 => any::<u64>(),
    ]
}

fn flag() -> impl Strategy<Value = Vec<String>> {
    let numeric = RANGES.len() - 1;
    (0..numeric, any::<bool>()).prop_flat_map(|(index, joined)| {
        let (name, least, most) = RANGES[index];
        value(least, most).prop_map(move |value| match joined {
            true => vec![format!("--{name}={value}")],
            false => vec![format!("--{name}"), value.to_string()],
        })
    })
}

proptest! {
    #[test]
    fn settings_are_what_was_given_or_are_refused_by_name(flags in prop::collection::vec(flag(), 0..4)) {
        check(&flags.concat());
    }

    #[test]
    fn any_text_is_flags_or_is_refused(text in ".{0,200}") {
        check(&flags_of(text.as_bytes()));
    }
}

#[test]
fn each_edge_is_inside_and_the_next_value_is_outside() {
    // Room for every other setting's largest value.
    let roomy = [
        "--log-queue-bytes-max=68719476736".to_owned(),
        "--request-buffer-bytes-max=68719476736".to_owned(),
    ];
    for (name, least, most) in RANGES {
        if name == "log-filter" {
            continue;
        }
        let with = |value: u64| {
            let mut flags: Vec<_> = roomy
                .iter()
                .filter(|flag| !flag.starts_with(&format!("--{name}=")))
                .cloned()
                .collect();
            flags.push(format!("--{name}={value}"));
            check(&flags)
        };
        assert_eq!(with(most), Found::Config, "{name} {most}");
        assert_ne!(with(most + 1), Found::Config, "{name} {}", most + 1);
        if least > 0 {
            assert_eq!(with(least - 1), Found::Refused, "{name} {}", least - 1);
        }
        // Two settings cannot be at their least beside the largest request.
        if !name.ends_with("-bytes-max") {
            assert_eq!(with(least), Found::Config, "{name} {least}");
        }
    }
}

#[test]
fn seeds_and_past_crashes_agree() {
    let count = seeds::replay("config", |bytes| {
        check(&flags_of(bytes));
    });
    assert!(count > 0, "the seeds are where they are looked for");
}
