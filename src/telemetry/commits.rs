//! Whether the store commits what it is asked to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::store::CommitObserver;

/// What is known of the store's commits. Ages go by a steady clock.
#[derive(Debug, Default)]
pub struct Commits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since something is to be committed, and was not.
    wanted: Option<Stopwatch>,
    /// Since the transaction under way holds the write lock.
    began: Option<Stopwatch>,
    last: Option<Stopwatch>,
}

impl Commits {
    /// How long something has waited to be committed: because another process holds the write lock, the
    /// disk is full, or the file system stands still. `None`: nothing waits.
    pub fn waiting(&self) -> Option<Duration> {
        self.state().wanted.map(|since| since.elapsed())
    }

    /// How long the transaction that is under way has held the write lock.
    pub fn under_way(&self) -> Option<Duration> {
        self.state().began.map(|since| since.elapsed())
    }

    /// How long ago the last commit was.
    pub fn last(&self) -> Option<Duration> {
        self.state().last.map(|last| last.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommitObserver for Commits {
    fn wanted(&self) {
        self.state().wanted.get_or_insert_with(Stopwatch::start);
    }

    fn began(&self) {
        self.state().began = Some(Stopwatch::start());
    }

    fn committed(&self, _duration: Duration, _writes: usize) {
        *self.state() = State {
            last: Some(Stopwatch::start()),
            ..State::default()
        };
    }

    fn failed(&self, is_refused: bool) {
        let mut state = self.state();
        state.began = None;
        if is_refused {
            state.wanted = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_waits_waits_until_a_commit_however_often_it_fails() {
        let commits = Commits::default();
        assert_eq!((commits.waiting(), commits.last()), (None, None));
        for tried in 1..=3_u32 {
            commits.wanted();
            commits.began();
            tokio::time::advance(SECOND).await;
            assert_eq!(commits.under_way(), Some(SECOND));
            commits.failed(false);
            assert_eq!(commits.under_way(), None);
            assert_eq!(commits.waiting(), Some(SECOND * tried));
        }
        commits.wanted();
        commits.began();
        commits.committed(SECOND, 1);
        assert_eq!((commits.waiting(), commits.under_way()), (None, None));
        tokio::time::advance(SECOND).await;
        assert_eq!(commits.last(), Some(SECOND));
        commits.wanted();
        commits.began();
        commits.failed(true);
        assert_eq!(commits.waiting(), None, "a refused request is not repeated");
    }
}
