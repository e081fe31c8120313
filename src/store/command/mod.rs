//! What operators ask for, and what became of it.
//!
//! | who | what |
//! |---|---|
//! | [`NewCommand`] | what somebody asks for: action, selectors, actor, reason |
//! | [`Commands`] | the people's side: submit, and read the answer |
//! | [`Queue::carry_out`](super::Queue::carry_out) | the dispatcher's side: does the next piece of it |
//! | [`disposition`] | the rule: what a command does with one callback |
//! | `steps`, `looking`, `judging`, `pausing` | how a command is carried out, whatever the database |
//!
//! SQL, command line and console all end in one row of `operator_command`. A command is carried
//! out in pieces, each a transaction that also notes how far it has come, so that a crash between
//! two of them loses and doubles nothing.

pub(super) mod judging;
pub(super) mod looking;
pub(super) mod pausing;
pub(super) mod steps;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::Serialize;

use super::{EndpointDue, StoreError};
use crate::domain::{CallbackId, Timestamp};

pub use judging::{Disposition, Standing, disposition};
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
    /// The id after which the next look begins. Before the first look that is below all: older
    /// versions let ids below 1 in.
    pub(super) fn looks_after(&self) -> CallbackId {
        match self.looks_up_to {
            Some(_) => self.looked_up_to,
            None => CallbackId(i64::MIN),
        }
    }

    /// Whether it has its final answer.
    pub const fn is_answered(&self) -> bool {
        self.finished_at.is_some()
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
    pub due: Vec<EndpointDue>,
    /// Commands that have their final answer now.
    pub answered: Vec<Command>,
}

#[cfg(test)]
mod tests;
