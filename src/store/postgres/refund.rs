//! Taking attempts from the merchants' accounts again.

use super::connection::Pool;
use super::error::store_error;
use crate::domain::CallbackId;
use crate::store::{ChargedAttempt, Refund, StoreError};

/// A callback whose newest attempt is among them is due at the moment given, even if it had been
/// given up. One that has moved on keeps what it has come to. Answers with those that the log does
/// not have.
const REFUND: &str = "
WITH charged AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS c (id, seq) ORDER BY id, seq
), uncounted AS (
  UPDATE callback_attempt a SET counted = 0, detail = a.detail || $3
  FROM charged c WHERE a.callback_id = c.id AND a.seq = c.seq AND a.counted = 1
  RETURNING c.id, c.seq
), refunded AS MATERIALIZED (
  SELECT id, count(*) AS attempts, max(seq) AS newest FROM uncounted GROUP BY id ORDER BY id
), given_back AS (
  UPDATE callback_queue q
  SET attempts = greatest(q.attempts - r.attempts, 0),
      state = CASE WHEN q.state = 'exhausted' AND q.attempt_seq = r.newest THEN 'pending'
        ELSE q.state END,
      finished_at = CASE WHEN q.state = 'exhausted' AND q.attempt_seq = r.newest THEN NULL
        ELSE q.finished_at END,
      next_attempt_at = CASE
        WHEN q.state = 'exhausted' AND q.attempt_seq = r.newest THEN $4
        WHEN q.state = 'pending' AND q.attempt_seq = r.newest AND q.leased_until IS NULL
          THEN least(q.next_attempt_at, $4)
        ELSE q.next_attempt_at END
  FROM refunded r WHERE q.id = r.id
)
SELECT c.id, c.seq FROM charged c
WHERE NOT EXISTS (SELECT 1 FROM callback_attempt a WHERE a.callback_id = c.id AND a.seq = c.seq)";

pub(super) async fn refund(
    pool: &Pool,
    refund: &Refund,
) -> Result<Vec<ChargedAttempt>, StoreError> {
    let client = pool.client().await?;
    let ids: Vec<i64> = refund.attempts.iter().map(|attempt| attempt.id.0).collect();
    let seqs: Vec<i64> = refund.attempts.iter().map(|attempt| attempt.seq).collect();
    let refunding = async {
        let statement = client.prepare_cached(REFUND).await?;
        let due = refund.due.as_millis();
        client
            .query(&statement, &[&ids, &seqs, &refund.reason, &due])
            .await
    };
    let unknown = refunding.await.map_err(|error| store_error(&error))?;
    Ok(unknown
        .iter()
        .map(|row| ChargedAttempt {
            id: CallbackId(row.get(0)),
            seq: row.get(1),
        })
        .collect())
}
