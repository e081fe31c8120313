//! The marks of a transfer: that this queue has moved, or that one is on its way into it.

use tokio_postgres::GenericClient;

use super::connection::{Database, Pool, User, store_error};
use super::schema;
use crate::store::OpenError;
use crate::store::transfer::{Arriving, Moved};

pub(super) async fn moved(
    client: &impl GenericClient,
) -> Result<Option<Moved>, tokio_postgres::Error> {
    let sql = "SELECT source, to_name, verified_at IS NOT NULL FROM queue_moved";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map(|row| Moved {
        source: row.get(0),
        to: row.get(1),
        is_verified: row.get(2),
    }))
}

pub(super) async fn arriving(
    client: &impl GenericClient,
) -> Result<Option<Arriving>, tokio_postgres::Error> {
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

/// Insists that the queue in `database` is in use, see [`require_in_use`].
///
/// # Errors
///
/// What is wrong with it.
pub async fn check_in_use(database: &Database) -> Result<(), OpenError> {
    let pool = database.pool(User::People);
    schema::require_current(database, &pool).await?;
    require_in_use(database, &pool).await
}
