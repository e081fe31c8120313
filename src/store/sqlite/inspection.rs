//! The people's side: reads on a connection of their own, never inside a long transaction.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::connection::{canonical, open_for_reading, store_error, wal_path};
use super::rows::{origin, timestamp, timestamp_or_null};
use crate::domain::{CallbackId, Timestamp};
use crate::store::{
    AttemptRow, CallbackRow, Filter, Glance, Inspection, MerchantRow, OpenError, ShownState, Stats,
    StoreError,
};

/// Reads the queue in an SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteInspection {
    connection: Arc<Mutex<Connection>>,
    /// SQLite's log of recent writes.
    wal: PathBuf,
}

impl SqliteInspection {
    /// Opens an existing queue of this version for reading.
    ///
    /// # Errors
    ///
    /// What the file or the database said.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = canonical(path)?;
        let connection = open_for_reading(&path)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            wal: wal_path(&path),
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            // A panic in an earlier read left nothing half-written: reads don't write.
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| store_error(&error))
        })
        .await
        .unwrap_or_else(|error| Err(StoreError::Other(format!("a read was ended: {error}"))))
    }
}

pub(super) const COLUMNS: &str = "id, kind, callback_url, app_id, pay_method, amount, currency, \
     newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result, \
     trans_info, settlement_status, created_at, state, attempts, next_attempt_at, leased_until, \
     last_outcome, finished_at, origin";

/// Those that wait.
const PENDING: &str = "
SELECT id FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL";

/// More than this many callbacks with one order number are not worth a page.
const FOUND_MAX: usize = 100;

#[async_trait]
impl Inspection for SqliteInspection {
    async fn find(&self, order: &str) -> Result<Vec<CallbackRow>, StoreError> {
        let order = order.to_owned();
        self.read(move |db| {
            // A UNION of four searches by index; one OR over four columns might scan.
            let sql = format!(
                "SELECT {COLUMNS} FROM callback_queue WHERE id IN (
                   SELECT id FROM callback_queue WHERE id = CAST(?2 AS INTEGER) AND ?2 IS NOT NULL
                   UNION SELECT id FROM callback_queue WHERE order_no = ?1
                   UNION SELECT id FROM callback_queue WHERE newpay_order_no = ?1
                   UNION SELECT id FROM callback_queue WHERE refund_order_no = ?1
                   UNION SELECT id FROM callback_queue
                         WHERE kind = 'refund' AND newpay_refund_order_no = ?1)
                 ORDER BY id DESC LIMIT {FOUND_MAX}"
            );
            let id: Option<i64> = order.parse().ok();
            collect(db, &sql, &[&order, &id], callback_row)
        })
        .await
    }

    async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError> {
        self.read(move |db| {
            let sql = format!("SELECT {COLUMNS} FROM callback_queue WHERE id = ?1");
            Ok(collect(db, &sql, &[&id.0], callback_row)?.pop())
        })
        .await
    }

    async fn glance(&self, glance: Glance) -> Result<Vec<CallbackRow>, StoreError> {
        self.read(move |db| super::glance::glance(db, &glance))
            .await
    }

    async fn attempts(&self, id: CallbackId) -> Result<Vec<AttemptRow>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT callback_id, seq, started_at, duration_ms, outcome, counted, \
                         http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, \
                         key_id, body_sha256, phase, phases \
                       FROM callback_attempt WHERE callback_id = ?1 ORDER BY seq";
            collect(db, sql, &[&id.0], attempt_row)
        })
        .await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<CallbackRow>, StoreError> {
        self.read(move |db| {
            let (conditions, values) = conditions(&filter);
            let sql = format!(
                "SELECT {COLUMNS} FROM callback_queue WHERE {conditions} ORDER BY id DESC LIMIT {}",
                filter.limit
            );
            let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
            collect(db, &sql, &values, callback_row)
        })
        .await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        self.read(stats).await
    }

    async fn wal_bytes(&self) -> Result<u64, StoreError> {
        let wal = self.wal.clone();
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
        self.read(|db| {
            let sql = "SELECT app_id, pending, retrying, delivered_24h, exhausted_24h, \
                         delivered_percent_24h, mean_lag_seconds_24h, last_delivered_at, \
                         oldest_pending_created_at FROM merchant_health ORDER BY app_id";
            collect(db, sql, &[], merchant_row)
        })
        .await
    }
}

