//! Periodic work: closing days, pruning, maintenance of the file, counting.
//!
//! A [`HousekeepingJob`] is idempotent and takes no input: the store says what there is to do. Each
//! has a task of its own that waits for a trigger; triggers during a run lead to one more run. The
//! cron scheduler does nothing but trigger, so a trigger that is late, doubled or lost does no harm,
//! and a job never overlaps itself.
//!
//! Three jobs also run when the daemon starts. Days are closed and the file is maintained, because a
//! daemon that restarts more often than the job's period would never do so. Callbacks are counted,
//! so that the first scrape of the metrics finds the gauges. Pruning deletes, so it keeps to the
//! hour that the operator chose.
//!
//! Deliberately absent: deliveries. They depend on `next_attempt_at` and the dispatcher's timer.

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
use tokio_cron_scheduler::{Job as CronTrigger, JobScheduler, JobSchedulerError};

use crate::store::StoreError;

pub use closing::Closing;
pub use maintenance::Maintenance;
pub use pruning::Pruning;
pub use statistics::{Statistics, StatsSink};

/// One kind of periodic work.
#[async_trait]
pub trait HousekeepingJob: fmt::Debug + Send + Sync + 'static {
    /// Its name in logs. No two jobs share one.
    fn name(&self) -> &'static str;

    /// When it is triggered: seconds, minutes, hours, day, month, weekday; UTC.
    fn cron(&self) -> &str;

    /// Whether it also runs when the daemon starts.
    fn runs_at_start(&self) -> bool {
        false
    }

    /// Does all there is to do.
    async fn run(&self) -> Result<(), StoreError>;
}

/// Why there is no housekeeping.
#[derive(Debug, Error)]
pub enum HousekeepingError {
    /// The expression does not parse.
    #[error("job {job}: {cron:?} is not a cron expression of six fields ({source})")]
    Cron {
        /// The job's name.
        job: &'static str,
        /// The expression.
        cron: String,
        /// The parser's reason.
        source: JobSchedulerError,
    },
    /// The scheduler itself failed.
    #[error("the cron scheduler failed: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// The jobs and their triggers.
pub struct Housekeeping {
    scheduler: JobScheduler,
    running: Vec<Running>,
}

struct Running {
    name: &'static str,
    trigger: CronTrigger,
    /// One task; a set ends it when it is dropped.
    worker: JoinSet<()>,
}

impl fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.running.iter().map(|job| job.name);
        f.debug_list().entries(names).finish()
    }
}

impl Housekeeping {
    /// Schedules `jobs`, and runs those that run at start.
    ///
    /// # Errors
    ///
    /// The scheduler refused one of them, for instance its cron expression.
    pub async fn start(jobs: Vec<Arc<dyn HousekeepingJob>>) -> Result<Self, HousekeepingError> {
        let mut housekeeping = Self {
            scheduler: JobScheduler::new().await?,
            running: Vec::new(),
        };
        for job in jobs {
            housekeeping.replace(job).await?;
        }
        housekeeping.scheduler.start().await?;
        Ok(housekeeping)
    }

    /// Puts `job` in place of the one with its name. The old one ends, between two of its steps,
    /// before the new one begins.
    ///
    /// # Errors
    ///
    /// As [`Housekeeping::start`]; the old job goes on then.
    pub async fn replace(
        &mut self,
        job: Arc<dyn HousekeepingJob>,
    ) -> Result<(), HousekeepingError> {
        let name = job.name();
        let triggered = Arc::new(Notify::new());
        let notify = Arc::clone(&triggered);
        let trigger = CronTrigger::new(job.cron(), move |_, _| notify.notify_one());
        let trigger = trigger.map_err(|source| HousekeepingError::Cron {
            job: name,
            cron: job.cron().to_owned(),
            source,
        })?;
        self.scheduler.add(trigger.clone()).await?;
        if let Some(index) = self.running.iter().position(|old| old.name == name) {
            let mut old = self.running.swap_remove(index);
            if let Err(error) = self.scheduler.remove(&old.trigger.guid()).await {
                tracing::warn!(job = name, %error, "the old trigger stays; nothing listens to it");
            }
            old.worker.shutdown().await;
        }
        if job.runs_at_start() {
            triggered.notify_one();
        }
        let mut worker = JoinSet::new();
        worker.spawn(work(job, triggered));
        self.running.push(Running {
            name,
            trigger,
            worker,
        });
        Ok(())
    }

