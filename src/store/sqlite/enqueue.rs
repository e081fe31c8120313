//! Queueing as the gateway does.

use rusqlite::Connection;

use super::connection::store_error;
use super::rows;
use crate::domain::{CallbackId, NewCallback, Timestamp};
use crate::store::EnqueueError;
use crate::store::gateway_row::GATEWAY_COLUMNS;

pub(super) fn enqueue(
    db: &Connection,
    callbacks: &[NewCallback],
    now: Timestamp,
) -> Result<Vec<CallbackId>, EnqueueError> {
    let sql = format!(
        "INSERT INTO callback_queue ({GATEWAY_COLUMNS}, created_at, next_attempt_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16)"
    );
    let mut statement = db
        .prepare_cached(&sql)
        .map_err(|error| store_error(&error))?;
    let mut insert = |callback: &NewCallback| {
        rows::bind_new_callback(&mut statement, callback)?;
        statement.raw_bind_parameter(16, now.as_millis())?;
        statement.raw_execute()?;
        Ok(CallbackId(db.last_insert_rowid()))
    };
    callbacks
        .iter()
        .enumerate()
        .map(|(position, callback)| {
            insert(callback).map_err(|error: rusqlite::Error| EnqueueError::Row {
                position,
                source: store_error(&error),
            })
        })
        .collect()
}
