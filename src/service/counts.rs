//! The recipients of each count of the queue.

use std::sync::Arc;

use crate::admin::History;
use crate::domain::Timestamp;
use crate::housekeeping::StatsSink;
use crate::store::Stats;
use crate::telemetry::Metrics;

/// Hands each count to the metrics and to the console's plots.
#[derive(Debug)]
pub(super) struct StatsRecipients {
    pub(super) metrics: Arc<Metrics>,
    pub(super) history: Arc<History>,
}

impl StatsSink for StatsRecipients {
    fn queue_counted(&self, stats: &Stats, now: Timestamp) {
        self.metrics.set_queue(stats, now);
        self.history.queue_counted(stats, now);
    }

    fn oldest_due_measured(&self, due: Option<Timestamp>) {
        self.metrics.set_oldest_due(due);
        self.history.oldest_due_measured(due);
    }

    fn wal_measured(&self, bytes: u64) {
        self.metrics.set_wal_bytes(bytes);
    }
}
