//! The queue in a PostgreSQL database, for several dispatchers.
//!
//! | who | what |
//! |---|---|
//! | [`PostgresQueue`] | the side of a dispatcher, one of several |
//! | [`PostgresProducer`] | queues and prunes rows from a command |
//! | `transfer` | holds the queue at either end of a transfer |
//! | [`PostgresCommands`] | what operators ask for |
//! | [`PostgresInspection`] | reads, for people and auditors |
//! | [`Database`] | a URL that was read, and what is connected to by it |
//! | `listener` | notifications of other sessions' commits |
//! | `fleet` | tells the dispatchers of each other |
//! | `reclaim` | takes over what dispatchers that are gone have left in flight |
//!
//! Nobody holds the queue alone. A claim takes rows past those that others are just taking (`FOR
//! UPDATE SKIP LOCKED`), and leaves a lease under a token that names the dispatcher. Leases live as
//! long as their dispatcher's heartbeats (see `fleet`); those of a dispatcher that has fallen silent
//! are taken over (see `reclaim`). What was taken over is past recording, but for an acknowledgement
//! of what was sent last. All this goes by steady clocks, each compared with itself alone. What is
//! due when goes by the server's clock, however wrong a dispatcher's own is.
//!
//! A dispatcher that could not reach the database for a while takes over nothing at first: those
//! that were cut off with it have answers to record.
//!
//! Each call is one statement, and so one transaction. Transactions of several are each batch of an
//! operator's command, and what is kept of a day (see `closing`). The planner of a dispatcher's
//! sessions is kept to the indexes (see `connection`).

mod arrivals;
mod claim;
mod closing;
mod commands;
mod connection;
mod error;
mod fleet;
mod inspection;
mod listener;
mod prune;
mod reclaim;
mod record;
mod rows;
mod schema;
mod session;
mod transfer;
mod walks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::command::carry_out::carry_out;
use super::enqueue::enqueue;
use super::learned_limit;
use super::uncount::uncount;
use super::{
    Arrivals, AttemptKey, AuditEntry, CarriedOut, Claim, ClaimResult, CommitObserver,
    CompletedAttempt, Endpoint, EnqueueError, FleetPosition, Lease, LoweredLimit, OpenError, Queue,
    RecordedAttempt, Retention, StoreError, Survey, Uncount, Unrecorded, Unreleased, UrlCheck,
};
use crate::clock::Stopwatch;
use crate::domain::{CallbackId, NewCallback, Timestamp};

pub use commands::PostgresCommands;
pub use connection::{Database, UrlError};
pub use fleet::FleetTiming;
pub use inspection::PostgresInspection;
pub use schema::{SCHEMA, SCHEMA_VERSION, has_dispatchers, init};
pub use transfer::{check_in_use, transfer_source, transfer_target};

use closing::Closing;
use connection::{Pool, User};
use fleet::Fleet;
use listener::Listener;
use record::LockedRows;
use walks::Walks;

/// With 64 attempts of 50 ms in flight, some twenty-five end within this time.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// The side of one dispatcher of a queue in PostgreSQL.
#[derive(Debug)]
pub struct PostgresQueue {
    pool: Pool,
    /// For what may take longer than a dispatcher's statements.
    slow_pool: Pool,
    closing: Closing,
    fleet: Fleet,
    listener: Listener,
    observer: Arc<dyn CommitObserver>,
    /// Why the last record failed, if it did: no commit of ours is worth anything then.
    record_fault: Mutex<Option<StoreError>>,
    locked_rows: LockedRows,
    walks: Walks,
}

