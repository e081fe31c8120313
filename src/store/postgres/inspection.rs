//! The connections on which people and auditors read, and what they read of the server.

use std::path::Path;

use super::connection::{Database, Pool};
use super::{arrivals, schema};
use crate::domain::Timestamp;
use crate::store::reading::Reader;
use crate::store::{HeldSnapshot, OpenError, StoreError};

/// The transaction of this database that has been open for the longest time among those that keep dead rows from
/// being cleaned up. The server hides those of other roles from a role without `pg_read_all_stats`; how
/// long ago they began, it hides as well. Cleaning up itself keeps nothing.
const OLDEST_SNAPSHOT: &str = "
SELECT floor(extract(epoch FROM clock_timestamp() - since))::bigint, holder
FROM (SELECT 1) always LEFT JOIN (
  SELECT xact_start AS since, format('session %s of %s, %s', pid, usename,
    coalesce(nullif(application_name, ''), 'without an application_name')) AS holder
  FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
  UNION ALL
  SELECT prepared, format('prepared transaction %s of %s', gid, owner)
  FROM pg_prepared_xacts WHERE database = current_database()
) held ON true
ORDER BY since LIMIT 1";

/// Reads the queue in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresInspection {
    pool: Pool,
}

impl PostgresInspection {
    /// Opens an existing queue of this version for reading.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or the schema is not of this version.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let pool = database.people();
        schema::require_current(database, &pool).await?;
        Ok(Self { pool })
    }
}

impl Reader for PostgresInspection {
    type Session = Pool;

    fn session(&self) -> &Pool {
        &self.pool
    }

    /// The server keeps its own.
    fn wal(&self) -> Option<&Path> {
        None
    }

    async fn oldest_snapshot(&self) -> Result<Option<HeldSnapshot>, StoreError> {
        let client = self.pool.client().await?;
        let row = client
            .within(client.query_one(OLDEST_SNAPSHOT, &[]))
            .await?;
        Ok(row.get::<_, Option<i64>>(0).map(|seconds| HeldSnapshot {
            seconds: u64::try_from(seconds).unwrap_or_default(),
            holder: row.get(1),
        }))
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        arrivals::oldest_due(&self.pool).await
    }
}
