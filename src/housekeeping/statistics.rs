//! Counts the queue for the metrics, at a bounded cost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::Chore;
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::Timestamp;
use crate::store::{Inspection, Stats, StoreError};

/// Takes the counts.
pub trait StatsSink: fmt::Debug + Send + Sync + 'static {
    /// As of `now`, the queue stands like this.
    fn queue_counted(&self, stats: &Stats, now: Timestamp);
}

/// Counts take time by the size of the queue. With this much rest for each, in multiples of what
/// the last one took, they cost a thousandth of a core at most.
const REST: u32 = 1000;

/// Counts callbacks by state every 15 seconds, more rarely in a large queue.
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
impl Chore for Statistics {
    fn name(&self) -> &'static str {
        "count"
    }

    fn cron(&self) -> &'static str {
        "*/15 * * * * *"
    }

    async fn run(&self) -> Result<(), StoreError> {
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
