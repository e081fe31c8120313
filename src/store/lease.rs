//! The proof of a claim.

use super::ChargedAttempt;
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
}

impl Lease {
    pub(super) const fn new(id: CallbackId, token: i64, seq: i64) -> Self {
        Self { id, token, seq }
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
