//! Putting due callbacks in flight, and taking back those that were not sent.

use rusqlite::Connection;

use super::commands::pausing::Paused;
use super::connection::store_error;
use super::rows::{self, ReadRow};
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::gateway_row::{GATEWAY_COLUMNS, callback};
use crate::store::lease::new_token;
use crate::store::{Claim, ClaimedCallback, Lease, Origin, Share, StoreError, Want};

/// The earliest due callbacks of an origin. Found by a walk along the index `callback_due`, which
/// ends after `limit` of them: it costs the same at any depth.
pub(super) const DUE: &str = "
FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL AND held = 0
  AND origin = CAST(?1 AS TEXT) AND next_attempt_at <= ?2
ORDER BY next_attempt_at, id LIMIT ?3";

/// One row at a time: an UPDATE … RETURNING would build a table of its own in each claim.
pub(super) const LEASE: &str = "
UPDATE callback_queue SET leased_until = ?1, leased_at = ?2, lease_token = ?3 WHERE id = ?4";

/// Not to be met again by a claim, until its app is resumed.
pub(super) const SET_ASIDE: &str = "UPDATE callback_queue SET held = 1 WHERE id = ?1";

/// Callbacks of paused apps that are set aside in one claim, for each origin.
const SET_ASIDE_MAX: usize = 1000;

/// When the next callback of an origin is due.
pub(super) const THEN_DUE: &str = "
SELECT next_attempt_at FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL AND held = 0 AND origin = CAST(?1 AS TEXT)
ORDER BY next_attempt_at LIMIT 1";

/// Where the gateway's columns begin in the answer.
const GATEWAY_COLUMNS_AT: usize = 4;

/// Where `app_id` stands among them.
const APP_ID_AT: usize = GATEWAY_COLUMNS_AT + 2;

pub(super) fn claim(db: &Connection, claim: &Claim) -> Result<Vec<Share>, StoreError> {
    // One token per claim is enough: id and token together name a lease.
    let token = new_token()?;
    let share = |want: &Want, paused: &Paused| {
        if paused.has_origin(&want.origin) {
            return Ok(Share::default());
        }
        Ok(Share {
            callbacks: take(db, claim, want, token, paused)?,
            then_due: then_due(db, &want.origin)?,
        })
    };
    let shares = || -> rusqlite::Result<Vec<Share>> {
        let paused = Paused::read(db)?;
        let wants = claim.wants.iter();
        wants
            .map(|want| share(want, &paused))
            .collect::<rusqlite::Result<_>>()
    };
    let shares = shares().map_err(|error| store_error(&error))?;
    failpoint::here!("claim-before-commit");
    Ok(shares)
}

fn take(
    db: &Connection,
    claim: &Claim,
    want: &Want,
    token: i64,
    paused: &Paused,
) -> rusqlite::Result<Vec<ClaimedCallback>> {
    let callbacks = due(db, claim, want, token, paused)?;
    let now = claim.now.as_millis();
    let until = claim.now.after(claim.lease).as_millis();
    let mut statement = db.prepare_cached(LEASE)?;
    for callback in &callbacks {
        statement.execute((until, now, token, callback.lease.id().0))?;
    }
    Ok(callbacks)
}

fn due(
    db: &Connection,
    claim: &Claim,
    want: &Want,
    token: i64,
    paused: &Paused,
) -> rusqlite::Result<Vec<ClaimedCallback>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, attempts, created_at, attempt_seq, {GATEWAY_COLUMNS}{DUE}"
    ))?;
    let origin = want.origin.as_bytes();
    let limit = match paused.has_apps() {
        true => want.limit + SET_ASIDE_MAX,
        false => want.limit,
    };
    let mut found = statement.query((origin, claim.now.as_millis(), limit))?;
    let mut callbacks = Vec::with_capacity(want.limit);
    let mut aside = Vec::new();
    while callbacks.len() < want.limit
        && let Some(row) = found.next()?
    {
        let id = CallbackId(row.get(0)?);
        if paused.has_apps() && paused.has_app(row.get_ref(APP_ID_AT)?.as_bytes()?) {
            aside.push(id);
            continue;
        }
        let seq = row.get::<_, i64>(3)? + 1;
        let columns = ReadRow {
            row,
            first: GATEWAY_COLUMNS_AT,
        };
        callbacks.push(ClaimedCallback {
            lease: Lease::new(id, token, seq),
            attempts: row.get(1)?,
            created_at: rows::timestamp(row, 2)?,
            callback: callback(&columns, id).map(Box::new),
        });
    }
    drop(found);
    for id in aside {
        db.prepare_cached(SET_ASIDE)?.execute([id.0])?;
    }
    Ok(callbacks)
}

fn then_due(db: &Connection, origin: &Origin) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(THEN_DUE)?;
    let mut rows = statement.query([origin.as_bytes()])?;
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
