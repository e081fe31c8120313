//! A closed day in its lines, as its digest was made of them.

use thiserror::Error;

use super::walk::{Ids, Membership, Walk};
use crate::domain::{CallbackId, Day, Link};
use crate::store::{Ledger, StoreError};

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
    ledger: &dyn Ledger,
    day: Day,
    mut show: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<Link, LinesError> {
    let links = ledger.links().await?;
    let place = links.iter().position(|link| link.day == day);
    let place = place.ok_or(LinesError::NotClosed(day))?;
    let link = &links[place];
    let membership = Membership::of(link, &links[..place]);
    let mut walk = Walk::new(ledger, ids(link, &membership), Some(day));
    loop {
        let callbacks = walk.page().await?;
        if callbacks.is_empty() {
            return Ok(link.clone());
        }
        for callback in &callbacks {
            if membership.has(callback) {
                show(&callback.line())?;
            }
        }
    }
}

/// Between which ids the callbacks of a link are. The first link has taken all that was there.
pub(super) fn ids(link: &Link, membership: &Membership<'_>) -> Ids {
    let is_first = membership.before.is_empty();
    Ids {
        from: if is_first {
            CallbackId(i64::MIN)
        } else {
            link.first_id
        },
        to: link.last_id,
    }
}
