//! The first callbacks in a state, at a cost that goes by how many are looked at.

use rusqlite::{Connection, named_params};

use super::inspection::{COLUMNS, callback_row};
use crate::store::{CallbackRow, GLANCE_WINDOW, Glance, ShownState};

/// Where a state's callbacks are by index, in which order.
const fn window(state: ShownState) -> &'static str {
    match state {
        ShownState::Pending => {
            "INDEXED BY callback_due WHERE state = 'pending' AND leased_until IS NULL ORDER BY app_id, origin, next_attempt_at"
        }
        ShownState::InFlight => {
            "INDEXED BY callback_in_flight WHERE leased_until IS NOT NULL ORDER BY leased_until"
        }
        ShownState::Delivered => {
            "INDEXED BY callback_finished WHERE state = 'delivered' AND finished_at IS NOT NULL ORDER BY finished_at DESC"
        }
        ShownState::Exhausted => {
            "INDEXED BY callback_finished WHERE state = 'exhausted' AND finished_at IS NOT NULL ORDER BY finished_at DESC"
        }
        ShownState::Cancelled => {
            "INDEXED BY callback_finished WHERE state = 'cancelled' AND finished_at IS NOT NULL ORDER BY finished_at DESC"
        }
    }
}

/// The inner query is cut before the outer one looks for an app or an outcome: otherwise a rare one
/// would be looked for in all rows.
pub(super) fn sql(state: ShownState) -> String {
    let window = window(state);
    format!(
        "SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM callback_queue {window} LIMIT :window)
         WHERE (:app IS NULL OR app_id = :app) AND (:outcome IS NULL OR last_outcome = :outcome)
         LIMIT :limit"
    )
}

pub(super) fn glance(db: &Connection, glance: &Glance) -> rusqlite::Result<Vec<CallbackRow>> {
    let values = named_params! {
        ":window": GLANCE_WINDOW,
        ":app": glance.app_id,
        ":outcome": glance.outcome,
        ":limit": glance.limit,
    };
    let mut statement = db.prepare_cached(&sql(glance.state))?;
    statement.query_map(values, callback_row)?.collect()
}
