//! Hears other sessions' commits: triggers notify of each endpoint that has new rows, and of each
//! new command.
//!
//! Only a hint, as inotify is with SQLite: a connection that breaks is made anew, and meanwhile the
//! dispatcher is told to look around for itself. What was notified while there was no connection is
//! lost, so the first thing after each new one is such a look, too.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;

use super::connection::{Connection, Database};
use super::error::store_error;
use crate::store::{Endpoint, StoreError};

/// Until a broken connection is made anew.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Endpoints kept until somebody looks. More are found by a survey.
const ENDPOINTS_MAX: usize = 10_000;

/// The longest payload of a notice, in bytes.
const PAYLOAD_BYTES_MAX: usize = 7999;

/// The payload that names an endpoint, as the trigger of `callback_queue` makes it: an origin has no
/// space in it. Empty where the names are too long: look at everything.
pub(super) fn notice(endpoint: &Endpoint) -> String {
    let notice = format!("{} {}", endpoint.origin, endpoint.app_id);
    match notice.len() <= PAYLOAD_BYTES_MAX {
        true => notice,
        false => String::new(),
    }
}

/// What has been heard since the last look.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whose rows are new.
    pub(super) endpoints: BTreeSet<Endpoint>,
    /// Whether something may have been missed.
    pub(super) missed: bool,
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Arc<Ear>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Heard>,
    changed: Notify,
}

impl Listener {
    /// Begins to listen. What is committed from here on is heard.
    pub(super) async fn start(database: Database) -> Result<Self, StoreError> {
        let ear = Arc::new(Ear::default());
        let session = Session::begin(&database, Arc::clone(&ear)).await?;
        let task = tokio::spawn(listen(database, session, Arc::clone(&ear)));
        Ok(Self { ear, task })
    }

    /// Returns after the next notification; one that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.ear.changed.notified().await;
    }

    /// What has been heard since the last time.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.ear.lock())
    }

    /// Puts back what could not be seen to.
    pub(super) fn put_back(&self, heard: Heard) {
        let mut state = self.ear.lock();
        state.endpoints.extend(heard.endpoints);
        state.missed |= heard.missed;
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, payload: &str) {
        let mut heard = self.lock();
        match payload.split_once(' ') {
            Some((origin, app_id)) if heard.endpoints.len() < ENDPOINTS_MAX => {
                heard.endpoints.insert(Endpoint::new(app_id, origin));
            }
            // An empty one says: look at everything.
            _ => heard.missed = true,
        }
        drop(heard);
        self.changed.notify_one();
    }

    fn miss(&self) {
        self.lock().missed = true;
        self.changed.notify_one();
    }
}

/// A connection that listens.
struct Session {
    /// The connection ends with it.
    _client: tokio_postgres::Client,
    reading: JoinHandle<()>,
}

impl Session {
    async fn begin(database: &Database, ear: Arc<Ear>) -> Result<Self, StoreError> {
        let (client, connection) = database.connect().await?;
        let reading = tokio::spawn(read(connection, ear));
        client
            .batch_execute("LISTEN callback_queue")
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Self {
            _client: client,
            reading,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut connection: Connection, ear: Arc<Ear>) {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => ear.hear(notification.payload()),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let error = store_error(&error);
                tracing::warn!(%error, "the connection that hears of new rows is lost");
                return;
            }
            None => return,
        }
    }
}

async fn listen(database: Database, mut session: Session, ear: Arc<Ear>) {
    loop {
        // It never panics, and nobody else aborts it.
        let _ = (&mut session.reading).await;
        ear.miss();
        session = loop {
            tokio::time::sleep(RETRY_WAIT).await;
            match Session::begin(&database, Arc::clone(&ear)).await {
                Ok(session) => break session,
                Err(error) => {
                    tracing::warn!(%error, "new rows are not heard of; they are found by polling");
                    ear.miss();
                }
            }
        };
        tracing::info!("new rows are heard of again");
        ear.miss();
    }
}
