//! Judging a batch of callbacks, and doing what comes of it, by one statement for each kind.
//!
//! The rows are locked in the order of their ids before they are judged. A claim passes locked rows
//! over; an outcome that is just being recorded comes first, or waits for us.

use std::collections::{BTreeMap, HashMap, HashSet};

use deadpool_postgres::Transaction;
use futures_util::future::try_join;
use tokio_postgres::Row;

use super::super::listener::notice;
use super::super::rows::endpoint;
use super::search;
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::judging::{Verdict, judge};
use crate::store::{Command, Endpoint, EndpointDue, StoreError};

const LOCK: &str = "
SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, app_id, origin
FROM callback_queue WHERE id = ANY ($1) ORDER BY id FOR UPDATE";

/// A statement of its own behind [`LOCK`]: it sees what was recorded while that one waited.
const ACKNOWLEDGED: &str = "
SELECT DISTINCT callback_id FROM callback_attempt
WHERE callback_id = ANY ($1) AND outcome = 'acknowledged'";

const RESEND: &str = "
UPDATE callback_queue q
SET state = 'pending', attempts = 0, next_attempt_at = resent.at, finished_at = NULL
FROM unnest($1::bigint[], $2::bigint[]) AS resent (id, at)
WHERE q.id = resent.id AND q.leased_until IS NULL";

const CANCEL: &str = "
UPDATE callback_queue
SET state = 'cancelled', next_attempt_at = NULL, finished_at = $2
WHERE id = ANY ($1) AND state = 'pending' AND leased_until IS NULL";

/// What has become due where, by a piece of a command.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeMap<Endpoint, Timestamp>);

impl Due {
    pub(super) fn add(&mut self, endpoint: Endpoint, at: Timestamp) {
        let earliest = self.0.entry(endpoint).or_insert(at);
        *earliest = at.min(*earliest);
    }

    /// Tells all dispatchers when the transaction is committed.
    pub(super) async fn notify(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let statement = transaction
            .prepare_cached(
                "SELECT pg_notify('callback_queue', endpoint)
                 FROM unnest($1::text[]) AS due (endpoint)",
            )
            .await?;
        let notices: Vec<String> = self.0.keys().map(notice).collect();
        transaction.query(&statement, &[&notices]).await?;
        Ok(())
    }

    pub(super) fn into_list(self) -> Vec<EndpointDue> {
        let due = |(endpoint, due)| EndpointDue { endpoint, due };
        self.0.into_iter().map(due).collect()
    }
}

/// Resends or cancels those of `ids` of which the rule says so, now that they are locked. Returns
/// what has become of each, in the same order.
pub(super) async fn touch(
    transaction: &Transaction<'_>,
    command: &mut Command,
    ids: &[CallbackId],
    now: Timestamp,
    due: &mut Due,
) -> Result<Vec<(CallbackId, Verdict)>, StoreError> {
    let keys: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let locking = transaction.prepare_cached(LOCK).await?;
    let asking = transaction.prepare_cached(ACKNOWLEDGED).await?;
    // Both are on their way at once, and the server does one after the other.
    let (locked, acknowledged) = try_join(
        transaction.query(&locking, &[&keys]),
        transaction.query(&asking, &[&keys]),
    )
    .await?;
    let rows: HashMap<i64, &Row> = locked.iter().map(|row| (row.get(0), row)).collect();
    let acknowledged: HashSet<i64> = acknowledged.iter().map(|row| row.get(0)).collect();
    let mut verdicts = Vec::with_capacity(ids.len());
    let (mut resent, mut moments, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let row = rows.get(&id.0);
        let standing = row
            .map(|row| search::standing(row, acknowledged.contains(&id.0)))
            .transpose()?;
        let verdict = judge(command, standing, now);
        match (verdict, row) {
            (Verdict::Resend(at), Some(row)) => {
                resent.push(id.0);
                moments.push(at.as_millis());
                due.add(endpoint(row, 5)?, at);
            }
            (Verdict::Cancel, _) => cancelled.push(id.0),
            _ => {}
        }
        verdicts.push((*id, verdict));
    }
    if !resent.is_empty() {
        let statement = transaction.prepare_cached(RESEND).await?;
        transaction
            .execute(&statement, &[&resent, &moments])
            .await?;
    }
    if !cancelled.is_empty() {
        let statement = transaction.prepare_cached(CANCEL).await?;
        transaction
            .execute(&statement, &[&cancelled, &now.as_millis()])
            .await?;
    }
    Ok(verdicts)
}
