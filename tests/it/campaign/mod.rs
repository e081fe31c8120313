//! Crashes and want of resources, against the real program: what must never happen does not.
//!
//! A gateway in another process queues rows, merchants that are of no use to the product's code keep
//! a journal, and the program is killed again and again, or has a resource taken from it. Then the
//! journal is held against the database, callback by callback ([`audit`]).
//!
//! | module | what goes wrong |
//! |---|---|
//! | [`kills`] | `kill -9`, at random moments and at failpoints |
//! | [`disk`] | a full disk; a file system that turns read-only |
//! | [`locks`] | a writer that holds the lock; a reader that holds a snapshot |
//! | [`damage`] | pages overwritten, files cut short, the end of the log lost |
//! | [`limits`] | file descriptors, memory, SIGSTOP |
//!
//! `scripts/crash-campaign` runs all of it against the release build. A plain test run has a few
//! random kills and what needs no mounting.

mod audit;
mod damage;
mod disk;
mod kills;
mod limits;
mod locks;
pub(crate) mod merchants;
mod program;
mod tally;
mod world;

use std::time::Duration;

use crate::support::waiting::until_within;

/// For everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings for what holds the store up.
const SHORT_TIMEOUTS: &str = r#"
[delivery]
max_in_flight = 32
max_in_flight_per_merchant = 12
connect_timeout = "2s"
timeout = "2s"
drain_timeout = "3s"
"#;

/// What a campaign as a whole is told by its script, as a number.
pub(crate) fn told(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is {value:?}, not a number")))
}

/// Asks until `holds` says yes, [`PATIENCE`] long.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, async || holds()).await;
}

/// Numbers that look random and follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// From [`told`]'s seed, or a new one, which is printed so that a failure can be run again.
    fn new() -> Self {
        let seed = told("CRASH_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
        #[expect(
            clippy::print_stdout,
            reason = "the seed is for whoever reads of a failure"
        )]
        {
            println!("CRASH_SEED={seed}");
        }
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A place among `count`.
    pub(crate) fn index(&mut self, count: u32) -> usize {
        usize::try_from(self.below(u64::from(count))).expect("few")
    }
}
