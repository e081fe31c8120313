//! What support can tell the merchant, from the rows to sentences.
//!
//! The paragraph may end up in a dispute, so it claims no more than the log holds: an attempt was
//! "sent" only if it came as far as the request. It names no setting and no fault of ours as the
//! merchant's. Reasons are quoted from the log only if they read as plain words.

use super::attempt::was_sent;
use crate::domain::{Outcome, Phase, Timestamp, reason};
use crate::store::{AttemptRow, CallbackRow, Origin, Pause, ShownState};

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
        went_to(row, last),
        ended_at(last),
        last.http_status.unwrap_or_default(),
        last.sent_timestamp.unwrap_or_default(),
    )
}

/// How often it was tried, and how often it came as far as being sent.
fn tries(what: &str, row: &CallbackRow, attempts: &[AttemptRow]) -> String {
    let counted = || attempts.iter().filter(|attempt| attempt.counted);
    let mut to: Vec<String> = counted().map(|attempt| went_to(row, attempt)).collect();
    to.dedup();
    let to = match to.is_empty() {
        true => row.origin.to_string(),
        false => to.join(" and "),
    };
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
            "{what} was not delivered to {to}, although we tried {}. It was sent {} and not acknowledged; the \
             other attempts did not come that far.",
            times(tried),
            times(sent),
        ),
    }
}

/// The origin that an attempt went to: an operator may have named another one since.
fn went_to(row: &CallbackRow, attempt: &AttemptRow) -> String {
    let url = attempt.to_url.as_ref().unwrap_or(&row.callback_url);
    Origin::of_url(url).map_or_else(|| row.origin.to_string(), |origin| origin.to_string())
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

/// The settings whose names have no underscore.
const SETTINGS: [&str; 9] = [
    "egress.",
    "delivery.",
    "signing.",
    "store.url",
    "retry.schedule",
    "shield.enabled",
    "admin.listen",
    "log.level",
    "log.format",
];

/// `: ` and the reason that the log gives, or nothing if it is not in plain words. Programs of
/// another version may have written settings and library errors there.
fn quotable(detail: &str) -> String {
    let reason = reason(detail);
    let is_technical = reason.contains(['{', '}', '_'])
        || reason.contains("::")
        || SETTINGS.iter().any(|name| reason.contains(name))
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
mod tests;
