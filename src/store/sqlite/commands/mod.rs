//! Operators' commands in SQLite.
//!
//! | who | what |
//! |---|---|
//! | [`SqliteCommands`] | the people's side, on a connection of its own |
//! | `carry_out` | the dispatcher's side: which piece comes next, and its transaction |
//! | `search` | finds the callbacks that a command is about, on a reading connection |
//! | `pausing` | pauses and resumes, and what claims know of them |
//! | `rows` | the tables' rows |
//!
//! A search never holds the write lock: it looks at so many callbacks at a time on a reading
//! connection, and only what is to be done with them goes to the writer, which judges each of
//! them anew.

pub(super) mod carry_out;
pub(super) mod pausing;
mod rows;
pub(super) mod search;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::Connection;

use super::connection::{self, store_error};
use super::session::SharedConnection;
use crate::domain::{CallbackId, Timestamp};
use crate::store::reading::pauses;
use crate::store::{
    Command, CommandId, CommandNote, Commands, NewCommand, OpenError, Pause, StoreError,
};

/// The people's side of commands, for any process beside the dispatcher or the same one.
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

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.connection
            .run(|db| work(db).map_err(|error| store_error(&error)))
            .await
    }
}

#[async_trait]
impl Commands for SqliteCommands {
    async fn submit(&self, command: NewCommand, now: Timestamp) -> Result<CommandId, StoreError> {
        self.run(move |db| rows::insert(db, &command, now)).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, StoreError> {
        self.run(move |db| rows::command(db, id)).await
    }

    async fn commands(&self, limit: usize) -> Result<Vec<Command>, StoreError> {
        self.run(move |db| rows::newest(db, limit)).await
    }

    async fn notes(&self, callback: CallbackId) -> Result<Vec<CommandNote>, StoreError> {
        self.run(move |db| rows::notes(db, callback)).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        pauses(&self.connection).await
    }
}
