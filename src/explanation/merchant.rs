//! What support can tell the merchant, from the rows to sentences.

use crate::domain::{Outcome, Timestamp};
use crate::store::{AttemptRow, CallbackRow, Pause, ShownState};

/// What to tell the merchant, as one paragraph.
pub fn for_merchant(row: &CallbackRow, attempts: &[AttemptRow], paused: Option<&Pause>) -> String {
    let what = subject(row);
    let to = &row.origin;
    match row.state {
        ShownState::Delivered => delivered(&what, row, attempts),
        ShownState::Exhausted => format!(
            "{what} was sent to {to} {}, but never acknowledged. {} We have stopped trying; ask us \
             to send it again once this is mended.",
            times(counted(attempts)),
            last_failure(attempts),
        ),
        ShownState::Cancelled => {
            format!("{what} was withdrawn by us and will not be sent.")
        }
        ShownState::InFlight => format!("{what} is being sent to {to} right now."),
        ShownState::Pending if paused.is_some() => format!(
            "{what} has not been acknowledged yet.{} We are holding back what we send to {to} at \
             the moment, and will send it when that ends.",
            spaced(&last_failure(attempts)),
        ),
        ShownState::Pending if attempts.is_empty() => {
            format!("{what} is queued for {to} and {}.", due(row))
        }
        ShownState::Pending => format!(
            "{what} has not been acknowledged yet. {} The next attempt {}.",
            last_failure(attempts),
            due(row),
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
    let detail = &attempt.detail;
    let Ok(outcome) = attempt.outcome.parse::<Outcome>() else {
        return detail.clone();
    };
    match outcome {
        Outcome::Acknowledged => "your server acknowledged it".to_owned(),
        Outcome::Refused => {
            format!("your server answered, but not with {{\"transResult\":\"SUCCESS\"}}: {detail}")
        }
        Outcome::Unreadable => {
            format!("your server's answer could not be read as one JSON object: {detail}")
        }
        Outcome::HttpStatus => format!("your server answered with {detail}"),
        Outcome::Timeout => format!("your server did not answer in time: {detail}"),
        Outcome::Dns => format!("the host name of the callBackUrl could not be resolved: {detail}"),
        Outcome::Connect => format!("we could not connect to your server: {detail}"),
        Outcome::Tls => format!("no secure connection to your server was possible: {detail}"),
        Outcome::Protocol => format!("the connection to your server broke: {detail}"),
        Outcome::Blocked => format!("the callBackUrl points where we do not call: {detail}"),
        Outcome::Interrupted => {
            "it was interrupted on our side; you may have received it".to_owned()
        }
        // The detail is advice to the operator.
        Outcome::Unsignable => {
            "it could not be prepared on our side, and was not sent; the fault is ours".to_owned()
        }
    }
}

fn counted(attempts: &[AttemptRow]) -> usize {
    attempts.iter().filter(|attempt| attempt.counted).count()
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn due(row: &CallbackRow) -> String {
    match row.next_attempt_at {
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
