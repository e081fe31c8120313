//! A row of `callback_queue` as tokio-postgres gives it.

use tokio_postgres::Row;

use crate::store::gateway_row::GatewayRow;
use crate::store::{Endpoint, StoreError};

/// The gateway's columns of a row, from column `first` on.
pub(super) struct ReadRow<'a> {
    pub(super) row: &'a Row,
    pub(super) first: usize,
}

impl GatewayRow for ReadRow<'_> {
    fn text(&self, index: usize) -> Result<&str, String> {
        let text = self.row.try_get(self.first + index);
        text.map_err(|error| error.to_string())
    }

    fn integer(&self, index: usize) -> Result<i64, String> {
        let number = self.row.try_get(self.first + index);
        number.map_err(|error| error.to_string())
    }
}

/// The columns `app_id` and `origin`, the first of them at `column`.
pub(super) fn endpoint(row: &Row, column: usize) -> Result<Endpoint, StoreError> {
    let app_id: &str = row.try_get(column)?;
    let origin: &str = row.try_get(column + 1)?;
    Ok(Endpoint::new(app_id, origin))
}
