//! What operators have pruned, for the days that it is about.

use std::io::{self, Write};

use super::super::exit::Failure;
use crate::domain::{Timestamp, visible};
use crate::store::{Action, Command, Commands};

/// More prunings by hand than this would be no record but a habit; the table has them all.
const COMMANDS_MAX: usize = 100_000;

/// The commands that have pruned callbacks which were queued at `from` or later, the newest first.
pub(super) async fn pruned_by_hand(
    commands: &dyn Commands,
    from: Timestamp,
) -> Result<Vec<Command>, Failure> {
    let mut found = commands.commands(COMMANDS_MAX).await?;
    found.retain(|command| {
        let request = &command.request;
        let is_after = request.selectors.until.is_some_and(|until| until > from);
        request.action == Action::Prune && !request.dry_run && command.done > 0 && is_after
    });
    Ok(found)
}

pub(super) fn print(commands: &[Command], out: &mut dyn Write) -> io::Result<()> {
    for command in commands {
        let request = &command.request;
        let state = request
            .selectors
            .state
            .map_or("finished", |state| state.as_str());
        let until = request.selectors.until.unwrap_or(Timestamp::MAX);
        writeln!(
            out,
            "pruned by hand: command {} of {} ({}) on {}: {} {state} callbacks that were queued and finished before {until}",
            command.id,
            visible(&request.actor),
            visible(&request.reason),
            command.created_at,
            command.done
        )?;
    }
    Ok(())
}
