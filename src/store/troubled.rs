//! Endpoints that may need a person.

use serde::Serialize;

use super::{AppId, Origin};
use crate::domain::Timestamp;

/// The most that are listed.
pub const TROUBLED_MAX: usize = 1000;

/// An endpoint that is late, was given up on, can't be signed for, or is paused while something waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TroubledEndpoint {
    /// Whose callbacks.
    #[serde(serialize_with = "as_text")]
    pub app_id: AppId,
    /// Where they go.
    pub origin: Origin,
    /// Callbacks that wait.
    pub pending: u64,
    /// Of these, the ones whose newest attempt found no usable key, or could not read the row.
    pub unsignable: u64,
    /// Of these, the ones whose newest attempt failed by a fault of our own, and is not charged to the merchant.
    pub not_charged: u64,
    /// When the earliest of those that wait is or was due.
    pub oldest_due: Option<Timestamp>,
    /// Callbacks that were given up within the last 24 hours, and still are.
    pub exhausted_24h: u64,
}

fn as_text<S: serde::Serializer>(app_id: &AppId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&app_id.as_text())
}
