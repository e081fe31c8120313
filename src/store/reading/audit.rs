//! The auditor's reads.
//!
//! Days are walked by id, not by `created_at`, which late transactions set: each closed day has the
//! range of ids of its callbacks. On PostgreSQL ids are taken before a transaction commits, so a day is closed
//! an hour after its end: no gateway's transaction may take that long.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{Reader, rows};
use crate::domain::{
    CallbackId, Counts, DayRecord, DecisiveAttempt, Digest, Kind, QueuedResult, ReconciledCallback,
    ReconciledState, ResultKey,
};
use crate::store::audit::state_now;
use crate::store::session::{Row, Session};
use crate::store::{AuditChain, AuditPage, StoreError};

pub(in crate::store) const DAY_COLUMNS: &str = "day, previous, first_id, last_id, next_id, created_from, created_to, queued, \
     acknowledged, exhausted, cancelled, pending, unknown, closed_at, rows_sha256, digest";

/// Callbacks by id. As of the closing of the day ?3: those that were left open then are shown as
/// they stood, and all others by their first acknowledged attempt. As of now (?3 is NULL): by that,
/// if there is one, else by the newest.
const PAGE: &str = "
SELECT q.id, q.kind, q.app_id, q.newpay_order_no, q.newpay_refund_order_no, q.order_no,
  q.refund_order_no, q.amount, q.currency, q.result, q.pay_method, q.settlement_status,
  q.trans_info, q.subject, q.extra, q.callback_url, q.created_at, q.state,
  q.leased_until IS NOT NULL AS is_leased,
  CASE WHEN CAST(?3 AS TEXT) IS NOT NULL THEN coalesce(o.state, 'acknowledged') END AS noted,
  a.seq, a.outcome, a.started_at, a.sent_timestamp, a.key_id, a.sign, a.body_sha256
FROM {callback_queue q NOT INDEXED
  |(SELECT * FROM callback_queue WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?4) q}
LEFT JOIN reconciliation_open o ON o.day = ?3 AND o.callback_id = q.id
LEFT JOIN callback_attempt a ON a.callback_id = q.id AND a.seq = coalesce(o.seq,
  (SELECT min(b.seq) FROM callback_attempt b
   WHERE b.callback_id = q.id AND b.outcome = 'acknowledged'),
  CASE WHEN CAST(?3 AS TEXT) IS NULL THEN q.attempt_seq END)
WHERE q.id > ?1 AND q.id <= ?2
ORDER BY q.id LIMIT ?4";

#[async_trait]
impl<R: Reader> AuditChain for R {
    async fn days(&self) -> Result<Vec<DayRecord>, StoreError> {
        let sql = format!("SELECT {DAY_COLUMNS} FROM reconciliation ORDER BY day");
        rows(self, &sql, &[], record).await
    }

    async fn newest_day(&self) -> Result<Option<DayRecord>, StoreError> {
        let sql = format!("SELECT {DAY_COLUMNS} FROM reconciliation ORDER BY day DESC LIMIT 1");
        Ok(rows(self, &sql, &[], record).await?.pop())
    }

    async fn newest(&self) -> Result<CallbackId, StoreError> {
        let sql = "SELECT max(id) AS id FROM callback_queue";
        let newest = rows(self, sql, &[], |row| row.get::<Option<CallbackId>>("id")).await?;
        Ok(newest.into_iter().flatten().next().unwrap_or(CallbackId(0)))
    }

    async fn page(&self, page: AuditPage) -> Result<Vec<ReconciledCallback>, StoreError> {
        let day = page.as_of.map(|day| day.to_string());
        let values = [
            page.after.into(),
            page.to.into(),
            day.into(),
            page.limit.into(),
        ];
        rows(self, PAGE, &values, callback).await
    }

    async fn results(&self, keys: Vec<ResultKey>) -> Result<Vec<Option<QueuedResult>>, StoreError> {
        let payments = results(self, Kind::Payment, &keys).await?;
        let refunds = results(self, Kind::Refund, &keys).await?;
        let found = keys.iter().map(|key| match key.kind {
            Kind::Payment => payments.get(&key.number).cloned(),
            Kind::Refund => refunds.get(&key.number).cloned(),
        });
        Ok(found.collect())
    }
}

