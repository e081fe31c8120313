//! The queue in a database, by use case.
//!
//! | who | what |
//! |---|---|
//! | the gateway | INSERTs into `callback_queue`, in any language, past this code |
//! | [`Queue`] | the dispatcher's side: claim, record, reclaim, prune |
//! | [`Inspection`] | the people's side: find, list, count; never writes |
//! | [`Commands`] | the operators' side: resend, cancel, pause, resume |
//! | [`AuditChain`] | the auditor's side: the audit chain; never writes |
//! | [`transfer`] | moving a queue to another database |
//! | [`Lease`] | proof that a callback was claimed and its attempt may be recorded |
//!
//! A claim is committed before the first byte of its POST leaves, and the outcome after the last
//! came, each in a transaction of its own. So after a crash the callbacks that were perhaps sent
//! are known exactly: those whose lease stands.
//!
//! Deliberately absent: a transaction that outlives a call, and a clock. Every moment is a
//! parameter.

mod attempt;
mod audit;
mod closing;
mod command;
mod endpoint;
mod enqueue;
mod error;
mod gateway_row;
mod inspection;
mod learned_limit;
mod lease;
mod listing;
mod observer;
pub mod postgres;
mod prune;
mod reading;
mod session;
mod shown;
pub mod sqlite;
pub mod transfer;
mod troubled;
mod uncount;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Callback, CallbackId, NewCallback, Next, Timestamp};

pub use attempt::{Attempt, RESPONSE_EXCERPT_BYTES_MAX, Sent, excerpt};
pub use audit::{AuditChain, AuditEntry, AuditPage, LeftOpen};
pub use command::{
    Action, CallbackSnapshot, CarriedOut, Command, CommandId, CommandNote, CommandStatus, Commands,
    DEFAULT_RATE, Disposition, ItemEffect, NewCommand, Pause, PauseScope, Progress, Remaining,
    Selectors, StoredState, UrlCheck, disposition,
};
pub use endpoint::{AppId, Endpoint, EndpointDue, Origin};
pub use error::{EnqueueError, OpenError, StoreError};
pub use gateway_row::Malformed;
pub use inspection::{HeldSnapshot, Inspection, MerchantRow, Stats};
pub(crate) use learned_limit::LOWERED_MAX;
pub use learned_limit::LoweredLimit;
pub use lease::{Lease, LeaseDeadline, Unrecorded, Unreleased};
pub use listing::{Cursor, Filter, ListPage, ListedCallback};
pub use observer::{CommitObserver, Unobserved};
pub use shown::{AttemptRow, CallbackRow, ShownState};
pub use troubled::{TROUBLED_MAX, TroubledEndpoint};

/// What other processes have committed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// What is due where, one entry per endpoint among the rows read.
    pub due: Vec<EndpointDue>,
    /// The highest id read: where the next look begins. `None`: there was nothing new.
    pub newest: Option<CallbackId>,
    /// Whether there may be more than were read.
    pub more: bool,
    /// Whether others have committed something that `due` does not tell of: a survey finds it.
    pub changed_elsewhere: bool,
    /// Whether there are commands to be carried out.
    pub has_commands: bool,
}

/// One step of a survey of all endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The endpoints that this step has found, in their order.
    pub due: Vec<EndpointDue>,
    /// The endpoint after which the next step begins; `None`: this was the last step.
    pub next: Option<Endpoint>,
}

impl Survey {
    /// The earliest moment at which something is due.
    fn oldest_due(&self) -> Option<Timestamp> {
        self.due.iter().map(|endpoint| endpoint.due).min()
    }
}

/// What the dispatcher wants to take on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// How many of which endpoint, in the order of service.
    pub requests: Vec<ClaimRequest>,
    /// The moment of the claim.
    pub now: Timestamp,
    /// How long the lease is valid.
    pub lease: Duration,
}

/// The part of a claim that concerns one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// At most how many of its callbacks.
    pub limit: usize,
}

/// What a claim brought for one [`ClaimRequest`]. Nothing, if the endpoint is paused.
#[derive(Debug, Default)]
pub struct ClaimResult {
    /// The callbacks, in flight from now on.
    pub callbacks: Vec<ClaimedCallback>,
    /// When the endpoint's next callback is due, if it has one.
    pub then_due: Option<Timestamp>,
}

