//! Forgetting what is long finished, and keeping the file in shape.

use rusqlite::{Connection, ErrorCode};

use super::connection::{store_error, without_waiting};
use crate::store::{Retention, StoreError};

/// The attempts go along by trigger.
const PRUNE: &str = "
DELETE FROM callback_queue WHERE id IN (
  SELECT id FROM callback_queue INDEXED BY callback_finished
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
        truncate_wal(db)
    };
    run().map_err(|error| store_error(&error))
}

/// Copies the write-ahead log into the database and empties it, if nobody is in the way: a reader
/// or another writer must not make deliveries wait. Then the next time does it.
fn truncate_wal(db: &Connection) -> rusqlite::Result<()> {
    let checkpoint = without_waiting(|| {
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, bool>(0)
        })
    });
    match checkpoint {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => Err(error),
        Err(_) | Ok(_) => Ok(()),
    }
}
