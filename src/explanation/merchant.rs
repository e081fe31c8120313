//! What support can tell the merchant, from the rows to sentences.
//!
//! The paragraph may end up in a dispute, so it claims no more than the log holds: an attempt was
//! "sent" only if it came as far as the request. It names no setting and no fault of ours as the
//! merchant's. Reasons are quoted from the log only if they read as plain words.

use super::attempt::was_sent;
use crate::domain::{Outcome, Phase, Timestamp, reason};
use crate::store::{AttemptRow, CallbackRow, Pause, ShownState};

/// What to tell the merchant `now`, as one paragraph.
pub fn for_merchant(
    row: &CallbackRow,
    attempts: &[AttemptRow],
    paused: Option<&Pause>,
    now: Timestamp,
) -> String {
    let what = subject(row);
    let to = &row.origin;
    match row.state {
        ShownState::Delivered => delivered(&what, row, attempts),
        ShownState::Exhausted => format!(
            "{} {} We have stopped trying; ask us to send it again once this is mended.",
            tries(&what, row, attempts),
            last_failure(attempts),
        ),
        ShownState::Cancelled => {
            format!("{what} was withdrawn by us and will not be sent.")
        }
        ShownState::InFlight => format!("{what} is being sent to {to} at the moment."),
        ShownState::Pending if paused.is_some() => format!(
            "{what} has not been acknowledged yet.{} We are holding back what we send to {to} at \
             the moment, and will send it when that ends.",
            spaced(&last_failure(attempts)),
        ),
        ShownState::Pending if attempts.is_empty() => {
            format!("{what} is queued for {to} and {}.", due(row, now))
        }
        ShownState::Pending => format!(
            "{what} has not been acknowledged yet. {} The next attempt {}.",
            last_failure(attempts),
            due(row, now),
        ),
    }
}

fn spaced(sentence: &str) -> String {
    match sentence {
        "" => String::new(),
        sentence => format!(" {sentence}"),
    }
}

fn subject(row: &CallbackRow) -> String {
    let result = &row.result;
    match &row.refund_order_no {
        Some(refund) => format!("The result of refund {refund} ({result})"),
        None => format!(
            "The result of the payment for order {} ({result})",
            row.order_no
        ),
    }
}

fn delivered(what: &str, row: &CallbackRow, attempts: &[AttemptRow]) -> String {
    let acknowledged = attempts
        .iter()
        .rev()
        .find(|attempt| attempt.outcome == Outcome::Acknowledged.as_str());
    let Some(last) = acknowledged else {
        return format!("{what} was delivered; its attempts are no longer in the log.");
    };
    let from = last
        .remote_addr
        .as_deref()
        .map_or_else(String::new, |addr| format!(" (from {addr})"));
    format!(
        "{what} was sent to {} and acknowledged: on {} your server{from} answered HTTP {} with \
         transResult SUCCESS to the message with timestamp {}.",
        row.origin,
        ended_at(last),
        last.http_status.unwrap_or_default(),
        last.sent_timestamp.unwrap_or_default(),
    )
}

/// How often it was tried, and how often it came as far as being sent.
fn tries(what: &str, row: &CallbackRow, attempts: &[AttemptRow]) -> String {
    let to = &row.origin;
    let counted = || attempts.iter().filter(|attempt| attempt.counted);
    let (tried, sent) = (
        counted().count(),
        counted().filter(|it| was_sent(it)).count(),
    );
    match sent {
        _ if tried == 0 => format!("{what} could not be delivered to {to}."),
        sent if sent == tried => {
            format!(
                "{what} was sent to {to} {}, but never acknowledged.",
                times(sent)
            )
        }
        0 => format!(
            "{what} could not be sent to {to}, although we tried {}.",
            times(tried)
        ),
        sent => format!(
            "{what} was tried to be sent to {to} {}. It was sent {} and not acknowledged; the \
             other attempts did not come that far.",
            times(tried),
            times(sent),
        ),
    }
}

fn last_failure(attempts: &[AttemptRow]) -> String {
    let Some(last) = attempts.last() else {
        return String::new();
    };
    format!(
        "The last attempt was on {}: {}.",
        last.started_at,
        failure(last)
    )
}

