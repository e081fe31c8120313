//! What holds of the queue whatever the database: each test runs on SQLite and on PostgreSQL.

mod arriving;
mod closing;
mod commands;
mod dump;
mod leases;
mod locks;
mod months;
mod queue;
mod reading;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::Queue;
use callback_dispatcher::store::postgres::FleetTiming;
use tempfile::TempDir;

use crate::support::callback::payment;
use crate::support::store::{Store, StoreKind};

const ONE: &str = "https://one.example";

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + 1000 * seconds)
}

/// A lease is reclaimed as soon as the database says that it has expired.
const TIMING: FleetTiming = FleetTiming {
    heartbeat: Duration::from_secs(2),
    silent: Duration::from_secs(10),
    lease: Duration::ZERO,
    margin: Duration::ZERO,
};

/// An empty queue in a database of its own.
struct Backend {
    store: Store,
    /// Of the file, if it is one.
    _folder: TempDir,
}

impl std::ops::Deref for Backend {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Backend {
    fn new(kind: StoreKind) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = Store::new(kind, folder.path());
        store.init();
        Self {
            store,
            _folder: folder,
        }
    }

    fn postgres() -> Self {
        Self::new(StoreKind::Postgres)
    }

    /// A dispatcher's side; with PostgreSQL there may be several.
    async fn queue(&self) -> Arc<dyn Queue> {
        let opening = self.store.open_with("this test", TIMING).await;
        opening.expect("opened")
    }
}

/// Queues payments of app 6 for [`ONE`].
async fn enqueue(queue: &dyn Queue, orders: &[&str], now: Timestamp) {
    enqueue_for(queue, ONE, orders, now).await;
}

async fn enqueue_for(queue: &dyn Queue, origin: &str, orders: &[&str], now: Timestamp) {
    let url = format!("{origin}/callback");
    let callbacks = orders.iter().map(|order| payment(&url, order));
    let queued = queue.enqueue(callbacks.collect(), now).await;
    queued.expect("queued");
}