    /// Ends the jobs, between two of their steps. The next run continues where they stopped.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the cron scheduler did not stop cleanly");
        }
        for job in &mut self.running {
            job.worker.shutdown().await;
        }
    }
}

async fn work(job: Arc<dyn HousekeepingJob>, triggered: Arc<Notify>) {
    loop {
        triggered.notified().await;
        let name = job.name();
        // A job keeps nothing from one run to the next that a panic could leave half-made.
        match AssertUnwindSafe(job.run()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(job = name, %error, "a housekeeping job failed; its next run tries again");
            }
            Err(_) => tracing::error!(
                job = name,
                "a housekeeping job panicked, see above; its next run tries again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Never triggered by its cron expression while a test runs.
    #[derive(Debug, Default)]
    struct TestJob {
        runs_at_start: bool,
        panics_at_first: bool,
        hangs: bool,
        runs: AtomicUsize,
        has_run: Notify,
        is_running: Arc<AtomicBool>,
    }

    /// Clears its flag when a run ends, however it ends.
    struct RunGuard<'a>(&'a AtomicBool);

    impl Drop for RunGuard<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl HousekeepingJob for TestJob {
        fn name(&self) -> &'static str {
            "test"
        }

        fn cron(&self) -> &'static str {
            "0 0 0 1 1 *"
        }

        fn runs_at_start(&self) -> bool {
            self.runs_at_start
        }

        async fn run(&self) -> Result<(), StoreError> {
            let overlaps = self.is_running.swap(true, Ordering::SeqCst);
            assert!(!overlaps, "two runs at once");
            let _guard = RunGuard(&self.is_running);
            let runs = self.runs.fetch_add(1, Ordering::SeqCst);
            self.has_run.notify_one();
            if self.hangs {
                std::future::pending::<()>().await;
            }
            assert!(runs > 0 || !self.panics_at_first, "a panic on purpose");
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_job_that_panicked_runs_again_at_the_next_trigger() {
        let job = Arc::new(TestJob {
            panics_at_first: true,
            ..TestJob::default()
        });
        let triggered = Arc::new(Notify::new());
        let worker = tokio::spawn(work(Arc::clone(&job) as _, Arc::clone(&triggered)));
        for _ in 0..2 {
            triggered.notify_one();
            tokio::select! {
                biased; // a run counts even if it ended the task
                () = job.has_run.notified() => {}
                () = async { while !worker.is_finished() { tokio::task::yield_now().await } } => {
                    panic!("its task has ended");
                }
            }
        }
        worker.abort();
    }

    #[tokio::test]
    async fn a_start_runs_only_the_jobs_that_ask_for_it() {
        for (runs_at_start, runs) in [(true, 1), (false, 0)] {
            let job = Arc::new(TestJob {
                runs_at_start,
                ..TestJob::default()
            });
            let housekeeping = Housekeeping::start(vec![Arc::clone(&job) as _]).await;
            // The job's task is polled before this one is again.
            tokio::task::yield_now().await;
            assert_eq!(job.runs.load(Ordering::SeqCst), runs);
            housekeeping.expect("started").stop().await;
        }
    }

    #[tokio::test]
    async fn a_replaced_job_ends_before_its_successor_begins() {
        let is_running = Arc::new(AtomicBool::new(false));
        let job = || {
            Arc::new(TestJob {
                runs_at_start: true,
                hangs: true,
                is_running: Arc::clone(&is_running),
                ..TestJob::default()
            })
        };
        let (old, new) = (job(), job());
        let housekeeping = Housekeeping::start(vec![Arc::clone(&old) as _]).await;
        let mut housekeeping = housekeeping.expect("started");
        old.has_run.notified().await;
        housekeeping
            .replace(Arc::clone(&new) as _)
            .await
            .expect("replaced");
        new.has_run.notified().await;
        assert_eq!(housekeeping.running.len(), 1);
        housekeeping.stop().await;
        assert!(!is_running.load(Ordering::SeqCst));
    }
}
