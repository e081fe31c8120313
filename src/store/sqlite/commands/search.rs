//! Finding the callbacks that a command is about.
//!
//! A look follows the narrowest index that the selectors offer; the rest is compared.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::super::rows::{timestamp, timestamp_or_null};
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::looking::{Found, Look, ROWS_MAX, Seen, stored_state};
use crate::store::{Command, Selectors, Standing, StoredState, disposition};

const LOOKED_AT: &str = "SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, origin, app_id, \
     created_at FROM callback_queue";

/// Looks on from where `command` has come to.
pub(super) fn look(
    db: &Connection,
    command: &Command,
    now: Timestamp,
) -> rusqlite::Result<Vec<Found>> {
    let looks_up_to = match command.looks_up_to {
        Some(id) => id,
        None => highest(db)?,
    };
    let selectors = &command.request.selectors;
    let (sql, values) = walk(selectors, command.looks_after(), looks_up_to);
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values.as_slice())?;
    let mut look = Look::begin(command, looks_up_to);
    while let Some(row) = rows.next()? {
        let id = CallbackId(row.get(0)?);
        let seen = Seen {
            state: row.get_ref(1)?.as_bytes()?,
            origin: row.get_ref(5)?.as_bytes()?,
            app_id: row.get_ref(6)?.as_bytes()?,
            created_at: timestamp(row, 7)?,
        };
        let found = match look.selects(&seen) {
            true => Some(disposition(&command.request, standing(db, row, id)?, now)),
            false => None,
        };
        look.took(id, found);
    }
    Ok(look.end())
}

fn highest(db: &Connection) -> rusqlite::Result<CallbackId> {
    db.query_row(
        "SELECT coalesce(max(id), 0) FROM callback_queue",
        [],
        |row| row.get(0).map(CallbackId),
    )
}

/// The rows to look at, in the order of their ids.
pub(in super::super) fn walk(
    selectors: &Selectors,
    after: CallbackId,
    up_to: CallbackId,
) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(after.0), Box::new(up_to.0)];
    let rows = if let Some(id) = selectors.callback_id {
        values.push(Box::new(id.0));
        "NOT INDEXED WHERE id = ?3 AND"
    } else if let Some(number) = &selectors.order_number {
        values.push(Box::new(number.clone()));
        "NOT INDEXED WHERE id IN (
           SELECT id FROM callback_queue INDEXED BY callback_by_order WHERE order_no = ?3
           UNION SELECT id FROM callback_queue INDEXED BY callback_one_per_payment
                 WHERE newpay_order_no = ?3
           UNION SELECT id FROM callback_queue INDEXED BY callback_by_refund_order
                 WHERE refund_order_no = ?3 AND refund_order_no IS NOT NULL
           UNION SELECT id FROM callback_queue INDEXED BY callback_one_per_refund
                 WHERE kind = 'refund' AND newpay_refund_order_no = ?3) AND"
    } else if let Some(app_id) = &selectors.app_id {
        values.push(Box::new(app_id.clone()));
        "INDEXED BY callback_by_app WHERE app_id = ?3 AND"
    } else if let Some(state @ (StoredState::Exhausted | StoredState::Cancelled)) = selectors.state
    {
        values.push(Box::new(state.as_str()));
        "INDEXED BY callback_finished WHERE state = ?3 AND finished_at IS NOT NULL AND"
    } else {
        "NOT INDEXED WHERE"
    };
    let sql = format!("{LOOKED_AT} {rows} id > ?1 AND id <= ?2 ORDER BY id LIMIT {ROWS_MAX}");
    (sql, values)
}

/// Reads `state, in flight, attempts, next_attempt_at` from column 1 on.
pub(super) fn standing(
    db: &Connection,
    row: &Row<'_>,
    id: CallbackId,
) -> rusqlite::Result<Standing> {
    let state = stored_state(row.get_ref(1)?.as_bytes()?);
    Ok(Standing {
        state,
        in_flight: row.get(2)?,
        attempts: row.get(3)?,
        next_attempt_at: timestamp_or_null(row, 4)?,
        was_acknowledged: state != StoredState::Delivered && was_acknowledged(db, id)?,
    })
}

fn was_acknowledged(db: &Connection, id: CallbackId) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM callback_attempt
         WHERE callback_id = ?1 AND outcome = 'acknowledged')",
    )?
    .query_row([id.0], |row| row.get(0))
}
