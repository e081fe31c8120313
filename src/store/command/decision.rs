//! What a resend or cancel does with one callback.

use std::time::Duration;

use super::{Action, Command, DEFAULT_RATE, ItemEffect, NewCommand, StoredState};
use crate::domain::Timestamp;

/// What a command needs to know of a callback.
#[derive(Clone, Copy, Debug)]
pub struct CallbackSnapshot {
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
    /// When it finished, in a final state.
    pub finished_at: Option<Timestamp>,
}

/// What a resend or cancel does with one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The command does what it says.
    Act,
    /// The callback is in flight, so it is decided when that attempt has ended. Until then the
    /// merchant may acknowledge, which would make a second message or a cancellation wrong.
    Await,
    /// The callback stays as it is, for this reason.
    Skip(&'static str),
}

/// The rule for resend and cancel. A resend is skipped if the callback has its full budget and is
/// due by `due` anyway.
pub fn disposition(
    command: &NewCommand,
    callback: CallbackSnapshot,
    due: Timestamp,
) -> Disposition {
    if command.action == Action::Prune {
        return prunable(command, callback);
    }
    let acknowledged = callback.was_acknowledged || callback.state == StoredState::Delivered;
    if acknowledged && (command.action != Action::Resend || !command.include_acknowledged) {
        // A pending callback whose merchant has acknowledged it before can be cancelled.
        if command.action == Action::Resend || callback.state != StoredState::Pending {
            return Disposition::Skip("acknowledged");
        }
    }
    if command.selectors.command_id.is_some() && (callback.in_flight || callback.attempts > 0) {
        return Disposition::Skip("tried already");
    }
    if callback.in_flight {
        return Disposition::Await;
    }
    match (command.action, callback.state) {
        (Action::Resend, StoredState::Pending)
            if command.to_url.is_none()
                && callback.attempts == 0
                && callback.next_attempt_at.is_some_and(|at| at <= due) =>
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

/// What is owed stays, and so does what finished after the moment that the command names.
fn prunable(command: &NewCommand, callback: CallbackSnapshot) -> Disposition {
    let until = command.selectors.until;
    match (callback.finished_at, until) {
        (None, _) => Disposition::Skip("pending"),
        (Some(finished), Some(until)) if finished < until => Disposition::Act,
        (Some(_), _) => Disposition::Skip("finished later"),
    }
}

/// What a command does with one callback in the transaction that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemDecision {
    /// Opens a new round that is due at this moment.
    Resend(Timestamp),
    /// Calls it off.
    Cancel,
    /// Removes it.
    Prune,
    /// Decides again when its attempt has ended.
    Await,
    /// Leaves it as it is, for this reason.
    Skip(&'static str),
}

const RESEND: &str = "
UPDATE callback_queue
SET state = 'pending', attempts = 0, finished_at = NULL,
  next_attempt_at = {?2|CAST(value->>1 AS bigint)}
{|FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)}
WHERE id = {?1|CAST(value->>0 AS bigint)} AND leased_until IS NULL";

/// The same to another URL. What it was told to go to before is forgotten, but for the log.
const RESEND_TO: &str = "
UPDATE callback_queue
SET state = 'pending', attempts = 0, finished_at = NULL,
  next_attempt_at = {?2|CAST(value->>1 AS bigint)},
  to_url = nullif({?3|value->>2}, callback_url), origin = {?4|value->>3}
{|FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)}
WHERE id = {?1|CAST(value->>0 AS bigint)} AND leased_until IS NULL";

/// The row is locked, and its state was read. Were the state asked for here, PostgreSQL's planner might
/// go along all that waits, by the index `callback_due`.
const CANCEL: &str = "
UPDATE callback_queue
SET state = 'cancelled', next_attempt_at = NULL,
  finished_at = {?2|CAST(value->>1 AS bigint)}
{|FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)}
WHERE id = {?1|CAST(value->>0 AS bigint)} AND leased_until IS NULL";

/// Its attempts and items go along by a trigger.
const PRUNE: &str = "
DELETE FROM callback_queue
{|USING jsonb_array_elements(CAST(?1 AS text)::jsonb)}
WHERE id = {?1|CAST(value->>0 AS bigint)} AND finished_at <= {?2|CAST(value->>1 AS bigint)}";

impl ItemDecision {
    /// The statement that changes the callback's row, with the moment that is its second value; `to` is
    /// whether it goes to another URL, which is the third, and its origin the fourth.
    pub(super) const fn change(
        self,
        to: bool,
        now: Timestamp,
    ) -> Option<(&'static str, Timestamp)> {
        match self {
            Self::Resend(due) if to => Some((RESEND_TO, due)),
            Self::Resend(due) => Some((RESEND, due)),
            Self::Cancel => Some((CANCEL, now)),
            Self::Prune => Some((PRUNE, now)),
            Self::Await | Self::Skip(_) => None,
        }
    }

    /// The words of the command's item: the effect and its reason. `None`: the callback is gone.
    pub(super) const fn effect(self) -> Option<(ItemEffect, &'static str)> {
        match self {
            Self::Resend(_) => Some((ItemEffect::Resent, "")),
            Self::Cancel => Some((ItemEffect::Cancelled, "")),
            Self::Prune => None,
            Self::Await => Some((ItemEffect::Awaited, "")),
            Self::Skip(why) => Some((ItemEffect::Skipped, why)),
        }
    }
}

/// Decides for a callback as the transaction sees it, and adds it to the command's counts. `None`:
/// the callback was pruned.
pub(super) fn decide(
    command: &mut Command,
    callback: Option<CallbackSnapshot>,
    now: Timestamp,
) -> ItemDecision {
    let next_due = next_due(command, now);
    let disposition = callback.map_or(Disposition::Skip("pruned"), |callback| {
        disposition(&command.request, callback, next_due)
    });
    match disposition {
        Disposition::Await => ItemDecision::Await,
        Disposition::Skip(why) => {
            command.skip(why, 1);
            ItemDecision::Skip(why)
        }
        Disposition::Act => {
            command.done += 1;
            let due = callback.and_then(|callback| callback.next_attempt_at);
            match command.request.action {
                Action::Resend => {
                    ItemDecision::Resend(due.map_or(next_due, |due| due.min(next_due)))
                }
                Action::Prune => ItemDecision::Prune,
                _ => ItemDecision::Cancel,
            }
        }
    }
}

/// When the last callback of a resend is due, if that is a second or more after the first.
pub(super) fn last_due(command: &Command) -> Option<Timestamp> {
    let is_paced = command.request.action == Action::Resend && !command.request.dry_run;
    let begun = command.started_at.filter(|_| is_paced)?;
    let before_last = Command {
        done: command.done.checked_sub(1)?,
        ..command.clone()
    };
    let last = next_due(&before_last, begun);
    (last.since(begun) >= Duration::from_secs(1)).then_some(last)
}

/// When the next callback of a resend is due, by the command's rate since its start.
fn next_due(command: &Command, now: Timestamp) -> Timestamp {
    let rate = u64::from(command.request.rate.unwrap_or(DEFAULT_RATE).max(1));
    let wait = Duration::from_millis(command.done.saturating_mul(1000) / rate);
    command.started_at.unwrap_or(now).after(wait)
}
