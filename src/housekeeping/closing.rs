//! Closes the days that are over, for reconciliation.

use std::sync::Arc;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::clock::SharedClock;
use crate::reconciliation::close_days;
use crate::store::{AuditChain, Queue, StoreError};

/// Adds days to the chain, an hour after their end.
#[derive(Debug)]
pub struct Closing {
    /// Where the chain is read.
    pub chain: Arc<dyn AuditChain>,
    /// Where it is written.
    pub queue: Arc<dyn Queue>,
    /// What time it is.
    pub clock: SharedClock,
}

#[async_trait]
impl HousekeepingJob for Closing {
    fn name(&self) -> &'static str {
        "close days"
    }

    fn cron(&self) -> &'static str {
        "20 7,22,37,52 * * * *"
    }

    fn runs_at_start(&self) -> bool {
        true
    }

    async fn run(&self) -> Result<(), StoreError> {
        // One of several dispatchers is enough. If two consider themselves the first, the store
        // refuses the later one.
        if self.queue.fleet_position().number > 0 {
            return Ok(());
        }
        let records = close_days(&*self.chain, &*self.queue, self.clock.now()).await?;
        for record in records {
            // The log keeps the digest in a second place, where the database can't change it.
            tracing::info!(
                day = %record.day,
                callbacks = record.counts.queued,
                acknowledged = record.counts.acknowledged,
                digest = %record.digest,
                "day closed"
            );
        }
        Ok(())
    }
}