/// The WHERE clause of a filter, with its values in order.
fn conditions(filter: &Filter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    // Each final state is a range of the index callback_finished, each other a partial index.
    match filter.state {
        Some(ShownState::InFlight) => conditions.push("leased_until IS NOT NULL".to_owned()),
        Some(ShownState::Pending) => {
            conditions.push(format!("id IN ({PENDING})"));
        }
        Some(state) => {
            conditions.push(format!("state = '{state}' AND finished_at IS NOT NULL"));
        }
        None => {}
    }
    if let Some(app_id) = &filter.app_id {
        values.push(Box::new(app_id.clone()));
        conditions.push(format!("app_id = ?{}", values.len()));
    }
    if let Some(since) = filter.since {
        values.push(Box::new(since.as_millis()));
        conditions.push(format!("created_at >= ?{}", values.len()));
    }
    if let Some(outcome) = &filter.outcome {
        values.push(Box::new(outcome.clone()));
        conditions.push(format!("last_outcome = ?{}", values.len()));
    }
    (conditions.join(" AND "), values)
}

fn stats(db: &Connection) -> rusqlite::Result<Stats> {
    let count = |rows: &str| {
        let sql = format!("SELECT count(*) FROM ({rows})");
        db.query_row(&sql, [], |row| row.get::<_, u64>(0))
    };
    let mut depth = Vec::with_capacity(ShownState::ALL.len());
    for state in ShownState::ALL {
        let rows = match state {
            ShownState::Pending => PENDING.to_owned(),
            ShownState::InFlight => {
                "SELECT 1 FROM callback_queue WHERE leased_until IS NOT NULL".to_owned()
            }
            _ => format!(
                "SELECT 1 FROM callback_queue WHERE state = '{state}' AND finished_at IS NOT NULL"
            ),
        };
        depth.push((state, count(&rows)?));
    }
    let oldest_due = super::arrivals::oldest_due(db)?;
    let paused = super::commands::pausing::standing(db)?;
    Ok(Stats {
        depth,
        oldest_due,
        paused,
    })
}

fn collect<T>(
    db: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(values, read)?.collect()
}

pub(super) fn callback_row(row: &Row<'_>) -> rusqlite::Result<CallbackRow> {
    let leased_until: Option<Timestamp> = timestamp_or_null(row, 20)?;
    let state = match text(row, 17)?.as_str() {
        "pending" if leased_until.is_some() => ShownState::InFlight,
        "delivered" => ShownState::Delivered,
        "exhausted" => ShownState::Exhausted,
        "cancelled" => ShownState::Cancelled,
        _ => ShownState::Pending,
    };
    Ok(CallbackRow {
        id: CallbackId(row.get(0)?),
        kind: text(row, 1)?,
        callback_url: text(row, 2)?,
        app_id: text(row, 3)?,
        pay_method: row.get(4)?,
        amount: text(row, 5)?,
        currency: text(row, 6)?,
        newpay_order_no: text(row, 7)?,
        order_no: text(row, 8)?,
        newpay_refund_order_no: text_or_null(row, 9)?,
        refund_order_no: text_or_null(row, 10)?,
        subject: text(row, 11)?,
        extra: text(row, 12)?,
        result: text(row, 13)?,
        trans_info: text(row, 14)?,
        settlement_status: row.get(15)?,
        created_at: timestamp(row, 16)?,
        state,
        attempts: row.get(18)?,
        next_attempt_at: timestamp_or_null(row, 19)?,
        leased_until,
        last_outcome: text_or_null(row, 21)?,
        finished_at: timestamp_or_null(row, 22)?,
        origin: origin(row, 23)?,
    })
}

fn attempt_row(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        callback_id: CallbackId(row.get(0)?),
        seq: row.get(1)?,
        started_at: timestamp(row, 2)?,
        duration_ms: row.get(3)?,
        outcome: text(row, 4)?,
        counted: row.get(5)?,
        http_status: row.get(6)?,
        detail: text(row, 7)?,
        response_excerpt: text_or_null(row, 8)?,
        remote_addr: text_or_null(row, 9)?,
        sent_timestamp: row.get(10)?,
        sign: text_or_null(row, 11)?,
        key_id: text_or_null(row, 12)?,
        body_sha256: text_or_null(row, 13)?,
        phase: text_or_null(row, 14)?,
        phases: phases(row, 15)?,
    })
}

/// Milliseconds by the phase; none if nothing was measured.
fn phases(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeMap<String, u64>> {
    let text = text(row, column)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn merchant_row(row: &Row<'_>) -> rusqlite::Result<MerchantRow> {
    Ok(MerchantRow {
        app_id: text(row, 0)?,
        pending: row.get(1)?,
        retrying: row.get(2)?,
        delivered_24h: row.get(3)?,
        exhausted_24h: row.get(4)?,
        delivered_percent_24h: row.get(5)?,
        mean_lag_seconds_24h: row.get(6)?,
        last_delivered_at: row.get(7)?,
        oldest_pending_created_at: row.get(8)?,
    })
}

/// People must be able to look at a row that is no UTF-8, too.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(text_or_null(row, column)?.unwrap_or_default())
}

pub(super) fn text_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let value = row.get_ref(column)?;
    Ok(value
        .as_bytes_or_null()?
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}
