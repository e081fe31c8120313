//! Which database holds the queue: the one place that knows both.

use std::path::Path;
use std::sync::Arc;

use crate::config::StoreUrl;
use crate::domain::{CallbackId, NewCallback, Timestamp};
use crate::store::postgres::{
    self, Database, FleetTiming, PostgresCommands, PostgresInspection, PostgresProducer,
    PostgresQueue,
};
use crate::store::sqlite::{self, SqliteCommands, SqliteInspection, SqliteProducer, SqliteQueue};
use crate::store::transfer::TransferEnd;
use crate::store::{
    AuditChain, Commands, CommitObserver, EnqueueError, Inspection, OpenError, Queue, StoreError,
    Unobserved,
};

/// A database of either kind, ready to be opened.
enum Store<'a> {
    Sqlite(&'a Path),
    Postgres(Box<Database>),
}

fn store(url: &StoreUrl) -> Result<Store<'_>, OpenError> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Store::Sqlite(path)),
        StoreUrl::Postgres(text) => match Database::parse(text) {
            Ok(database) => Ok(Store::Postgres(Box::new(database))),
            // It was good when the settings were read: a file that it names is gone.
            Err(error) => Err(OpenError::Database {
                database: url.name(),
                source: StoreError::Unreachable(error.to_string()),
            }),
        },
    }
}

/// A queue as each of its users in the daemon sees it.
pub(super) struct StoreHandles {
    /// The dispatcher.
    pub(super) queue: Arc<dyn Queue>,
    /// People.
    pub(super) inspection: Arc<dyn Inspection>,
    /// Operators.
    pub(super) commands: Arc<dyn Commands>,
    /// Auditors.
    pub(super) chain: Arc<dyn AuditChain>,
}

impl StoreHandles {
    /// Opens the queue for dispatching; makes or migrates it first if need be.
    pub(super) async fn open(
        url: &StoreUrl,
        now: Timestamp,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self, OpenError> {
        let holder = holder(now);
        Ok(match store(url)? {
            Store::Sqlite(path) => {
                let queue = SqliteQueue::open(path, &holder, observer)?;
                Self {
                    inspection: Arc::new(SqliteInspection::open(path)?),
                    commands: Arc::new(SqliteCommands::open(path)?),
                    chain: Arc::new(SqliteInspection::open(path)?),
                    queue: Arc::new(queue),
                }
            }
            Store::Postgres(database) => {
                let queue =
                    PostgresQueue::open(&database, &holder, FleetTiming::default(), observer)
                        .await?;
                Self {
                    inspection: Arc::new(PostgresInspection::open(&database).await?),
                    commands: Arc::new(PostgresCommands::open(&database).await?),
                    chain: Arc::new(PostgresInspection::open(&database).await?),
                    queue: Arc::new(queue),
                }
            }
        })
    }
}

/// How this process introduces itself to others.
fn holder(now: Timestamp) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("this host", str::trim);
    format!("process {} on {host}, since {now}", std::process::id())
}

/// Opens an existing queue for reading.
///
/// # Errors
///
/// What the database said.
pub async fn inspection(url: &StoreUrl) -> Result<Arc<dyn Inspection>, OpenError> {
    Ok(match store(url)? {
        Store::Sqlite(path) => Arc::new(SqliteInspection::open(path)?),
        Store::Postgres(database) => Arc::new(PostgresInspection::open(&database).await?),
    })
}

/// Whether a dispatcher works on the queue; `None`: it can't be found out.
pub async fn has_dispatcher(url: &StoreUrl) -> Option<bool> {
    match store(url).ok()? {
        Store::Sqlite(path) => sqlite::has_dispatcher(path).ok(),
        Store::Postgres(database) => postgres::has_dispatchers(&database).await.ok(),
    }
}

/// Opens an existing queue for auditors.
///
/// # Errors
///
/// What the database said.
pub async fn audit_chain(url: &StoreUrl) -> Result<Arc<dyn AuditChain>, OpenError> {
    Ok(match store(url)? {
        Store::Sqlite(path) => Arc::new(SqliteInspection::open(path)?),
        Store::Postgres(database) => Arc::new(PostgresInspection::open(&database).await?),
    })
}

/// Opens an existing queue for operators.
///
/// # Errors
///
/// What the database said.
pub async fn commands(url: &StoreUrl) -> Result<Arc<dyn Commands>, OpenError> {
    Ok(match store(url)? {
        Store::Sqlite(path) => Arc::new(SqliteCommands::open(path)?),
        Store::Postgres(database) => Arc::new(PostgresCommands::open(&database).await?),
    })
}

/// The same, of a queue that takes orders: not one that has moved to another database, nor one that
/// is still on its way.
///
/// # Errors
///
/// What the database said, and where the queue is.
pub async fn operators(url: &StoreUrl) -> Result<Arc<dyn Commands>, OpenError> {
    match store(url)? {
        Store::Sqlite(path) => sqlite::check_in_use(path)?,
        Store::Postgres(database) => postgres::check_in_use(&database).await?,
    }
    commands(url).await
}

