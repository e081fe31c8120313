//! Un-counting attempts that failed because of our own outage.

use std::collections::BTreeMap;

use serde_json::json;

use super::session::{Dialect, Row, Session, Value};
use super::{AttemptKey, StoreError, Uncount};
use crate::domain::CallbackId;

/// Attempts that are un-counted in one transaction. An outage may have counted hundreds of
/// thousands; other writers must not wait for all of them.
pub(super) const UNCOUNT_MAX: usize = 500;

/// Several dispatchers lock rows in the order of their ids. SQLite has one writer at a time.
const LOCK: &str = "
SELECT id FROM callback_queue WHERE id = ANY (ARRAY(
  SELECT CAST(value AS bigint) FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)))
ORDER BY id FOR UPDATE";

pub(super) const UNCOUNT: &str = "
UPDATE callback_attempt SET counted = 0, detail = detail || ?2
WHERE counted = 1 AND (callback_id, seq) IN (
  SELECT CAST(value->>0 AS bigint), CAST(value->>1 AS bigint)
  FROM {json_each(?1)|jsonb_array_elements(CAST(?1 AS text)::jsonb)})
RETURNING callback_id, seq";

/// A callback whose newest attempt is among them is due at the moment given, even if it was
/// exhausted. One that has moved on keeps its state.
pub(super) const RESTORE_BUDGET: &str = "
UPDATE callback_queue
SET attempts = {max|greatest}(attempts - ?2, 0),
    state = CASE WHEN state = 'exhausted' AND attempt_seq = ?3 THEN 'pending' ELSE state END,
    finished_at = CASE WHEN state = 'exhausted' AND attempt_seq = ?3 THEN NULL
      ELSE finished_at END,
    next_attempt_at = CASE
      WHEN state = 'exhausted' AND attempt_seq = ?3 THEN ?4
      WHEN state = 'pending' AND attempt_seq = ?3 AND leased_until IS NULL
        THEN {min|least}(next_attempt_at, ?4)
      ELSE next_attempt_at END
WHERE id = ?1";

const NOT_LOGGED: &str = "
SELECT c.callback_id, c.seq FROM (
  SELECT CAST(value->>0 AS bigint) AS callback_id, CAST(value->>1 AS bigint) AS seq
  FROM {json_each(?1)|jsonb_array_elements(CAST(?1 AS text)::jsonb)}
) AS c
WHERE NOT EXISTS (
  SELECT 1 FROM callback_attempt a WHERE a.callback_id = c.callback_id AND a.seq = c.seq)";

/// Un-counts the attempts, inside a transaction, and returns those that the log does not have.
pub(super) async fn uncount<S: Session>(
    session: &S,
    request: &Uncount,
) -> Result<Vec<AttemptKey>, StoreError> {
    if S::DIALECT == Dialect::Postgres {
        let ids = request.attempts.iter().map(|key| key.id.0);
        let ids = serde_json::Value::from_iter(ids).to_string();
        session.query(LOCK, &[ids.into()]).await?;
    }
    let keys = request
        .attempts
        .iter()
        .map(|key| json!([key.id.0, key.seq]));
    let keys = Value::from(serde_json::Value::from_iter(keys).to_string());
    let uncounted = session
        .query(UNCOUNT, &[keys.clone(), request.reason.into()])
        .await?;
    // How many of each callback, and the newest of them.
    let mut uncounted_by_id: BTreeMap<CallbackId, (u64, i64)> = BTreeMap::new();
    for row in &uncounted {
        let key = key(row)?;
        let (attempts, newest) = uncounted_by_id.entry(key.id).or_default();
        *attempts += 1;
        *newest = key.seq.max(*newest);
    }
    for (id, (attempts, newest)) in uncounted_by_id {
        let values = [
            id.into(),
            attempts.into(),
            newest.into(),
            request.due.into(),
        ];
        session.execute(RESTORE_BUDGET, &values).await?;
    }
    let unknown = session.query(NOT_LOGGED, &[keys]).await?;
    unknown.iter().map(key).collect()
}

fn key(row: &Row) -> Result<AttemptKey, StoreError> {
    Ok(AttemptKey {
        id: row.get("callback_id")?,
        seq: row.get("seq")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn attempts_of_a_long_outage_are_uncounted_in_small_transactions_by_id() {
        let key = |id| AttemptKey {
            id: CallbackId(id),
            seq: 1,
        };
        let request = Uncount {
            attempts: (1..=1201).rev().map(key).collect(),
            reason: "",
            due: Timestamp::from_millis(0),
        };
        let batches = request.batches();
        assert!(batches.iter().all(|batch| batch.attempts.len() <= 500));
        let attempts: Vec<_> = batches.into_iter().flat_map(|b| b.attempts).collect();
        assert_eq!(attempts, (1..=1201).map(key).collect::<Vec<_>>());
    }
}
