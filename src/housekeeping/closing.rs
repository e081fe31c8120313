//! Closes the days that are over, for reconciliation.

use std::sync::Arc;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::clock::SharedClock;
use crate::reconciliation::close_days;
use crate::store::{Ledger, Queue, StoreError};

/// Adds days to the chain, an hour after their end.
#[derive(Debug)]
pub struct Closing {
    /// Where the chain is read.
    pub ledger: Arc<dyn Ledger>,
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
        let links = close_days(&*self.ledger, &*self.queue, self.clock.now()).await?;
        for link in links {
            // The log keeps the digest in a second place, where the database can't change it.
            tracing::info!(
                day = %link.day,
                callbacks = link.counts.queued,
                acknowledged = link.counts.acknowledged,
                digest = %link.digest,
                "day closed"
            );
        }
        Ok(())
    }
}
