//! Callbacks and attempts as people are shown them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::session::Row;
use super::{Origin, StoreError};
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
    pub to_url: Option<String>,
}

impl CallbackRow {
    /// Where it goes.
    pub fn url(&self) -> &str {
        self.to_url.as_ref().unwrap_or(&self.callback_url)
    }

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
            to_url: row.get("to_url")?,
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
    pub to_url: Option<String>,
}
