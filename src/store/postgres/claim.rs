//! Putting due callbacks in flight, and taking back those that were not sent.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Client;
use futures_util::future::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::Pool;
use super::fleet::Fleet;
use super::rows::ReadRow;
use super::walks::{Walked, Walks};
use crate::clock::Stopwatch;
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::gateway_row::{GATEWAY_COLUMNS, callback};
use crate::store::{CLAIM_BYTES_MAX, Claim, ClaimResult, ClaimedCallback, Lease, StoreError};

/// Puts in flight, and answers with the ids alone: the server commits when the answer is sent, and a
/// dispatcher that has been stopped reads none. So the answer has to fit into what is sent unread, or
/// the rows stay locked. What they hold is read afterwards, see [`READ`].
///
/// Takes the earliest due callbacks of each endpoint, by a walk along the index `callback_due` past
/// those that another claim is just taking; for where it begins see `walks`. The fence: `picked` is made once, whatever the planner
/// thinks of the join, so that no more rows are taken than were asked for.
///
/// Of what was picked, the texts of what is taken come to [`CLAIM_BYTES_MAX`] with the last of them.
///
/// Nothing is taken for a paused endpoint. The `FOR KEY SHARE` makes a pause or resume wait for this
/// claim, or the claim for it, before it looks at anything.
const CLAIM: &str = "
WITH picked AS MATERIALIZED (
  SELECT r.place, q.id, sum(q.bytes) OVER (ORDER BY r.place, q.next_attempt_at, q.id) - q.bytes AS bytes_before
  FROM unnest($1::text[], $2::text[], $3::bigint[], $8::bigint[]) WITH ORDINALITY
    AS r (app_id, origin, count, begin_at, place)
  CROSS JOIN LATERAL (
    SELECT id, next_attempt_at, octet_length(app_id) + octet_length(amount) + octet_length(newpay_order_no)
      + octet_length(order_no) + coalesce(octet_length(newpay_refund_order_no), 0)
      + coalesce(octet_length(refund_order_no), 0) + octet_length(subject) + octet_length(extra)
      + octet_length(trans_info) AS bytes
    FROM callback_queue
    WHERE state = 'pending' AND leased_until IS NULL
      AND app_id = r.app_id AND origin = r.origin AND next_attempt_at BETWEEN r.begin_at AND $4
    ORDER BY next_attempt_at, id LIMIT r.count
    FOR UPDATE SKIP LOCKED
  ) q
  WHERE NOT EXISTS (
    SELECT 1 FROM paused WHERE (scope = 'app' AND name = r.app_id) OR (scope = 'origin' AND name = r.origin)
    FOR KEY SHARE)
), claimed AS (
  UPDATE callback_queue q
  SET leased_until = callback_now() + $6, leased_at = $4, lease_token = $5
  FROM picked WHERE q.id = picked.id AND bytes_before < $7
  RETURNING place, q.id
)
SELECT array_agg(id), array_agg(place::integer) FROM claimed";

/// What was claimed.
const READ: &str = "
SELECT r.place, q.next_attempt_at, q.id, attempts, created_at, attempt_seq, to_url, {columns}
FROM unnest($1::bigint[], $2::integer[]) AS r (id, place)
JOIN callback_queue q ON q.id = r.id
WHERE q.lease_token = $3
ORDER BY r.place, q.next_attempt_at, q.id";

/// The pause before callbacks are claimed again that are due and that another session has locked.
const LOCKED_PAUSE: Duration = Duration::from_millis(500);

/// Where `id` stands in the answer, and where the gateway's columns begin.
const ID_AT: usize = 2;
const GATEWAY_COLUMNS_AT: usize = 7;

/// When the next callback of each endpoint is due.
const THEN_DUE: &str = "
SELECT (SELECT next_attempt_at FROM callback_queue
        WHERE state = 'pending' AND leased_until IS NULL
          AND app_id = r.app_id AND origin = r.origin AND next_attempt_at >= r.begin_at
          AND NOT EXISTS (SELECT 1 FROM paused
            WHERE (scope = 'app' AND name = r.app_id) OR (scope = 'origin' AND name = r.origin))
        ORDER BY next_attempt_at, id LIMIT 1)
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS r (app_id, origin, begin_at, place) ORDER BY place";

