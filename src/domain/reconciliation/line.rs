//! A callback in one line, the same on every machine.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::super::timestamp::Timestamp;
use super::super::value::CallbackId;
use super::super::words::InvalidValue;

/// The state of a callback, for an auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconciledState {
    /// An attempt of it was acknowledged, whatever came after.
    Acknowledged,
    /// Given up.
    Exhausted,
    /// Called off by an operator.
    Cancelled,
    /// Waits for an attempt; those before it, if any, have failed for sure.
    Pending,
    /// Perhaps the merchant was told: an attempt is under way, or the newest was interrupted. Also
    /// a row that says `delivered` while no attempt in the log was acknowledged.
    Unknown,
}

impl ReconciledState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Acknowledged,
        Self::Exhausted,
        Self::Cancelled,
        Self::Pending,
        Self::Unknown,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ReconciledState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ReconciledState {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                let expected = "acknowledged, exhausted, cancelled, pending or unknown";
                InvalidValue::new("state", text, expected)
            })
    }
}

/// The attempt that decides a callback's state: the first that was acknowledged, else the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct DecisiveAttempt {
    pub seq: i64,
    pub outcome: String,
    pub started_at: Timestamp,
    pub sent_timestamp: Option<i64>,
    pub key_id: Option<String>,
    pub sign: Option<String>,
    pub body_sha256: Option<String>,
}

/// A callback as reconciliation sees it: all that the gateway wrote, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct ReconciledCallback {
    pub id: CallbackId,
    pub kind: String,
    pub app_id: String,
    pub newpay_order_no: String,
    pub newpay_refund_order_no: Option<String>,
    pub order_no: String,
    pub refund_order_no: Option<String>,
    pub amount: String,
    pub currency: String,
    pub result: String,
    pub pay_method: i64,
    pub settlement_status: Option<i64>,
    pub trans_info: String,
    pub subject: String,
    pub extra: String,
    pub callback_url: String,
    pub created_at: Timestamp,
    pub state: ReconciledState,
    pub attempt: Option<DecisiveAttempt>,
}

impl ReconciledCallback {
    /// Its line, without the line break: a JSON array without white space, its texts escaped as
    /// RFC 8785 says.
    pub fn line(&self) -> String {
        serde_json::to_string(&Line(self)).expect("texts and numbers are JSON")
    }
}

struct Line<'a>(&'a ReconciledCallback);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let callback = self.0;
        let attempt = callback.attempt.as_ref();
        let mut line = serializer.serialize_seq(Some(25))?;
        line.serialize_element(&callback.id)?;
        line.serialize_element(&callback.kind)?;
        line.serialize_element(&callback.app_id)?;
        line.serialize_element(&callback.newpay_order_no)?;
        line.serialize_element(&callback.newpay_refund_order_no)?;
        line.serialize_element(&callback.order_no)?;
        line.serialize_element(&callback.refund_order_no)?;
        line.serialize_element(&callback.amount)?;
        line.serialize_element(&callback.currency)?;
        line.serialize_element(&callback.result)?;
        line.serialize_element(&callback.pay_method)?;
        line.serialize_element(&callback.settlement_status)?;
        line.serialize_element(&callback.trans_info)?;
        line.serialize_element(&callback.subject)?;
        line.serialize_element(&callback.extra)?;
        line.serialize_element(&callback.callback_url)?;
        line.serialize_element(&callback.created_at.as_millis())?;
        line.serialize_element(callback.state.as_str())?;
        line.serialize_element(&attempt.map(|attempt| attempt.seq))?;
        line.serialize_element(&attempt.map(|attempt| &attempt.outcome))?;
        line.serialize_element(&attempt.map(|attempt| attempt.started_at.as_millis()))?;
        line.serialize_element(&attempt.and_then(|attempt| attempt.sent_timestamp))?;
        line.serialize_element(&attempt.and_then(|attempt| attempt.key_id.as_ref()))?;
        line.serialize_element(&attempt.and_then(|attempt| attempt.sign.as_ref()))?;
        line.serialize_element(&attempt.and_then(|attempt| attempt.body_sha256.as_ref()))?;
        line.end()
    }
}
