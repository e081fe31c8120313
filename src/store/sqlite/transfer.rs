//! Moving a queue out of an SQLite file, or into one.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql, params_from_iter};

use super::connection::{self, store_error};
use super::lock::InstanceLock;
use super::{marks, record};
use crate::domain::Timestamp;
use crate::store::transfer::{
    Arriving, ColumnKind, HighestIds, Movable, Moved, Row, TABLES, Table, Value,
};
use crate::store::{OpenError, StoreError};

/// A queue in an SQLite file, held for a transfer.
#[derive(Debug)]
pub struct SqliteMovable {
    connection: Connection,
    name: String,
    /// Held as long as this lives.
    _lock: InstanceLock,
}

impl SqliteMovable {
    /// Holds the queue that is to be left.
    ///
    /// # Errors
    ///
    /// [`OpenError::Held`] if a dispatcher has it, else what the file or the database said.
    pub fn source(path: &Path, holder: &str) -> Result<Self, OpenError> {
        // Before a lock file is left beside what is not there.
        drop(connection::open_current(&connection::canonical(path)?)?);
        Self::open(path, holder, connection::open_current)
    }

    /// Holds the queue that is to be filled; makes it if it is missing.
    ///
    /// # Errors
    ///
    /// As for [`SqliteMovable::source`].
    pub fn target(path: &Path, holder: &str) -> Result<Self, OpenError> {
        Self::open(path, holder, connection::open_or_create)
    }

    fn open(
        path: &Path,
        holder: &str,
        connect: impl FnOnce(&Path) -> Result<Connection, OpenError>,
    ) -> Result<Self, OpenError> {
        let path = connection::canonical(path)?;
        let lock = InstanceLock::acquire(&path, holder)?;
        Ok(Self {
            connection: connect(&path)?,
            name: path.display().to_string(),
            _lock: lock,
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection).map_err(|error| store_error(&error))
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        connection::in_transaction(&mut self.connection, |db| {
            work(db).map_err(|error| store_error(&error))
        })
    }
}

#[async_trait]
impl Movable for SqliteMovable {
    fn name(&self) -> &str {
        &self.name
    }

    async fn moved(&mut self) -> Result<Option<Moved>, StoreError> {
        self.read(marks::moved)
    }

    async fn arriving(&mut self) -> Result<Option<Arriving>, StoreError> {
        self.read(marks::arriving)
    }

    async fn count(&mut self, table: &'static Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        self.read(|db| db.query_row(&sql, [], |row| row.get(0)))
    }

    async fn page(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let after = after.unwrap_or_default();
        let key = key_names(table, "");
        let places = vec!["?"; after.len()].join(", ");
        let sql = format!(
            "SELECT {} FROM {} {} ORDER BY {key} LIMIT {limit}",
            table.column_names(),
            table.name,
            match after.is_empty() {
                true => String::new(),
                false => format!("WHERE ({key}) > ({places})"),
            }
        );
        self.read(|db| {
            db.prepare_cached(&sql)?
                .query_map(params_from_iter(after), |row| {
                    values(table.columns.len(), row)
                })?
                .collect()
        })
    }

    async fn highest_ids(&mut self) -> Result<HighestIds, StoreError> {
        let highest = |db: &Connection, table| -> rusqlite::Result<i64> {
            let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
            let given = db.query_row(sql, [table], |row| row.get(0)).optional()?;
            Ok(given.unwrap_or_default())
        };
        self.read(|db| {
            Ok(HighestIds {
                callback: highest(db, "callback_queue")?,
                command: highest(db, "operator_command")?,
            })
        })
    }

    async fn leave(&mut self, moved: &Moved, now: Timestamp) -> Result<(), StoreError> {
        connection::in_transaction(&mut self.connection, |db| {
            record::interrupt_in_flight(db, &now)?;
            marks::leave(db, moved, now).map_err(|error| store_error(&error))
        })
    }

    async fn left(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.write(|db| {
            let sql = "UPDATE queue_moved SET verified_at = ?1";
            db.execute(sql, [now.as_millis()]).map(|_| ())
        })
    }

    async fn stay(&mut self) -> Result<(), StoreError> {
        self.write(marks::stay)
    }

    async fn is_empty(&mut self) -> Result<bool, StoreError> {
        self.read(is_empty)
    }

    async fn expect(&mut self, arriving: &Arriving, now: Timestamp) -> Result<bool, StoreError> {
        self.write(|db| {
            if !is_empty(db)? {
                return Ok(false);
            }
            db.execute(
                "INSERT INTO queue_arriving (source, from_name, at) VALUES (?1, ?2, ?3)",
                (&arriving.source, &arriving.from, now.as_millis()),
            )
            .map(|_| true)
        })
    }

    async fn last_key(&mut self, table: &'static Table) -> Result<Option<Row>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {} LIMIT 1",
            key_names(table, ""),
            table.name,
            key_names(table, " DESC")
        );
        self.read(|db| {
            db.query_row(&sql, [], |row| values(table.key_columns, row))
                .optional()
        })
    }

    /// SQLite holds any text.
    fn unfit(&self, _: &Value) -> Option<&'static str> {
        None
    }

    async fn take(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            table.column_names(),
            vec!["?"; table.columns.len()].join(", ")
        );
        marks::while_copying(&mut self.connection, |db| {
            let mut insert = db.prepare_cached(&sql)?;
            for row in rows {
                insert.execute(params_from_iter(row))?;
            }
            Ok(())
        })
    }

    async fn go_on_behind(&mut self, ids: HighestIds) -> Result<(), StoreError> {
        let go_on = |db: &Connection, table: &str, id: i64| -> rusqlite::Result<()> {
            let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            if db.execute(sql, (table, id))? == 0 {
                let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
                db.execute(sql, (table, id))?;
            }
            Ok(())
        };
        self.write(|db| {
            go_on(db, "callback_queue", ids.callback)?;
            go_on(db, "operator_command", ids.command)
        })
    }

    async fn arrived(&mut self) -> Result<(), StoreError> {
        self.write(|db| db.execute("DELETE FROM queue_arriving", []).map(|_| ()))
    }
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    for table in TABLES.iter().map(|table| table.name).chain(["queue_moved"]) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if db.query_row(&sql, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The columns of the primary key, with `order` behind each.
fn key_names(table: &Table, order: &str) -> String {
    let names: Vec<_> = table
        .key()
        .iter()
        .map(|column| format!("{}{order}", column.name))
        .collect();
    names.join(", ")
}

fn values(columns: usize, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    (0..columns)
        .map(|at| match row.get_ref(at)? {
            ValueRef::Null => Ok(Value::Null),
            ValueRef::Integer(number) => Ok(Value::Integer(number)),
            ValueRef::Text(bytes) => Ok(Value::Text(bytes.to_owned())),
            // The tables are STRICT and have no such column.
            other => Err(rusqlite::Error::InvalidColumnType(
                at,
                format!("{:?} or {:?}", ColumnKind::Integer, ColumnKind::Text),
                other.data_type(),
            )),
        })
        .collect()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
        }))
    }
}
