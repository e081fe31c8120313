//! From where in the index `callback_due` a claim walks.
//!
//! A callback that was claimed leaves a dead entry there, until no transaction can see it as it was.
//! One that stays open anywhere in the database keeps them all, and a walk from the beginning passes
//! over each of them. Once that takes long, claims begin where the last one has ended, and walk all of
//! it only now and then. Callbacks that are due from before that point (of a transaction that took long
//! to commit, or released) wait for such a walk. Times are those of the server's clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::store::{ClaimRequest, Endpoint};

/// A whole walk that takes no longer is always made.
const SHORT: Duration = Duration::from_millis(20);

/// Whole walks take at most one part of these of the time.
const SHARE: u32 = 20;

/// Walks begin so much before the point where the last one has ended: transactions commit in another order
/// than their callbacks are due.
const OVERLAP_MS: i64 = 1000;

/// Where a whole walk begins.
const BEGINNING: i64 = i64::MIN;

/// How long an endpoint is remembered that is not claimed for.
const KEPT: Duration = Duration::from_secs(600);

/// The endpoints whose walks take long.
#[derive(Debug, Default)]
pub(super) struct Walks {
    long: Mutex<HashMap<Endpoint, Long>>,
}

#[derive(Debug)]
struct Long {
    /// No callback that waits is due before it.
    begins_at: i64,
    /// What a whole walk takes.
    takes: Duration,
    /// Since the last whole walk.
    since: Stopwatch,
}

/// What a claim has found: when the next callback of each endpoint is due, and how long that took.
pub(super) struct Walked<'a> {
    pub(super) begun_at: &'a [i64],
    pub(super) then_due: &'a [Option<i64>],
    pub(super) now: i64,
    pub(super) took: Duration,
}

impl Walks {
    /// The due time from which each walk begins.
    pub(super) fn begin(&self, requests: &[ClaimRequest]) -> Vec<i64> {
        let long = self.lock();
        let pause = pause(&long);
        let begin = |request: &ClaimRequest| match long.get(&request.endpoint) {
            Some(long) if long.since.elapsed() < pause => long.begins_at,
            Some(_) | None => BEGINNING,
        };
        requests.iter().map(begin).collect()
    }

    /// Takes note of walks. Returns after which time each endpoint should be claimed for again because
    /// its walk was not a whole one.
    pub(super) fn end(
        &self,
        requests: &[ClaimRequest],
        walked: &Walked<'_>,
    ) -> Vec<Option<Duration>> {
        let mut long = self.lock();
        let whole = walked.begun_at.iter().filter(|at| **at == BEGINNING);
        let whole = u32::try_from(whole.count()).unwrap_or(u32::MAX);
        let each = requests.iter().zip(walked.begun_at).zip(walked.then_due);
        for ((request, begun_at), then_due) in each {
            let ended_at = then_due.map_or(walked.now, |due| due.min(walked.now)) - OVERLAP_MS;
            if *begun_at != BEGINNING {
                if let Some(long) = long.get_mut(&request.endpoint) {
                    long.begins_at = long.begins_at.max(ended_at);
                }
            } else if walked.took > SHORT {
                let walk = Long {
                    begins_at: ended_at,
                    takes: walked.took / whole,
                    since: Stopwatch::start(),
                };
                long.insert(request.endpoint.clone(), walk);
            } else {
                long.remove(&request.endpoint);
            }
        }
        long.retain(|_, long| long.since.elapsed() < KEPT);
        let pause = pause(&long);
        let again = |(request, begun_at): (&ClaimRequest, &i64)| {
            let long = long.get(&request.endpoint)?;
            (*begun_at != BEGINNING).then(|| pause.saturating_sub(long.since.elapsed()))
        };
        requests.iter().zip(walked.begun_at).map(again).collect()
    }

    /// Callbacks may wait that are due from before the point where walks begin.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Long>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two whole walks of an endpoint.
fn pause(long: &HashMap<Endpoint, Long>) -> Duration {
    long.values().map(|long| long.takes).sum::<Duration>() * SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(400);

    fn requests(endpoints: &[&str]) -> Vec<ClaimRequest> {
        let request = |app: &&str| ClaimRequest {
            endpoint: Endpoint::new(app, "https://one.example"),
            limit: 8,
        };
        endpoints.iter().map(request).collect()
    }

    /// Walks as they are to begin.
    fn walk(
        walks: &Walks,
        endpoints: &[&str],
        then_due: Option<i64>,
        took: Duration,
    ) -> (Vec<i64>, Vec<Option<Duration>>) {
        let requests = requests(endpoints);
        let begun_at = walks.begin(&requests);
        let walked = Walked {
            begun_at: &begun_at,
            then_due: &vec![then_due; endpoints.len()],
            now: 100_000,
            took,
        };
        let again = walks.end(&requests, &walked);
        (begun_at, again)
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_walk_is_always_a_whole_one() {
        let walks = Walks::default();
        for _ in 0..3 {
            let (begun_at, again) = walk(&walks, &["1"], Some(50_000), SHORT);
            assert_eq!((begun_at, again), (vec![BEGINNING], vec![None]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_walk_the_next_begin_where_it_has_ended_until_a_whole_one_is_due() {
        let walks = Walks::default();
        walk(&walks, &["1"], Some(50_000), LONG);
        let (begun_at, again) = walk(&walks, &["1"], Some(60_000), Duration::ZERO);
        assert_eq!(begun_at, [50_000 - OVERLAP_MS]);
        assert_eq!(again, [Some(LONG * SHARE)]);
        tokio::time::advance(LONG).await;
        let (begun_at, again) = walk(&walks, &["1"], Some(900_000), Duration::ZERO);
        assert_eq!(begun_at, [60_000 - OVERLAP_MS]);
        assert_eq!(again, [Some(LONG * (SHARE - 1))]);
        let (begun_at, _) = walk(&walks, &["1"], None, Duration::ZERO);
        assert_eq!(begun_at, [100_000 - OVERLAP_MS], "new ones are due now");
        tokio::time::advance(LONG * SHARE).await;
        let (begun_at, again) = walk(&walks, &["1"], None, SHORT);
        assert_eq!((begun_at, again), (vec![BEGINNING], vec![None]));
        assert!(walks.lock().is_empty(), "it is short again");
    }

    #[tokio::test(start_paused = true)]
    async fn whole_walks_of_many_endpoints_take_no_larger_part_of_the_time() {
        let walks = Walks::default();
        for endpoint in ["1", "2", "3", "4"] {
            walk(&walks, &[endpoint], None, LONG);
        }
        tokio::time::advance(LONG * SHARE).await;
        let (begun_at, _) = walk(&walks, &["1"], None, Duration::ZERO);
        assert_ne!(begun_at, [BEGINNING]);
        tokio::time::advance(LONG * SHARE * 3).await;
        let (begun_at, _) = walk(&walks, &["1"], None, LONG);
        assert_eq!(begun_at, [BEGINNING]);
        walks.forget();
        let (begun_at, _) = walk(&walks, &["2"], None, LONG);
        assert_eq!(begun_at, [BEGINNING]);
    }
}
