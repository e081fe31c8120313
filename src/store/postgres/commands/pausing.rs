//! Pauses and resumes; what claims make of them stands in `claim`.
//!
//! A pause or resume has the table `paused` to itself, but for those who only read it: it waits for
//! the claims that are under way, and claims wait for it. So nothing is sent any more once a pause
//! is answered, and nothing is set aside behind the back of a resume, to stay so for ever.

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::Row;

use super::carry_out::end;
use super::rows;
use super::touching::Due;
use crate::domain::Timestamp;
use crate::store::command::pausing::{Decision, PUT_BACK_MAX, decide, subject};
use crate::store::command::steps::Piece;
use crate::store::{
    Command, CommandId, CommandStatus, Origin, Pause, PauseScope, Remaining, StoreError,
};

/// What is paused now, with who asked for it.
pub(in super::super) async fn standing(
    client: &impl GenericClient,
) -> Result<Vec<Pause>, StoreError> {
    let statement = client
        .prepare_cached(
            "SELECT p.scope, p.name, p.since, p.command_id, coalesce(c.actor, ''),
                    coalesce(c.reason, '')
             FROM paused p LEFT JOIN operator_command c ON c.id = p.command_id
             ORDER BY p.scope, p.name",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    let pause = |row: &Row| {
        Ok(Pause {
            scope: match row.try_get(0)? {
                "origin" => PauseScope::Origin,
                _ => PauseScope::App,
            },
            name: row.try_get(1)?,
            since: Timestamp::from_millis(row.try_get(2)?),
            command_id: CommandId(row.try_get(3)?),
            actor: row.try_get(4)?,
            reason: row.try_get(5)?,
        })
    };
    rows.iter().map(pause).collect()
}

/// Conflicts with the lock that claims take by their `FOR KEY SHARE`, but not with plain readers.
const HAVE_IT_ALONE: &str = "LOCK TABLE paused IN EXCLUSIVE MODE";

/// Pauses or resumes, or goes on with a resume.
pub(super) async fn carry_out(
    transaction: &Transaction<'_>,
    mut command: Command,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    let Some((scope, name)) = subject(&command) else {
        let why = "name one origin or one app".to_owned();
        return end(transaction, command, CommandStatus::Refused, why, now).await;
    };
    if command.started_at.is_none() && !command.request.dry_run {
        transaction.batch_execute(HAVE_IT_ALONE).await?;
    }
    let is_paused = transaction
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM paused WHERE scope = $1 AND name = $2)",
            &[&scope.as_str(), &name],
        )
        .await?
        .try_get(0)?;
    match decide(&mut command, scope, &name, is_paused, now) {
        Decision::Answer(status, words) => end(transaction, command, status, words, now).await,
        Decision::Pause(words) => {
            transaction
                .execute(
                    "INSERT INTO paused (scope, name, command_id, since) VALUES ($1, $2, $3, $4)",
                    &[&scope.as_str(), &name, &command.id.0, &now.as_millis()],
                )
                .await?;
            end(transaction, command, CommandStatus::Done, words, now).await
        }
        Decision::Resume => resume(transaction, command, scope, &name, now).await,
    }
}

async fn resume(
    transaction: &Transaction<'_>,
    mut command: Command,
    scope: PauseScope,
    name: &str,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    transaction
        .execute(
            "DELETE FROM paused WHERE scope = $1 AND name = $2",
            &[&scope.as_str(), &name],
        )
        .await?;
    let mut due = Due::default();
    let is_complete = match scope {
        PauseScope::Origin => {
            due.add(Origin::new(name), now);
            true
        }
        PauseScope::App => put_back(transaction, name, &mut due).await? < PUT_BACK_MAX,
    };
    let mut piece = if is_complete {
        command.done = 1;
        let words = format!("{scope} {name} is resumed");
        end(transaction, command, CommandStatus::Done, words, now).await?
    } else {
        rows::keep(transaction, &command).await?;
        Piece {
            remaining: Remaining::Work,
            ..Piece::default()
        }
    };
    due.notify(transaction).await?;
    piece.due = due.into_list();
    Ok(piece)
}

const PUT_BACK: &str = "
WITH held AS MATERIALIZED (
  SELECT id FROM callback_queue WHERE held = 1 AND app_id = $1 LIMIT $2
)
UPDATE callback_queue q SET held = 0 FROM held WHERE q.id = held.id
RETURNING q.origin, q.next_attempt_at";

/// How many were put back.
async fn put_back(
    transaction: &Transaction<'_>,
    app_id: &str,
    due: &mut Due,
) -> Result<usize, StoreError> {
    let statement = transaction.prepare_cached(PUT_BACK).await?;
    let limit = i64::try_from(PUT_BACK_MAX).unwrap_or(i64::MAX);
    let held = transaction.query(&statement, &[&app_id, &limit]).await?;
    for row in &held {
        let at = Timestamp::from_millis(row.try_get(1)?);
        due.add(Origin::new(row.try_get::<_, &str>(0)?), at);
    }
    Ok(held.len())
}
