//! How long deliveries took, in few numbers.

use std::time::Duration;

/// Two for each doubling of the milliseconds: a bound is at most half above what it stands for.
const BOUNDS: usize = 64;

/// Counts of durations by size. Adding is one shift and one increment; what is read off it is the
/// upper bound of where a value lies, at most half above the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    counts: [u32; BOUNDS],
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            counts: [0; BOUNDS],
        }
    }
}

impl Lag {
    /// Counts one duration.
    pub fn add(&mut self, lag: Duration) {
        let place = place(lag);
        self.counts[place] = self.counts[place].saturating_add(1);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The bound below which `percent` of the durations lie; `None` without any.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let count = self.count();
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.counts
            .iter()
            .position(|here| {
                seen += u64::from(*here);
                seen >= rank
            })
            .map(bound)
    }
}

/// Where `lag` is counted: by its highest bit and the one below that.
fn place(lag: Duration) -> usize {
    let millis = u32::try_from(lag.as_millis())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let highest = millis.ilog2();
    let next = highest.checked_sub(1).map_or(0, |bit| (millis >> bit) & 1);
    (2 * highest + next) as usize
}

/// The first whole millisecond that no longer belongs to `place`, which [`place`] counts from one.
fn bound(place: usize) -> Duration {
    let doubled = if place.is_multiple_of(2) { 3_u64 } else { 4 };
    Duration::from_millis(((doubled << (place / 2)) / 2).saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bound_is_above_its_values_and_at_most_half_above() {
        for value in (0..5000).chain([86_400_000, 3_000_000_000]) {
            let mut lag = Lag::default();
            lag.add(millis(value));
            let bound = lag.percentile(50).expect("one was counted");
            let least = millis(value.max(1));
            assert!(bound >= least, "{value} ms: {bound:?}");
            assert!(bound <= least * 3 / 2 + millis(1), "{value} ms: {bound:?}");
        }
    }

    #[test]
    fn percentiles_go_by_rank() {
        let mut lag = Lag::default();
        assert_eq!(lag.percentile(50), None);
        for _ in 0..95 {
            lag.add(millis(10));
        }
        for _ in 0..5 {
            lag.add(millis(60_000));
        }
        assert_eq!(lag.count(), 100);
        assert!(lag.percentile(50) < Some(millis(16)));
        assert!(lag.percentile(95) < Some(millis(16)));
        assert!(lag.percentile(96) >= Some(millis(60_000)));
        let mut merged = lag;
        merged.merge(&lag);
        assert_eq!(merged.count(), 200);
        assert_eq!(merged.percentile(95), lag.percentile(95));
    }

    #[test]
    fn what_is_beyond_all_bounds_is_counted_last() {
        let mut lag = Lag::default();
        lag.add(Duration::MAX);
        assert_eq!(lag.count(), 1);
        assert!(lag.percentile(1) >= Some(millis(u64::from(u32::MAX) / 2)));
    }
}
