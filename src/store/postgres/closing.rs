//! Closing a day where several dispatchers may do so at once.
//!
//! What was left open is kept in memory until the day is closed, and written along with its record,
//! in one transaction. Each dispatcher has seen the callbacks at its own time: if their notes were in
//! the table before, one dispatcher could remove another's. So one of them writes all that it has
//! seen, and the others are refused.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::connection::Pool;
use crate::domain::Day;
use crate::store::closing::write;
use crate::store::{AuditEntry, LeftOpen, StoreError};

/// Callbacks that are noted by one statement.
const NOTED_MAX: usize = 10_000;

/// What this dispatcher has seen of the day that it is about to close: 24 bytes for each callback
/// that was not acknowledged.
#[derive(Debug)]
pub(super) struct Closing {
    pool: Pool,
    left_open: Mutex<BTreeMap<Day, Vec<LeftOpen>>>,
}

impl Closing {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            left_open: Mutex::default(),
        }
    }

    pub(super) async fn write(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let mut left_open = self.left_open.lock().await;
        match &entry {
            AuditEntry::Begin(_) => left_open.clear(),
            AuditEntry::LeftOpen(day, callbacks) => {
                left_open.entry(*day).or_default().extend(callbacks);
            }
            AuditEntry::Closed(record) => {
                let callbacks = left_open.get(&record.day).map_or(&[][..], Vec::as_slice);
                close(&self.pool, record.day, callbacks, &entry).await?;
                left_open.remove(&record.day);
            }
        }
        Ok(())
    }
}

async fn close(
    pool: &Pool,
    day: Day,
    left_open: &[LeftOpen],
    closed: &AuditEntry,
) -> Result<(), StoreError> {
    let mut client = pool.client().await?;
    let call = client.call();
    let closing = async {
        let transaction = client.transaction().await?;
        // A queue that came from a file may have brought notes of a day that was not closed there.
        write(&transaction, &AuditEntry::Begin(day)).await?;
        for callbacks in left_open.chunks(NOTED_MAX) {
            let entry = AuditEntry::LeftOpen(day, callbacks.to_vec());
            write(&transaction, &entry).await?;
        }
        write(&transaction, closed).await?;
        Ok::<_, StoreError>(transaction.commit().await?)
    };
    call.within(closing).await
}
