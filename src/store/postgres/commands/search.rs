//! Finding the callbacks that a command is about.
//!
//! A look follows the narrowest index that the selectors offer; the rest is compared. It sees one
//! moment of the queue and locks nothing.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::domain::{CallbackId, Timestamp};
use crate::store::command::looking::{Found, Look, ROWS_MAX, Seen, stored_state};
use crate::store::{Command, Selectors, Standing, StoreError, StoredState, disposition};

const HIGHEST: &str = "SELECT coalesce(max(id), 0) FROM callback_queue";

const LOOKED_AT: &str = "
SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, origin, app_id, created_at,
  state <> 'delivered' AND EXISTS (
    SELECT 1 FROM callback_attempt WHERE callback_id = id AND outcome = 'acknowledged')
FROM callback_queue";

/// Looks on from where `command` has come to.
pub(super) async fn look(
    client: &impl GenericClient,
    command: &Command,
    now: Timestamp,
) -> Result<Vec<Found>, StoreError> {
    let looks_up_to = match command.looks_up_to {
        Some(id) => id,
        None => CallbackId(client.query_one(HIGHEST, &[]).await?.get(0)),
    };
    let after = command.looks_after();
    let selectors = &command.request.selectors;
    let (sql, value) = walk(selectors);
    let statement = client.prepare_cached(&sql).await?;
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&after.0, &looks_up_to.0];
    if let Some(value) = &value {
        values.push(value.as_ref());
    }
    let mut look = Look::begin(command, looks_up_to);
    for row in &client.query(&statement, &values).await? {
        let seen = Seen {
            state: row.try_get::<_, &str>(1)?.as_bytes(),
            origin: row.try_get::<_, &str>(5)?.as_bytes(),
            app_id: row.try_get::<_, &str>(6)?.as_bytes(),
            created_at: Timestamp::from_millis(row.try_get(7)?),
        };
        let found = match look.selects(&seen) {
            true => {
                let standing = standing(row, row.try_get(8)?)?;
                Some(disposition(&command.request, standing, now))
            }
            false => None,
        };
        look.took(CallbackId(row.try_get(0)?), found);
    }
    Ok(look.end())
}

/// The rows to look at, in the order of their ids, and the third parameter.
///
/// Where an index gives them in another order, the ids are found first: else the planner may think
/// it better to go along all ids until enough of them fit.
fn walk(selectors: &Selectors) -> (String, Option<Box<dyn ToSql + Sync + Send>>) {
    let (found, rows, value): (_, _, Option<Box<dyn ToSql + Sync + Send>>) = if let Some(id) =
        selectors.callback_id
    {
        ("", "WHERE id = $3 AND", Some(Box::new(id.0)))
    } else if let Some(number) = &selectors.order_number {
        (
            "WITH found AS MATERIALIZED (
                   SELECT id FROM callback_queue WHERE order_no = $3
                   UNION SELECT id FROM callback_queue WHERE newpay_order_no = $3
                   UNION SELECT id FROM callback_queue
                     WHERE refund_order_no = $3 AND refund_order_no IS NOT NULL
                   UNION SELECT id FROM callback_queue
                     WHERE kind = 'refund' AND newpay_refund_order_no = $3)",
            "WHERE id IN (SELECT id FROM found WHERE id > $1 ORDER BY id LIMIT {rows}) AND",
            Some(Box::new(number.clone())),
        )
    } else if let Some(app_id) = &selectors.app_id {
        ("", "WHERE app_id = $3 AND", Some(Box::new(app_id.clone())))
    } else if let Some(state @ (StoredState::Exhausted | StoredState::Cancelled)) = selectors.state
    {
        (
            "WITH found AS MATERIALIZED (
                   SELECT id FROM callback_queue WHERE state = $3 AND finished_at IS NOT NULL)",
            "WHERE id IN (SELECT id FROM found WHERE id > $1 ORDER BY id LIMIT {rows}) AND",
            Some(Box::new(state.as_str())),
        )
    } else {
        ("", "WHERE", None)
    };
    let sql = format!("{found} {LOOKED_AT} {rows} id > $1 AND id <= $2 ORDER BY id LIMIT {{rows}}");
    (sql.replace("{rows}", &ROWS_MAX.to_string()), value)
}

/// Reads `state, in flight, attempts, next_attempt_at` from column 1 on.
pub(super) fn standing(row: &Row, was_acknowledged: bool) -> Result<Standing, StoreError> {
    let state = stored_state(row.try_get::<_, &str>(1)?.as_bytes());
    let next_attempt_at: Option<i64> = row.try_get(4)?;
    Ok(Standing {
        state,
        in_flight: row.try_get(2)?,
        attempts: u32::try_from(row.try_get::<_, i64>(3)?).unwrap_or(u32::MAX),
        next_attempt_at: next_attempt_at.map(Timestamp::from_millis),
        was_acknowledged,
    })
}
