//! Rows of `callback_queue` as people are shown them.

use crate::store::session::Row;
use crate::store::{CallbackRow, ShownState, StoreError};

pub(super) const COLUMNS: &str = "id, kind, callback_url, app_id, pay_method, amount, currency, \
     newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result, \
     trans_info, settlement_status, created_at, state, attempts, next_attempt_at, leased_until, \
     last_outcome, finished_at, origin";

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

pub(super) fn read(row: &Row) -> Result<CallbackRow, StoreError> {
    let id = row.get("id")?;
    let leased_until = row.get("leased_until")?;
    let state: String = row.get("state")?;
    let state = match (state.as_str(), leased_until) {
        ("pending", Some(_)) => ShownState::InFlight,
        ("delivered", _) => ShownState::Delivered,
        ("exhausted", _) => ShownState::Exhausted,
        ("cancelled", _) => ShownState::Cancelled,
        _ => ShownState::Pending,
    };
    Ok(CallbackRow {
        id,
        kind: row.get("kind")?,
        callback_url: row.get("callback_url")?,
        app_id: row.get("app_id")?,
        pay_method: row.get("pay_method")?,
        amount: row.get("amount")?,
        currency: row.get("currency")?,
        newpay_order_no: row.get("newpay_order_no")?,
        order_no: row.get("order_no")?,
        newpay_refund_order_no: row.get("newpay_refund_order_no")?,
        refund_order_no: row.get("refund_order_no")?,
        subject: row.get("subject")?,
        extra: row.get("extra")?,
        result: row.get("result")?,
        trans_info: row.get("trans_info")?,
        settlement_status: row.get("settlement_status")?,
        created_at: row.get("created_at")?,
        state,
        attempts: row.get("attempts")?,
        next_attempt_at: row.get("next_attempt_at")?,
        leased_until,
        last_outcome: row.get("last_outcome")?,
        finished_at: row.get("finished_at")?,
        origin: row.get("origin")?,
    })
}
