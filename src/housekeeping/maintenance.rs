//! Keeps the database's files small.

use std::sync::Arc;

use async_trait::async_trait;

use super::HousekeepingJob;
use crate::store::{Queue, StoreError};

/// Checkpoints the write-ahead log and gives free pages back, at the start and every five
/// minutes.
#[derive(Debug)]
pub struct Maintenance {
    /// The queue to maintain.
    pub queue: Arc<dyn Queue>,
}

#[async_trait]
impl HousekeepingJob for Maintenance {
    fn name(&self) -> &'static str {
        "maintain"
    }

    fn cron(&self) -> &'static str {
        "40 */5 * * * *"
    }

    fn runs_at_start(&self) -> bool {
        true
    }

    async fn run(&self) -> Result<(), StoreError> {
        self.queue.maintain().await
    }
}
