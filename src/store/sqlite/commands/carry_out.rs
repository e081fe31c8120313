//! Which piece of which command comes next, and the transaction that it is.
//!
//! Commands are carried out in the order of their ids: a cancel that was given after a resend has
//! the last word. Pauses and resumes go before all others, and a command that only waits for
//! attempts in flight holds up nobody.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::super::arrivals::origin;
use super::super::connection::store_error;
use super::super::inspection::SqliteInspection;
use super::super::writer::Writer;
use super::search::{self, Found, look};
use super::{pausing, rows};
use crate::domain::{CallbackId, Timestamp};
use crate::store::{
    Action, CarriedOut, Command, CommandId, CommandStatus, DEFAULT_RATE, Disposition, Origin,
    OriginDue, Remaining, Standing, StoreError, Touch, disposition,
};

/// Commands that are under way at a time; others wait.
const OPEN_MAX: usize = 64;

/// Callbacks that one transaction looks at again, because their attempts may have ended.
const AWAITED_MAX: usize = 500;

/// What one transaction has done for one command.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) remaining: Remaining,
    pub(super) due: Vec<OriginDue>,
    pub(super) answered: Option<Command>,
}

/// What a transaction is asked to do for a command.
#[derive(Debug)]
enum Task {
    /// Pause, resume, or go on with a resume.
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
        let searches = !has_searched(&command);
        let tasks = match (command.request.action, search::refusal(&command)) {
            (_, Some(why)) => vec![Task::Refuse(why)],
            (Action::Pause | Action::Resume, None) => vec![Task::Pausing],
            // One search at a time, so that the younger command comes later to each callback.
            (Action::Resend | Action::Cancel, None) if searches && is_searching => continue,
            (Action::Resend | Action::Cancel, None) if searches => {
                let parts = reader.read(move |db| look(db, &command, now)).await?;
                parts.into_iter().map(Task::Act).collect()
            }
            (Action::Resend | Action::Cancel, None) => vec![Task::Settle],
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

fn has_searched(command: &Command) -> bool {
    command
        .looks_up_to
        .is_some_and(|last| command.looked_up_to >= last)
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
        .map(|(origin, due)| OriginDue { origin, due })
        .collect();
    Ok(piece)
}

/// Does what a look has found to do.
fn act(
    db: &Connection,
    command: &mut Command,
    found: &Found,
    now: Timestamp,
    due: &mut BTreeMap<Origin, Timestamp>,
) -> rusqlite::Result<()> {
    for (why, callbacks) in &found.skipped {
        command.selected += callbacks;
        command.skip(why, *callbacks);
    }
    for id in &found.acts {
        command.selected += 1;
        if command.request.dry_run {
            command.done += 1;
            continue;
        }
        match touch(db, command, *id, now, due)? {
            Disposition::Act => note(db, command, *id, command.touch(), now)?,
            Disposition::Await => note(db, command, *id, Touch::Awaited, now)?,
            Disposition::Skip(why) => command.skip(why, 1),
        }
    }
    command.looks_up_to = Some(found.looks_up_to);
    command.looked_up_to = found.looked_up_to;
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
    due: &mut BTreeMap<Origin, Timestamp>,
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
        let (what, why) = match touch(db, command, id, now, due)? {
            Disposition::Act => (command.touch(), ""),
            Disposition::Await => continue,
            Disposition::Skip(why) => {
                command.skip(why, 1);
                (Touch::Skipped, why)
            }
        };
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
    due: &mut BTreeMap<Origin, Timestamp>,
) -> rusqlite::Result<Disposition> {
    let Some((standing, origin)) = standing(db, id)? else {
        return Ok(Disposition::Skip("pruned"));
    };
    let turn = turn(command, now);
    let disposition = disposition(&command.request, standing, turn);
    if disposition != Disposition::Act {
        return Ok(disposition);
    }
    if command.request.action == Action::Resend {
        let at = standing.next_attempt_at.map_or(turn, |at| at.min(turn));
        resend(db, id, at)?;
        let earliest = due.entry(origin).or_insert(at);
        *earliest = at.min(*earliest);
    } else {
        cancel(db, id, now)?;
    }
    command.done += 1;
    Ok(Disposition::Act)
}

fn standing(db: &Connection, id: CallbackId) -> rusqlite::Result<Option<(Standing, Origin)>> {
    db.prepare_cached(
        "SELECT id, state, leased_until IS NOT NULL, attempts, next_attempt_at, origin
         FROM callback_queue WHERE id = ?1",
    )?
    .query_row([id.0], |row| {
        Ok((search::standing(db, row, id)?, origin(row, 5)?))
    })
    .optional()
}

/// When the next callback of a resend is due: so many a second from its beginning on.
fn turn(command: &Command, now: Timestamp) -> Timestamp {
    let rate = u64::from(command.request.rate.unwrap_or(DEFAULT_RATE).max(1));
    let wait = std::time::Duration::from_millis(command.done.saturating_mul(1000) / rate);
    command.started_at.unwrap_or(now).after(wait)
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
         SET state = 'cancelled', next_attempt_at = NULL, finished_at = ?2, held = 0
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

fn end(
    db: &Connection,
    mut command: Command,
    status: CommandStatus,
    answer: String,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    command.status = status;
    command.answer = answer;
    command.started_at.get_or_insert(now);
    command.finished_at = Some(now);
    rows::keep(db, &command)?;
    Ok(Piece {
        answered: Some(command),
        ..Piece::default()
    })
}
