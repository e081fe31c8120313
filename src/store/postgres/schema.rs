//! Which schema a database has, and how it gets the current one.

use std::time::Duration;

use super::connection::{Database, Pool, User};
use super::fleet;
use crate::store::{OpenError, StoreError};

/// How long a migration may take: it may rewrite a large table.
const MIGRATION_MAX: Duration = Duration::from_secs(60 * 60);

/// The current schema, as the file at the top of the repository has it.
pub const SCHEMA: &str = include_str!("../../../schema.postgres.sql");

/// The version that [`SCHEMA`] makes.
///
/// Versions are numbered as those of `schema.sql`: what has the same number has the same columns.
pub const SCHEMA_VERSION: i64 = 6;

/// One step from a version to a later one. The text ends with its version in `queue_schema`.
struct Migration {
    from: i64,
    sql: &'static str,
}

/// Steps from older versions, oldest first, each from the version that the one before it made.
const MIGRATIONS: &[Migration] = &[Migration {
    from: 1,
    sql: include_str!("migrations/6.sql"),
}];

/// The version that stands in the database; `None`: there is no queue.
async fn found(pool: &Pool) -> Result<Option<i64>, StoreError> {
    let client = pool.client().await?;
    let found = async {
        let is_there = client
            .query_one("SELECT to_regclass('queue_schema') IS NOT NULL", &[])
            .await?
            .get(0);
        match is_there {
            false => Ok(None),
            true => client
                .query_one("SELECT version FROM queue_schema", &[])
                .await
                .map(|row| Some(row.get(0))),
        }
    };
    client.within::<_, tokio_postgres::Error>(found).await
}

/// Insists on the current schema.
pub(super) async fn require_current(database: &Database, pool: &Pool) -> Result<(), OpenError> {
    let name = || database.name().to_owned();
    match found(pool)
        .await
        .map_err(|error| database.open_error(error))?
    {
        None => Err(missing(database, pool).await),
        Some(SCHEMA_VERSION) => Ok(()),
        Some(found) if found > SCHEMA_VERSION => Err(OpenError::Newer {
            database: name(),
            found,
            known: SCHEMA_VERSION,
        }),
        Some(found) => Err(OpenError::Older {
            database: name(),
            found,
            known: SCHEMA_VERSION,
        }),
    }
}

/// Schemas that have a queue; a restored database has forgotten the `search_path` of its roles.
const QUEUES: &str =
    "SELECT current_user::text, string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relname = 'queue_schema' AND c.relkind = 'r'";

/// There is no queue where this role looks.
async fn missing(database: &Database, pool: &Pool) -> OpenError {
    let looking = async {
        let client = pool.client().await?;
        client.within(client.query_one(QUEUES, &[])).await
    };
    let name = database.name().to_owned();
    match looking.await {
        Err(error) => database.open_error(error),
        Ok(row) => match row.get::<_, Option<String>>(1) {
            Some(schemas) => OpenError::Elsewhere {
                database: name,
                role: row.get(0),
                schemas,
            },
            None => OpenError::Missing {
                database: format!("the queue in {name}"),
            },
        },
    }
}

/// Migrates an older schema. Deliberately makes none: where this role does not look, there may be
/// the queue that is meant.
pub(super) async fn migrate_older(database: &Database) -> Result<(), OpenError> {
    let pool = database.people();
    let found = found(&pool).await;
    let found = found.map_err(|error| database.open_error(error))?;
    if found.is_some_and(|version| version < SCHEMA_VERSION) {
        migrate(database, &pool).await?;
    }
    require_current(database, &pool).await
}

