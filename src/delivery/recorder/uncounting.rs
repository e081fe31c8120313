//! Un-counting attempts that an outage of our own had used up: in memory where they are not recorded
//! yet, else in the store, a bounded number in each transaction.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Stopwatch;
use crate::delivery::context::Context;
use crate::delivery::schedule::{self, NOT_COUNTED};
use crate::domain::{LOCAL_FAULT_WAIT, Timestamp};
use crate::store::{AttemptKey, CompletedAttempt, StoreError, Uncount};

/// Attempts un-counted in one transaction.
const BATCH_MAX: usize = 500;

/// The pause after the store could not do it.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What is still to be un-counted.
#[derive(Debug, Default)]
pub(super) struct Uncounting {
    attempts: HashSet<AttemptKey>,
    /// Not in the log; perhaps among the rejected attempts, and asked for again when one of those
    /// is recorded.
    unlogged: Vec<AttemptKey>,
    /// Not before this moment.
    not_before: Option<Instant>,
}

impl Uncounting {
    pub(super) fn add(&mut self, attempts: Vec<AttemptKey>) {
        self.attempts.extend(attempts);
    }

    /// Un-counts those of `batch` that are to be un-counted.
    pub(super) fn correct(&mut self, batch: &mut [CompletedAttempt], now: Timestamp) {
        if self.attempts.is_empty() {
            return;
        }
        for completed in batch {
            if self.attempts.remove(&completed.claimed.lease.attempt()) {
                schedule::uncount(completed, now);
            }
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// When the next batch may be un-counted; `None`: there is none.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.has_work().then(|| {
            let now = Stopwatch::start().deadline(Duration::ZERO);
            self.not_before.unwrap_or(now)
        })
    }

    pub(super) fn is_due(&self) -> bool {
        let now = Stopwatch::start().deadline(Duration::ZERO);
        self.due_at().is_some_and(|at| at <= now)
    }

    /// A rejected attempt is in the log now; perhaps it is one of those that were not.
    pub(super) fn ask_again(&mut self) {
        self.attempts.extend(self.unlogged.drain(..));
    }

    /// As many as one transaction takes.
    fn batch(&self) -> Vec<AttemptKey> {
        self.attempts.iter().take(BATCH_MAX).copied().collect()
    }

    /// Has the store un-count a batch. `may_come`: an attempt may still come into the log. Returns
    /// whether anything was un-counted; what the store could not do stays to be done.
    ///
    /// # Errors
    ///
    /// The store is beyond healing.
    pub(super) async fn next_batch(
        &mut self,
        context: &Context,
        may_come: bool,
    ) -> Result<bool, StoreError> {
        let attempts = self.batch();
        let uncount = Uncount {
            attempts: attempts.clone(),
            reason: NOT_COUNTED,
            due: context.clock.now().after(LOCAL_FAULT_WAIT),
        };
        match context.queue.uncount(uncount).await {
            Ok(unlogged) => {
                self.not_before = None;
                for attempt in &attempts {
                    self.attempts.remove(attempt);
                }
                let uncounted = attempts.len() - unlogged.len();
                tracing::warn!(
                    attempts = uncounted,
                    "attempts counted at the beginning of an outage of our own were un-counted"
                );
                if may_come {
                    self.unlogged.extend(unlogged);
                }
                Ok(uncounted > 0)
            }
            Err(error) if error.is_permanent() => Err(error),
            Err(error) => {
                tracing::error!(%error, attempts = self.attempts.len(), retry_in_ms = STORE_PAUSE.as_millis(),
                    "attempts counted during an outage of our own can't be un-counted yet");
                self.not_before = Some(Stopwatch::start().deadline(STORE_PAUSE));
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CallbackId;

    #[test]
    fn a_transaction_uncounts_a_bounded_number() {
        let attempt = |n| AttemptKey {
            id: CallbackId(n),
            seq: 1,
        };
        let mut uncounting = Uncounting::default();
        uncounting.add((0..1200).map(attempt).collect());
        assert_eq!(uncounting.batch().len(), 500);
        assert!(uncounting.has_work());
    }
}
