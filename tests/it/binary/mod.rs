//! The real program, as an operator runs it: processes, signals, exit codes, output.
//!
//! Every test has a directory of its own with settings, keys and queue; the merchants are in the
//! test's process. Nothing waits for a fixed time: conditions are polled until a deadline.
//!
//! No output of any command may have the secret in it: [`Said`] and [`Daemon`] look each time.

mod admin;
mod commands;
mod crash;
mod daemon;
mod egress;
mod faults;
mod operate;
mod readers;
mod show;
mod signals;
mod transfer;

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::config::{Configuration, Inputs};
use callback_dispatcher::merchant::{MerchantSettings, MockMerchant, Script};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

pub(super) use admin::{address as admin_address, get};
pub(super) use daemon::Daemon;

use crate::secrets::{self, HMAC as SECRET};
use crate::store_kind::{Store, StoreKind, on_both};

const SETTINGS: &str = r#"
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

/// For everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns what `probe` finds.
pub(super) async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let found = async {
        loop {
            again.tick().await;
            if let Some(found) = probe() {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// What a command that ended has said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).expect("JSON")
    }

    /// It failed with `code`, nothing on standard output, and `words` on standard error.
    #[track_caller]
    fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?}: {self:?}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::assert_none_in_files(self.folder());
        }
    }
}

/// A directory with settings and keys, and perhaps a queue in it or on a server.
pub(super) struct Place {
    directory: TempDir,
    store: Store,
}

impl Place {
    /// Without a queue; it would be a file.
    pub(super) fn bare() -> Self {
        Self::bare_on(StoreKind::Sqlite)
    }

    /// Without a queue; it would be of this kind.
    fn bare_on(kind: StoreKind) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let store = Store::new(kind, directory.path());
        let place = Self { directory, store };
        let settings = format!("[store]\nurl = \"{}\"\n{SETTINGS}", place.store.url());
        place.write("dispatcher.toml", &settings);
        place.write_keys(&[("6", SECRET)]);
        place
    }

    /// With an empty queue in a file.
    pub(super) fn new() -> Self {
        Self::on(StoreKind::Sqlite)
    }

    /// With an empty queue of this kind.
    fn on(kind: StoreKind) -> Self {
        let place = Self::bare_on(kind);
        place.ask(&["init"]).done();
        place
    }

    pub(super) fn folder(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writable");
    }

    fn write_keys(&self, keys: &[(&str, &str)]) {
        let entry = |(app, secret): &(&str, &str)| {
            format!("[[key]]\napp_id = \"{app}\"\nid = \"of-{app}\"\nsecret = \"{secret}\"\n")
        };
        self.write(
            "keys.toml",
            &keys.iter().map(entry).collect::<Vec<_>>().join("\n"),
        );
        set_mode(&self.path("keys.toml"), 0o600);
    }

    /// The settings file with `from` replaced.
    pub(super) fn change_settings(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("dispatcher.toml")).expect("readable");
        assert!(text.contains(from), "{from:?} in {text}");
        self.write("dispatcher.toml", &text.replace(from, to));
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callback-dispatcher"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command without input.
    pub(super) fn ask(&self, arguments: &[&str]) -> Said {
        self.feed(arguments, "")
    }

    /// Runs a command that reads `input`, which must fit into a pipe or be read while it runs.
    pub(super) fn feed(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that refuses early does not read it all.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let said = Said {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert_silent_on_secrets(&said.out);
        assert_silent_on_secrets(&said.err);
        said
    }

    /// Queues callbacks; returns their ids.
    pub(super) fn enqueue(&self, callbacks: &[Value]) -> Vec<i64> {
        let said = self.feed(&["enqueue"], &lines(callbacks)).done();
        said.lines().map(|id| id.parse().expect("an id")).collect()
    }

    pub(super) fn run(&self) -> Daemon {
        Daemon::spawn(self.command(&["run"]))
    }

    /// A statement through the `sqlite3` program or `psql`; its rows as objects.
    pub(super) fn rows(&self, sql: &str) -> Vec<Value> {
        self.store.rows(sql)
    }

    /// What the commands call the queue.
    fn queue_name(&self) -> String {
        let url = self.store.url();
        let name = url.rsplit(['/', ':']).next();
        name.expect("a URL has parts").to_owned()
    }

    fn rows_of(&self, database: &str, sql: &str) -> Vec<Value> {
        let output = Command::new("sqlite3")
            .args(["-batch", "-json", "-cmd", ".timeout 5000"])
            .arg(self.path(database))
            .arg(sql)
            .output()
            .expect("sqlite3 is installed by scripts/check");
        assert!(output.status.success(), "{sql}: {output:?}");
        match output.stdout.trim_ascii() {
            b"" => Vec::new(),
            json => serde_json::from_slice(json).expect("JSON from sqlite3"),
        }
    }

    /// Returns once no callback is pending.
    async fn all_finished(&self) {
        let pending = "SELECT 1 FROM callback_queue WHERE state = 'pending' LIMIT 1";
        until("every callback is finished", || {
            self.rows(pending).is_empty().then_some(())
        })
        .await;
    }

    /// A merchant in this process that knows the keys.
    pub(super) async fn merchant(&self, script: impl Into<Script>) -> MockMerchant {
        let inputs = Inputs {
            file: Some(self.path("dispatcher.toml")),
            working_directory: self.directory.path().to_owned(),
            ..Inputs::default()
        };
        let keys = Configuration::load(&inputs).expect("the settings are good");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let settings = MerchantSettings {
            script: script.into(),
            journal: Some(self.path("journal.ndjson")),
            keyring: Arc::new(keys.keys.keyring),
            ..MerchantSettings::default()
        };
        MockMerchant::start(listener, settings).expect("a merchant")
    }

    /// The lines of the merchant's journal so far.
    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("journal.ndjson")).expect("a journal");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our file");
}

#[track_caller]
fn assert_silent_on_secrets(text: &str) {
    secrets::assert_none_in("what the program said", text.as_bytes());
}

/// The document's payment, as the `number`th of its kind.
pub(super) fn payment(url: &str, number: usize) -> Value {
    json!({
        "kind": "payment", "callBackUrl": url, "appId": "6", "payMethod": 1,
        "orderAmt": "123.00", "currency": "LAK", "newpayOrderNo": format!("N{number}"),
        "orderNo": format!("M{number}"), "subject": "1", "result": "success",
        "transInfo": "Transaction Success", "settlementStatus": 1,
    })
}

/// The refund of [`payment`].
pub(super) fn refund(url: &str, number: usize) -> Value {
    json!({
        "kind": "refund", "callBackUrl": url, "appId": "6", "payMethod": 1,
        "refundOrderAmt": "123.00", "currency": "LAK", "newpayOrderNo": format!("N{number}"),
        "newpayRefundOrderNo": format!("NR{number}"), "orderNo": format!("M{number}"),
        "refundOrderNo": format!("MR{number}"), "result": "success",
        "transInfo": "Transaction Success",
    })
}

pub(super) fn with(mut callback: Value, member: &str, value: Value) -> Value {
    callback[member] = value;
    callback
}

/// NDJSON.
fn lines(callbacks: &[Value]) -> String {
    callbacks.iter().map(|line| format!("{line}\n")).collect()
}
