//! `reconcile --verify`: does the audit chain hold?

use std::io::Write;

use serde::Serialize;

use super::super::exit::{CommandResult, Exit};
use super::super::json;
use super::pruned::{self, pruned_by_hand};
use crate::clock::{Clock, SystemClock};
use crate::config::HousekeepingSettings;
use crate::domain::Timestamp;
use crate::reconciliation::{Retained, Verification, verify};
use crate::store::{AuditChain, Command, Commands};

#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    found: Verification,
    pruned_by_hand: Vec<Command>,
}

pub(super) async fn run(
    chain: &dyn AuditChain,
    commands: &dyn Commands,
    housekeeping: &HousekeepingSettings,
    json: bool,
    out: &mut dyn Write,
) -> CommandResult {
    let now = SystemClock.now();
    let by_hand = pruned_by_hand(commands, Timestamp::from_millis(0)).await?;
    let until = by_hand
        .iter()
        .filter_map(|command| command.request.selectors.until)
        .max();
    let keep = housekeeping.keep_delivered.min(housekeeping.keep_exhausted);
    let retained = Retained {
        // What was pruned by hand is not missed.
        keep: until.map_or(keep, |until| keep.min(now.since(until))),
        now,
    };
    let found = verify(chain, retained).await?;
    let exit = match found.faults.first() {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    };
    if json {
        let verified = Verified {
            found,
            pruned_by_hand: by_hand,
        };
        json::print(out, &verified)?;
        return Ok(exit);
    }
    writeln!(
        out,
        "{} days: {} computed anew and the same, {} past their retention with a header that holds, \
         {} differ",
        found.days,
        found.recomputed,
        found.pruned,
        found.faults.len()
    )?;
    for (place, fault) in found.faults.iter().enumerate() {
        let which = if place == 0 { "first" } else { "then" };
        writeln!(out, "differs, {which}: {}: {}", fault.day, fault.fault)?;
    }
    pruned::print(&by_hand, out)?;
    if let Some(record) = &found.newest {
        writeln!(out, "newest: {}, digest {}", record.day, record.digest)?;
    }
    Ok(exit)
}
