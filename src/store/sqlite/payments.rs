//! The gateway's own payments, asked for in SQL: any SQLite file, any query, read only.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, Statement};
use thiserror::Error;

/// Rows that the query may be ahead of who reads them.
const AHEAD_ROWS: usize = 1024;

/// Why a query gives no rows.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The file can't be opened.
    #[error("{path}: {reason}; name the gateway's SQLite file", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The text is not one query.
    #[error("--sql: {0}; write a single SELECT")]
    Sql(String),
    /// The query ended early.
    #[error("--sql, row {row}: {reason}")]
    Row {
        /// Counted from 1.
        row: u64,
        /// What SQLite said.
        reason: String,
    },
}

/// A row of the query as texts, NULL as an empty one.
type QueryRow = Result<Vec<String>, QueryError>;

/// A query at work in a thread of its own.
#[derive(Debug)]
pub struct PaymentsQuery {
    /// The names of its columns.
    pub columns: Vec<String>,
    rows: Receiver<QueryRow>,
}

impl PaymentsQuery {
    /// Runs `sql` on the SQLite file at `path`, which is opened for reading only.
    ///
    /// # Errors
    ///
    /// The file can't be opened, or `sql` is not a query.
    pub fn start(path: &Path, sql: &str) -> Result<Self, QueryError> {
        let (send_columns, columns) = sync_channel(1);
        let (send_rows, rows) = sync_channel(AHEAD_ROWS);
        let (path, sql) = (path.to_owned(), sql.to_owned());
        std::thread::spawn(move || run(&path, &sql, &send_columns, &send_rows));
        let ended = || {
            Err(QueryError::Sql(
                "the query ended without an answer".to_owned(),
            ))
        };
        let columns = columns.recv().unwrap_or_else(|_| ended())?;
        Ok(Self { columns, rows })
    }
}

impl Iterator for PaymentsQuery {
    type Item = QueryRow;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.recv().ok()
    }
}

fn run(
    path: &Path,
    sql: &str,
    columns: &SyncSender<Result<Vec<String>, QueryError>>,
    rows: &SyncSender<QueryRow>,
) {
    let connection = match open(path) {
        Ok(connection) => connection,
        Err(error) => {
            let reason = error.to_string();
            let path = path.to_owned();
            // Nobody is left to tell if this fails, here and below.
            let _ = columns.send(Err(QueryError::File { path, reason }));
            return;
        }
    };
    match connection.prepare(sql) {
        Ok(mut statement) if statement.readonly() && statement.column_count() > 0 => {
            let names = statement.column_names().map(str::to_owned);
            let _ = columns.send(Ok(names.collect()));
            send_rows(&mut statement, rows);
        }
        Ok(_) => {
            let reason = "it gives no rows, or writes".to_owned();
            let _ = columns.send(Err(QueryError::Sql(reason)));
        }
        Err(error) => {
            let _ = columns.send(Err(QueryError::Sql(error.to_string())));
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn send_rows(statement: &mut Statement<'_>, rows: &SyncSender<QueryRow>) {
    let count = statement.column_count();
    let mut found = statement.raw_query();
    for number in 1.. {
        let failed = |error: rusqlite::Error| QueryError::Row {
            row: number,
            reason: error.to_string(),
        };
        let row = match found.next() {
            Ok(Some(row)) => texts(row, count).map_err(failed),
            Ok(None) => return,
            Err(error) => Err(failed(error)),
        };
        let is_last = row.is_err();
        if rows.send(row).is_err() || is_last {
            return;
        }
    }
}

fn texts(row: &Row<'_>, count: usize) -> rusqlite::Result<Vec<String>> {
    (0..count)
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => String::new(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    String::from_utf8_lossy(bytes).into_owned()
                }
            })
        })
        .collect()
}
