//! The store's words for what SQLite says.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::{OpenError, StoreError};

/// What SQLite said while a file was being opened.
pub(super) fn database_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let fault = store_error(error);
    if let rusqlite::Error::SqliteFailure(code, _) = error
        && code.code == ErrorCode::NotADatabase
    {
        return OpenError::Foreign {
            database: path.display().to_string(),
            fault: "not an SQLite file".to_owned(),
        };
    }
    OpenError::Database {
        database: path.display().to_string(),
        source: fault,
    }
}

/// What SQLite said, in the store's words.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        return StoreError::Other(text);
    };
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            StoreError::Busy(format!("another process holds its write lock: {text}"))
        }
        ErrorCode::DiskFull => StoreError::Full(text),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::ReadOnly(format!(
            "{text}; check its owner and mode and its file system"
        )),
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => StoreError::Io(text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
            StoreError::Refused(text)
        }
        _ => StoreError::Other(text),
    }
}
