//! The settings are what was given, within their ranges, or refused by name; wherever they are written.

use std::ffi::OsString;
use std::path::Path;

use metricstream::config::Settings;
use metricstream::config::sources::{Entry, Origin, Sources, entries, merge};
use metricstream_proptests::config::{Found, RANGES, check, check_file, flags_of, toml_string};
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

/// A good value of the setting, as it would be written; never empty.
fn good_value(entry: &Entry) -> BoxedStrategy<String> {
    let flag = entry.key.replace('_', "-");
    let numeric = RANGES.iter().find(|row| row.0 == flag && row.0 != "log-filter");
    if let Some(&(_, least, most)) = numeric {
        return (least..=most).prop_map(|value| value.to_string()).boxed();
    }
    match entry.key.as_str() {
        "listen" => any::<std::net::SocketAddr>()
            .prop_map(|address| address.to_string())
            .boxed(),
        "ack_level" => prop::sample::select(vec!["queued", "written", "synced"])
            .prop_map(str::to_owned)
            .boxed(),
        "log_format" => prop::sample::select(vec!["human", "json"])
            .prop_map(str::to_owned)
            .boxed(),
        "scheduling_policy" => prop::sample::select(vec!["batch", "inherited"])
            .prop_map(str::to_owned)
            .boxed(),
        // Free text, a number's and a flag's too.
        "data_dir" | "tokens_file" | "tls_certificate_file" | "tls_key_file" | "log_filter" => prop_oneof![
            any::<String>().prop_filter("not empty", |text| !text.is_empty()),
            any::<i32>().prop_map(|number| number.to_string()),
            "[-+=#\"'\\\\\\[\\] \\x00-\\x1f\\x7f]{1,8}",
        ]
        .boxed(),
        "admin_addresses" => Just("10.0.0.0/8,::1".to_owned()).boxed(),
        "alert_webhook_url" => Just("http://[::1]:9/a?b".to_owned()).boxed(),
        _ => Just(
            entry
                .default
                .clone()
                .expect("a good value is known of every setting"),
        )
        .boxed(),
    }
}

/// Good values of some of the settings.
fn good_values() -> impl Strategy<Value = Vec<(Entry, Option<String>)>> {
    entries()
        .into_iter()
        .map(|entry| {
            let value = prop::option::of(good_value(&entry));
            (Just(entry), value)
        })
        .collect::<Vec<_>>()
}

/// Good values of each setting for each of the three sources.
fn good_sources() -> impl Strategy<Value = Vec<(Entry, [Option<String>; 3])>> {
    entries()
        .into_iter()
        .map(|entry| {
            let value = || prop::option::of(good_value(&entry));
            let values = [value(), value(), value()];
            (Just(entry), values)
        })
        .collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// As flags, as variables, as a file and as `metricstream config` prints them they are the same settings.
    #[test]
    fn settings_survive_being_written_anywhere(values in good_values()) {
        let flags: Vec<String> = values
            .iter()
            .filter_map(|(entry, value)| Some(format!("{}={}", entry.flag(), value.as_ref()?)))
            .collect();
        prop_assert_ne!(check(&flags), Found::NotFlags);
    }

    /// A flag wins over the environment, which wins over a file, which wins over the default.
    #[test]
    fn the_nearest_source_wins_for_each_setting(values in good_sources()) {
        let written = |source: usize| values.iter().filter_map(move |(entry, values)| Some((entry, values[source].as_ref()?)));
        let flags: Vec<String> = written(0).map(|(entry, value)| format!("{}={value}", entry.flag())).collect();
        let matches = Settings::command().try_get_matches_from(flags).unwrap();
        let environment = written(1)
            .map(|(entry, value)| (OsString::from(entry.variable()), OsString::from(value)))
            .collect();
        let file: String = written(2).map(|(entry, value)| format!("{} = {}\n", entry.key, toml_string(value))).collect();
        let merged = merge(&Sources { flags: Some(&matches), environment, file: Some((Path::new("m.toml"), &file)) }).unwrap();
        for ((entry, [flag, variable, in_file]), found) in values.iter().zip(&merged.effective) {
            let expected = flag.as_ref().or(variable.as_ref()).or(in_file.as_ref()).or(entry.default.as_ref()).map(OsString::from);
            prop_assert_eq!(&found.entry, entry);
            prop_assert_eq!(found.value.as_ref(), expected.as_ref(), "{}", entry.key);
            prop_assert!(match found.origin {
                Origin::Flag => flag.is_some(),
                Origin::Environment { .. } => flag.is_none() && variable.is_some(),
                Origin::File { .. } => flag.is_none() && variable.is_none() && in_file.is_some(),
                Origin::Default => flag.is_none() && variable.is_none() && in_file.is_none(),
            }, "{}: {}", entry.key, found.origin);
        }
    }

    /// Lines that look like settings, and any other text.
    #[test]
    fn any_text_is_a_file_or_is_refused_at_a_place(
        lines in prop::collection::vec(
            ("[a-z_]{1,8}|workers|log_filter|data_dir", " {0,2}", "=?", "-?[0-9]{1,5}|\"[^\"\n]{0,6}\"|'.{0,6}'|true|\\[1\\]|.{0,6}"),
            0..4,
        ),
        text in ".{0,40}",
    ) {
        let lines: String = lines.into_iter().map(|(key, blank, equals, value)| format!("{key}{blank}{equals}{value}\n")).collect();
        check_file(&lines);
        check_file(&text);
    }
}

#[test]
fn a_file_is_taken_or_refused_for_each_reason() {
    for taken in [
        "",
        "workers = 3",
        "workers = '3'",
        "data_dir = \"\\U0000000A#\"\n",
        "# nothing",
    ] {
        assert!(check_file(taken), "{taken}");
    }
    for refused in [
        "workers",
        "workers = 1.5",
        "[workers]",
        "worker = 1",
        "workers = 'x'",
        "a = 1\na = 2",
        "\u{0}",
    ] {
        assert!(!check_file(refused), "{refused}");
    }
}

/// A file whose path ends lines does not end the comment that names it.
#[test]
fn the_path_of_a_file_does_no_harm_where_it_is_printed() {
    let read = |path: &str, text: &str| {
        let file = Some((Path::new(path), text));
        let merged = merge(&Sources {
            file,
            ..Sources::default()
        })
        .unwrap();
        (
            metricstream::cli::config::toml(&merged),
            format!("{:?}", merged.settings),
        )
    };
    let (printed, settings) = read("a\nworkers = 7\u{85}\r#\u{0}", "workers = 3");
    assert_eq!(read("m.toml", &printed).1, settings, "{printed}");
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
        check_file(&String::from_utf8_lossy(bytes));
    });
    assert!(count > 0, "the seeds are where they are looked for");
}
