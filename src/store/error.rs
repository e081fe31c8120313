//! What can go wrong between us and the database.

use std::io::ErrorKind;
use std::path::PathBuf;

use thiserror::Error;

/// Why a database can't be opened as the queue.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another dispatcher works on this queue.
    #[error("{path} is held by another dispatcher ({holder}); stop that one first")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote there of itself.
        holder: String,
    },
    /// A pooler that gives each transaction another session.
    #[error(
        "{database} is a pooler that gives each transaction another session, and a dispatcher needs sessions \
         of its own; name the server itself in store.url, or set the pooler to session mode"
    )]
    Pooler {
        /// The database.
        database: String,
    },
    /// There is no such database.
    #[error(
        "{database} does not exist; check store.url, and the working directory if it is relative"
    )]
    Missing {
        /// The database.
        database: String,
    },
    /// The queue is where this role does not look.
    #[error(
        "{database} has no queue in the search_path of the role {role}, but there is one in {schemas}; \
         run `ALTER ROLE {role} SET search_path = ...`, or create another queue with \
         `callback-dispatcher init`"
    )]
    Elsewhere {
        /// The database.
        database: String,
        /// The role.
        role: String,
        /// The schemas that have a queue.
        schemas: String,
    },
    /// The file belongs to another program.
    #[error("{database} is a database of another program ({fault}); set store.url to another file")]
    Foreign {
        /// The database.
        database: String,
        /// How that is known.
        fault: String,
    },
    /// The schema is newer than this program.
    #[error(
        "{database} has schema version {found}, this program knows up to {known}; \
         install the newer callback-dispatcher"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The schema is older and this opening may not migrate it.
    #[error(
        "{database} has schema version {found}, this program works with {known}; \
         run `callback-dispatcher init` to migrate it"
    )]
    Older {
        /// The database.
        database: String,
        /// Its version.
        found: i64,
        /// The version needed.
        known: i64,
    },
    /// The queue is being moved to another database.
    #[error(
        "{database} is being moved to {to}; finish that with `callback-dispatcher transfer`, or take \
         it back with `callback-dispatcher transfer --abandon`"
    )]
    Moving {
        /// The database.
        database: String,
        /// Where to.
        to: String,
    },
    /// The queue was moved to another database.
    #[error(
        "{database} has moved to {to}; set store.url to that one. To go back, transfer that one into \
         a new database"
    )]
    Moved {
        /// The database.
        database: String,
        /// Where to.
        to: String,
    },
    /// A queue is being moved into this database.
    #[error(
        "{database} is not complete: a transfer into it from {from} is not finished; run \
         `callback-dispatcher transfer` again"
    )]
    Incomplete {
        /// The database.
        database: String,
        /// Where from.
        from: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("{database}: {source}")]
    Database {
        /// The database.
        database: String,
        /// What it said.
        source: StoreError,
    },
}

impl OpenError {
    /// Whether something was short that may be there again without anyone's doing: room on the
    /// disk, memory, threads, file descriptors.
    pub fn is_shortage(&self) -> bool {
        let Self::File { source, .. } = self else {
            return false;
        };
        let kind = source.kind();
        // EAGAIN, of a thread that can't be started, is WouldBlock; ENFILE and EMFILE have no kind.
        matches!(
            kind,
            ErrorKind::StorageFull | ErrorKind::OutOfMemory | ErrorKind::WouldBlock
        ) || matches!(source.raw_os_error(), Some(23 | 24))
    }
}

/// Why the database did not do what was asked. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Somebody else has held a lock for longer than we wait at a time.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// Another session has locked some of the rows.
    #[error("another session has locked rows of the queue: {0}")]
    Locked(String),
    /// No space is left.
    #[error("the disk or the database is full: {0}; free some space")]
    Full(String),
    /// It takes no writes.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Reading or writing the file failed.
    #[error("the database file can't be read or written: {0}")]
    Io(String),
    /// The file is damaged.
    #[error("the database is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// A rule of the schema was broken.
    #[error("the database refused the row: {0}")]
    Refused(String),
    /// There is no connection to the database server.
    #[error("the database can't be reached: {0}")]
    Unreachable(String),
    /// The role that we work as lacks a right.
    #[error("the database role may not do this: {0}; grant it what docs/postgres.md says")]
    Denied(String),
    /// Anything else that the database says.
    #[error("the database failed: {0}")]
    Other(String),
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the file is beyond what waiting can heal.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Closed)
    }

    /// Whether it is perhaps a single row's fault, so that others of the same batch may succeed.
    pub const fn is_perhaps_one_rows(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Other(_))
    }
}

/// Why a batch was not queued. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnqueueError {
    /// One of its rows was refused.
    #[error("callback {position}: {source}")]
    Row {
        /// Which, from 0.
        position: usize,
        /// Why.
        source: StoreError,
    },
    /// The whole batch failed.
    #[error(transparent)]
    Batch(#[from] StoreError),
}
