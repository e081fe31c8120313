//! The end of a shift: nothing more is claimed, what was claimed ahead is given back, and what is
//! under way ends and is recorded.
//!
//! What was given back is as due as it was, for the next start or another dispatcher. So a drain
//! takes no longer than one attempt may, and its record.

use std::sync::Arc;
use std::time::Duration;

use super::{Back, Shift};
use crate::clock::Stopwatch;
use crate::failpoint;
use crate::store::{ClaimedCallback, Lease, Queue, StoreError, Unreleased};

/// Between two tries to give claims back. The drain's end bounds their number.
const PAUSE: Duration = Duration::from_millis(500);

impl Shift {
    pub(super) fn begin_drain(&mut self) {
        tracing::info!(
            in_flight = self.floor.lock().roster.in_flight(),
            "stopping: no more claims, waiting for the attempts in flight"
        );
        self.drained_by = Some(Stopwatch::start().deadline(self.drain_timeout));
        let stock = self.floor.lock().roster.give_up_stock();
        self.give_back(stock);
        failpoint::here!("drain");
    }

    /// Gives claims back under which nothing was sent.
    pub(super) fn give_back(&mut self, stock: Vec<ClaimedCallback>) {
        if stock.is_empty() {
            return;
        }
        let leases: Vec<Lease> = stock.into_iter().map(|claimed| claimed.lease).collect();
        self.releasing += 1;
        let releasing = release(Arc::clone(&self.desk.queue), leases);
        self.tasks
            .spawn(async move { Back::Released(releasing.await) });
    }

    /// Attempts under way, and what is to be recorded or given back.
    pub(super) fn open(&self) -> usize {
        // A turn that records nothing claims, and what it brings is to be given back.
        let turning = self.turning.map_or(0, |recording| recording.max(1));
        self.floor.lock().open() + turning + self.insisting + self.releasing
    }

    pub(super) fn cut_off(&self) -> usize {
        let left = self.open();
        tracing::warn!(
            left,
            "the drain timeout has passed; the next start ends these as interrupted"
        );
        left
    }
}

async fn release(queue: Arc<dyn Queue>, mut leases: Vec<Lease>) -> Result<(), StoreError> {
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
