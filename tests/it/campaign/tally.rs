//! What was run, as lines that `scripts/crash-campaign` adds up.

use crate::support::tally;

/// Adds a line `group<TAB>name<TAB>count`.
pub(super) fn count(group: &str, name: &str, count: usize) {
    tally::append("CRASH_TALLY", &format!("{group}\t{name}\t{count}\n"));
}

/// A case has gone as its table says.
pub(super) fn passed(case: &str) {
    count("case", case, 1);
}
