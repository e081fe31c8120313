//! Records completed attempts: in batches, for as long as it takes.
//!
//! The recorder is one task, fed by a bounded channel. It gathers a batch, has the store record it in
//! one transaction, and tells the scheduler, the metrics and the log. It also un-counts the attempts
//! that an outage of our own had used up, a bounded number in each transaction.
//!
//! Nothing that was sent is forgotten: a batch that the store refuses is recorded again until the
//! store takes it, and meanwhile nothing more is claimed or sent. An attempt that spoils its batch is
//! recorded alone, with retries, beside the others; but first the store has to show that it takes any
//! attempt at all.
//!
//! The task ends when its channel is closed and everything is recorded and un-counted, or when the
//! store is beyond healing. Deliberately absent: claims. They share commits with records because the
//! store's writer groups what is asked for at the same time.

mod uncounting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::uncounting::Uncounting;
use super::context::Context;
use super::observer::FinishedAttempt;
use super::shared::{Completion, Shared};
use crate::clock::until;
use crate::domain::Next;
use crate::failpoint;
use crate::store::{
    CompletedAttempt, EndpointDue, Recorded, RecordedAttempt, StoreError, Unrecorded,
};

/// Completed attempts that wait for the recorder. More hold the workers back.
pub(super) const INBOX_MAX: usize = 1024;

/// Attempts in one transaction.
const BATCH_MAX: usize = 1024;

/// The pause after a store that records nothing.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The first wait after an attempt was rejected; doubled each time.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The longest.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Recorder {
    context: Context,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Completion>,
    uncounting: Uncounting,
    /// Attempts that the store takes alone or not at all.
    rejected: JoinSet<Result<(), StoreError>>,
}

/// What the recorder is told.
enum Event {
    Completed(Option<Completion>),
    UncountDue,
    RejectedRecorded(Result<(), StoreError>),
}

impl Recorder {
    pub(super) fn new(
        context: Context,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Completion>,
    ) -> Self {
        Self {
            context,
            shared,
            inbox,
            uncounting: Uncounting::default(),
            rejected: JoinSet::new(),
        }
    }

