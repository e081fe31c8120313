//! Removes callbacks that have been finished for long enough.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::clock::SharedClock;
use crate::failpoint;
use crate::store::{Queue, Retention, StoreError};

/// Rows in one transaction: few, so that deliveries and the gateway can write in between.
const BATCH_ROWS: usize = 200;

/// Prunes by `[housekeeping] keep_delivered` and `keep_exhausted`.
#[derive(Debug)]
pub struct Pruning {
    /// The queue to prune.
    pub queue: Arc<dyn Queue>,
    /// What time it is.
    pub clock: SharedClock,
    /// `housekeeping.keep_delivered`; cancelled callbacks are kept as long.
    pub keep_delivered: Duration,
    /// `housekeeping.keep_exhausted`
    pub keep_exhausted: Duration,
    /// `housekeeping.prune_cron`
    pub cron: String,
}

#[async_trait]
impl HousekeepingJob for Pruning {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn cron(&self) -> &str {
        &self.cron
    }

    async fn run(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let retention = Retention {
            delivered_before: now.before(self.keep_delivered),
            exhausted_before: now.before(self.keep_exhausted),
            limit: BATCH_ROWS,
        };
        let mut callbacks = 0;
        loop {
            let removed = self.queue.prune(retention).await?;
            callbacks += removed;
            if removed < BATCH_ROWS {
                break;
            }
            failpoint::here!("prune-between-batches");
        }
        if callbacks > 0 {
            tracing::info!(callbacks, "pruned finished callbacks past their retention");
        }
        Ok(())
    }
}
