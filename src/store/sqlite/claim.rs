//! Putting due callbacks in flight.

use rusqlite::Connection;

use super::connection::store_error;
use super::rows;
use crate::domain::{CallbackId, Timestamp};
use crate::store::{Claim, ClaimedCallback, Lease, Origin, Share, StoreError, Want};

/// Takes the earliest due callbacks of an origin. Which rows is decided by a walk along the index
/// `callback_due`, which ends after `limit` of them: it costs the same at any depth.
const CLAIM: &str = "
UPDATE callback_queue
SET leased_until = ?1, leased_at = ?2, lease_token = ?3
WHERE id IN (
  SELECT id FROM callback_queue
  WHERE state = 'pending' AND leased_until IS NULL
    AND origin = CAST(?4 AS TEXT) AND next_attempt_at <= ?2
  ORDER BY next_attempt_at, id LIMIT ?5)
RETURNING id, attempts, created_at, ";

/// When the next callback of an origin is due.
const THEN_DUE: &str = "
SELECT next_attempt_at FROM callback_queue
WHERE state = 'pending' AND leased_until IS NULL AND origin = CAST(?1 AS TEXT)
ORDER BY next_attempt_at LIMIT 1";

/// Where the gateway's columns begin in [`CLAIM`]'s answer.
const GATEWAY_COLUMNS_AT: usize = 3;

pub(super) fn claim(db: &Connection, claim: &Claim) -> Result<Vec<Share>, StoreError> {
    // One token per claim is enough: id and token together name a lease.
    let token = new_token()?;
    let share = |want| {
        Ok(Share {
            callbacks: take(db, claim, want, token)?,
            then_due: then_due(db, &want.origin)?,
        })
    };
    claim
        .wants
        .iter()
        .map(share)
        .collect::<rusqlite::Result<_>>()
        .map_err(|error| store_error(&error))
}

fn take(
    db: &Connection,
    claim: &Claim,
    want: &Want,
    token: i64,
) -> rusqlite::Result<Vec<ClaimedCallback>> {
    let mut statement = db.prepare_cached(&format!("{CLAIM}{}", rows::GATEWAY_COLUMNS))?;
    let mut found = statement.query((
        claim.now.after(claim.lease).as_millis(),
        claim.now.as_millis(),
        token,
        want.origin.as_bytes(),
        want.limit,
    ))?;
    let mut callbacks = Vec::with_capacity(want.limit);
    while let Some(row) = found.next()? {
        let id = CallbackId(row.get(0)?);
        callbacks.push(ClaimedCallback {
            lease: Lease::new(id, token),
            attempts: row.get(1)?,
            created_at: rows::timestamp(row, 2)?,
            callback: rows::callback(row, id, GATEWAY_COLUMNS_AT),
        });
    }
    Ok(callbacks)
}

fn then_due(db: &Connection, origin: &Origin) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(THEN_DUE)?;
    let mut rows = statement.query([origin.as_bytes()])?;
    rows.next()?.map(|row| rows::timestamp(row, 0)).transpose()
}

fn new_token() -> Result<i64, StoreError> {
    getrandom::u64()
        .map(|random| random.cast_signed())
        .map_err(|error| StoreError::Other(format!("no randomness for a lease token: {error}")))
}
