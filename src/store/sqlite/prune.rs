//! Forgetting what is long finished, and keeping the file in shape.

use rusqlite::Connection;

use super::connection::store_error;
use crate::store::{Retention, StoreError};

/// The attempts go along by trigger.
const PRUNE: &str = "
DELETE FROM callback_queue WHERE id IN (
  SELECT id FROM callback_queue
  WHERE state = ?1 AND finished_at IS NOT NULL AND finished_at < ?2
  ORDER BY finished_at LIMIT ?3)";

pub(super) fn prune(db: &Connection, retention: &Retention) -> Result<usize, StoreError> {
    let kinds = [
        ("delivered", retention.delivered_before),
        ("cancelled", retention.delivered_before),
        ("exhausted", retention.exhausted_before),
    ];
    let mut removed = 0;
    for (state, before) in kinds {
        removed += db
            .prepare_cached(PRUNE)
            .and_then(|mut statement| {
                statement.execute((state, before.as_millis(), retention.limit - removed))
            })
            .map_err(|error| store_error(&error))?;
    }
    Ok(removed)
}

/// Pages given back to the file system at a time: 16 MiB at most.
const VACUUM_PAGES_MAX: u32 = 4096;

pub(super) fn maintain(db: &Connection) -> Result<(), StoreError> {
    let run = || {
        let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES_MAX})"))?;
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
        // TRUNCATE waits for no one: with a reader in the way it copies what it can and leaves.
        let (_busy, _frames, _copied) =
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                ))
            })?;
        db.execute_batch("PRAGMA optimize")
    };
    run().map_err(|error| store_error(&error))
}
