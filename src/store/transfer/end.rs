//! A queue that is held for a transfer, at either end.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::marks::{Mark, SELECT_IN, SELECT_OUT, TransferIn, TransferOut, read_in, read_out};
use super::tables::{HighestIds, Page, Row, TABLES, Table, WRITTEN};
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::session::{self, Dialect, Value, placeholders};

/// The one connection of a transfer to a database. As long as it lives, no dispatcher works on the
/// queue, and no other transfer.
#[async_trait]
pub(in crate::store) trait Held: fmt::Debug + Send + Sync {
    /// Whose SQL it takes.
    fn dialect(&self) -> Dialect;

    /// As [`session::Session::query`].
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<session::Row>, StoreError>;

    /// As [`session::Session::execute`].
    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError>;

    /// Runs statements that have no values, as they are.
    async fn batch(&self, sql: &str) -> Result<(), StoreError>;

    /// Inserts rows, the fastest way.
    async fn insert(&self, table: &Table, page: &Page) -> Result<(), StoreError>;

    /// Returns when the leases of dispatchers that have died are no longer valid.
    async fn wait_for_leases(&self) -> Result<(), StoreError>;

    /// Ends attempts in flight as interrupted, but not those whose lease is still valid.
    async fn interrupt(&self, now: Timestamp) -> Result<(), StoreError>;

    /// The dispatchers that have come since the queue is held.
    async fn dispatchers(&self) -> Result<Option<String>, StoreError>;
}

/// A queue that is held for a transfer: no dispatcher works on it, and no other transfer. It is held
/// as long as this lives.
#[derive(Debug)]
pub struct TransferEnd {
    held: Box<dyn Held>,
    name: String,
}

impl TransferEnd {
    pub(in crate::store) fn new(held: impl Held + 'static, name: String) -> Self {
        Self {
            held: Box::new(held),
            name,
        }
    }

    /// The database for people, without a password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mark of the source.
    pub async fn transfer_out(&self) -> Result<Option<TransferOut>, StoreError> {
        read_out(&self.held.query(SELECT_OUT, &[]).await?)
    }

    /// The mark of the target.
    pub async fn transfer_in(&self) -> Result<Option<TransferIn>, StoreError> {
        read_in(&self.held.query(SELECT_IN, &[]).await?)
    }

