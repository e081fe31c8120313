//! A queue with its gateway and its merchants, and the whole of it held against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::audit::{self, ATTEMPTS_MAX, Attempt, Row, WAIT_MS};
use super::merchants::{Answer, Behaviour, Journal, Merchant, Post};
use super::program::Program;
use super::{PATIENCE, until};
use crate::support::attempt::sent_before;
use crate::support::callback::{finished, insert_rows};
use crate::support::place::Place;
use crate::support::process::Process;
use crate::support::store::{Store, StoreKind};

/// No word of each attempt, but that it dispatches.
const LEVEL: &str = "warn,callback_dispatcher::cli=info";

/// A row as the gateway's ledger has it.
#[derive(Debug, serde::Deserialize)]
struct Entry {
    number: String,
    url: String,
    members: Map<String, Value>,
}

/// See the module.
pub(super) struct World {
    place: Place,
    pub(super) journal: Arc<Journal>,
    merchants: Vec<Merchant>,
}

impl World {
    /// Merchants of these behaviours, and an empty queue in a folder of its own, on disk.
    pub(super) async fn new(behaviours: &[Behaviour], settings: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let folder = directory.path().to_owned();
        Self::at(folder, directory, behaviours, settings).await
    }

    /// The same in `folder`; `directory` is removed with it.
    pub(super) async fn at(
        folder: PathBuf,
        directory: TempDir,
        behaviours: &[Behaviour],
        settings: &str,
    ) -> Self {
        let journal = Arc::<Journal>::default();
        let mut merchants = Vec::new();
        for behaviour in behaviours {
            merchants.push(Merchant::start(*behaviour, Arc::clone(&journal)).await);
        }
        let store = Store::new(StoreKind::Sqlite, &folder);
        store.init();
        let place = Place::at(folder, directory, store);
        let waits = ATTEMPTS_MAX - 1;
        let waits = vec![format!("\"{WAIT_MS}ms\""); usize::try_from(waits).unwrap_or(0)];
        place.write_settings(&format!(
            "[retry]\nschedule = [{}]\n[egress]\nallow_http = true\nallow_networks = [\"127.0.0.1\"]\n\
             [admin]\nlisten = \"\"\n[log]\nlevel = \"{LEVEL}\"\n{settings}",
            waits.join(", ")
        ));
        Self {
            place,
            journal,
            merchants,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    pub(super) fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Queues `rows` rows, from another process, and returns when they are committed.
    pub(super) fn queue(&self, rows: usize) {
        let done = self.gateway(0, rows).output().expect("python3 is there");
        assert!(done.status.success(), "{done:?}");
    }

    /// A gateway that queues `rows` rows and then more until it is dropped.
    pub(super) fn busy_gateway(&self, seed: u64, rows: usize) -> Gateway {
        let mut command = self.gateway(seed.max(1), rows);
        let child = command.stdin(Stdio::piped()).spawn();
        Gateway {
            child: child.expect("python3 is there"),
        }
    }

    fn gateway(&self, seed: u64, rows: usize) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/campaign/gateway.py");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args([self.path("queue.db"), self.path("ledger")])
            .args([seed.to_string(), rows.to_string()])
            .args(self.merchants.iter().map(|merchant| &merchant.url))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// A connection as an operator's: it recovers what a crash has left, as any first one does.
    pub(super) fn connect(&self) -> Connection {
        self.try_connect().expect("the queue opens")
    }

    fn try_connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(self.path("queue.db"))?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    }

    /// How many rows answer to `condition`.
    pub(super) fn count(&self, condition: &str) -> usize {
        let sql = format!("SELECT count(*) FROM callback_queue WHERE {condition}");
        let count = self.connect().query_row(&sql, [], |row| row.get(0));
        count.expect("the queue can be read")
    }

    /// What is wrong with the callbacks that were POSTed since the `since`th entry of the journal.
    pub(super) fn faults_since(&self, since: usize) -> Vec<String> {
        self.faults_by(since, audit::faults)
    }

    /// What is wrong with what stands in the database, whatever it has lost.
    pub(super) fn faults_of_what_stands(&self) -> Vec<String> {
        self.faults_by(0, audit::faults_of_what_stands)
    }

    fn faults_by(&self, since: usize, judge: fn(&Row, &[&Post]) -> Vec<String>) -> Vec<String> {
        let posts = self.journal.posts().clone();
        let touched: BTreeSet<&str> = posts[since..].iter().map(|post| &*post.number).collect();
        let db = self.connect();
        // One moment for all of them.
        let begun = db.execute_batch("BEGIN");
        begun.expect("the queue can be read");
        let mut of = by_number(&posts);
        of.retain(|number, _| touched.contains(number));
        let mut faults = Vec::new();
        for (number, posts) in of {
            match row(&db, number).expect("the queue can be read") {
                Some(row) => faults.extend(audit::named(number, &row, judge(&row, &posts))),
                None => faults.push(format!("{number}: POSTed, but not in the queue")),
            }
        }
        faults.extend(self.faults_of_the_file(&db));
        faults
    }

    /// What is wrong with any callback, or missing.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults_since(0);
        let posts = self.journal.posts().clone();
        let of = by_number(&posts);
        let db = self.connect();
        for entry in self.ledger() {
            let posts = of.get(&*entry.number).cloned().unwrap_or_default();
            let Some(row) = row(&db, &entry.number).expect("the queue can be read") else {
                faults.push(format!("{}: queued, but absent", entry.number));
                continue;
            };
            if posts.is_empty() {
                faults.extend(audit::named(
                    &entry.number,
                    &row,
                    audit::faults(&row, &posts),
                ));
            }
            if posts.iter().any(|post| post.members != entry.members) {
                faults.push(format!("{}: another message than queued", entry.number));
            }
        }
        faults
    }

