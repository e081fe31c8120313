//! `reconcile --verify`: does the audit chain hold?

use std::io::Write;

use super::super::exit::{CommandResult, Exit};
use super::super::json;
use crate::clock::{Clock, SystemClock};
use crate::config::HousekeepingSettings;
use crate::reconciliation::{Retained, verify};
use crate::store::AuditChain;

pub(super) async fn run(
    chain: &dyn AuditChain,
    housekeeping: &HousekeepingSettings,
    json: bool,
    out: &mut dyn Write,
) -> CommandResult {
    let retained = Retained {
        keep: housekeeping.keep_delivered.min(housekeeping.keep_exhausted),
        now: SystemClock.now(),
    };
    let found = verify(chain, retained).await?;
    let exit = match found.faults.first() {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    };
    if json {
        json::print(out, &found)?;
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
    if let Some(record) = &found.newest {
        writeln!(out, "newest: {}, digest {}", record.day, record.digest)?;
    }
    Ok(exit)
}
