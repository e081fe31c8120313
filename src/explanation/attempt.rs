//! One attempt, explained.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sent::SentMessage;
use crate::domain::{Convention, Phase};
use crate::store::{AttemptRow, CallbackRow};

/// What is known of one attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptReport {
    /// The row.
    #[serde(flatten)]
    pub row: AttemptRow,
    /// What was sent; `None`: nothing was, or the row can't be read as a message.
    pub sent: Option<SentMessage>,
    /// How long each phase took and where it broke, in words. The JSON of `show` calls it `course`.
    #[serde(rename = "course")]
    pub timeline: String,
}

impl AttemptReport {
    /// Explains `row`, an attempt of `callback`.
    pub fn new(row: AttemptRow, callback: &CallbackRow, convention: &Convention) -> Self {
        Self {
            sent: SentMessage::of(&row, callback, convention),
            timeline: timeline(&row),
            row,
        }
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