    /// What is not as it must be once nothing is pending.
    pub(super) fn faults_in_the_end(&self) -> Vec<String> {
        let mut faults = self.faults();
        let db = self.connect();
        let urls: HashMap<&str, &Merchant> = self
            .merchants
            .iter()
            .map(|merchant| (&*merchant.url, merchant))
            .collect();
        for entry in self.ledger() {
            let row = row(&db, &entry.number).expect("the queue can be read");
            let state = row.map_or_else(|| "absent".to_owned(), |row| row.state);
            let is_good =
                state == "delivered" || (state == "exhausted" && !urls[&*entry.url].acknowledges());
            if !is_good {
                faults.push(format!("{}: {state} in the end", entry.number));
            }
        }
        faults
    }

    /// How many attempts answer to `condition`.
    pub(super) fn attempts(&self, condition: &str) -> usize {
        let sql = format!("SELECT count(*) FROM callback_attempt WHERE {condition}");
        let count = self.connect().query_row(&sql, [], |row| row.get(0));
        count.expect("the log can be read")
    }

    /// How many attempts were interrupted.
    pub(super) fn interrupted(&self) -> usize {
        self.attempts("outcome = 'interrupted'")
    }

    /// How many POSTs came for what the merchant had acknowledged already.
    pub(super) fn repeated(&self) -> usize {
        let posts = self.journal.posts();
        let of = by_number(&posts);
        let repeated = of.values().map(|posts| {
            let mut posts = posts.iter();
            posts.find(|post| post.answer == Answer::Acknowledged);
            posts.count()
        });
        repeated.sum()
    }

    /// Rows that were finished long ago, with an attempt each: there to be pruned.
    pub(super) fn add_old_ones(&self, count: usize) {
        let old = [
            ("newpay_order_no", "'OLD-' || hex(randomblob(8))"),
            ("order_no", "'OLD'"),
            ("attempts", "1"),
            ("attempt_seq", "1"),
            ("last_outcome", "'acknowledged'"),
        ];
        let changes = [&old[..], &finished("'delivered'", "1000")].concat();
        let sql = insert_rows(count, "http://127.0.0.1/", &changes);
        let log = "
            INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
            SELECT id, 1, 1000, 1, 'acknowledged', 1 FROM callback_queue
            WHERE order_no = 'OLD' AND id NOT IN (SELECT callback_id FROM callback_attempt)";
        let mut db = self.connect();
        let both = db.transaction().and_then(|both| {
            both.execute(&sql, [])?;
            both.execute(log, [])?;
            both.commit()
        });
        both.expect("old rows are queued");
    }

    fn faults_of_the_file(&self, db: &Connection) -> Vec<String> {
        let mut faults = Vec::new();
        let verdict = db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        if verdict.as_deref() != Ok("ok") {
            faults.push(format!("integrity_check: {verdict:?}"));
        }
        let orphans = "SELECT count(*) FROM callback_attempt
                       WHERE callback_id NOT IN (SELECT id FROM callback_queue)";
        let orphans = db.query_row(orphans, [], |row| row.get::<_, i64>(0));
        if orphans != Ok(0) {
            faults.push(format!("attempts without a callback: {orphans:?}"));
        }
        if self.journal.garbled() > 0 {
            faults.push("a POST was no message".to_owned());
        }
        faults
    }

