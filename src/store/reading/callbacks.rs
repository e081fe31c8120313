//! Callbacks in a state, by index.

use crate::store::ShownState;

/// Callbacks that wait.
pub(super) const PENDING: &str = "
SELECT id FROM callback_queue{ INDEXED BY callback_due|}
WHERE state = 'pending' AND leased_until IS NULL";

/// Delivered callbacks that finished in a stretch of time.
pub(in crate::store) const DELIVERED_BETWEEN: &str = "
SELECT id FROM callback_queue{ INDEXED BY callback_finished|}
WHERE state = 'delivered' AND finished_at IS NOT NULL AND finished_at >= ?1 AND finished_at < ?2";

pub(in crate::store) const FIRST_DELIVERED: &str = "
SELECT finished_at FROM callback_queue{ INDEXED BY callback_finished|}
WHERE state = 'delivered' AND finished_at IS NOT NULL ORDER BY finished_at LIMIT 1";

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
