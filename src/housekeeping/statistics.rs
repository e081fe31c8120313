//! Counts the queue for the metrics, at a bounded cost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::Timestamp;
use crate::store::{Inspection, Stats, StoreError};

/// Takes the counts.
pub trait StatsSink: fmt::Debug + Send + Sync + 'static {
    /// The queue's counts as of `now`.
    fn queue_counted(&self, stats: &Stats, now: Timestamp);

    /// When the oldest callback that waits, and is not paused, is due.
    fn oldest_due_measured(&self, due: Option<Timestamp>);

    /// The present size of the store's write-ahead log.
    fn wal_measured(&self, bytes: u64);
}

/// The pause after a count, in multiples of the time that it took. A count takes longer the larger
/// the queue is; with this pause it costs half a thousandth of a core at most.
const REST: u32 = 2000;

/// Counts callbacks by state every 15 seconds, more rarely in a large queue. What is oldest due and
/// the size of the write-ahead log cost little, and are measured every time.
#[derive(Debug)]
pub struct Statistics {
    inspection: Arc<dyn Inspection>,
    clock: SharedClock,
    sink: Arc<dyn StatsSink>,
    last: Mutex<Option<Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    ended: Stopwatch,
    took: Duration,
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
            last: Mutex::new(None),
        }
    }

    fn is_resting(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.ended.elapsed() < last.took.saturating_mul(REST))
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
        if self.is_resting() {
            return Ok(());
        }
        let stopwatch = Stopwatch::start();
        let stats = self.inspection.stats().await?;
        self.sink.queue_counted(&stats, self.clock.now());
        let last = Last {
            took: stopwatch.elapsed(),
            ended: Stopwatch::start(),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::sqlite::{self, SqliteInspection};

    /// How often each method was called.
    #[derive(Debug, Default)]
    struct Heard {
        counts: Mutex<usize>,
        sizes: Mutex<usize>,
        oldest_due: Mutex<usize>,
    }

    impl StatsSink for Heard {
        fn queue_counted(&self, _stats: &Stats, _now: Timestamp) {
            *self.counts.lock().expect("no test panics under it") += 1;
        }

        fn oldest_due_measured(&self, _due: Option<Timestamp>) {
            *self.oldest_due.lock().expect("no test panics under it") += 1;
        }

        fn wal_measured(&self, _bytes: u64) {
            *self.sizes.lock().expect("no test panics under it") += 1;
        }
    }

    #[tokio::test]
    async fn after_a_long_count_only_what_costs_little_is_measured() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("queue.db");
        sqlite::init(&path).expect("created");
        let inspection = SqliteInspection::open(&path).expect("opened");
        let heard = Arc::new(Heard::default());
        let statistics = Statistics::new(
            Arc::new(inspection),
            Arc::new(SystemClock),
            Arc::clone(&heard) as Arc<dyn StatsSink>,
        );
        statistics.run().await.expect("counted");
        *statistics.last.lock().expect("nobody else has it") = Some(Last {
            ended: Stopwatch::start(),
            took: Duration::from_secs(3600),
        });
        statistics.run().await.expect("measured");
        let told = |of: &Mutex<usize>| *of.lock().expect("no test panics under it");
        assert_eq!(told(&heard.counts), 1);
        assert_eq!((told(&heard.sizes), told(&heard.oldest_due)), (2, 2));
    }
}
