//! A histogram of durations that any number of threads write to without waiting.
//!
//! The one of `prometheus-client` takes a lock per observation; this one takes two atomic
//! additions and feeds the same encoder.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Buckets durations by upper bound, in seconds. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct DurationHistogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Upper bounds in seconds, ascending; the one above them all is not among them.
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// Whole microseconds: enough for half a million years.
    sum_us: AtomicU64,
}

impl DurationHistogram {
    /// An empty one with `bounds` in seconds, ascending.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted(), "bounds must ascend");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets {
            bounds,
            counts,
            sum_us: AtomicU64::new(0),
        }))
    }

    /// Buckets `duration` in.
    pub(super) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.0.bounds.partition_point(|bound| *bound < seconds);
        self.0.counts[place].fetch_add(1, Ordering::Relaxed);
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.sum_us.fetch_add(duration_us, Ordering::Relaxed);
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|n| n.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Summed from what is shown, so that `_count` and the last bucket agree.
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = Duration::from_micros(self.0.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        let exemplars = None::<&HashMap<usize, Exemplar<NoLabelSet, f64>>>;
        encoder.encode_histogram(sum, count, &buckets, exemplars)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn bounds_are_inclusive_and_cumulative() {
        let histogram = DurationHistogram::new(&[0.01, 1.0]);
        for millis in [0, 10, 11, 1000, 1001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut registry = Registry::default();
        registry.register("wait_seconds", "Waits", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes every write");
        for line in [
            "# TYPE wait_seconds histogram",
            "wait_seconds_sum 2.022",
            "wait_seconds_count 5",
            "wait_seconds_bucket{le=\"0.01\"} 2",
            "wait_seconds_bucket{le=\"1.0\"} 4",
            "wait_seconds_bucket{le=\"+Inf\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