/// A claim ends with the callback that brings its texts to this many bytes: rows from before the limits of
/// the schema may have texts of any length, and all that is claimed is in memory.
pub const CLAIM_BYTES_MAX: usize = 16 << 20;

/// A callback whose attempt may begin.
#[derive(Debug)]
pub struct ClaimedCallback {
    /// What [`Queue::record`] asks for.
    pub lease: Lease,
    /// The callback, or why the row can't be read as one. In a box, because it changes hands often.
    pub callback: Result<Box<Callback>, Malformed>,
    /// Counted attempts in this round so far.
    pub attempts: u32,
    /// When the gateway queued it.
    pub created_at: Timestamp,
}

/// An attempt to be recorded.
#[derive(Debug)]
pub struct CompletedAttempt {
    /// The callback, with the permission to record.
    pub claimed: ClaimedCallback,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// How it went. In a box, because it changes hands often.
    pub attempt: Box<Attempt>,
    /// What follows for its callback.
    pub next: Next,
}

/// What an ended attempt makes of its callback's row.
struct RowOutcome {
    state: &'static str,
    next_attempt_at: Option<i64>,
    finished_at: Option<i64>,
}

impl CompletedAttempt {
    /// Gives up the lease: the attempt was recorded, or its lease was lost.
    fn recorded(self, recorded: Recorded) -> RecordedAttempt {
        let ClaimedCallback {
            lease,
            callback,
            attempts,
            created_at,
        } = self.claimed;
        RecordedAttempt {
            id: lease.id(),
            endpoint: self.endpoint,
            callback,
            attempts,
            created_at,
            attempt: self.attempt,
            next: self.next,
            recorded,
        }
    }

    fn outcome(&self) -> RowOutcome {
        let ended_at = self.attempt.started_at.after(self.attempt.duration);
        let last = |state| RowOutcome {
            state,
            next_attempt_at: None,
            finished_at: Some(ended_at.as_millis()),
        };
        match self.next {
            Next::Delivered => last("delivered"),
            Next::Exhausted => last("exhausted"),
            Next::RetryAt(moment) => RowOutcome {
                state: "pending",
                next_attempt_at: Some(moment.as_millis()),
                finished_at: None,
            },
        }
    }
}

/// The detail of an attempt that a dispatcher which is gone has left in flight.
const INTERRUPTED: &str =
    "the dispatcher stopped between sending and recording; perhaps sent, answer unknown";

/// An attempt that was to be recorded.
#[derive(Debug)]
pub struct RecordedAttempt {
    /// Its callback's id.
    pub id: CallbackId,
    /// Its callback's endpoint.
    pub endpoint: Endpoint,
    /// The callback, or why the row can't be read as one.
    pub callback: Result<Box<Callback>, Malformed>,
    /// Counted attempts in this round before it.
    pub attempts: u32,
    /// When the gateway queued the callback.
    pub created_at: Timestamp,
    /// How it went. In a box, because it changes hands often.
    pub attempt: Box<Attempt>,
    /// What follows for its callback.
    pub next: Next,
    /// Whether that took effect.
    pub recorded: Recorded,
}

/// Whether a recorded outcome took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// The row and the attempt log have it.
    Applied,
    /// The row had moved on without this lease; nothing was changed.
    LeaseLost,
}

/// The key of an attempt in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// Its callback.
    pub id: CallbackId,
    /// Its number in that callback's log.
    pub seq: i64,
}

/// Attempts that are not to count after all.
#[derive(Clone, Debug)]
pub struct Uncount {
    /// The attempts.
    pub attempts: Vec<AttemptKey>,
    /// Why; appended to their details.
    pub reason: &'static str,
    /// When a callback is due whose newest attempt is among them.
    pub due: Timestamp,
}

impl Uncount {
    /// The same in parts, each small enough for one transaction, in the order of the ids.
    fn batches(mut self) -> Vec<Self> {
        self.attempts.sort_unstable_by_key(|key| (key.id, key.seq));
        let batches = self.attempts.chunks(uncount::UNCOUNT_MAX);
        batches
            .map(|attempts| Self {
                attempts: attempts.to_vec(),
                ..self
            })
            .collect()
    }
}

/// Rows to remove in one small batch.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Delivered and cancelled callbacks that finished before this moment.
    pub delivered_before: Timestamp,
    /// Exhausted callbacks that finished before this moment.
    pub exhausted_before: Timestamp,
    /// At most this many rows.
    pub limit: usize,
}

