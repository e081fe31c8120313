//! Which piece of which command comes next, and the transaction that it is.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::super::connection::store_error;
use super::super::inspection::SqliteInspection;
use super::super::rows::endpoint;
use super::super::writer::Writer;
use super::search::{self, look};
use super::{pausing, rows};
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::judging::{Verdict, judge};
use crate::store::command::looking::Found;
use crate::store::command::steps::{self, AWAITED_MAX, OPEN_MAX, Piece, Step, has_searched};
use crate::store::{
    CarriedOut, Command, CommandId, CommandStatus, Endpoint, EndpointDue, Remaining, Standing,
    StoreError, Touch,
};

/// What a transaction is asked to do for a command.
#[derive(Debug)]
enum Task {
    /// Pause or resume.
    Pausing,
    /// Do what a look has found.
    Act(Found),
    /// Look again at what was in flight.
    Settle,
    /// It can't be carried out.
    Refuse(String),
}

/// See [`Queue::carry_out`](crate::store::Queue::carry_out).
pub(in super::super) async fn carry_out(
    writer: &Writer,
    reader: &SqliteInspection,
    now: Timestamp,
) -> Result<CarriedOut, StoreError> {
    let mut carried_out = CarriedOut::default();
    let mut is_searching = false;
    for command in reader.read(|db| rows::open(db, OPEN_MAX)).await? {
        let id = command.id;
        let step = Step::of(&command, is_searching);
        let searches = matches!(step, Step::Look);
        let tasks = match step {
            Step::Wait => continue,
            Step::Refuse(why) => vec![Task::Refuse(why)],
            Step::Pause => vec![Task::Pausing],
            Step::Settle => vec![Task::Settle],
            Step::Look => {
                let parts = reader.read(move |db| look(db, &command, now)).await?;
                parts.into_iter().map(Task::Act).collect()
            }
        };
        let mut remaining = Remaining::Nothing;
        for task in tasks {
            let piece = perform(writer, id, task, now).await?;
            remaining = piece.remaining;
            carried_out.due.extend(piece.due);
            carried_out.answered.extend(piece.answered);
        }
        carried_out.remaining = carried_out.remaining.max(remaining);
        is_searching |= searches && remaining == Remaining::Work;
    }
    Ok(carried_out)
}

async fn perform(
    writer: &Writer,
    id: CommandId,
    task: Task,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    let work = |db: &Connection, (id, task, now): &(CommandId, Task, Timestamp)| {
        transact(db, *id, task, *now).map_err(|error| store_error(&error))
    };
    match writer.write((id, task, now), work).await.1 {
        // A command that the database takes ill must not come again for ever.
        Err(error) if error.is_perhaps_one_rows() => {
            let why = Task::Refuse(format!("the database refuses it: {error}"));
            writer.write((id, why, now), work).await.1
        }
        done => done,
    }
}

fn transact(
    db: &Connection,
    id: CommandId,
    task: &Task,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    if let Task::Pausing = task {
        return pausing::carry_out(db, id, now);
    }
    let Some(mut command) = rows::command(db, id)?.filter(|command| !command.is_answered()) else {
        return Ok(Piece::default());
    };
    command.started_at.get_or_insert(now);
    let mut due = BTreeMap::new();
    match task {
        Task::Refuse(why) => return refuse(db, command, why, now),
        Task::Act(found) => act(db, &mut command, found, now, &mut due)?,
        Task::Pausing | Task::Settle => settle(db, &mut command, now, &mut due)?,
    }
    let mut piece = conclude(db, command, now)?;
    piece.due = due
        .into_iter()
        .map(|(endpoint, due)| EndpointDue { endpoint, due })
        .collect();
    Ok(piece)
}

/// Does what a look has found to do.
fn act(
    db: &Connection,
    command: &mut Command,
    found: &Found,
    now: Timestamp,
    due: &mut BTreeMap<Endpoint, Timestamp>,
) -> rusqlite::Result<()> {
    found.count(command);
    if command.request.dry_run {
        return Ok(());
    }
    for id in &found.acts {
        let verdict = touch(db, command, *id, now, due)?;
        if !matches!(verdict, Verdict::Skip(_)) {
            note(db, command, *id, verdict.touch().0, now)?;
        }
    }
    Ok(())
}

pub(in super::super) const AWAITED: &str = "
SELECT i.callback_id
FROM operator_command_item i INDEXED BY operator_command_item_awaited
LEFT JOIN callback_queue q ON q.id = i.callback_id
WHERE i.command_id = ?1 AND i.what = 'awaited' AND q.leased_until IS NULL
LIMIT ?2";

