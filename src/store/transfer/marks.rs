//! The marks of a transfer: that this queue moves out, or that one moves in.
//!
//! A mark is a row in a table of its own and triggers that refuse changes in its name. The triggers are
//! made with the mark: before, they cost nothing, and a transaction that has begun earlier sees them.
//! SQLite before 3.47 raises only a text that the trigger itself holds, so it names the other database.

use super::tables::WRITTEN;
use crate::store::session::{Dialect, Row, Session};
use crate::store::{OpenError, StoreError};

/// The mark on the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferOut {
    /// Names the transfer; random.
    pub transfer_id: String,
    /// The database that the queue moves to.
    pub to: String,
    /// Whether all of it was found there, so that the other one is the queue from now on.
    pub is_verified: bool,
}

/// The mark on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferIn {
    /// The transfer, as in [`TransferOut`].
    pub transfer_id: String,
    /// The database that the queue comes from.
    pub from: String,
}

pub(super) const SELECT_OUT: &str = "SELECT transfer_id, to_name, verified_at IS NOT NULL AS is_verified FROM internal_transfer_out";

pub(super) const SELECT_IN: &str = "SELECT transfer_id, from_name FROM internal_transfer_in";

pub(super) fn read_out(rows: &[Row]) -> Result<Option<TransferOut>, StoreError> {
    let read = |row: &Row| {
        Ok(TransferOut {
            transfer_id: row.get("transfer_id")?,
            to: row.get("to_name")?,
            is_verified: row.get("is_verified")?,
        })
    };
    rows.first().map(read).transpose()
}

pub(super) fn read_in(rows: &[Row]) -> Result<Option<TransferIn>, StoreError> {
    let read = |row: &Row| {
        Ok(TransferIn {
            transfer_id: row.get("transfer_id")?,
            from: row.get("from_name")?,
        })
    };
    rows.first().map(read).transpose()
}

/// Insists that this is the queue: it has not moved out, nor is it still moving in.
pub(in crate::store) async fn require_in_use(
    session: &impl Session,
    database: &str,
) -> Result<(), OpenError> {
    let database = database.to_owned();
    let marks = async {
        let out = read_out(&session.query(SELECT_OUT, &[]).await?)?;
        let moves_in = read_in(&session.query(SELECT_IN, &[]).await?)?;
        Ok((out, moves_in))
    };
    Err(match marks.await {
        Ok((None, None)) => return Ok(()),
        Ok((
            Some(TransferOut {
                to, is_verified, ..
            }),
            _,
        )) => match is_verified {
            true => OpenError::Moved { database, to },
            false => OpenError::Moving { database, to },
        },
        Ok((None, Some(TransferIn { from, .. }))) => OpenError::Incomplete { database, from },
        Err(source) => OpenError::Database { database, source },
    })
}

/// Where this queue has moved to or comes from, in words; `None`: it is in use.
pub(in crate::store) async fn moved(session: &impl Session) -> Result<Option<String>, StoreError> {
    match require_in_use(session, "this queue").await {
        Ok(()) => Ok(None),
        Err(OpenError::Database { source, .. }) => Err(source),
        Err(elsewhere) => Ok(Some(elsewhere.to_string())),
    }
}

/// Which of the two marks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Out,
    In,
}

impl Mark {
    const fn name(self) -> &'static str {
        match self {
            Self::Out => "transfer_out",
            Self::In => "transfer_in",
        }
    }

    /// Makes the triggers that refuse every change with these words. Those of a queue that moves in let
    /// the transfer pass.
    pub(super) fn create_triggers(self, dialect: Dialect, words: &str) -> String {
        let words = words.replace('\'', "''");
        let (condition, function) = match self {
            Self::Out => ("", "callback_refuse"),
            Self::In => (
                "WHEN EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 0)",
                "queue_refuse_unless_copying",
            ),
        };
        self.for_each_trigger(dialect, |trigger, event, table| match dialect {
            Dialect::Sqlite => format!(
                "CREATE TRIGGER {trigger} BEFORE {event} ON {table} {condition}
                 BEGIN SELECT RAISE(ABORT, '{table}: {words}'); END"
            ),
            Dialect::Postgres => format!(
                "CREATE TRIGGER {trigger} BEFORE {event} ON {table} FOR EACH STATEMENT
                 EXECUTE FUNCTION {function}('{table}: {words}')"
            ),
        })
    }

    /// Removes the triggers and the mark.
    pub(super) fn remove(self, dialect: Dialect) -> String {
        let mut sql = self.for_each_trigger(dialect, |trigger, _, table| match dialect {
            Dialect::Sqlite => format!("DROP TRIGGER IF EXISTS {trigger}"),
            Dialect::Postgres => format!("DROP TRIGGER IF EXISTS {trigger} ON {table}"),
        });
        sql.push_str(&format!("DELETE FROM internal_{}", self.name()));
        sql
    }

    /// One trigger of SQLite's is for one event.
    fn for_each_trigger(
        self,
        dialect: Dialect,
        statement: impl Fn(&str, &str, &str) -> String,
    ) -> String {
        let events: &[_] = match dialect {
            Dialect::Sqlite => &[
                ("_insert", "INSERT"),
                ("_update", "UPDATE"),
                ("_delete", "DELETE"),
            ],
            Dialect::Postgres => &[("", "INSERT OR UPDATE OR DELETE")],
        };
        let mut sql = String::new();
        for table in WRITTEN {
            for (suffix, event) in events {
                let trigger = format!("{table}_{}{suffix}", self.name());
                let statement = statement(&trigger, event, table);
                sql.push_str(&statement);
                sql.push_str(";\n");
            }
        }
        sql
    }
}