/// Which of the dispatchers of a queue this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetPosition {
    /// Counted from 0.
    pub number: usize,
    /// The number of dispatchers.
    pub of: usize,
}

impl FleetPosition {
    /// The only dispatcher.
    pub const ALONE: Self = Self { number: 0, of: 1 };

    /// This dispatcher's part of a limit on all of them together; at least 1.
    pub fn split(self, limit: usize) -> usize {
        let more = usize::from(self.number < limit % self.of);
        (limit / self.of + more).max(1)
    }
}

/// The dispatcher's side of the queue.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// The highest id in the queue: rows above it are arrivals.
    async fn newest(&self) -> Result<CallbackId, StoreError>;

    /// Looks for rows with an id above `after`, at most `limit` of them.
    async fn arrivals(&self, after: CallbackId, limit: usize) -> Result<Arrivals, StoreError>;

    /// Lists the endpoints that have waiting callbacks, due or not, and are not paused: in their
    /// order, from the one after `after`. Looks at no more than `limit` endpoints.
    async fn survey(&self, after: Option<Endpoint>, limit: usize) -> Result<Survey, StoreError>;

    /// Puts due callbacks in flight. Returns one result for each request, in the same order.
    async fn claim(&self, claim: Claim) -> Result<Vec<ClaimResult>, StoreError>;

    /// Writes attempts to the log and moves their callbacks on: all of it or nothing. Returns one
    /// for each, in the same order.
    async fn record(
        &self,
        attempts: Vec<CompletedAttempt>,
    ) -> Result<Vec<RecordedAttempt>, Unrecorded>;

    /// Releases claims under which nothing was sent. Due times are unchanged and nothing is logged. A
    /// lease that was lost meanwhile is ignored.
    async fn release(&self, leases: Vec<Lease>) -> Result<(), Unreleased>;

    /// Un-counts attempts: their callbacks' budgets grow by them, and a callback that one of them has
    /// exhausted is pending again. An attempt that does not count is left alone. Returns those that
    /// the log does not have.
    async fn uncount(&self, request: Uncount) -> Result<Vec<AttemptKey>, StoreError>;

    /// Ends every attempt that a dispatcher which is gone has left in flight as `interrupted`, and
    /// makes its callback due at once. Who is gone: where one dispatcher holds the queue alone, all
    /// before it; else whose lease has run out. Returns how many.
    async fn interrupt_in_flight(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Does the next batches of what operators have asked for, as of `now`: pauses and resumes
    /// first, then the oldest command. Where several dispatchers ask, one of them does it. A resend to a
    /// URL that `check_url` forbids is refused.
    async fn carry_out(
        &self,
        now: Timestamp,
        check_url: UrlCheck<'_>,
    ) -> Result<CarriedOut, StoreError>;

    /// Queues all of `callbacks` or none, as of `now`; returns their ids in order.
    async fn enqueue(
        &self,
        callbacks: Vec<NewCallback>,
        now: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError>;

    /// Removes one batch of finished callbacks with their attempts; returns how many callbacks.
    async fn prune(&self, retention: Retention) -> Result<usize, StoreError>;

    /// Writes what is kept of a day; see [`AuditChain`].
    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// Notes for people which learned limits have fallen, in place of what this dispatcher noted before.
    async fn note_lowered_limits(&self, lowered: Vec<LoweredLimit>) -> Result<(), StoreError>;

    /// Gives space back to the file system and keeps the log of recent writes short.
    async fn maintain(&self) -> Result<(), StoreError>;

    /// Whether a commit would go through now.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Whether an attempt could be recorded now, whichever it is.
    async fn probe_records(&self) -> Result<(), StoreError> {
        self.probe().await
    }

    /// How long an outcome waits for others that share its commit.
    fn batch_delay(&self) -> Duration {
        Duration::from_millis(5)
    }

    /// Which of the dispatchers of this queue this one is, as of its last heartbeat.
    fn fleet_position(&self) -> FleetPosition {
        FleetPosition::ALONE
    }

    /// Whether other dispatchers may work on the same queue. Their expired leases have to be reclaimed
    /// while this one runs, see [`Queue::interrupt_in_flight`].
    fn is_shared(&self) -> bool {
        false
    }

    /// Returns when another process may have committed something.
    async fn changed(&self);

    /// Finishes what was asked and closes the database.
    async fn close(&self);
}
