//! The auditor's view: a chain that a program of their own can check, and books that are held
//! against the queue.

mod books;
mod chain;
mod tampering;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::{Day, Link, Timestamp};
use callback_dispatcher::reconciliation::{
    CLOSING_DELAY, DayFault, Retained, Verification, close_days, verify,
};
use callback_dispatcher::store::sqlite::{self, SqliteInspection, SqliteQueue};
use callback_dispatcher::store::{CommitObserver, Queue};
use serde_json::Value;
use tempfile::TempDir;

const HISTORY: &str = include_str!("history.py");
const AUDITOR: &str = include_str!("auditor.py");

/// Rows are kept for longer than any test's days.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Does not count.
#[derive(Debug)]
struct Nobody;

impl CommitObserver for Nobody {
    fn committed(&self, _: Duration, _: usize) {}
}

/// A queue whose days the test closes.
struct Archive {
    folder: TempDir,
}

impl Archive {
    fn new() -> Self {
        let archive = Self {
            folder: TempDir::new().expect("a temporary folder"),
        };
        sqlite::init(&archive.database()).expect("a queue");
        archive
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    fn ledger(&self) -> SqliteInspection {
        SqliteInspection::open(&self.database()).expect("readable")
    }

    /// What happens up to the middle of `day`, by chance.
    fn live_through(&self, day: Day, seed: u32) {
        let midnight = day.start().as_millis().to_string();
        self.python(HISTORY, &[&seed.to_string(), &midnight]);
    }

    /// Closes what is over at `now`, as the daemon does.
    async fn close(&self, now: Timestamp) -> Vec<Link> {
        let queue = SqliteQueue::open(&self.database(), "this test", Arc::new(Nobody));
        let queue = queue.expect("nobody else has it");
        let links = close_days(&self.ledger(), &queue, now).await;
        queue.close().await;
        links.expect("closed")
    }

    /// Four days of chance, each closed in time.
    async fn four_days(seed: u32) -> Self {
        let archive = Self::new();
        for day in days(4) {
            archive.live_through(day, seed);
            archive.close(closing_time(day)).await;
        }
        archive
    }

    async fn verify(&self) -> Verification {
        self.verify_at(closing_time(days(4)[3])).await
    }

    async fn verify_at(&self, now: Timestamp) -> Verification {
        let retained = Retained { keep: KEPT, now };
        verify(&self.ledger(), retained).await.expect("readable")
    }

    async fn faults(&self) -> Vec<DayFault> {
        self.verify().await.faults
    }

    /// What an auditor's own program makes of the database.
    fn audit(&self) -> Vec<Value> {
        serde_json::from_str(&self.python(AUDITOR, &[])).expect("JSON from the auditor")
    }

    fn python(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(self.database());
        let output = command.args(arguments).output();
        let output = output.expect("python3 is installed by scripts/check");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Lets the `sqlite3` program run `sql`: what it printed, or its complaint.
    fn sql(&self, sql: &str) -> Result<String, String> {
        let mut command = Command::new("sqlite3");
        command
            .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
            .arg(self.database())
            .arg(sql);
        let output = command.output();
        let output = output.expect("sqlite3 is installed by scripts/check");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        if output.status.success() {
            Ok(text(output.stdout).trim().to_owned())
        } else {
            Err(text(output.stderr))
        }
    }

    /// Takes every trigger away, as someone with bad intentions would.
    fn disarm(&self) {
        let triggers =
            "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'";
        let drops = self.sql(triggers).expect("readable");
        self.sql(&drops).expect("dropped");
    }

    /// The same once more, in a folder of its own.
    fn copy(&self) -> Self {
        let copy = Self {
            folder: TempDir::new().expect("a temporary folder"),
        };
        let log = self.folder.path().join("queue.db-wal");
        assert!(!log.exists(), "somebody has it open");
        fs::copy(self.database(), copy.database()).expect("copied");
        copy
    }
}

/// So many days from 2026-11-21 on.
fn days(count: usize) -> Vec<Day> {
    let first: Day = "2026-11-21".parse().expect("a day");
    std::iter::successors(Some(first), |day| Some(day.next()))
        .take(count)
        .collect()
}

/// The first moment at which `day` may be closed.
fn closing_time(day: Day) -> Timestamp {
    day.end().after(CLOSING_DELAY)
}
