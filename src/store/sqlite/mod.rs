//! The queue in an SQLite file.
//!
//! | who | what |
//! |---|---|
//! | [`SqliteQueue`] | the dispatcher's side; holds the instance lock |
//! | [`SqliteProducer`] | queues rows from a command, beside a running dispatcher |
//! | [`SqliteInspection`] | reads, on connections of its own |
//! | [`SqliteCommands`] | takes operators' commands, beside a running dispatcher |
//! | `transfer` | holds the queue at either end of a transfer |
//! | `writer` | the one thread that writes for this process, in groups |
//! | `lock_backoff` | leaves the lock to other processes in turn |
//! | `wal_watch` | the inotify watch, and when it is masked |
//! | `commit_watcher` | notices other processes' commits |
//!
//! Every write of this process goes through one thread and one connection, so SQLite's lock is
//! only ever contended by other processes. That thread commits all that has gathered meanwhile in
//! one transaction: one fsync for many claims and outcomes.
//!
//! Every statement on the way of a callback names its index (`INDEXED BY`), and nothing here runs
//! ANALYZE: statistics taken while the table was small would have the planner scan it when it is
//! large.
//!
//! Deliberately absent: any opening of the database file past SQLite (closing it would drop
//! SQLite's POSIX locks), and any age-based rescue of leases: the instance lock says who is alive.

mod arrivals;
mod claim;
mod commands;
mod commit_watcher;
mod connection;
mod error;
mod inspection;
mod lock;
mod lock_backoff;
mod maintenance;
mod payments;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod plans;
mod record;
mod rows;
mod schema;
mod scratch;
mod session;
mod transfer;
mod wal_watch;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use super::closing;
use super::command::carry_out::carry_out;
use super::enqueue::enqueue;
use super::learned_limit;
use super::prune::prune;
use super::session::at_once;
use super::uncount::uncount;
use super::{
    Arrivals, AttemptKey, AuditEntry, CarriedOut, Claim, ClaimResult, CommitObserver,
    CompletedAttempt, Endpoint, EnqueueError, Lease, LoweredLimit, OpenError, Queue,
    RecordedAttempt, Retention, StoreError, Survey, Uncount, Unrecorded, Unreleased, UrlCheck,
};
use crate::domain::{CallbackId, NewCallback, Timestamp};

pub use commands::SqliteCommands;
pub use inspection::SqliteInspection;
pub use lock::has_dispatcher;
pub use payments::{PaymentsQuery, QueryError};
#[cfg(test)]
pub(crate) use plain::plain_sql;
pub use schema::{SCHEMA, SCHEMA_VERSION};
pub use scratch::KnownResults;
pub use transfer::{check_in_use, transfer_source, transfer_target};

use commit_watcher::CommitWatcher;
use lock::InstanceLock;
use wal_watch::WalWatch;
use writer::Writer;

/// The version of the SQLite library that is linked into this program.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

/// The dispatcher's side of a queue in an SQLite file. There is one per file, in all processes.
#[derive(Debug)]
pub struct SqliteQueue {
    writer: Arc<Writer>,
    /// Finds what commands are about.
    reader: SqliteInspection,
    commit_watcher: CommitWatcher,
    /// As of the last look at arrivals.
    data_version: AtomicI64,
    /// Held as long as this lives.
    _lock: InstanceLock,
}

impl SqliteQueue {
    /// Opens the queue at `path` for dispatching; creates it if it is missing and migrates it if
    /// it is older. `holder` tells others who holds it. Needs a tokio runtime around it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Held`] if another dispatcher has it, else what the file or the database said.
    pub fn open(
        path: &Path,
        holder: &str,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self, OpenError> {
        let path = connection::canonical(path)?;
        let lock = InstanceLock::acquire(&path, holder)?;
        let connection = connection::open_or_create(&path)?;
        transfer::require_in_use(&connection, &path)?;
        let reader = SqliteInspection::open(&path)?;
        let wal_watch = Arc::new(WalWatch::default());
        let writer = Writer::start(path.clone(), connection, observer, Arc::clone(&wal_watch))?;
        let writer = Arc::new(writer);
        Ok(Self {
            commit_watcher: CommitWatcher::watch(&path, Arc::clone(&writer), wal_watch),
            data_version: AtomicI64::new(0),
            reader,
            writer,
            _lock: lock,
        })
    }
}

/// Creates the database at `path` if it is missing and migrates it if it is older. Returns its
/// true path and whether it was created.
///
/// # Errors
///
/// What the file or the database said.
pub fn init(path: &Path) -> Result<(PathBuf, bool), OpenError> {
    let path = connection::canonical(path)?;
    let fresh = !path.exists();
    let lock = InstanceLock::acquire(&path, "callback-dispatcher init");
    match (connection::open_current(&path), lock) {
        // Up to date: a dispatcher may be at work on it.
        (Ok(_), _) => Ok((path, false)),
        (Err(_), Err(held)) => Err(held),
        (Err(_), Ok(_lock)) => connection::open_or_create(&path).map(|_| (path, fresh)),
    }
}

/// The one true path of the file, see `connection::canonical`.
///
/// # Errors
///
/// What the file system said.
pub fn true_path(path: &Path) -> Result<PathBuf, OpenError> {
    connection::canonical(path)
}

/// Checks that `path` is a queue of this version that can be written.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(path: &Path) -> Result<(), OpenError> {
    let path = connection::canonical(path)?;
    let connection = connection::open_current(&path)?;
    transfer::require_in_use(&connection, &path)?;
    connection::check_writable(&connection, &path)
}

