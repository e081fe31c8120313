//! Pauses and resumes.
//!
//! A pause is a predicate over endpoints: claims, surveys and arrivals pass over the endpoints that
//! it names. No callback changes by it. On PostgreSQL a pause waits for claims under way, and claims
//! wait for it, so nothing more is claimed once it is answered.

use std::collections::HashSet;

use super::{Action, BatchSession, Command, CommandStatus, Due, PauseScope};
use crate::domain::Timestamp;
use crate::store::session::{Dialect, Session};
use crate::store::{AppId, Endpoint, EndpointDue, Origin, StoreError, Survey};

/// Endpoints that are read at a time.
const ENDPOINTS_MAX: usize = 1000;

/// What is paused.
#[derive(Debug, Default)]
pub(in crate::store) struct Paused {
    origins: HashSet<Origin>,
    apps: HashSet<AppId>,
}

impl Paused {
    pub(in crate::store) async fn read(session: &impl Session) -> Result<Self, StoreError> {
        let mut paused = Self::default();
        let rows = session.query("SELECT scope, name FROM paused", &[]);
        for row in rows.await? {
            match row.parsed("scope", |text| text.parse().ok())? {
                PauseScope::Origin => drop(paused.origins.insert(row.get("name")?)),
                PauseScope::App => drop(paused.apps.insert(row.get("name")?)),
            }
        }
        Ok(paused)
    }

    /// Whether nothing is to be claimed for `endpoint`.
    pub(in crate::store) fn has(&self, endpoint: &Endpoint) -> bool {
        self.origins.contains(&endpoint.origin) || self.apps.contains(&endpoint.app_id)
    }

    /// One step of a survey: `found` are the next endpoints, at most `limit` of them.
    pub(in crate::store) fn survey(&self, found: Vec<EndpointDue>, limit: usize) -> Survey {
        let next = match found.len() < limit {
            true => None,
            false => found.last().map(|last| last.endpoint.clone()),
        };
        let mut due = found;
        due.retain(|due| !self.has(&due.endpoint));
        Survey { due, next }
    }
}

/// Conflicts with the lock that claims take by their `FOR KEY SHARE`, but not with plain readers.
const LOCK_PAUSED: &str = "LOCK TABLE paused IN EXCLUSIVE MODE";

const IS_PAUSED: &str =
    "SELECT EXISTS (SELECT 1 FROM paused WHERE scope = ?1 AND name = ?2) AS is_paused";

const PAUSE: &str = "INSERT INTO paused (scope, name, command_id, since) VALUES (?1, ?2, ?3, ?4)";

const RESUME: &str = "DELETE FROM paused WHERE scope = ?1 AND name = ?2";

/// Pauses or resumes, and answers the command. Endpoints that may have waited for the end of a pause
/// are due at once.
pub(super) async fn pause_or_resume<S: BatchSession>(
    session: &S,
    command: &mut Command,
    now: Timestamp,
    due: &mut Due,
) -> Result<(), StoreError> {
    let Some((scope, name)) = subject(command) else {
        let why = "name one origin or one app".to_owned();
        command.end(CommandStatus::Refused, why, now);
        return Ok(());
    };
    let is_dry = command.request.dry_run;
    if S::DIALECT == Dialect::Postgres && !is_dry {
        session.execute(LOCK_PAUSED, &[]).await?;
    }
    let subject = [scope.as_str().into(), name.as_str().into()];
    let paused = session.query(IS_PAUSED, &subject).await?;
    let is_paused = paused.iter().any(|row| row.get("is_paused") == Ok(true));
    command.selected = 1;
    let what = format!("{scope} {name}");
    let (status, words) = match (command.request.action, is_paused) {
        (Action::Pause, true) => {
            command.skip("paused already", 1);
            (CommandStatus::Done, format!("{what} is paused already"))
        }
        (Action::Pause, false) => {
            command.done = 1;
            if is_dry {
                (CommandStatus::Done, format!("would pause {what}"))
            } else {
                let [scope, name] = subject;
                let values = [scope, name, command.id.0.into(), now.into()];
                session.execute(PAUSE, &values).await?;
                let words = format!("{what} is paused: what is not in flight yet is not sent");
                (CommandStatus::Done, words)
            }
        }
        (_, false) => (CommandStatus::Refused, format!("{what} is not paused")),
        (_, true) => {
            command.done = 1;
            if is_dry {
                (CommandStatus::Done, format!("would resume {what}"))
            } else {
                session.execute(RESUME, &subject).await?;
                *due = resumed(session, scope, &name, now).await?;
                (CommandStatus::Done, format!("{what} is resumed"))
            }
        }
    };
    command.end(status, words, now);
    Ok(())
}

/// The endpoints that may have waited for the end of a pause.
async fn resumed<S: BatchSession>(
    session: &S,
    scope: PauseScope,
    name: &str,
    now: Timestamp,
) -> Result<Due, StoreError> {
    let mut due = Due::new();
    let mut after = match scope {
        PauseScope::Origin => None,
        PauseScope::App => Some(Endpoint::new(name, "")),
    };
    loop {
        let found = session.endpoints(after.as_ref(), ENDPOINTS_MAX).await?;
        for EndpointDue { endpoint, .. } in &found {
            match scope {
                PauseScope::Origin if endpoint.origin.as_bytes() != name.as_bytes() => {}
                PauseScope::App if endpoint.app_id.as_bytes() != name.as_bytes() => return Ok(due),
                _ => drop(due.insert(endpoint.clone(), now)),
            }
        }
        if found.len() < ENDPOINTS_MAX {
            return Ok(due);
        }
        after = found.into_iter().last().map(|last| last.endpoint);
    }
}

/// What a pause or resume names.
fn subject(command: &Command) -> Option<(PauseScope, String)> {
    let selectors = &command.request.selectors;
    match (&selectors.origin, &selectors.app_id) {
        (Some(url), None) => {
            let origin = Origin::of_url(url)?;
            Some((PauseScope::Origin, origin.as_text().into_owned()))
        }
        (None, Some(app_id)) => Some((PauseScope::App, app_id.clone())),
        _ => None,
    }
}
