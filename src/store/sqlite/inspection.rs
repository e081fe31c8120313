//! The connection on which people and auditors read.

use std::os::unix::fs::MetadataExt as _;
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
    path: PathBuf,
    /// The file that was opened.
    inode: Option<u64>,
    /// SQLite's log of recent writes.
    wal: PathBuf,
}

/// The file that stands at `path`.
fn inode(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|metadata| metadata.ino())
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
            inode: inode(&path),
            wal: wal_path(&path),
            path,
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

    fn replaced(&self) -> Option<String> {
        (inode(&self.path) != self.inode).then(|| {
            format!(
                "{} was replaced or removed while it was in use: what is queued there now goes into another \
                 file, and what is delivered is recorded in this one; stop the dispatcher and put the \
                 right file in place",
                self.path.display()
            )
        })
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connection.run(arrivals::oldest_due).await
    }
}
