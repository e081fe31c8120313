//! Plain SQL on a queue, for tests of what stands above the store.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// Runs `sql` on the queue at `path`.
pub(crate) fn plain_sql(path: &Path, sql: &str) {
    let db = Connection::open(path).expect("opened");
    db.busy_timeout(Duration::from_secs(10)).expect("set");
    db.execute_batch(sql).expect("plain SQL");
}
