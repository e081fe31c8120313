//! What was run, as lines that `scripts/hostile` adds up.

use crate::support::tally;

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
    /// Adds a line to the file.
    pub(super) fn report(&self, family: &str) {
        let Self {
            cases,
            passed,
            connections,
            requests,
            bytes_sent,
            healthy,
        } = self;
        let line = format!(
            "{family}\t{cases}\t{passed}\t{connections}\t{requests}\t{bytes_sent}\t{healthy}\n"
        );
        tally::append(FILE, &line);
    }
}
