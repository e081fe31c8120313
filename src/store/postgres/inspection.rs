//! The connections on which people and auditors read.

use std::path::Path;

use super::connection::{Database, Pool, User};
use super::{arrivals, schema};
use crate::domain::Timestamp;
use crate::store::reading::Reader;
use crate::store::{OpenError, StoreError};

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
        let pool = database.pool(User::People);
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

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        arrivals::oldest_due(&self.pool).await
    }
}
