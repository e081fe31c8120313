//! Putting due callbacks in flight, and taking back those that were not sent.

use rusqlite::Connection;

use super::connection::store_error;
use super::rows::{self, ReadRow, Text};
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::command::pausing::Paused;
use crate::store::gateway_row::{GATEWAY_COLUMNS, callback};
use crate::store::lease::new_token;
use crate::store::session::at_once;
use crate::store::{
    CLAIM_BYTES_MAX, Claim, ClaimRequest, ClaimResult, ClaimedCallback, Endpoint, Lease, StoreError,
};

/// The earliest due callbacks of an endpoint. Found by a walk along the index `callback_due`, which
/// ends after `limit` of them: it costs the same at any depth.
pub(super) const DUE: &str = "
FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL
  AND app_id = ?1 AND origin = ?2 AND next_attempt_at <= ?3
ORDER BY next_attempt_at, id LIMIT ?4";

/// One row at a time: an UPDATE … RETURNING would build a table of its own in each claim.
pub(super) const LEASE: &str = "
UPDATE callback_queue SET leased_until = ?1, leased_at = ?2, lease_token = ?3 WHERE id = ?4";

/// When the next callback of an endpoint is due.
pub(super) const THEN_DUE: &str = "
SELECT next_attempt_at FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL
  AND app_id = ?1 AND origin = ?2
ORDER BY next_attempt_at LIMIT 1";

/// Where the gateway's columns begin in the answer.
const GATEWAY_COLUMNS_AT: usize = 5;

pub(super) fn claim(db: &Connection, claim: &Claim) -> Result<Vec<ClaimResult>, StoreError> {
    // One token per claim is enough: id and token together name a lease.
    let token = new_token()?;
    let paused = at_once(Paused::read(db))?;
    let mut budget = CLAIM_BYTES_MAX;
    let mut results = || {
        let requests = claim.requests.iter();
        requests
            .map(|request| match paused.has(&request.endpoint) {
                true => Ok(ClaimResult::default()),
                false => take(db, claim, request, token, &mut budget),
            })
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let results = results().map_err(|error| store_error(&error))?;
    failpoint::here!("claim-before-commit");
    Ok(results)
}

fn take(
    db: &Connection,
    claim: &Claim,
    request: &ClaimRequest,
    token: i64,
    budget: &mut usize,
) -> rusqlite::Result<ClaimResult> {
    let callbacks = due(db, claim, request, token, budget)?;
    let now = claim.now.as_millis();
    let until = claim.now.after(claim.lease).as_millis();
    let mut statement = db.prepare_cached(LEASE)?;
    for callback in &callbacks {
        statement.execute((until, now, token, callback.lease.id().0))?;
    }
    Ok(ClaimResult {
        callbacks,
        then_due: then_due(db, &request.endpoint)?,
    })
}

fn due(
    db: &Connection,
    claim: &Claim,
    request: &ClaimRequest,
    token: i64,
    budget: &mut usize,
) -> rusqlite::Result<Vec<ClaimedCallback>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, attempts, created_at, attempt_seq, to_url, {GATEWAY_COLUMNS}{DUE}"
    ))?;
    let Endpoint { app_id, origin } = &request.endpoint;
    let mut found = statement.query((
        Text(app_id.as_bytes()),
        Text(origin.as_bytes()),
        claim.now.as_millis(),
        request.limit,
    ))?;
    let mut callbacks = Vec::with_capacity(request.limit);
    while *budget > 0
        && let Some(row) = found.next()?
    {
        let id = CallbackId(row.get(0)?);
        let seq = row.get::<_, i64>(3)? + 1;
        let columns = ReadRow {
            row,
            first: GATEWAY_COLUMNS_AT,
        };
        let callback = callback(&columns, id, row.get(4)?).map(Box::new);
        let bytes = callback
            .as_ref()
            .map_or(0, |callback| callback.text_bytes());
        *budget = budget.saturating_sub(bytes);
        callbacks.push(ClaimedCallback {
            lease: Lease::new(id, token, seq),
            attempts: row.get(1)?,
            created_at: rows::timestamp(row, 2)?,
            callback,
        });
    }
    Ok(callbacks)
}

fn then_due(
    db: &Connection,
    Endpoint { app_id, origin }: &Endpoint,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(THEN_DUE)?;
    let mut rows = statement.query((Text(app_id.as_bytes()), Text(origin.as_bytes())))?;
    rows.next()?.map(|row| rows::timestamp(row, 0)).transpose()
}

/// Only what is still claimed under this lease.
pub(super) const RELEASE: &str = "
UPDATE callback_queue SET leased_until = NULL, leased_at = NULL, lease_token = NULL
WHERE id = ?1 AND lease_token = ?2";

pub(super) fn release(db: &Connection, leases: &[Lease]) -> Result<(), StoreError> {
    let write = || {
        let mut statement = db.prepare_cached(RELEASE)?;
        for lease in leases {
            statement.execute((lease.id().0, lease.token()))?;
        }
        Ok(())
    };
    write().map_err(|error| store_error(&error))
}
