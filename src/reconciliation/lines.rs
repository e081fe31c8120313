//! A closed day in its lines, as its digest was made of them.

use thiserror::Error;

use super::walk::{Ids, Membership, Walk};
use crate::domain::{CallbackId, Day, DayRecord};
use crate::store::{AuditChain, StoreError};

/// Why a day has no lines to show.
#[derive(Debug, Error)]
pub enum LinesError {
    /// The chain does not have it.
    #[error("{0} is not closed; the daemon closes a day an hour after its end in UTC")]
    NotClosed(Day),
    /// A line could not be shown.
    #[error(transparent)]
    Show(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shows each line of `day` without its line break, in order.
///
/// # Errors
///
/// The day is not closed, the store failed, or `show` did.
pub async fn day_lines(
    chain: &dyn AuditChain,
    day: Day,
    mut show: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<DayRecord, LinesError> {
    let records = chain.days().await?;
    let place = records.iter().position(|record| record.day == day);
    let place = place.ok_or(LinesError::NotClosed(day))?;
    let record = &records[place];
    let membership = Membership::of(record, &records[..place]);
    let mut walk = Walk::new(chain, ids(record, &membership), Some(day));
    loop {
        let callbacks = walk.page().await?;
        if callbacks.is_empty() {
            return Ok(record.clone());
        }
        for callback in &callbacks {
            if membership.has(callback) {
                show(&callback.line())?;
            }
        }
    }
}

/// The range of ids of a day's callbacks. The first day has all callbacks that were there.
pub(super) fn ids(record: &DayRecord, membership: &Membership<'_>) -> Ids {
    let is_first = membership.before.is_empty();
    Ids {
        from: if is_first {
            CallbackId(i64::MIN)
        } else {
            record.first_id
        },
        to: record.last_id,
    }
}
