//! What a resend or cancel does with one callback.

use std::time::Duration;

use super::{Action, Command, DEFAULT_RATE, NewCommand, StoredState, Touch};
use crate::domain::Timestamp;

/// What a command goes by in a callback.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The column `state`.
    pub state: StoredState,
    /// Whether an attempt is under way.
    pub in_flight: bool,
    /// Whether any attempt, of any round, was acknowledged.
    pub was_acknowledged: bool,
    /// Counted attempts in this round.
    pub attempts: u32,
    /// When it is due, while it is pending.
    pub next_attempt_at: Option<Timestamp>,
}

/// What a resend or cancel does with one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is done.
    Act,
    /// It is in flight: looked at again when that attempt has ended. Meanwhile the merchant
    /// may acknowledge, and neither a second message nor a cancellation would be right then.
    Await,
    /// It stays as it is, for this reason.
    Skip(&'static str),
}

/// The rule for resend and cancel. A resend that would come no sooner than `due`, and bring no
/// fresh budget, is none.
pub fn disposition(command: &NewCommand, callback: Standing, due: Timestamp) -> Disposition {
    let acknowledged = callback.was_acknowledged || callback.state == StoredState::Delivered;
    if acknowledged && (command.action != Action::Resend || !command.include_acknowledged) {
        // One that is sent anew to a merchant who has acknowledged before can be called off.
        if command.action == Action::Resend || callback.state != StoredState::Pending {
            return Disposition::Skip("acknowledged");
        }
    }
    if callback.in_flight {
        return Disposition::Await;
    }
    match (command.action, callback.state) {
        (Action::Resend, StoredState::Pending)
            if callback.attempts == 0 && callback.next_attempt_at.is_some_and(|at| at <= due) =>
        {
            Disposition::Skip("due already")
        }
        (Action::Resend, _) | (Action::Cancel, StoredState::Pending) => Disposition::Act,
        (_, StoredState::Exhausted) => Disposition::Skip("exhausted"),
        (_, StoredState::Cancelled) => Disposition::Skip("cancelled already"),
        // Pauses and resumes are about no single callback.
        (_, StoredState::Pending | StoredState::Delivered) => Disposition::Skip("not concerned"),
    }
}

/// What becomes of one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// A new round, due then.
    Resend(Timestamp),
    /// It is called off.
    Cancel,
    /// It is looked at again when its attempt has ended.
    Await,
    /// It stays as it is, for this reason.
    Skip(&'static str),
}

impl Verdict {
    /// What it is called in the record, and why.
    pub(in crate::store) const fn touch(self) -> (Touch, &'static str) {
        match self {
            Self::Resend(_) => (Touch::Resent, ""),
            Self::Cancel => (Touch::Cancelled, ""),
            Self::Await => (Touch::Awaited, ""),
            Self::Skip(why) => (Touch::Skipped, why),
        }
    }
}

/// Judges a callback as it stands in the transaction that is to change it, and counts it. `None`:
/// it is no longer there.
pub(in crate::store) fn judge(
    command: &mut Command,
    callback: Option<Standing>,
    now: Timestamp,
) -> Verdict {
    let turn = turn(command, now);
    let disposition = callback.map_or(Disposition::Skip("pruned"), |callback| {
        disposition(&command.request, callback, turn)
    });
    match disposition {
        Disposition::Await => Verdict::Await,
        Disposition::Skip(why) => {
            command.skip(why, 1);
            Verdict::Skip(why)
        }
        Disposition::Act => {
            command.done += 1;
            let due = callback.and_then(|callback| callback.next_attempt_at);
            match command.request.action {
                Action::Resend => Verdict::Resend(due.map_or(turn, |due| due.min(turn))),
                _ => Verdict::Cancel,
            }
        }
    }
}

/// When the next callback of a resend is due: so many a second from its beginning on.
fn turn(command: &Command, now: Timestamp) -> Timestamp {
    let rate = u64::from(command.request.rate.unwrap_or(DEFAULT_RATE).max(1));
    let wait = Duration::from_millis(command.done.saturating_mul(1000) / rate);
    command.started_at.unwrap_or(now).after(wait)
}
