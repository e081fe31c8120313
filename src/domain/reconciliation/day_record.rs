//! The audit chain: a record for each day, which holds the digest of the day before.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::timestamp::Timestamp;
use super::super::value::CallbackId;
use super::day::Day;
use super::line::{ReconciledCallback, ReconciledState};

/// The digest before the first day.
pub const NO_PREVIOUS_DAY: Digest = Digest([0; 32]);

/// Names the format; another one gets another name.
const FORMAT: &str = "callback-dispatcher day 1";

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Reads 64 hexadecimal digits in lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let digest = Self(bytes);
        (digest.to_string() == text).then_some(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Callbacks by their reconciled state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub queued: u64,
    /// See [`ReconciledState::Acknowledged`].
    pub acknowledged: u64,
    /// See [`ReconciledState::Exhausted`].
    pub exhausted: u64,
    /// See [`ReconciledState::Cancelled`].
    pub cancelled: u64,
    /// See [`ReconciledState::Pending`].
    pub pending: u64,
    /// See [`ReconciledState::Unknown`].
    pub unknown: u64,
}

impl Counts {
    /// Counts one more.
    pub const fn add(&mut self, state: ReconciledState) {
        self.queued += 1;
        let count = match state {
            ReconciledState::Acknowledged => &mut self.acknowledged,
            ReconciledState::Exhausted => &mut self.exhausted,
            ReconciledState::Cancelled => &mut self.cancelled,
            ReconciledState::Pending => &mut self.pending,
            ReconciledState::Unknown => &mut self.unknown,
        };
        *count += 1;
    }
}

/// A day's lines, one after the other in the order of ids.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    hasher: Sha256,
    counts: Counts,
    created_from: Option<Timestamp>,
    created_to: Option<Timestamp>,
}

impl Lines {
    /// Takes the next one.
    pub fn add(&mut self, callback: &ReconciledCallback) {
        self.hasher.update(callback.line());
        self.hasher.update("\n");
        self.counts.add(callback.state);
        let earliest = self.created_from.unwrap_or(callback.created_at);
        self.created_from = Some(earliest.min(callback.created_at));
        self.created_to = self.created_to.max(Some(callback.created_at));
    }

    /// The SHA-256 of all lines, each with its line break.
    pub fn sha256(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    /// The number of callbacks in each state.
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

/// The ids of a day record; see the fields of [`DayRecord`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "they are documented there")]
pub struct DayIds {
    pub first: CallbackId,
    pub last: CallbackId,
    pub next: CallbackId,
}

/// What the audit chain holds of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayRecord {
    /// The day, in UTC.
    pub day: Day,
    /// The digest of the record before.
    pub previous: Digest,
    /// No callback below this id belongs to it.
    pub first_id: CallbackId,
    /// The newest id when the day was closed: a later callback belongs to a later day.
    pub last_id: CallbackId,
    /// No callback below this id belongs to a later day.
    pub next_id: CallbackId,
    /// When the earliest of its callbacks was queued.
    pub created_from: Option<Timestamp>,
    /// When the latest was.
    pub created_to: Option<Timestamp>,
    /// Its callbacks, as they stood when it was closed.
    #[serde(flatten)]
    pub counts: Counts,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// The SHA-256 of its lines.
    pub rows_sha256: Digest,
    /// The SHA-256 of its header, and so of all that came before.
    pub digest: Digest,
}

impl DayRecord {
    /// The record of `day` after the one whose digest is `previous`, over `lines`.
    pub fn seal(
        day: Day,
        previous: Digest,
        ids: DayIds,
        lines: &Lines,
        closed_at: Timestamp,
    ) -> Self {
        let mut record = Self {
            day,
            previous,
            first_id: ids.first,
            last_id: ids.last,
            next_id: ids.next,
            created_from: lines.created_from,
            created_to: lines.created_to,
            counts: lines.counts,
            closed_at,
            rows_sha256: lines.sha256(),
            digest: NO_PREVIOUS_DAY,
        };
        record.digest = record.header_sha256();
        record
    }

    /// The text that its digest is made of: a JSON array in the form of a callback's line.
    pub fn header(&self) -> String {
        let counts = self.counts;
        json!([
            FORMAT,
            self.previous,
            self.day,
            self.first_id,
            self.last_id,
            self.next_id,
            self.created_from.map(Timestamp::as_millis),
            self.created_to.map(Timestamp::as_millis),
            counts.queued,
            counts.acknowledged,
            counts.exhausted,
            counts.cancelled,
            counts.pending,
            counts.unknown,
            self.closed_at.as_millis(),
            self.rows_sha256,
        ])
        .to_string()
    }

    /// The digest that it must have.
    pub fn header_sha256(&self) -> Digest {
        Digest(Sha256::digest(self.header()).into())
    }
}
