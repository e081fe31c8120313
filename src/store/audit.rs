//! The auditor's side of the queue: callbacks as reconciliation sees them, and the audit chain.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    CallbackId, Day, DayRecord, QueuedResult, ReconciledCallback, ReconciledState, ResultKey,
};

/// The callbacks to read, in the order of ids.
#[derive(Clone, Copy, Debug)]
pub struct AuditPage {
    /// Beyond this id.
    pub after: CallbackId,
    /// Up to this one.
    pub to: CallbackId,
    /// As they stood when this day was closed; `None`: as they stand now.
    pub as_of: Option<Day>,
    /// At most this many.
    pub limit: usize,
}

/// A callback that was not acknowledged when its day was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    /// Its id.
    pub id: CallbackId,
    /// Its state then.
    pub state: ReconciledState,
    /// Its newest attempt; 0: none.
    pub seq: i64,
}

/// What is written of a day, in this order.
#[derive(Clone, Debug)]
pub enum AuditEntry {
    /// The day is about to be closed: removes what an earlier try has left of it.
    Begin(Day),
    /// Callbacks that are not acknowledged.
    LeftOpen(Day, Vec<LeftOpen>),
    /// The day is closed.
    Closed(Box<DayRecord>),
}

/// Reads what reconciliation needs; never writes. The writing is [`super::Queue::write_audit`].
#[async_trait]
pub trait AuditChain: fmt::Debug + Send + Sync + 'static {
    /// The whole chain, a record for each closed day, the oldest first.
    async fn days(&self) -> Result<Vec<DayRecord>, StoreError>;

    /// The newest closed day.
    async fn newest_day(&self) -> Result<Option<DayRecord>, StoreError>;

    /// The highest id in the queue.
    async fn newest(&self) -> Result<CallbackId, StoreError>;

    /// Callbacks with the attempts that decide their states. A page is one moment of the queue; the
    /// next page is a later one.
    async fn page(&self, page: AuditPage) -> Result<Vec<ReconciledCallback>, StoreError>;

    /// What the queue holds of each of these results, in their order.
    async fn results(&self, keys: Vec<ResultKey>) -> Result<Vec<Option<QueuedResult>>, StoreError>;
}

/// The state of a callback now, by its column `state` and the outcome of its decisive attempt.
pub(super) fn state_now(state: &str, is_leased: bool, outcome: Option<&str>) -> ReconciledState {
    match (outcome, state) {
        (Some("acknowledged"), _) => ReconciledState::Acknowledged,
        (_, "exhausted") => ReconciledState::Exhausted,
        (_, "cancelled") => ReconciledState::Cancelled,
        (Some("interrupted"), "pending") => ReconciledState::Unknown,
        (_, "pending") if !is_leased => ReconciledState::Pending,
        _ => ReconciledState::Unknown,
    }
}
