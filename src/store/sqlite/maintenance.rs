//! Keeping the file in shape.

use rusqlite::{Connection, ErrorCode};

use super::connection::{store_error, without_waiting};
use crate::failpoint;
use crate::store::StoreError;

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