/// Why an attempt was not acknowledged, addressed to the merchant.
fn failure(attempt: &AttemptRow) -> String {
    let Ok(outcome) = attempt.outcome.parse::<Outcome>() else {
        return "it was not acknowledged".to_owned();
    };
    let is_ours = !attempt.counted && outcome.is_counted();
    if is_ours {
        return "it failed for a reason on our side, and does not count".to_owned();
    }
    let reason = quotable(&attempt.detail);
    match outcome {
        Outcome::Acknowledged => "your server acknowledged it".to_owned(),
        Outcome::Refused => format!("your server answered without acknowledging it{reason}"),
        Outcome::Unreadable => {
            format!("your server's answer could not be read as one JSON object{reason}")
        }
        Outcome::HttpStatus => format!(
            "your server answered with HTTP status {}{}",
            attempt.http_status.unwrap_or_default(),
            redirects(attempt.http_status),
        ),
        Outcome::Timeout => format!(
            "{} within {:.1} seconds",
            missing(attempt.phase.as_deref()),
            Seconds(attempt.duration_ms),
        ),
        Outcome::Dns => format!("the host name of the callBackUrl could not be resolved{reason}"),
        Outcome::Connect => format!("we could not connect to your server{reason}"),
        Outcome::Tls => format!("no secure connection to your server was possible{reason}"),
        Outcome::Protocol => {
            format!("the connection to your server broke before its answer was complete{reason}")
        }
        Outcome::Blocked => format!("the callBackUrl leads where we send no callbacks{reason}"),
        Outcome::Interrupted => {
            "it was interrupted on our side; you may have received it".to_owned()
        }
        Outcome::Unsignable => {
            "it could not be prepared on our side, and was not sent; the fault is ours".to_owned()
        }
    }
}

const fn redirects(status: Option<i64>) -> &'static str {
    match status {
        Some(300..=303 | 305..=399) => {
            "; we do not follow redirects, so the callBackUrl must be the final address"
        }
        _ => "",
    }
}

/// What did not come in time.
fn missing(phase: Option<&str>) -> &'static str {
    let is = |other: Phase| phase == Some(other.as_str());
    if is(Phase::Dns) {
        "the host name of the callBackUrl was not resolved"
    } else if is(Phase::Connect) {
        "your server did not accept our connection"
    } else if is(Phase::Tls) {
        "your server did not complete the TLS handshake"
    } else if is(Phase::Body) {
        "your server's answer was not complete"
    } else {
        "your server did not answer"
    }
}

/// Milliseconds, to be written as seconds.
struct Seconds(i64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (std::time::Duration::from_millis(self.0.unsigned_abs()).as_secs_f64()).fmt(f)
    }
}

/// `: ` and the reason that the log gives, or nothing if it is not in plain words. Programs of
/// another version may have written settings and library errors there.
fn quotable(detail: &str) -> String {
    let reason = reason(detail);
    let is_technical = reason.contains(['{', '}', '_'])
        || reason.contains("::")
        || ["egress.", "delivery.", "signing."]
            .iter()
            .any(|section| reason.contains(section))
        || reason
            .split(|c: char| !c.is_alphanumeric())
            .any(is_type_name)
        || reason.chars().any(char::is_control);
    match reason {
        "" => String::new(),
        _ if is_technical => String::new(),
        reason => format!(": {reason}"),
    }
}

/// `DnsName`, but not `transResult` or `HTTP`.
fn is_type_name(word: &str) -> bool {
    let mut before = ' ';
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().any(|c| {
            let begins_another = before.is_ascii_lowercase() && c.is_ascii_uppercase();
            before = c;
            begins_another
        })
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn due(row: &CallbackRow, now: Timestamp) -> String {
    match row.next_attempt_at {
        Some(moment) if moment < now => format!("has been due since {moment}"),
        Some(moment) => format!("is due on {moment}"),
        None => "is not due".to_owned(),
    }
}

fn ended_at(attempt: &AttemptRow) -> Timestamp {
    Timestamp::from_millis(
        attempt
            .started_at
            .as_millis()
            .saturating_add(attempt.duration_ms),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::CallbackId;
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
                    for (detail, counted) in DETAILS.iter().flat_map(|it| [(it, true), (it, false)])
                    {
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
        ];
        let text = exhausted(&some);
        assert!(
            text.contains("It was sent once and not acknowledged"),
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
}
