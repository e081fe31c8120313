//! The newest callbacks of a state, at a cost that depends only on the number that is read.

use crate::store::session::Session;
use crate::store::{CallbackRow, NEWEST_WINDOW, NewestOfState, ShownState, StoreError};

/// A state's callbacks in the order of an index.
fn window(state: ShownState) -> String {
    match state {
        ShownState::Pending => "{INDEXED BY callback_due|} \
            WHERE state = 'pending' AND leased_until IS NULL \
            ORDER BY app_id, origin, next_attempt_at, id"
            .to_owned(),
        ShownState::InFlight => "{INDEXED BY callback_in_flight|} \
            WHERE leased_until IS NOT NULL ORDER BY leased_until, id"
            .to_owned(),
        _ => format!(
            "{{INDEXED BY callback_finished|}} \
             WHERE state = '{state}' AND finished_at IS NOT NULL \
             ORDER BY finished_at DESC, id DESC"
        ),
    }
}

/// The inner query is cut before the outer one looks for an app or an outcome: otherwise it would
/// look for a rare one in all rows.
pub(in crate::store) fn sql(state: ShownState) -> String {
    let window = window(state);
    format!(
        "SELECT * FROM (
           SELECT * FROM callback_queue {window} LIMIT {NEWEST_WINDOW}) newest
         WHERE (CAST(?1 AS TEXT) IS NULL OR app_id = ?1)
           AND (CAST(?2 AS TEXT) IS NULL OR last_outcome = ?2)
         LIMIT ?3"
    )
}

pub(super) async fn newest_of_state<S: Session>(
    session: &S,
    newest: &NewestOfState,
) -> Result<Vec<CallbackRow>, StoreError> {
    let (app_id, outcome) = (newest.app_id.as_deref(), newest.outcome.as_deref());
    let mut texts = [app_id, outcome].into_iter().flatten();
    if texts.any(|text| !S::DIALECT.can_hold(text)) {
        return Ok(Vec::new());
    }
    let values = [app_id.into(), outcome.into(), newest.limit.into()];
    let found = session.query(&sql(newest.state), &values).await?;
    found.iter().map(CallbackRow::read).collect()
}
