//! Holding the queue in a PostgreSQL database for a transfer, and the marks of one.
//!
//! All is done in one session, which holds an advisory lock: if the connection is lost, so is the
//! lock, and with it the transfer. A dispatcher joins the others first and looks for the marks
//! afterwards; a transfer marks first and looks for dispatchers afterwards. One of them sees the other.

use std::io::Cursor;
use std::path::PathBuf;
use std::pin::pin;

use async_trait::async_trait;
use futures_util::SinkExt as _;

use super::connection::{Database, Lent, Pool, User};
use super::fleet::{self, FleetTiming};
use super::{reclaim, schema};
use crate::domain::Timestamp;
use crate::store::session::{Dialect, Row, Session, Value};
use crate::store::transfer::{self, Held, Page, Table, TransferEnd};
use crate::store::{OpenError, StoreError};

/// "NPCB": held by a transfer, at either end.
const LOCK: i64 = 0x4e50_4342;

/// How often it is asked whether the leases of a dispatcher that has fallen silent have lapsed. They
/// do within seconds.
const LEASES_ASKED_MAX: u32 = 60;

/// Holds the queue that a transfer takes from a database.
///
/// # Errors
///
/// [`OpenError::Held`] if dispatchers work on it, else what the server said.
pub async fn transfer_source(database: &Database) -> Result<TransferEnd, OpenError> {
    schema::require_current(database, &database.pool(User::People)).await?;
    hold(database).await
}

/// Holds the queue that a transfer fills; makes it if it is missing.
///
/// # Errors
///
/// As for [`transfer_source`].
pub async fn transfer_target(database: &Database) -> Result<TransferEnd, OpenError> {
    schema::init(database).await?;
    hold(database).await
}

async fn hold(database: &Database) -> Result<TransferEnd, OpenError> {
    let failed = |error| database.open_error(error);
    let held = |holder: String| OpenError::Held {
        path: PathBuf::from(database.name()),
        holder,
    };
    let client = database.pool(User::People).client().await.map_err(failed)?;
    let holding = async {
        // A copy of millions of rows takes long to count.
        client.batch_execute("SET statement_timeout = 0").await?;
        let lock = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]);
        let is_locked: bool = lock.await?.get(0);
        Ok::<_, StoreError>((is_locked, fleet::at_work(&***client).await?))
    };
    match holding.await.map_err(failed)? {
        (false, _) => Err(held("another transfer".to_owned())),
        (true, Some(dispatchers)) => Err(held(dispatchers)),
        (true, None) => Ok(TransferEnd::new(
            HeldDatabase(client),
            database.name().to_owned(),
        )),
    }
}

#[derive(Debug)]
struct HeldDatabase(Lent);

#[async_trait]
impl Held for HeldDatabase {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        Session::query(&self.0, sql, values).await
    }

    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        Session::execute(&self.0, sql, values).await
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.0.batch_execute(sql).await?)
    }

    async fn insert(&self, table: &Table, page: &Page) -> Result<(), StoreError> {
        let columns = page.columns.join(", ");
        let copy = format!("COPY {} ({columns}) FROM STDIN", table.name);
        let sink = self.0.copy_in::<_, Cursor<Vec<u8>>>(&copy).await?;
        let mut sink = pin!(sink);
        sink.send(Cursor::new(copy_text(&page.rows))).await?;
        sink.finish().await?;
        Ok(())
    }

    async fn wait_for_leases(&self) -> Result<(), StoreError> {
        let valid = "SELECT EXISTS (SELECT 1 FROM dispatcher WHERE seen_at >= callback_now() - $1)";
        let lease = i64::try_from(FleetTiming::default().lease.as_millis()).unwrap_or(i64::MAX);
        for _ in 0..LEASES_ASKED_MAX {
            if !self.0.query_one(valid, &[&lease]).await?.get::<_, bool>(0) {
                return Ok(());
            }
            self.0.execute("SELECT pg_sleep(0.5)", &[]).await?;
        }
        Err(StoreError::Busy(
            "the table dispatcher has one that is still at work".to_owned(),
        ))
    }

    async fn interrupt(&self, now: Timestamp) -> Result<(), StoreError> {
        Ok(reclaim::interrupt_everything(&***self.0, now).await?)
    }

    async fn dispatchers(&self) -> Result<Option<String>, StoreError> {
        Ok(fleet::at_work(&***self.0).await?)
    }
}

/// Rows in the text format of COPY.
fn copy_text(rows: &[Vec<Value>]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        for (column, value) in row.iter().enumerate() {
            if column > 0 {
                text.push(b'\t');
            }
            match value {
                Value::Null => text.extend_from_slice(b"\\N"),
                Value::Integer(number) => text.extend_from_slice(number.to_string().as_bytes()),
                Value::Real(number) => text.extend_from_slice(number.to_string().as_bytes()),
                Value::Text(bytes) => {
                    for byte in bytes {
                        match byte {
                            b'\\' => text.extend_from_slice(b"\\\\"),
                            b'\t' => text.extend_from_slice(b"\\t"),
                            b'\n' => text.extend_from_slice(b"\\n"),
                            b'\r' => text.extend_from_slice(b"\\r"),
                            byte => text.push(*byte),
                        }
                    }
                }
            }
        }
        text.push(b'\n');
    }
    text
}

/// Insists that the queue in `database` has not moved, and is not still moving in.
pub(super) async fn require_in_use(database: &Database, pool: &Pool) -> Result<(), OpenError> {
    transfer::require_in_use(pool, database.name()).await
}

/// As `require_in_use`, for those who have no connection yet.
///
/// # Errors
///
/// What is wrong with it.
pub async fn check_in_use(database: &Database) -> Result<(), OpenError> {
    let pool = database.pool(User::People);
    schema::require_current(database, &pool).await?;
    require_in_use(database, &pool).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_stays_one_value() {
        let text = Value::Text(b"a\tb\\N\r\n".to_vec());
        let rows = [vec![Value::Null, text, Value::Integer(-7)], vec!["".into()]];
        let expected = "\\N\ta\\tb\\\\N\\r\\n\t-7\n\n";
        assert_eq!(String::from_utf8_lossy(&copy_text(&rows)), expected);
    }
}
