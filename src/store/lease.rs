//! The proof of a claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ChargedAttempt, StoreError};
use crate::clock::Stopwatch;
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
    term: Option<Arc<Term>>,
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

/// How long the leases of one claim stand, where others may take over what is not renewed.
#[derive(Debug)]
pub(super) struct Term {
    since: Stopwatch,
    /// Milliseconds from `since` on for which nobody else takes over.
    good_for: AtomicU64,
}

impl Term {
    /// A term that begins with `since`, which was taken before the claim was asked for.
    pub(super) fn new(since: Stopwatch, good_for: Duration) -> Self {
        Self {
            since,
            good_for: AtomicU64::new(millis(good_for)),
        }
    }

    /// The time since its beginning, to be taken before a renewal is asked for.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// A renewal that was asked for at `age` is done: from then on it stands for `good_for`. Unless
    /// it has lapsed meanwhile, for then others may have come in between.
    pub(super) fn renewed(&self, age: Duration, good_for: Duration) {
        if self.stands() {
            let until = age.saturating_add(good_for);
            self.good_for.store(millis(until), Ordering::Relaxed);
        }
    }

    fn stands(&self) -> bool {
        self.since.elapsed().as_millis() < u128::from(self.good_for.load(Ordering::Relaxed))
    }
}

/// Whether a lease stands, for whoever does not hold it.
#[derive(Clone, Debug)]
pub struct Validity(Arc<Term>);

impl Validity {
    /// As [`Lease::stands`].
    pub fn stands(&self) -> bool {
        self.0.stands()
    }
}

impl Lease {
    pub(super) const fn new(id: CallbackId, token: i64, seq: i64) -> Self {
        Self {
            id,
            token,
            seq,
            term: None,
        }
    }

    /// One that others may take over when `term` has passed.
    pub(super) const fn for_a_term(id: CallbackId, token: i64, seq: i64, term: Arc<Term>) -> Self {
        Self {
            id,
            token,
            seq,
            term: Some(term),
        }
    }

    /// Whether nobody else can have taken the callback over. Where it no longer stands, for
    /// instance because this process was stopped for a while, nothing may be sent under it.
    pub fn stands(&self) -> bool {
        self.term.as_ref().is_none_or(|term| term.stands())
    }

    /// The same to ask later; `None` where it stands anyway.
    pub fn validity(&self) -> Option<Validity> {
        self.term.clone().map(Validity)
    }

    /// The first of callback `id`, for tests.
    #[cfg(test)]
    pub(crate) const fn sample(id: CallbackId) -> Self {
        Self::new(id, 1, 1)
    }

    /// The callback in flight.
    pub const fn id(&self) -> CallbackId {
        self.id
    }

    /// The attempt that it permits.
    pub const fn attempt(&self) -> ChargedAttempt {
        ChargedAttempt {
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
