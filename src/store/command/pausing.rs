//! What a pause or resume comes to.

use super::{Action, Command, CommandStatus, PauseScope};
use crate::domain::Timestamp;
use crate::store::Origin;

/// Callbacks put back in one transaction.
pub(in crate::store) const PUT_BACK_MAX: usize = 1000;

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
    /// Resume, or go on with it.
    Resume,
}

/// Decides about what stands in `paused` or does not, and counts it.
pub(in crate::store) fn decide(
    command: &mut Command,
    scope: PauseScope,
    name: &str,
    is_paused: bool,
    now: Timestamp,
) -> Decision {
    let has_begun = command.started_at.is_some();
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
        (_, false) if !has_begun => {
            Decision::Answer(CommandStatus::Refused, format!("{what} is not paused"))
        }
        (_, true) if has_begun => done(format!("{what} was paused again meanwhile")),
        (_, _) if command.request.dry_run => {
            command.done = 1;
            done(format!("would resume {what}"))
        }
        (_, _) => Decision::Resume,
    }
}
