//! Queueing as the gateway does.

use super::connection::Pool;
use super::error::store_error;
use super::rows;
use crate::domain::{CallbackId, NewCallback, Timestamp};
use crate::store::EnqueueError;
use crate::store::gateway_row::{GATEWAY_COLUMNS, NewRow};

pub(super) async fn enqueue(
    pool: &Pool,
    callbacks: &[NewCallback],
    now: Timestamp,
) -> Result<Vec<CallbackId>, EnqueueError> {
    let mut client = pool.client().await?;
    let failed = |error: tokio_postgres::Error| EnqueueError::Batch(store_error(&error));
    let transaction = client.transaction().await.map_err(failed)?;
    let statement = transaction
        .prepare_cached(&format!(
            "INSERT INTO callback_queue ({GATEWAY_COLUMNS}, created_at, next_attempt_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)
             RETURNING id"
        ))
        .await
        .map_err(failed)?;
    let mut ids = Vec::with_capacity(callbacks.len());
    for (position, callback) in callbacks.iter().enumerate() {
        let row = NewRow::of(callback);
        let queued = transaction
            .query_one(&statement, &rows::values(&row, &now.as_millis()))
            .await
            .map_err(|error| EnqueueError::Row {
                position,
                source: store_error(&error),
            })?;
        ids.push(CallbackId(queued.get(0)));
    }
    transaction.commit().await.map_err(failed)?;
    Ok(ids)
}
