//! Removing what is past its retention.

use super::connection::Pool;
use super::error::store_error;
use crate::domain::Timestamp;
use crate::failpoint;
use crate::store::{Retention, StoreError};

/// The attempts go along by a trigger.
const REMOVE: &str = "
DELETE FROM callback_queue WHERE id = ANY (ARRAY(
  SELECT id FROM callback_queue
  WHERE state = $1 AND finished_at IS NOT NULL AND finished_at < $2
  ORDER BY finished_at LIMIT $3
  FOR UPDATE SKIP LOCKED))";

pub(super) async fn prune(pool: &Pool, retention: &Retention) -> Result<usize, StoreError> {
    let kinds = [
        ("delivered", retention.delivered_before),
        ("cancelled", retention.delivered_before),
        ("exhausted", retention.exhausted_before),
    ];
    let mut removed = 0;
    for (state, before) in kinds {
        removed += remove(pool, state, before, retention.limit - removed).await?;
    }
    failpoint::here!("prune-before-commit");
    Ok(removed)
}

async fn remove(
    pool: &Pool,
    state: &str,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let client = pool.client().await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let removing = async {
        let statement = client.prepare_cached(REMOVE).await?;
        client
            .execute(&statement, &[&state, &before.as_millis(), &limit])
            .await
    };
    let removed = removing.await.map_err(|error| store_error(&error))?;
    Ok(usize::try_from(removed).unwrap_or(usize::MAX))
}
