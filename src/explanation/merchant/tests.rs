use std::collections::BTreeMap;

use super::*;
use crate::domain::{CallbackId, SENT_BEFORE};
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
    }
}

fn exhausted(attempts: &[AttemptRow]) -> String {
    for_merchant(&callback(ShownState::Exhausted), attempts, None, QUEUED)
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
    for state in ShownState::ALL {
        for outcome in Outcome::ALL {
            for phase in [None, Some(Phase::Dns), Some(Phase::Tls), Some(Phase::Body)] {
                for (detail, counted) in DETAILS.iter().flat_map(|it| [(it, true), (it, false)]) {
                    let attempt = AttemptRow {
                        counted,
                        ..attempt(outcome, phase, detail)
                    };
                    let text = for_merchant(&callback(state), &[attempt], None, QUEUED);
                    for word in ["{", "}", "::", "_", "egress", "Other(", "operator", "\n"] {
                        assert!(!text.contains(word), "{word} in: {text}");
                    }
                    assert!(text.ends_with('.') && !text.contains("  "), "{text}");
                }
            }
        }
    }
}

#[test]
fn only_what_left_was_sent() {
    let table = [
        (Outcome::Refused, None, true),
        (Outcome::Unreadable, None, true),
        (Outcome::HttpStatus, None, true),
        (Outcome::Protocol, Some(Phase::Head), true),
        (Outcome::Timeout, Some(Phase::Head), true),
        (Outcome::Timeout, Some(Phase::Body), true),
        (Outcome::Timeout, Some(Phase::Dns), false),
        (Outcome::Timeout, Some(Phase::Connect), false),
        (Outcome::Timeout, Some(Phase::Tls), false),
        (Outcome::Dns, Some(Phase::Dns), false),
        (Outcome::Connect, Some(Phase::Connect), false),
        (Outcome::Tls, Some(Phase::Tls), false),
        (Outcome::Blocked, None, false),
    ];
    for (outcome, phase, is_sent) in table {
        let attempts = [1, 2, 3, 4].map(|_| attempt(outcome, phase, ""));
        let text = exhausted(&attempts);
        let expected = match is_sent {
            true => "was sent to https://shop.example 4 times, but never acknowledged.",
            false => "could not be sent to https://shop.example, although we tried 4 times.",
        };
        assert!(text.contains(expected), "{outcome} {phase:?}: {text}");
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
