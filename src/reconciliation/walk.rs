//! Goes through callbacks by id, a page at a time.

use crate::domain::{CallbackId, Day, Link, ReconciledCallback};
use crate::store::{Ledger, LedgerPage, StoreError};

/// A read of this many rows takes some milliseconds.
const PAGE_ROWS: usize = 500;

/// Some callbacks, by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// The lowest.
    pub from: CallbackId,
    /// The highest.
    pub to: CallbackId,
}

/// A way through callbacks in the order of their ids.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    ledger: &'a dyn Ledger,
    after: CallbackId,
    to: CallbackId,
    as_of: Option<Day>,
}

impl<'a> Walk<'a> {
    /// Through `ids`, each callback as it stood when the day `as_of` was closed, or as it stands
    /// now.
    pub(super) const fn new(ledger: &'a dyn Ledger, ids: Ids, as_of: Option<Day>) -> Self {
        Self {
            ledger,
            after: CallbackId(ids.from.0.saturating_sub(1)),
            to: ids.to,
            as_of,
        }
    }

    /// The next few callbacks; none: that was all.
    pub(super) async fn page(&mut self) -> Result<Vec<ReconciledCallback>, StoreError> {
        let page = LedgerPage {
            after: self.after,
            to: self.to,
            as_of: self.as_of,
            limit: PAGE_ROWS,
        };
        let callbacks = self.ledger.page(page).await?;
        if let Some(last) = callbacks.last() {
            self.after = last.id;
        }
        Ok(callbacks)
    }
}

/// Whether `callback` belongs to the link of `day` behind `previous`, once everything up to
/// `last_id` is looked at.
pub(super) fn belongs(
    callback: &ReconciledCallback,
    day: Day,
    last_id: CallbackId,
    previous: Option<&Link>,
) -> bool {
    let taken = |link: &Link| link.has_taken(callback.id, callback.created_at);
    callback.id <= last_id && callback.created_at < day.end() && !previous.is_some_and(taken)
}
