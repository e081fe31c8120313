//! Recomputing the chain from the rows.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::lines::ids;
use super::walk::{Membership, Walk};
use crate::domain::{Day, DayRecord, Lines, NO_PREVIOUS_DAY, Timestamp};
use crate::store::{AuditChain, StoreError};

/// How long rows are kept for sure.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    /// The shorter of `housekeeping.keep_delivered` and `keep_exhausted`.
    pub keep: Duration,
    /// As of this moment.
    pub now: Timestamp,
}

impl Retained {
    /// Whether every row of the day must still be there: none can have been finished before it was
    /// queued, and all but the first day's were queued after the day before it.
    fn is_whole(self, record: &DayRecord, before: &[DayRecord]) -> bool {
        let earliest = match before.last() {
            Some(previous) => previous.day.end(),
            None => record.created_from.unwrap_or_else(|| record.day.start()),
        };
        self.now < earliest.after(self.keep)
    }
}

/// What the chain says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Days in the chain.
    pub days: u64,
    /// Days whose lines were all computed anew and are the same.
    pub recomputed: u64,
    /// Days of which rows were removed after their retention: their header holds, their lines
    /// can't be computed any more.
    pub pruned: u64,
    /// Days that differ, the first one first.
    pub faults: Vec<DayFault>,
    /// The newest day: its digest stands for all of them.
    pub newest: Option<DayRecord>,
}

/// A day that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayFault {
    /// Which.
    pub day: Day,
    /// In what.
    #[serde(flatten)]
    pub fault: ChainFault,
}

/// How a day can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum ChainFault {
    /// It does not hold the digest of the day before: a record was altered, left out or put in.
    Broken,
    /// Its digest is not that of its own columns: the record was altered.
    Header,
    /// Callbacks are gone that retention keeps.
    Missing {
        /// How many.
        callbacks: u64,
    },
    /// There are callbacks that were not there when it was closed.
    Added {
        /// How many.
        callbacks: u64,
    },
    /// A callback, or what the log says of it, was altered.
    Altered,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("does not hold the digest of the day before it"),
            Self::Header => f.write_str("its digest is not that of its columns"),
            Self::Missing { callbacks } => write!(
                f,
                "{callbacks} callbacks are gone that were there when it was closed, \
                 and retention does not explain it"
            ),
            Self::Added { callbacks } => {
                write!(f, "{callbacks} callbacks were not there when it was closed")
            }
            Self::Altered => f.write_str(
                "a callback, or what the log says of it, was altered since it was closed",
            ),
        }
    }
}

/// Recomputes every day. A day that differs does not hide those after it.
///
/// # Errors
///
/// What the store said.
pub async fn verify(
    chain: &dyn AuditChain,
    retained: Retained,
) -> Result<Verification, StoreError> {
    let mut found = Verification::default();
    let records = chain.days().await?;
    for (place, record) in records.iter().enumerate() {
        found.days += 1;
        match examine(chain, record, &records[..place], retained).await? {
            Ok(true) => found.recomputed += 1,
            Ok(false) => found.pruned += 1,
            Err(fault) => {
                let day = record.day;
                found.faults.push(DayFault { day, fault });
            }
        }
    }
    found.newest = records.last().cloned();
    Ok(found)
}

/// Whether the day holds by its rows (true) or, as some are pruned, by its header alone.
async fn examine(
    chain: &dyn AuditChain,
    record: &DayRecord,
    before: &[DayRecord],
    retained: Retained,
) -> Result<Result<bool, ChainFault>, StoreError> {
    if record.previous
        != before
            .last()
            .map_or(NO_PREVIOUS_DAY, |previous| previous.digest)
    {
        return Ok(Err(ChainFault::Broken));
    }
    if record.digest != record.header_sha256() {
        return Ok(Err(ChainFault::Header));
    }
    let mut lines = Lines::default();
    let membership = Membership::of(record, before);
    let mut walk = Walk::new(chain, ids(record, &membership), Some(record.day));
    loop {
        let callbacks = walk.page().await?;
        if callbacks.is_empty() {
            break;
        }
        for callback in callbacks.iter().filter(|callback| membership.has(callback)) {
            lines.add(callback);
        }
    }
    let there = lines.counts().queued;
    let closed = record.counts.queued;
    Ok(if there > closed {
        let callbacks = there - closed;
        Err(ChainFault::Added { callbacks })
    } else if there < closed && retained.is_whole(record, before) {
        let callbacks = closed - there;
        Err(ChainFault::Missing { callbacks })
    } else if there < closed {
        Ok(false)
    } else if lines.sha256() != record.rows_sha256 {
        Err(ChainFault::Altered)
    } else {
        Ok(true)
    })
}