/// For each number one search by index; SQLite keeps to the order of a CROSS JOIN.
pub(in crate::store) fn results_sql(kind: Kind) -> String {
    let (column, index) = match kind {
        Kind::Payment => ("newpay_order_no", "callback_one_per_payment"),
        Kind::Refund => ("newpay_refund_order_no", "callback_one_per_refund"),
    };
    format!(
        "SELECT q.id, q.{column} AS number, q.app_id, q.amount, q.currency, q.result
         FROM {{json_each(?1) k CROSS JOIN callback_queue q INDEXED BY {index}|callback_queue q}}
         WHERE q.kind = '{kind}' AND q.{column} = {{k.value\
           |ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(?1 AS text)::jsonb)))}}"
    )
}

/// The one callback of each payment or refund among `keys`, by its number.
async fn results<R: Reader>(
    reader: &R,
    kind: Kind,
    keys: &[ResultKey],
) -> Result<HashMap<String, QueuedResult>, StoreError> {
    let sql = results_sql(kind);
    let can_hold = |key: &&ResultKey| key.kind == kind && R::Session::DIALECT.can_hold(&key.number);
    let numbers = keys.iter().filter(can_hold).map(|key| &key.number);
    let numbers = serde_json::Value::from_iter(numbers.map(String::as_str)).to_string();
    let read = |row: &Row| Ok((row.get("number")?, result(row)?));
    let found = rows(reader, &sql, &[numbers.into()], read).await?;
    Ok(found.into_iter().collect())
}

fn result(row: &Row) -> Result<QueuedResult, StoreError> {
    Ok(QueuedResult {
        id: row.get("id")?,
        app_id: row.get("app_id")?,
        amount: row.get("amount")?,
        currency: row.get("currency")?,
        result: row.get("result")?,
    })
}

fn record(row: &Row) -> Result<DayRecord, StoreError> {
    Ok(DayRecord {
        day: row.parsed("day", |text| text.parse().ok())?,
        previous: row.parsed("previous", Digest::from_hex)?,
        first_id: row.get("first_id")?,
        last_id: row.get("last_id")?,
        next_id: row.get("next_id")?,
        created_from: row.get("created_from")?,
        created_to: row.get("created_to")?,
        counts: Counts {
            queued: row.get("queued")?,
            acknowledged: row.get("acknowledged")?,
            exhausted: row.get("exhausted")?,
            cancelled: row.get("cancelled")?,
            pending: row.get("pending")?,
            unknown: row.get("unknown")?,
        },
        closed_at: row.get("closed_at")?,
        rows_sha256: row.parsed("rows_sha256", Digest::from_hex)?,
        digest: row.parsed("digest", Digest::from_hex)?,
    })
}

fn callback(row: &Row) -> Result<ReconciledCallback, StoreError> {
    let attempt = attempt(row)?;
    let state = match row.get::<Option<String>>("noted")? {
        Some(noted) => noted.parse().unwrap_or(ReconciledState::Unknown),
        None => {
            let outcome = attempt.as_ref().map(|attempt| attempt.outcome.as_str());
            let state: String = row.get("state")?;
            state_now(&state, row.get("is_leased")?, outcome)
        }
    };
    Ok(ReconciledCallback {
        id: row.get("id")?,
        kind: row.get("kind")?,
        app_id: row.get("app_id")?,
        newpay_order_no: row.get("newpay_order_no")?,
        newpay_refund_order_no: row.get("newpay_refund_order_no")?,
        order_no: row.get("order_no")?,
        refund_order_no: row.get("refund_order_no")?,
        amount: row.get("amount")?,
        currency: row.get("currency")?,
        result: row.get("result")?,
        pay_method: row.get("pay_method")?,
        settlement_status: row.get("settlement_status")?,
        trans_info: row.get("trans_info")?,
        subject: row.get("subject")?,
        extra: row.get("extra")?,
        callback_url: row.get("callback_url")?,
        created_at: row.get("created_at")?,
        state,
        attempt,
    })
}

fn attempt(row: &Row) -> Result<Option<DecisiveAttempt>, StoreError> {
    let Some(seq) = row.get("seq")? else {
        return Ok(None);
    };
    Ok(Some(DecisiveAttempt {
        seq,
        outcome: row.get("outcome")?,
        started_at: row.get("started_at")?,
        sent_timestamp: row.get("sent_timestamp")?,
        key_id: row.get("key_id")?,
        sign: row.get("sign")?,
        body_sha256: row.get("body_sha256")?,
    }))
}
