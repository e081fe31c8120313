//! The one thread that writes, and its group commit.
//!
//! A request is a payload and a function over the connection. The thread takes all requests that
//! have gathered, runs them in one `BEGIN IMMEDIATE … COMMIT`, and answers each only after the
//! commit is durable. If one of a group fails, the group is undone and each request is run again
//! in a transaction of its own, so that a bad one harms no other; hence the functions take their
//! payload by reference.
//!
//! When another process holds the write lock, the thread waits for as long as that takes: callers
//! hold leases, and there is nothing better to do with them. Only a closing store stops waiting.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::{has_waited, store_error};
use super::lock_backoff::LockBackoff;
use super::wal_watch::WalWatch;
use crate::clock::Stopwatch;
use crate::store::{CommitObserver, OpenError, StoreError};

/// Requests that may wait for the thread. More is back-pressure on the callers.
const REQUESTS_MAX: usize = 1024;

/// Requests in one transaction: bounds how long another process waits for its turn.
const GROUP_MAX: usize = 256;

/// The handle to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    requests: mpsc::Sender<Request>,
    closing: Arc<AtomicBool>,
}

enum Request {
    /// Runs outside a transaction.
    Read(Box<dyn Job>),
    /// Runs in a group.
    Write(Box<dyn Job>),
    /// Ends the thread after all that came before.
    Close(oneshot::Sender<()>),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")
    }
}

/// A request whose types are forgotten.
trait Job: Send {
    /// Does the work and keeps the result. Called again if the group was undone.
    fn run(&mut self, db: &Connection) -> Result<(), StoreError>;

    /// Sends the kept result, or `failure` in its place.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Call<P, T> {
    payload: P,
    work: fn(&Connection, &P) -> Result<T, StoreError>,
    result: Option<T>,
    reply: oneshot::Sender<(P, Result<T, StoreError>)>,
}

impl<P: Send, T: Send> Job for Call<P, T> {
    fn run(&mut self, db: &Connection) -> Result<(), StoreError> {
        self.result = None;
        // A panic here is a bug, but one request's: it must not take the thread with it.
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(db, &self.payload)))
            .unwrap_or_else(|_| Err(StoreError::Other("a request panicked".to_owned())))?;
        self.result = Some(result);
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => Ok(result),
            (Some(failure), _) => Err(failure),
            (None, None) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the commit stands all the same.
        let _ = self.reply.send((self.payload, result));
    }
}

impl Writer {
    /// Starts the thread on `connection`; it tells `wal_watch` when it writes.
    pub(super) fn start(
        path: PathBuf,
        connection: Connection,
        observer: Arc<dyn CommitObserver>,
        wal_watch: Arc<WalWatch>,
    ) -> Result<Self, OpenError> {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let closing = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            connection,
            inbox,
            observer,
            closing: Arc::clone(&closing),
            wal_watch,
            lock_backoff: LockBackoff::default(),
        };
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || worker.run())
            .map_err(|source| OpenError::File { path, source })?;
        Ok(Self { requests, closing })
    }

    /// Runs `work` in a transaction, shared with others; returns when it is durable. The payload
    /// comes back whatever happens.
    pub(super) async fn write<P: Send + 'static, T: Send + 'static>(
        &self,
        payload: P,
        work: fn(&Connection, &P) -> Result<T, StoreError>,
    ) -> (P, Result<T, StoreError>) {
        self.call(payload, work, Request::Write).await
    }

    /// Runs `work` between transactions.
    pub(super) async fn read<P: Send + 'static, T: Send + 'static>(
        &self,
        payload: P,
        work: fn(&Connection, &P) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call(payload, work, Request::Read).await.1
    }

    async fn call<P: Send + 'static, T: Send + 'static>(
        &self,
        payload: P,
        work: fn(&Connection, &P) -> Result<T, StoreError>,
        kind: fn(Box<dyn Job>) -> Request,
    ) -> (P, Result<T, StoreError>) {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            payload,
            work,
            result: None,
            reply,
        };
        if let Err(mpsc::error::SendError(request)) = self.requests.send(kind(Box::new(call))).await
        {
            request.refuse();
        }
        answer
            .await
            .expect("every request is answered: by the thread, or here when the thread has ended")
    }

    /// Lets the thread finish what was asked, and waits for it.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error means that the thread has ended before: closed all the same.
            let _ = closed.await;
        }
    }
}

/// Whether the request was at fault, not the database.
const fn is_refused(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Refused(_) | StoreError::Other(_))
}

impl Request {
    fn refuse(self) {
        match self {
            Self::Read(job) | Self::Write(job) => job.answer(Some(StoreError::Closed)),
            Self::Close(_) => {}
        }
    }
}

