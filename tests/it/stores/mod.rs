//! What holds of the queue whatever the database: each test runs on SQLite and on PostgreSQL.

mod arriving;
mod closing;
mod commands;
mod dump;
mod locks;
mod months;
mod queue;
mod reading;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::store::Queue;
use callback_dispatcher::store::postgres::FleetTiming;
use tempfile::TempDir;

use crate::store_kind::{Store, StoreKind};

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

    fn both() -> [Self; 2] {
        [StoreKind::Sqlite, StoreKind::Postgres].map(Self::new)
    }

    /// A dispatcher's side; with PostgreSQL there may be several.
    async fn queue(&self) -> Arc<dyn Queue> {
        let opening = self.store.open_with("this test", TIMING).await;
        opening.expect("opened")
    }
}
