//! One attempt, explained.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sent::SentMessage;
use crate::domain::{Convention, Phase};
use crate::store::{AttemptRow, CallbackRow};

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptStory {
    /// The row.
    #[serde(flatten)]
    pub row: AttemptRow,
    /// What was sent; `None`: nothing was, or the row can't be read as a message.
    pub sent: Option<SentMessage>,
    /// How long it took and where it broke, in words.
    pub course: String,
}

impl AttemptStory {
    /// The story of `row`, an attempt of `callback`.
    pub fn new(row: AttemptRow, callback: &CallbackRow, convention: &Convention) -> Self {
        Self {
            sent: SentMessage::of(&row, callback, convention),
            course: course(&row),
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
fn course(row: &AttemptRow) -> String {
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
