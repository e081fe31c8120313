//! Notifications of other sessions' commits: triggers send one for each endpoint that has new rows,
//! and for each new command.
//!
//! They are only hints, as inotify is with SQLite. A broken connection is replaced. Notifications that
//! were sent meanwhile are lost, so the dispatcher is then told to survey the queue.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;

use super::connection::{Connection, Database, User};
use super::error::store_error;
use crate::store::{Endpoint, StoreError};

/// The pause before a broken connection is replaced.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const LISTEN_WAIT: Duration = Duration::from_secs(4);

/// Endpoints kept until the next poll. A survey finds the others.
const ENDPOINTS_MAX: usize = 10_000;

/// The longest payload of a notice, in bytes.
const PAYLOAD_BYTES_MAX: usize = 7999;

/// The payload that names an endpoint, as the trigger of `callback_queue` makes it: an origin has no
/// space in it. Empty where the names are too long: survey the queue.
pub(super) fn notice(endpoint: &Endpoint) -> String {
    let notice = format!("{} {}", endpoint.origin, endpoint.app_id);
    match notice.len() <= PAYLOAD_BYTES_MAX {
        true => notice,
        false => String::new(),
    }
}

/// The notifications since the last poll.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    /// Endpoints that have new rows.
    pub(super) endpoints: BTreeSet<Endpoint>,
    /// Whether some may have been missed.
    pub(super) missed: bool,
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(super) struct Listener {
    inbox: Arc<Inbox>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Inbox {
    notifications: Mutex<Notifications>,
    changed: Notify,
}

impl Listener {
    /// Begins to listen. Every later commit is notified of.
    pub(super) async fn start(database: Database) -> Result<Self, StoreError> {
        let inbox = Arc::new(Inbox::default());
        let subscription = Subscription::begin(&database, Arc::clone(&inbox)).await?;
        let task = tokio::spawn(listen(database, subscription, Arc::clone(&inbox)));
        Ok(Self { inbox, task })
    }

    /// Returns after the next notification; one that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.inbox.changed.notified().await;
    }

    /// Takes the notifications since the last call.
    pub(super) fn take(&self) -> Notifications {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// Puts back notifications that could not be used.
    pub(super) fn put_back(&self, unused: Notifications) {
        let mut notifications = self.inbox.lock();
        notifications.endpoints.extend(unused.endpoints);
        notifications.missed |= unused.missed;
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

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Notifications> {
        self.notifications
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, payload: &str) {
        let mut notifications = self.lock();
        match payload.split_once(' ') {
            Some((origin, app_id)) if notifications.endpoints.len() < ENDPOINTS_MAX => {
                notifications
                    .endpoints
                    .insert(Endpoint::new(app_id, origin));
            }
            // An empty payload asks for a survey.
            _ => notifications.missed = true,
        }
        drop(notifications);
        self.changed.notify_one();
    }

    fn ask_for_survey(&self) {
        self.lock().missed = true;
        self.changed.notify_one();
    }
}

/// A connection that listens.
struct Subscription {
    /// The connection ends when this is dropped.
    _client: tokio_postgres::Client,
    reading: JoinHandle<()>,
}

impl Subscription {
    async fn begin(database: &Database, inbox: Arc<Inbox>) -> Result<Self, StoreError> {
        let (client, connection) = database.connect().await?;
        let reading = tokio::spawn(read(connection, inbox));
        let listening = async {
            client.batch_execute(&User::Heartbeat.set_up()).await?;
            client.batch_execute("LISTEN callback_queue").await
        };
        match tokio::time::timeout(LISTEN_WAIT, listening).await {
            Ok(listening) => listening.map_err(|error| store_error(&error))?,
            Err(_) => {
                return Err(StoreError::Unreachable(
                    "no answer to LISTEN; the connection is given up".to_owned(),
                ));
            }
        }
        Ok(Self {
            _client: client,
            reading,
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut connection: Connection, inbox: Arc<Inbox>) {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                inbox.receive(notification.payload());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let error = store_error(&error);
                tracing::warn!(%error, "the connection for notifications is lost");
                return;
            }
            None => return,
        }
    }
}

async fn listen(database: Database, mut subscription: Subscription, inbox: Arc<Inbox>) {
    loop {
        // It never panics, and nobody else aborts it.
        let _ = (&mut subscription.reading).await;
        inbox.ask_for_survey();
        subscription = loop {
            tokio::time::sleep(RETRY_WAIT).await;
            match Subscription::begin(&database, Arc::clone(&inbox)).await {
                Ok(subscription) => break subscription,
                Err(error) => {
                    tracing::warn!(%error, "new rows are not notified of; polling finds them");
                    inbox.ask_for_survey();
                }
            }
        };
        tracing::info!("new rows are notified of again");
        inbox.ask_for_survey();
    }
}
