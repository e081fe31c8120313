//! Forgetting what is long finished, and keeping the file in shape.

use rusqlite::{Connection, ErrorCode};

use super::connection::{store_error, without_waiting};
use crate::domain::Timestamp;
use crate::failpoint;
use crate::store::{Retention, StoreError};

/// The longest finished of a state. Their ids are fetched before the first is removed: to a DELETE
/// with this query in it, the planner may scan the whole table.
pub(super) const OUTDATED: &str = "
SELECT id FROM callback_queue INDEXED BY callback_finished
WHERE state = ?1 AND finished_at IS NOT NULL AND finished_at < ?2
ORDER BY finished_at LIMIT ?3";

/// The attempts go along by trigger.
pub(super) const REMOVE: &str = "DELETE FROM callback_queue WHERE id = ?1";

pub(super) fn prune(db: &Connection, retention: &Retention) -> Result<usize, StoreError> {
    let kinds = [
        ("delivered", retention.delivered_before),
        ("cancelled", retention.delivered_before),
        ("exhausted", retention.exhausted_before),
    ];
    let mut removed = 0;
    for (state, before) in kinds {
        removed += remove(db, state, before, retention.limit - removed)
            .map_err(|error| store_error(&error))?;
    }
    failpoint::here!("prune-before-commit");
    Ok(removed)
}

fn remove(
    db: &Connection,
    state: &str,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let outdated: Vec<i64> = db
        .prepare_cached(OUTDATED)?
        .query_map((state, before.as_millis(), limit), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut statement = db.prepare_cached(REMOVE)?;
    for id in &outdated {
        statement.execute([id])?;
    }
    Ok(outdated.len())
}

/// Pages given back to the file system at a time: 16 MiB at most.
const VACUUM_PAGES_MAX: u32 = 4096;

/// Frees pages, then copies the write-ahead log into the database and empties it. Waits for no lock:
/// deliveries would wait as well. What is in the way of a lock leaves the work to the next time.
pub(super) fn maintain(db: &Connection) -> Result<(), StoreError> {
    without_waiting(|| {
        unless_busy(vacuum(db))?;
        failpoint::here!("checkpoint");
        unless_busy(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    })
}

fn vacuum(db: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES_MAX})"))?;
    let mut freed = vacuum.query([])?;
    while freed.next()?.is_some() {}
    Ok(())
}

fn unless_busy(result: rusqlite::Result<()>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
            Err(store_error(&error))
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::connection::{has_waited, open_or_create};

    #[test]
    fn maintenance_does_not_wait_for_another_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let db = open_or_create(&path).expect("a new queue");
        let rival = Connection::open(&path).expect("another connection");
        rival.execute_batch("BEGIN IMMEDIATE").expect("free");
        assert_eq!(maintain(&db), Ok(()));
        assert!(!has_waited());
    }
}
