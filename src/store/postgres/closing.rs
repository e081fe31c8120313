//! Writing what is kept of a day.
//!
//! What was left open is kept in memory until the day's link comes, and written along with it, in
//! one transaction. Several dispatchers may be at the same day at once, each with a view of its own:
//! were their notes in the table before, one could take the other's away. So one of them adds all
//! that it has seen, and the others are refused.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::connection::Pool;
use crate::domain::{Day, Link, Timestamp};
use crate::store::reading::LINK_COLUMNS;
use crate::store::{LedgerEntry, LeftOpen, StoreError};

/// Callbacks that are noted by one statement.
const NOTED_MAX: usize = 10_000;

/// What this dispatcher has seen of the day that it is about to close: 24 bytes for each callback
/// that was not acknowledged.
#[derive(Debug)]
pub(super) struct Closing {
    pool: Pool,
    left_open: Mutex<BTreeMap<Day, Vec<LeftOpen>>>,
}

impl Closing {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            left_open: Mutex::default(),
        }
    }

    pub(super) async fn write(&self, entry: LedgerEntry) -> Result<(), StoreError> {
        let mut left_open = self.left_open.lock().await;
        match entry {
            LedgerEntry::Begin(_) => left_open.clear(),
            LedgerEntry::LeftOpen(day, callbacks) => {
                left_open.entry(day).or_default().extend(callbacks);
            }
            LedgerEntry::Link(link) => {
                let callbacks = left_open.get(&link.day).map_or(&[][..], Vec::as_slice);
                close(&self.pool, &link, callbacks).await?;
                left_open.remove(&link.day);
            }
        }
        Ok(())
    }
}

/// A queue that came from a file may have brought notes of a day that was not closed there.
const FORGET: &str = "DELETE FROM reconciliation_open WHERE day = $1";

const NOTE: &str = "
INSERT INTO reconciliation_open (day, callback_id, state, seq)
SELECT $1, id, state, seq FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS o (id, state, seq)";

async fn close(pool: &Pool, link: &Link, left_open: &[LeftOpen]) -> Result<(), StoreError> {
    let day = link.day.to_string();
    let mut client = pool.client().await?;
    let transaction = client.transaction().await?;
    transaction.execute(FORGET, &[&day]).await?;
    for callbacks in left_open.chunks(NOTED_MAX) {
        let ids: Vec<i64> = callbacks.iter().map(|callback| callback.id.0).collect();
        let fates = callbacks.iter().map(|callback| callback.fate.as_str());
        let fates: Vec<&str> = fates.collect();
        let seqs: Vec<i64> = callbacks.iter().map(|callback| callback.seq).collect();
        transaction
            .execute(NOTE, &[&day, &ids, &fates, &seqs])
            .await?;
    }
    append(&transaction, link).await?;
    Ok(transaction.commit().await?)
}

async fn append(
    transaction: &deadpool_postgres::Transaction<'_>,
    link: &Link,
) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO reconciliation ({LINK_COLUMNS})
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
    );
    let counts = link.counts;
    let [queued, acknowledged, exhausted, cancelled, pending, unknown] = [
        counts.queued,
        counts.acknowledged,
        counts.exhausted,
        counts.cancelled,
        counts.pending,
        counts.unknown,
    ]
    .map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    transaction
        .execute(
            &sql,
            &[
                &link.day.to_string(),
                &link.previous.to_string(),
                &link.first_id.0,
                &link.last_id.0,
                &link.next_id.0,
                &link.created_from.map(Timestamp::as_millis),
                &link.created_to.map(Timestamp::as_millis),
                &queued,
                &acknowledged,
                &exhausted,
                &cancelled,
                &pending,
                &unknown,
                &link.closed_at.as_millis(),
                &link.rows_sha256.to_string(),
                &link.digest.to_string(),
            ],
        )
        .await?;
    Ok(())
}
