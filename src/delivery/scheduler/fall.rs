//! A limit that has fallen, for the log and for people.

use crate::delivery::congestion::Reason;
use crate::domain::Timestamp;
use crate::store::Origin;

/// What is remembered of a fall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fallen {
    pub(super) from: usize,
    pub(super) at: Timestamp,
    pub(super) reason: Reason,
}

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Fall {
    pub(super) origin: Origin,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) reason: Reason,
}

impl Fall {
    /// One line for each time that an origin's limit has come down to half or less.
    pub(in crate::delivery) fn log(&self) {
        tracing::info!(
            origin = %self.origin,
            from = self.from,
            to = self.to,
            reason = self.reason.as_str(),
            "a merchant gets fewer callbacks at a time; the limit grows again as it answers"
        );
    }
}
