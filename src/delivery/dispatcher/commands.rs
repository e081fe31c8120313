//! Carrying out what operators ask for, piece by piece, between claims.
//!
//! A look at arrivals tells whether there is anything; after a piece that has left more, the next
//! one follows at once, as a task like any other. What only waits for attempts in flight is asked
//! for again by the next look.
//!
//! Whatever goes wrong here is no reason to stop delivering: it is logged and tried again later.

use std::sync::Arc;
use std::time::Duration;

use super::super::turn::Desk;
use super::{Back, Shift};
use crate::clock::Stopwatch;
use crate::store::{CarriedOut, Command, Remaining, StoreError};

/// How long to leave commands alone after one has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// A piece of an operator's command.
#[derive(Debug, Default)]
pub(super) struct CarryingOut {
    is_under_way: bool,
    /// Since the last one failed.
    failed: Option<Stopwatch>,
}

/// Does the first piece of what has gathered while no dispatcher was there.
pub(super) async fn begin(desk: &Desk) {
    match desk.queue.carry_out(desk.clock.now()).await {
        Ok(carried_out) => carried_out.answered.iter().for_each(tell),
        Err(error) => complain(&error),
    }
}

impl Shift {
    /// Does the next piece, unless one is under way.
    pub(super) fn carry_out(&mut self) {
        let state = &mut self.carrying_out;
        let is_resting = state.failed.is_some_and(|since| since.elapsed() < PAUSE);
        if state.is_under_way || is_resting || self.drained_by.is_some() {
            return;
        }
        state.is_under_way = true;
        let queue = Arc::clone(&self.desk.queue);
        let now = self.desk.clock.now();
        self.tasks
            .spawn(async move { Back::CarriedOut(queue.carry_out(now).await) });
    }

    pub(super) fn carried_out(&mut self, carried_out: Result<CarriedOut, StoreError>) {
        self.carrying_out = CarryingOut::default();
        match carried_out {
            Ok(carried_out) => {
                self.all_due(carried_out.due);
                carried_out.answered.iter().for_each(tell);
                if carried_out.remaining == Remaining::Work {
                    self.carry_out();
                }
            }
            Err(error) => {
                self.carrying_out.failed = Some(Stopwatch::start());
                complain(&error);
            }
        }
    }
}

fn complain(error: &StoreError) {
    tracing::error!(%error, retry_in_ms = PAUSE.as_millis(), "operators' commands can't be carried out");
}

/// The log has who did what; the reason may hold anything, and is in the table.
fn tell(command: &Command) {
    tracing::info!(
        command_id = command.id.0,
        action = command.request.action.as_str(),
        actor = command.request.actor,
        dry_run = command.request.dry_run,
        status = command.status.as_str(),
        selected = command.selected,
        done = command.done,
        skipped = command.skipped,
        "an operator's command is answered"
    );
}
