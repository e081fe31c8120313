//! What was simulated, as lines that `scripts/simulate` adds up.

use std::collections::BTreeMap;

use crate::support::tally;

/// The file to write to; without it nothing is written.
const FILE: &str = "SIMULATION_TALLY";

/// What some hundred seeds meet.
const EVERYTHING: &[&str] = &[
    "attempts acknowledged",
    "attempts refused",
    "attempts unreadable",
    "attempts http_status",
    "attempts timeout",
    "attempts dns",
    "attempts connect",
    "attempts tls",
    "attempts protocol",
    "attempts blocked",
    "attempts interrupted",
    "attempts unsignable",
    "attempts not charged in an outage",
    "attempts given back",
    "attempts released unsent",
    "callbacks pending",
    "callbacks delivered",
    "callbacks exhausted",
    "callbacks cancelled",
    "crashes",
    "deaths by a store fault",
    "stops",
    "store failures",
    "operation Enqueue",
    "operation EnqueueAgain",
    "operation EnqueueUnreadable",
    "operation Advance",
    "operation SetClock",
    "operation Answer",
    "operation ChangeMind",
    "operation StoreFails",
    "operation LockHeld",
    "operation Crash",
    "operation CrashAt",
    "operation Stop",
    "operation StopLoaded",
    "operation Prune",
    "operation Maintain",
    "operation Reload",
    "operation Cancel",
    "operation NetworkLost",
    "operation Crowd",
    "operation Resend",
    "operation Command",
    "attempts resent by a command",
    "attempts cancelled by a command",
];

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(super) fn add(&mut self, what: impl Into<String>, count: u64) {
        *self.0.entry(what.into()).or_default() += count;
    }

    pub(super) fn add_all(&mut self, other: Self) {
        for (what, count) in other.0 {
            self.add(what, count);
        }
    }

    /// A simulation in which something never happens proves nothing of it.
    pub(super) fn expect_everything(&self) {
        for what in EVERYTHING {
            assert!(self.0.contains_key(*what), "no {what} in {:?}", self.0);
        }
    }

    /// Adds lines to the file.
    pub(super) fn report(&self) {
        let line = |(what, count): (&String, &u64)| format!("{what}\t{count}\n");
        tally::append(FILE, &self.0.iter().map(line).collect::<String>());
    }
}
