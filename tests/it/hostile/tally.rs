//! What was run, as lines that `scripts/hostile` adds up.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The file to write to; without it nothing is written.
const FILE: &str = "HOSTILE_TALLY";

/// The counts of one family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: usize,
    pub(super) passed: usize,
    /// What the hostile servers saw and sent.
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) bytes_sent: u64,
    /// Callbacks delivered to a healthy merchant meanwhile.
    pub(super) healthy: usize,
}

impl Tally {
    /// Adds a line to the file, in one write, because other tests write to it too.
    pub(super) fn report(&self, family: &str) {
        let Some(path) = std::env::var_os(FILE) else {
            return;
        };
        let line = format!(
            "{family}\t{}\t{}\t{}\t{}\t{}\t{}\n",
            self.cases, self.passed, self.connections, self.requests, self.bytes_sent, self.healthy
        );
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.expect("HOSTILE_TALLY names a writable file");
        file.write_all(line.as_bytes()).expect("room for a line");
    }
}
