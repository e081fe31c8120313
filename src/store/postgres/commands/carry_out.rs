//! Which piece of which command comes next, and the transaction that it is.

use deadpool_postgres::Transaction;

use super::super::connection::Pool;
use super::search::look;
use super::touching::{Due, touch};
use super::{pausing, rows};
use crate::domain::{CallbackId, Timestamp};
use crate::store::command::judging::Verdict;
use crate::store::command::looking::Found;
use crate::store::command::steps::{self, AWAITED_MAX, OPEN_MAX, Piece, Step, has_searched};
use crate::store::{CarriedOut, Command, CommandId, CommandStatus, Remaining, StoreError};

/// One dispatcher at a time carries out a piece.
const TAKE_THE_FLOOR: &str =
    "SELECT pg_try_advisory_xact_lock(hashtext('callback_queue'), hashtext('commands'))";

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
    pool: &Pool,
    now: Timestamp,
) -> Result<CarriedOut, StoreError> {
    let mut carried_out = CarriedOut::default();
    let mut is_searching = false;
    let open = rows::open(&pool.client().await?, OPEN_MAX).await?;
    for command in open {
        let id = command.id;
        let step = Step::of(&command, is_searching);
        let searches = matches!(step, Step::Look);
        let tasks = match step {
            Step::Wait => continue,
            Step::Refuse(why) => vec![Task::Refuse(why)],
            Step::Pause => vec![Task::Pausing],
            Step::Settle => vec![Task::Settle],
            Step::Look => {
                let parts = look(&pool.client().await?, &command, now).await?;
                parts.into_iter().map(Task::Act).collect()
            }
        };
        let mut remaining = Remaining::Nothing;
        for task in tasks {
            let Some(piece) = perform(pool, id, task, now).await? else {
                // Another dispatcher is at it; what it leaves is seen by the next look.
                carried_out.remaining = carried_out.remaining.max(Remaining::Attempts);
                return Ok(carried_out);
            };
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
    pool: &Pool,
    id: CommandId,
    task: Task,
    now: Timestamp,
) -> Result<Option<Piece>, StoreError> {
    match transact(pool, id, &task, now).await {
        // A command that the database takes ill must not come again for ever.
        Err(error) if error.is_perhaps_one_rows() => {
            let why = Task::Refuse(format!("the database refuses it: {error}"));
            transact(pool, id, &why, now).await
        }
        done => done,
    }
}

/// `None`: another dispatcher is at it, or has gone on with it.
async fn transact(
    pool: &Pool,
    id: CommandId,
    task: &Task,
    now: Timestamp,
) -> Result<Option<Piece>, StoreError> {
    let mut client = pool.client().await?;
    let transaction = client.transaction().await?;
    let statement = transaction.prepare_cached(TAKE_THE_FLOOR).await?;
    if !transaction.query_one(&statement, &[]).await?.try_get(0)? {
        return Ok(None);
    }
    let Some(mut command) = rows::command(&transaction, id)
        .await?
        .filter(|command| !command.is_answered())
    else {
        return Ok(Some(Piece::default()));
    };
    let piece = match task {
        Task::Pausing => pausing::carry_out(&transaction, command, now).await?,
        Task::Refuse(why) => {
            end(
                &transaction,
                command,
                CommandStatus::Refused,
                why.clone(),
                now,
            )
            .await?
        }
        Task::Act(found) if found.after != command.looks_after() => return Ok(None),
        Task::Act(_) | Task::Settle => {
            let mut due = Due::default();
            command.started_at.get_or_insert(now);
            match task {
                Task::Act(found) => act(&transaction, &mut command, found, now, &mut due).await?,
                _ => settle(&transaction, &mut command, now, &mut due).await?,
            }
            let mut piece = conclude(&transaction, command, now).await?;
            due.notify(&transaction).await?;
            piece.due = due.into_list();
            piece
        }
    };
    transaction.commit().await?;
    Ok(Some(piece))
}

const NOTE: &str = "
INSERT INTO operator_command_item (command_id, callback_id, what, at)
SELECT $1, id, what, $4 FROM unnest($2::bigint[], $3::text[]) AS touched (id, what)";

/// Does what a look has found to do.
async fn act(
    transaction: &Transaction<'_>,
    command: &mut Command,
    found: &Found,
    now: Timestamp,
    due: &mut Due,
) -> Result<(), StoreError> {
    found.count(command);
    if command.request.dry_run || found.acts.is_empty() {
        return Ok(());
    }
    let verdicts = touch(transaction, command, &found.acts, now, due).await?;
    let touched = verdicts
        .into_iter()
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Skip(_)));
    let (ids, what): (Vec<i64>, Vec<&str>) = touched
        .map(|(id, verdict)| (id.0, verdict.touch().0.as_str()))
        .unzip();
    let statement = transaction.prepare_cached(NOTE).await?;
    transaction
        .execute(&statement, &[&command.id.0, &ids, &what, &now.as_millis()])
        .await?;
    Ok(())
}