/// The one name of a database by which a transfer knows it again, without a password.
pub(super) fn name(url: &StoreUrl) -> Result<String, OpenError> {
    Ok(match store(url)? {
        Store::Sqlite(path) => sqlite::true_path(path)?.display().to_string(),
        Store::Postgres(database) => database.name().to_owned(),
    })
}

/// Holds the queue that a transfer takes out of a database.
pub(super) async fn source(url: &StoreUrl, now: Timestamp) -> Result<TransferEnd, OpenError> {
    let holder = format!("a transfer by {}", holder(now));
    Ok(match store(url)? {
        Store::Sqlite(path) => sqlite::transfer_source(path, &holder)?,
        Store::Postgres(database) => postgres::transfer_source(&database).await?,
    })
}

/// Holds the queue that a transfer fills; makes it if it is missing.
pub(super) async fn target(url: &StoreUrl, now: Timestamp) -> Result<TransferEnd, OpenError> {
    let holder = format!("a transfer by {}", holder(now));
    Ok(match store(url)? {
        Store::Sqlite(path) => sqlite::transfer_target(path, &holder)?,
        Store::Postgres(database) => postgres::transfer_target(&database).await?,
    })
}

/// Opens the queue as a dispatcher does, unless a dispatcher is at work on it (`None`). `as_whom`
/// is how this process introduces itself.
///
/// # Errors
///
/// What the database said.
pub async fn hold(url: &StoreUrl, as_whom: &str) -> Result<Option<Arc<dyn Queue>>, OpenError> {
    let holder = format!("process {}, {as_whom}", std::process::id());
    match store(url)? {
        Store::Sqlite(path) => match SqliteQueue::open(path, &holder, Arc::new(Unobserved)) {
            Ok(queue) => Ok(Some(Arc::new(queue))),
            Err(OpenError::Held { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        Store::Postgres(database) => {
            if postgres::has_dispatchers(&database).await? {
                return Ok(None);
            }
            let queue = PostgresQueue::open(
                &database,
                &holder,
                FleetTiming::default(),
                Arc::new(Unobserved),
            )
            .await?;
            Ok(Some(Arc::new(queue)))
        }
    }
}

/// Makes the queue if it is missing and migrates it if it is older. Returns what was done, in words.
///
/// # Errors
///
/// What the file or the database said.
pub async fn init_store(url: &StoreUrl) -> Result<String, OpenError> {
    let (name, created, version) = match store(url)? {
        Store::Sqlite(path) => {
            let (path, created) = sqlite::init(path)?;
            (path.display().to_string(), created, sqlite::SCHEMA_VERSION)
        }
        Store::Postgres(database) => {
            let created = postgres::init(&database).await?;
            let name = database.name().to_owned();
            (name, created, postgres::SCHEMA_VERSION)
        }
    };
    let did = if created { "created" } else { "is up to date" };
    Ok(format!("{name} {did}, schema version {version}"))
}

/// Checks that there is a queue of this version that can be written. Returns what it is, in words.
///
/// # Errors
///
/// What is wrong with it.
pub async fn check_store(url: &StoreUrl) -> Result<String, OpenError> {
    Ok(match store(url)? {
        Store::Sqlite(path) => {
            sqlite::check(path)?;
            format!(
                "{}, schema version {}, SQLite {}",
                path.display(),
                sqlite::SCHEMA_VERSION,
                sqlite::library_version()
            )
        }
        Store::Postgres(database) => {
            let server = postgres::check(&database).await?;
            format!(
                "{}, schema version {}, PostgreSQL {server}",
                database.name(),
                postgres::SCHEMA_VERSION
            )
        }
    })
}

/// Adds to the queue and prunes it, beside running dispatchers.
#[derive(Debug)]
pub enum Producer {
    /// In an SQLite file.
    Sqlite(SqliteProducer),
    /// In a PostgreSQL database.
    Postgres(PostgresProducer),
}

impl Producer {
    /// Opens an existing queue of this version.
    ///
    /// # Errors
    ///
    /// What the database said.
    pub async fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        Ok(match store(url)? {
            Store::Sqlite(path) => Self::Sqlite(SqliteProducer::open(path)?),
            Store::Postgres(database) => Self::Postgres(PostgresProducer::open(&database).await?),
        })
    }

    /// Queues all of `callbacks` or none, as of `now`; returns their ids in order.
    ///
    /// # Errors
    ///
    /// Which callback was refused, or that the database failed.
    pub async fn enqueue(
        &mut self,
        callbacks: &[NewCallback],
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        match self {
            Self::Sqlite(producer) => producer.enqueue(callbacks, now),
            Self::Postgres(producer) => producer.enqueue(callbacks, now).await,
        }
    }
}
