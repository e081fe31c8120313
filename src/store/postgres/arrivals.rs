//! What there is to do: notifications of new rows, and surveys of all endpoints.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::connection::Pool;
use super::listener::Listener;
use super::rows::endpoint;
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::pausing::Paused;
use crate::store::{Arrivals, Endpoint, EndpointDue, StoreError, Survey};

const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM callback_queue";

pub(super) async fn newest(pool: &Pool) -> Result<CallbackId, StoreError> {
    let client = pool.client().await?;
    let row = client.within(client.query_one(NEWEST, &[])).await?;
    Ok(CallbackId(row.get(0)))
}

const POLL: &str = "
SELECT (SELECT coalesce(max(id), 0) FROM callback_queue),
       EXISTS (SELECT 1 FROM operator_command WHERE finished_at IS NULL)";

/// A row above the newest id is new, but one below it may be new as well: transactions commit in
/// another order than they take their ids. So a higher id without a notification only asks for a
/// survey.
pub(super) async fn arrivals(
    pool: &Pool,
    listener: &Listener,
    after: CallbackId,
) -> Result<Arrivals, StoreError> {
    let notified = listener.take();
    let polling = async {
        let client = pool.client().await?;
        let polled = async {
            let statement = client.prepare_cached(POLL).await?;
            client.query_one(&statement, &[]).await
        };
        client.within(polled).await
    };
    let row = match polling.await {
        Ok(row) => row,
        Err(error) => {
            listener.put_back(notified);
            return Err(error);
        }
    };
    let newest = CallbackId(row.get(0));
    let has_grown = newest > after;
    let is_unannounced = has_grown && notified.endpoints.is_empty();
    let due = notified.endpoints.into_iter().map(|endpoint| EndpointDue {
        endpoint,
        // When, the claim will tell.
        due: Timestamp::from_millis(0),
    });
    Ok(Arrivals {
        due: due.collect(),
        newest: has_grown.then_some(newest),
        more: false,
        changed_elsewhere: notified.missed || is_unannounced,
        has_commands: row.get(1),
    })
}

/// The endpoints that are after one, in their order. One seek in the index for each, so it costs by
/// the endpoints, not by the rows.
const ENDPOINTS: &str = "
WITH RECURSIVE step (app_id, origin, next_attempt_at, taken) AS (
  (SELECT app_id, origin, next_attempt_at, 1::bigint FROM callback_queue
   WHERE state = 'pending' AND leased_until IS NULL AND (app_id, origin) > ($1, $2)
   ORDER BY app_id, origin, next_attempt_at, id LIMIT 1)
  UNION ALL
  SELECT next.app_id, next.origin, next.next_attempt_at, step.taken + 1
  FROM step CROSS JOIN LATERAL (
    SELECT q.app_id, q.origin, q.next_attempt_at FROM callback_queue q
    WHERE q.state = 'pending' AND q.leased_until IS NULL
      AND (q.app_id, q.origin) > (step.app_id, step.origin)
    ORDER BY q.app_id, q.origin, q.next_attempt_at, q.id LIMIT 1
  ) next
  WHERE step.taken < $3
)
SELECT app_id, origin, next_attempt_at FROM step ORDER BY taken";

/// At most `limit` endpoints, paused or not, each with the moment at which its earliest callback is
/// due.
pub(super) async fn endpoints(
    client: &impl GenericClient,
    after: Option<&Endpoint>,
    limit: usize,
) -> Result<Vec<EndpointDue>, StoreError> {
    let app_id = after
        .map(|after| after.app_id.as_text())
        .unwrap_or_default();
    let origin = after
        .map(|after| after.origin.as_text())
        .unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(ENDPOINTS).await?;
    let found = client
        .query(&statement, &[&app_id, &origin, &limit])
        .await?;
    let read = |row: &Row| {
        Ok(EndpointDue {
            endpoint: endpoint(row, 0)?,
            due: Timestamp::from_millis(row.try_get(2)?),
        })
    };
    found.iter().map(read).collect()
}

/// The endpoints that are not paused, of the next `limit` ones.
pub(super) async fn survey(
    pool: &Pool,
    after: Option<&Endpoint>,
    limit: usize,
) -> Result<Survey, StoreError> {
    let paused = Paused::read(pool).await?;
    let client = pool.client().await?;
    let found = client.within(endpoints(&*client, after, limit)).await?;
    Ok(paused.survey(found, limit))
}

/// The earliest moment at which a callback is due that waits and is not paused.
pub(super) async fn oldest_due(pool: &Pool) -> Result<Option<Timestamp>, StoreError> {
    Ok(survey(pool, None, usize::MAX).await?.oldest_due())
}
