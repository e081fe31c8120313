//! Reads the queue for people and auditors, the same way in both databases.
//!
//! Each statement runs by itself, never inside a long transaction.

mod audit;
mod callbacks;
mod list_path;
mod listing;
mod pauses;
mod troubled;

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;

use async_trait::async_trait;

use super::learned_limit;
use super::session::{Row, Session, Value};
use super::transfer::moved;
use super::{
    AttemptRow, CallbackRow, Filter, HeldSnapshot, Inspection, ListPage, LoweredLimit, MerchantRow,
    Pause, ShownState, StoreError, TroubledEndpoint,
};
use crate::domain::{CallbackId, Timestamp};

pub(super) use audit::DAY_COLUMNS;
#[cfg(test)]
pub(super) use audit::results_sql;
pub(super) use callbacks::{DELIVERED_BETWEEN, FIRST_DELIVERED};
#[cfg(test)]
pub(super) use listing::statements as list_statements;
pub(super) use pauses::pauses;

use callbacks::in_state;

/// As many suggestions as are read.
const BEGINNING_MAX: usize = 20;

/// More than this many callbacks with one order number are not worth a page.
const FOUND_MAX: usize = 100;

/// What a database's reader adds to the rules.
pub(super) trait Reader: std::fmt::Debug + Send + Sync + 'static {
    type Session: Session + Sync;

    fn session(&self) -> &Self::Session;

    /// The write-ahead log beside the database, if it has a file of its own.
    fn wal(&self) -> Option<&Path>;

    /// Whether another file stands where the database was opened.
    fn replaced(&self) -> Option<String> {
        None
    }

    /// See [`Inspection::oldest_snapshot`].
    fn oldest_snapshot(
        &self,
    ) -> impl Future<Output = Result<Option<HeldSnapshot>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// The earliest moment at which a callback that waits, and is not paused, is due.
    fn oldest_due(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;
}

#[async_trait]
impl<R: Reader> Inspection for R {
    async fn find(&self, order: &str) -> Result<Vec<CallbackRow>, StoreError> {
        if !R::Session::DIALECT.can_hold(order) {
            return Ok(Vec::new());
        }
        // A UNION of searches by index; one OR over the columns might scan.
        let sql = format!(
            "SELECT * FROM callback_queue WHERE id IN (
               SELECT id FROM callback_queue WHERE id = ?2
               UNION SELECT id FROM callback_queue WHERE order_no = ?1
               UNION SELECT id FROM callback_queue WHERE newpay_order_no = ?1
               UNION SELECT id FROM callback_queue WHERE refund_order_no = ?1
               UNION SELECT id FROM callback_queue
                     WHERE kind = 'refund' AND newpay_refund_order_no = ?1)
             ORDER BY id DESC LIMIT {FOUND_MAX}"
        );
        let id: Option<i64> = order.parse().ok();
        rows(self, &sql, &[order.into(), id.into()], CallbackRow::read).await
    }

    async fn beginning(&self, prefix: &str) -> Result<Vec<CallbackRow>, StoreError> {
        if !R::Session::DIALECT.can_hold(prefix) {
            return Ok(Vec::new());
        }
        let numbers = [
            "order_no",
            "newpay_order_no",
            "refund_order_no",
            "newpay_refund_order_no",
        ];
        let searches = numbers.map(|number| {
            format!(
                "SELECT id FROM (SELECT id FROM callback_queue
                   WHERE {number} >= ?1 AND {number} < ?2 AND {number} IS NOT NULL
                   {} ORDER BY {number} LIMIT {BEGINNING_MAX}) found",
                // The words of the partial index.
                if number == "newpay_refund_order_no" {
                    "AND kind = 'refund'"
                } else {
                    ""
                }
            )
        });
        let sql = format!(
            "SELECT * FROM callback_queue WHERE id IN ({}) ORDER BY id DESC LIMIT {BEGINNING_MAX}",
            searches.join(" UNION ")
        );
        let end = format!("{prefix}\u{10ffff}");
        rows(self, &sql, &[prefix.into(), end.into()], CallbackRow::read).await
    }

    async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError> {
        let sql = "SELECT * FROM callback_queue WHERE id = ?1";
        Ok(rows(self, sql, &[id.into()], CallbackRow::read)
            .await?
            .pop())
    }

    async fn attempts(&self, id: CallbackId) -> Result<Vec<AttemptRow>, StoreError> {
        let sql = "SELECT callback_id, seq, started_at, duration_ms, outcome, counted, \
                     http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, \
                     key_id, body_sha256, phase, phases, to_url \
                   FROM callback_attempt WHERE callback_id = ?1 ORDER BY seq";
        rows(self, sql, &[id.into()], attempt).await
    }

    async fn list(&self, filter: Filter) -> Result<ListPage, StoreError> {
        listing::list(self.session(), &filter).await
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Reader::oldest_due(self).await
    }

    async fn depth(&self, state: ShownState) -> Result<u64, StoreError> {
        count(self, &in_state(state), &[]).await
    }

    async fn delivered_between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        count(self, DELIVERED_BETWEEN, &[from.into(), until.into()]).await
    }

    async fn first_delivered(&self) -> Result<Option<Timestamp>, StoreError> {
        let found = rows(self, FIRST_DELIVERED, &[], |row| row.get("finished_at")).await?;
        Ok(found.into_iter().next())
    }

    async fn troubled(&self, now: Timestamp) -> Result<Vec<TroubledEndpoint>, StoreError> {
        troubled::troubled(self.session(), now).await
    }

    async fn oldest_snapshot(&self) -> Result<Option<HeldSnapshot>, StoreError> {
        Reader::oldest_snapshot(self).await
    }

    async fn displaced(&self) -> Result<Option<String>, StoreError> {
        match self.replaced() {
            Some(replaced) => Ok(Some(replaced)),
            None => moved(self.session()).await,
        }
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        pauses(self.session()).await
    }

    async fn lowered_limits(&self) -> Result<Vec<LoweredLimit>, StoreError> {
        learned_limit::lowered(self.session()).await
    }

    async fn wal_bytes(&self) -> Result<u64, StoreError> {
        let Some(wal) = self.wal().map(Path::to_owned) else {
            return Ok(0);
        };
        // Its metadata only: no file of a database is opened past SQLite.
        let size = tokio::task::spawn_blocking(move || match wal.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            // The last connection that closes removes it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(format!("{} can't be measured: {error}", wal.display())),
        });
        let size = size.await.unwrap_or_else(|error| Err(error.to_string()));
        size.map_err(StoreError::Other)
    }

    async fn merchants(&self) -> Result<Vec<MerchantRow>, StoreError> {
        let sql = "SELECT app_id, pending, retrying, delivered_24h, exhausted_24h, \
                     delivered_percent_24h, mean_lag_seconds_24h, last_delivered_at, \
                     oldest_pending_created_at FROM merchant_health ORDER BY app_id";
        rows(self, sql, &[], merchant).await
    }
}

