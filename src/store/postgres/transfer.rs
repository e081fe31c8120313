//! Moving a queue out of a PostgreSQL database, or into one.
//!
//! All is done in one session, which holds an advisory lock: if the connection is lost, so is the
//! lock, and with it the transfer. A dispatcher joins first and looks for the mark
//! afterwards; a transfer marks first and looks for seats afterwards. One of them sees the other.

use std::path::PathBuf;

use async_trait::async_trait;
use deadpool_postgres::Client;
use tokio_postgres::types::ToSql;

use super::connection::{Database, User};
use super::error::store_error;
use super::{fleet, marks, record, schema};
use crate::domain::Timestamp;
use crate::store::transfer::{
    Arriving, Column, ColumnKind, HighestIds, Movable, Moved, Row, TABLES, Table, Value,
};
use crate::store::{OpenError, StoreError};

/// "NPCB": held by a transfer, at either end.
const LOCK: i64 = 0x4e50_4342;

/// How often it is asked whether the leases of a dispatcher that has fallen silent have run out.
/// They do within seconds.
const LEASES_ASKED_MAX: u32 = 60;

/// A queue in a PostgreSQL database, held for a transfer.
#[derive(Debug)]
pub struct PostgresMovable {
    client: Client,
    name: String,
}

impl PostgresMovable {
    /// Holds the queue that is to be left.
    ///
    /// # Errors
    ///
    /// [`OpenError::Held`] if dispatchers work on it, else what the server said.
    pub async fn source(database: &Database) -> Result<Self, OpenError> {
        schema::require_current(database, &database.pool(User::People)).await?;
        Self::hold(database).await
    }

    /// Holds the queue that is to be filled; makes it if it is missing.
    ///
    /// # Errors
    ///
    /// As for [`PostgresMovable::source`].
    pub async fn target(database: &Database) -> Result<Self, OpenError> {
        schema::init(database).await?;
        Self::hold(database).await
    }

    async fn hold(database: &Database) -> Result<Self, OpenError> {
        let failed = |error| database.open_error(error);
        let held = |holder: String| OpenError::Held {
            path: PathBuf::from(database.name()),
            holder,
        };
        let client = database.pool(User::People).client().await.map_err(failed)?;
        let holding = async {
            // A copy of millions of rows is counted, too.
            client.batch_execute("SET statement_timeout = 0").await?;
            let lock = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]);
            let is_locked: bool = lock.await?.get(0);
            Ok((is_locked, fleet::at_work(&**client).await?))
        };
        match holding.await.map_err(|error| failed(store_error(&error)))? {
            (false, _) => Err(held("another transfer".to_owned())),
            (true, Some(dispatchers)) => Err(held(dispatchers)),
            (true, None) => Ok(Self {
                client,
                name: database.name().to_owned(),
            }),
        }
    }

    async fn value<T>(&self, sql: &str) -> Result<T, StoreError>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        self.client
            .query_one(sql, &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| store_error(&error))
    }

    async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        let done = self.client.execute(sql, values).await;
        done.map(|_| ()).map_err(|error| store_error(&error))
    }

    /// Insists that no dispatcher has come since the queue was held. After a mark was made: one that
    /// comes later sees it.
    async fn require_no_dispatcher(&self) -> Result<(), StoreError> {
        let joined = fleet::at_work(&**self.client).await;
        match joined.map_err(|error| store_error(&error))? {
            None => Ok(()),
            Some(dispatchers) => Err(StoreError::Busy(format!(
                "a dispatcher has just come ({dispatchers}); stop it if it does not leave by itself"
            ))),
        }
    }

    /// Ends what is in flight and marks the queue. Returns false, and has done nothing, while
    /// leases stand.
    async fn try_to_leave(
        &mut self,
        moved: &Moved,
        now: Timestamp,
    ) -> Result<bool, tokio_postgres::Error> {
        let transaction = self.client.transaction().await?;
        marks::lock(&transaction).await?;
        let standing = "SELECT EXISTS (SELECT 1 FROM callback_queue
            WHERE leased_until IS NOT NULL AND leased_until >= callback_now())";
        if transaction.query_one(standing, &[]).await?.get(0) {
            transaction.rollback().await?;
            return Ok(false);
        }
        record::interrupt(&*transaction, now, i64::MAX).await?;
        marks::leave(&transaction, moved, now).await?;
        transaction.commit().await.map(|()| true)
    }
}

#[async_trait]
impl Movable for PostgresMovable {
    fn name(&self) -> &str {
        &self.name
    }

    async fn moved(&mut self) -> Result<Option<Moved>, StoreError> {
        let moved = marks::moved(&**self.client).await;
        moved.map_err(|error| store_error(&error))
    }