    /// The number of rows of a table.
    pub async fn count(&self, table: &Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) AS rows FROM {}", rows_of(table));
        self.number(&sql).await.map(i64::unsigned_abs)
    }

    /// Rows with a key above `after` in the order of their keys, at most `limit`.
    pub async fn page(
        &self,
        table: &Table,
        after: Option<Row>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let key = table.key.join(", ");
        let after = after.unwrap_or_default();
        let above = match after.is_empty() {
            true => String::new(),
            false => format!("WHERE ({key}) > ({})", placeholders(after.len())),
        };
        let sql = format!(
            "SELECT * FROM {} {above} ORDER BY {key} LIMIT {limit}",
            rows_of(table)
        );
        let found = self.held.query(&sql, &after).await?;
        let mut page = Page {
            columns: Arc::new([]),
            rows: Vec::with_capacity(found.len()),
        };
        for row in found {
            let (columns, values) = row.into_parts();
            page.columns = columns;
            page.rows.push(values);
        }
        Ok(page)
    }

    /// The highest ids ever given.
    pub async fn highest_ids(&self) -> Result<HighestIds, StoreError> {
        let mut highest = [0; WRITTEN.len()];
        for (table, id) in WRITTEN.into_iter().zip(&mut highest) {
            let sql = format!(
                "SELECT coalesce({{(SELECT seq FROM sqlite_sequence WHERE name = '{table}')\
                 |pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass)}}, 0) AS id"
            );
            *id = self.number(&sql).await?;
        }
        Ok(highest)
    }

    /// Of the source: ends what is in flight as interrupted, and marks it, in one transaction. From
    /// then on the database refuses every change.
    pub async fn mark_source(&self, mark: &TransferOut, now: Timestamp) -> Result<(), StoreError> {
        self.held.wait_for_leases().await?;
        let sql = "INSERT INTO internal_transfer_out (transfer_id, to_name, marked_at) VALUES (?1, ?2, ?3)";
        let values = [
            mark.transfer_id.as_str().into(),
            mark.to.as_str().into(),
            now.into(),
        ];
        let words = format!("this queue has moved to {}", mark.to);
        let triggers = Mark::Out.create_triggers(self.held.dialect(), &words);
        let marking = async {
            self.held.interrupt(now).await?;
            let leased =
                "SELECT count(*) AS leased FROM callback_queue WHERE leased_until IS NOT NULL";
            if self.number(leased).await? > 0 {
                return Err(StoreError::Busy(
                    "a dispatcher renews its leases".to_owned(),
                ));
            }
            self.held.execute(sql, &values).await?;
            self.held.batch(&triggers).await
        };
        self.in_transaction(LOCKED, marking).await?;
        self.require_no_dispatcher().await
    }

    /// Of the source: notes that all of it was found at the other end.
    pub async fn mark_verified(&self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE internal_transfer_out SET verified_at = ?1";
        self.held.execute(sql, &[now.into()]).await.map(|_| ())
    }

    /// Of the source: takes the mark away, so that the queue stays.
    pub async fn unmark_source(&self) -> Result<(), StoreError> {
        let unmark = Mark::Out.remove(self.held.dialect());
        self.in_transaction(BEGIN, self.held.batch(&unmark)).await
    }

    /// Whether there is nothing in it: neither a row nor a mark.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let tables = TABLES.iter().map(|table| table.name);
        let any: Vec<_> = tables
            .chain(["internal_transfer_out", "internal_transfer_in"])
            .map(|table| format!("EXISTS (SELECT 1 FROM {table})"))
            .collect();
        let sql = format!("SELECT {} AS has_rows", any.join(" OR "));
        Ok(self.number(&sql).await? == 0)
    }

    /// Of the target: marks it, if there is nothing in it. Returns whether there was nothing. From
    /// then on it takes rows of the transfer alone.
    pub async fn mark_target(&self, mark: &TransferIn, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at) VALUES (?1, ?2, ?3)";
        let values = [
            mark.transfer_id.as_str().into(),
            mark.from.as_str().into(),
            now.into(),
        ];
        let words = "a transfer into this queue is not finished; run it again";
        let triggers = Mark::In.create_triggers(self.held.dialect(), words);
        let marking = async {
            if !self.is_empty().await? {
                return Ok(false);
            }
            self.held.execute(sql, &values).await?;
            self.held.batch(&triggers).await.map(|()| true)
        };
        let is_marked = self.in_transaction(LOCKED, marking).await?;
        self.require_no_dispatcher().await.map(|()| is_marked)
    }

    /// The highest key in a table.
    pub async fn last_key(&self, table: &Table) -> Result<Option<Row>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {} DESC LIMIT 1",
            table.key.join(", "),
            table.name,
            table.key.join(" DESC, ")
        );
        let last = self.held.query(&sql, &[]).await?.pop();
        Ok(last.map(|row| row.into_parts().1))
    }

    /// Why a value can't be held, if it can't. SQLite holds any text.
    pub fn unfit(&self, value: &Value) -> Option<&'static str> {
        let Value::Text(bytes) = value else {
            return None;
        };
        match (self.held.dialect(), std::str::from_utf8(bytes)) {
            (Dialect::Sqlite, _) => None,
            (Dialect::Postgres, Err(_)) => Some("the text is not UTF-8"),
            (dialect, Ok(text)) => (!dialect.can_hold(text)).then_some("the text has a NUL in it"),
        }
    }

    /// Inserts rows that follow on the last key: all of them or none.
    pub async fn insert(&self, table: &Table, page: &Page) -> Result<(), StoreError> {
        let inserting = async {
            // Others never see it: it is 0 again before the commit.
            let copying = |copying| format!("UPDATE internal_transfer_in SET copying = {copying}");
            self.held.batch(&copying(1)).await?;
            self.held.insert(table, page).await?;
            self.held.batch(&copying(0)).await
        };
        self.in_transaction(BEGIN, inserting).await
    }

    /// Gives no id from now on that is not above these.
    pub async fn advance_sequences(&self, ids: HighestIds) -> Result<(), StoreError> {
        let here = self.highest_ids().await?;
        for (table, (here, id)) in WRITTEN.into_iter().zip(here.into_iter().zip(ids)) {
            if id > here {
                let sql = format!(
                    "{{REPLACE INTO sqlite_sequence (rowid, name, seq)
                       VALUES ((SELECT rowid FROM sqlite_sequence WHERE name = '{table}'), '{table}', ?1)\
                     |SELECT setval(pg_get_serial_sequence('{table}', 'id'), ?1)}}"
                );
                self.held.execute(&sql, &[id.into()]).await?;
            }
        }
        Ok(())
    }

    /// Of the target: takes the mark away, so that the queue may be worked on.
    pub async fn unmark_target(&self) -> Result<(), StoreError> {
        let unmark = Mark::In.remove(self.held.dialect());
        self.in_transaction(BEGIN, self.held.batch(&unmark)).await
    }

    /// The one number that a statement returns.
    async fn number(&self, sql: &str) -> Result<i64, StoreError> {
        let row = self.held.query(sql, &[]).await?.pop();
        match row.map(|row| row.into_parts().1).as_deref() {
            Some([Value::Integer(number)]) => Ok(*number),
            other => Err(StoreError::Other(format!("{other:?} instead of a number"))),
        }
    }

    /// Does `work` in a transaction: all of it or nothing.
    async fn in_transaction<T>(
        &self,
        begin: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begin = self.held.dialect().translate(begin);
        self.held.batch(&begin).await?;
        let result = work.await;
        match &result {
            Ok(_) => self.held.batch("COMMIT").await?,
            // If that fails as well, the end of the connection undoes the work.
            Err(_) => drop(self.held.batch("ROLLBACK").await),
        }
        result
    }

    /// Insists that no dispatcher has come since the queue was held. After a mark was made: one that
    /// comes later sees it.
    async fn require_no_dispatcher(&self) -> Result<(), StoreError> {
        match self.held.dispatchers().await? {
            None => Ok(()),
            Some(dispatchers) => Err(StoreError::Busy(format!(
                "a dispatcher has just come ({dispatchers}); stop it if it does not leave by itself"
            ))),
        }
    }
}

const BEGIN: &str = "{BEGIN IMMEDIATE|BEGIN}";

/// Waits for others that write, and lets nobody write before the end of the transaction.
const LOCKED: &str = "{BEGIN IMMEDIATE|BEGIN; \
    LOCK TABLE callback_queue, operator_command IN SHARE ROW EXCLUSIVE MODE}";

/// The rows of a table that another database needs. A log that is divided by month may still have
/// attempts of callbacks that are gone: only its month would remove them.
fn rows_of(table: &Table) -> &'static str {
    match table.name {
        "callback_attempt" => {
            "{callback_attempt|(SELECT a.* FROM callback_attempt a
               WHERE EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = a.callback_id)) AS attempts}"
        }
        name => name,
    }
}
