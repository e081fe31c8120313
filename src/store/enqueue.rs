//! Queueing as the gateway does.

use super::gateway_row::values;
use super::session::{Session, Value, placeholders};
use super::{EnqueueError, StoreError};
use crate::domain::{CallbackId, NewCallback, Timestamp};

/// Queues all of `callbacks` in order, inside a transaction; returns their ids.
pub(super) async fn enqueue(
    session: &impl Session,
    callbacks: &[NewCallback],
    now: Timestamp,
) -> Result<Vec<CallbackId>, EnqueueError> {
    let mut ids = Vec::with_capacity(callbacks.len());
    for (position, callback) in callbacks.iter().enumerate() {
        let mut values = values(callback);
        values.push(("created_at", now.into()));
        values.push(("next_attempt_at", now.into()));
        let (columns, values): (Vec<_>, Vec<Value>) = values.into_iter().unzip();
        let sql = format!(
            "INSERT INTO callback_queue ({}) VALUES ({}) RETURNING id",
            columns.join(", "),
            placeholders(columns.len())
        );
        let refused = |source| EnqueueError::Row { position, source };
        let queued = session.query(&sql, &values).await.map_err(refused)?;
        let id = queued.first().map(|row| row.get("id")).transpose()?;
        ids.push(id.ok_or_else(|| StoreError::Other("no id for a new callback".to_owned()))?);
    }
    Ok(ids)
}
