//! Taking attempts from the merchants' accounts again.

use rusqlite::Connection;

use super::connection::store_error;
use crate::store::{ChargedAttempt, Refund, StoreError};

pub(super) const UNCOUNT: &str = "
UPDATE callback_attempt SET counted = 0, detail = detail || ?3
WHERE callback_id = ?1 AND seq = ?2 AND counted = 1";

const IS_LOGGED: &str = "SELECT 1 FROM callback_attempt WHERE callback_id = ?1 AND seq = ?2";

/// A callback whose newest attempt it was is due at the moment given, even if it had been given
/// up. One that has moved on keeps what it has come to.
pub(super) const GIVE_BACK: &str = "
UPDATE callback_queue
SET attempts = max(attempts - 1, 0),
    state = CASE WHEN state = 'exhausted' AND attempt_seq = ?2 THEN 'pending' ELSE state END,
    finished_at = CASE WHEN state = 'exhausted' AND attempt_seq = ?2 THEN NULL ELSE finished_at END,
    next_attempt_at = CASE
      WHEN state = 'exhausted' AND attempt_seq = ?2 THEN ?3
      WHEN state = 'pending' AND attempt_seq = ?2 AND leased_until IS NULL THEN min(next_attempt_at, ?3)
      ELSE next_attempt_at END
WHERE id = ?1";

pub(super) fn refund(db: &Connection, refund: &Refund) -> Result<Vec<ChargedAttempt>, StoreError> {
    let write = || {
        let mut uncount = db.prepare_cached(UNCOUNT)?;
        let mut give_back = db.prepare_cached(GIVE_BACK)?;
        let mut is_logged = db.prepare_cached(IS_LOGGED)?;
        let mut unknown = Vec::new();
        for attempt in &refund.attempts {
            let (id, seq) = (attempt.id.0, attempt.seq);
            if uncount.execute((id, seq, refund.reason))? == 1 {
                give_back.execute((id, seq, refund.due.as_millis()))?;
            } else if !is_logged.exists((id, seq))? {
                unknown.push(*attempt);
            }
        }
        Ok(unknown)
    };
    write().map_err(|error: rusqlite::Error| store_error(&error))
}
