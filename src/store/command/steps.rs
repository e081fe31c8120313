//! Which step of a command comes next, and how it ends.
//!
//! Commands are carried out in the order of their ids: a cancel that was given after a resend has
//! the last word. Pauses and resumes go before all others, and a command that only waits for
//! attempts in flight holds up nobody.

use super::{Action, Command, CommandStatus, StoredState};
use crate::domain::Timestamp;
use crate::store::{EndpointDue, Origin, Remaining};

/// Commands that are under way at a time; others wait.
pub(in crate::store) const OPEN_MAX: usize = 64;

/// Callbacks that one transaction looks at again, because their attempts may have ended.
pub(in crate::store) const AWAITED_MAX: usize = 500;

/// What one transaction has done for one command.
#[derive(Debug, Default)]
pub(in crate::store) struct Piece {
    pub(in crate::store) remaining: Remaining,
    pub(in crate::store) due: Vec<EndpointDue>,
    pub(in crate::store) answered: Option<Command>,
}

/// What comes next for a command.
#[derive(Debug)]
pub(in crate::store) enum Step {
    /// It can't be carried out, for this reason.
    Refuse(String),
    /// Pause or resume.
    Pause,
    /// Look for callbacks, and do what there is to do with them.
    Look,
    /// Look again at what was in flight.
    Settle,
    /// Nothing, until an older command has found all of its callbacks.
    Wait,
}

impl Step {
    /// The next step of `command`, while an older one `is_searching` or none.
    pub(in crate::store) fn of(command: &Command, is_searching: bool) -> Self {
        match (command.request.action, refusal(command)) {
            (_, Some(why)) => Self::Refuse(why),
            (Action::Pause | Action::Resume, None) => Self::Pause,
            (_, None) if has_searched(command) => Self::Settle,
            // One search at a time, so that the younger command comes later to each callback.
            (_, None) if is_searching => Self::Wait,
            (_, None) => Self::Look,
        }
    }
}

/// Whether all callbacks of a resend or cancel are found.
pub(in crate::store) fn has_searched(command: &Command) -> bool {
    command
        .looks_up_to
        .is_some_and(|last| command.looked_up_to >= last)
}

/// Why a command can't be carried out at all.
fn refusal(command: &Command) -> Option<String> {
    let selectors = &command.request.selectors;
    if let Some(origin) = &selectors.origin
        && Origin::of_url(origin).is_none()
    {
        return Some(format!(
            "{origin:?} is no origin; write scheme and host, for instance https://merchant.example"
        ));
    }
    match (command.request.action, selectors.state) {
        (Action::Cancel, Some(state)) if state != StoredState::Pending => Some(format!(
            "only pending callbacks can be cancelled, not {state} ones"
        )),
        _ => None,
    }
}

/// Ends a command with its final answer.
pub(in crate::store) fn end(
    command: &mut Command,
    status: CommandStatus,
    answer: String,
    now: Timestamp,
) {
    command.status = status;
    command.answer = answer;
    command.started_at.get_or_insert(now);
    command.finished_at = Some(now);
}
