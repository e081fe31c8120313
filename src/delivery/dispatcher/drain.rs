//! A drain, and giving claims back.
//!
//! Nothing more is claimed, what was prefetched is given back, and what is under way ends and is
//! recorded. A callback whose claim was given back is due as before, for the next start or another
//! dispatcher. So a drain takes no longer than one attempt may, and its record.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Stopwatch;
use crate::store::{ClaimedCallback, Lease, Queue, StoreError, Unreleased};

/// Between two tries to give claims back. The end of the drain bounds their number.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Drain {
    timeout: Duration,
    /// When a drain that is under way must have ended.
    deadline: Option<Instant>,
    /// Releases under way.
    releasing: usize,
}

impl Drain {
    pub(super) const fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: None,
            releasing: 0,
        }
    }

    pub(super) fn begin(&mut self) {
        self.deadline = Some(Stopwatch::start().deadline(self.timeout));
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.deadline.is_some()
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) const fn releasing(&self) -> usize {
        self.releasing
    }

    /// Claims are given back, until [`Drain::on_released`].
    pub(super) const fn on_release(&mut self) {
        self.releasing += 1;
    }

    pub(super) const fn on_released(&mut self) {
        self.releasing -= 1;
    }
}

/// Gives claims back under which nothing was sent.
///
/// # Errors
///
/// The store is beyond healing.
pub(super) async fn release(
    queue: Arc<dyn Queue>,
    claims: Vec<ClaimedCallback>,
) -> Result<(), StoreError> {
    let mut leases: Vec<Lease> = claims.into_iter().map(|claimed| claimed.lease).collect();
    loop {
        match queue.release(leases).await {
            Ok(()) => return Ok(()),
            Err(Unreleased { error, .. }) if error.is_permanent() => return Err(error),
            Err(unreleased) => {
                tracing::warn!(error = %unreleased.error, claims = unreleased.leases.len(),
                    retry_in_ms = PAUSE.as_millis(), "claims are not given back; will try it again");
                leases = unreleased.leases;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
