//! Pauses and resumes, and what claims know of them.
//!
//! A paused origin is passed over by claims. The callbacks of a paused app share their origin with
//! others, so a claim that meets one sets it aside (`held`): each is met once, however many there
//! are, and a claim costs the same. A resume puts them back, so many at a time.

use std::collections::HashSet;

use rusqlite::Connection;

use super::super::arrivals::origin;
use super::super::inspection::text;
use super::super::rows::timestamp;
use super::carry_out::{answer, end, refuse};
use super::rows;
use crate::domain::Timestamp;
use crate::store::command::pausing::{Decision, PUT_BACK_MAX, decide, subject};
use crate::store::command::steps::Piece;
use crate::store::{Command, CommandId, Origin, OriginDue, Pause, PauseScope, Remaining};

/// What claims pass over or set aside.
#[derive(Debug, Default)]
pub(in super::super) struct Paused {
    origins: HashSet<Box<[u8]>>,
    apps: HashSet<Box<[u8]>>,
}

impl Paused {
    pub(in super::super) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let mut paused = Self::default();
        let mut statement = db.prepare_cached("SELECT scope, name FROM paused")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_bytes()?.into();
            match row.get_ref(0)?.as_bytes()? {
                b"origin" => paused.origins.insert(name),
                _ => paused.apps.insert(name),
            };
        }
        Ok(paused)
    }

    pub(in super::super) fn has_origin(&self, origin: &Origin) -> bool {
        self.origins.contains(origin.as_bytes())
    }

    pub(in super::super) fn has_app(&self, app_id: &[u8]) -> bool {
        self.apps.contains(app_id)
    }

    pub(in super::super) fn has_apps(&self) -> bool {
        !self.apps.is_empty()
    }
}

/// What is paused now, with who asked for it.
pub(in super::super) fn standing(db: &Connection) -> rusqlite::Result<Vec<Pause>> {
    db.prepare_cached(
        "SELECT p.scope, p.name, p.since, p.command_id, coalesce(c.actor, ''),
                coalesce(c.reason, '')
         FROM paused p LEFT JOIN operator_command c ON c.id = p.command_id
         ORDER BY p.scope, p.name",
    )?
    .query_map([], |row| {
        Ok(Pause {
            scope: match row.get_ref(0)?.as_bytes()? {
                b"origin" => PauseScope::Origin,
                _ => PauseScope::App,
            },
            name: text(row, 1)?,
            since: timestamp(row, 2)?,
            command_id: CommandId(row.get(3)?),
            actor: text(row, 4)?,
            reason: text(row, 5)?,
        })
    })?
    .collect()
}

/// Pauses or resumes, or goes on with a resume.
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
        Decision::Resume => resume(db, command, scope, &name, now),
    }
}

fn resume(
    db: &Connection,
    mut command: Command,
    scope: PauseScope,
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<Piece> {
    db.execute(
        "DELETE FROM paused WHERE scope = ?1 AND name = ?2",
        (scope.as_str(), name),
    )?;
    let due = match scope {
        PauseScope::Origin => vec![OriginDue {
            origin: Origin::new(name),
            due: now,
        }],
        PauseScope::App => put_back(db, name)?,
    };
    let is_complete = scope == PauseScope::Origin || due.len() < PUT_BACK_MAX;
    let mut piece = if is_complete {
        command.done = 1;
        answer(db, command, format!("{scope} {name} is resumed"), now)?
    } else {
        rows::keep(db, &command)?;
        Piece {
            remaining: Remaining::Work,
            ..Piece::default()
        }
    };
    piece.due = due;
    Ok(piece)
}

/// One entry for each callback put back.
fn put_back(db: &Connection, app_id: &str) -> rusqlite::Result<Vec<OriginDue>> {
    let held = db
        .prepare_cached(
            "SELECT id, origin, next_attempt_at FROM callback_queue INDEXED BY callback_held
             WHERE held = 1 AND app_id = ?1 LIMIT ?2",
        )?
        .query_map((app_id, PUT_BACK_MAX), |row| {
            let due = OriginDue {
                origin: origin(row, 1)?,
                due: timestamp(row, 2)?,
            };
            Ok((row.get::<_, i64>(0)?, due))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = db.prepare_cached("UPDATE callback_queue SET held = 0 WHERE id = ?1")?;
    held.into_iter()
        .map(|(id, due)| statement.execute([id]).map(|_| due))
        .collect()
}
