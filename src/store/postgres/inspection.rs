//! The people's side: reads on connections of their own, each statement by itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::commands::pausing;
use super::connection::{Database, Pool, User};
use super::{arrivals, glance, schema};
use crate::domain::{CallbackId, Timestamp};
use crate::store::{
    AttemptRow, CallbackRow, Filter, Glance, Inspection, MerchantRow, OpenError, Origin,
    ShownState, Stats, StoreError,
};

/// Reads the queue in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresInspection {
    pub(super) pool: Pool,
}

impl PostgresInspection {
    /// Opens an existing queue of this version for reading.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or the schema is not of this version.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let pool = database.pool(User::People);
        schema::require_current(database, &pool).await?;
        Ok(Self { pool })
    }

    pub(super) async fn read<T>(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let client = self.pool.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, values).await?;
        rows.iter().map(read).collect()
    }
}

pub(super) const COLUMNS: &str = "id, kind, callback_url, app_id, pay_method, amount, currency, \
     newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result, \
     trans_info, settlement_status, created_at, state, attempts, next_attempt_at, leased_until, \
     last_outcome, finished_at, origin";

/// Those that wait.
const PENDING: &str =
    "SELECT id FROM callback_queue WHERE state = 'pending' AND leased_until IS NULL";

/// More than this many callbacks with one order number are not worth a page.
const FOUND_MAX: usize = 100;

#[async_trait]
impl Inspection for PostgresInspection {
    async fn find(&self, order: &str) -> Result<Vec<CallbackRow>, StoreError> {
        // A UNION of searches by index; one OR over the columns might scan.
        let sql = format!(
            "SELECT {COLUMNS} FROM callback_queue WHERE id IN (
               SELECT id FROM callback_queue WHERE id = $2
               UNION SELECT id FROM callback_queue WHERE order_no = $1
               UNION SELECT id FROM callback_queue WHERE newpay_order_no = $1
               UNION SELECT id FROM callback_queue WHERE refund_order_no = $1
               UNION SELECT id FROM callback_queue
                     WHERE kind = 'refund' AND newpay_refund_order_no = $1)
             ORDER BY id DESC LIMIT {FOUND_MAX}"
        );
        if is_in_no_text(Some(order)) {
            return Ok(Vec::new());
        }
        let id: Option<i64> = order.parse().ok();
        self.read(&sql, &[&order, &id], callback_row).await
    }

    async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM callback_queue WHERE id = $1");
        Ok(self.read(&sql, &[&id.0], callback_row).await?.pop())
    }

    async fn glance(&self, glance: Glance) -> Result<Vec<CallbackRow>, StoreError> {
        let texts = [&glance.app_id, &glance.outcome];
        if texts.into_iter().any(|text| is_in_no_text(text.as_deref())) {
            return Ok(Vec::new());
        }
        glance::glance(self, &glance).await
    }

    async fn attempts(&self, id: CallbackId) -> Result<Vec<AttemptRow>, StoreError> {
        let sql = "SELECT callback_id, seq, started_at, duration_ms, outcome, counted, \
                     http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, \
                     key_id, body_sha256, phase, phases \
                   FROM callback_attempt WHERE callback_id = $1 ORDER BY seq";
        self.read(sql, &[&id.0], attempt_row).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<CallbackRow>, StoreError> {
        let texts = [&filter.app_id, &filter.outcome];
        if texts.into_iter().any(|text| is_in_no_text(text.as_deref())) {
            return Ok(Vec::new());
        }
        let since = filter.since.map(Timestamp::as_millis);
        let (conditions, values) = conditions(&filter, &since);
        let sql = format!(
            "SELECT {COLUMNS} FROM callback_queue WHERE {conditions} ORDER BY id DESC LIMIT {}",
            filter.limit
        );
        self.read(&sql, &values, callback_row).await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        let mut depth = Vec::with_capacity(ShownState::ALL.len());
        for state in ShownState::ALL {
            depth.push((state, self.count(state).await?));
        }
        let client = self.pool.client().await?;
        Ok(Stats {
            depth,
            oldest_due: arrivals::oldest_due(&client).await?,
            paused: pausing::standing(&client).await?,
        })
    }

    async fn merchants(&self) -> Result<Vec<MerchantRow>, StoreError> {
        let sql = "SELECT app_id, pending, retrying, delivered_24h, exhausted_24h, \
                     delivered_percent_24h, mean_lag_seconds_24h, last_delivered_at, \
                     oldest_pending_created_at FROM merchant_health ORDER BY app_id";
        self.read(sql, &[], merchant_row).await
    }
}

impl PostgresInspection {
    async fn count(&self, state: ShownState) -> Result<u64, StoreError> {
        let rows = match state {
            ShownState::Pending => PENDING.to_owned(),
            ShownState::InFlight => {
                "SELECT 1 FROM callback_queue WHERE leased_until IS NOT NULL".to_owned()
            }
            _ => format!(
                "SELECT 1 FROM callback_queue WHERE state = '{state}' AND finished_at IS NOT NULL"
            ),
        };
        let sql = format!("SELECT count(*) FROM ({rows}) counted");
        let count = |row: &Row| Ok(row.try_get::<_, i64>(0)?.unsigned_abs());
        Ok(self.read(&sql, &[], count).await?.pop().unwrap_or_default())
    }
}