    fn ledger(&self) -> Vec<Entry> {
        let text = fs::read_to_string(self.path("ledger")).expect("a ledger");
        let entry = |line| serde_json::from_str(line).expect("a line of the ledger");
        text.lines().map(entry).collect()
    }

    /// How many rows the gateway has committed.
    pub(super) fn queued(&self) -> usize {
        self.ledger().len()
    }

    /// Lets a sound dispatcher deliver what is pending, and holds everything against everything.
    pub(super) async fn ends_well(&self) {
        let mut daemon = Program::default().start(self);
        self.until_nothing_is_pending(&mut daemon).await;
        daemon.ready().await.stops().await;
        assert_none(&self.faults_in_the_end());
    }

    /// Returns when `daemon` has delivered what can be delivered.
    pub(super) async fn until_nothing_is_pending(&self, daemon: &mut Process) {
        let db = self.connect();
        let pending = "SELECT 1 FROM callback_queue WHERE state = 'pending' LIMIT 1";
        until("nothing is pending", || {
            assert_eq!(daemon.ended(), None, "{}", daemon.said());
            let found = db.query_row(pending, [], |_| Ok(())).optional();
            found.expect("the queue can be read").is_none()
        })
        .await;
    }
}

#[track_caller]
pub(super) fn assert_none(faults: &[String]) {
    let shown = &faults[..faults.len().min(20)];
    assert!(
        faults.is_empty(),
        "{} violations:\n{}",
        faults.len(),
        shown.join("\n")
    );
}

fn by_number(posts: &[Post]) -> BTreeMap<&str, Vec<&Post>> {
    let mut of: BTreeMap<&str, Vec<&Post>> = BTreeMap::new();
    for post in posts {
        of.entry(&post.number).or_default().push(post);
    }
    of
}

/// A callback with its attempts.
fn row(db: &Connection, number: &str) -> rusqlite::Result<Option<Row>> {
    let sql = "SELECT id, state, attempts, attempt_seq, leased_at, last_outcome FROM callback_queue
               WHERE newpay_order_no = ?1 AND kind = 'payment'
               UNION ALL
               SELECT id, state, attempts, attempt_seq, leased_at, last_outcome FROM callback_queue
               WHERE newpay_refund_order_no = ?1 AND kind = 'refund'";
    let found = db.prepare_cached(sql)?.query_row([number], |row| {
        let id: i64 = row.get(0)?;
        let row = Row {
            state: row.get(1)?,
            attempts: row.get(2)?,
            attempt_seq: row.get(3)?,
            leased_at: row.get(4)?,
            last_outcome: row.get(5)?,
            log: Vec::new(),
        };
        Ok((id, row))
    });
    let Some((id, mut row)) = found.optional()? else {
        return Ok(None);
    };
    let sql = "SELECT seq, started_at, outcome, counted, sign, body_sha256, detail
               FROM callback_attempt WHERE callback_id = ?1 ORDER BY seq";
    let mut statement = db.prepare_cached(sql)?;
    let log = statement.query_map([id], |row| {
        Ok(Attempt {
            seq: row.get(0)?,
            started_at: row.get(1)?,
            outcome: row.get(2)?,
            counted: row.get(3)?,
            sign: row.get(4)?,
            body_sha256: row.get(5)?,
            sent_before: sent_before(&row.get::<_, String>(6)?),
        })
    })?;
    row.log = log.collect::<rusqlite::Result<_>>()?;
    Ok(Some(row))
}

/// A gateway that goes on; it ends when this is dropped, after its last commit.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
}

impl Gateway {
    /// Returns when the rows to begin with are queued.
    pub(super) fn has_begun(&mut self) {
        let said = self.child.stdout.as_mut().expect("it is piped");
        let mut line = [0; 7];
        std::io::Read::read_exact(said, &mut line).expect("the gateway queues its first rows");
    }

    /// Lets it finish what it is at.
    pub(super) async fn ends(mut self) {
        drop(self.child.stdin.take());
        let mut status = None;
        let ends = || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        };
        until("the gateway ends", ends).await;
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