    /// Records until the channel is closed and nothing is left to be done.
    ///
    /// # Errors
    ///
    /// The store is beyond healing.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        let mut is_open = true;
        while is_open || !self.rejected.is_empty() || self.uncounting.has_work() {
            match self.next_event(is_open).await {
                Event::Completed(Some(first)) => {
                    let batch = self.gather(first).await;
                    self.record(batch).await?;
                    // Here as well, so that a steady stream of outcomes can't keep it waiting.
                    if self.uncounting.is_due() {
                        self.uncount().await?;
                    }
                }
                Event::Completed(None) => is_open = false,
                Event::UncountDue => self.uncount().await?,
                Event::RejectedRecorded(recorded) => {
                    recorded?;
                    self.uncounting.ask_again();
                }
            }
        }
        Ok(())
    }

    async fn next_event(&mut self, is_open: bool) -> Event {
        let uncount_at = self.uncounting.due_at();
        tokio::select! {
            // In a fixed order, so that a seed of the simulation replays. Rare events come first: the
            // inbox may never be empty.
            biased;
            Some(recorded) = self.rejected.join_next() => Event::RejectedRecorded(match recorded {
                Ok(recorded) => recorded,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }),
            completed = self.inbox.recv(), if is_open => Event::Completed(completed),
            () = until(uncount_at) => Event::UncountDue,
        }
    }

    /// Waits for attempts that can share the commit of `first`, and takes what has come.
    async fn gather(&mut self, first: Completion) -> Vec<CompletedAttempt> {
        // Before the condition is looked at, so that its change is not missed.
        let batch_due = self.shared.batch_due();
        let is_due = self.shared.lock().is_batch_due();
        if !is_due {
            tokio::select! {
                // In a fixed order, so that a seed of the simulation replays; either ends the wait.
                biased;
                () = batch_due => {}
                () = tokio::time::sleep(self.context.queue.batch_delay()) => {}
            }
        }
        let mut batch = Vec::with_capacity(self.inbox.len() + 1);
        let mut next = Some(first);
        while let Some(Completion { attempt, uncount }) = next {
            batch.push(attempt);
            self.uncounting.add(uncount);
            next = match batch.len() < BATCH_MAX {
                true => self.inbox.try_recv().ok(),
                false => None,
            };
        }
        batch
    }

    /// Records `batch`, for as long as it takes.
    async fn record(&mut self, mut batch: Vec<CompletedAttempt>) -> Result<(), StoreError> {
        loop {
            self.uncounting
                .correct(&mut batch, self.context.clock.now());
            match record(&self.context, &self.shared, batch).await {
                Ok(()) => {
                    self.shared.set_records_fail(false);
                    return Ok(());
                }
                Err(Unrecorded {
                    error, attempts, ..
                }) if error.is_permanent() => {
                    for attempt in &attempts {
                        lost(attempt, &error);
                    }
                    return Err(error);
                }
                Err(Unrecorded {
                    error: error @ StoreError::Locked(_),
                    attempts,
                    ..
                }) => {
                    tracing::warn!(%error, attempts = attempts.len(),
                        "attempts are not recorded; will try it later, the others are");
                    self.retry(attempts);
                    self.shared.set_records_fail(false);
                    return Ok(());
                }
                Err(Unrecorded {
                    error, attempts, ..
                }) if error.is_perhaps_one_rows()
                    && self.context.queue.probe_records().await.is_ok() =>
                {
                    return self.record_each(attempts).await;
                }
                Err(Unrecorded {
                    error, attempts, ..
                }) => {
                    tracing::error!(%error, attempts = attempts.len(), retry_in_ms = STORE_PAUSE.as_millis(),
                        "attempts are not recorded; nothing is claimed or sent until they are");
                    self.shared.set_records_fail(true);
                    batch = attempts;
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// One attempt has spoiled its batch: each is recorded alone.
    async fn record_each(&mut self, attempts: Vec<CompletedAttempt>) -> Result<(), StoreError> {
        let is_alone = attempts.len() == 1;
        for attempt in attempts {
            let rejected = match is_alone {
                true => Err(vec![attempt]),
                false => match record(&self.context, &self.shared, vec![attempt]).await {
                    Ok(()) => Ok(()),
                    Err(Unrecorded { attempts, .. }) => Err(attempts),
                },
            };
            if let Err(attempts) = rejected {
                self.retry(attempts);
            }
        }
        self.shared.set_records_fail(false);
        Ok(())
    }

    /// Has these recorded beside the others.
    fn retry(&mut self, attempts: Vec<CompletedAttempt>) {
        self.rejected.spawn(record_with_retry(
            self.context.clone(),
            Arc::clone(&self.shared),
            attempts,
        ));
    }

    async fn uncount(&mut self) -> Result<(), StoreError> {
        let may_come = !self.rejected.is_empty();
        let uncounted = self.uncounting.next_batch(&self.context, may_come).await?;
        if uncounted {
            self.shared.ask_for_survey();
        }
        Ok(())
    }
}

/// Records attempts, for as long as it takes: the merchant may have been told, and that must not be
/// forgotten.
async fn record_with_retry(
    context: Context,
    shared: Arc<Shared>,
    mut attempts: Vec<CompletedAttempt>,
) -> Result<(), StoreError> {
    let mut wait = RETRY_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        match record(&context, &shared, attempts).await {
            Ok(()) => return Ok(()),
            Err(Unrecorded {
                error,
                attempts: again,
                ..
            }) => {
                if error.is_permanent() {
                    again.iter().for_each(|attempt| lost(attempt, &error));
                    return Err(error);
                }
                wait = (wait * 2).min(RETRY_WAIT_MAX);
                let first = again.first().map(|attempt| attempt.claimed.lease.id().0);
                tracing::warn!(callback_id = first, attempts = again.len(), %error,
                    retry_in_ms = wait.as_millis(), "attempts are not recorded; will try it later");
                attempts = again;
            }
        }
    }
}

/// Says that the merchant was perhaps told and the database does not know.
fn lost(attempt: &CompletedAttempt, error: &StoreError) {
    let callback_id = attempt.claimed.lease.id().0;
    tracing::error!(callback_id, %error, "an outcome is lost; its callback will be sent again");
}

/// Records `attempts` in one transaction, and tells the observers and the scheduler.
async fn record(
    context: &Context,
    shared: &Shared,
    attempts: Vec<CompletedAttempt>,
) -> Result<(), Unrecorded> {
    let (recorded, unrecorded) = match context.queue.record(attempts).await {
        Ok(recorded) => (recorded, None),
        Err(unrecorded) if unrecorded.recorded.is_empty() => return Err(unrecorded),
        Err(mut unrecorded) => (std::mem::take(&mut unrecorded.recorded), Some(unrecorded)),
    };
    failpoint::here!("record-after-commit");
    let at = context.clock.moment();
    let mut finished = Vec::with_capacity(recorded.len());
    for recorded in &recorded {
        match recorded.recorded {
            Recorded::Applied => finished.push(FinishedAttempt::new(recorded, at.now)),
            Recorded::LeaseLost => tracing::warn!(
                callback_id = recorded.id.0,
                outcome = recorded.attempt.verdict.outcome.as_str(),
                "the callback moved on during its attempt; the attempt is not in the log"
            ),
        }
    }
    context.observer.attempts_finished(&finished);
    let retries = recorded.iter().filter_map(retry).collect();
    shared.recorded(recorded.len(), retries, at);
    unrecorded.map_or(Ok(()), Err)
}

fn retry(recorded: &RecordedAttempt) -> Option<EndpointDue> {
    match recorded.next {
        Next::RetryAt(due) => Some(EndpointDue {
            endpoint: recorded.endpoint.clone(),
            due,
        }),
        Next::Delivered | Next::Exhausted => None,
    }
}
