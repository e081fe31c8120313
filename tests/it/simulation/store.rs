//! The real queue, with the faults before it and the oracle after it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use async_trait::async_trait;
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::domain::{CallbackId, NewCallback, Timestamp};
use callback_dispatcher::store::sqlite::SqliteQueue;
use callback_dispatcher::store::{
    Arrivals, AttemptKey, AuditEntry, CarriedOut, Claim, ClaimResult, CompletedAttempt, Endpoint,
    EnqueueError, Lease, LoweredLimit, Queue, Recorded, RecordedAttempt, Retention, StoreError,
    Survey, Uncount, Unobserved, Unrecorded, Unreleased, UrlCheck,
};
use tokio::sync::Notify;

use super::faults::CallFate;
use super::operation::StoreCall;
use super::world::SharedWorld;

/// Attempts that may be un-counted in one transaction.
const UNCOUNTED_MAX: usize = 500;

/// See the module.
#[derive(Debug)]
pub(super) struct SimulatedQueue {
    inner: Arc<SqliteQueue>,
    world: SharedWorld,
    /// The simulation says when another process's commit is noticed, and when not.
    pub(super) committed: Notify,
}

impl SimulatedQueue {
    pub(super) fn open(path: &Path, world: SharedWorld) -> Self {
        let inner = SqliteQueue::open(path, "the simulation", Arc::new(Unobserved));
        Self {
            inner: Arc::new(inner.unwrap_or_else(|error| panic!("{error}"))),
            world,
            committed: Notify::new(),
        }
    }

    /// Whether something that was asked for is still to be done.
    pub(super) fn is_at_work(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    async fn meets(&self, call: StoreCall, ids: &[i64]) -> Result<bool, StoreError> {
        let fate = {
            let mut world = self.world.lock();
            // Looks and surveys come by themselves, for ever.
            if call != StoreCall::Reading && world.acts() {
                // So that it comes to rest, and the violation is seen.
                CallFate::DiesBefore
            } else {
                world.faults.fate_of(call, ids)
            }
        };
        match fate {
            CallFate::Goes => Ok(false),
            CallFate::DiesAfter => Ok(true),
            CallFate::Fails(error) => Err(error),
            CallFate::DiesBefore => std::future::pending().await,
        }
    }
}

/// Waits for the store with tokio's clock standing still: it would run ahead while the store's
/// thread works.
async fn uninterrupted<T>(work: impl Future<Output = T>) -> T {
    let (done, wait) = mpsc::channel::<()>();
    let hold = tokio::task::spawn_blocking(move || wait.recv());
    let result = work.await;
    drop(done);
    drop(hold);
    result
}

/// What the store was asked for it does, and the oracle sees it, even if the dispatcher that
/// asked is gone by then.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.expect("nobody aborts it")
}

