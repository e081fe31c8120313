//! Writing what is kept of a day.

use serde_json::json;

use super::reading::DAY_COLUMNS;
use super::session::Session;
use super::{AuditEntry, LeftOpen, StoreError};
use crate::domain::{Day, DayRecord};

/// Writes an entry, inside a transaction.
pub(super) async fn write(session: &impl Session, entry: &AuditEntry) -> Result<(), StoreError> {
    match entry {
        AuditEntry::Begin(day) => forget(session, *day).await,
        AuditEntry::LeftOpen(day, callbacks) => leave_open(session, *day, callbacks).await,
        AuditEntry::Closed(record) => append(session, record).await,
    }
}

async fn forget(session: &impl Session, day: Day) -> Result<(), StoreError> {
    let sql = "DELETE FROM reconciliation_open WHERE day = ?1";
    let forgotten = session.execute(sql, &[day.to_string().into()]).await;
    forgotten.map(drop)
}

async fn leave_open(
    session: &impl Session,
    day: Day,
    callbacks: &[LeftOpen],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO reconciliation_open (day, callback_id, state, seq)
         SELECT ?1, CAST(value->>0 AS bigint), value->>1, CAST(value->>2 AS bigint)
         FROM {json_each(?2)|jsonb_array_elements(CAST(?2 AS text)::jsonb)}";
    let callbacks = callbacks.iter();
    let callbacks = callbacks.map(|open| json!([open.id, open.state, open.seq]));
    let callbacks = serde_json::Value::from_iter(callbacks).to_string();
    let values = [day.to_string().into(), callbacks.into()];
    session.execute(sql, &values).await.map(drop)
}

async fn append(session: &impl Session, record: &DayRecord) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO reconciliation ({DAY_COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    );
    let counts = record.counts;
    let values = [
        record.day.to_string().into(),
        record.previous.to_string().into(),
        record.first_id.into(),
        record.last_id.into(),
        record.next_id.into(),
        record.created_from.into(),
        record.created_to.into(),
        counts.queued.into(),
        counts.acknowledged.into(),
        counts.exhausted.into(),
        counts.cancelled.into(),
        counts.pending.into(),
        counts.unknown.into(),
        record.closed_at.into(),
        record.rows_sha256.to_string().into(),
        record.digest.to_string().into(),
    ];
    session.execute(&sql, &values).await.map(drop)
}
