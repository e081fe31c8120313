//! One attempt, explained.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sent::SentMessage;
use crate::domain::{Convention, Outcome, Phase, SENT_BEFORE};
use crate::store::{AttemptRow, CallbackRow};

/// What is known of one attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptReport {
    /// The row.
    #[serde(flatten)]
    pub row: AttemptRow,
    /// The message of the attempt; `None`: none was made, or the row can't be read as a message.
    pub sent: Option<SentMessage>,
    /// Whether the attempt came as far as sending that message.
    pub was_sent: bool,
    /// How long each phase took and where it broke, in words. The JSON of `show` calls it `course`.
    #[serde(rename = "course")]
    pub timeline: String,
}

impl AttemptReport {
    /// Explains `row`, an attempt of `callback`.
    pub fn new(row: AttemptRow, callback: &CallbackRow, convention: &Convention) -> Self {
        Self {
            sent: SentMessage::of(&row, callback, convention),
            was_sent: was_sent(&row),
            timeline: timeline(&row),
            row,
        }
    }
}

/// Whether the request left, at least in part, as far as the log tells.
pub(super) fn was_sent(row: &AttemptRow) -> bool {
    let Ok(outcome) = row.outcome.parse::<Outcome>() else {
        return false;
    };
    // A first sending may have met a closing connection, and the second none.
    if row.detail.contains(SENT_BEFORE) {
        return true;
    }
    match outcome {
        Outcome::Acknowledged
        | Outcome::Refused
        | Outcome::Unreadable
        | Outcome::HttpStatus
        | Outcome::Protocol => true,
        Outcome::Timeout => {
            let sends = [Phase::Head, Phase::Body].map(|phase| Some(phase.as_str()));
            sends.contains(&row.phase.as_deref())
        }
        // A first sending that another forbade is recorded with its message.
        Outcome::Blocked | Outcome::Interrupted => row.sign.is_some(),
        Outcome::Dns | Outcome::Connect | Outcome::Tls | Outcome::Unsignable => false,
    }
}

/// The phases in their order, with the name that people know them by.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Dns, "name"),
    (Phase::Connect, "connection"),
    (Phase::Tls, "TLS"),
    (Phase::Head, "answer"),
    (Phase::Body, "body"),
];

/// For instance `name 1 ms, connection 3 ms; broke off after 9996 ms of waiting for the head of
/// the answer`.
fn timeline(row: &AttemptRow) -> String {
    let mut text = measured(&row.phases);
    let broke_in = PHASES
        .iter()
        .find(|(phase, _)| row.phase.as_deref() == Some(phase.as_str()));
    if let Some((phase, _)) = broke_in {
        let before: u64 = row.phases.values().sum();
        let spent = row.duration_ms.unsigned_abs().saturating_sub(before);
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&format!("broke off after {spent} ms of {phase}"));
    }
    text
}

fn measured(phases: &BTreeMap<String, u64>) -> String {
    let parts = PHASES.iter().filter_map(|(phase, name)| {
        let millis = phases.get(phase.as_str())?;
        Some(format!("{name} {millis} ms"))
    });
    parts.collect::<Vec<_>>().join(", ")
}
