//! What has to be done now and then: closing days, pruning, maintenance of the file, counting.
//!
//! A [`Chore`] is idempotent and takes no input: what there is to do stands in the store. Each has
//! a task of its own that waits for a knock, and does the chore once however often was knocked
//! meanwhile. The cron scheduler does nothing but knock; so a job that is late, doubled or lost
//! does no harm, and a chore never overlaps itself.
//!
//! Deliberately absent: deliveries. Their truth is `next_attempt_at`, and the dispatcher's timer.

mod closing;
mod maintenance;
mod pruning;
mod statistics;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::store::StoreError;

pub use closing::Closing;
pub use maintenance::Maintenance;
pub use pruning::Pruning;
pub use statistics::{Statistics, StatsSink};

/// Something to be done now and then.
#[async_trait]
pub trait Chore: fmt::Debug + Send + Sync + 'static {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// When it is knocked for: seconds, minutes, hours, day, month, weekday; UTC.
    fn cron(&self) -> &str;

    /// Does all there is to do.
    async fn run(&self) -> Result<(), StoreError>;
}

/// Why there is no housekeeping.
#[derive(Debug, Error)]
pub enum HousekeepingError {
    /// A chore's time is not a cron expression.
    #[error("chore {chore}: {cron:?} is not a cron expression of six fields ({source})")]
    Cron {
        /// Whose.
        chore: &'static str,
        /// What it is.
        cron: String,
        /// What the scheduler said.
        source: JobSchedulerError,
    },
    /// The scheduler itself failed.
    #[error("the cron scheduler failed: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// Chores at work.
pub struct Housekeeping {
    scheduler: JobScheduler,
    workers: JoinSet<()>,
}

impl fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Housekeeping({} chores)", self.workers.len())
    }
}

impl Housekeeping {
    /// Schedules `chores`, and does each once right away.
    ///
    /// # Errors
    ///
    /// The scheduler refused one of them, for instance its cron expression.
    pub async fn start(chores: Vec<Arc<dyn Chore>>) -> Result<Self, HousekeepingError> {
        let scheduler = JobScheduler::new().await?;
        let mut workers = JoinSet::new();
        for chore in chores {
            let knock = Arc::new(Notify::new());
            knock.notify_one();
            let knocker = Arc::clone(&knock);
            let job = Job::new(chore.cron(), move |_, _| knocker.notify_one());
            let job = job.map_err(|source| HousekeepingError::Cron {
                chore: chore.name(),
                cron: chore.cron().to_owned(),
                source,
            })?;
            scheduler.add(job).await?;
            workers.spawn(work(chore, knock));
        }
        scheduler.start().await?;
        Ok(Self { scheduler, workers })
    }

    /// Ends the chores, between two of their steps. Whatever is left is done another time.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the cron scheduler did not stop cleanly");
        }
        self.workers.shutdown().await;
    }
}

async fn work(chore: Arc<dyn Chore>, knock: Arc<Notify>) {
    loop {
        knock.notified().await;
        let name = chore.name();
        // A chore keeps nothing from one run to the next that a panic could leave half-made.
        match AssertUnwindSafe(chore.run()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(chore = name, %error, "a chore was not done; it is tried again at its next time");
            }
            Err(_) => tracing::error!(
                chore = name,
                "a chore has panicked, see above; it is tried again at its next time"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Panics at its first run.
    #[derive(Debug, Default)]
    struct Stumbling {
        has_stumbled: AtomicBool,
        done: Notify,
    }

    #[async_trait]
    impl Chore for Stumbling {
        fn name(&self) -> &'static str {
            "stumble"
        }

        fn cron(&self) -> &'static str {
            "0 0 0 1 1 *"
        }

        async fn run(&self) -> Result<(), StoreError> {
            let first = !self.has_stumbled.swap(true, Ordering::SeqCst);
            self.done.notify_one();
            assert!(!first, "a panic on purpose");
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_chore_that_has_panicked_is_done_the_next_time() {
        let chore = Arc::new(Stumbling::default());
        let knock = Arc::new(Notify::new());
        let worker = tokio::spawn(work(
            Arc::clone(&chore) as Arc<dyn Chore>,
            Arc::clone(&knock),
        ));
        for _ in 0..2 {
            knock.notify_one();
            tokio::select! {
                () = chore.done.notified() => {}
                () = async { while !worker.is_finished() { tokio::task::yield_now().await } } => {
                    panic!("its task has ended");
                }
            }
        }
        worker.abort();
    }
}
