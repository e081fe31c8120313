//! Putting due callbacks in flight, and taking back those that were not sent.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;

use super::connection::Pool;
use super::error::store_error;
use super::fleet::Fleet;
use super::rows::ReadRow;
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::gateway_row::{GATEWAY_COLUMNS, callback};
use crate::store::lease::new_token;
use crate::store::{Claim, ClaimedCallback, Lease, Share, StoreError};

/// Takes the earliest due callbacks of each origin, by a walk along the index `callback_due` past
/// those that another claim is just taking. The fence: `picked` is made once, whatever the planner
/// thinks of the join, so that no more rows are taken than were asked for.
///
/// Callbacks of a paused app are not leased but set aside; nothing is taken for a paused origin. The
/// `FOR KEY SHARE` makes a pause or resume wait for this claim, or the claim for it, before it looks
/// at anything.
const CLAIM: &str = "
WITH picked AS MATERIALIZED (
  SELECT w.place, q.id, EXISTS (
      SELECT 1 FROM paused WHERE scope = 'app' AND name = q.app_id FOR KEY SHARE) AS is_paused
  FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (origin, count, place)
  CROSS JOIN LATERAL (
    SELECT id, app_id FROM callback_queue
    WHERE state = 'pending' AND leased_until IS NULL AND held = 0
      AND origin = w.origin AND next_attempt_at <= $3
    ORDER BY next_attempt_at, id LIMIT w.count
    FOR UPDATE SKIP LOCKED
  ) q
  WHERE NOT EXISTS (
    SELECT 1 FROM paused WHERE scope = 'origin' AND name = w.origin FOR KEY SHARE)
), claimed AS (
  UPDATE callback_queue q
  SET held = CASE WHEN is_paused THEN 1 ELSE 0 END,
      leased_until = CASE WHEN is_paused THEN NULL ELSE callback_now() + $5 END,
      leased_at = CASE WHEN is_paused THEN NULL ELSE $3::bigint END,
      lease_token = CASE WHEN is_paused THEN NULL ELSE $4::bigint END
  FROM picked WHERE q.id = picked.id
  RETURNING place, is_paused, q.next_attempt_at, q.id, attempts, created_at, attempt_seq, {columns}
)
SELECT * FROM claimed ORDER BY place, next_attempt_at, id";

/// Where `id` stands in the answer, and where the gateway's columns begin.
const ID_AT: usize = 3;
const GATEWAY_COLUMNS_AT: usize = 7;

/// Where a claim has met callbacks of paused apps, more of them are set aside, so that it does not
/// take a claim for each few of them until the others behind them have their turn.
const SET_ASIDE: &str = "
WITH met AS MATERIALIZED (
  SELECT q.id FROM unnest($1::text[]) AS w (origin)
  CROSS JOIN LATERAL (
    SELECT id, app_id FROM callback_queue
    WHERE state = 'pending' AND leased_until IS NULL AND held = 0
      AND origin = w.origin AND next_attempt_at <= $2
    ORDER BY next_attempt_at, id LIMIT $3
  ) q
  WHERE EXISTS (SELECT 1 FROM paused WHERE scope = 'app' AND name = q.app_id FOR KEY SHARE)
), locked AS MATERIALIZED (
  SELECT q.id FROM met CROSS JOIN LATERAL (
    SELECT id FROM callback_queue WHERE id = met.id FOR UPDATE SKIP LOCKED
  ) q
)
UPDATE callback_queue q SET held = 1 FROM locked
WHERE q.id = locked.id AND q.state = 'pending' AND q.leased_until IS NULL";

/// Callbacks that are looked at for that in one claim, for each origin.
const SET_ASIDE_MAX: i64 = 1000;

/// When the next callback of each origin is due.
const THEN_DUE: &str = "
SELECT (SELECT next_attempt_at FROM callback_queue
        WHERE state = 'pending' AND leased_until IS NULL AND held = 0 AND origin = w.origin
          AND NOT EXISTS (SELECT 1 FROM paused WHERE scope = 'origin' AND name = w.origin)
        ORDER BY next_attempt_at, id LIMIT 1)
FROM unnest($1::text[]) WITH ORDINALITY AS w (origin, place) ORDER BY place";

