//! Callbacks in a state, by index.

use crate::store::ShownState;

/// Callbacks that wait.
pub(super) const PENDING: &str = "
SELECT id FROM callback_queue{ INDEXED BY callback_due|}
WHERE state = 'pending' AND leased_until IS NULL";

/// Callbacks in a state. Each final state is a range of the index callback_finished, each other one
/// a partial index.
pub(super) fn in_state(state: ShownState) -> String {
    match state {
        ShownState::Pending => PENDING.to_owned(),
        ShownState::InFlight => {
            "SELECT id FROM callback_queue WHERE leased_until IS NOT NULL".to_owned()
        }
        _ => format!(
            "SELECT id FROM callback_queue WHERE state = '{state}' AND finished_at IS NOT NULL"
        ),
    }
}