struct Worker {
    connection: Connection,
    inbox: mpsc::Receiver<Request>,
    observer: Arc<dyn CommitObserver>,
    closing: Arc<AtomicBool>,
    wal_watch: Arc<WalWatch>,
    lock_backoff: LockBackoff,
}

impl Worker {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while let Some(first) = self.inbox.blocking_recv() {
            let mut close = self.gather(first, &mut group);
            while close.is_none()
                && (1..GROUP_MAX).contains(&group.len())
                && self.lock_backoff.pauses()
            {
                if let Ok(next) = self.inbox.try_recv() {
                    close = self.gather(next, &mut group);
                }
            }
            self.commit_group(&mut group);
            self.look();
            if let Some(done) = close {
                self.end(done);
                return;
            }
        }
    }

    /// Adds `first` and what else has come in to `group`, answers the reads among it, and returns
    /// whom to tell of the end if that was asked for.
    fn gather(
        &mut self,
        first: Request,
        group: &mut Vec<Box<dyn Job>>,
    ) -> Option<oneshot::Sender<()>> {
        // No more than have gathered by now: reads may come in without a pause, and must not
        // keep a commit waiting.
        let room = GROUP_MAX.saturating_sub(group.len() + 1);
        let mut gathered = self.inbox.len().min(room);
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Write(job) => group.push(job),
                Request::Read(mut job) => {
                    let failure = job.run(&self.connection).err();
                    job.answer(failure);
                }
                Request::Close(done) => return Some(done),
            }
            if gathered > 0 {
                gathered -= 1;
                next = self.inbox.try_recv().ok();
            }
        }
        None
    }

    /// Runs and commits `group`, and leaves it empty.
    fn commit_group(&mut self, group: &mut Vec<Box<dyn Job>>) {
        if group.is_empty() {
            return;
        }
        let stopwatch = Stopwatch::start();
        self.observer.wanted();
        match self.commit(group) {
            Ok(()) => {
                self.observer.committed(stopwatch.elapsed(), group.len());
                for job in group.drain(..) {
                    job.answer(None);
                }
            }
            Err(StoreError::Refused(_) | StoreError::Other(_)) if group.len() > 1 => {
                for mut job in group.drain(..) {
                    let stopwatch = Stopwatch::start();
                    let failure = self.commit(std::slice::from_mut(&mut job)).err();
                    match &failure {
                        None => self.observer.committed(stopwatch.elapsed(), 1),
                        Some(failure) => self.observer.failed(is_refused(failure)),
                    }
                    job.answer(failure);
                }
            }
            Err(failure) => {
                self.observer.failed(is_refused(&failure));
                for job in group.drain(..) {
                    job.answer(Some(failure.clone()));
                }
            }
        }
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        self.begin()?;
        self.observer.began();
        self.wal_watch.write_begins();
        let held = Stopwatch::start();
        let mut done = jobs
            .iter_mut()
            .try_for_each(|job| job.run(&self.connection))
            .and_then(|()| self.execute("COMMIT"));
        if done.is_err() && !self.connection.is_autocommit() {
            // SQLite has undone some failures by itself; whatever is left is undone here.
            done = self.execute("ROLLBACK").and(done);
        }
        self.lock_backoff.released(held.elapsed());
        self.wal_watch.write_ended();
        done
    }

    /// Takes the write lock, however long another process holds it.
    fn begin(&mut self) -> Result<(), StoreError> {
        let stopwatch = Stopwatch::start();
        loop {
            let begun = self.execute("BEGIN IMMEDIATE");
            if has_waited() {
                self.lock_backoff.found_locked();
            }
            match begun {
                Err(StoreError::Busy(_)) if !self.closing.load(Ordering::Acquire) => {
                    tracing::warn!(
                        waited_ms = stopwatch.elapsed().as_millis(),
                        "another process holds the queue's write lock; waiting for it"
                    );
                }
                other => return other,
            }
        }
    }

    /// Whether another process has committed: the watch was masked meanwhile.
    fn look(&self) {
        if let Err(error) = self.wal_watch.look(&self.connection) {
            tracing::debug!(%error, "the next poll looks for new rows");
        }
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_| ())
            .map_err(|error| store_error(&error))
    }

    /// Answers what came too late, then closes the file.
    fn end(mut self, done: oneshot::Sender<()>) {
        self.inbox.close();
        // Not `try_recv`, which finds nothing while a sender has a place and has not sent yet.
        while let Some(request) = self.inbox.blocking_recv() {
            request.refuse();
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the queue's file did not close cleanly");
        }
        // Nobody may be waiting any more.
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests;