async fn count(reader: &impl Reader, of: &str, values: &[Value]) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) AS callbacks FROM ({of}) counted");
    let count = rows(reader, &sql, values, |row| row.get::<u64>("callbacks")).await?;
    Ok(count.into_iter().sum())
}

async fn rows<T>(
    reader: &impl Reader,
    sql: &str,
    values: &[Value],
    read: impl FnMut(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let found = reader.session().query(sql, values).await?;
    found.iter().map(read).collect()
}

fn attempt(row: &Row) -> Result<AttemptRow, StoreError> {
    let phases: Option<String> = row.get("phases")?;
    Ok(AttemptRow {
        callback_id: row.get("callback_id")?,
        seq: row.get("seq")?,
        started_at: row.get("started_at")?,
        duration_ms: row.get("duration_ms")?,
        outcome: row.get("outcome")?,
        counted: row.get("counted")?,
        http_status: row.get("http_status")?,
        detail: row.get("detail")?,
        response_excerpt: row.get("response_excerpt")?,
        remote_addr: row.get("remote_addr")?,
        sent_timestamp: row.get("sent_timestamp")?,
        sign: row.get("sign")?,
        key_id: row.get("key_id")?,
        body_sha256: row.get("body_sha256")?,
        phase: row.get("phase")?,
        // Milliseconds by the phase; none if nothing was measured.
        phases: phases
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        to_url: row.get("to_url")?,
    })
}

fn merchant(row: &Row) -> Result<MerchantRow, StoreError> {
    Ok(MerchantRow {
        app_id: row.get("app_id")?,
        pending: row.get("pending")?,
        retrying: row.get("retrying")?,
        delivered_24h: row.get("delivered_24h")?,
        exhausted_24h: row.get("exhausted_24h")?,
        delivered_percent_24h: row.get("delivered_percent_24h")?,
        mean_lag_seconds_24h: row.get("mean_lag_seconds_24h")?,
        last_delivered_at: row.get("last_delivered_at")?,
        oldest_pending_created_at: row.get("oldest_pending_created_at")?,
    })
}
