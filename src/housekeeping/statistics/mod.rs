//! Counts the queue for the metrics, at a bounded cost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::Timestamp;
use crate::store::{HeldSnapshot, Inspection, ShownState, Stats, StoreError, TroubledEndpoint};

/// Takes the counts.
pub trait StatsSink: fmt::Debug + Send + Sync + 'static {
    /// The queue's counts as of `now`.
    fn queue_counted(&self, stats: &Stats, now: Timestamp);

    /// When the oldest callback that waits, and is not paused, is due.
    fn oldest_due_measured(&self, due: Option<Timestamp>);

    /// The endpoints that may need a person.
    fn troubled_found(&self, troubled: Vec<TroubledEndpoint>);

    /// Why this is not the queue any more, if it is not.
    fn displaced_found(&self, displaced: Option<String>);

    /// The snapshot that has been held for the longest time.
    fn oldest_snapshot_found(&self, snapshot: Option<&HeldSnapshot>);

    /// The present size of the store's write-ahead log.
    fn wal_measured(&self, bytes: u64);
}

/// The pause after a count of all delivered callbacks, in multiples of the time that it took. It takes
/// longer the larger the queue is; with this pause it costs half a thousandth of a core at most.
const REST_FROM_DELIVERED: u32 = 2000;

/// The same where callbacks were pruned, so that the last count is known to be wrong.
const REST_AFTER_PRUNING: u32 = 200;

/// The pause after a count of all else.
const REST: u32 = 200;

/// What finished longer ago than this was also recorded, unless the store was away.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Counts callbacks by state every 15 seconds: all but the delivered, and of these the ones that came
/// since the last look. That is right as long as no delivered callback goes, nor one is recorded more
/// than a minute late, so they are all counted at times as well, soon after a pruning.
///
/// The counts are the database's: what other dispatchers, the gateway and plain SQL have done is in them.
#[derive(Debug)]
pub struct Statistics {
    inspection: Arc<dyn Inspection>,
    clock: SharedClock,
    sink: Arc<dyn StatsSink>,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    delivered: Option<Delivered>,
    rest: Option<Rest>,
}

/// The callbacks that were delivered before a moment.
#[derive(Clone, Copy, Debug)]
struct Delivered {
    before: Timestamp,
    callbacks: u64,
    /// The oldest of them: another one is when they have been pruned.
    first: Option<Timestamp>,
    /// Since all of them were counted.
    counted: Rest,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    ended: Stopwatch,
    took: Duration,
}

impl Rest {
    fn after(count: Stopwatch) -> Self {
        Self {
            took: count.elapsed(),
            ended: Stopwatch::start(),
        }
    }

    fn is_over(self, times: u32) -> bool {
        self.ended.elapsed() >= self.took.saturating_mul(times)
    }
}

impl Statistics {
    /// Counts what `inspection` sees and tells `sink`.
    pub fn new(
        inspection: Arc<dyn Inspection>,
        clock: SharedClock,
        sink: Arc<dyn StatsSink>,
    ) -> Self {
        Self {
            inspection,
            clock,
            sink,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count(&self, oldest_due: Option<Timestamp>) -> Result<Stats, StoreError> {
        let mut depth = Vec::with_capacity(ShownState::ALL.len());
        for state in ShownState::ALL {
            let callbacks = match state {
                ShownState::Delivered => self.delivered().await?,
                _ => self.inspection.depth(state).await?,
            };
            depth.push((state, callbacks));
        }
        Ok(Stats {
            depth,
            oldest_due,
            paused: self.inspection.pauses().await?,
        })
    }

    async fn delivered(&self) -> Result<u64, StoreError> {
        let settled = self.clock.now().before(SETTLED_AFTER);
        let first = self.inspection.first_delivered().await?;
        let between = |from, until| self.inspection.delivered_between(from, until);
        let known = self.known().delivered.filter(|known| {
            let was_pruned = known.first.is_some() && known.first != first;
            let rest = if was_pruned {
                REST_AFTER_PRUNING
            } else {
                REST_FROM_DELIVERED
            };
            !known.counted.is_over(rest)
        });
        let known = match known {
            None => {
                let stopwatch = Stopwatch::start();
                let callbacks = between(Timestamp::from_millis(0), settled).await?;
                Delivered {
                    before: settled,
                    callbacks,
                    first,
                    counted: Rest::after(stopwatch),
                }
            }
            Some(known) if settled > known.before => Delivered {
                before: settled,
                callbacks: known.callbacks + between(known.before, settled).await?,
                first: known.first.or(first),
                ..known
            },
            // The clock was set back.
            Some(known) => known,
        };
        self.known().delivered = Some(known);
        Ok(known.callbacks + between(known.before, Timestamp::MAX).await?)
    }
}

#[async_trait]
impl HousekeepingJob for Statistics {
    fn name(&self) -> &'static str {
        "count"
    }

    fn cron(&self) -> &'static str {
        "*/15 * * * * *"
    }

    fn runs_at_start(&self) -> bool {
        true
    }

    async fn run(&self) -> Result<(), StoreError> {
        self.sink.wal_measured(self.inspection.wal_bytes().await?);
        let oldest_due = self.inspection.oldest_due().await?;
        self.sink.oldest_due_measured(oldest_due);
        let snapshot = self.inspection.oldest_snapshot().await?;
        self.sink.oldest_snapshot_found(snapshot.as_ref());
        let displaced = self.inspection.displaced().await?;
        self.sink.displaced_found(displaced);
        let rest = self.known().rest;
        if rest.is_some_and(|rest| !rest.is_over(REST)) {
            return Ok(());
        }
        let stopwatch = Stopwatch::start();
        let stats = self.count(oldest_due).await?;
        let now = self.clock.now();
        self.sink.queue_counted(&stats, now);
        self.sink
            .troubled_found(self.inspection.troubled(now).await?);
        self.known().rest = Some(Rest::after(stopwatch));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
