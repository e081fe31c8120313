//! A folder with a queue, keys and settings.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

use super::daemon::{Daemon, Setup};
use super::program;

const KEYS: &str = r#"[[key]]
app_id = "6"
id = "2026-11"
secret = "newpay-bench-secret"

[[key]]
app_id = "7"
id = "2026-11"
secret = "newpay-bench-secret-of-another"
"#;

/// A folder that is removed in the end.
pub(crate) struct Place {
    folder: TempDir,
}

/// Rows to put into a queue.
pub(crate) struct Fill<'a> {
    pub(crate) rows: usize,
    /// An SQL expression for `origin`; `n` counts the rows from 1.
    pub(crate) origin: &'a str,
    /// An SQL expression for the moment, in Unix milliseconds, from which each is due.
    pub(crate) due: &'a str,
}

/// For [`Fill::due`]: due, the first row first.
pub(crate) const PAST: &str = "1760000000000 + n";

/// Where every merchant takes callbacks.
pub(crate) const CALLBACK_PATH: &str = "/newpay/callback";

/// Rows in one transaction of a fill.
const CHUNK: usize = 100_000;

impl Place {
    /// A folder with keys and an empty queue.
    pub(crate) fn new() -> Result<Self> {
        let place = Self::without_queue()?;
        Setup::default().write(&place)?;
        place.run(&["init"])?;
        Ok(place)
    }

    /// Lets a daemon close the days up to yesterday, as in every queue that was at work then. In a
    /// new queue the first start does so, and reads each row for it, once.
    pub(crate) async fn close_days(&self) -> Result<()> {
        let daemon = Daemon::start(self, &Setup::default())?;
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let closed = async {
            while self.run(&["reconcile", "--verify"])?.starts_with("0 ") {
                look.tick().await;
            }
            Ok(())
        };
        timeout(Duration::from_secs(60), closed)
            .await
            .context("no day was closed")
            .flatten()?;
        daemon.stop()
    }

    /// Runs a command of the program that is measured, in this folder; returns what it prints.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = program::command()
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .context("the program does not start")?;
        let [said, failed] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        ensure!(output.status.success(), "{arguments:?}: {failed}");
        Ok(said)
    }

    /// A folder with keys.
    pub(crate) fn without_queue() -> Result<Self> {
        let place = Self {
            folder: TempDir::new().context("a temporary folder")?,
        };
        let keys = place.path("keys.toml");
        fs::write(&keys, KEYS)?;
        fs::set_permissions(&keys, Permissions::from_mode(0o600))?;
        Ok(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn queue(&self) -> PathBuf {
        self.path("queue.db")
    }

    pub(crate) fn open(&self) -> Result<Connection> {
        let db = Connection::open(self.queue())?;
        db.busy_timeout(Duration::from_secs(5))?;
        Ok(db)
    }

    /// Puts rows in, past the triggers that guard single INSERTs: filling is not what is measured.
    pub(crate) fn fill(&self, fill: &Fill<'_>) -> Result<()> {
        if fill.rows == 0 {
            return Ok(());
        }
        self.unguarded(|db| {
            let sql = format!(
                "WITH RECURSIVE counted (n) AS (
                   SELECT ?1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?2)
                 INSERT INTO callback_queue (kind, callback_url, origin, app_id, pay_method, amount, currency,
                   newpay_order_no, order_no, subject, extra, result, trans_info,
                   settlement_status, created_at, next_attempt_at)
                 SELECT 'payment', {origin} || '{CALLBACK_PATH}', {origin}, '6', 1, '188000.00', 'LAK', printf('2026%014d', n),
                   printf('M%014d', n), 'Lao coffee, one kilogram, roasted', 'table 12', 'success',
                   'BCELONE', 1, CAST(strftime('%s', 'now') AS INTEGER) * 1000, {due}
                 FROM counted",
                origin = fill.origin,
                due = fill.due,
            );
            let mut statement = db.prepare(&sql)?;
            let before: usize =
                db.query_row("SELECT coalesce(max(id), 0) FROM callback_queue", [], |row| row.get(0))?;
            for first in (1..=fill.rows).step_by(CHUNK) {
                let last = (first + CHUNK - 1).min(fill.rows);
                statement.execute((before + first, before + last))?;
            }
            Ok(())
        })
    }

    /// Puts delivered callbacks in, each with its attempt; finished just now, so that none is old
    /// enough to be pruned.
    pub(crate) fn fill_finished(&self, rows: usize) -> Result<()> {
        self.fill(&Fill {
            rows,
            origin: "'http://127.0.0.1:9'",
            due: PAST,
        })?;
        self.unguarded(|db| {
            let steps = [
                "UPDATE callback_queue
                 SET state = 'delivered', attempts = 1, next_attempt_at = NULL, attempt_seq = 1,
                   last_outcome = 'acknowledged',
                   finished_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 - ?2 + id
                 WHERE id BETWEEN ?1 AND ?2",
                "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome,
                   counted, http_status, response_excerpt, remote_addr, sent_timestamp, sign,
                   key_id, body_sha256)
                 SELECT id, 1, created_at, 1, 'acknowledged', 1, 200, '{\"transResult\":\"SUCCESS\"}',
                   '127.0.0.1:9', created_at, '3S0x9wUq0wXv0r6c1m2n3b4v5c6x7z8a9s0d1f2g3h4=',
                   '2026-11', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
                 FROM callback_queue WHERE id BETWEEN ?1 AND ?2",
            ];
            for first in (1..=rows).step_by(CHUNK) {
                for step in steps {
                    db.execute(step, (first, first + CHUNK - 1))?;
                }
            }
            Ok(())
        })
    }

    fn unguarded(&self, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        let db = self.open()?;
        db.pragma_update(None, "synchronous", "OFF")?;
        let triggers: Vec<(String, String)> = db
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (name, _) in &triggers {
            db.execute_batch(&format!("DROP TRIGGER {name}"))?;
        }
        work(&db)?;
        for (_, sql) in &triggers {
            db.execute_batch(sql)?;
        }
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        // What is written back lazily would weigh on whatever is measured first.
        fs::File::open(self.queue())?.sync_all()?;
        Ok(())
    }

    /// How many rows are in `state`.
    pub(crate) fn count(&self, state: &str) -> Result<usize> {
        let sql = "SELECT count(*) FROM callback_queue WHERE state = ?1";
        Ok(self.open()?.query_row(sql, [state], |row| row.get(0))?)
    }
}
