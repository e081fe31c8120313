//! Removing callbacks that are past their retention.

use super::session::Session;
use super::{Retention, StoreError};
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;

/// The longest finished of a state. Each is removed by its id: for a DELETE of many ids at once,
/// SQLite's planner may scan the whole table.
pub(super) const OUTDATED: &str = "
SELECT id FROM callback_queue{ INDEXED BY callback_finished|}
WHERE state = ?1 AND finished_at IS NOT NULL AND finished_at < ?2
ORDER BY finished_at LIMIT ?3{| FOR UPDATE SKIP LOCKED}";

/// The attempts go along by a trigger; those in a month of their own stay until the month goes.
pub(super) const REMOVE: &str = "DELETE FROM callback_queue WHERE id = ?1";

/// Removes one batch, inside a transaction; returns the number of callbacks.
pub(super) async fn prune(
    session: &impl Session,
    retention: &Retention,
) -> Result<usize, StoreError> {
    let kinds = [
        ("delivered", retention.delivered_before),
        ("cancelled", retention.delivered_before),
        ("exhausted", retention.exhausted_before),
    ];
    let mut removed = 0;
    for (state, before) in kinds {
        removed += remove(session, state, before, retention.limit - removed).await?;
    }
    failpoint::here!("prune-before-commit");
    Ok(removed)
}

async fn remove(
    session: &impl Session,
    state: &str,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let values = [state.into(), before.into(), limit.into()];
    let outdated = session.query(OUTDATED, &values).await?;
    let removed = outdated.len();
    for row in outdated {
        let id: CallbackId = row.get("id")?;
        session.execute(REMOVE, &[id.into()]).await?;
    }
    Ok(removed)
}
