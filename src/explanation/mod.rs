//! The report on a callback. Terminal, JSON and console show the same one.
//!
//! | type | what |
//! |---|---|
//! | [`CallbackReport`] | all that is known of one callback |
//! | [`AttemptReport`] | one attempt: what was sent, what came back, where it broke and how long each phase took |
//! | [`SentMessage`] | the message as the merchant got it, made again from the row |
//! | `merchant` | the sentences that support can pass on |
//!
//! Pure but for [`CallbackReport::find`], which asks the store. No secret is in any of it: a message is
//! made again without a key, from the members, the `timestamp` and the recorded `sign`.

mod attempt;
mod merchant;
mod sent;

use serde::Serialize;

use crate::domain::{CallbackId, Convention, Timestamp};
use crate::store::{
    AttemptRow, CallbackRow, CommandNote, Commands, Inspection, Pause, PauseScope, ShownState,
    StoreError,
};

pub use attempt::AttemptReport;
pub use merchant::for_merchant;
pub use sent::SentMessage;

/// All that is known of one callback.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackReport {
    /// The row.
    pub callback: CallbackRow,
    /// Every attempt, in order.
    pub attempts: Vec<AttemptReport>,
    /// The operators' commands that have touched it.
    pub commands: Vec<CommandNote>,
    /// The pause that holds it back, if there is one.
    pub paused: Option<Pause>,
    /// What comes next, for the operator.
    pub next: String,
    /// What to tell the merchant, as one paragraph.
    pub tell_merchant: String,
}

impl CallbackReport {
    /// The report on each callback with this id, or this order or refund number of either side;
    /// newest first, as it is `now`. Messages are made again as `convention` says.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn find(
        inspection: &dyn Inspection,
        commands: &dyn Commands,
        order: &str,
        convention: &Convention,
        now: Timestamp,
    ) -> Result<Vec<Self>, StoreError> {
        let found = inspection.find(order).await?;
        let pauses = match found.is_empty() {
            true => Vec::new(),
            false => commands.pauses().await?,
        };
        let mut reports = Vec::with_capacity(found.len());
        for callback in found {
            let attempts = inspection.attempts(callback.id).await?;
            let notes = commands.notes(callback.id).await?;
            let report = Self::new(callback, &attempts, notes, &pauses, convention, now);
            reports.push(report);
        }
        Ok(reports)
    }

    /// The report on the callback with this id, as it is `now`.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn of(
        inspection: &dyn Inspection,
        commands: &dyn Commands,
        id: CallbackId,
        convention: &Convention,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let Some(callback) = inspection.callback(id).await? else {
            return Ok(None);
        };
        let attempts = inspection.attempts(id).await?;
        let notes = commands.notes(id).await?;
        let pauses = commands.pauses().await?;
        Ok(Some(Self::new(
            callback, &attempts, notes, &pauses, convention, now,
        )))
    }

    /// The report on `callback`, as it is `now`.
    pub fn new(
        callback: CallbackRow,
        attempts: &[AttemptRow],
        commands: Vec<CommandNote>,
        pauses: &[Pause],
        convention: &Convention,
        now: Timestamp,
    ) -> Self {
        let paused = pause_of(&callback, pauses).cloned();
        Self {
            tell_merchant: for_merchant(&callback, attempts, paused.as_ref(), now),
            next: next(&callback, paused.as_ref(), now),
            attempts: attempts
                .iter()
                .map(|attempt| AttemptReport::new(attempt.clone(), &callback, convention))
                .collect(),
            commands,
            paused,
            callback,
        }
    }
}

/// The pause that holds a callback back: only a pending one is held.
fn pause_of<'a>(callback: &CallbackRow, pauses: &'a [Pause]) -> Option<&'a Pause> {
    let waits = callback.state == ShownState::Pending;
    pauses.iter().find(|pause| {
        waits
            && match pause.scope {
                PauseScope::Origin => pause.name.as_bytes() == callback.origin.as_bytes(),
                PauseScope::App => pause.name == callback.app_id,
            }
    })
}

fn next(callback: &CallbackRow, paused: Option<&Pause>, now: Timestamp) -> String {
    if let Some(pause) = paused {
        return format!(
            "nothing is sent: {} {} is paused by {} since {} ({}); `callback-dispatcher resume` \
             ends that",
            pause.scope, pause.name, pause.actor, pause.since, pause.reason
        );
    }
    match (callback.state, callback.next_attempt_at) {
        (ShownState::InFlight, _) => "an attempt is under way".to_owned(),
        (ShownState::Pending, Some(due)) if due < now => {
            format!("an attempt has been due since {due}, and has not begun")
        }
        (ShownState::Pending, Some(due)) => format!("the next attempt is due on {due}"),
        (ShownState::Pending, None) => "no attempt is due; the row is damaged".to_owned(),
        (ShownState::Delivered, _) => "nothing: it was acknowledged".to_owned(),
        (ShownState::Exhausted, _) => {
            "nothing, unless it is sent again: `callback-dispatcher resend`".to_owned()
        }
        (ShownState::Cancelled, _) => {
            "nothing: it was called off; `callback-dispatcher resend` would open it again"
                .to_owned()
        }
    }
}
