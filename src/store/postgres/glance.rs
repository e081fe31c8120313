//! The first callbacks in a state, at a cost that goes by how many are looked at.

use super::inspection::{COLUMNS, PostgresInspection, callback_row};
use crate::store::{CallbackRow, GLANCE_WINDOW, Glance, ShownState, StoreError};

/// A state's callbacks in the order of an index.
const fn window(state: ShownState) -> &'static str {
    match state {
        ShownState::Pending => {
            "state = 'pending' AND leased_until IS NULL ORDER BY app_id, origin, next_attempt_at, id"
        }
        ShownState::InFlight => "leased_until IS NOT NULL ORDER BY leased_until, id",
        ShownState::Delivered => {
            "state = 'delivered' AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC"
        }
        ShownState::Exhausted => {
            "state = 'exhausted' AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC"
        }
        ShownState::Cancelled => {
            "state = 'cancelled' AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC"
        }
    }
}

/// The inner query is cut before the outer one looks for an app or an outcome: otherwise a rare one
/// would be looked for in all rows.
fn sql(state: ShownState) -> String {
    let window = window(state);
    format!(
        "SELECT {COLUMNS} FROM (
           SELECT {COLUMNS} FROM callback_queue WHERE {window} LIMIT {GLANCE_WINDOW}) seen
         WHERE ($1::text IS NULL OR app_id = $1) AND ($2::text IS NULL OR last_outcome = $2)
         LIMIT $3"
    )
}

pub(super) async fn glance(
    inspection: &PostgresInspection,
    glance: &Glance,
) -> Result<Vec<CallbackRow>, StoreError> {
    let limit = i64::try_from(glance.limit).unwrap_or(i64::MAX);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&glance.app_id, &glance.outcome, &limit];
    inspection
        .read(&sql(glance.state), &values, callback_row)
        .await
}