/// PostgreSQL has no text with a NUL, and takes none to look for.
fn is_in_no_text(sought: Option<&str>) -> bool {
    sought.is_some_and(|sought| sought.contains('\0'))
}

/// The WHERE clause of a filter, with its values in order.
fn conditions<'a>(
    filter: &'a Filter,
    since: &'a Option<i64>,
) -> (String, Vec<&'a (dyn ToSql + Sync)>) {
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values: Vec<&(dyn ToSql + Sync)> = Vec::new();
    // Each final state is a range of the index callback_finished, each other a partial index.
    match filter.state {
        Some(ShownState::InFlight) => conditions.push("leased_until IS NOT NULL".to_owned()),
        Some(ShownState::Pending) => conditions.push(format!("id IN ({PENDING})")),
        Some(state) => {
            conditions.push(format!("state = '{state}' AND finished_at IS NOT NULL"));
        }
        None => {}
    }
    if let Some(app_id) = &filter.app_id {
        values.push(app_id);
        conditions.push(format!("app_id = ${}", values.len()));
    }
    if let Some(since) = since {
        values.push(since);
        conditions.push(format!("created_at >= ${}", values.len()));
    }
    if let Some(outcome) = &filter.outcome {
        values.push(outcome);
        conditions.push(format!("last_outcome = ${}", values.len()));
    }
    (conditions.join(" AND "), values)
}

pub(super) fn timestamp(row: &Row, column: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

pub(super) fn timestamp_or_null(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    let millis: Option<i64> = row.try_get(column)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn callback_row(row: &Row) -> Result<CallbackRow, StoreError> {
    let leased_until = timestamp_or_null(row, 20)?;
    let state = match row.try_get(17)? {
        "pending" if leased_until.is_some() => ShownState::InFlight,
        "delivered" => ShownState::Delivered,
        "exhausted" => ShownState::Exhausted,
        "cancelled" => ShownState::Cancelled,
        _ => ShownState::Pending,
    };
    Ok(CallbackRow {
        id: CallbackId(row.try_get(0)?),
        kind: row.try_get(1)?,
        callback_url: row.try_get(2)?,
        app_id: row.try_get(3)?,
        pay_method: row.try_get(4)?,
        amount: row.try_get(5)?,
        currency: row.try_get(6)?,
        newpay_order_no: row.try_get(7)?,
        order_no: row.try_get(8)?,
        newpay_refund_order_no: row.try_get(9)?,
        refund_order_no: row.try_get(10)?,
        subject: row.try_get(11)?,
        extra: row.try_get(12)?,
        result: row.try_get(13)?,
        trans_info: row.try_get(14)?,
        settlement_status: row.try_get(15)?,
        created_at: timestamp(row, 16)?,
        state,
        attempts: u32::try_from(row.try_get::<_, i64>(18)?).unwrap_or(u32::MAX),
        next_attempt_at: timestamp_or_null(row, 19)?,
        leased_until,
        last_outcome: row.try_get(21)?,
        finished_at: timestamp_or_null(row, 22)?,
        origin: Origin::new(row.try_get::<_, &str>(23)?),
    })
}

fn attempt_row(row: &Row) -> Result<AttemptRow, StoreError> {
    let phases: Option<&str> = row.try_get(15)?;
    let phases: Option<BTreeMap<String, u64>> =
        phases.and_then(|text| serde_json::from_str(text).ok());
    Ok(AttemptRow {
        callback_id: CallbackId(row.try_get(0)?),
        seq: row.try_get(1)?,
        started_at: timestamp(row, 2)?,
        duration_ms: row.try_get(3)?,
        outcome: row.try_get(4)?,
        counted: row.try_get::<_, i64>(5)? != 0,
        http_status: row.try_get(6)?,
        detail: row.try_get(7)?,
        response_excerpt: row.try_get(8)?,
        remote_addr: row.try_get(9)?,
        sent_timestamp: row.try_get(10)?,
        sign: row.try_get(11)?,
        key_id: row.try_get(12)?,
        body_sha256: row.try_get(13)?,
        phase: row.try_get(14)?,
        phases: phases.unwrap_or_default(),
    })
}

fn merchant_row(row: &Row) -> Result<MerchantRow, StoreError> {
    Ok(MerchantRow {
        app_id: row.try_get(0)?,
        pending: row.try_get(1)?,
        retrying: row.try_get(2)?,
        delivered_24h: row.try_get(3)?,
        exhausted_24h: row.try_get(4)?,
        delivered_percent_24h: row.try_get(5)?,
        mean_lag_seconds_24h: row.try_get(6)?,
        last_delivered_at: row.try_get(7)?,
        oldest_pending_created_at: row.try_get(8)?,
    })
}