impl PostgresQueue {
    /// Joins the dispatchers of `database`; migrates an older schema. `name` tells people who this is. All of them must go by the same `timing`.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or the schema is not of this version.
    pub async fn open(
        database: &Database,
        name: &str,
        timing: FleetTiming,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self, OpenError> {
        let people = database.people();
        database.require_sessions(&people).await?;
        schema::migrate_older(database).await?;
        let pool = database.pool(User::Dispatcher);
        let failed = |error| database.open_error(error);
        let heartbeats = database.pool(User::Heartbeat);
        let fleet = Fleet::join(heartbeats, name, timing, Arc::clone(&observer))
            .await
            .map_err(failed)?;
        // After it has joined: see `transfer`.
        let mut usable = transfer::require_in_use(database, &pool).await;
        if usable.is_ok() {
            // Nothing is sent that can't be recorded.
            usable = record::probe(&pool).await.map_err(failed);
        }
        if let Err(error) = usable {
            fleet.leave().await;
            return Err(error);
        }
        let listener = Listener::start(database.clone()).await.map_err(failed)?;
        Ok(Self {
            closing: Closing::new(people.clone()),
            slow_pool: people,
            pool,
            fleet,
            listener,
            observer,
            record_fault: Mutex::default(),
            locked_rows: LockedRows::default(),
            walks: Walks::default(),
        })
    }

    fn record_fault(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.record_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the observer of a commit that has carried `writes` requests.
    fn committed<T, E>(&self, since: Stopwatch, result: Result<T, E>) -> Result<T, E> {
        if result.is_ok() {
            self.observer.committed(since.elapsed(), 1);
        }
        result
    }
}

/// Checks that `database` has a queue of this version that can be written.
///
/// # Errors
///
/// What is wrong with it.
pub async fn check(database: &Database) -> Result<String, OpenError> {
    let pool = database.people();
    database.require_sessions(&pool).await?;
    schema::require_current(database, &pool).await?;
    transfer::require_in_use(database, &pool).await?;
    let failed = |error| database.open_error(error);
    let version = schema::check_writable(&pool).await.map_err(failed)?;
    record::probe(&pool).await.map_err(failed)?;
    let ahead = fleet::measure_skew(&pool).await.map_err(failed)?;
    Ok(match ahead.abs() >= SKEW_TOLD_MS {
        true => format!(
            "{version}; its clock is {ahead} ms ahead of this host's, and what is due goes by it"
        ),
        false => version,
    })
}

/// A difference between the clocks that is worth a word.
const SKEW_TOLD_MS: i64 = 1000;

/// Adds to the queue and prunes it, beside running dispatchers.
#[derive(Debug)]
pub struct PostgresProducer {
    pool: Pool,
}

impl PostgresProducer {
    /// Opens an existing queue of this version.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or the schema is not of this version.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let pool = database.people();
        schema::require_current(database, &pool).await?;
        transfer::require_in_use(database, &pool).await?;
        Ok(Self { pool })
    }

    /// Queues all of `callbacks` or none, as of `now`; returns their ids in order.
    ///
    /// # Errors
    ///
    /// Which callback was refused, or that the database failed.
    pub async fn enqueue(
        &self,
        callbacks: &[NewCallback],
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        enqueue_all(&self.pool, callbacks, now).await
    }
}

async fn enqueue_all(
    pool: &Pool,
    callbacks: &[NewCallback],
    now: Timestamp,
) -> Result<Vec<CallbackId>, EnqueueError> {
    let mut client = pool.client().await?;
    let call = client.call();
    // The refusal of a row is an answer as well, and has a type of its own.
    let queueing = async {
        let transaction = client.transaction().await?;
        let ids = match enqueue(&transaction, callbacks, now).await {
            Ok(ids) => ids,
            Err(refused) => return Ok(Err(refused)),
        };
        transaction.commit().await?;
        Ok::<_, StoreError>(Ok(ids))
    };
    call.within(queueing).await?
}

#[async_trait]
impl Queue for PostgresQueue {
    async fn newest(&self) -> Result<CallbackId, StoreError> {
        arrivals::newest(&self.pool).await
    }

    async fn arrivals(&self, after: CallbackId, _limit: usize) -> Result<Arrivals, StoreError> {
        arrivals::arrivals(&self.pool, &self.listener, after).await
    }

