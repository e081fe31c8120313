//! What is there to do: what was heard of, and a round over all origins.

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::connection::Pool;
use super::error::store_error;
use super::listener::Listener;
use crate::domain::{CallbackId, Timestamp};
use crate::store::{Arrivals, Origin, OriginDue, StoreError};

const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM callback_queue";

pub(super) async fn newest(pool: &Pool) -> Result<CallbackId, StoreError> {
    let client = pool.client().await?;
    let row = client.query_one(NEWEST, &[]).await;
    row.map(|row| CallbackId(row.get(0)))
        .map_err(|error| store_error(&error))
}

const LOOK: &str = "
SELECT (SELECT coalesce(max(id), 0) FROM callback_queue),
       EXISTS (SELECT 1 FROM operator_command WHERE finished_at IS NULL)";

/// A row above the newest id is new, but one below it may be new as well: transactions commit in
/// another order than they take their ids. So the ids only tell that there is something to be
/// surveyed, where nobody was heard to say what.
pub(super) async fn arrivals(
    pool: &Pool,
    listener: &Listener,
    after: CallbackId,
) -> Result<Arrivals, StoreError> {
    let heard = listener.take();
    let looking = async {
        let client = pool.client().await?;
        let looked = async {
            let statement = client.prepare_cached(LOOK).await?;
            client.query_one(&statement, &[]).await
        };
        looked.await.map_err(|error| store_error(&error))
    };
    let row = match looking.await {
        Ok(row) => row,
        Err(error) => {
            listener.put_back(heard);
            return Err(error);
        }
    };
    let newest = CallbackId(row.get(0));
    let has_grown = newest > after;
    let is_unheard_of = has_grown && heard.origins.is_empty();
    let due = heard.origins.into_iter().map(|origin| OriginDue {
        origin,
        // When, the claim will tell.
        due: Timestamp::from_millis(0),
    });
    Ok(Arrivals {
        due: due.collect(),
        newest: has_grown.then_some(newest),
        more: false,
        changed_elsewhere: heard.missed || is_unheard_of,
        has_commands: row.get(1),
    })
}

/// Steps from origin to origin by index, so it costs by the origins, not by the rows.
const SURVEY: &str = "
WITH RECURSIVE step (origin, taken) AS (
  (SELECT origin, 1::bigint FROM callback_queue
   WHERE state = 'pending' AND leased_until IS NULL AND held = 0 AND origin > $1
   ORDER BY origin LIMIT 1)
  UNION ALL
  SELECT next.origin, step.taken + 1 FROM step CROSS JOIN LATERAL (
    SELECT q.origin FROM callback_queue q
    WHERE q.state = 'pending' AND q.leased_until IS NULL AND q.held = 0 AND q.origin > step.origin
    ORDER BY q.origin LIMIT 1
  ) next
  WHERE step.taken < $2
)
SELECT step.origin, due.next_attempt_at FROM step CROSS JOIN LATERAL (
  SELECT q.next_attempt_at FROM callback_queue q
  WHERE q.state = 'pending' AND q.leased_until IS NULL AND q.held = 0 AND q.origin = step.origin
  ORDER BY q.next_attempt_at, q.id LIMIT 1
) due ORDER BY step.taken";

pub(super) async fn survey(
    pool: &Pool,
    after: Option<&Origin>,
    limit: usize,
) -> Result<Vec<OriginDue>, StoreError> {
    let client = pool.client().await?;
    let after = after.map(Origin::as_text).unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let surveying = async {
        let statement = client.prepare_cached(SURVEY).await?;
        client.query(&statement, &[&after, &limit]).await
    };
    let found = surveying.await.map_err(|error| store_error(&error))?;
    Ok(found.iter().map(origin_due).collect())
}

fn origin_due(row: &Row) -> OriginDue {
    OriginDue {
        origin: Origin::new(row.get::<_, &str>(0)),
        due: Timestamp::from_millis(row.get(1)),
    }
}

/// The earliest moment at which a callback is due that waits and is not paused.
pub(super) async fn oldest_due(client: &Client) -> Result<Option<Timestamp>, StoreError> {
    // Round all origins: the index is ordered by origin first.
    let sql = format!(
        "SELECT min(next_attempt_at) FROM ({SURVEY}) surveyed WHERE NOT EXISTS (
           SELECT 1 FROM paused WHERE scope = 'origin' AND name = origin)"
    );
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_one(&statement, &[&"", &i64::MAX]).await?;
    Ok(row.get::<_, Option<i64>>(0).map(Timestamp::from_millis))
}
