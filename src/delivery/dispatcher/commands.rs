//! Operators' commands: one part at a time, between claims.
//!
//! A poll tells whether there are any. After a part that has left more, the next one follows at once,
//! as a task. What only waits for attempts in flight is asked for again by the next poll.
//!
//! No failure here is a reason to stop delivering: it is logged and tried again later.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::delivery::context::Context;
use crate::delivery::transport::Post;
use crate::store::{CarriedOut, Command, Remaining, StoreError};

/// How long to leave commands alone after one has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OperatorCommands {
    is_under_way: bool,
    /// Since the last one failed.
    failed: Option<Stopwatch>,
}

/// Carries out the first part of what has gathered while no dispatcher ran.
pub(super) async fn carry_out_first(context: &Context, post: &dyn Post) {
    let check_url = |url: &str| post.check_url(url);
    let carrying_out = context.queue.carry_out(context.clock.now(), &check_url);
    match carrying_out.await {
        Ok(carried_out) => carried_out.answered.iter().for_each(tell),
        Err(error) => complain(&error),
    }
}

impl OperatorCommands {
    /// Whether a part may begin now; it has begun then.
    pub(super) fn begin(&mut self) -> bool {
        let is_resting = self.failed.is_some_and(|since| since.elapsed() < PAUSE);
        let begins = !self.is_under_way && !is_resting;
        self.is_under_way |= begins;
        begins
    }

    /// A part has ended. Returns whether it has left more to be done at once.
    pub(super) fn end(&mut self, carried_out: &Result<CarriedOut, StoreError>) -> bool {
        *self = Self::default();
        match carried_out {
            Ok(carried_out) => {
                carried_out.answered.iter().for_each(tell);
                carried_out.remaining == Remaining::Work
            }
            Err(error) => {
                self.failed = Some(Stopwatch::start());
                complain(error);
                false
            }
        }
    }
}

fn complain(error: &StoreError) {
    tracing::error!(%error, retry_in_ms = PAUSE.as_millis(), "operators' commands can't be carried out");
}

/// The log names the actor and the action; the reason may hold anything, and is in the table.
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
