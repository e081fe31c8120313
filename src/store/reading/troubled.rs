//! Endpoints that may need a person, by the indexes of what waits and of what has ended.

use std::time::Duration;

use crate::domain::{LOCAL_FAULT_WAIT, Timestamp};
use crate::store::session::{Row, Session};
use crate::store::{StoreError, TROUBLED_MAX, TroubledEndpoint};

const DAY: Duration = Duration::from_secs(86_400);

/// What is due for longer than this is late.
const LATE_AFTER: Duration = Duration::from_secs(60);

const TROUBLED: &str = "
SELECT app_id, origin, sum(waits) AS pending, sum(unsignable) AS unsignable, sum(not_charged) AS not_charged,
  min(due) AS oldest_due, sum(given_up) AS exhausted_24h
FROM (
  SELECT app_id, origin, 1 AS waits, CASE WHEN last_outcome = 'unsignable' THEN 1 ELSE 0 END AS unsignable,
    CASE WHEN last_outcome IS NOT NULL AND last_outcome NOT IN ('interrupted', 'unsignable')
      AND next_attempt_at < ?4 AND EXISTS (SELECT 1 FROM callback_attempt a
        WHERE a.callback_id = q.id AND a.seq = q.attempt_seq AND a.counted = 0) THEN 1 ELSE 0 END AS not_charged,
    next_attempt_at AS due, 0 AS given_up
  FROM callback_queue q{ INDEXED BY callback_due|} WHERE state = 'pending' AND leased_until IS NULL
  UNION ALL
  SELECT app_id, origin, 0, 0, 0, CAST(NULL AS BIGINT), 1
  FROM callback_queue{ INDEXED BY callback_finished|}
  WHERE state = 'exhausted' AND finished_at IS NOT NULL AND finished_at >= ?1) endpoint
GROUP BY app_id, origin
HAVING sum(unsignable) > 0 OR sum(not_charged) > 0 OR sum(given_up) > 0 OR min(due) < ?2
  OR EXISTS (SELECT 1 FROM paused p WHERE (p.scope = 'app' AND p.name = endpoint.app_id)
    OR (p.scope = 'origin' AND p.name = endpoint.origin))
ORDER BY app_id, origin LIMIT ?3";

pub(super) async fn troubled(
    session: &impl Session,
    now: Timestamp,
) -> Result<Vec<TroubledEndpoint>, StoreError> {
    let endpoint = |row: &Row| {
        Ok(TroubledEndpoint {
            app_id: row.get("app_id")?,
            origin: row.get("origin")?,
            pending: row.get("pending")?,
            unsignable: row.get("unsignable")?,
            not_charged: row.get("not_charged")?,
            oldest_due: row.get("oldest_due")?,
            exhausted_24h: row.get("exhausted_24h")?,
        })
    };
    let values = [
        now.before(DAY).into(),
        now.before(LATE_AFTER).into(),
        TROUBLED_MAX.into(),
        // Only what is due as soon as that can have been tried without a charge; the log is read for no other.
        now.after(2 * LOCAL_FAULT_WAIT).into(),
    ];
    let found = session.query(TROUBLED, &values).await?;
    found.iter().map(endpoint).collect()
}
