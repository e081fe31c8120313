//! Being one of several dispatchers of a queue: a share of the limits, and what others leave behind.
//!
//! With a store that one dispatcher holds alone, nothing of this ever comes to bear.

use std::sync::Arc;
use std::time::Duration;

use super::{Back, Shift};
use crate::clock::Stopwatch;
use crate::store::StoreError;

/// Between two looks for what others have left in flight.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Taking over what others have left behind.
#[derive(Debug)]
pub(super) struct TakingOver {
    is_under_way: bool,
    since: Stopwatch,
    /// Whether the last look failed, so that this is said once.
    has_failed: bool,
}

impl TakingOver {
    pub(super) fn none_yet() -> Self {
        Self {
            is_under_way: false,
            since: Stopwatch::start(),
            has_failed: false,
        }
    }
}

impl Shift {
    /// Goes by the share of the limits that is this dispatcher's now.
    pub(super) fn take_seat(&self) {
        let seat = self.desk.queue.fleet_position();
        let mut state = self.floor.lock();
        if state.seat == seat {
            return;
        }
        tracing::info!(
            number = seat.number + 1,
            of = seat.of,
            "the dispatchers of this queue have changed; limits by merchant are divided anew"
        );
        state.seat = seat;
        let rules = state.rules(self.desk.clock.now());
        state.roster.resettle(rules);
    }

    /// Looks for what others have left in flight, if it is time.
    pub(super) fn take_over(&mut self) {
        let state = &mut self.taking_over;
        let is_time = state.since.elapsed() >= LOOK_EVERY;
        if !self.desk.queue.is_shared()
            || state.is_under_way
            || !is_time
            || self.drained_by.is_some()
        {
            return;
        }
        state.is_under_way = true;
        state.since = Stopwatch::start();
        let queue = Arc::clone(&self.desk.queue);
        let now = self.desk.clock.now();
        self.tasks
            .spawn(async move { Back::TookOver(queue.interrupt_in_flight(now).await) });
    }

    pub(super) fn took_over(&mut self, taken_over: Result<usize, StoreError>) {
        self.taking_over.is_under_way = false;
        match taken_over {
            Ok(callbacks) => {
                self.taking_over.has_failed = false;
                if callbacks > 0 {
                    tracing::warn!(
                        callbacks,
                        "attempts of a dispatcher that is gone were taken over; they are due again"
                    );
                    self.surveying.ask();
                }
            }
            Err(error) if !self.taking_over.has_failed => {
                tracing::warn!(%error, "what other dispatchers have left can't be taken over yet");
                self.taking_over.has_failed = true;
            }
            Err(_) => {}
        }
    }

    /// Gives back what had lapsed before its turn came: this process was stopped for a while, or
    /// the store could not be reached.
    pub(super) fn give_back_lapsed(&mut self) {
        let lapsed = std::mem::take(&mut self.floor.lock().lapsed);
        if lapsed.is_empty() {
            return;
        }
        tracing::warn!(
            callbacks = lapsed.len(),
            "claims have lapsed before anything was sent under them; they are given back"
        );
        self.surveying.ask();
        self.give_back(lapsed);
    }
}