/// Makes the schema in a database that has none, and migrates an older one. Returns whether it was
/// made.
///
/// # Errors
///
/// The server can't be reached, or refuses; the schema is newer, or older and a dispatcher is at
/// work on it.
pub async fn init(database: &Database) -> Result<bool, OpenError> {
    let pool = database.pool(User::People);
    let failed = |error| database.open_error(error);
    if let Some(version) = found(&pool).await.map_err(failed)? {
        if version < SCHEMA_VERSION {
            migrate(database, &pool).await?;
        }
        return require_current(database, &pool).await.map(|()| false);
    }
    let client = pool.client().await.map_err(failed)?;
    let call = client.slow_call(MIGRATION_MAX);
    let made = call.within(client.batch_execute(SCHEMA)).await;
    if made.is_err() {
        // Leaves the half-made transaction; fails when there is none to leave.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    match made {
        Ok(()) => Ok(true),
        // Another process may have made it between our look and our transaction.
        Err(_) if found(&pool).await.is_ok_and(|found| found.is_some()) => {
            require_current(database, &pool).await.map(|()| false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Applies every step that leads from the version found to the current one, in one transaction.
///
/// The lock on `queue_schema` keeps a second process from doing the same; that on `dispatcher` keeps
/// dispatchers of the older version from joining meanwhile.
async fn migrate(database: &Database, pool: &Pool) -> Result<(), OpenError> {
    let failed = |error| database.open_error(error);
    let mut client = pool.client().await.map_err(failed)?;
    let call = client.slow_call(MIGRATION_MAX);
    let migrating = async {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(
                "LOCK TABLE queue_schema IN ACCESS EXCLUSIVE MODE;
                 LOCK TABLE dispatcher IN SHARE ROW EXCLUSIVE MODE",
            )
            .await?;
        if let Some(holder) = fleet::at_work(&*transaction).await? {
            return Ok(Some(holder));
        }
        let row = transaction.query_one("SELECT version FROM queue_schema", &[]);
        let found: i64 = row.await?.get(0);
        for migration in MIGRATIONS.iter().filter(|step| step.from >= found) {
            transaction.batch_execute(migration.sql).await?;
        }
        transaction.batch_execute(&comments()).await?;
        transaction.commit().await?;
        Ok::<_, tokio_postgres::Error>(None)
    };
    match call.within(migrating).await {
        Ok(None) => Ok(()),
        Ok(Some(holder)) => Err(OpenError::Held {
            path: database.name().into(),
            holder,
        }),
        Err(error) => Err(failed(error)),
    }
}

/// What the current schema says of its tables and columns, a line each.
fn comments() -> String {
    let lines = SCHEMA.lines();
    let comments: Vec<_> = lines
        .filter(|line| line.starts_with("COMMENT ON "))
        .collect();
    comments.join("\n")
}

/// Whether `partition.postgres.sql` has left the rule that it makes first.
const IS_HALF_DIVIDED: &str = "SELECT EXISTS (SELECT 1 FROM pg_constraint
  WHERE conrelid = 'callback_attempt'::regclass AND conname = 'started_before_there_were_months')";

/// Whether a row could be written now. Returns what the server says of itself.
pub(super) async fn check_writable(pool: &Pool) -> Result<String, StoreError> {
    let mut client = pool.client().await?;
    let call = client.call();
    let look = async {
        let transaction = client.transaction().await?;
        // Locks a row as a claim does, if there is one; a standby refuses this.
        transaction
            .execute(
                "SELECT id FROM callback_queue LIMIT 1 FOR UPDATE SKIP LOCKED",
                &[],
            )
            .await?;
        let half_divided = transaction.query_one(IS_HALF_DIVIDED, &[]).await?.get(0);
        let version = transaction.query_one("SHOW server_version", &[]).await?;
        transaction.rollback().await?;
        Ok((half_divided, version.get(0)))
    };
    match call.within::<_, tokio_postgres::Error>(look).await? {
        (false, version) => Ok(version),
        (true, _) => Err(StoreError::Other(
            "partition.postgres.sql was cut off, and nothing can be recorded once the month has \
             ended; run it again"
                .to_owned(),
        )),
    }
}

/// Whether a dispatcher has given a sign of life in the last moments.
///
/// # Errors
///
/// The server can't be reached, or the schema is not of this version.
pub async fn has_dispatchers(database: &Database) -> Result<bool, OpenError> {
    let pool = database.pool(User::People);
    require_current(database, &pool).await?;
    let failed = |error| database.open_error(error);
    let client = pool.client().await.map_err(failed)?;
    let at_work = client.within(fleet::at_work(&***client)).await;
    let at_work = at_work.map_err(failed)?;
    Ok(at_work.is_some())
}
