use std::collections::BTreeMap;

use super::*;
use crate::domain::{CallbackId, Cause, Exchange, ExchangeFault, SENT_BEFORE, judge};
use crate::store::Origin;

const QUEUED: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn callback(state: ShownState) -> CallbackRow {
    let text = str::to_owned;
    CallbackRow {
        id: CallbackId(7),
        kind: text("payment"),
        callback_url: text("https://shop.example/cb"),
        app_id: text("6"),
        pay_method: 2,
        amount: text("100.00"),
        currency: text("LAK"),
        newpay_order_no: text("N1"),
        order_no: text("M1"),
        newpay_refund_order_no: None,
        refund_order_no: None,
        subject: String::new(),
        extra: String::new(),
        result: text("success"),
        trans_info: String::new(),
        settlement_status: Some(1),
        created_at: QUEUED,
        state,
        attempts: 4,
        next_attempt_at: Some(QUEUED),
        leased_until: None,
        last_outcome: None,
        finished_at: None,
        origin: Origin::new("https://shop.example"),
        to_url: None,
    }
}

fn attempt(outcome: Outcome, phase: Option<Phase>, detail: &str) -> AttemptRow {
    AttemptRow {
        callback_id: CallbackId(7),
        seq: 1,
        started_at: QUEUED,
        duration_ms: 10_004,
        outcome: outcome.to_string(),
        counted: outcome.is_counted(),
        http_status: (outcome == Outcome::HttpStatus).then_some(503),
        detail: detail.to_owned(),
        response_excerpt: None,
        remote_addr: None,
        sent_timestamp: None,
        sign: None,
        key_id: None,
        body_sha256: None,
        phase: phase.map(|phase| phase.as_str().to_owned()),
        phases: BTreeMap::new(),
        to_url: None,
    }
}

fn exhausted(attempts: &[AttemptRow]) -> String {
    for_merchant(&callback(ShownState::Exhausted), attempts, None, QUEUED)
}

/// The names of all settings, as `section.key`.
fn settings() -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in include_str!("../../../dispatcher.toml").lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.starts_with('#')
        {
            names.push(format!("{section}.{key}"));
        }
    }
    names
}

/// Details that the program writes, and others that other versions have written.
const DETAILS: [&str; 12] = [
    "",
    "connection refused",
    "transResult is \"FAIL\", not \"SUCCESS\"",
    "10.0.0.5 is private (10.0.0.0/8); operator: add it to egress.allow_networks to allow it",
    "10.0.0.5 is private (10.0.0.0/8); add it to egress.allow_networks to allow it",
    "the body is larger than 65536 bytes (delivery.max_response_bytes)",
    "egress.proxy: connection refused",
    "invalid certificate: Other(OtherError(CaUsedAsEndEntity))",
    "certificate is only valid for DnsName(\"other.example\") { x: 1 }",
    "the attempt panicked in std::io",
    "no key signs for app 6; add one to keys.toml, signing.keys_file",
    "a line\nand another",
];

#[test]
fn no_text_names_a_setting_a_type_or_a_braced_value() {
    let settings = settings();
    assert!(settings.len() > 20, "{settings:?}");
    let about = |name: &String| format!("it does not fit into {name}");
    let mut details: Vec<String> = settings.iter().map(about).collect();
    details.extend(DETAILS.map(str::to_owned));
    for state in ShownState::ALL {
        for outcome in Outcome::ALL {
            for phase in [None, Some(Phase::Dns), Some(Phase::Tls), Some(Phase::Body)] {
                for (detail, counted) in details.iter().flat_map(|it| [(it, true), (it, false)]) {
                    let attempt = AttemptRow {
                        counted,
                        ..attempt(outcome, phase, detail)
                    };
                    let text = for_merchant(&callback(state), &[attempt], None, QUEUED);
                    for word in ["{", "}", "::", "_", "egress", "Other(", "operator", "\n"] {
                        assert!(!text.contains(word), "{word} in: {text}");
                    }
                    for name in &settings {
                        assert!(!text.contains(name.as_str()), "{name} in: {text}");
                    }
                    assert!(text.ends_with('.') && !text.contains("  "), "{text}");
                }
            }
        }
    }
}

