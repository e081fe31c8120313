//! The words for what the server and the connection say.

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// The innermost reason: tokio-postgres keeps it out of its own text.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}

/// What the server or the connection said, in the store's words.
pub(super) fn store_error(error: &tokio_postgres::Error) -> StoreError {
    let Some(said) = error.as_db_error() else {
        let text = cause(error);
        // A value of ours that does not fit a column of the statement is no matter of connections.
        return match error.is_closed() || is_io(error) {
            true => StoreError::Unreachable(text),
            false => StoreError::Other(format!("{error}: {text}")),
        };
    };
    let mut text = said.message().to_owned();
    if let Some(constraint) = said.constraint()
        && !text.contains(constraint)
    {
        text.push_str(&format!(" ({constraint})"));
    }
    match said.code() {
        code if *code == SqlState::DISK_FULL => StoreError::Full(text),
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::ReadOnly(format!(
            "{text}; it is a standby, or default_transaction_read_only is on"
        )),
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Denied(text),
        code if *code == SqlState::RAISE_EXCEPTION => StoreError::Refused(text),
        code if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED => {
            StoreError::Busy(text)
        }
        code if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            StoreError::Corrupt(text)
        }
        code => match &code.code()[..2] {
            // Connections, resources, operator intervention, authorisation, a database that is gone.
            "08" | "53" | "57" | "28" | "3D" => StoreError::Unreachable(text),
            // Two transactions in each other's way.
            "40" => StoreError::Busy(text),
            "22" | "23" => StoreError::Refused(text),
            _ => StoreError::Other(format!("{text} (SQLSTATE {})", code.code())),
        },
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        store_error(&error)
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.is::<std::io::Error>() || inner.is::<rustls::Error>() {
            return true;
        }
        source = inner.source();
    }
    // A connect that timed out, or a TLS that was refused, has no source of its own.
    let text = error.to_string();
    text.contains("connect") || text.contains("communicating") || text.contains("TLS")
}
