//! Whether the dispatcher's loop is alive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::Timestamp;
use crate::telemetry::Commits;

/// A loop that has not beaten for this long counts as stuck; a healthy one beats once a second.
pub const BEAT_AGE_MAX: Duration = Duration::from_secs(10);

/// A commit that has not returned for this long counts as one that never will.
const COMMIT_AGE_MAX: Duration = Duration::from_secs(30);

/// When the dispatcher's loop last said that it is alive. Its age is measured by a steady clock, so
/// that setting the wall clock neither hides a stuck loop nor makes a healthy one look stuck.
///
/// A loop that can't record does nobody any good: while a commit does not return, it does not count as
/// alive either. That another process holds the write lock is no such case.
#[derive(Debug, Default)]
pub struct Beat {
    commits: Arc<Commits>,
    last: Mutex<Option<(Timestamp, Stopwatch)>>,
}

impl Beat {
    /// None yet, of a loop whose store commits as `commits` tells.
    pub fn new(commits: Arc<Commits>) -> Self {
        Self {
            commits,
            last: Mutex::default(),
        }
    }

    /// How long something has waited to be committed, if that is too long.
    pub fn uncommitted(&self) -> Option<Duration> {
        self.commits
            .waiting()
            .filter(|waiting| *waiting > COMMIT_AGE_MAX)
    }

    /// Why the loop does not count as alive; `None` if it does.
    pub fn fault(&self) -> Option<String> {
        let Some((last, since)) = *self.last() else {
            return Some("the loop has not begun".to_owned());
        };
        if let Some(age) = self.commits.under_way()
            && age > COMMIT_AGE_MAX
        {
            return Some(format!(
                "a commit to the queue has not returned for {} s; does the file system stand still?",
                age.as_secs()
            ));
        }
        let age = since.elapsed();
        (age > BEAT_AGE_MAX)
            .then(|| format!("the loop last beat at {last}, {} s ago", age.as_secs()))
    }

    fn last(&self) -> MutexGuard<'_, Option<(Timestamp, Stopwatch)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Beat {
    fn attempt_finished(&self, _finished: &FinishedAttempt<'_>) {}

    fn in_flight(&self, _attempts: usize) {}

    fn own_outage(&self, _is_on: bool) {}

    fn beat(&self, now: Timestamp) {
        *self.last() = Some((now, Stopwatch::start()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CommitObserver as _;

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_does_not_return_stops_the_beat() {
        let commits = Arc::new(Commits::default());
        let beat = Beat::new(Arc::clone(&commits));
        commits.wanted();
        tokio::time::advance(COMMIT_AGE_MAX * 2).await;
        beat.beat(NOON);
        assert_eq!(beat.fault(), None, "it waits for another process's lock");
        assert_eq!(beat.uncommitted(), Some(COMMIT_AGE_MAX * 2));
        commits.began();
        tokio::time::advance(COMMIT_AGE_MAX + Duration::from_secs(1)).await;
        beat.beat(NOON);
        let fault = beat.fault().expect("it stands still");
        assert!(fault.contains("has not returned for 31 s"), "{fault}");
        commits.committed(Duration::ZERO, 1);
        assert_eq!((beat.fault(), beat.uncommitted()), (None, None));
    }

    const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

    #[tokio::test(start_paused = true)]
    async fn loop_is_alive_for_ten_seconds_after_each_beat_whatever_the_wall_clock_says() {
        let beat = Beat::default();
        assert_eq!(beat.fault().as_deref(), Some("the loop has not begun"));
        let day = Duration::from_secs(86_400);
        for moment in [NOON, NOON.after(day), NOON.before(day)] {
            beat.beat(moment);
            tokio::time::advance(BEAT_AGE_MAX).await;
            assert_eq!(beat.fault(), None, "{moment}");
            tokio::time::advance(Duration::from_millis(1)).await;
            let fault = beat.fault().expect("it is stuck");
            assert!(fault.contains(&format!("last beat at {moment}")), "{fault}");
        }
    }
}
