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
    /// A record changed a row whose lease was not the recorder's.
    StaleTokenWrote,
    /// A POST left although no claim of it was committed.
    SentUnclaimed,
    /// The merchant's budget was charged for something else than a failure that was heard.
    ChargedUnheard,
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
            Step::Record(_, task) | Step::RecordUnheard(_, task) => {
                task.stage == Stage::Heard(Answer::Failure)
            }
            _ => false,
        };
        if new.attempts > old.attempts && !is_charge {
            return Some(Breach::ChargedUnheard);
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
        Step::Record(_, task) | Step::RecordUnheard(_, task) => {
            let (old, new) = (&before.rows[task.row], &after.rows[task.row]);
            if old.token != Some(task.token) && old != new {
                return Some(Breach::StaleTokenWrote);
            }
        }
        _ => {}
    }
    None
}
