//! The proof of a claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::{AttemptKey, CompletedAttempt, RecordedAttempt, StoreError};
use crate::clock::BootStopwatch;
use crate::domain::CallbackId;

/// Permission to record one attempt of one callback, once.
///
/// Made by a store's claim only, not `Clone`, consumed by [`super::Queue::record`]: code that
/// compiles can't record an attempt that was never claimed, nor record one twice. The database
/// compares the token, so a holder whose claim was taken over changes nothing.
///
/// It is not a lock on the merchant, nor a promise that the POST was sent.
#[derive(Debug)]
pub struct Lease {
    id: CallbackId,
    token: i64,
    seq: i64,
    /// `None` where nobody else can take it over.
    deadline: Option<Arc<LeaseDeadline>>,
}

/// A token that no other claim has.
pub(super) fn new_token() -> Result<i64, StoreError> {
    getrandom::u64()
        .map(|random| random.cast_signed())
        .map_err(|error| StoreError::Other(format!("no randomness for a lease token: {error}")))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Until when the leases of a claim are valid, where another dispatcher takes over from one that is
/// silent.
#[derive(Debug)]
pub struct LeaseDeadline {
    /// Goes on while this machine sleeps: the others do not wait for it.
    since: BootStopwatch,
    /// Milliseconds after `since`.
    valid_for: AtomicU64,
}

impl LeaseDeadline {
    /// `since` was started before the last heartbeat was sent to the database.
    pub(super) fn new(since: BootStopwatch, valid_for: Duration) -> Self {
        Self {
            since,
            valid_for: AtomicU64::new(millis(valid_for)),
        }
    }

    /// Extends the deadline after a heartbeat that was sent at `sent`, unless it has passed: another
    /// dispatcher may have had the callbacks in between.
    pub(super) fn extend(&self, sent: BootStopwatch, valid_for: Duration) {
        if self.is_valid() {
            let age = self.since.elapsed().saturating_sub(sent.elapsed());
            let until = age.saturating_add(valid_for);
            self.valid_for.store(millis(until), Ordering::Relaxed);
        }
    }

    /// Whatever was not sent yet is not to be sent any more.
    pub(super) fn expire(&self) {
        self.valid_for.store(0, Ordering::Relaxed);
    }

    /// See [`Lease::is_valid`].
    pub fn is_valid(&self) -> bool {
        self.since.elapsed().as_millis() < u128::from(self.valid_for.load(Ordering::Relaxed))
    }
}

impl Lease {
    pub(super) const fn new(id: CallbackId, token: i64, seq: i64) -> Self {
        Self {
            id,
            token,
            seq,
            deadline: None,
        }
    }

    /// A lease that another dispatcher may take over after `deadline`.
    pub(super) const fn with_deadline(
        id: CallbackId,
        token: i64,
        seq: i64,
        deadline: Arc<LeaseDeadline>,
    ) -> Self {
        Self {
            id,
            token,
            seq,
            deadline: Some(deadline),
        }
    }

    /// Whether no other dispatcher can have taken the callback over. Nothing may be sent under a
    /// lease that is not valid any more, for instance because this process was stopped for a while.
    pub fn is_valid(&self) -> bool {
        let deadline = self.deadline.as_ref();
        deadline.is_none_or(|deadline| deadline.is_valid())
    }

    /// For asking later; `None` where the lease stays valid.
    pub fn deadline(&self) -> Option<Arc<LeaseDeadline>> {
        self.deadline.clone()
    }

    /// The callback in flight.
    pub const fn id(&self) -> CallbackId {
        self.id
    }

    /// The attempt that it permits.
    pub const fn attempt(&self) -> AttemptKey {
        AttemptKey {
            id: self.id,
            seq: self.seq,
        }
    }

    /// What the row's `lease_token` must be.
    pub(super) const fn token(&self) -> i64 {
        self.token
    }

    /// The number of the attempt in its callback's log.
    pub(super) const fn seq(&self) -> i64 {
        self.seq
    }
}

/// Claims that could not be given back.
#[derive(Debug, Error)]
#[error("{} claims not given back: {error}", leases.len())]
pub struct Unreleased {
    /// Why.
    pub error: StoreError,
    /// The claims; they stand.
    pub leases: Vec<Lease>,
}

/// Attempts that could not be recorded, with all that is needed to try again.
#[derive(Debug, Error)]
#[error("{} attempts not recorded: {error}", attempts.len())]
pub struct Unrecorded {
    /// Why.
    pub error: StoreError,
    /// The attempts; their leases are still good.
    pub attempts: Vec<CompletedAttempt>,
    /// The others that were asked for together with these.
    pub recorded: Vec<RecordedAttempt>,
}

impl Unrecorded {
    /// Nothing was recorded.
    pub const fn all(error: StoreError, attempts: Vec<CompletedAttempt>) -> Self {
        Self {
            error,
            attempts,
            recorded: Vec::new(),
        }
    }
}
