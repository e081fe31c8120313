//! The people's side of the queue: what the reading commands, the admin port and tests ask.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;

use super::{
    AttemptRow, CallbackRow, Filter, ListPage, LoweredLimit, Pause, ShownState, StoreError,
    TroubledEndpoint,
};
use crate::domain::{CallbackId, Timestamp};

/// One row of the view `merchant_health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct MerchantRow {
    pub app_id: String,
    pub pending: i64,
    pub retrying: i64,
    pub delivered_24h: i64,
    pub exhausted_24h: i64,
    pub delivered_percent_24h: Option<f64>,
    pub mean_lag_seconds_24h: Option<f64>,
    pub last_delivered_at: Option<String>,
    pub oldest_pending_created_at: Option<String>,
}

/// A transaction that stays open: what it may still see is not cleaned up, and slows claims down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldSnapshot {
    /// How long it has been open.
    pub seconds: u64,
    /// The session that holds it, for people.
    pub holder: String,
}

/// The queue in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Callbacks in each state; every state is there.
    pub depth: Vec<(ShownState, u64)>,
    /// The earliest moment at which a callback that waits, and is not paused, was or is due.
    pub oldest_due: Option<Timestamp>,
    /// What is paused.
    pub paused: Vec<Pause>,
}

/// Reads the queue; never writes.
#[async_trait]
pub trait Inspection: fmt::Debug + Send + Sync + 'static {
    /// Callbacks with this id, or this order or refund number of either side; newest first, at
    /// most 100.
    async fn find(&self, order: &str) -> Result<Vec<CallbackRow>, StoreError>;

    /// Callbacks with a number of either side that begins so; newest first, at most 20.
    async fn beginning(&self, prefix: &str) -> Result<Vec<CallbackRow>, StoreError>;

    /// The callback with this id.
    async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError>;

    /// Every attempt of a callback, in order.
    async fn attempts(&self, id: CallbackId) -> Result<Vec<AttemptRow>, StoreError>;

    /// The next page of a list. Costs by the rows of the index that it goes along, at most half a
    /// million, in small statements.
    async fn list(&self, filter: Filter) -> Result<ListPage, StoreError>;

    /// The earliest moment at which a callback that waits, and is not paused, is due. Costs a lookup
    /// for each endpoint.
    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// The callbacks in a state. Costs a walk along those in an index.
    async fn depth(&self, state: ShownState) -> Result<u64, StoreError>;

    /// Delivered callbacks that finished at the first moment or later, and before the second. Costs a
    /// walk along those in an index.
    async fn delivered_between(&self, from: Timestamp, until: Timestamp)
    -> Result<u64, StoreError>;

    /// When the delivered callback that finished first did so. Costs one lookup.
    async fn first_delivered(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Endpoints that may need a person, as of `now`; at most [`TROUBLED_MAX`](super::TROUBLED_MAX). Costs
    /// a walk along all that waits and what was given up in a day.
    async fn troubled(&self, now: Timestamp) -> Result<Vec<TroubledEndpoint>, StoreError>;

    /// Why this is not the queue any more: it has moved to another database, or another file stands in
    /// its place. `None`: it is.
    async fn displaced(&self) -> Result<Option<String>, StoreError>;

    /// What is paused.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;

    /// The origins whose learned limit has fallen and has not grown back, the lowest first.
    async fn lowered_limits(&self) -> Result<Vec<LoweredLimit>, StoreError>;

    /// Counts by state. Costs a walk over an index: not for every second.
    async fn stats(&self) -> Result<Stats, StoreError> {
        let mut depth = Vec::with_capacity(ShownState::ALL.len());
        for state in ShownState::ALL {
            depth.push((state, self.depth(state).await?));
        }
        Ok(Stats {
            depth,
            oldest_due: self.oldest_due().await?,
            paused: self.pauses().await?,
        })
    }

    /// Size of the write-ahead log beside the database, in bytes. A store that keeps none of its
    /// own answers 0.
    async fn wal_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// The snapshot that has been held for the longest time. `None`: nobody holds one that this role may see,
    /// or the store needs not care.
    async fn oldest_snapshot(&self) -> Result<Option<HeldSnapshot>, StoreError>;

    /// The view `merchant_health`.
    async fn merchants(&self) -> Result<Vec<MerchantRow>, StoreError>;
}
