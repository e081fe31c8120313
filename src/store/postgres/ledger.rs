//! The auditor's side in PostgreSQL. What is written of a day: see `closing`.
//!
//! Days are walked by id, not by `created_at`, which has no index: each link says between which
//! ids its callbacks are. Ids are taken before a transaction commits, so a day is closed an hour
//! after its end: no gateway's transaction may take that long.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresInspection;
use super::arrivals;
use super::inspection::{timestamp, timestamp_or_null};
use crate::domain::{
    CallbackId, Counts, Day, Digest, Fate, Link, QueuedResult, ReconciledCallback, ResultKey,
    TellingAttempt,
};
use crate::store::ledger::fate_now;
use crate::store::{Ledger, LedgerPage, StoreError};

#[async_trait]
impl Ledger for PostgresInspection {
    async fn links(&self) -> Result<Vec<Link>, StoreError> {
        let sql = format!("SELECT {LINK_COLUMNS} FROM reconciliation ORDER BY day");
        self.read(&sql, &[], link).await
    }

    async fn last_link(&self) -> Result<Option<Link>, StoreError> {
        let sql = format!("SELECT {LINK_COLUMNS} FROM reconciliation ORDER BY day DESC LIMIT 1");
        Ok(self.read(&sql, &[], link).await?.pop())
    }

    async fn newest(&self) -> Result<CallbackId, StoreError> {
        arrivals::newest(&self.pool).await
    }

    async fn page(&self, page: LedgerPage) -> Result<Vec<ReconciledCallback>, StoreError> {
        let day = page.as_of.map(|day| day.to_string());
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&page.after.0, &page.to.0, &day, &limit];
        self.read(PAGE, &values, callback).await
    }

    async fn results(&self, keys: Vec<ResultKey>) -> Result<Vec<Option<QueuedResult>>, StoreError> {
        let kinds: Vec<&str> = keys.iter().map(|key| key.kind.as_str()).collect();
        let numbers: Vec<String> = keys
            .iter()
            .map(|key| key.number.replace('\0', ""))
            .collect();
        let mut found = self.read(RESULTS, &[&kinds, &numbers], result).await?;
        // A number with a NUL in it is no number that this database can hold.
        for (key, found) in keys.iter().zip(&mut found) {
            if key.number.contains('\0') {
                *found = None;
            }
        }
        Ok(found)
    }
}

pub(super) const LINK_COLUMNS: &str = "day, previous, first_id, last_id, next_id, created_from, created_to, queued, \
     acknowledged, exhausted, cancelled, pending, unknown, closed_at, rows_sha256, digest";

/// Callbacks by id. As of the closing of the day $3: those that were left open then are shown as they
/// stood, and all others by their first acknowledged attempt. As of now ($3 is NULL): by that, if
/// there is one, else by the newest.
const PAGE: &str = "
SELECT q.id, q.kind, q.app_id, q.newpay_order_no, q.newpay_refund_order_no, q.order_no,
  q.refund_order_no, q.amount, q.currency, q.result, q.pay_method, q.settlement_status,
  q.trans_info, q.subject, q.extra, q.callback_url, q.created_at, q.state,
  q.leased_until IS NOT NULL,
  CASE WHEN $3::text IS NOT NULL THEN coalesce(o.state, 'acknowledged') END,
  a.seq, a.outcome, a.started_at, a.sent_timestamp, a.key_id, a.sign, a.body_sha256
FROM (SELECT * FROM callback_queue WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $4) q
LEFT JOIN reconciliation_open o ON o.day = $3 AND o.callback_id = q.id
LEFT JOIN LATERAL (
  SELECT * FROM callback_attempt t WHERE t.callback_id = q.id AND t.seq = coalesce(o.seq,
    (SELECT min(b.seq) FROM callback_attempt b
     WHERE b.callback_id = q.id AND b.outcome = 'acknowledged'),
    CASE WHEN $3 IS NULL THEN q.attempt_seq END)
) a ON TRUE
ORDER BY q.id";

