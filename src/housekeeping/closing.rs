//! Closes the days that are over, for reconciliation.

use std::sync::Arc;

use async_trait::async_trait;

use super::Chore;
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
impl Chore for Closing {
    fn name(&self) -> &'static str {
        "close days"
    }

    fn cron(&self) -> &'static str {
        "20 7,22,37,52 * * * *"
    }

    async fn run(&self) -> Result<(), StoreError> {
        // One of several dispatchers is enough. Where two take themselves for the first one, the
        // store refuses the later.
        if self.queue.seat().number > 0 {
            return Ok(());
        }
        let links = close_days(&*self.ledger, &*self.queue, self.clock.now()).await?;
        for link in links {
            // The log is a second place for the digest, out of the database's reach.
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
