//! The two databases that a queue may be in. A test counts only if it holds on both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callback_dispatcher::store::postgres::{
    self, FleetTiming, PostgresCommands, PostgresInspection, PostgresQueue,
};
use callback_dispatcher::store::sqlite::{self, SqliteCommands, SqliteInspection, SqliteQueue};
use callback_dispatcher::store::{AuditChain, Commands, Inspection, OpenError, Queue, Unobserved};
use serde_json::Value;

use super::postgres::{Database, Server};
use super::sqlite::try_sqlite3;

/// Makes tests of `async` functions that take a [`StoreKind`], or of plain ones after `plain:`. The
/// tests are called `the_function::sqlite` and `the_function::postgres`.
macro_rules! on_both {
    (plain: $($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                super::$name($crate::support::store::StoreKind::Sqlite);
            }

            #[test]
            fn postgres() {
                super::$name($crate::support::store::StoreKind::Postgres);
            }
        }
    )+};
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$name($crate::support::store::StoreKind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$name($crate::support::store::StoreKind::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// A file.
    Sqlite,
    /// A database of a server that the tests of this process share.
    Postgres,
}

/// What may hold a queue.
pub(crate) enum Store {
    /// The file `queue.db` of a folder.
    Sqlite(PathBuf),
    /// A database of its own.
    Postgres(Database),
}

impl Store {
    /// A place for a queue, for the file in `folder`. There is none yet.
    pub(crate) fn new(kind: StoreKind, folder: &Path) -> Self {
        match kind {
            StoreKind::Sqlite => Self::Sqlite(folder.join("queue.db")),
            StoreKind::Postgres => Self::Postgres(Server::shared().create_database()),
        }
    }

    /// As `store.url` takes it, for whoever works in the folder.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => "sqlite:queue.db".to_owned(),
            Self::Postgres(database) => database.url(),
        }
    }

    /// Makes an empty queue.
    pub(crate) fn init(&self) {
        match self {
            Self::Sqlite(path) => {
                sqlite::init(path).expect("a queue");
            }
            Self::Postgres(database) => {
                database.sql(postgres::SCHEMA);
            }
        }
    }

    /// Lets the `sqlite3` program or `psql` run `sql`, each statement by itself; returns what it
    /// printed: a line for each row, columns apart by `|`.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql)
            .unwrap_or_else(|complaint| panic!("{sql}: {complaint}"))
    }

    /// The same, or the complaint.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        match self {
            Self::Sqlite(path) => try_sqlite3(path, &[], sql),
            Self::Postgres(database) => database.try_sql(sql),
        }
    }

    /// The rows of a statement as objects.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Value> {
        let json = match self {
            Self::Sqlite(path) => try_sqlite3(path, &["-json"], sql),
            Self::Postgres(database) if sql.trim_start().starts_with("SELECT") => {
                database.try_sql(&format!("SELECT json_agg(found) FROM ({sql}) found"))
            }
            Self::Postgres(database) => database.try_sql(sql),
        };
        match json.unwrap_or_else(|complaint| panic!("{sql}: {complaint}")) {
            none if none.is_empty() => Vec::new(),
            json => serde_json::from_str(&json).expect("JSON"),
        }
    }

    /// The side of a dispatcher, which introduces itself as `name`.
    pub(crate) async fn open(&self, name: &str) -> Result<Arc<dyn Queue>, OpenError> {
        self.open_with(name, FleetTiming::default()).await
    }

    /// The same, of a fleet with another timing.
    pub(crate) async fn open_with(
        &self,
        name: &str,
        timing: FleetTiming,
    ) -> Result<Arc<dyn Queue>, OpenError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteQueue::open(path, name, Arc::new(Unobserved))?),
            Self::Postgres(at) => {
                let opening =
                    PostgresQueue::open(&database(at), name, timing, Arc::new(Unobserved)).await;
                Arc::new(opening?)
            }
        })
    }

    /// The same through a proxy at `port`, on PostgreSQL.
    pub(crate) async fn open_by(&self, name: &str, port: u16) -> Arc<dyn Queue> {
        let Self::Postgres(at) = self else {
            panic!("a file has no port");
        };
        let database = postgres::Database::parse(&at.url_by(port)).expect("a good URL");
        let timing = FleetTiming::default();
        let opening = PostgresQueue::open(&database, name, timing, Arc::new(Unobserved));
        Arc::new(opening.await.expect("opened"))
    }

    /// The side of people.
    pub(crate) async fn inspection(&self) -> Arc<dyn Inspection> {
        match self {
            Self::Sqlite(path) => Arc::new(SqliteInspection::open(path).expect("readable")),
            Self::Postgres(at) => Arc::new(inspection(at).await),
        }
    }

    /// The side of an auditor.
    pub(crate) async fn audit_chain(&self) -> Arc<dyn AuditChain> {
        match self {
            Self::Sqlite(path) => Arc::new(SqliteInspection::open(path).expect("readable")),
            Self::Postgres(at) => Arc::new(inspection(at).await),
        }
    }

    /// The side of operators.
    pub(crate) async fn commands(&self) -> Arc<dyn Commands> {
        match self {
            Self::Sqlite(path) => Arc::new(SqliteCommands::open(path).expect("writable")),
            Self::Postgres(at) => {
                let opened = PostgresCommands::open(&database(at)).await;
                Arc::new(opened.expect("writable"))
            }
        }
    }
}

fn database(at: &Database) -> postgres::Database {
    postgres::Database::parse(&at.url()).expect("a good URL")
}

async fn inspection(at: &Database) -> PostgresInspection {
    let opened = PostgresInspection::open(&database(at)).await;
    opened.expect("readable")
}
