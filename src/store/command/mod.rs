//! Operators' commands: requests, answers, and how a dispatcher carries them out.
//!
//! | part | purpose |
//! |---|---|
//! | [`NewCommand`] | a request: action, selectors, actor, reason |
//! | [`Commands`] | the operators' side: submit, and read the answer |
//! | [`Queue::carry_out`](super::Queue::carry_out) | the dispatcher's side: the next batches |
//! | `carry_out` | the next command, and the next step of it |
//! | `scan` | finds the callbacks that a command selects |
//! | `batch` | acts on them in a transaction |
//! | `decision` | the rule: what a command does with one callback |
//! | `pausing` | pauses and resumes |
//! | `rows` | the rows of `operator_command` and its items |
//!
//! SQL, command line and console all end in one row of `operator_command`. A command is carried out
//! in batches, each a transaction that also writes the command's progress, so a crash between two of
//! them neither loses nor doubles anything.
//!
//! Deliberately absent: what differs between the databases. Each of them has its transactions and
//! its sessions in its own `commands`.

pub(super) mod batch;
pub(super) mod carry_out;
mod decision;
pub(super) mod pausing;
pub(super) mod rows;
pub(super) mod scan;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use serde::Serialize;

use super::session::{Session, Value};
use super::{Endpoint, EndpointDue, StoreError};
use crate::domain::{CallbackId, Timestamp};

pub use batch::Remaining;
pub use carry_out::{CarriedOut, UrlCheck};
pub use decision::{CallbackSnapshot, Disposition, disposition};
pub use value::{Action, CommandStatus, ItemEffect, PauseScope, StoredState};

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
    /// Those that this command has resent, and that wait for their first attempt since.
    pub command_id: Option<CommandId>,
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
    /// Where a resend of one order goes from now on; `None`: where it went before.
    pub to_url: Option<String>,
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
            to_url: None,
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
    /// The id up to which callbacks have been scanned.
    pub scan_position: CallbackId,
    /// The highest id when it began: a command ignores callbacks that were queued later.
    pub scan_end: Option<CallbackId>,
}

impl Command {
    /// The id after which the next scan begins. The first one begins below all ids: older versions
    /// accepted ids below 1.
    fn scans_after(&self) -> CallbackId {
        match self.scan_end {
            Some(_) => self.scan_position,
            None => CallbackId(i64::MIN),
        }
    }

    /// Whether all callbacks of a resend or cancel have been found.
    fn has_scanned(&self) -> bool {
        self.scan_end.is_some_and(|end| self.scan_position >= end)
    }

    /// Gives the final answer.
    fn end(&mut self, status: CommandStatus, answer: String, now: Timestamp) {
        self.status = status;
        self.answer = answer;
        self.finished_at = Some(now);
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
        let action = self.request.action;
        let done = match self.request.dry_run {
            false => action.past().to_owned(),
            true => format!("would {action}"),
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

/// A command's effect on a callback, with the command's actor and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandNote {
    /// The command.
    pub command_id: CommandId,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What it did.
    pub what: ItemEffect,
    /// Why, if it did nothing in the end.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What has become of the callbacks that a command has resent. Pruned ones are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Delivered since.
    pub acknowledged: u64,
    /// Given up again.
    pub exhausted: u64,
    /// Called off since.
    pub cancelled: u64,
    /// Failed again, and waiting for the next attempt.
    pub retrying: u64,
    /// Still to be sent, or under way.
    pub to_come: u64,
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

/// The operators' side of commands. Works beside a running dispatcher.
#[async_trait]
pub trait Commands: fmt::Debug + Send + Sync + 'static {
    /// Writes a command for the dispatcher to carry out, as of `now`.
    async fn submit(&self, command: NewCommand, now: Timestamp) -> Result<CommandId, StoreError>;

    /// One command with its progress.
    async fn command(&self, id: CommandId) -> Result<Option<Command>, StoreError>;

    /// Commands, newest first, at most `limit` of them.
    async fn commands(&self, limit: usize) -> Result<Vec<Command>, StoreError>;

    /// What commands did with a callback, in order.
    async fn notes(&self, callback: CallbackId) -> Result<Vec<CommandNote>, StoreError>;

    /// What has become of the callbacks that a command has resent.
    async fn progress(&self, id: CommandId) -> Result<Progress, StoreError>;

    /// What is paused now.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;
}

/// A session inside the transaction of a batch.
pub(super) trait BatchSession: Session {
    /// Changes many rows, each by its key: on SQLite the statement runs once for each row of values,
    /// on PostgreSQL once, with all of them as a JSON array of arrays for its `?1`.
    fn execute_each(
        &self,
        sql: &str,
        rows: &[Vec<Value>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// At most `limit` endpoints after one, in their order, that have something waiting.
    fn endpoints(
        &self,
        after: Option<&Endpoint>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EndpointDue>, StoreError>> + Send;
}

/// The earliest due moment of each endpoint that a batch has changed.
type Due = BTreeMap<Endpoint, Timestamp>;

#[cfg(test)]
mod tests;
