//! Who hears of the store's commits.

use std::fmt;
use std::time::Duration;

/// Hears how long the store's commits take.
pub trait CommitObserver: fmt::Debug + Send + Sync + 'static {
    /// Something is to be committed.
    fn wanted(&self) {}

    /// The transaction for it has begun: it holds the write lock.
    fn began(&self) {}

    /// It was not committed. Unless the database refused what was asked (`is_refused`), it may be asked
    /// again.
    fn failed(&self, is_refused: bool) {
        let _ = is_refused;
    }

    /// A transaction with `writes` requests in it took `duration` from BEGIN to durable.
    fn committed(&self, duration: Duration, writes: usize);

    /// The database server's clock is ahead of this host's by so many milliseconds. Only a store that
    /// has a server says so.
    fn clock_skew(&self, _server_is_ahead_ms: i64) {}
}

/// Nobody measures the commits.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl CommitObserver for Unobserved {
    fn committed(&self, _: Duration, _: usize) {}
}
