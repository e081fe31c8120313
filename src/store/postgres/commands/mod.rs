//! Operators' commands in PostgreSQL.
//!
//! | who | what |
//! |---|---|
//! | [`PostgresCommands`] | the people's side |
//! | `carry_out` | the dispatchers' side: which piece comes next, and its transaction |
//! | `search` | finds the callbacks that a command is about |
//! | `touching` | judges a batch of callbacks, and does what comes of it |
//! | `pausing` | pauses and resumes |
//! | `rows` | the tables' rows |
//!
//! One of several dispatchers does a piece at a time, whichever comes first. What it has found
//! before, another one may have gone on with meanwhile; a piece notes how far it has come, so that
//! shows.

pub(super) mod carry_out;
pub(super) mod pausing;
mod rows;
mod search;
mod touching;

use async_trait::async_trait;

use super::connection::{Database, Pool, User};
use super::schema;
use crate::domain::{CallbackId, Timestamp};
use crate::store::reading::pauses;
use crate::store::{
    Command, CommandId, CommandNote, Commands, NewCommand, OpenError, Pause, StoreError,
};

/// The people's side of commands, for any process beside the dispatchers or one of them.
#[derive(Clone, Debug)]
pub struct PostgresCommands {
    pool: Pool,
}

impl PostgresCommands {
    /// Opens an existing queue of this version.
    ///
    /// # Errors
    ///
    /// The server can't be reached, or the schema is not of this version.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let pool = database.pool(User::People);
        schema::require_current(database, &pool).await?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl Commands for PostgresCommands {
    async fn submit(&self, command: NewCommand, now: Timestamp) -> Result<CommandId, StoreError> {
        rows::insert(&self.pool.client().await?, &command, now).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, StoreError> {
        rows::command(&self.pool.client().await?, id).await
    }

    async fn commands(&self, limit: usize) -> Result<Vec<Command>, StoreError> {
        rows::newest(&self.pool.client().await?, limit).await
    }

    async fn notes(&self, callback: CallbackId) -> Result<Vec<CommandNote>, StoreError> {
        rows::notes(&self.pool.client().await?, callback).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        pauses(&self.pool).await
    }
}
