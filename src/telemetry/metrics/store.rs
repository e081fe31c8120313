//! What the store's commits come to.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{registered, unix_seconds};
use crate::domain::Timestamp;
use crate::store::CommitObserver;
use crate::telemetry::commits::Commits;
use crate::telemetry::histogram::DurationHistogram;

/// From a commit that a disk's cache takes to one that waits for a busy writer.
const COMMIT_BOUNDS: [f64; 13] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

#[derive(Debug)]
pub(super) struct StoreSeries {
    commit: DurationHistogram,
    pub(super) commits: Arc<Commits>,
    /// In seconds of Unix time; 0 until the first.
    committed_at: Gauge<f64, AtomicU64>,
    waiting: Gauge<f64, AtomicU64>,
    wal_bytes: Gauge,
    clock_skew: Gauge<f64, AtomicU64>,
    oldest_snapshot: Gauge,
}

impl StoreSeries {
    pub(super) fn new(into: &mut Registry) -> Self {
        Self {
            commit: registered(
                into,
                "store_commit_seconds",
                "From the begin of a write transaction to its being durable",
                DurationHistogram::new(&COMMIT_BOUNDS),
            ),
            commits: Arc::default(),
            committed_at: registered(
                into,
                "store_last_commit_timestamp_seconds",
                "When the store last committed for this process, in Unix time; 0 until the first commit",
                Gauge::default(),
            ),
            waiting: registered(
                into,
                "store_commit_waiting_seconds",
                "How long something has waited to be committed; 0 when nothing does",
                Gauge::default(),
            ),
            wal_bytes: registered(
                into,
                "store_wal_bytes",
                "Size of the write-ahead log beside the database, as last measured",
                Gauge::default(),
            ),
            clock_skew: registered(
                into,
                "clock_skew_seconds",
                "How far the database server's clock is ahead of this host's; 0 with SQLite",
                Gauge::default(),
            ),
            oldest_snapshot: registered(
                into,
                "oldest_snapshot_seconds",
                "How long the oldest transaction has been open that keeps dead rows of the database from being cleaned up; 0: none is, or this role may not see it; 0 with SQLite",
                Gauge::default(),
            ),
        }
    }

    pub(super) fn set_wal_bytes(&self, bytes: u64) {
        self.wal_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn set_oldest_snapshot(&self, seconds: u64) {
        self.oldest_snapshot
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Ages go by the steady clock until somebody asks.
    pub(super) fn read(&self, now: Timestamp) {
        let waiting = self.commits.waiting().unwrap_or_default();
        self.waiting.set(waiting.as_secs_f64());
        if let Some(last) = self.commits.last() {
            self.committed_at.set(unix_seconds(now.before(last)));
        }
    }
}

impl CommitObserver for StoreSeries {
    fn wanted(&self) {
        self.commits.wanted();
    }

    fn began(&self) {
        self.commits.began();
    }

    fn failed(&self, is_refused: bool) {
        self.commits.failed(is_refused);
    }

    fn committed(&self, duration: Duration, writes: usize) {
        self.commit.observe(duration);
        self.commits.committed(duration, writes);
    }

    fn clock_skew(&self, server_is_ahead_ms: i64) {
        let skew = Duration::from_millis(server_is_ahead_ms.unsigned_abs()).as_secs_f64();
        self.clock_skew
            .set(if server_is_ahead_ms < 0 { -skew } else { skew });
    }
}
