//! What operators ask for, and what became of it.
//!
//! | who | what |
//! |---|---|
//! | [`NewCommand`] | what somebody asks for: action, selectors, actor, reason |
//! | [`Commands`] | the people's side: submit, and read the answer |
//! | [`Queue::carry_out`](super::Queue::carry_out) | the dispatcher's side: does the next piece of it |
//! | [`disposition`] | the rule: what a command does with one callback |
//!
//! SQL, command line and console all end in one row of `operator_command`. A command is carried
//! out in pieces, each a transaction that also notes how far it has come, so that a crash between
//! two of them loses and doubles nothing.

mod words;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::Serialize;

use super::{OriginDue, StoreError};
use crate::domain::{CallbackId, Timestamp};

pub use words::{Action, CommandStatus, PauseScope, StoredState, Touch};

/// Resends per second where a command names no rate.
pub const DEFAULT_RATE: u32 = 100;

/// The row of `operator_command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CommandId(pub i64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which callbacks; those that are given must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selectors {
    /// This one.
    pub callback_id: Option<CallbackId>,
    /// Those with this order or refund number of either side.
    pub order_number: Option<String>,
    /// Those of this app.
    pub app_id: Option<String>,
    /// Those that go there: an origin, or a URL to take it from.
    pub origin: Option<String>,
    /// Those in this state.
    pub state: Option<StoredState>,
    /// Those queued at this moment or later.
    pub since: Option<Timestamp>,
    /// Those queued before this moment.
    pub until: Option<Timestamp>,
}

/// What somebody asks for. The database refuses one without an actor, a reason or a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewCommand {
    /// What is to be done.
    pub action: Action,
    /// With which callbacks; for a pause or a resume, `app_id` or `origin` alone.
    #[serde(flatten)]
    pub selectors: Selectors,
    /// Whether a resend includes what a merchant has acknowledged.
    pub include_acknowledged: bool,
    /// Whether it is only counted what would be done.
    pub dry_run: bool,
    /// Resends per second; `None`: [`DEFAULT_RATE`].
    pub rate: Option<u32>,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl NewCommand {
    /// A command without selectors, to be filled in.
    pub fn new(action: Action, actor: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action,
            selectors: Selectors::default(),
            include_acknowledged: false,
            dry_run: false,
            rate: None,
            actor: actor.into(),
            reason: reason.into(),
        }
    }
}

/// A command and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Its row.
    pub id: CommandId,
    /// What was asked for.
    #[serde(flatten)]
    pub request: NewCommand,
    /// When.
    pub created_at: Timestamp,
    /// How far it has come.
    pub status: CommandStatus,
    /// Callbacks that the selectors chose, so far.
    pub selected: u64,
    /// Those that it was done with; in a dry run, that it would be done with.
    pub done: u64,
    /// Those that were left as they are.
    pub skipped: u64,
    /// Why, and how many.
    pub skipped_why: BTreeMap<String, u64>,
    /// The answer in words; empty until there is one.
    pub answer: String,
    /// When a dispatcher began with it.
    pub started_at: Option<Timestamp>,
    /// When it was answered.
    pub finished_at: Option<Timestamp>,
    /// The id up to which callbacks have been looked at.
    pub looked_up_to: CallbackId,
    /// The highest id when it began: later callbacks are not its business.
    pub looks_up_to: Option<CallbackId>,
}

impl Command {
    /// Whether it has its final answer.
    pub const fn is_answered(&self) -> bool {
        self.finished_at.is_some()
    }

    /// What it does with a callback that it is done with.
    pub const fn touch(&self) -> Touch {
        match self.request.action {
            Action::Cancel => Touch::Cancelled,
            Action::Resend | Action::Pause | Action::Resume => Touch::Resent,
        }
    }

    /// Counts callbacks that stay as they are.
    pub fn skip(&mut self, why: &str, callbacks: u64) {
        self.skipped += callbacks;
        *self.skipped_why.entry(why.to_owned()).or_default() += callbacks;
    }

    /// What a resend or cancel has done, in words.
    pub fn summary(&self) -> String {
        if self.selected == 0 {
            return "no callback matches".to_owned();
        }
        let done = match (self.request.action, self.request.dry_run) {
            (Action::Cancel, false) => "cancelled",
            (Action::Cancel, true) => "would cancel",
            (_, false) => "resent",
            (_, true) => "would resend",
        };
        let mut text = format!("{done} {} of {}", self.done, callbacks(self.selected));
        if self.skipped > 0 {
            let reasons = self.skipped_why.iter();
            let reasons: Vec<String> = reasons.map(|(why, n)| format!("{n} {why}")).collect();
            text.push_str(&format!("; left as they are: {}", reasons.join(", ")));
        }
        text
    }
}

fn callbacks(count: u64) -> String {
    match count {
        1 => "1 callback".to_owned(),
        more => format!("{more} callbacks"),
    }
}

/// A callback that a command has touched, with the command's actor and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandNote {
    /// The command.
    pub command_id: CommandId,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What it did.
    pub what: Touch,
    /// Why, if it did nothing in the end.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// An origin or an app that is not claimed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Which of the two.
    pub scope: PauseScope,
    /// The origin or the app id.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// By which command.
    pub command_id: CommandId,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The people's side of commands. Works beside a running dispatcher.
#[async_trait]
pub trait Commands: fmt::Debug + Send + Sync + 'static {
    /// Writes a command for the dispatcher to carry out, as of `now`.
    async fn submit(&self, command: NewCommand, now: Timestamp) -> Result<CommandId, StoreError>;

    /// One command, as far as it has come.
    async fn command(&self, id: CommandId) -> Result<Option<Command>, StoreError>;

    /// Commands, newest first, at most `limit` of them.
    async fn commands(&self, limit: usize) -> Result<Vec<Command>, StoreError>;

    /// The commands that have touched a callback, in order.
    async fn notes(&self, callback: CallbackId) -> Result<Vec<CommandNote>, StoreError>;

    /// What is paused now.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;
}

/// What a piece of work has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// Nothing is asked for.
    #[default]
    Nothing,
    /// Only callbacks in flight: ask again in a while.
    Attempts,
    /// More of the same: ask again at once.
    Work,
}

/// What [`Queue::carry_out`](super::Queue::carry_out) has done.
#[derive(Clone, Debug, Default)]
pub struct CarriedOut {
    /// What it has left.
    pub remaining: Remaining,
    /// Callbacks that have become due by it.
    pub due: Vec<OriginDue>,
    /// Commands that have their final answer now.
    pub answered: Vec<Command>,
}

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

#[cfg(test)]
mod tests;
