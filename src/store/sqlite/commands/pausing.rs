//! Pauses and resumes, and what claims know of them.
//!
//! A pause is a predicate over endpoints: claims, surveys and arrivals pass over the endpoints that
//! it concerns. No callback changes by it.

use rusqlite::Connection;

use super::super::arrivals::next_endpoint;
use super::carry_out::{answer, end, refuse};
use super::rows;
use crate::domain::Timestamp;
use crate::store::command::pausing::{Decision, Paused, decide, subject};
use crate::store::command::steps::Piece;
use crate::store::{CommandId, Endpoint, EndpointDue, PauseScope};

/// What claims, surveys and arrivals pass over.
pub(in super::super) fn read(db: &Connection) -> rusqlite::Result<Paused> {
    let mut paused = Paused::default();
    let mut statement = db.prepare_cached("SELECT scope, name FROM paused")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        paused.add(row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?);
    }
    Ok(paused)
}

/// Pauses or resumes.
pub(super) fn carry_out(db: &Connection, id: CommandId, now: Timestamp) -> rusqlite::Result<Piece> {
    let Some(mut command) = rows::command(db, id)?.filter(|command| !command.is_answered()) else {
        return Ok(Piece::default());
    };
    let Some((scope, name)) = subject(&command) else {
        return refuse(db, command, "name one origin or one app", now);
    };
    let is_paused = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM paused WHERE scope = ?1 AND name = ?2)")?
        .query_row((scope.as_str(), &name), |row| row.get(0))?;
    match decide(&mut command, scope, &name, is_paused, now) {
        Decision::Answer(status, words) => end(db, command, status, words, now),
        Decision::Pause(words) => {
            db.execute(
                "INSERT INTO paused (scope, name, command_id, since) VALUES (?1, ?2, ?3, ?4)",
                (scope.as_str(), &name, id.0, now.as_millis()),
            )?;
            answer(db, command, words, now)
        }
        Decision::Resume(words) => {
            db.execute(
                "DELETE FROM paused WHERE scope = ?1 AND name = ?2",
                (scope.as_str(), &name),
            )?;
            let due = resumed(db, scope, &name, now)?;
            let piece = answer(db, command, words, now)?;
            Ok(Piece { due, ..piece })
        }
    }
}

/// The endpoints that may have waited for the end of a pause, as due at once.
fn resumed(
    db: &Connection,
    scope: PauseScope,
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<Vec<EndpointDue>> {
    let mut due = Vec::new();
    let mut after = match scope {
        PauseScope::Origin => None,
        PauseScope::App => Some(Endpoint::new(name, "")),
    };
    while let Some(EndpointDue { endpoint, .. }) = next_endpoint(db, after.as_ref())? {
        let is_concerned = match scope {
            PauseScope::Origin => endpoint.origin.as_bytes() == name.as_bytes(),
            PauseScope::App if endpoint.app_id.as_bytes() == name.as_bytes() => true,
            PauseScope::App => break,
        };
        if is_concerned {
            due.push(EndpointDue {
                endpoint: endpoint.clone(),
                due: now,
            });
        }
        after = Some(endpoint);
    }
    Ok(due)
}
