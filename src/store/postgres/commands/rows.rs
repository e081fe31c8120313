//! Rows of `operator_command` and its items.

use std::str::FromStr;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use crate::domain::{CallbackId, InvalidValue, Timestamp};
use crate::store::{
    Command, CommandId, CommandNote, CommandStatus, NewCommand, Selectors, StoreError,
};

const COLUMNS: &str = "id, action, callback_id, order_number, app_id, origin, state, since, until, \
     include_acknowledged, dry_run, rate, actor, reason, created_at, status, selected, done, \
     skipped, skipped_why, answer, started_at, finished_at, looked_up_to, looks_up_to";

pub(super) async fn insert(
    client: &impl GenericClient,
    command: &NewCommand,
    now: Timestamp,
) -> Result<CommandId, StoreError> {
    let selectors = &command.selectors;
    let statement = client
        .prepare_cached(
            "INSERT INTO operator_command (action, callback_id, order_number, app_id, origin, state,
               since, until, include_acknowledged, dry_run, rate, actor, reason, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             RETURNING id",
        )
        .await?;
    let row = client
        .query_one(
            &statement,
            &[
                &command.action.as_str(),
                &selectors.callback_id.map(|id| id.0),
                &selectors.order_number,
                &selectors.app_id,
                &selectors.origin,
                &selectors.state.map(|state| state.as_str()),
                &selectors.since.map(Timestamp::as_millis),
                &selectors.until.map(Timestamp::as_millis),
                &i64::from(command.include_acknowledged),
                &i64::from(command.dry_run),
                &command.rate.map(i64::from),
                &command.actor,
                &command.reason,
                &now.as_millis(),
            ],
        )
        .await?;
    Ok(CommandId(row.get(0)))
}

pub(super) async fn command(
    client: &impl GenericClient,
    id: CommandId,
) -> Result<Option<Command>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM operator_command WHERE id = $1");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&id.0]).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn newest(
    client: &impl GenericClient,
    limit: usize,
) -> Result<Vec<Command>, StoreError> {
    let order = "ORDER BY id DESC";
    some(client, order, limit).await
}

/// Pauses and resumes first, then by age, at most `limit` of them.
pub(super) async fn open(
    client: &impl GenericClient,
    limit: usize,
) -> Result<Vec<Command>, StoreError> {
    let order = "WHERE finished_at IS NULL ORDER BY action IN ('resend', 'cancel'), id";
    some(client, order, limit).await
}

async fn some(
    client: &impl GenericClient,
    order: &str,
    limit: usize,
) -> Result<Vec<Command>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM operator_command {order} LIMIT $1");
    let statement = client.prepare_cached(&sql).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&limit]).await?;
    rows.iter().map(read).collect()
}

/// Writes how far a command has come, and its answer if it has one.
pub(super) async fn keep(client: &impl GenericClient, command: &Command) -> Result<(), StoreError> {
    let status = match command.status {
        CommandStatus::Waiting => CommandStatus::Running,
        status => status,
    };
    let skipped_why = serde_json::to_string(&command.skipped_why)
        .map_err(|error| StoreError::Other(format!("skipped_why is no JSON: {error}")))?;
    let statement = client
        .prepare_cached(
            "UPDATE operator_command
             SET status = $2, selected = $3, done = $4, skipped = $5, skipped_why = $6, answer = $7,
                 started_at = $8, finished_at = $9, looked_up_to = $10, looks_up_to = $11
             WHERE id = $1",
        )
        .await?;
    let count = |callbacks: u64| i64::try_from(callbacks).unwrap_or(i64::MAX);
    client
        .execute(
            &statement,
            &[
                &command.id.0,
                &status.as_str(),
                &count(command.selected),
                &count(command.done),
                &count(command.skipped),
                &skipped_why,
                &command.answer,
                &command.started_at.map(Timestamp::as_millis),
                &command.finished_at.map(Timestamp::as_millis),
                &command.looked_up_to.0,
                &command.looks_up_to.map(|id| id.0),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn notes(
    client: &impl GenericClient,
    callback: CallbackId,
) -> Result<Vec<CommandNote>, StoreError> {
    let statement = client
        .prepare_cached(
            "SELECT i.command_id, c.actor, c.reason, i.what, i.why, i.at
             FROM operator_command_item i JOIN operator_command c ON c.id = i.command_id
             WHERE i.callback_id = $1 ORDER BY i.command_id",
        )
        .await?;
    let rows = client.query(&statement, &[&callback.0]).await?;
    let note = |row: &Row| {
        Ok(CommandNote {
            command_id: CommandId(row.try_get(0)?),
            actor: row.try_get(1)?,
            reason: row.try_get(2)?,
            what: word(row.try_get(3)?)?,
            why: row.try_get(4)?,
            at: Timestamp::from_millis(row.try_get(5)?),
        })
    };
    rows.iter().map(note).collect()
}

fn read(row: &Row) -> Result<Command, StoreError> {
    let id = |column| -> Result<Option<CallbackId>, StoreError> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(CallbackId))
    };
    let moment = |column| -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = row.try_get(column)?;
        Ok(millis.map(Timestamp::from_millis))
    };
    let count = |column| -> Result<u64, StoreError> {
        Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
    };
    let is_set = |column| -> Result<bool, StoreError> { Ok(row.try_get::<_, i64>(column)? != 0) };
    let rate: Option<i64> = row.try_get(11)?;
    Ok(Command {
        id: CommandId(row.try_get(0)?),
        request: NewCommand {
            action: word(row.try_get(1)?)?,
            selectors: Selectors {
                callback_id: id(2)?,
                order_number: row.try_get(3)?,
                app_id: row.try_get(4)?,
                origin: row.try_get(5)?,
                state: row.try_get::<_, Option<&str>>(6)?.map(word).transpose()?,
                since: moment(7)?,
                until: moment(8)?,
            },
            include_acknowledged: is_set(9)?,
            dry_run: is_set(10)?,
            rate: rate.map(|rate| u32::try_from(rate).unwrap_or_default()),
            actor: row.try_get(12)?,
            reason: row.try_get(13)?,
        },
        created_at: Timestamp::from_millis(row.try_get(14)?),
        status: word(row.try_get(15)?)?,
        selected: count(16)?,
        done: count(17)?,
        skipped: count(18)?,
        skipped_why: serde_json::from_str(row.try_get(19)?).unwrap_or_default(),
        answer: row.try_get(20)?,
        started_at: moment(21)?,
        finished_at: moment(22)?,
        looked_up_to: CallbackId(row.try_get(23)?),
        looks_up_to: id(24)?,
    })
}

/// One of the words that the table's CHECK allows.
fn word<T: FromStr<Err = InvalidValue>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|error: InvalidValue| StoreError::Other(error.to_string()))
}
