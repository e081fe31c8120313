//! A folder with settings, keys and a queue, which outlives the dispatchers that work on it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use callback_dispatcher::clock::SharedClock;
use callback_dispatcher::config::{Configuration, Inputs};
use callback_dispatcher::merchant::{MerchantSettings, MockMerchant, Script};
use callback_dispatcher::store::{OpenError, Queue};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::postgres::Database;
use super::process::{PROGRAM, Process, Said, command};
use super::sqlite;
use super::store::{Store, StoreKind};
use super::waiting::found;
use crate::secrets;

/// Loopback over http is allowed, and a merchant that fails is given up soon.
pub(crate) const SETTINGS: &str = r#"
[retry]
schedule = ["100ms", "100ms"]
[delivery]
max_in_flight_per_merchant = 16
[egress]
allow_http = true
allow_networks = ["127.0.0.1"]
[admin]
listen = ""
"#;

/// An entry of a keys file.
pub(crate) fn key(app: &str, secret: &str) -> String {
    format!("[[key]]\napp_id = \"{app}\"\nid = \"of-{app}\"\nsecret = \"{secret}\"\n")
}

/// See the module. No file in it may have a secret in the end, but for those that exist to hold one.
pub(crate) struct Place {
    folder: PathBuf,
    store: Store,
    /// Removed with this.
    _directory: TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::assert_none_in_files(&self.folder);
        }
    }
}

impl Place {
    /// Without a queue; it would be a file.
    pub(crate) fn bare() -> Self {
        Self::bare_on(StoreKind::Sqlite)
    }

    /// Without a queue; it would be of this kind.
    pub(crate) fn bare_on(kind: StoreKind) -> Self {
        let directory = TempDir::new().expect("a temporary folder");
        let store = Store::new(kind, directory.path());
        Self::at(directory.path().to_owned(), directory, store)
    }

    /// With an empty queue in a file.
    pub(crate) fn new() -> Self {
        Self::on(StoreKind::Sqlite)
    }

    /// With an empty queue of this kind.
    pub(crate) fn on(kind: StoreKind) -> Self {
        let place = Self::bare_on(kind);
        place.store.init();
        place
    }

    /// With an empty queue in this database.
    pub(crate) fn of(database: Database) -> Self {
        let directory = TempDir::new().expect("a temporary folder");
        let store = Store::Postgres(database);
        store.init();
        Self::at(directory.path().to_owned(), directory, store)
    }

    /// In `folder`, which stands within `directory`.
    pub(crate) fn at(folder: PathBuf, directory: TempDir, store: Store) -> Self {
        let place = Self {
            folder,
            store,
            _directory: directory,
        };
        place.write_settings(SETTINGS);
        place.write_keys(&key("6", secrets::HMAC));
        place
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What holds the queue.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writable");
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("our file");
    }

    pub(crate) fn write_keys(&self, text: &str) {
        self.write("keys.toml", text);
        self.set_mode("keys.toml", 0o600);
    }

    /// Settings for the program, but for the store.
    pub(crate) fn write_settings(&self, text: &str) {
        let store = format!("[store]\nurl = \"{}\"\n", self.store.url());
        self.write("dispatcher.toml", &(store + text));
    }

    /// The settings file with `from` replaced.
    pub(crate) fn change_settings(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("dispatcher.toml")).expect("readable");
        assert!(text.contains(from), "{from:?} in {text}");
        self.write("dispatcher.toml", &text.replace(from, to));
    }

    /// A configuration for a dispatcher in this process: loopback over http is allowed; `changes`
    /// come after that.
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
            working_directory: self.folder.clone(),
            ..Inputs::default()
        };
        Configuration::load(&inputs).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The queue as a dispatcher has it, which introduces itself as `name`.
    pub(crate) async fn open(&self, name: &str) -> Result<Arc<dyn Queue>, OpenError> {
        self.store.open(name).await
    }

    /// Lets another program run `sql`; returns what it printed.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.store.sql(sql)
    }

    /// The rows of a statement as objects.
    #[track_caller]
    pub(crate) fn rows(&self, sql: &str) -> Vec<Value> {
        self.store.rows(sql)
    }

    /// The rows of another file in the folder.
    #[track_caller]
    pub(crate) fn rows_of(&self, database: &str, sql: &str) -> Vec<Value> {
        sqlite::rows(&self.path(database), sql)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(PROGRAM, &self.folder, arguments)
    }

    /// Runs a command without input.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Said {
        self.feed(arguments, "")
    }

    /// Runs a command that reads `input`, which must fit into a pipe or be read while it runs.
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) -> Said {
        Said::by(self.command(arguments), input)
    }

    /// Queues callbacks; returns their ids.
    #[track_caller]
    pub(crate) fn enqueue(&self, callbacks: &[Value]) -> Vec<i64> {
        let said = self.feed(&["enqueue"], &lines(callbacks)).done();
        said.lines().map(|id| id.parse().expect("an id")).collect()
    }

    /// Starts the daemon as a process.
    pub(crate) fn run(&self) -> Process {
        Process::spawn(self.command(&["run"]))
    }

    /// What the commands call the queue.
    pub(crate) fn queue_name(&self) -> String {
        let url = self.store.url();
        let name = url.rsplit(['/', ':']).next();
        name.expect("a URL has parts").to_owned()
    }

    /// Returns once no callback is pending.
    pub(crate) async fn all_finished(&self) {
        let pending = "SELECT 1 FROM callback_queue WHERE state = 'pending' LIMIT 1";
        found("every callback is finished", || {
            self.rows(pending).is_empty().then_some(())
        })
        .await;
    }

    /// A merchant that knows the keys and keeps a journal in the folder.
    pub(crate) async fn merchant(&self, script: impl Into<Script>) -> MockMerchant {
        let settings = MerchantSettings {
            journal: Some(self.path("journal.ndjson")),
            ..self.merchant_settings(script)
        };
        MockMerchant::start(listener().await, settings).expect("a merchant")
    }

    /// A merchant that knows the keys, has another clock and keeps no journal.
    pub(crate) async fn merchant_at(
        &self,
        script: impl Into<Script>,
        clock: SharedClock,
    ) -> MockMerchant {
        let settings = MerchantSettings {
            clock,
            ..self.merchant_settings(script)
        };
        MockMerchant::start(listener().await, settings).expect("a merchant")
    }

    pub(crate) fn merchant_settings(&self, script: impl Into<Script>) -> MerchantSettings {
        MerchantSettings {
            script: script.into(),
            keyring: Arc::new(self.configuration(&[]).keys.keyring),
            ..MerchantSettings::default()
        }
    }

    /// The lines of the merchants' journal so far.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("journal.ndjson")).expect("a journal");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// NDJSON.
pub(crate) fn lines(callbacks: &[Value]) -> String {
    callbacks.iter().map(|line| format!("{line}\n")).collect()
}

/// A free port on loopback.
pub(crate) async fn listener() -> TcpListener {
    let bound = TcpListener::bind(("127.0.0.1", 0)).await;
    bound.expect("a free port on loopback")
}