    async fn survey(&self, after: Option<Endpoint>, limit: usize) -> Result<Survey, StoreError> {
        let mut survey = arrivals::survey(&self.pool, after.as_ref(), limit).await?;
        let skew = self.fleet.skew();
        for endpoint in &mut survey.due {
            endpoint.due = skew.here(endpoint.due);
        }
        Ok(survey)
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<ClaimResult>, StoreError> {
        let since = Stopwatch::start();
        let results = claim::claim(&self.pool, &self.fleet, &self.walks, &claim).await;
        self.committed(since, results)
    }

    async fn record(
        &self,
        attempts: Vec<CompletedAttempt>,
    ) -> Result<Vec<RecordedAttempt>, Unrecorded> {
        let since = Stopwatch::start();
        self.observer.wanted();
        let recorded =
            record::record(&self.pool, &self.locked_rows, &attempts, self.fleet.skew()).await;
        *self.record_fault() = recorded.as_ref().err().cloned();
        let results = match self.committed(since, recorded) {
            Err(error) => {
                self.observer.failed(false);
                return Err(Unrecorded::all(error, attempts));
            }
            Ok(results) => results,
        };
        let (mut recorded, mut locked) = (Vec::with_capacity(attempts.len()), Vec::new());
        for (attempt, result) in attempts.into_iter().zip(results) {
            match result {
                Some(result) => recorded.push(attempt.recorded(result)),
                None => locked.push(attempt),
            }
        }
        match locked.len() {
            0 => Ok(recorded),
            rows => Err(Unrecorded {
                error: StoreError::Locked(format!("{rows} rows")),
                attempts: locked,
                recorded,
            }),
        }
    }

    async fn release(&self, leases: Vec<Lease>) -> Result<(), Unreleased> {
        let released = claim::release(&self.pool, &leases).await;
        self.walks.forget();
        match released {
            Err(error) => Err(Unreleased { error, leases }),
            Ok(()) => Ok(()),
        }
    }

    async fn uncount(&self, mut request: Uncount) -> Result<Vec<AttemptKey>, StoreError> {
        request.due = self.fleet.skew().there(request.due);
        let mut unknown = Vec::new();
        for batch in request.batches() {
            let mut client = self.pool.client().await?;
            let call = client.call();
            let uncounting = async {
                let transaction = client.transaction().await?;
                let unknown = uncount(&transaction, &batch).await?;
                transaction.commit().await?;
                Ok::<_, StoreError>(unknown)
            };
            unknown.extend(call.within(uncounting).await?);
        }
        Ok(unknown)
    }

    async fn interrupt_in_flight(&self, now: Timestamp) -> Result<usize, StoreError> {
        let now = self.fleet.skew().there(now);
        reclaim::reclaim(&self.pool, &self.fleet, now).await
    }

    async fn carry_out(
        &self,
        now: Timestamp,
        check_url: UrlCheck<'_>,
    ) -> Result<CarriedOut, StoreError> {
        let skew = self.fleet.skew();
        let mut carried_out = carry_out(self, skew.there(now), check_url).await?;
        for endpoint in &mut carried_out.due {
            endpoint.due = skew.here(endpoint.due);
        }
        Ok(carried_out)
    }

    async fn enqueue(
        &self,
        callbacks: Vec<NewCallback>,
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        enqueue_all(&self.pool, &callbacks, self.fleet.skew().there(now)).await
    }

    async fn prune(&self, retention: Retention) -> Result<usize, StoreError> {
        prune::prune(&self.slow_pool, &retention).await
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.closing.write(entry).await
    }

    async fn note_lowered_limits(&self, lowered: Vec<LoweredLimit>) -> Result<(), StoreError> {
        let mut client = self.slow_pool.client().await?;
        let call = client.call();
        let noting = async {
            let transaction = client.transaction().await?;
            learned_limit::note(&transaction, self.fleet.id(), &lowered).await?;
            Ok::<_, StoreError>(transaction.commit().await?)
        };
        call.within(noting).await
    }

    /// The server sees to its files itself: autovacuum, as the schema sets it up.
    async fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.fleet.probe().await?;
        self.record_fault().clone().map_or(Ok(()), Err)
    }

    async fn probe_records(&self) -> Result<(), StoreError> {
        record::probe(&self.pool).await
    }

    /// Longer than with SQLite: all dispatchers share the server.
    fn batch_delay(&self) -> Duration {
        BATCH_DELAY
    }

    fn fleet_position(&self) -> FleetPosition {
        self.fleet.position()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn changed(&self) {
        self.listener.changed().await;
    }

    async fn close(&self) {
        self.listener.stop();
        self.fleet.leave().await;
        self.pool.close();
    }
}
