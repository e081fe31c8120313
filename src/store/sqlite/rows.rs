//! A row of `callback_queue` as SQLite gives it.
//!
//! SQLite does not check that text is UTF-8, nor types where checks are switched off.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

use crate::domain::Timestamp;
use crate::store::Endpoint;
use crate::store::gateway_row::GatewayRow;

/// The gateway's columns of a row, from column `first` on.
pub(super) struct ReadRow<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) first: usize,
}

impl GatewayRow for ReadRow<'_> {
    fn text(&self, index: usize) -> Result<&str, String> {
        match self.value(index)? {
            ValueRef::Text(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| "not valid UTF-8".to_owned())
            }
            other => Err(format!("{} instead of text", other.data_type())),
        }
    }

    fn integer(&self, index: usize) -> Result<i64, String> {
        match self.value(index)? {
            ValueRef::Integer(number) => Ok(number),
            other => Err(format!("{} instead of a number", other.data_type())),
        }
    }
}

impl ReadRow<'_> {
    fn value(&self, index: usize) -> Result<ValueRef<'_>, String> {
        let value = self.row.get_ref(self.first + index);
        value.map_err(|error| error.to_string())
    }
}

/// Bytes to be bound as text, UTF-8 or not. A CAST in the statement would keep SQLite from using all
/// columns of an index for a row value.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// The columns `app_id` and `origin`, the first of them at `column`.
pub(super) fn endpoint(row: &Row<'_>, column: usize) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint::new(
        row.get_ref(column)?.as_bytes()?,
        row.get_ref(column + 1)?.as_bytes()?,
    ))
}

/// A column of Unix milliseconds.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A column of Unix milliseconds or NULL.
pub(super) fn timestamp_or_null(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)
        .map(|millis| millis.map(Timestamp::from_millis))
}