/// Goes on with those callbacks that were in flight and are no longer.
fn settle(
    db: &Connection,
    command: &mut Command,
    now: Timestamp,
    due: &mut BTreeMap<Endpoint, Timestamp>,
) -> rusqlite::Result<()> {
    let ids: Vec<CallbackId> = db
        .prepare_cached(AWAITED)?
        .query_map((command.id.0, AWAITED_MAX), |row| {
            row.get(0).map(CallbackId)
        })?
        .collect::<Result<_, _>>()?;
    let mut statement = db.prepare_cached(
        "UPDATE operator_command_item SET what = ?3, why = ?4, at = ?5
         WHERE command_id = ?1 AND callback_id = ?2",
    )?;
    for id in ids {
        let verdict = touch(db, command, id, now, due)?;
        if verdict == Verdict::Await {
            continue;
        }
        let (what, why) = verdict.touch();
        let what = what.as_str();
        statement.execute((command.id.0, id.0, what, why, now.as_millis()))?;
    }
    Ok(())
}

/// Resends or cancels one callback, if the rule still says so.
fn touch(
    db: &Connection,
    command: &mut Command,
    id: CallbackId,
    now: Timestamp,
    due: &mut BTreeMap<Endpoint, Timestamp>,
) -> rusqlite::Result<Verdict> {
    let found = standing(db, id)?;
    let verdict = judge(command, found.as_ref().map(|found| found.0), now);
    match (verdict, found) {
        (Verdict::Resend(at), Some((_, endpoint))) => {
            resend(db, id, at)?;
            let earliest = due.entry(endpoint).or_insert(at);
            *earliest = at.min(*earliest);
        }
        (Verdict::Cancel, Some(_)) => {
            cancel(db, id, now)?;
        }
        _ => {}
    }
    Ok(verdict)
}

fn standing(db: &Connection, id: CallbackId) -> rusqlite::Result<Option<(Standing, Endpoint)>> {
    db.prepare_cached(
        "SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, app_id, origin
         FROM callback_queue WHERE id = ?1",
    )?
    .query_row([id.0], |row| {
        Ok((search::standing(db, row, id)?, endpoint(row, 5)?))
    })
    .optional()
}

fn resend(db: &Connection, id: CallbackId, at: Timestamp) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "UPDATE callback_queue
         SET state = 'pending', attempts = 0, next_attempt_at = ?2, finished_at = NULL
         WHERE id = ?1 AND leased_until IS NULL",
    )?
    .execute((id.0, at.as_millis()))
}

fn cancel(db: &Connection, id: CallbackId, now: Timestamp) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "UPDATE callback_queue
         SET state = 'cancelled', next_attempt_at = NULL, finished_at = ?2
         WHERE id = ?1 AND state = 'pending' AND leased_until IS NULL",
    )?
    .execute((id.0, now.as_millis()))
}

fn note(
    db: &Connection,
    command: &Command,
    id: CallbackId,
    what: Touch,
    now: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO operator_command_item (command_id, callback_id, what, at)
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((command.id.0, id.0, what.as_str(), now.as_millis()))
    .map(|_| ())
}

/// Answers `command` if nothing of it is left, else keeps how far it has come.
fn conclude(db: &Connection, command: Command, now: Timestamp) -> rusqlite::Result<Piece> {
    if !has_searched(&command) {
        rows::keep(db, &command)?;
        return Ok(Piece {
            remaining: Remaining::Work,
            ..Piece::default()
        });
    }
    if awaits(db, command.id)? {
        rows::keep(db, &command)?;
        return Ok(Piece {
            remaining: Remaining::Attempts,
            ..Piece::default()
        });
    }
    let words = command.summary();
    answer(db, command, words, now)
}

fn awaits(db: &Connection, id: CommandId) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM operator_command_item INDEXED BY operator_command_item_awaited
         WHERE command_id = ?1 AND what = 'awaited')",
    )?
    .query_row([id.0], |row| row.get(0))
}

/// Ends a command that was carried out.
pub(super) fn answer(
    db: &Connection,
    command: Command,
    words: String,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    end(db, command, CommandStatus::Done, words, now)
}

/// Ends a command that is not carried out.
pub(super) fn refuse(
    db: &Connection,
    command: Command,
    why: &str,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    end(db, command, CommandStatus::Refused, why.to_owned(), now)
}

pub(super) fn end(
    db: &Connection,
    mut command: Command,
    status: CommandStatus,
    words: String,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    steps::end(&mut command, status, words, now);
    rows::keep(db, &command)?;
    Ok(Piece {
        answered: Some(command),
        ..Piece::default()
    })
}
