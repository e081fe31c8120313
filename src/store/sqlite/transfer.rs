//! Holding the queue in an SQLite file for a transfer, and the marks of one.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, params_from_iter};

use super::connection::{self, store_error};
use super::lock::InstanceLock;
use super::record;
use super::session::SharedConnection;
use crate::domain::Timestamp;
use crate::store::session::{Dialect, Row, Session, Value, at_once, placeholders};
use crate::store::transfer::{self, Held, Page, Table, TransferEnd};
use crate::store::{OpenError, StoreError};

/// Holds the queue that a transfer takes from a file.
///
/// # Errors
///
/// [`OpenError::Held`] if a dispatcher has it, else what the file or the database said.
pub fn transfer_source(path: &Path, holder: &str) -> Result<TransferEnd, OpenError> {
    // Before a lock file is made for a database that does not exist.
    drop(connection::open_current(&connection::canonical(path)?)?);
    hold(path, holder, connection::open_current)
}

/// Holds the queue that a transfer fills; makes it if it is missing.
///
/// # Errors
///
/// As for [`transfer_source`].
pub fn transfer_target(path: &Path, holder: &str) -> Result<TransferEnd, OpenError> {
    hold(path, holder, connection::open_or_create)
}

fn hold(
    path: &Path,
    holder: &str,
    connect: impl FnOnce(&Path) -> Result<Connection, OpenError>,
) -> Result<TransferEnd, OpenError> {
    let path = connection::canonical(path)?;
    let lock = InstanceLock::acquire(&path, holder)?;
    let held = HeldFile {
        connection: SharedConnection::new(connect(&path)?),
        _lock: lock,
    };
    Ok(TransferEnd::new(held, path.display().to_string()))
}

#[derive(Debug)]
struct HeldFile {
    connection: SharedConnection,
    /// Keeps dispatchers and other transfers away.
    _lock: InstanceLock,
}

#[async_trait]
impl Held for HeldFile {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.connection.query(sql, values).await
    }

    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.connection.execute(sql, values).await
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let sql = sql.to_owned();
        let batch =
            move |db: &Connection| db.execute_batch(&sql).map_err(|error| store_error(&error));
        self.connection.run(batch).await
    }

    async fn insert(&self, table: &Table, page: &Page) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            page.columns.join(", "),
            placeholders(page.columns.len())
        );
        let rows = page.rows.clone();
        let insert = move |db: &Connection| -> rusqlite::Result<()> {
            let mut insert = db.prepare_cached(&sql)?;
            for row in &rows {
                insert.execute(params_from_iter(row))?;
            }
            Ok(())
        };
        let insert = move |db: &Connection| insert(db).map_err(|error| store_error(&error));
        self.connection.run(insert).await
    }

    /// The lock says that there are none.
    async fn wait_for_leases(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn interrupt(&self, now: Timestamp) -> Result<(), StoreError> {
        let interrupt = move |db: &Connection| record::interrupt_in_flight(db, &now);
        self.connection.run(interrupt).await.map(|_| ())
    }

    async fn dispatchers(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
}

/// Insists that the queue in the file at `path` has not moved, and is not still moving in.
pub(super) fn require_in_use(db: &Connection, path: &Path) -> Result<(), OpenError> {
    at_once(transfer::require_in_use(db, &path.display().to_string()))
}

/// As `require_in_use`, for those who have no connection yet.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_in_use(path: &Path) -> Result<(), OpenError> {
    let path = connection::canonical(path)?;
    require_in_use(&connection::open_for_reading(&path)?, &path)
}
