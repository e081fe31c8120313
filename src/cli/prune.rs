//! `prune`: asks the dispatcher to remove what is past its retention, state by state.
//!
//! Each state is a command of its own in `operator_command`, with its actor and reason: what was removed by
//! hand can be told afterwards. Only callbacks of closed days go, so that the audit chain has them.

use std::io::Write;
use std::time::Duration;

use super::exit::{CommandResult, Exit};
use super::operate::{Asking, operate};
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings};
use crate::store::{Action, NewCommand, Selectors, StoredState};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Remove delivered and cancelled callbacks older than this [default: housekeeping.keep_delivered]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    keep_delivered: Option<Duration>,
    /// Remove exhausted callbacks older than this [default: housekeeping.keep_exhausted]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    keep_exhausted: Option<Duration>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let housekeeping = &settings.housekeeping;
    let keep_delivered = arguments.keep_delivered;
    let keep_delivered = keep_delivered.unwrap_or(housekeeping.keep_delivered);
    let keep_exhausted = arguments.keep_exhausted;
    let keep_exhausted = keep_exhausted.unwrap_or(housekeeping.keep_exhausted);
    let now = SystemClock.now();
    for (state, keep) in [
        (StoredState::Delivered, keep_delivered),
        (StoredState::Cancelled, keep_delivered),
        (StoredState::Exhausted, keep_exhausted),
    ] {
        let command = NewCommand {
            selectors: Selectors {
                state: Some(state),
                until: Some(now.before(keep)),
                ..Selectors::default()
            },
            ..arguments.asking.command(Action::Prune)
        };
        operate(command, None, arguments.asking.json, inputs, out)?;
    }
    Ok(Exit::Done)
}
