//! What a pause or resume comes to.

use std::collections::HashSet;

use super::{Action, Command, CommandStatus, PauseScope};
use crate::domain::Timestamp;
use crate::store::{AppId, Endpoint, Origin};

/// What is paused: a predicate over endpoints.
#[derive(Debug, Default)]
pub(in crate::store) struct Paused {
    origins: HashSet<Origin>,
    apps: HashSet<AppId>,
}

impl Paused {
    /// Takes a row of the table `paused`.
    pub(in crate::store) fn add(&mut self, scope: &[u8], name: &[u8]) {
        match scope == PauseScope::Origin.as_str().as_bytes() {
            true => drop(self.origins.insert(Origin::new(name))),
            false => drop(self.apps.insert(AppId::new(name))),
        }
    }

    /// Whether nothing is to be claimed for `endpoint`.
    pub(in crate::store) fn has(&self, endpoint: &Endpoint) -> bool {
        self.origins.contains(&endpoint.origin) || self.apps.contains(&endpoint.app_id)
    }
}

/// What a pause or resume is about.
pub(in crate::store) fn subject(command: &Command) -> Option<(PauseScope, String)> {
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

/// What is to be done.
#[derive(Debug)]
pub(in crate::store) enum Decision {
    /// Nothing but to answer.
    Answer(CommandStatus, String),
    /// Pause, then answer.
    Pause(String),
    /// Resume, then answer.
    Resume(String),
}

/// Decides by whether it is paused now, and counts it.
pub(in crate::store) fn decide(
    command: &mut Command,
    scope: PauseScope,
    name: &str,
    is_paused: bool,
    now: Timestamp,
) -> Decision {
    let what = format!("{scope} {name}");
    let done = |words: String| Decision::Answer(CommandStatus::Done, words);
    command.started_at.get_or_insert(now);
    command.selected = 1;
    match (command.request.action, is_paused) {
        (Action::Pause, true) => {
            command.skip("paused already", 1);
            done(format!("{what} is paused already"))
        }
        (Action::Pause, false) if command.request.dry_run => {
            command.done = 1;
            done(format!("would pause {what}"))
        }
        (Action::Pause, false) => {
            command.done = 1;
            Decision::Pause(format!(
                "{what} is paused: what is not in flight yet is not sent"
            ))
        }
        (_, false) => Decision::Answer(CommandStatus::Refused, format!("{what} is not paused")),
        (_, true) if command.request.dry_run => {
            command.done = 1;
            done(format!("would resume {what}"))
        }
        (_, true) => {
            command.done = 1;
            Decision::Resume(format!("{what} is resumed"))
        }
    }
}
