//! The auditor's view: a chain that a program of their own can check, and books that are held
//! against the queue.

mod books;
mod chain;
mod tampering;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::{Day, DayRecord, Timestamp};
use callback_dispatcher::reconciliation::{
    CLOSING_DELAY, DayFault, Retained, Verification, close_days, verify,
};
use callback_dispatcher::store::{AuditChain, sqlite};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::sqlite::python;
use crate::support::store::{Store, StoreKind, on_both};

const HISTORY: &str = include_str!("history.py");
const AUDITOR: &str = include_str!("auditor.py");
const MIRROR: &str = include_str!("mirror.py");

/// Rows are kept for longer than any test's days.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// A queue whose days the test closes.
///
/// Python's own library speaks to SQLite alone. So a history that is to be in PostgreSQL is played in
/// the file `queue.db` and copied from there, and an auditor's program reads a copy of what
/// PostgreSQL has.
struct Archive {
    folder: TempDir,
    store: Store,
}

impl Archive {
    fn on(kind: StoreKind) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = Store::new(kind, folder.path());
        let archive = Self { folder, store };
        sqlite::init(&archive.file()).expect("a queue");
        if kind == StoreKind::Postgres {
            archive.store.init();
        }
        archive
    }

    /// The queue, or where its history is played.
    fn file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    async fn audit_chain(&self) -> Arc<dyn AuditChain> {
        self.store.audit_chain().await
    }

    /// What happens up to the middle of `day`, by chance.
    fn live_through(&self, day: Day, seed: u32) {
        let midnight = day.start().as_millis().to_string();
        let arguments = [&seed.to_string(), &midnight];
        python(HISTORY, &self.file(), &arguments.map(String::as_str), "");
        if let Store::Postgres(database) = &self.store {
            let played = Store::Sqlite(self.file());
            let mut sql = "BEGIN; SET LOCAL session_replication_role = replica;".to_owned();
            for table in ["callback_queue", "callback_attempt"] {
                let rows = Value::Array(played.rows(&format!("SELECT * FROM {table}")));
                sql.push_str(&format!(
                    "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM \
                       json_populate_recordset(NULL::{table}, $rows${rows}$rows$);"
                ));
            }
            database.sql(&(sql + "COMMIT;"));
        }
    }

    /// Closes what is over at `now`, as the daemon does.
    async fn close(&self, now: Timestamp) -> Vec<DayRecord> {
        let queue = self.store.open("this test").await;
        let queue = queue.expect("nobody else has it");
        let records = close_days(&*self.audit_chain().await, &*queue, now).await;
        queue.close().await;
        records.expect("closed")
    }

    /// Four days of chance, each closed in time.
    async fn four_days(store: StoreKind, seed: u32) -> Self {
        let archive = Self::on(store);
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
        let verified = verify(&*self.audit_chain().await, retained).await;
        verified.expect("readable")
    }

    async fn faults(&self) -> Vec<DayFault> {
        self.verify().await.faults
    }

    /// What an auditor's own program makes of the database.
    fn audit(&self) -> Vec<Value> {
        let mut file = self.file();
        if let Store::Postgres(database) = &self.store {
            let copy = self.folder.path().join("copy.db");
            fs::copy(&file, &copy).expect("copied");
            let tables = [
                "callback_queue",
                "callback_attempt",
                "reconciliation",
                "reconciliation_open",
            ];
            let all = tables.map(|table| format!("'{table}', (SELECT json_agg(t) FROM {table} t)"));
            let rows = database.sql(&format!("SELECT json_build_object({})", all.join(", ")));
            python(MIRROR, &copy, &[], &rows);
            file = copy;
        }
        serde_json::from_str(&python(AUDITOR, &file, &[], "")).expect("JSON from the auditor")
    }

    /// Lets another program run `sql`: what it printed, or its complaint.
    fn sql(&self, sql: &str) -> Result<String, String> {
        self.store.try_sql(sql)
    }

    /// Takes every trigger away, as someone with bad intentions would.
    fn disarm(&self) {
        let triggers = match &self.store {
            Store::Sqlite(_) => {
                "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'"
            }
            Store::Postgres(_) => {
                "SELECT 'DROP TRIGGER ' || tgname || ' ON ' || tgrelid::regclass || ';' \
                 FROM pg_trigger WHERE NOT tgisinternal"
            }
        };
        let drops = self.sql(triggers).expect("readable");
        self.sql(&drops).expect("dropped");
        if let Store::Postgres(database) = &self.store {
            // It stands in the way like a trigger.
            database.sql("ALTER TABLE reconciliation DROP CONSTRAINT a_day_has_one_successor");
        }
    }

    /// The same once more, in a place of its own.
    fn copy(&self) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = match &self.store {
            Store::Sqlite(path) => {
                let log = self.folder.path().join("queue.db-wal");
                assert!(!log.exists(), "somebody has it open");
                let copy = folder.path().join("queue.db");
                fs::copy(path, &copy).expect("copied");
                Store::Sqlite(copy)
            }
            Store::Postgres(database) => Store::Postgres(database.copy()),
        };
        Self { folder, store }
    }
}

/// A moment of a day, as SQL.
fn millis(day: &str, hours: i64) -> i64 {
    let day: Day = day.parse().expect("a day");
    day.start().as_millis() + hours * 3_600_000
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
