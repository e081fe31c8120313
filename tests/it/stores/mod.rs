//! What holds of the queue whatever the database: each test runs on SQLite and on PostgreSQL.

mod arriving;
mod closing;
mod commands;
mod queue;
mod reading;
mod waiting;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::store::postgres::{
    self, PostgresCommands, PostgresInspection, PostgresQueue, Times,
};
use callback_dispatcher::store::sqlite::{self, SqliteCommands, SqliteInspection, SqliteQueue};
use callback_dispatcher::store::{Commands, CommitObserver, Inspection, Ledger, Queue};
use tempfile::TempDir;

use crate::postgres::Server;

/// Of a fleet that waits for nobody: a lease is taken over as soon as the database says that it has
/// lapsed.
const TIMES: Times = Times {
    beat: Duration::from_secs(2),
    silent: Duration::from_secs(10),
    lease: Duration::ZERO,
    margin: Duration::ZERO,
};

/// An empty queue in a database of its own.
enum Backend {
    /// In a file of this folder.
    Sqlite(TempDir),
    /// By this URL.
    Postgres(String),
}

/// Does not care.
#[derive(Debug)]
struct Deaf;

impl CommitObserver for Deaf {
    fn committed(&self, _: Duration, _: usize) {}
}

impl Backend {
    async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        sqlite::init(&folder.path().join("queue.db")).expect("a queue");
        Self::Sqlite(folder)
    }

    async fn postgres() -> Self {
        let database = Server::shared().create_database();
        let backend = Self::Postgres(database.url());
        let database = backend.database();
        postgres::init(&database).await.expect("a queue");
        backend
    }

    async fn both() -> [Self; 2] {
        [Self::sqlite().await, Self::postgres().await]
    }

    fn database(&self) -> postgres::Database {
        match self {
            Self::Sqlite(_) => panic!("a file has no URL"),
            Self::Postgres(url) => postgres::Database::parse(url).expect("a URL"),
        }
    }

    /// A dispatcher's side; with PostgreSQL there may be several.
    async fn queue(&self) -> Arc<dyn Queue> {
        match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("queue.db");
                Arc::new(SqliteQueue::open(&path, "this test", Arc::new(Deaf)).expect("opened"))
            }
            Self::Postgres(_) => {
                let database = self.database();
                let opening = PostgresQueue::open(&database, "this test", TIMES, Arc::new(Deaf));
                Arc::new(opening.await.expect("opened"))
            }
        }
    }

    async fn inspection(&self) -> Arc<dyn Inspection> {
        match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("queue.db");
                Arc::new(SqliteInspection::open(&path).expect("opened"))
            }
            Self::Postgres(_) => {
                let opened = PostgresInspection::open(&self.database()).await;
                Arc::new(opened.expect("opened"))
            }
        }
    }

    async fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("queue.db");
                Arc::new(SqliteInspection::open(&path).expect("opened"))
            }
            Self::Postgres(_) => {
                let opened = PostgresInspection::open(&self.database()).await;
                Arc::new(opened.expect("opened"))
            }
        }
    }

    async fn commands(&self) -> Arc<dyn Commands> {
        match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("queue.db");
                Arc::new(SqliteCommands::open(&path).expect("opened"))
            }
            Self::Postgres(_) => {
                let opened = PostgresCommands::open(&self.database()).await;
                Arc::new(opened.expect("opened"))
            }
        }
    }

    /// Lets `sqlite3` or `psql` run `sql`; returns what it printed, alike for both.
    fn sql(&self, sql: &str) -> String {
        let (program, arguments, database) = match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("queue.db");
                let arguments = ["-batch", "-bail", "-cmd", ".timeout 5000"];
                ("sqlite3", arguments, path.into_os_string())
            }
            Self::Postgres(url) => {
                let arguments = ["-XqAt", "-v", "ON_ERROR_STOP=1", "--"];
                ("psql", arguments, url.into())
            }
        };
        let mut child = Command::new(program)
            .args(arguments)
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the database's own program");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(sql.as_bytes()).expect("it reads");
        input.write_all(b";\n").expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {complaint}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
