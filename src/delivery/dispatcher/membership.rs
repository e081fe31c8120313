//! Being one of several dispatchers of a queue: expired leases of the others are reclaimed.
//!
//! With a store that one dispatcher holds alone, none of this ever happens.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::store::StoreError;

/// Between two searches for expired leases.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Membership {
    is_under_way: bool,
    since: Stopwatch,
    /// Whether the last search failed, so that this is logged once.
    has_failed: bool,
}

impl Membership {
    pub(super) fn new() -> Self {
        Self {
            is_under_way: false,
            since: Stopwatch::start(),
            has_failed: false,
        }
    }

    /// Whether a search is to begin now; it has begun then.
    pub(super) fn begin_reclaim(&mut self) -> bool {
        if self.is_under_way || self.since.elapsed() < RECLAIM_EVERY {
            return false;
        }
        self.is_under_way = true;
        self.since = Stopwatch::start();
        true
    }

    /// A search has ended. Returns whether it has found anything.
    pub(super) fn on_reclaimed(&mut self, reclaimed: Result<usize, StoreError>) -> bool {
        self.is_under_way = false;
        let had_failed = std::mem::replace(&mut self.has_failed, reclaimed.is_err());
        match reclaimed {
            Ok(0) => false,
            Ok(callbacks) => {
                tracing::warn!(
                    callbacks,
                    "expired leases of another dispatcher were reclaimed; the callbacks are due again"
                );
                true
            }
            Err(error) => {
                if !had_failed {
                    tracing::warn!(%error, "expired leases of other dispatchers can't be reclaimed yet");
                }
                false
            }
        }
    }
}
