//! The auditor's side in SQLite.
//!
//! Days are walked by id, not by `created_at`, which has no index: each link says between which
//! ids its callbacks are.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::SqliteInspection;
use super::arrivals;
use super::connection::store_error;
use super::inspection::{text, text_or_null};
use super::rows::{timestamp, timestamp_or_null};
use crate::domain::{
    CallbackId, Counts, Day, Digest, Fate, Kind, Link, QueuedResult, ReconciledCallback, ResultKey,
    TellingAttempt, Timestamp,
};
use crate::store::ledger::fate_now;
use crate::store::{Ledger, LedgerEntry, LedgerPage, LeftOpen, StoreError};

#[async_trait]
impl Ledger for SqliteInspection {
    async fn links(&self) -> Result<Vec<Link>, StoreError> {
        self.read(|db| {
            let sql = format!("SELECT {LINK_COLUMNS} FROM reconciliation ORDER BY day");
            db.prepare_cached(&sql)?.query_map([], link)?.collect()
        })
        .await
    }

    async fn last_link(&self) -> Result<Option<Link>, StoreError> {
        self.read(|db| {
            let sql =
                format!("SELECT {LINK_COLUMNS} FROM reconciliation ORDER BY day DESC LIMIT 1");
            db.prepare_cached(&sql)?.query_row([], link).optional()
        })
        .await
    }

    async fn newest(&self) -> Result<CallbackId, StoreError> {
        self.read(|db| {
            db.query_row(arrivals::NEWEST, [], |row| row.get(0))
                .map(CallbackId)
        })
        .await
    }

    async fn page(&self, page: LedgerPage) -> Result<Vec<ReconciledCallback>, StoreError> {
        self.read(move |db| {
            let day = page.as_of.map(|day| day.to_string());
            db.prepare_cached(PAGE)?
                .query_map((page.after.0, page.to.0, day, page.limit), callback)?
                .collect()
        })
        .await
    }

    async fn results(&self, keys: Vec<ResultKey>) -> Result<Vec<Option<QueuedResult>>, StoreError> {
        self.read(move |db| {
            let mut payments = db.prepare_cached(PAYMENT)?;
            let mut refunds = db.prepare_cached(REFUND)?;
            keys.iter()
                .map(|key| {
                    let statement = match key.kind {
                        Kind::Payment => &mut payments,
                        Kind::Refund => &mut refunds,
                    };
                    statement.query_row([&key.number], result).optional()
                })
                .collect()
        })
        .await
    }
}

const LINK_COLUMNS: &str = "day, previous, first_id, last_id, next_id, created_from, created_to, queued, \
     acknowledged, exhausted, cancelled, pending, unknown, closed_at, rows_sha256, digest";

/// Callbacks by id. As of the closing of the day ?3: those that were left open then are shown as they
/// stood, and all others by their first acknowledged attempt. As of now (?3 is NULL): by that, if
/// there is one, else by the newest.
pub(super) const PAGE: &str = "
SELECT q.id, q.kind, q.app_id, q.newpay_order_no, q.newpay_refund_order_no, q.order_no,
  q.refund_order_no, q.amount, q.currency, q.result, q.pay_method, q.settlement_status,
  q.trans_info, q.subject, q.extra, q.callback_url, q.created_at, q.state,
  q.leased_until IS NOT NULL, CASE WHEN ?3 IS NOT NULL THEN coalesce(o.state, 'acknowledged') END,
  a.seq, a.outcome, a.started_at, a.sent_timestamp, a.key_id, a.sign, a.body_sha256
FROM callback_queue q NOT INDEXED
LEFT JOIN reconciliation_open o ON o.day = ?3 AND o.callback_id = q.id
LEFT JOIN callback_attempt a ON a.callback_id = q.id AND a.seq = coalesce(o.seq,
  (SELECT min(b.seq) FROM callback_attempt b
   WHERE b.callback_id = q.id AND b.outcome = 'acknowledged'),
  CASE WHEN ?3 IS NULL THEN q.attempt_seq END)
WHERE q.id > ?1 AND q.id <= ?2
ORDER BY q.id LIMIT ?4";

/// The one callback of a payment.
pub(super) const PAYMENT: &str = "
SELECT id, app_id, amount, currency, result
FROM callback_queue INDEXED BY callback_one_per_payment
WHERE kind = 'payment' AND newpay_order_no = ?1";

