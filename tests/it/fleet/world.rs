//! A database on a server of its own, its merchants, and dispatchers as processes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::PATIENCE;
use super::audit::{self, Attempt, Row};
use crate::campaign::SECRET;
use crate::campaign::merchants::{Answer, Journal, Manner, Merchant, Post};
use crate::campaign::until_within;
use crate::support::postgres::{Database, Server};

/// The build that ships; without it, the one that the tests were built with.
const PROGRAM: &str = "FLEET_PROGRAM";

/// Merchants, each an origin.
const ORIGINS: usize = 8;

/// Of them, those that refuse each callback once.
const RELUCTANT: usize = 2;

/// Attempts at the same moment, of all dispatchers together, for each of them.
const PER_ORIGIN: u64 = 6;

/// How long it would take to send all rows once, if nobody were killed.
const WORK: Duration = Duration::from_secs(14);

/// A sign of life that is older is that of a dead one, in milliseconds.
const SILENT_MS: u64 = 10_000;

/// See the module.
pub(super) struct World {
    folder: TempDir,
    pub(super) server: Server,
    database: Database,
    pub(super) journal: Arc<Journal>,
    merchants: Vec<Merchant>,
    rows: u64,
}

impl World {
    /// With `rows` callbacks in the queue.
    pub(super) async fn new(rows: u64) -> Self {
        let journal = Arc::<Journal>::default();
        let places = u64::try_from(ORIGINS).expect("few") * PER_ORIGIN;
        // Answers take half of it on average.
        let slow =
            Manner::Slow(WORK * 2 * u32::try_from(places).expect("few") / at_least_one(rows));
        let mut merchants = Vec::new();
        for number in 0..ORIGINS {
            let manner = match slow {
                Manner::Slow(time) if number < RELUCTANT => Manner::Reluctant(time),
                slow => slow,
            };
            merchants.push(Merchant::start(manner, Arc::clone(&journal)).await);
        }
        let server = Server::own();
        let world = Self {
            folder: TempDir::new().expect("a temporary directory"),
            database: server.create_database(),
            server,
            journal,
            merchants,
            rows,
        };
        world.write_settings();
        let init = world.command("init").output().expect("the program starts");
        assert!(init.status.success(), "{init:?}");
        world.fill();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_settings(&self) {
        let text = format!(
            "[store]\nurl = \"{}\"\n[retry]\nschedule = [\"1s\", \"1s\", \"1s\"]\n\
             [delivery]\nmax_in_flight_per_merchant = {PER_ORIGIN}\ntimeout = \"2s\"\n\
             connect_timeout = \"2s\"\n\
             [egress]\nallow_http = true\nallow_networks = [\"127.0.0.1\"]\n[admin]\nlisten = \"\"\n\
             [log]\nlevel = \"warn,callback_dispatcher::cli=info\"\n",
            self.database.url()
        );
        fs::write(self.path("dispatcher.toml"), text).expect("room for it");
        let key = |app| {
            format!("[[key]]\napp_id = \"{app}\"\nid = \"of-{app}\"\nsecret = \"{SECRET}\"\n")
        };
        let keys: Vec<String> = (1..=3).map(key).collect();
        fs::write(self.path("keys.toml"), keys.concat()).expect("room for it");
        let private = Permissions::from_mode(0o600);
        fs::set_permissions(self.path("keys.toml"), private).expect("our file");
    }

    /// Queues the rows, of three apps, over all origins.
    fn fill(&self) {
        let urls: Vec<String> = self
            .merchants
            .iter()
            .map(|merchant| format!("'{}'", merchant.url))
            .collect();
        self.database.sql(&format!(
            "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, result, settlement_status)
             SELECT 'payment', (ARRAY[{}])[1 + n % {ORIGINS}], (1 + n / {ORIGINS} % 3)::text, 1,
               n || '.25', 'LAK', 'N' || n, 'M' || n, 'success', 1
             FROM generate_series(1, {}) n",
            urls.join(", "),
            self.rows
        ));
    }

    fn command(&self, subcommand: &str) -> Command {
        let built = env!("CARGO_BIN_EXE_callback-dispatcher");
        let binary = std::env::var_os(PROGRAM).map_or_else(|| built.into(), PathBuf::from);
        let mut command = Command::new(binary);
        command
            .arg(subcommand)
            .current_dir(self.folder.path())
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null());
        command
    }

    /// A dispatcher, which dispatches when this returns.
    pub(super) async fn dispatcher(&self, number: usize) -> Dispatcher {
        let log = self.path(&format!("log-{number}"));
        let file = File::create(&log).expect("room for a log");
        let mut command = self.command("run");
        command.stdout(file.try_clone().expect("another handle"));
        let child = command.stderr(file).spawn().expect("the program starts");
        let mut dispatcher = Dispatcher { child, log };
        until_within(PATIENCE, "a dispatcher dispatches", || {
            let ended = dispatcher.child.try_wait().expect("our child");
            assert_eq!(ended, None, "{}", dispatcher.said());
            dispatcher.said().contains("dispatching")
        })
        .await;
        dispatcher
    }

    /// How many rows are pending; `None` while the server can't be asked.
    pub(super) fn pending(&self) -> Option<u64> {
        self.count("state = 'pending'")
    }

