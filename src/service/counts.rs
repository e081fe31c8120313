//! The recipients of each count of the queue.

use std::sync::Arc;

use crate::admin::{Beat, History};
use crate::clock::SharedClock;
use crate::domain::Timestamp;
use crate::housekeeping::StatsSink;
use crate::store::{HeldSnapshot, Stats, TroubledEndpoint};
use crate::telemetry::Metrics;

/// Hands each count to the metrics and to the console's plots.
#[derive(Debug)]
pub(super) struct StatsRecipients {
    pub(super) metrics: Arc<Metrics>,
    pub(super) history: Arc<History>,
    pub(super) beat: Arc<Beat>,
    pub(super) clock: SharedClock,
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

    fn troubled_found(&self, troubled: Vec<TroubledEndpoint>) {
        self.history.troubled_found(troubled);
        let troubles = self.history.troubles(&self.beat, self.clock.now());
        self.metrics.set_troubles(&troubles);
    }

    fn displaced_found(&self, displaced: Option<String>) {
        self.history.displaced_found(displaced);
        let troubles = self.history.troubles(&self.beat, self.clock.now());
        self.metrics.set_troubles(&troubles);
    }

    fn oldest_snapshot_found(&self, snapshot: Option<&HeldSnapshot>) {
        self.metrics
            .set_oldest_snapshot(snapshot.map_or(0, |snapshot| snapshot.seconds));
    }

    fn wal_measured(&self, bytes: u64) {
        self.metrics.set_wal_bytes(bytes);
    }
}
