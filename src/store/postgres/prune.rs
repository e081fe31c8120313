//! Removing what is past its retention.

use std::time::Duration;

use deadpool_postgres::Client;

use super::connection::Pool;
use crate::domain::Timestamp;
use crate::store::prune::prune as remove_finished;
use crate::store::{Retention, StoreError};

pub(super) async fn prune(pool: &Pool, retention: &Retention) -> Result<usize, StoreError> {
    let mut client = pool.client().await?;
    let call = client.call();
    let removing = async {
        let transaction = client.transaction().await?;
        let removed = remove_finished(&transaction, retention).await?;
        transaction.commit().await?;
        Ok::<_, StoreError>(removed)
    };
    let removed = call.within(removing).await?;
    drop(client);
    if removed < retention.limit {
        turn_months(pool, retention.delivered_before).await?;
    }
    Ok(removed)
}

/// How long a month's last callbacks may take to move.
const TURN_TIMEOUT: &str = "SET LOCAL statement_timeout = '10min'";

/// How long is waited for that.
const TURN_WAIT: Duration = Duration::from_secs(11 * 60);

/// Where `partition.postgres.sql` has divided the log: makes the months that come, and drops those
/// that ended before `passed`, each in a transaction of its own.
async fn turn_months(pool: &Pool, passed: Timestamp) -> Result<(), StoreError> {
    let mut client = pool.client().await?;
    loop {
        let call = client.slow_call(TURN_WAIT);
        let turned = call.within(turned(&mut client, passed)).await?;
        if turned.is_empty() {
            return Ok(());
        }
        tracing::info!(months = turned, "the log of attempts is divided by month");
    }
}

async fn turned(client: &mut Client, passed: Timestamp) -> Result<String, tokio_postgres::Error> {
    let is_divided =
        "SELECT to_regprocedure('callback_attempt_turn_months(bigint, bigint)') IS NOT NULL";
    if !client.query_one(is_divided, &[]).await?.get::<_, bool>(0) {
        return Ok(String::new());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(TURN_TIMEOUT).await?;
    let turn = "SELECT callback_attempt_turn_months(callback_now(), $1)";
    let turned = transaction.query_one(turn, &[&passed.as_millis()]).await?;
    transaction.commit().await?;
    Ok(turned.get(0))
}