async fn dies(now: bool) {
    if now {
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Queue for SimulatedQueue {
    async fn newest(&self) -> Result<CallbackId, StoreError> {
        self.meets(StoreCall::Everything, &[]).await?;
        uninterrupted(self.inner.newest()).await
    }

    async fn arrivals(&self, after: CallbackId, limit: usize) -> Result<Arrivals, StoreError> {
        self.meets(StoreCall::Reading, &[]).await?;
        uninterrupted(self.inner.arrivals(after, limit)).await
    }

    async fn survey(&self, after: Option<Endpoint>, limit: usize) -> Result<Survey, StoreError> {
        self.meets(StoreCall::Reading, &[]).await?;
        uninterrupted(self.inner.survey(after, limit)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<ClaimResult>, StoreError> {
        let at = claim.now.as_millis();
        {
            let mut world = self.world.lock();
            if world.faults.have_records_failed() {
                world.oracle.violation("it claims what it can't record");
            }
        }
        let dies_after = self.meets(StoreCall::Claiming, &[]).await?;
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        let results = to_its_end(async move {
            let results = uninterrupted(inner.claim(claim)).await?;
            let mut world = world.lock();
            world.absorb_commands();
            for claimed in results.iter().flat_map(|result| &result.callbacks) {
                let id = claimed.lease.id().0;
                // A record that shares this commit comes before it.
                world.absorb(&[id]);
                world.oracle.claimed(id, claimed.attempts, at);
            }
            Ok::<_, StoreError>(results)
        })
        .await?;
        dies(dies_after).await;
        Ok(results)
    }

    async fn record(
        &self,
        ended: Vec<CompletedAttempt>,
    ) -> Result<Vec<RecordedAttempt>, Unrecorded> {
        let ids: Vec<i64> = ended
            .iter()
            .map(|ended| ended.claimed.lease.id().0)
            .collect();
        let dies_after = match self.meets(StoreCall::Recording, &ids).await {
            Ok(dies_after) => dies_after,
            Err(error) => {
                let since = (!error.is_perhaps_one_rows()).then(Stopwatch::start);
                let records_fail = &mut self.world.lock().faults.records_fail;
                *records_fail = since.map(|since| records_fail.unwrap_or(since));
                return Err(Unrecorded::all(error, ended));
            }
        };
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        let recorded = to_its_end(async move {
            let recorded = uninterrupted(inner.record(ended)).await?;
            let mut world = world.lock();
            world.faults.records_fail = None;
            world.absorb_commands();
            world.absorb(&ids);
            for (id, recorded) in ids.iter().zip(&recorded) {
                if recorded.recorded == Recorded::LeaseLost {
                    world.oracle.lease_lost(*id);
                }
            }
            Ok::<_, Unrecorded>(recorded)
        })
        .await?;
        dies(dies_after).await;
        Ok(recorded)
    }

    async fn release(&self, leases: Vec<Lease>) -> Result<(), Unreleased> {
        let ids: Vec<i64> = leases.iter().map(|lease| lease.id().0).collect();
        let dies_after = match self.meets(StoreCall::Recording, &ids).await {
            Ok(dies_after) => dies_after,
            Err(error) => return Err(Unreleased { error, leases }),
        };
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        to_its_end(async move {
            // Before it is done: a claim that shares its commit may be heard of first.
            for id in ids {
                world.lock().oracle.released(id);
            }
            uninterrupted(inner.release(leases)).await
        })
        .await?;
        dies(dies_after).await;
        Ok(())
    }

    async fn uncount(&self, uncount: Uncount) -> Result<Vec<AttemptKey>, StoreError> {
        if uncount.attempts.len() > UNCOUNTED_MAX {
            let asked = uncount.attempts.len();
            let mut world = self.world.lock();
            world
                .oracle
                .violation(format!("{asked} attempts un-counted at once"));
        }
        if let Err(error) = self.meets(StoreCall::Refunding, &[]).await {
            let mut world = self.world.lock();
            world.faults.uncounts_owed.extend(uncount.attempts);
            return Err(error);
        }
        let (asked, due) = (uncount.attempts.clone(), uncount.due.as_millis());
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        to_its_end(async move {
            let unknown = uninterrupted(inner.uncount(uncount)).await?;
            let mut world = world.lock();
            for attempt in &asked {
                world.faults.uncounts_owed.remove(attempt);
            }
            for attempt in asked.iter().filter(|attempt| !unknown.contains(attempt)) {
                let id = attempt.id.0;
                // A record that shares this commit comes before it.
                world.absorb(&[id]);
                let logged = world.database.log_after(id, 0);
                world.oracle.refunded(id, attempt.seq, due, &logged);
            }
            Ok(unknown)
        })
        .await
    }

    async fn interrupt_in_flight(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.meets(StoreCall::Everything, &[]).await?;
        self.world.lock().faults.process_starts();
        // What the last dispatcher did, and did not live to tell.
        self.world.lock().absorb_commands();
        let count = uninterrupted(self.inner.interrupt_in_flight(now)).await?;
        let mut world = self.world.lock();
        let ids = world.oracle.ids();
        world.oracle.starts_at(Some(now.as_millis()));
        world.absorb(&ids);
        world.oracle.starts_at(None);
        world.oracle.interrupted(count);
        Ok(count)
    }

    async fn enqueue(
        &self,
        callbacks: Vec<NewCallback>,
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        uninterrupted(self.inner.enqueue(callbacks, now)).await
    }

    async fn prune(&self, retention: Retention) -> Result<usize, StoreError> {
        uninterrupted(self.inner.prune(retention)).await
    }

    async fn note_lowered_limits(&self, lowered: Vec<LoweredLimit>) -> Result<(), StoreError> {
        uninterrupted(self.inner.note_lowered_limits(lowered)).await
    }

    async fn carry_out(
        &self,
        now: Timestamp,
        _check_url: UrlCheck<'_>,
    ) -> Result<CarriedOut, StoreError> {
        let dies_after = self.meets(StoreCall::CarryingOut, &[]).await?;
        let (inner, world) = (Arc::clone(&self.inner), self.world.clone());
        let carried_out = to_its_end(async move {
            let carried_out = uninterrupted(inner.carry_out(now, &|_| Ok(()))).await?;
            world.lock().absorb_commands();
            Ok::<_, StoreError>(carried_out)
        })
        .await?;
        dies(dies_after).await;
        Ok(carried_out)
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        uninterrupted(self.inner.write_audit(entry)).await
    }

    async fn maintain(&self) -> Result<(), StoreError> {
        uninterrupted(self.inner.maintain()).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        uninterrupted(self.inner.probe()).await
    }

    async fn changed(&self) {
        self.committed.notified().await;
    }

    async fn close(&self) {
        uninterrupted(self.inner.close()).await;
    }
}
