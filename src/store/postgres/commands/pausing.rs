//! Pauses and resumes; what claims make of them stands in `claim`.
//!
//! A pause or resume has the table `paused` to itself, but for those who only read it: it waits for
//! the claims that are under way, and claims wait for it. So nothing more is claimed once a pause is
//! answered.

use deadpool_postgres::{GenericClient, Transaction};

use super::super::arrivals::endpoints;
use super::carry_out::end;
use super::touching::Due;
use crate::domain::Timestamp;
use crate::store::command::pausing::{Decision, Paused, decide, subject};
use crate::store::command::steps::Piece;
use crate::store::{Command, CommandStatus, Endpoint, EndpointDue, PauseScope, StoreError};

/// Endpoints that are read at a time.
const ENDPOINTS_MAX: usize = 1000;

/// What surveys pass over.
pub(in super::super) async fn read(client: &impl GenericClient) -> Result<Paused, StoreError> {
    let mut paused = Paused::default();
    let statement = client
        .prepare_cached("SELECT scope, name FROM paused")
        .await?;
    for row in client.query(&statement, &[]).await? {
        paused.add(
            row.try_get::<_, &str>(0)?.as_bytes(),
            row.try_get::<_, &str>(1)?.as_bytes(),
        );
    }
    Ok(paused)
}

/// Conflicts with the lock that claims take by their `FOR KEY SHARE`, but not with plain readers.
const HAVE_IT_ALONE: &str = "LOCK TABLE paused IN EXCLUSIVE MODE";

/// Pauses or resumes.
pub(super) async fn carry_out(
    transaction: &Transaction<'_>,
    mut command: Command,
    now: Timestamp,
) -> Result<Piece, StoreError> {
    let Some((scope, name)) = subject(&command) else {
        let why = "name one origin or one app".to_owned();
        return end(transaction, command, CommandStatus::Refused, why, now).await;
    };
    if !command.request.dry_run {
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
        Decision::Resume(words) => {
            transaction
                .execute(
                    "DELETE FROM paused WHERE scope = $1 AND name = $2",
                    &[&scope.as_str(), &name],
                )
                .await?;
            let due = resumed(transaction, scope, &name, now).await?;
            due.notify(transaction).await?;
            let piece = end(transaction, command, CommandStatus::Done, words, now).await?;
            Ok(Piece {
                due: due.into_list(),
                ..piece
            })
        }
    }
}

/// The endpoints that may have waited for the end of a pause, as due at once.
async fn resumed(
    transaction: &Transaction<'_>,
    scope: PauseScope,
    name: &str,
    now: Timestamp,
) -> Result<Due, StoreError> {
    let mut due = Due::default();
    let mut after = match scope {
        PauseScope::Origin => None,
        PauseScope::App => Some(Endpoint::new(name, "")),
    };
    loop {
        let found = endpoints(transaction, after.as_ref(), ENDPOINTS_MAX).await?;
        for EndpointDue { endpoint, .. } in &found {
            match scope {
                PauseScope::Origin if endpoint.origin.as_bytes() != name.as_bytes() => {}
                PauseScope::App if endpoint.app_id.as_bytes() != name.as_bytes() => return Ok(due),
                _ => due.add(endpoint.clone(), now),
            }
        }
        if found.len() < ENDPOINTS_MAX {
            return Ok(due);
        }
        after = found.into_iter().last().map(|last| last.endpoint);
    }
}
