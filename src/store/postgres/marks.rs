//! The marks of a transfer: that this queue has moved, or that one is on its way into it.

use deadpool_postgres::Transaction;
use tokio_postgres::GenericClient;

use super::connection::{Database, Pool, User};
use super::error::store_error;
use super::schema;
use crate::domain::Timestamp;
use crate::store::OpenError;
use crate::store::transfer::{Arriving, Moved};

/// The tables that the gateway and operators write, and dispatchers after them.
const WRITTEN: [&str; 2] = ["callback_queue", "operator_command"];

type Done<T = ()> = Result<T, tokio_postgres::Error>;

/// Marks the queue as moved. The triggers are made when it is known where to; that way, they cost
/// nothing before, and a transaction that has begun before sees them, whatever its isolation.
pub(super) async fn leave(db: &Transaction<'_>, moved: &Moved, now: Timestamp) -> Done {
    let mark = "INSERT INTO queue_moved (source, to_name, at) VALUES ($1, $2, $3)";
    db.execute(mark, &[&moved.source, &moved.to, &now.as_millis()])
        .await?;
    let to = moved.to.replace('\'', "''");
    for table in WRITTEN {
        let trigger = format!(
            "CREATE TRIGGER {table}_has_moved
             BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT
             EXECUTE FUNCTION callback_refuse('{table}: this queue has moved to {to}')"
        );
        db.batch_execute(&trigger).await?;
    }
    Ok(())
}

/// Takes back what [`leave`] did.
pub(super) async fn stay(db: &Transaction<'_>) -> Done {
    for table in WRITTEN {
        let trigger = format!("DROP TRIGGER IF EXISTS {table}_has_moved ON {table}");
        db.batch_execute(&trigger).await?;
    }
    db.batch_execute("DELETE FROM queue_moved").await
}

/// Marks the queue as being filled. From then on a transfer alone writes; a dispatcher that was cut
/// off all the while claims nothing either.
pub(super) async fn expect(db: &Transaction<'_>, arriving: &Arriving, now: Timestamp) -> Done {
    let mark = "INSERT INTO queue_arriving (source, from_name, at) VALUES ($1, $2, $3)";
    db.execute(mark, &[&arriving.source, &arriving.from, &now.as_millis()])
        .await?;
    for table in WRITTEN {
        let trigger = format!(
            "CREATE TRIGGER {table}_waits_for_its_transfer
             BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT
             EXECUTE FUNCTION queue_refuse_unless_copying(
               '{table}: a transfer into this queue is not finished; run it again')"
        );
        db.batch_execute(&trigger).await?;
    }
    Ok(())
}

/// Takes back what [`expect`] did: the queue is complete.
pub(super) async fn arrived(db: &Transaction<'_>) -> Done {
    for table in WRITTEN {
        let trigger = format!("DROP TRIGGER IF EXISTS {table}_waits_for_its_transfer ON {table}");
        db.batch_execute(&trigger).await?;
    }
    db.batch_execute("DELETE FROM queue_arriving").await
}

/// Waits for those who are writing, and lets nobody write before the end of the transaction.
pub(super) async fn lock(db: &Transaction<'_>) -> Done {
    let tables = WRITTEN.join(", ");
    db.batch_execute(&format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
        .await
}

pub(super) async fn moved(client: &impl GenericClient) -> Done<Option<Moved>> {
    let sql = "SELECT source, to_name, verified_at IS NOT NULL FROM queue_moved";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map(|row| Moved {
        source: row.get(0),
        to: row.get(1),
        is_verified: row.get(2),
    }))
}

pub(super) async fn arriving(client: &impl GenericClient) -> Done<Option<Arriving>> {
    let sql = "SELECT source, from_name FROM queue_arriving";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map(|row| Arriving {
        source: row.get(0),
        from: row.get(1),
    }))
}

/// Insists that this is the queue, not one that has moved or is still on its way.
pub(super) async fn require_in_use(database: &Database, pool: &Pool) -> Result<(), OpenError> {
    let client = pool
        .client()
        .await
        .map_err(|error| database.open_error(error))?;
    let name = || database.name().to_owned();
    let failed = |error| database.open_error(store_error(&error));
    match moved(&**client).await.map_err(failed)? {
        None => {}
        Some(moved) if moved.is_verified => {
            return Err(OpenError::Moved {
                database: name(),
                to: moved.to,
            });
        }
        Some(moved) => {
            return Err(OpenError::Moving {
                database: name(),
                to: moved.to,
            });
        }
    }
    match arriving(&**client).await.map_err(failed)? {
        None => Ok(()),
        Some(arriving) => Err(OpenError::Arriving {
            database: name(),
            from: arriving.from,
        }),
    }
}

/// Insists that the queue in `database` is in use: it has not moved, and is not still on its way.
///
/// # Errors
///
/// What is wrong with it.
pub async fn check_in_use(database: &Database) -> Result<(), OpenError> {
    let pool = database.pool(User::People);
    schema::require_current(database, &pool).await?;
    require_in_use(database, &pool).await
}