    async fn arriving(&mut self) -> Result<Option<Arriving>, StoreError> {
        let arriving = marks::arriving(&**self.client).await;
        arriving.map_err(|error| store_error(&error))
    }

    async fn count(&mut self, table: &'static Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", rows_of(table));
        let rows: i64 = self.value(&sql).await?;
        Ok(rows.unsigned_abs())
    }

    async fn page(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let key = key_names(table.key(), "");
        let after = after.unwrap_or_default();
        let places: Vec<_> = (1..=after.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT {} FROM {} {} ORDER BY {key} LIMIT {limit}",
            read_as(table.columns),
            rows_of(table),
            match after.is_empty() {
                true => String::new(),
                false => format!("WHERE ({key}) > ({})", places.join(", ")),
            }
        );
        let after = after.iter().map(bound).collect::<Result<Vec<_>, _>>()?;
        let after: Vec<_> = after.iter().map(|value| &**value as _).collect();
        let rows = self.client.query(&sql, &after).await;
        let rows = rows.map_err(|error| store_error(&error))?;
        Ok(rows.iter().map(|row| values(table.columns, row)).collect())
    }

    async fn highest_ids(&mut self) -> Result<HighestIds, StoreError> {
        let highest = |table| {
            format!(
                "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass), 0)"
            )
        };
        Ok(HighestIds {
            callback: self.value(&highest("callback_queue")).await?,
            command: self.value(&highest("operator_command")).await?,
        })
    }

    async fn leave(&mut self, moved: &Moved, now: Timestamp) -> Result<(), StoreError> {
        let mut asked = 0;
        loop {
            let left = self.try_to_leave(moved, now).await;
            if left.map_err(|error| store_error(&error))? {
                break;
            }
            asked += 1;
            if asked == LEASES_ASKED_MAX {
                return Err(StoreError::Busy(
                    "a dispatcher renews its leases".to_owned(),
                ));
            }
            self.execute("SELECT pg_sleep(0.5)", &[]).await?;
        }
        self.require_no_dispatcher().await
    }

    async fn left(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE queue_moved SET verified_at = $1";
        self.execute(sql, &[&now.as_millis()]).await
    }

    async fn stay(&mut self) -> Result<(), StoreError> {
        let staying = async {
            let transaction = self.client.transaction().await?;
            marks::stay(&transaction).await?;
            transaction.commit().await
        };
        let stayed: Result<(), tokio_postgres::Error> = staying.await;
        stayed.map_err(|error| store_error(&error))
    }

    async fn is_empty(&mut self) -> Result<bool, StoreError> {
        self.value(&format!("SELECT NOT ({})", has_rows())).await
    }

    async fn expect(&mut self, arriving: &Arriving, now: Timestamp) -> Result<bool, StoreError> {
        let expecting = async {
            let transaction = self.client.transaction().await?;
            marks::lock(&transaction).await?;
            let is_full = format!("SELECT {}", has_rows());
            if transaction.query_one(&is_full, &[]).await?.get(0) {
                return Ok(false);
            }
            marks::expect(&transaction, arriving, now).await?;
            transaction.commit().await.map(|()| true)
        };
        let expected: Result<_, tokio_postgres::Error> = expecting.await;
        let is_expected = expected.map_err(|error| store_error(&error))?;
        self.require_no_dispatcher().await.map(|()| is_expected)
    }

    async fn last_key(&mut self, table: &'static Table) -> Result<Option<Row>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {} LIMIT 1",
            read_as(table.key()),
            table.name,
            key_names(table.key(), " DESC")
        );
        let row = self.client.query_opt(&sql, &[]).await;
        let row = row.map_err(|error| store_error(&error))?;
        Ok(row.map(|row| values(table.key(), &row)))
    }

    fn unfit(&self, value: &Value) -> Option<&'static str> {
        let Value::Text(bytes) = value else {
            return None;
        };
        match std::str::from_utf8(bytes) {
            Err(_) => Some("the text is not UTF-8"),
            Ok(text) if text.contains('\0') => Some("the text has a NUL in it"),
            Ok(_) => None,
        }
    }

    async fn take(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        let places = table.columns.iter().enumerate().map(|(at, column)| {
            let kind = match column.kind {
                ColumnKind::Integer => "bigint",
                ColumnKind::Text => "text",
            };
            format!("${}::{kind}[]", at + 1)
        });
        let places: Vec<_> = places.collect();
        let sql = format!(
            "INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE
             SELECT {names} FROM unnest({}) AS sent ({names})",
            table.name,
            places.join(", "),
            names = table.column_names()
        );
        let columns = columns(table, &rows)?;
        let columns: Vec<_> = columns.iter().map(|column| &**column as _).collect();
        let taking = async {
            let transaction = self.client.transaction().await?;
            // Others never see it: it is 0 again before the commit.
            let mark = |copying| format!("UPDATE queue_arriving SET copying = {copying}");
            transaction.batch_execute(&mark(1)).await?;
            let insert = transaction.prepare_cached(&sql).await?;
            transaction.execute(&insert, &columns).await?;
            transaction.batch_execute(&mark(0)).await?;
            transaction.commit().await
        };
        taking.await.map_err(|error| store_error(&error))
    }

    async fn go_on_behind(&mut self, ids: HighestIds) -> Result<(), StoreError> {
        let here = self.highest_ids().await?;
        for (table, here, there) in [
            ("callback_queue", here.callback, ids.callback),
            ("operator_command", here.command, ids.command),
        ] {
            if there > here {
                let sql =
                    format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), {there})");
                self.execute(&sql, &[]).await?;
            }
        }
        Ok(())
    }

    async fn arrived(&mut self) -> Result<(), StoreError> {
        let arriving = async {
            let transaction = self.client.transaction().await?;
            marks::arrived(&transaction).await?;
            transaction.commit().await
        };
        let arrived: Result<(), tokio_postgres::Error> = arriving.await;
        arrived.map_err(|error| store_error(&error))
    }
}

