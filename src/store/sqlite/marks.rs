//! The marks of a transfer: that this queue has moved, or that one is on its way into it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::connection::{self, database_error, store_error};
use crate::domain::Timestamp;
use crate::store::transfer::{Arriving, Moved};
use crate::store::{OpenError, StoreError};

/// What a queue refuses that has moved. SQLite of before 3.47 raises only what stands in the
/// trigger's text, so the triggers are made when it is known where to. Nothing but the end of a
/// transfer changes these tables from then on, so the copy can't fall behind.
const REFUSED: &[(&str, &str)] = &[
    ("callback_queue", "INSERT"),
    ("callback_queue", "UPDATE"),
    ("callback_queue", "DELETE"),
    ("operator_command", "INSERT"),
    ("operator_command", "UPDATE"),
];

pub(super) fn moved(db: &Connection) -> rusqlite::Result<Option<Moved>> {
    db.query_row(
        "SELECT source, to_name, verified_at IS NOT NULL FROM queue_moved",
        [],
        |row| {
            Ok(Moved {
                source: row.get(0)?,
                to: row.get(1)?,
                is_verified: row.get(2)?,
            })
        },
    )
    .optional()
}

pub(super) fn arriving(db: &Connection) -> rusqlite::Result<Option<Arriving>> {
    db.query_row("SELECT source, from_name FROM queue_arriving", [], |row| {
        Ok(Arriving {
            source: row.get(0)?,
            from: row.get(1)?,
        })
    })
    .optional()
}

/// Marks the queue as moved, inside a transaction.
pub(super) fn leave(db: &Connection, moved: &Moved, now: Timestamp) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO queue_moved (source, to_name, at) VALUES (?1, ?2, ?3)",
        (&moved.source, &moved.to, now.as_millis()),
    )?;
    let to = moved.to.replace('\'', "''");
    for (table, event) in REFUSED {
        db.execute_batch(&format!(
            "CREATE TRIGGER {} BEFORE {event} ON {table}
             BEGIN SELECT RAISE(ABORT, '{table}: this queue has moved to {to}'); END",
            trigger(table, event)
        ))?;
    }
    Ok(())
}

/// Takes back what [`leave`] did, inside a transaction.
pub(super) fn stay(db: &Connection) -> rusqlite::Result<()> {
    for (table, event) in REFUSED {
        db.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", trigger(table, event)))?;
    }
    db.execute("DELETE FROM queue_moved", []).map(|_| ())
}

fn trigger(table: &str, event: &str) -> String {
    format!("{table}_has_moved_{}", event.to_lowercase())
}

/// Insists that this is the queue, not one that has moved or is still on its way.
pub(super) fn require_in_use(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| database_error(path, &error);
    let database = || path.display().to_string();
    match moved(db).map_err(failed)? {
        None => {}
        Some(moved) if moved.is_verified => {
            return Err(OpenError::Moved {
                database: database(),
                to: moved.to,
            });
        }
        Some(moved) => {
            return Err(OpenError::Moving {
                database: database(),
                to: moved.to,
            });
        }
    }
    match arriving(db).map_err(failed)? {
        None => Ok(()),
        Some(arriving) => Err(OpenError::Arriving {
            database: database(),
            from: arriving.from,
        }),
    }
}

/// Insists that the queue at `path` is in use: it has not moved, and is not still on its way.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_in_use(path: &Path) -> Result<(), OpenError> {
    let path = connection::canonical(path)?;
    require_in_use(&connection::open_for_reading(&path)?, &path)
}

/// Runs `work` in a transaction in which the guards let a transfer pass.
pub(super) fn while_copying<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    connection::in_transaction(connection, |db| {
        let work = || {
            // Others never see it: it is 0 again before the commit.
            db.execute("UPDATE queue_arriving SET copying = 1", [])?;
            let result = work(db)?;
            db.execute("UPDATE queue_arriving SET copying = 0", [])?;
            Ok(result)
        };
        work().map_err(|error| store_error(&error))
    })
}