const AWAITED: &str = "
SELECT i.callback_id
FROM operator_command_item i LEFT JOIN callback_queue q ON q.id = i.callback_id
WHERE i.command_id = $1 AND i.what = 'awaited' AND q.leased_until IS NULL
ORDER BY i.callback_id LIMIT $2";

const SETTLE: &str = "
UPDATE operator_command_item i SET what = settled.what, why = settled.why, at = $5
FROM unnest($2::bigint[], $3::text[], $4::text[]) AS settled (id, what, why)
WHERE i.command_id = $1 AND i.callback_id = settled.id";

/// Goes on with those callbacks that were in flight and are no longer.
async fn settle(
    transaction: &Transaction<'_>,
    command: &mut Command,
    now: Timestamp,
    due: &mut Due,
) -> Result<(), StoreError> {
    let statement = transaction.prepare_cached(AWAITED).await?;
    let limit = i64::try_from(AWAITED_MAX).unwrap_or(i64::MAX);
    let ended = transaction
        .query(&statement, &[&command.id.0, &limit])
        .await?;
    if ended.is_empty() {
        return Ok(());
    }
    let ended: Vec<CallbackId> = ended.iter().map(|row| CallbackId(row.get(0))).collect();
    let (mut ids, mut what, mut why) = (Vec::new(), Vec::new(), Vec::new());
    for (id, verdict) in touch(transaction, command, &ended, now, due).await? {
        // It has gone out again before it was locked.
        if verdict == Verdict::Await {
            continue;
        }
        let (touch, reason) = verdict.touch();
        ids.push(id.0);
        what.push(touch.as_str());
        why.push(reason);
    }
    let statement = transaction.prepare_cached(SETTLE).await?;
    let now = now.as_millis();
    transaction
        .execute(&statement, &[&command.id.0, &ids, &what, &why, &now])
        .await?;
    Ok(())
}

/// Answers `command` if nothing of it is left, else keeps how far it has come.
async fn conclude(
    transaction: &Transaction<'_>,
    command: Command,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    let remaining = match has_searched(&command) {
        false => Remaining::Work,
        true if awaits(transaction, command.id).await? => Remaining::Attempts,
        true => {
            let words = command.summary();
            return end(transaction, command, CommandStatus::Done, words, now).await;
        }
    };
    rows::keep(transaction, &command).await?;
    Ok(Piece {
        remaining,
        ..Piece::default()
    })
}

async fn awaits(transaction: &Transaction<'_>, id: CommandId) -> Result<bool, StoreError> {
    let statement = transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM operator_command_item
             WHERE command_id = $1 AND what = 'awaited')",
        )
        .await?;
    Ok(transaction.query_one(&statement, &[&id.0]).await?.get(0))
}

/// Ends a command with its final answer.
pub(super) async fn end(
    transaction: &Transaction<'_>,
    mut command: Command,
    status: CommandStatus,
    words: String,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    steps::end(&mut command, status, words, now);
    rows::keep(transaction, &command).await?;
    Ok(Piece {
        answered: Some(command),
        ..Piece::default()
    })
}
