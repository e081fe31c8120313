//! Opening the file.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::schema;
use crate::store::{EnqueueError, OpenError, StoreError};

pub(super) use super::error::{database_error, store_error};

/// How long SQLite itself waits for another process's write lock before it says "busy".
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long between two looks at the lock. With the timer's slack it becomes about 0.3 ms, of
/// which a look costs some microseconds.
const BUSY_NAP: Duration = Duration::from_micros(250);

/// Page cache of a connection, in KiB: the upper levels of every index of millions of rows.
const CACHE_KIB: i64 = 1024;

/// Statements kept prepared.
const STATEMENTS_MAX: usize = 64;

/// The one true path of the file, so that two names of it meet in one lock. The folder must exist.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::File {
        path: path.to_owned(),
        source,
    };
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| failed(std::io::Error::other("not the name of a file")))?;
    Ok(folder.canonicalize().map_err(failed)?.join(name))
}

/// The write-ahead log of the database at `path`.
pub(super) fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Opens for writing; creates or migrates as needed.
pub(super) fn open_or_create(path: &Path) -> Result<Connection, OpenError> {
    create_for_the_group(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = open(path, flags)?;
    schema::bring_up_to_date(&mut connection, path)?;
    // A restored copy has lost that: VACUUM INTO makes files with a rollback journal.
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(|error| database_error(path, &error))?;
    Ok(connection)
}

/// SQLite itself would create the file writable by its owner alone; the gateway, another user of
/// the same group, has to INSERT. The umask has the last word.
fn create_for_the_group(path: &Path) -> Result<(), OpenError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o660)
        .open(path);
    match created {
        // No connection of this process has the file open yet, so closing it drops no lock.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Opens for writing what is there and current.
pub(super) fn open_current(path: &Path) -> Result<Connection, OpenError> {
    require_file(path)?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    schema::require_current(&connection, path)?;
    Ok(connection)
}

/// Opens for reading what is there and current.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, OpenError> {
    require_file(path)?;
    // A reader of a WAL file wants to create the -shm file when it is the first to come, so
    // read-write is tried before read-only; query_only then forbids the writing.
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| open(path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    schema::require_current(&connection, path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|error| database_error(path, &error))?;
    Ok(connection)
}

/// Whether a transaction can begin and write.
pub(super) fn check_writable(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    connection
        .execute_batch("BEGIN IMMEDIATE; ROLLBACK")
        .map_err(|error| database_error(path, &error))
}

fn require_file(path: &Path) -> Result<(), OpenError> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Missing {
            database: path.display().to_string(),
        }),
        Err(source) => Err(OpenError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    // Each connection has one user at a time: SQLite's own mutexes are not needed.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|mut connection| prepare(&mut connection).map(|()| connection))
        .map_err(|error| database_error(path, &error))
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_for_the_lock))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans go by the statements alone. Otherwise each new value of a parameter would prepare its
    // statement again, lest another index be better for it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // FULL: a commit that we have told anyone of survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Waits a moment for another process's lock, the `tries`th time; false: no more.
///
/// SQLite's own handler sleeps up to 100 ms at a time. Beside a gateway that commits in quick
/// succession it would miss the gaps between the commits for seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "SQLite tells nobody that a lock is free; it has to be asked"
)]
fn wait_for_the_lock(tries: i32) -> bool {
    let may_wait = u32::try_from(tries).is_ok_and(|tries| BUSY_NAP * tries < BUSY_TIMEOUT);
    if !may_wait || IMPATIENT.get() {
        return false;
    }
    WAITED.set(true);
    std::thread::sleep(BUSY_NAP);
    true
}

thread_local! {
    static IMPATIENT: Cell<bool> = const { Cell::new(false) };
    static WAITED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has waited for another process's lock since the last time it was asked.
pub(super) fn has_waited() -> bool {
    WAITED.take()
}

/// Runs `work`, in which no lock of another process is waited for.
pub(super) fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    IMPATIENT.set(true);
    let result = work();
    IMPATIENT.set(false);
    result
}

/// Runs `work` in a transaction of its own: all of it or nothing.
pub(super) fn in_transaction<T, E: From<StoreError>>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| store_error(&error))?;
    let result = work(&transaction)?;
    transaction.commit().map_err(|error| store_error(&error))?;
    Ok(result)
}

/// Runs `work` inside a transaction so that its failure undoes its own writes alone.
pub(super) fn in_savepoint<T>(
    db: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, EnqueueError>,
) -> Result<Result<T, EnqueueError>, StoreError> {
    let batch = |sql| db.execute_batch(sql).map_err(|error| store_error(&error));
    batch("SAVEPOINT alone")?;
    let result = work(db);
    if result.is_err() {
        batch("ROLLBACK TO alone")?;
    }
    batch("RELEASE alone")?;
    Ok(result)
}

/// Writes without changing anything: fails where a real write would.
pub(super) fn touch(db: &Connection, (): &()) -> Result<(), StoreError> {
    // The version number is written anew in the file's header, which makes a true commit.
    db.pragma_update(None, "user_version", schema::SCHEMA_VERSION)
        .map_err(|error| store_error(&error))
}
