//! The connection on which people and auditors read.

use std::path::{Path, PathBuf};

use super::arrivals;
use super::connection::{canonical, open_for_reading, wal_path};
use super::session::SharedConnection;
use crate::domain::Timestamp;
use crate::store::reading::Reader;
use crate::store::{OpenError, StoreError};

/// Reads the queue in an SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteInspection {
    connection: SharedConnection,
    /// SQLite's log of recent writes.
    wal: PathBuf,
}

impl SqliteInspection {
    /// Opens an existing queue of this version for reading.
    ///
    /// # Errors
    ///
    /// What the file or the database said.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = canonical(path)?;
        Ok(Self {
            connection: SharedConnection::new(open_for_reading(&path)?),
            wal: wal_path(&path),
        })
    }
}

impl Reader for SqliteInspection {
    type Session = SharedConnection;

    fn session(&self) -> &SharedConnection {
        &self.connection
    }

    fn wal(&self) -> Option<&Path> {
        Some(&self.wal)
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connection.run(arrivals::oldest_due).await
    }
}
