//! Queueing as the gateway does.

use super::gateway_row::{GATEWAY_COLUMNS, values};
use super::session::Session;
use super::{EnqueueError, StoreError};
use crate::domain::{CallbackId, NewCallback, Timestamp};

/// Queues all of `callbacks` in order, inside a transaction; returns their ids.
pub(super) async fn enqueue(
    session: &impl Session,
    callbacks: &[NewCallback],
    now: Timestamp,
) -> Result<Vec<CallbackId>, EnqueueError> {
    let sql = format!(
        "INSERT INTO callback_queue ({GATEWAY_COLUMNS}, created_at, next_attempt_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16)
         RETURNING id"
    );
    let mut ids = Vec::with_capacity(callbacks.len());
    for (position, callback) in callbacks.iter().enumerate() {
        let mut values = Vec::from(values(callback));
        values.push(now.into());
        let refused = |source| EnqueueError::Row { position, source };
        let queued = session.query(&sql, &values).await.map_err(refused)?;
        let id = queued.first().map(|row| row.get("id")).transpose()?;
        ids.push(id.ok_or_else(|| StoreError::Other("no id for a new callback".to_owned()))?);
    }
    Ok(ids)
}