/// A writing connection that adds to the queue beside a running dispatcher.
#[derive(Debug)]
pub struct SqliteProducer {
    connection: rusqlite::Connection,
}

impl SqliteProducer {
    /// Opens an existing queue of this version.
    ///
    /// # Errors
    ///
    /// What the file or the database said.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = connection::canonical(path)?;
        let connection = connection::open_current(&path)?;
        transfer::require_in_use(&connection, &path)?;
        Ok(Self { connection })
    }

    /// Queues all of `callbacks` or none, as of `now`; returns their ids in order.
    ///
    /// # Errors
    ///
    /// Which callback was refused, or that the database failed.
    pub fn enqueue(
        &mut self,
        callbacks: &[NewCallback],
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        connection::in_transaction(&mut self.connection, |db| {
            at_once(enqueue(db, callbacks, now))
        })
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn newest(&self) -> Result<CallbackId, StoreError> {
        self.writer.read((), |db, ()| arrivals::newest(db)).await
    }

    async fn arrivals(&self, after: CallbackId, limit: usize) -> Result<Arrivals, StoreError> {
        let (mut arrivals, version) = self
            .writer
            .read((after, limit), |db, &(after, limit)| {
                let version = arrivals::data_version(db)?;
                Ok((arrivals::arrivals(db, after, limit)?, version))
            })
            .await?;
        let has_commit = self.data_version.swap(version, Ordering::AcqRel) != version;
        // A commit without new rows: someone has changed old ones.
        arrivals.changed_elsewhere = has_commit && arrivals.newest.is_none();
        Ok(arrivals)
    }

    async fn survey(&self, after: Option<Endpoint>, limit: usize) -> Result<Survey, StoreError> {
        self.writer
            .read((after, limit), |db, (after, limit)| {
                arrivals::survey(db, after.as_ref(), *limit)
            })
            .await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<ClaimResult>, StoreError> {
        self.writer.write(claim, claim::claim).await.1
    }

    async fn record(
        &self,
        attempts: Vec<CompletedAttempt>,
    ) -> Result<Vec<RecordedAttempt>, Unrecorded> {
        let (attempts, result) = self
            .writer
            .write(attempts, |db, attempts| record::record(db, attempts))
            .await;
        match result {
            Err(error) => Err(Unrecorded::all(error, attempts)),
            Ok(recorded) => Ok(attempts
                .into_iter()
                .zip(recorded)
                .map(|(attempt, recorded)| attempt.recorded(recorded))
                .collect()),
        }
    }

    async fn release(&self, leases: Vec<Lease>) -> Result<(), Unreleased> {
        let work = |db: &rusqlite::Connection, leases: &Vec<Lease>| claim::release(db, leases);
        match self.writer.write(leases, work).await {
            (leases, Err(error)) => Err(Unreleased { error, leases }),
            (_, Ok(())) => Ok(()),
        }
    }

    async fn uncount(&self, request: Uncount) -> Result<Vec<AttemptKey>, StoreError> {
        let mut unknown = Vec::new();
        for batch in request.batches() {
            let uncounting = self
                .writer
                .write(batch, |db, batch| at_once(uncount(db, batch)));
            unknown.extend(uncounting.await.1?);
        }
        Ok(unknown)
    }

    async fn interrupt_in_flight(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.write(now, record::interrupt_in_flight).await.1
    }

    async fn carry_out(
        &self,
        now: Timestamp,
        check_url: UrlCheck<'_>,
    ) -> Result<CarriedOut, StoreError> {
        carry_out(self, now, check_url).await
    }

    async fn enqueue(
        &self,
        callbacks: Vec<NewCallback>,
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        let (_, result) = self
            .writer
            .write((callbacks, now), |db, (callbacks, now)| {
                // A refused row undoes the batch alone, not the group that it shares a commit with.
                connection::in_savepoint(db, |db| at_once(enqueue(db, callbacks, *now)))
            })
            .await;
        result?
    }

    async fn prune(&self, retention: Retention) -> Result<usize, StoreError> {
        self.writer
            .write(retention, |db, retention| at_once(prune(db, retention)))
            .await
            .1
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let write =
            |db: &rusqlite::Connection, entry: &AuditEntry| at_once(closing::write(db, entry));
        self.writer.write(entry, write).await.1
    }

    async fn note_lowered_limits(&self, lowered: Vec<LoweredLimit>) -> Result<(), StoreError> {
        // The only dispatcher.
        let note = |db: &rusqlite::Connection, lowered: &Vec<LoweredLimit>| {
            at_once(learned_limit::note(db, 0, lowered))
        };
        self.writer.write(lowered, note).await.1
    }

    async fn maintain(&self) -> Result<(), StoreError> {
        self.writer
            .read((), |db, ()| maintenance::maintain(db))
            .await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.write((), connection::touch).await.1
    }

    async fn changed(&self) {
        self.commit_watcher.changed().await;
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
