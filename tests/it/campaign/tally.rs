//! What was run, as lines that `scripts/crash-campaign` adds up.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The file to write to; without it nothing is written.
const FILE: &str = "CRASH_TALLY";

/// Adds a line `group<TAB>name<TAB>count`, in one write, because other tests write to it too.
pub(super) fn count(group: &str, name: &str, count: usize) {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let line = format!("{group}\t{name}\t{count}\n");
    let file = OpenOptions::new().append(true).create(true).open(path);
    let mut file = file.expect("CRASH_TALLY names a writable file");
    file.write_all(line.as_bytes()).expect("room for a line");
}

/// A case has gone as its table says.
pub(super) fn passed(case: &str) {
    count("case", case, 1);
}
