//! Operators' commands in SQLite: their connection, and their transactions on the writer's thread.
//!
//! A scan never holds the write lock: it reads on a connection of its own, and only the callbacks
//! that it has found go to the writer, which decides each of them again.

use std::future::{Future, ready};
use std::path::Path;

use rusqlite::Connection;

use super::session::SharedConnection;
use super::{SqliteQueue, arrivals, connection};
use crate::store::command::BatchSession;
use crate::store::command::batch::{Batch, BatchResult};
use crate::store::command::carry_out::CommandStore;
use crate::store::command::rows::CommandConnection;
use crate::store::reading::Reader;
use crate::store::session::{Session, Value, at_once};
use crate::store::{Endpoint, EndpointDue, OpenError, StoreError};

/// The operators' side of commands, for this process or any other beside the dispatcher.
#[derive(Clone, Debug)]
pub struct SqliteCommands {
    connection: SharedConnection,
}

impl SqliteCommands {
    /// Opens an existing queue of this version.
    ///
    /// # Errors
    ///
    /// What the file or the database said.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = connection::canonical(path)?;
        Ok(Self {
            connection: SharedConnection::new(connection::open_current(&path)?),
        })
    }
}

impl CommandConnection for SqliteCommands {
    type Session = SharedConnection;

    fn session(&self) -> &SharedConnection {
        &self.connection
    }
}

impl CommandStore for SqliteQueue {
    type Reader = SharedConnection;

    fn reader(&self) -> &SharedConnection {
        self.reader.session()
    }

    async fn transact(&self, batch: Batch) -> Result<Option<BatchResult>, StoreError> {
        let run = |db: &Connection, batch: &Batch| at_once(batch.run(db));
        self.writer.write(batch, run).await.1
    }
}

impl BatchSession for Connection {
    fn execute_each(
        &self,
        sql: &str,
        rows: &[Vec<Value>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let mut rows = rows.iter();
        ready(rows.try_for_each(|values| at_once(Session::execute(self, sql, values)).map(drop)))
    }

    fn endpoints(
        &self,
        after: Option<&Endpoint>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EndpointDue>, StoreError>> + Send {
        ready(arrivals::endpoints(self, after, limit))
    }
}
