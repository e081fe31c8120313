//! Finding the callbacks that a command is about.
//!
//! A look goes along the ids, so that where it stopped is one number. It follows the narrowest
//! index that the selectors offer, compares the rest itself, and ends after so many rows, so that
//! no reading transaction is long whatever was asked for.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::super::rows::{timestamp, timestamp_or_null};
use crate::domain::{CallbackId, Timestamp};
use crate::store::{
    Action, Command, Disposition, Origin, Selectors, Standing, StoredState, disposition,
};

/// Callbacks looked at in one look.
const ROWS_MAX: usize = 10_000;

/// Callbacks that one transaction does something with.
const ACTS_MAX: usize = 500;

/// A part of what one look has brought, for one transaction.
#[derive(Debug)]
pub(super) struct Found {
    /// The highest id at the beginning of the command.
    pub(super) looks_up_to: CallbackId,
    /// Everything up to here has been looked at.
    pub(super) looked_up_to: CallbackId,
    /// Those that there is something to do with.
    pub(super) acts: Vec<CallbackId>,
    /// Those that stay as they are, by the reason.
    pub(super) skipped: BTreeMap<&'static str, u64>,
}

const LOOKED_AT: &str = "SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, origin, app_id, \
     created_at FROM callback_queue";

/// Looks on from where `command` has come to. There is one part at least, and the parts are in
/// order.
pub(super) fn look(
    db: &Connection,
    command: &Command,
    now: Timestamp,
) -> rusqlite::Result<Vec<Found>> {
    let looks_up_to = match command.looks_up_to {
        Some(id) => id,
        None => highest(db)?,
    };
    let mut parts = Vec::new();
    let mut found = Found::after(command.looked_up_to, looks_up_to);
    let selectors = &command.request.selectors;
    let origin = selectors.origin.as_deref().and_then(Origin::of_url);
    let (sql, values) = walk(selectors, command.looked_up_to, looks_up_to);
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values.as_slice())?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let id = CallbackId(row.get(0)?);
        looked_at += 1;
        if is_selected(row, selectors, origin.as_ref())? {
            match disposition(&command.request, standing(db, row, id)?, now) {
                Disposition::Act | Disposition::Await => found.acts.push(id),
                Disposition::Skip(why) => *found.skipped.entry(why).or_default() += 1,
            }
        }
        found.looked_up_to = id;
        // A dry run only counts.
        if found.acts.len() == ACTS_MAX && !command.request.dry_run {
            let next = Found::after(id, looks_up_to);
            parts.push(std::mem::replace(&mut found, next));
        }
    }
    if looked_at < ROWS_MAX {
        found.looked_up_to = looks_up_to;
    }
    parts.push(found);
    Ok(parts)
}

impl Found {
    /// Nothing, from beyond this id.
    fn after(looked_up_to: CallbackId, looks_up_to: CallbackId) -> Self {
        Self {
            looks_up_to,
            looked_up_to,
            acts: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }
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

/// What the walk has not seen to. Text is compared as bytes: it may be no UTF-8.
fn is_selected(
    row: &Row<'_>,
    selectors: &Selectors,
    origin: Option<&Origin>,
) -> rusqlite::Result<bool> {
    let is = |column: usize, text: Option<&[u8]>| -> rusqlite::Result<bool> {
        Ok(match text {
            Some(text) => row.get_ref(column)?.as_bytes()? == text,
            None => true,
        })
    };
    let created_at = timestamp(row, 7)?;
    Ok(
        is(1, selectors.state.map(|state| state.as_str().as_bytes()))?
            && is(5, origin.map(Origin::as_bytes))?
            && is(6, selectors.app_id.as_deref().map(str::as_bytes))?
            && selectors.since.is_none_or(|since| created_at >= since)
            && selectors.until.is_none_or(|until| created_at < until),
    )
}

/// Reads `state, in flight, attempts, next_attempt_at` from column 1 on.
pub(super) fn standing(
    db: &Connection,
    row: &Row<'_>,
    id: CallbackId,
) -> rusqlite::Result<Standing> {
    let state = match row.get_ref(1)?.as_bytes()? {
        b"delivered" => StoredState::Delivered,
        b"exhausted" => StoredState::Exhausted,
        b"cancelled" => StoredState::Cancelled,
        _ => StoredState::Pending,
    };
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

/// Why a command can't be carried out at all.
pub(super) fn refusal(command: &Command) -> Option<String> {
    let selectors = &command.request.selectors;
    if let Some(origin) = &selectors.origin
        && Origin::of_url(origin).is_none()
    {
        return Some(format!(
            "{origin:?} is no origin; write scheme and host, for instance https://merchant.example"
        ));
    }
    match (command.request.action, selectors.state) {
        (Action::Cancel, Some(state)) if state != StoredState::Pending => Some(format!(
            "only pending callbacks can be cancelled, not {state} ones"
        )),
        _ => None,
    }
}