pub(super) async fn claim(
    pool: &Pool,
    fleet: &Fleet,
    walks: &Walks,
    claim: &Claim,
) -> Result<Vec<ClaimResult>, StoreError> {
    let client = pool.client().await?;
    // One token per claim is enough: id and token together name a lease.
    let token = fleet.begin_claim()?;
    let skew = fleet.skew();
    let now = skew.there(claim.now).as_millis();
    let begun_at = walks.begin(&claim.requests);
    let asked = client
        .within(ask(&client, claim, token, now, &begun_at))
        .await;
    let asked = asked.inspect_err(|_| fleet.claim_failed(token))?;
    let deadline = fleet.claimed(token);
    failpoint::here!("claim-after-commit");
    let walked = Walked {
        begun_at: &begun_at,
        then_due: &asked.then_due,
        now,
        took: asked.walk,
    };
    let walks_again = walks.end(&claim.requests, &walked);
    let here = |due: i64| skew.here(Timestamp::from_millis(due));
    let mut results: Vec<ClaimResult> = asked
        .then_due
        .iter()
        .map(|due| ClaimResult {
            callbacks: Vec::new(),
            then_due: due.map(here),
        })
        .collect();
    for row in &asked.claimed {
        let Some(result) = place(row).and_then(|place| results.get_mut(place)) else {
            continue;
        };
        let id = CallbackId(row.get(ID_AT));
        let seq = row.get::<_, i64>(5) + 1;
        let columns = ReadRow {
            row,
            first: GATEWAY_COLUMNS_AT,
        };
        result.callbacks.push(ClaimedCallback {
            lease: Lease::with_deadline(id, token, seq, Arc::clone(&deadline)),
            attempts: u32::try_from(row.get::<_, i64>(3)).unwrap_or(u32::MAX),
            created_at: here(row.get(4)),
            callback: callback(&columns, id, row.get(6)).map(Box::new),
        });
    }
    let each = claim.requests.iter().zip(&mut results).zip(walks_again);
    for ((request, result), walks_again) in each {
        let is_due = result.then_due.is_some_and(|due| due <= claim.now);
        if is_due && result.callbacks.len() < request.limit {
            result.then_due = Some(claim.now.after(LOCKED_PAUSE));
        }
        if let Some(pause) = walks_again {
            let again = claim.now.after(pause);
            result.then_due = Some(result.then_due.map_or(again, |due| due.min(again)));
        }
    }
    Ok(results)
}

/// What the server has answered.
struct Asked {
    claimed: Vec<Row>,
    then_due: Vec<Option<i64>>,
    /// How long it took to find out what is due then.
    walk: Duration,
}

async fn ask(
    client: &Client,
    claim: &Claim,
    token: i64,
    now: i64,
    begun_at: &[i64],
) -> Result<Asked, tokio_postgres::Error> {
    let endpoints = claim.requests.iter().map(|request| &request.endpoint);
    let apps: Vec<_> = endpoints.clone().map(|to| to.app_id.as_text()).collect();
    let origins: Vec<_> = endpoints.map(|to| to.origin.as_text()).collect();
    let limits = claim.requests.iter().map(|request| request.limit);
    let counts: Vec<i64> = limits
        .map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
        .collect();
    // For people; what decides is the heartbeat.
    let lease = i64::try_from(claim.lease.as_millis()).unwrap_or(i64::MAX);
    let budget = i64::try_from(CLAIM_BYTES_MAX).unwrap_or(i64::MAX);
    let claiming = client.prepare_cached(CLAIM).await?;
    let looking = client.prepare_cached(THEN_DUE).await?;
    // Both are on their way at once, and the server does one after the other.
    let claim = async {
        let values: [&(dyn ToSql + Sync); 8] = [
            &apps, &origins, &counts, &now, &token, &lease, &budget, &begun_at,
        ];
        let claimed = client.query_one(&claiming, &values).await?;
        Ok((claimed, Stopwatch::start()))
    };
    let look = async {
        let rows = client
            .query(&looking, &[&apps, &origins, &begun_at])
            .await?;
        Ok((rows, Stopwatch::start()))
    };
    let ((claimed, claimed_at), (then_due, looked_at)) = try_join(claim, look).await?;
    let walk = claimed_at.elapsed().saturating_sub(looked_at.elapsed());
    let (ids, places): (Option<Vec<i64>>, Option<Vec<i32>>) = (claimed.get(0), claimed.get(1));
    let claimed = match (ids, places) {
        (Some(ids), Some(places)) => {
            let read = READ.replace("{columns}", GATEWAY_COLUMNS);
            let reading = client.prepare_cached(&read).await?;
            client.query(&reading, &[&ids, &places, &token]).await?
        }
        _ => Vec::new(),
    };
    Ok(Asked {
        claimed,
        then_due: then_due.iter().map(|row| row.get(0)).collect(),
        walk,
    })
}

/// Which request a claimed row belongs to.
fn place(row: &Row) -> Option<usize> {
    usize::try_from(row.get::<_, i32>(0)).ok()?.checked_sub(1)
}

/// Only what is still claimed under this lease.
const RELEASE: &str = "
WITH held AS MATERIALIZED (
  SELECT q.id FROM callback_queue q
  JOIN unnest($1::bigint[], $2::bigint[]) AS lease (id, token)
    ON q.id = lease.id AND q.lease_token = lease.token
  ORDER BY q.id FOR UPDATE OF q
)
UPDATE callback_queue q SET leased_until = NULL, leased_at = NULL, lease_token = NULL
FROM held WHERE q.id = held.id";

pub(super) async fn release(pool: &Pool, leases: &[Lease]) -> Result<(), StoreError> {
    let client = pool.client().await?;
    let ids: Vec<i64> = leases.iter().map(|lease| lease.id().0).collect();
    let tokens: Vec<i64> = leases.iter().map(Lease::token).collect();
    let releasing = async {
        let statement = client.prepare_cached(RELEASE).await?;
        client.execute(&statement, &[&ids, &tokens]).await
    };
    client
        .within::<_, tokio_postgres::Error>(releasing)
        .await
        .map(drop)
}
