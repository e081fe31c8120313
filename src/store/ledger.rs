//! The auditor's side of the queue: callbacks as reconciliation sees them, and the chain of days.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{CallbackId, Day, Fate, Link, QueuedResult, ReconciledCallback, ResultKey};

/// Which callbacks to read, in the order of ids.
#[derive(Clone, Copy, Debug)]
pub struct LedgerPage {
    /// Beyond this id.
    pub after: CallbackId,
    /// Up to this one.
    pub to: CallbackId,
    /// As they stood when this day was closed; `None`: as they stand now.
    pub as_of: Option<Day>,
    /// At most so many.
    pub limit: usize,
}

/// A callback that was not acknowledged when its day was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    /// Which.
    pub id: CallbackId,
    /// How it stood.
    pub fate: Fate,
    /// Its newest attempt; 0: none.
    pub seq: i64,
}

/// What is written of a day, in this order.
#[derive(Clone, Debug)]
pub enum LedgerEntry {
    /// The day is about to be closed: what an earlier try left of it is forgotten.
    Begin(Day),
    /// Callbacks that are not acknowledged.
    LeftOpen(Day, Vec<LeftOpen>),
    /// The day is closed.
    Link(Box<Link>),
}

/// Reads what reconciliation needs; never writes. The writing is [`super::Queue::write_ledger`].
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// The whole chain, one link for each day that was closed, the oldest first.
    async fn links(&self) -> Result<Vec<Link>, StoreError>;

    /// The newest link.
    async fn last_link(&self) -> Result<Option<Link>, StoreError>;

    /// The highest id in the queue.
    async fn newest(&self) -> Result<CallbackId, StoreError>;

    /// Callbacks with the attempt that tells how they stand. Each is read whole; between two
    /// pages time passes.
    async fn page(&self, page: LedgerPage) -> Result<Vec<ReconciledCallback>, StoreError>;

    /// What the queue holds of each of these results, in their order.
    async fn results(&self, keys: Vec<ResultKey>) -> Result<Vec<Option<QueuedResult>>, StoreError>;
}

/// How a callback stands now, by its state and the outcome of its telling attempt.
pub(super) fn fate_now(state: &str, is_leased: bool, outcome: Option<&str>) -> Fate {
    match (outcome, state) {
        (Some("acknowledged"), _) => Fate::Acknowledged,
        (_, "exhausted") => Fate::Exhausted,
        (_, "cancelled") => Fate::Cancelled,
        (Some("interrupted"), "pending") => Fate::Unknown,
        (_, "pending") if !is_leased => Fate::Pending,
        _ => Fate::Unknown,
    }
}