/// The one callback of a refund.
pub(super) const REFUND: &str = "
SELECT id, app_id, amount, currency, result
FROM callback_queue INDEXED BY callback_one_per_refund
WHERE kind = 'refund' AND newpay_refund_order_no = ?1";

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        day: parsed(row, 0, |text| text.parse::<Day>().ok())?,
        previous: parsed(row, 1, Digest::from_hex)?,
        first_id: CallbackId(row.get(2)?),
        last_id: CallbackId(row.get(3)?),
        next_id: CallbackId(row.get(4)?),
        created_from: timestamp_or_null(row, 5)?,
        created_to: timestamp_or_null(row, 6)?,
        counts: Counts {
            queued: row.get(7)?,
            acknowledged: row.get(8)?,
            exhausted: row.get(9)?,
            cancelled: row.get(10)?,
            pending: row.get(11)?,
            unknown: row.get(12)?,
        },
        closed_at: timestamp(row, 13)?,
        rows_sha256: parsed(row, 14, Digest::from_hex)?,
        digest: parsed(row, 15, Digest::from_hex)?,
    })
}

/// The schema's CHECKs refuse what can't be read here.
fn parsed<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl Fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let found = text(row, column)?;
    parse(&found).ok_or_else(|| {
        let fault = format!("reconciliation: {found:?} is neither a day nor a SHA-256");
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, fault.into())
    })
}

fn callback(row: &Row<'_>) -> rusqlite::Result<ReconciledCallback> {
    let attempt = attempt(row)?;
    let state = text(row, 17)?;
    let is_leased: bool = row.get(18)?;
    let fate = match text_or_null(row, 19)? {
        Some(noted) => noted.parse().unwrap_or(Fate::Unknown),
        None => {
            let outcome = attempt.as_ref().map(|attempt| attempt.outcome.as_str());
            fate_now(&state, is_leased, outcome)
        }
    };
    Ok(ReconciledCallback {
        id: CallbackId(row.get(0)?),
        kind: text(row, 1)?,
        app_id: text(row, 2)?,
        newpay_order_no: text(row, 3)?,
        newpay_refund_order_no: text_or_null(row, 4)?,
        order_no: text(row, 5)?,
        refund_order_no: text_or_null(row, 6)?,
        amount: text(row, 7)?,
        currency: text(row, 8)?,
        result: text(row, 9)?,
        pay_method: row.get(10)?,
        settlement_status: row.get(11)?,
        trans_info: text(row, 12)?,
        subject: text(row, 13)?,
        extra: text(row, 14)?,
        callback_url: text(row, 15)?,
        created_at: timestamp(row, 16)?,
        fate,
        attempt,
    })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Option<TellingAttempt>> {
    let Some(seq) = row.get(20)? else {
        return Ok(None);
    };
    Ok(Some(TellingAttempt {
        seq,
        outcome: text(row, 21)?,
        started_at: timestamp(row, 22)?,
        sent_timestamp: row.get(23)?,
        key_id: text_or_null(row, 24)?,
        sign: text_or_null(row, 25)?,
        body_sha256: text_or_null(row, 26)?,
    }))
}

fn result(row: &Row<'_>) -> rusqlite::Result<QueuedResult> {
    Ok(QueuedResult {
        id: CallbackId(row.get(0)?),
        app_id: text(row, 1)?,
        amount: text(row, 2)?,
        currency: text(row, 3)?,
        result: text(row, 4)?,
    })
}

pub(super) fn write(db: &Connection, entry: &LedgerEntry) -> Result<(), StoreError> {
    let written = match entry {
        LedgerEntry::Begin(day) => forget(db, *day),
        LedgerEntry::LeftOpen(day, callbacks) => leave_open(db, *day, callbacks),
        LedgerEntry::Link(link) => append(db, link),
    };
    written.map_err(|error| store_error(&error))
}

fn forget(db: &Connection, day: Day) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM reconciliation_open WHERE day = ?1")?
        .execute([day.to_string()])
        .map(|_| ())
}

fn leave_open(db: &Connection, day: Day, callbacks: &[LeftOpen]) -> rusqlite::Result<()> {
    let day = day.to_string();
    let mut statement = db.prepare_cached(
        "INSERT INTO reconciliation_open (day, callback_id, state, seq) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for callback in callbacks {
        let fate = callback.fate.as_str();
        statement.execute((&day, callback.id.0, fate, callback.seq))?;
    }
    Ok(())
}

fn append(db: &Connection, link: &Link) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO reconciliation ({LINK_COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    );
    let counts = link.counts;
    db.prepare_cached(&sql)?
        .execute((
            link.day.to_string(),
            link.previous.to_string(),
            link.first_id.0,
            link.last_id.0,
            link.next_id.0,
            link.created_from.map(Timestamp::as_millis),
            link.created_to.map(Timestamp::as_millis),
            counts.queued,
            counts.acknowledged,
            counts.exhausted,
            counts.cancelled,
            counts.pending,
            counts.unknown,
            link.closed_at.as_millis(),
            link.rows_sha256.to_string(),
            link.digest.to_string(),
        ))
        .map(|_| ())
}
