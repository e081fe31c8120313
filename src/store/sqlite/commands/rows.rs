//! Rows of `operator_command` and its items.

use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::super::rows::{text, text_or_null, timestamp, timestamp_or_null};
use crate::domain::{CallbackId, InvalidValue, Timestamp};
use crate::store::{Command, CommandId, CommandNote, CommandStatus, NewCommand, Selectors};

const COLUMNS: &str = "id, action, callback_id, order_number, app_id, origin, state, since, until, \
     include_acknowledged, dry_run, rate, actor, reason, created_at, status, selected, done, \
     skipped, skipped_why, answer, started_at, finished_at, looked_up_to, looks_up_to";

pub(super) fn insert(
    db: &Connection,
    command: &NewCommand,
    now: Timestamp,
) -> rusqlite::Result<CommandId> {
    let selectors = &command.selectors;
    db.prepare_cached(
        "INSERT INTO operator_command (action, callback_id, order_number, app_id, origin, state,
           since, until, include_acknowledged, dry_run, rate, actor, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(rusqlite::params![
        command.action.as_str(),
        selectors.callback_id.map(|id| id.0),
        selectors.order_number,
        selectors.app_id,
        selectors.origin,
        selectors.state.map(|state| state.as_str()),
        selectors.since.map(Timestamp::as_millis),
        selectors.until.map(Timestamp::as_millis),
        command.include_acknowledged,
        command.dry_run,
        command.rate,
        command.actor,
        command.reason,
        now.as_millis(),
    ])?;
    Ok(CommandId(db.last_insert_rowid()))
}

pub(super) fn command(db: &Connection, id: CommandId) -> rusqlite::Result<Option<Command>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM operator_command WHERE id = ?1"
    ))?
    .query_row([id.0], read)
    .optional()
}

pub(super) fn newest(db: &Connection, limit: usize) -> rusqlite::Result<Vec<Command>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM operator_command ORDER BY id DESC LIMIT ?1"
    ))?
    .query_map([limit], read)?
    .collect()
}

/// Writes how far a command has come, and its answer if it has one.
pub(super) fn keep(db: &Connection, command: &Command) -> rusqlite::Result<()> {
    let status = match command.status {
        CommandStatus::Waiting => CommandStatus::Running,
        status => status,
    };
    let skipped_why = serde_json::to_string(&command.skipped_why)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    db.prepare_cached(
        "UPDATE operator_command
         SET status = ?2, selected = ?3, done = ?4, skipped = ?5, skipped_why = ?6, answer = ?7,
             started_at = ?8, finished_at = ?9, looked_up_to = ?10, looks_up_to = ?11
         WHERE id = ?1",
    )?
    .execute(rusqlite::params![
        command.id.0,
        status.as_str(),
        command.selected,
        command.done,
        command.skipped,
        skipped_why,
        command.answer,
        command.started_at.map(Timestamp::as_millis),
        command.finished_at.map(Timestamp::as_millis),
        command.looked_up_to.0,
        command.looks_up_to.map(|id| id.0),
    ])
    .map(|_| ())
}

/// Pauses and resumes first, then by age, at most `limit` of them.
pub(super) fn open(db: &Connection, limit: usize) -> rusqlite::Result<Vec<Command>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM operator_command INDEXED BY operator_command_open
         WHERE finished_at IS NULL ORDER BY action IN ('resend', 'cancel'), id LIMIT ?1"
    ))?
    .query_map([limit], read)?
    .collect()
}

pub(super) fn notes(db: &Connection, callback: CallbackId) -> rusqlite::Result<Vec<CommandNote>> {
    db.prepare_cached(
        "SELECT i.command_id, c.actor, c.reason, i.what, i.why, i.at
         FROM operator_command_item i INDEXED BY operator_command_item_by_callback
         JOIN operator_command c ON c.id = i.command_id
         WHERE i.callback_id = ?1 ORDER BY i.command_id",
    )?
    .query_map([callback.0], |row| {
        Ok(CommandNote {
            command_id: CommandId(row.get(0)?),
            actor: text(row, 1)?,
            reason: text(row, 2)?,
            what: word(row, 3)?,
            why: text(row, 4)?,
            at: timestamp(row, 5)?,
        })
    })?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Command> {
    let state: Option<String> = row.get(6)?;
    Ok(Command {
        id: CommandId(row.get(0)?),
        request: NewCommand {
            action: word(row, 1)?,
            selectors: Selectors {
                callback_id: row.get::<_, Option<i64>>(2)?.map(CallbackId),
                order_number: text_or_null(row, 3)?,
                app_id: text_or_null(row, 4)?,
                origin: text_or_null(row, 5)?,
                state: state.map(|_| word(row, 6)).transpose()?,
                since: timestamp_or_null(row, 7)?,
                until: timestamp_or_null(row, 8)?,
            },
            include_acknowledged: row.get(9)?,
            dry_run: row.get(10)?,
            rate: row.get(11)?,
            actor: text(row, 12)?,
            reason: text(row, 13)?,
        },
        created_at: timestamp(row, 14)?,
        status: word(row, 15)?,
        selected: row.get(16)?,
        done: row.get(17)?,
        skipped: row.get(18)?,
        skipped_why: serde_json::from_str(&text(row, 19)?).unwrap_or_default(),
        answer: text(row, 20)?,
        started_at: timestamp_or_null(row, 21)?,
        finished_at: timestamp_or_null(row, 22)?,
        looked_up_to: CallbackId(row.get(23)?),
        looks_up_to: row.get::<_, Option<i64>>(24)?.map(CallbackId),
    })
}

/// One of the words that the table's CHECK allows.
fn word<T: FromStr<Err = InvalidValue>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    text(row, column)?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
