//! What must hold between a state and the next.

use super::protocol::Step;
use super::state::{Answer, RowState, Stage, State};

/// A rule between a state and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Breach {
    /// A final row changed, other than by pruning or resending it.
    FinalRowMoved,
    /// A POST left for a row that was finished, as its record said.
    FinishedRowSent,
    /// A record changed a row whose lease was not the recorder's, and was no acknowledgement of what
    /// was sent last.
    StaleTokenWrote,
    /// A lease was taken over from a dispatcher that gives signs of life.
    TakenFromTheLiving,
    /// A POST left although no claim of it was committed.
    SentUnclaimed,
    /// The merchant's budget was charged for something else than a failure that was heard.
    ChargedUnconfirmed,
    /// A step that leads back: the run might never end.
    Circle,
}

/// The rule that `step` broke.
pub(super) fn breach(before: &State, step: Step, after: &State) -> Option<Breach> {
    for (old, new) in before.rows.iter().zip(&after.rows) {
        let moved = old.state != RowState::Pending && old.state != new.state;
        if moved && !matches!(step, Step::Prune(_) | Step::Resend(_)) {
            return Some(Breach::FinalRowMoved);
        }
        let is_charge = match step {
            Step::Record(_, task) | Step::RecordUnconfirmed(_, task) => {
                task.stage == Stage::Heard(Answer::Failure)
            }
            _ => false,
        };
        if new.attempts > old.attempts && !is_charge {
            return Some(Breach::ChargedUnconfirmed);
        }
    }
    match step {
        Step::Send(_, task) => {
            let row = &before.rows[task.row];
            if row.state != RowState::Pending {
                return Some(Breach::FinishedRowSent);
            }
            if row.claims <= task.token {
                return Some(Breach::SentUnclaimed);
            }
        }
        Step::Record(_, task) | Step::RecordUnconfirmed(_, task) => {
            let (old, new) = (&before.rows[task.row], &after.rows[task.row]);
            let is_late_acknowledgement = task.stage == Stage::Heard(Answer::Success)
                && old.state == RowState::Pending
                && old.token.is_none()
                && old.sent == task.sent;
            if old.token != Some(task.token) && old != new && !is_late_acknowledgement {
                return Some(Breach::StaleTokenWrote);
            }
        }
        Step::TakeOver(row) => {
            let owner = before.owner(row);
            if owner.is_some_and(|owner| !before.processes[owner].silent) {
                return Some(Breach::TakenFromTheLiving);
            }
        }
        _ => {}
    }
    None
}
