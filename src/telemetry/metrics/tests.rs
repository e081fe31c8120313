use std::collections::{BTreeMap, BTreeSet};

use super::super::sample;
use super::*;
use crate::store::{CommandId, Pause};

const NOW: Timestamp = Timestamp::from_millis(2_500);

/// The encoded samples: name with labels, and value.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.encode(NOW);
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn names_are_the_contracts() {
    let metrics = Metrics::new("3.53.0");
    let names: BTreeSet<String> = samples(&metrics)
        .into_keys()
        .map(|series| series.split('{').next().unwrap_or_default().to_owned())
        .collect();
    let histogram = |name: &str| ["bucket", "count", "sum"].map(|part| format!("{name}_{part}"));
    let expected: BTreeSet<String> = [
        "attempts_total",
        "exhausted_total",
        "queue_callbacks",
        "store_last_commit_timestamp_seconds",
        "store_commit_waiting_seconds",
        "troubles",
        "queue_counted_timestamp_seconds",
        "in_flight",
        "own_outage",
        "oldest_due_seconds",
        "oldest_due_timestamp_seconds",
        "store_wal_bytes",
        "clock_skew_seconds",
        "oldest_snapshot_seconds",
        "config_generations_total",
        "config_last_reload_successful",
        "config_last_reload_success_timestamp_seconds",
        "beat_timestamp_seconds",
        "start_timestamp_seconds",
        "paused",
        "learned_limit_origins",
        "traces_exported_total",
        "traces_dropped_total",
        "build_info",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(histogram("attempt_duration_seconds"))
    .chain(histogram("delivery_lag_seconds"))
    .chain(histogram("store_commit_seconds"))
    .map(|name| format!("callback_dispatcher_{name}"))
    .chain(
        [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_threads",
            "process_virtual_memory_bytes",
        ]
        .map(str::to_owned),
    )
    .collect();
    assert_eq!(names, expected);
    metrics.configured("ab12", NOW);
    metrics.configured("cd34", NOW);
    let samples = samples(&metrics);
    let fingerprints = samples
        .keys()
        .filter(|name| name.contains("config_fingerprint"));
    let fingerprints: Vec<&String> = fingerprints.collect();
    assert_eq!(
        fingerprints,
        ["callback_dispatcher_config_fingerprint{sha256=\"cd34\"}"]
    );
    assert_eq!(samples["callback_dispatcher_config_generations_total"], 2.0);
}

#[test]
fn learned_limits_are_counted_in_steps() {
    let metrics = Metrics::new("3.53.0");
    metrics.learned_limits(&[1, 1, 3, 64, 1000]);
    metrics.learned_limits(&[1, 3, 4, 64, 1000]);
    let samples = samples(&metrics);
    for (at_most, origins) in [
        ("1", 1.0),
        ("2", 0.0),
        ("4", 2.0),
        ("64", 1.0),
        ("more", 1.0),
    ] {
        let series = format!("callback_dispatcher_learned_limit_origins{{at_most=\"{at_most}\"}}");
        assert_eq!(samples.get(&series), Some(&origins), "{series}");
    }
}

#[test]
fn every_series_is_there_from_the_start() {
    let samples = samples(&Metrics::new("3.53.0"));
    for kind in KINDS {
        for outcome in Outcome::ALL {
            let series = format!(
                "callback_dispatcher_attempts_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"
            );
            assert_eq!(samples.get(&series), Some(&0.0), "{series}");
        }
        let series = format!("callback_dispatcher_exhausted_total{{kind=\"{kind}\"}}");
        assert_eq!(samples.get(&series), Some(&0.0), "{series}");
    }
    for state in ShownState::ALL {
        let series = format!("callback_dispatcher_queue_callbacks{{state=\"{state}\"}}");
        assert_eq!(samples.get(&series), Some(&0.0), "{series}");
    }
    let build = format!(
        "callback_dispatcher_build_info{{version=\"{}\",sqlite=\"3.53.0\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(samples.get(&build), Some(&1.0));
}

#[test]
fn lists_are_in_the_order_of_declaration() {
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, place);
    }
    for (place, state) in ShownState::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, place);
    }
    for kind in Kind::ALL {
        assert_eq!(KINDS[kind_place(Some(kind))], kind.as_str());
    }
    assert_eq!(KINDS[kind_place(None)], KIND_OF_UNREADABLE_ROW);
}