/// As the dispatcher judges a fault and records it.
fn of_fault(phase: Phase, cause: Cause, status: Option<u16>) -> AttemptRow {
    let fault = ExchangeFault {
        phase,
        cause,
        status,
        remote_addr: None,
        detail: "the words".to_owned(),
    };
    let verdict = judge(&Exchange::Failed(fault));
    AttemptRow {
        counted: verdict.counted,
        http_status: status.map(i64::from),
        ..attempt(verdict.outcome, Some(phase), &verdict.detail)
    }
}

/// The request leaves when the connection stands: with the phase that waits for the head.
#[test]
fn only_what_left_was_sent() {
    let answered = [
        Outcome::Refused,
        Outcome::Unreadable,
        Outcome::HttpStatus,
        Outcome::Blocked,
    ];
    let mut table: Vec<(AttemptRow, bool)> = answered
        .map(|outcome| (attempt(outcome, None, ""), outcome != Outcome::Blocked))
        .into();
    for cause in [Cause::Remote, Cause::NotTls, Cause::Deadline] {
        for phase in [Phase::Dns, Phase::Connect, Phase::Tls, Phase::Head] {
            table.push((of_fault(phase, cause, None), phase == Phase::Head));
        }
        for status in [200, 503] {
            table.push((of_fault(Phase::Body, cause, Some(status)), true));
        }
    }
    for (attempt, is_sent) in table {
        let text = exhausted(&[1, 2, 3, 4].map(|_| attempt.clone()));
        let expected = match is_sent {
            true => "was sent to https://shop.example 4 times, but never acknowledged.",
            false => "could not be sent to https://shop.example, although we tried 4 times.",
        };
        assert!(text.contains(expected), "{attempt:?}: {text}");
    }
    // What does not count is told as neither.
    for attempt in [
        of_fault(Phase::Head, Cause::Local, None),
        attempt(Outcome::Interrupted, None, ""),
        attempt(Outcome::Unsignable, None, ""),
    ] {
        let text = exhausted(std::slice::from_ref(&attempt));
        assert!(
            text.contains("could not be delivered"),
            "{attempt:?}: {text}"
        );
        assert!(text.contains("on our side"), "{attempt:?}: {text}");
    }
    let some = [
        attempt(Outcome::Connect, Some(Phase::Connect), ""),
        attempt(Outcome::HttpStatus, None, ""),
        attempt(
            Outcome::Connect,
            Some(Phase::Connect),
            &format!("connection refused; {SENT_BEFORE}1795000000000"),
        ),
    ];
    let text = exhausted(&some);
    assert!(
        text.contains("It was sent twice and not acknowledged"),
        "{text}"
    );
}

/// A resend has gone elsewhere than the attempts before.
#[test]
fn each_attempt_is_told_by_where_it_went() {
    let to_new = |outcome| AttemptRow {
        to_url: Some("https://new.example/cb".to_owned()),
        http_status: Some(200),
        ..attempt(outcome, None, "")
    };
    let old = attempt(Outcome::HttpStatus, None, "");
    let both = [old.clone(), old.clone(), to_new(Outcome::Refused)];
    let text = exhausted(&both);
    let expected = "was sent to https://shop.example and https://new.example 3 times";
    assert!(text.contains(expected), "{text}");
    let acknowledged = [old, to_new(Outcome::Acknowledged)];
    let row = callback(ShownState::Delivered);
    let text = for_merchant(&row, &acknowledged, None, QUEUED);
    assert!(
        text.contains("was sent to https://new.example and acknowledged"),
        "{text}"
    );
}

#[test]
fn a_fault_of_ours_is_not_told_as_the_merchants() {
    for outcome in [
        Outcome::Dns,
        Outcome::Connect,
        Outcome::Tls,
        Outcome::Timeout,
    ] {
        let ours = AttemptRow {
            counted: false,
            ..attempt(outcome, Some(Phase::Connect), "no route")
        };
        let text = for_merchant(&callback(ShownState::Pending), &[ours], None, QUEUED);
        assert!(text.contains("for a reason on our side"), "{text}");
        assert!(!text.contains("your server"), "{text}");
    }
}

#[test]
fn what_has_been_due_is_not_told_as_still_to_come() {
    let told = |now| for_merchant(&callback(ShownState::Pending), &[], None, now);
    let due = QUEUED.to_string();
    assert!(told(QUEUED).contains(&format!("is due on {due}")));
    let later = Timestamp::from_millis(QUEUED.as_millis() + 1);
    assert!(told(later).contains(&format!("has been due since {due}")));
}
