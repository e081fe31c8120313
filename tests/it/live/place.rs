//! Where a daemon finds its settings, its keys and its queue.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use callback_dispatcher::clock::SharedClock;
use callback_dispatcher::config::{Configuration, Inputs};
use callback_dispatcher::merchant::{MerchantSettings, MockMerchant, Script};
use callback_dispatcher::store::{OpenError, Queue};
use tempfile::TempDir;

use super::{KEYS, listener};
use crate::postgres::Database;
use crate::store_kind::{Store, StoreKind};

/// A folder with keys, and a queue in it or on a server, which outlives the daemons that work on it.
pub(crate) struct Place {
    folder: TempDir,
    store: Store,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            crate::secrets::assert_none_in_files(self.folder.path());
        }
    }
}

impl Place {
    /// Keys for app 6, and an empty queue in a file.
    pub(crate) fn new() -> Self {
        Self::on(StoreKind::Sqlite)
    }

    /// The same with a queue of that kind.
    pub(crate) fn on(kind: StoreKind) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = Store::new(kind, folder.path());
        Self::with(folder, store)
    }

    /// The same with a queue in this database.
    pub(super) fn of(database: Database) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::with(folder, Store::Postgres(database))
    }

    fn with(folder: TempDir, store: Store) -> Self {
        let place = Self { folder, store };
        place.write_keys(KEYS);
        place.store.init();
        place
    }

    /// The queue's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    /// What holds the queue.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn write_keys(&self, text: &str) {
        let path = self.folder.path().join("keys.toml");
        fs::write(&path, text).expect("the keys");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the keys' mode");
    }

    /// Loopback over http is allowed; `changes` come after that.
    pub(crate) fn configuration(&self, changes: &[(&str, &str)]) -> Configuration {
        let url = self.store.url();
        let usual = [
            ("STORE__URL", url.as_str()),
            ("SIGNING__KEYS_FILE", "keys.toml"),
            ("EGRESS__ALLOW_HTTP", "true"),
            ("EGRESS__ALLOW_NETWORKS", "127.0.0.1/32"),
            ("ADMIN__LISTEN", ""),
        ];
        let environment: BTreeMap<String, String> = usual
            .iter()
            .chain(changes)
            .map(|(key, value)| (format!("DISPATCHER__{key}"), (*value).to_owned()))
            .collect();
        let inputs = Inputs {
            environment,
            working_directory: self.folder.path().to_owned(),
            ..Inputs::default()
        };
        Configuration::load(&inputs).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Lets another program run `sql`; returns what it printed.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.store.sql(sql)
    }

    /// The queue as a dispatcher has it, which introduces itself as `name`.
    pub(super) async fn open(&self, name: &str) -> Result<Arc<dyn Queue>, OpenError> {
        self.store.open(name).await
    }

    /// A merchant that knows the keys and whose clock is `clock`.
    pub(crate) async fn merchant(
        &self,
        script: impl Into<Script>,
        clock: SharedClock,
    ) -> MockMerchant {
        let settings = MerchantSettings {
            script: script.into(),
            keyring: Arc::new(self.configuration(&[]).keys.keyring),
            clock,
            ..MerchantSettings::default()
        };
        MockMerchant::start(listener().await, settings).expect("a merchant")
    }
}
