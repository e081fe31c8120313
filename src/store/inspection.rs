//! The people's side of the queue: what the reading commands, the admin port and tests ask.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::Serialize;

use super::session::Row;
use super::{Origin, Pause, StoreError};
use crate::domain::{CallbackId, InvalidValue, Timestamp};

/// A callback's state as people are shown it: the column `state`, but `in_flight` while an
/// attempt is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownState {
    /// Waiting for its next attempt.
    Pending,
    /// An attempt is under way.
    InFlight,
    /// Acknowledged.
    Delivered,
    /// Given up.
    Exhausted,
    /// Called off by an operator.
    Cancelled,
}

impl ShownState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::InFlight,
        Self::Delivered,
        Self::Exhausted,
        Self::Cancelled,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ShownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ShownState {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                InvalidValue::new(
                    "state",
                    text,
                    "pending, in_flight, delivered, exhausted or cancelled",
                )
            })
    }
}

/// One row of `callback_queue`, every column as it stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct CallbackRow {
    pub id: CallbackId,
    pub kind: String,
    pub callback_url: String,
    pub app_id: String,
    pub pay_method: i64,
    pub amount: String,
    pub currency: String,
    pub newpay_order_no: String,
    pub order_no: String,
    pub newpay_refund_order_no: Option<String>,
    pub refund_order_no: Option<String>,
    pub subject: String,
    pub extra: String,
    pub result: String,
    pub trans_info: String,
    pub settlement_status: Option<i64>,
    pub created_at: Timestamp,
    pub state: ShownState,
    pub attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub leased_until: Option<Timestamp>,
    pub last_outcome: Option<String>,
    pub finished_at: Option<Timestamp>,
    pub origin: Origin,
}

impl CallbackRow {
    /// Reads a row of `callback_queue`.
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let id = row.get("id")?;
        let leased_until = row.get("leased_until")?;
        let state: String = row.get("state")?;
        let state = match (state.as_str(), leased_until) {
            ("pending", Some(_)) => ShownState::InFlight,
            ("delivered", _) => ShownState::Delivered,
            ("exhausted", _) => ShownState::Exhausted,
            ("cancelled", _) => ShownState::Cancelled,
            _ => ShownState::Pending,
        };
        Ok(Self {
            id,
            kind: row.get("kind")?,
            callback_url: row.get("callback_url")?,
            app_id: row.get("app_id")?,
            pay_method: row.get("pay_method")?,
            amount: row.get("amount")?,
            currency: row.get("currency")?,
            newpay_order_no: row.get("newpay_order_no")?,
            order_no: row.get("order_no")?,
            newpay_refund_order_no: row.get("newpay_refund_order_no")?,
            refund_order_no: row.get("refund_order_no")?,
            subject: row.get("subject")?,
            extra: row.get("extra")?,
            result: row.get("result")?,
            trans_info: row.get("trans_info")?,
            settlement_status: row.get("settlement_status")?,
            created_at: row.get("created_at")?,
            state,
            attempts: row.get("attempts")?,
            next_attempt_at: row.get("next_attempt_at")?,
            leased_until,
            last_outcome: row.get("last_outcome")?,
            finished_at: row.get("finished_at")?,
            origin: row.get("origin")?,
        })
    }
}

/// One row of `callback_attempt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct AttemptRow {
    pub callback_id: CallbackId,
    pub seq: i64,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub outcome: String,
    pub counted: bool,
    pub http_status: Option<i64>,
    pub detail: String,
    pub response_excerpt: Option<String>,
    pub remote_addr: Option<String>,
    pub sent_timestamp: Option<i64>,
    pub sign: Option<String>,
    pub key_id: Option<String>,
    pub body_sha256: Option<String>,
    pub phase: Option<String>,
    pub phases: BTreeMap<String, u64>,
}

/// Which callbacks to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<ShownState>,
    /// Of this app.
    pub app_id: Option<String>,
    /// Queued at this moment or later.
    pub since: Option<Timestamp>,
    /// Whose newest attempt ended so.
    pub outcome: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// Callbacks of a state among which [`NewestOfState`] selects.
pub const NEWEST_WINDOW: usize = 10_000;

/// The newest callbacks of a state, at a cost that does not depend on the depth of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestOfState {
    /// The state. Finished callbacks come newest first, pending ones by endpoint and due time, those in
    /// flight by the end of their lease.
    pub state: ShownState,
    /// Only those of this app, among the first [`NEWEST_WINDOW`].
    pub app_id: Option<String>,
    /// Only those whose newest attempt had this outcome, among the same.
    pub outcome: Option<String>,
    /// At most this many.
    pub limit: usize,
}

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

    /// The callback with this id.
    async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError>;

    /// The newest callbacks of a state.
    async fn newest_of_state(&self, newest: NewestOfState) -> Result<Vec<CallbackRow>, StoreError>;

    /// Every attempt of a callback, in order.
    async fn attempts(&self, id: CallbackId) -> Result<Vec<AttemptRow>, StoreError>;

    /// Callbacks by filter, newest first.
    async fn list(&self, filter: Filter) -> Result<Vec<CallbackRow>, StoreError>;

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

    /// What is paused.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;

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

    /// The view `merchant_health`.
    async fn merchants(&self) -> Result<Vec<MerchantRow>, StoreError>;
}