pub(super) async fn claim(
    pool: &Pool,
    fleet: &Fleet,
    claim: &Claim,
) -> Result<Vec<Share>, StoreError> {
    let client = pool.client().await?;
    // One token per claim is enough: id and token together name a lease.
    let token = new_token()?;
    let term = fleet.begin_term(token);
    let origins: Vec<_> = claim
        .wants
        .iter()
        .map(|want| want.origin.as_text())
        .collect();
    let counts: Vec<i64> = claim
        .wants
        .iter()
        .map(|want| i64::try_from(want.limit).unwrap_or(i64::MAX))
        .collect();
    let lease = i64::try_from(claim.lease.min(fleet.lease()).as_millis()).unwrap_or(i64::MAX);
    let now = claim.now.as_millis();
    let sql = CLAIM.replace("{columns}", GATEWAY_COLUMNS);
    let asking = async {
        let claiming = client.prepare_cached(&sql).await?;
        let looking = client.prepare_cached(THEN_DUE).await?;
        // Both are on their way at once, and the server does one after the other.
        let (claimed, mut then_due) = futures_util::future::try_join(
            client.query(&claiming, &[&origins, &counts, &now, &token, &lease]),
            client.query(&looking, &[&origins]),
        )
        .await?;
        let met = met_paused(&claimed, &origins);
        if !met.is_empty() {
            let setting_aside = client.prepare_cached(SET_ASIDE).await?;
            (_, then_due) = futures_util::future::try_join(
                client.execute(&setting_aside, &[&met, &now, &SET_ASIDE_MAX]),
                client.query(&looking, &[&origins]),
            )
            .await?;
        }
        Ok((claimed, then_due))
    };
    let (claimed, then_due) = asking.await.map_err(|error: tokio_postgres::Error| {
        fleet.unheard(token);
        store_error(&error)
    })?;
    failpoint::here!("claim-before-commit");
    let mut shares: Vec<Share> = then_due
        .iter()
        .map(|row| Share {
            callbacks: Vec::new(),
            then_due: row.get::<_, Option<i64>>(0).map(Timestamp::from_millis),
        })
        .collect();
    for row in claimed.iter().filter(|row| !is_paused(row)) {
        let Some(share) = place(row).and_then(|place| shares.get_mut(place)) else {
            continue;
        };
        let id = CallbackId(row.get(ID_AT));
        let seq = row.get::<_, i64>(6) + 1;
        let columns = ReadRow {
            row,
            first: GATEWAY_COLUMNS_AT,
        };
        share.callbacks.push(ClaimedCallback {
            lease: Lease::for_a_term(id, token, seq, Arc::clone(&term)),
            attempts: u32::try_from(row.get::<_, i64>(4)).unwrap_or(u32::MAX),
            created_at: Timestamp::from_millis(row.get(5)),
            callback: callback(&columns, id).map(Box::new),
        });
    }
    Ok(shares)
}

/// Which want a claimed row belongs to.
fn place(row: &Row) -> Option<usize> {
    usize::try_from(row.get::<_, i64>(0)).ok()?.checked_sub(1)
}

fn is_paused(row: &Row) -> bool {
    row.get(1)
}

/// The origins of which callbacks were set aside.
fn met_paused<'a>(claimed: &[Row], origins: &[Cow<'a, str>]) -> Vec<Cow<'a, str>> {
    let met = claimed.iter().filter(|row| is_paused(row));
    let places: BTreeSet<usize> = met.filter_map(place).collect();
    let named = places.into_iter().filter_map(|place| origins.get(place));
    named.cloned().collect()
}

/// Only what is still claimed under this lease.
const RELEASE: &str = "
UPDATE callback_queue q SET leased_until = NULL, leased_at = NULL, lease_token = NULL
FROM unnest($1::bigint[], $2::bigint[]) AS lease (id, token)
WHERE q.id = lease.id AND q.lease_token = lease.token";

pub(super) async fn release(pool: &Pool, leases: &[Lease]) -> Result<(), StoreError> {
    let client = pool.client().await?;
    let ids: Vec<i64> = leases.iter().map(|lease| lease.id().0).collect();
    let tokens: Vec<i64> = leases.iter().map(Lease::token).collect();
    let releasing = async {
        let statement = client.prepare_cached(RELEASE).await?;
        client.execute(&statement, &[&ids, &tokens]).await
    };
    releasing
        .await
        .map(|_| ())
        .map_err(|error| store_error(&error))
}