/// The one callback of each payment or refund, in the order of the keys.
const RESULTS: &str = "
SELECT q.id, q.app_id, q.amount, q.currency, q.result
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS key (kind, number, place)
LEFT JOIN LATERAL (
  SELECT * FROM callback_queue p
  WHERE key.kind = 'payment' AND p.kind = 'payment' AND p.newpay_order_no = key.number
  UNION ALL
  SELECT * FROM callback_queue r
  WHERE key.kind = 'refund' AND r.kind = 'refund' AND r.newpay_refund_order_no = key.number
) q ON TRUE
ORDER BY key.place";

fn result(row: &Row) -> Result<Option<QueuedResult>, StoreError> {
    let Some(id) = row.try_get(0)? else {
        return Ok(None);
    };
    Ok(Some(QueuedResult {
        id: CallbackId(id),
        app_id: row.try_get(1)?,
        amount: row.try_get(2)?,
        currency: row.try_get(3)?,
        result: row.try_get(4)?,
    }))
}

fn link(row: &Row) -> Result<Link, StoreError> {
    let count =
        |column| -> Result<u64, StoreError> { Ok(row.try_get::<_, i64>(column)?.unsigned_abs()) };
    Ok(Link {
        day: parsed(row, 0, |text| text.parse::<Day>().ok())?,
        previous: parsed(row, 1, Digest::from_hex)?,
        first_id: CallbackId(row.try_get(2)?),
        last_id: CallbackId(row.try_get(3)?),
        next_id: CallbackId(row.try_get(4)?),
        created_from: timestamp_or_null(row, 5)?,
        created_to: timestamp_or_null(row, 6)?,
        counts: Counts {
            queued: count(7)?,
            acknowledged: count(8)?,
            exhausted: count(9)?,
            cancelled: count(10)?,
            pending: count(11)?,
            unknown: count(12)?,
        },
        closed_at: timestamp(row, 13)?,
        rows_sha256: parsed(row, 14, Digest::from_hex)?,
        digest: parsed(row, 15, Digest::from_hex)?,
    })
}

/// The schema's CHECKs refuse what can't be read here.
fn parsed<T>(row: &Row, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let found: &str = row.try_get(column)?;
    parse(found).ok_or_else(|| {
        StoreError::Other(format!(
            "reconciliation: {found:?} is neither a day nor a SHA-256"
        ))
    })
}

fn callback(row: &Row) -> Result<ReconciledCallback, StoreError> {
    let attempt = attempt(row)?;
    let noted: Option<&str> = row.try_get(19)?;
    let fate = match noted {
        Some(noted) => noted.parse().unwrap_or(Fate::Unknown),
        None => {
            let outcome = attempt.as_ref().map(|attempt| attempt.outcome.as_str());
            fate_now(row.try_get(17)?, row.try_get(18)?, outcome)
        }
    };
    Ok(ReconciledCallback {
        id: CallbackId(row.try_get(0)?),
        kind: row.try_get(1)?,
        app_id: row.try_get(2)?,
        newpay_order_no: row.try_get(3)?,
        newpay_refund_order_no: row.try_get(4)?,
        order_no: row.try_get(5)?,
        refund_order_no: row.try_get(6)?,
        amount: row.try_get(7)?,
        currency: row.try_get(8)?,
        result: row.try_get(9)?,
        pay_method: row.try_get(10)?,
        settlement_status: row.try_get(11)?,
        trans_info: row.try_get(12)?,
        subject: row.try_get(13)?,
        extra: row.try_get(14)?,
        callback_url: row.try_get(15)?,
        created_at: timestamp(row, 16)?,
        fate,
        attempt,
    })
}

fn attempt(row: &Row) -> Result<Option<TellingAttempt>, StoreError> {
    let Some(seq) = row.try_get(20)? else {
        return Ok(None);
    };
    Ok(Some(TellingAttempt {
        seq,
        outcome: row.try_get(21)?,
        started_at: timestamp(row, 22)?,
        sent_timestamp: row.try_get(23)?,
        key_id: row.try_get(24)?,
        sign: row.try_get(25)?,
        body_sha256: row.try_get(26)?,
    }))
}
