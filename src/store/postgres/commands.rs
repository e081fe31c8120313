//! Operators' commands in PostgreSQL: their connections and transactions.
//!
//! One of several dispatchers carries out a batch at a time, whichever comes first. Meanwhile another
//! one may have carried out what a scan has found; a batch compares the command's scan position.

use deadpool_postgres::Transaction;
use serde_json::Value as Json;

use super::connection::{Database, Pool};
use super::listener::notice;
use super::{PostgresQueue, arrivals, schema};
use crate::store::command::BatchSession;
use crate::store::command::batch::{Batch, BatchResult};
use crate::store::command::carry_out::CommandStore;
use crate::store::command::rows::CommandConnection;
use crate::store::session::{Session, Value};
use crate::store::{Endpoint, EndpointDue, OpenError, StoreError};

/// The operators' side of commands, for a dispatcher's process or any other.
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
        let pool = database.people();
        schema::require_current(database, &pool).await?;
        Ok(Self { pool })
    }
}

impl CommandConnection for PostgresCommands {
    type Session = Pool;

    fn session(&self) -> &Pool {
        &self.pool
    }
}

impl CommandStore for PostgresQueue {
    type Reader = Pool;

    fn reader(&self) -> &Pool {
        &self.pool
    }

    async fn transact(&self, batch: Batch) -> Result<Option<BatchResult>, StoreError> {
        let mut client = self.pool.client().await?;
        let call = client.call();
        let carrying_out = async {
            let transaction = client.transaction().await?;
            let Some(result) = batch.run(&transaction).await? else {
                return Ok(None);
            };
            notify(&transaction, &result.due).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(Some(result))
        };
        call.within(carrying_out).await
    }
}

/// Tells all dispatchers of endpoints that have something due once the transaction is committed.
async fn notify(session: &impl Session, due: &[EndpointDue]) -> Result<(), StoreError> {
    if due.is_empty() {
        return Ok(());
    }
    let sql = "SELECT pg_notify('callback_queue', endpoint)
         FROM jsonb_array_elements_text(CAST(?1 AS text)::jsonb) AS due (endpoint)";
    let notices = due.iter().map(|due| notice(&due.endpoint));
    let notices = Json::from_iter(notices).to_string();
    session.execute(sql, &[notices.into()]).await.map(drop)
}

impl BatchSession for Transaction<'_> {
    async fn execute_each(&self, sql: &str, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let row = |values: &Vec<Value>| values.iter().map(Json::from).collect();
        let rows: Json = rows.iter().map(row).collect::<Vec<Json>>().into();
        self.execute(sql, &[rows.to_string().into()])
            .await
            .map(drop)
    }

    async fn endpoints(
        &self,
        after: Option<&Endpoint>,
        limit: usize,
    ) -> Result<Vec<EndpointDue>, StoreError> {
        arrivals::endpoints(self, after, limit).await
    }
}