/// What a queue's table has for another one. A log that is divided by month may still have attempts
/// of callbacks that are gone: only its month would take them away.
fn rows_of(table: &Table) -> String {
    match table.name {
        "callback_attempt" => "(SELECT a.* FROM callback_attempt a
            WHERE EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = a.callback_id)) AS attempts"
            .to_owned(),
        name => name.to_owned(),
    }
}

/// Whether there is a row or a mark.
fn has_rows() -> String {
    let tables = TABLES.iter().map(|table| table.name);
    let any: Vec<_> = tables
        .chain(["queue_moved", "queue_arriving"])
        .map(|table| format!("EXISTS (SELECT 1 FROM {table})"))
        .collect();
    any.join(" OR ")
}

/// The columns of a key, with `order` behind each; texts as SQLite orders them.
fn key_names(key: &[Column], order: &str) -> String {
    let names = key.iter().map(|column| match column.kind {
        ColumnKind::Integer => format!("{}{order}", column.name),
        ColumnKind::Text => format!("{} COLLATE \"C\"{order}", column.name),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The columns as a transfer knows them, whatever width they have here.
fn read_as(columns: &[Column]) -> String {
    let names = columns.iter().map(|column| match column.kind {
        ColumnKind::Integer => format!("{}::bigint", column.name),
        ColumnKind::Text => format!("{}::text", column.name),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn values(columns: &[Column], row: &tokio_postgres::Row) -> Row {
    let value = |(at, column): (usize, &Column)| match column.kind {
        ColumnKind::Integer => row
            .get::<_, Option<i64>>(at)
            .map_or(Value::Null, Value::Integer),
        ColumnKind::Text => row
            .get::<_, Option<String>>(at)
            .map_or(Value::Null, |text| Value::Text(text.into_bytes())),
    };
    columns.iter().enumerate().map(value).collect()
}

type Bound = Box<dyn ToSql + Sync + Send>;

fn bound(value: &Value) -> Result<Bound, StoreError> {
    Ok(match value {
        Value::Null => Box::new(None::<i64>),
        Value::Integer(number) => Box::new(*number),
        Value::Text(bytes) => Box::new(text(bytes)?.to_owned()),
    })
}

/// One array for each column.
fn columns(table: &Table, rows: &[Row]) -> Result<Vec<Bound>, StoreError> {
    let column = |(at, column): (usize, &Column)| -> Result<Bound, StoreError> {
        let values = rows.iter().map(|row| &row[at]);
        Ok(match column.kind {
            ColumnKind::Integer => {
                Box::new(values.map(integer_or_null).collect::<Result<Vec<_>, _>>()?)
            }
            ColumnKind::Text => Box::new(values.map(text_or_null).collect::<Result<Vec<_>, _>>()?),
        })
    };
    table.columns.iter().enumerate().map(column).collect()
}

fn integer_or_null(value: &Value) -> Result<Option<i64>, StoreError> {
    match value {
        Value::Null => Ok(None),
        Value::Integer(number) => Ok(Some(*number)),
        Value::Text(_) => Err(StoreError::Refused(
            "a text in a column of numbers".to_owned(),
        )),
    }
}

fn text_or_null(value: &Value) -> Result<Option<String>, StoreError> {
    match value {
        Value::Null => Ok(None),
        Value::Text(bytes) => text(bytes).map(|text| Some(text.to_owned())),
        Value::Integer(_) => Err(StoreError::Refused(
            "a number in a column of texts".to_owned(),
        )),
    }
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| StoreError::Refused(error.to_string()))
}