#[test]
fn attempts_are_counted_by_kind_and_outcome() {
    let metrics = Metrics::new("");
    let value = |series: &str| samples(&metrics)[&format!("callback_dispatcher_{series}")];

    sample::with_refused(|finished| metrics.attempt_finished(finished));
    assert_eq!(
        value("attempts_total{kind=\"payment\",outcome=\"refused\"}"),
        1.0
    );
    assert_eq!(value("attempt_duration_seconds_sum"), 0.25);
    assert_eq!(value("delivery_lag_seconds_count"), 0.0);

    let mut attempt = sample::attempt(Outcome::Acknowledged, "");
    sample::with(&attempt, Next::Delivered, |finished| {
        metrics.attempt_finished(finished);
    });
    assert_eq!(value("delivery_lag_seconds_sum"), 2.0);

    attempt.verdict.outcome = Outcome::Timeout;
    sample::with(&attempt, Next::Exhausted, |finished| {
        let finished = FinishedAttempt {
            kind: None,
            app_id: "",
            order: "",
            ..*finished
        };
        metrics.attempt_finished(&finished);
    });
    assert_eq!(
        value("attempts_total{kind=\"unknown\",outcome=\"timeout\"}"),
        1.0
    );
    assert_eq!(value("exhausted_total{kind=\"unknown\"}"), 1.0);
    assert_eq!(value("exhausted_total{kind=\"payment\"}"), 0.0);
    assert_eq!(value("attempt_duration_seconds_count"), 3.0);
}

#[test]
fn gauges_follow_the_queue() {
    let metrics = Metrics::new("");
    let value = |series: &str| samples(&metrics)[&format!("callback_dispatcher_{series}")];
    let stats = Stats {
        depth: ShownState::ALL.into_iter().zip([5, 4, 3, 2, 1]).collect(),
        oldest_due: Some(Timestamp::from_millis(1_000)),
        paused: vec![Pause {
            scope: PauseScope::App,
            name: "6".to_owned(),
            since: Timestamp::from_millis(1),
            command_id: CommandId(1),
            actor: "support".to_owned(),
            reason: "their request".to_owned(),
        }],
    };
    metrics.set_queue(&stats, Timestamp::from_millis(1_700_000_000_000));
    assert_eq!(value("queue_callbacks{state=\"pending\"}"), 5.0);
    assert_eq!(value("queue_callbacks{state=\"cancelled\"}"), 1.0);
    assert_eq!(value("paused{scope=\"app\"}"), 1.0);
    assert_eq!(value("paused{scope=\"origin\"}"), 0.0);

    for (due, at, age) in [
        (Some(Timestamp::from_millis(1_000)), 1.0, 1.5),
        (Some(Timestamp::from_millis(3_000)), 3.0, 0.0),
        (None, 0.0, 0.0),
    ] {
        metrics.set_oldest_due(due);
        assert_eq!(value("oldest_due_timestamp_seconds"), at);
        assert_eq!(value("oldest_due_seconds"), age, "at 2.5 s");
    }

    metrics.started("ab12", NOW);
    assert_eq!(value("config_last_reload_successful"), 1.0);
    metrics.reload_refused();
    assert_eq!(value("config_last_reload_successful"), 0.0);
    assert_eq!(value("config_last_reload_success_timestamp_seconds"), 2.5);
    metrics.configured("ab12", Timestamp::from_millis(4_000));
    assert_eq!(value("config_last_reload_successful"), 1.0);
    assert_eq!(value("config_last_reload_success_timestamp_seconds"), 4.0);

    metrics.in_flight(7);
    assert_eq!(value("in_flight"), 7.0);
    metrics
        .commit_observer()
        .committed(Duration::from_millis(3), 12);
    assert_eq!(value("store_commit_seconds_count"), 1.0);
    assert_eq!(value("store_commit_seconds_sum"), 0.003);

    assert_eq!(value("store_wal_bytes"), 0.0);
    metrics.set_wal_bytes(4_152);
    assert_eq!(value("store_wal_bytes"), 4_152.0);
}

#[test]
fn moments_are_shown_in_unix_seconds() {
    let metrics = Metrics::new("");
    let value = |series: &str| samples(&metrics)[&format!("callback_dispatcher_{series}")];
    metrics.started("ab12", Timestamp::from_millis(1_663_738_614_000));
    assert_eq!(value("start_timestamp_seconds"), 1_663_738_614.0);
    assert_eq!(value("beat_timestamp_seconds"), 0.0, "it has not begun");
    metrics.beat(Timestamp::from_millis(1_663_738_614_280));
    assert_eq!(value("beat_timestamp_seconds"), 1_663_738_614.28);
}

#[test]
fn no_label_holds_a_merchants_value() {
    let metrics = Metrics::new("");
    sample::with_refused(|finished| metrics.attempt_finished(finished));
    let text = metrics.encode(NOW);
    assert!(!text.contains("merchant.example"));
    assert!(!text.contains("app_id"));
}