    /// How many rows are in flight that were claimed before `moment`.
    pub(super) fn in_flight_since(&self, moment: i64) -> Option<u64> {
        self.count(&format!("leased_at < {moment}"))
    }

    fn count(&self, condition: &str) -> Option<u64> {
        let sql = format!("SELECT count(*) FROM callback_queue WHERE {condition}");
        self.database.try_sql(&sql).ok()?.parse().ok()
    }

    /// A few that are pending, for a message.
    pub(super) fn some_pending(&self) -> String {
        self.database.sql(
            "SELECT newpay_order_no, origin, attempts, next_attempt_at, leased_at,
               leased_until - callback_now() AS stands_for, last_outcome
             FROM callback_queue WHERE state = 'pending' ORDER BY id LIMIT 10",
        )
    }

    /// Holds everything against everything; returns how many attempts were interrupted, and what is
    /// wrong.
    pub(super) fn faults(&self) -> (u64, Vec<String>) {
        let rows = self.read();
        let posts = self.journal.posts();
        let mut of: HashMap<&str, Vec<&Post>> = HashMap::new();
        for post in &*posts {
            of.entry(&post.number).or_default().push(post);
        }
        let mut interrupted = 0;
        let mut faults = Vec::new();
        for number in 1..=self.rows {
            let name = format!("N{number}");
            let posts = of.remove(&*name).unwrap_or_default();
            let Some(row) = rows.get(&name) else {
                faults.push(format!("{name}: queued, but absent"));
                continue;
            };
            let log = row.log.iter();
            let cut_off = log
                .filter(|attempt| attempt.outcome == "interrupted")
                .count();
            interrupted += u64::try_from(cut_off).expect("few");
            let mut found = audit::faults(row, &posts);
            if posts.iter().any(|post| !is_of(post, number)) {
                found.push("another message than queued".to_owned());
            }
            let shown = || -> Vec<(i64, &str, Answer)> {
                let posts = posts.iter();
                posts
                    .map(|post| (post.came_at, &*post.sign, post.answer))
                    .collect()
            };
            let told = found
                .into_iter()
                .map(|fault| format!("{name}: {fault}: {row:?} {:?}", shown()));
            faults.extend(told);
        }
        faults.extend(
            of.keys()
                .map(|name| format!("{name}: POSTed, but not queued")),
        );
        if self.journal.garbled() > 0 {
            faults.push("a POST was no message".to_owned());
        }
        (interrupted, faults)
    }

    /// What is wrong with the table of dispatchers after all of them have ended, and one was killed.
    pub(super) fn faults_of_the_table(&self) -> Vec<String> {
        let left = self.database.sql(&format!(
            "SELECT count(*), count(*) FILTER (WHERE seen_at > callback_now() - {SILENT_MS}) FROM dispatcher"
        ));
        match left.as_str() {
            "1|0" => Vec::new(),
            other => vec![format!("dispatchers left in the table, and alive: {other}")],
        }
    }

    fn read(&self) -> BTreeMap<String, Row> {
        let lines = self.database.sql(
            "SELECT newpay_order_no, state, attempts, attempt_seq, seq, outcome, counted, started_at,
               duration_ms, sign, body_sha256
             FROM callback_queue LEFT JOIN callback_attempt ON callback_id = id ORDER BY id, seq",
        );
        let mut rows = BTreeMap::new();
        for line in lines.lines() {
            let columns: Vec<&str> = line.split('|').collect();
            let number = |at: usize| columns[at].parse::<i64>().expect("a number");
            let text = |at: usize| Some(columns[at].to_owned()).filter(|text| !text.is_empty());
            let row = rows.entry(columns[0].to_owned()).or_insert_with(|| Row {
                state: columns[1].to_owned(),
                attempts: number(2),
                attempt_seq: number(3),
                log: Vec::new(),
            });
            if columns[4].is_empty() {
                continue;
            }
            row.log.push(Attempt {
                seq: number(4),
                outcome: columns[5].to_owned(),
                counted: number(6) == 1,
                started_at: number(7),
                duration_ms: number(8),
                sign: text(9),
                body_sha256: text(10),
            });
        }
        rows
    }
}

fn at_least_one(rows: u64) -> u32 {
    u32::try_from(rows.max(1)).expect("not so many rows")
}

/// Whether it tells what the `number`th row has.
fn is_of(post: &Post, number: u64) -> bool {
    let member = |name: &str| post.members.get(name).and_then(|value| value.as_str());
    member("orderNo") == Some(&format!("M{number}"))
        && member("orderAmt") == Some(&format!("{number}.25"))
}

/// A running dispatcher; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Dispatcher {
    child: Child,
    log: PathBuf,
}

impl Dispatcher {
    /// All that it has printed so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("our file")
    }

    /// Sends a signal, for instance `TERM`.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("/bin/kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill is there").success(), "kill -s {name}");
    }

    /// `kill -9`, and gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    /// SIGTERM, and exit code 0.
    pub(super) async fn stops(&mut self) {
        self.signal("TERM");
        let mut status = None;
        until_within(PATIENCE, "a dispatcher ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        })
        .await;
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{}", self.said());
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        // It fails if the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
