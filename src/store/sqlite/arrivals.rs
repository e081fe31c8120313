//! What there is to do: new rows by their id, and surveys of all endpoints.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::connection::store_error;
use super::rows::{Text, endpoint, timestamp, timestamp_or_null};
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::pausing::Paused;
use crate::store::session::at_once;
use crate::store::{Arrivals, Endpoint, EndpointDue, StoreError, Survey};

/// Ids are given in ascending order and never reused (AUTOINCREMENT), and SQLite commits one
/// transaction at a time: a row above the newest id is new, and a new one is above it. A gateway
/// that chooses ids of its own is served by the survey.
pub(super) const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM callback_queue";

pub(super) fn newest(db: &Connection) -> Result<CallbackId, StoreError> {
    db.prepare_cached(NEWEST)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map(CallbackId)
        .map_err(|error| store_error(&error))
}

/// A number that changes when another connection commits, and only then.
pub(super) fn data_version(db: &Connection) -> Result<i64, StoreError> {
    db.prepare_cached("PRAGMA data_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| store_error(&error))
}

pub(super) fn arrivals(
    db: &Connection,
    after: CallbackId,
    limit: usize,
) -> Result<Arrivals, StoreError> {
    let mut arrivals = read_arrivals(db, after, limit).map_err(|error| store_error(&error))?;
    let paused = at_once(Paused::read(db))?;
    arrivals.due.retain(|due| !paused.has(&due.endpoint));
    Ok(arrivals)
}

/// By id alone.
pub(super) const ARRIVALS: &str = "
SELECT id, next_attempt_at, app_id, origin FROM callback_queue NOT INDEXED
WHERE id > ?1 ORDER BY id LIMIT ?2";

fn read_arrivals(db: &Connection, after: CallbackId, limit: usize) -> rusqlite::Result<Arrivals> {
    let mut statement = db.prepare_cached(ARRIVALS)?;
    let mut rows = statement.query((after.0, limit))?;
    let mut due: BTreeMap<Endpoint, Timestamp> = BTreeMap::new();
    let mut arrivals = Arrivals::default();
    let mut read = 0;
    while let Some(row) = rows.next()? {
        read += 1;
        arrivals.newest = Some(CallbackId(row.get(0)?));
        if let Some(moment) = timestamp_or_null(row, 1)? {
            let earliest = due.entry(endpoint(row, 2)?).or_insert(moment);
            *earliest = moment.min(*earliest);
        }
    }
    arrivals.more = read == limit;
    arrivals.has_commands = has_commands(db)?;
    arrivals.due = due
        .into_iter()
        .map(|(endpoint, due)| EndpointDue { endpoint, due })
        .collect();
    Ok(arrivals)
}

/// Whether an operator's command is to be carried out.
pub(super) const HAS_COMMANDS: &str = "
SELECT EXISTS (SELECT 1 FROM operator_command INDEXED BY operator_command_open
               WHERE finished_at IS NULL)";

fn has_commands(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached(HAS_COMMANDS)?
        .query_row([], |row| row.get(0))
}

/// The endpoint after another one, with its earliest callback. One seek in the index, so a survey
/// costs by the endpoints, not by the rows.
pub(super) const NEXT_ENDPOINT: &str = "
SELECT next_attempt_at, app_id, origin FROM callback_queue INDEXED BY callback_due
WHERE state = 'pending' AND leased_until IS NULL
  AND (app_id, origin) > (?1, ?2)
ORDER BY app_id, origin, next_attempt_at LIMIT 1";

/// At most `limit` endpoints after one, in their order, paused or not.
pub(super) fn endpoints(
    db: &Connection,
    after: Option<&Endpoint>,
    limit: usize,
) -> Result<Vec<EndpointDue>, StoreError> {
    let mut found: Vec<EndpointDue> = Vec::new();
    while found.len() < limit {
        let last = found.last().map(|last| &last.endpoint).or(after);
        match next_endpoint(db, last).map_err(|error| store_error(&error))? {
            Some(next) => found.push(next),
            None => break,
        }
    }
    Ok(found)
}

pub(super) fn survey(
    db: &Connection,
    after: Option<&Endpoint>,
    limit: usize,
) -> Result<Survey, StoreError> {
    let paused = at_once(Paused::read(db))?;
    Ok(paused.survey(endpoints(db, after, limit)?, limit))
}

fn next_endpoint(
    db: &Connection,
    after: Option<&Endpoint>,
) -> rusqlite::Result<Option<EndpointDue>> {
    let app_id = after.map_or(&[][..], |after| after.app_id.as_bytes());
    let origin = after.map_or(&[][..], |after| after.origin.as_bytes());
    db.prepare_cached(NEXT_ENDPOINT)?
        .query_row((Text(app_id), Text(origin)), |row| {
            Ok(EndpointDue {
                endpoint: endpoint(row, 1)?,
                due: timestamp(row, 0)?,
            })
        })
        .optional()
}

/// The earliest moment at which a callback is due that waits and is not paused.
pub(super) fn oldest_due(db: &Connection) -> Result<Option<Timestamp>, StoreError> {
    Ok(survey(db, None, usize::MAX)?.oldest_due())
}
