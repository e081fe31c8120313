//! What is there to do: new rows by their id, and a round over all origins.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::connection::store_error;
use super::rows::timestamp;
use crate::domain::{CallbackId, Timestamp};
use crate::store::{Arrivals, Origin, OriginDue, StoreError};

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
    read_arrivals(db, after, limit).map_err(|error| store_error(&error))
}

/// By id alone.
pub(super) const ARRIVALS: &str = "
SELECT id, origin, next_attempt_at FROM callback_queue NOT INDEXED
WHERE id > ?1 ORDER BY id LIMIT ?2";

fn read_arrivals(db: &Connection, after: CallbackId, limit: usize) -> rusqlite::Result<Arrivals> {
    let mut statement = db.prepare_cached(ARRIVALS)?;
    let mut rows = statement.query((after.0, limit))?;
    let mut due: BTreeMap<Origin, Timestamp> = BTreeMap::new();
    let mut arrivals = Arrivals::default();
    let mut read = 0;
    while let Some(row) = rows.next()? {
        read += 1;
        arrivals.newest = Some(CallbackId(row.get(0)?));
        if let Some(moment) = row.get::<_, Option<i64>>(2)? {
            let moment = Timestamp::from_millis(moment);
            let earliest = due.entry(origin(row, 1)?).or_insert(moment);
            *earliest = moment.min(*earliest);
        }
    }
    arrivals.more = read == limit;
    arrivals.has_commands = has_commands(db)?;
    arrivals.due = due
        .into_iter()
        .map(|(origin, due)| OriginDue { origin, due })
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

/// Steps from origin to origin by index, so it costs by the origins, not by the rows.
pub(super) const SURVEY: &str = "
WITH RECURSIVE step (origin) AS (
  SELECT (SELECT origin FROM callback_queue INDEXED BY callback_due
          WHERE state = 'pending' AND leased_until IS NULL AND held = 0 AND origin > CAST(?1 AS TEXT)
          ORDER BY origin LIMIT 1)
  UNION ALL
  SELECT (SELECT q.origin FROM callback_queue q INDEXED BY callback_due
          WHERE q.state = 'pending' AND q.leased_until IS NULL AND q.held = 0 AND q.origin > step.origin
          ORDER BY q.origin LIMIT 1)
  FROM step WHERE step.origin IS NOT NULL
  LIMIT ?2
)
SELECT step.origin,
       (SELECT q.next_attempt_at FROM callback_queue q INDEXED BY callback_due
        WHERE q.state = 'pending' AND q.leased_until IS NULL AND q.held = 0 AND q.origin = step.origin
        ORDER BY q.next_attempt_at LIMIT 1) AS due
FROM step WHERE step.origin IS NOT NULL";

pub(super) fn survey(
    db: &Connection,
    after: Option<&Origin>,
    limit: usize,
) -> Result<Vec<OriginDue>, StoreError> {
    let read = || {
        db.prepare_cached(SURVEY)?
            .query_map((after.map_or(&[][..], Origin::as_bytes), limit), |row| {
                Ok(OriginDue {
                    origin: origin(row, 0)?,
                    due: timestamp(row, 1)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(|error| store_error(&error))
}

pub(super) fn origin(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Origin> {
    Ok(Origin::new(row.get_ref(column)?.as_bytes()?))
}

/// The earliest moment at which a callback is due that waits and is not paused.
pub(super) fn oldest_due(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    // Round all origins: the index is ordered by origin first.
    let sql = format!(
        "SELECT min(due) FROM ({SURVEY}) WHERE NOT EXISTS (
           SELECT 1 FROM paused WHERE scope = 'origin' AND name = origin)"
    );
    db.prepare_cached(&sql)?
        .query_row((&[][..] as &[u8], -1), |row| {
            super::rows::timestamp_or_null(row, 0)
        })
}
