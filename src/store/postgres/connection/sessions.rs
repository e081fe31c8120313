//! Whether connections have sessions of their own, or a pooler gives each transaction another one.
//!
//! A dispatcher listens, prepares statements and sets its sessions up. Through such a pooler it would lose
//! all of that, at some time or other.

use tokio_postgres::SimpleQueryMessage;

use super::lent::Lent;
use super::{Database, Pool};
use crate::store::{OpenError, StoreError};

/// A pooler that others use as well may give us the same session by chance.
const TRIES: usize = 3;

impl Database {
    /// Insists on sessions of our own. To be asked first: whatever prepares statements fails in words that say
    /// nothing of a pooler.
    pub(in crate::store::postgres) async fn require_sessions(
        &self,
        pool: &Pool,
    ) -> Result<(), OpenError> {
        match have_sessions(pool).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(OpenError::Pooler {
                database: self.name().to_owned(),
            }),
            Err(error) => Err(self.open_error(error)),
        }
    }
}

async fn have_sessions(pool: &Pool) -> Result<bool, StoreError> {
    let one = pool.client().await?;
    let Ok(other) = pool.client().await else {
        // The server has no second one to spare, and a pooler would.
        return Ok(true);
    };
    for _ in 0..TRIES {
        let before = process(&one).await?;
        // Now a pooler is free to give that session to the other one, and has to keep it.
        other.within(other.batch_execute("BEGIN")).await?;
        let others = process(&other).await?;
        let after = process(&one).await?;
        other.within(other.batch_execute("ROLLBACK")).await?;
        if before == others || before != after {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The server's process at the other end.
async fn process(client: &Lent) -> Result<Option<String>, StoreError> {
    let asked = client.simple_query("SELECT pg_backend_pid()");
    let said = client.within(asked).await?;
    Ok(said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
