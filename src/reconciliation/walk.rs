//! Goes through callbacks by id, a page at a time.

use crate::domain::{CallbackId, Day, DayRecord, ReconciledCallback, Timestamp};
use crate::store::{AuditChain, AuditPage, StoreError};

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
    chain: &'a dyn AuditChain,
    after: CallbackId,
    to: CallbackId,
    as_of: Option<Day>,
}

impl<'a> Walk<'a> {
    /// Through `ids`, each callback as it stood when the day `as_of` was closed, or as it stands
    /// now.
    pub(super) const fn new(chain: &'a dyn AuditChain, ids: Ids, as_of: Option<Day>) -> Self {
        Self {
            chain,
            after: CallbackId(ids.from.0.saturating_sub(1)),
            to: ids.to,
            as_of,
        }
    }

    /// The next few callbacks; none: that was all.
    pub(super) async fn page(&mut self) -> Result<Vec<ReconciledCallback>, StoreError> {
        let page = AuditPage {
            after: self.after,
            to: self.to,
            as_of: self.as_of,
            limit: PAGE_ROWS,
        };
        let callbacks = self.chain.page(page).await?;
        if let Some(last) = callbacks.last() {
            self.after = last.id;
        }
        Ok(callbacks)
    }
}

/// What decides whether a callback belongs to a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership<'a> {
    pub day: Day,
    pub closed_at: Timestamp,
    /// The newest id when the day is closed.
    pub last_id: CallbackId,
    /// The chain before it.
    pub before: &'a [DayRecord],
}

impl<'a> Membership<'a> {
    /// That of a closed day, after those before it.
    pub(super) const fn of(record: &DayRecord, before: &'a [DayRecord]) -> Self {
        Self {
            day: record.day,
            closed_at: record.closed_at,
            last_id: record.last_id,
            before,
        }
    }

    /// Whether the day has it.
    pub(super) fn has(&self, callback: &ReconciledCallback) -> bool {
        callback.id <= self.last_id
            && self.day.takes(callback.created_at, self.closed_at)
            && !self.is_taken(callback)
    }

    /// Whether a day before has it.
    pub(super) fn is_taken(&self, callback: &ReconciledCallback) -> bool {
        // Ids only grow along the chain: behind the first that ends below it, all do.
        let could_take = |record: &&DayRecord| record.last_id >= callback.id;
        let mut records = self.before.iter().rev().take_while(could_take);
        records.any(|record| record.day.takes(callback.created_at, record.closed_at))
    }
}
