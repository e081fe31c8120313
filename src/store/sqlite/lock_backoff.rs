//! Leaves the write lock to other processes in turn.
//!
//! SQLite has no queue for its lock. Whoever finds it held sleeps and looks again, with SQLite's
//! own handler after 1, 2, 5, 10, 15, 20 ms and more. Beside a writer that holds the lock half of
//! the time, a gateway soon sleeps the long ones, falls behind, and then commits one transaction
//! after the other for tens of milliseconds, in which nobody else gets a turn. So where there is a
//! rival, each transaction is made up for by leaving the lock alone for twice as long as it was
//! held: most of the rival's looks then find it free. Small transactions are let off until there
//! are several of them, or a claim would rest for the record before it.

use std::time::Duration;

use crate::clock::Stopwatch;

/// For how long another process counts as a rival after the lock was found held.
const CONTENTION: Duration = Duration::from_millis(100);

/// How many times as long as it was held the lock is left alone.
const REST_FACTOR: u32 = 2;

/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(10);

/// What need not be made up for at once: that of two or three small transactions.
const CREDIT: Duration = Duration::from_millis(1);

/// The length of a pause. Short, because reads are answered between pauses.
const PAUSE: Duration = Duration::from_micros(100);

/// When this process may take the lock again.
#[derive(Debug, Default)]
pub(super) struct LockBackoff {
    /// Since the lock was last found held.
    contended: Option<Stopwatch>,
    /// Since the lock was last given back, and for how long it was to be left alone then.
    debt: Option<(Stopwatch, Duration)>,
}

impl LockBackoff {
    /// Another process held the lock when it was wanted.
    pub(super) fn found_locked(&mut self) {
        self.contended = Some(Stopwatch::start());
    }

    /// The lock is given back, after `held`.
    pub(super) fn released(&mut self, held: Duration) {
        let has_rival = self
            .contended
            .is_some_and(|since| since.elapsed() < CONTENTION);
        let debt = (self.owed(held) + held * REST_FACTOR).min(REST_MAX);
        self.debt = has_rival.then(|| (Stopwatch::start(), debt));
    }

    /// Naps while the lock is left alone; false at once when it is not.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is time that the other process needs"
    )]
    pub(super) fn pauses(&self) -> bool {
        let rest = self.rest();
        if !rest.is_zero() {
            std::thread::sleep(rest.min(PAUSE));
        }
        !rest.is_zero()
    }

    /// How long the lock is still left alone.
    fn rest(&self) -> Duration {
        match self.debt {
            Some((_, debt)) if debt > CREDIT => self.owed(Duration::ZERO),
            _ => Duration::ZERO,
        }
    }

    /// For how much longer the lock was to be left alone when it was taken, which is `held` ago.
    fn owed(&self, held: Duration) -> Duration {
        self.debt.map_or(Duration::ZERO, |(since, debt)| {
            debt.saturating_sub(since.elapsed().saturating_sub(held))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Duration = Duration::from_millis(3);

    #[tokio::test(start_paused = true)]
    async fn without_a_rival_there_is_no_rest() {
        let mut lock_backoff = LockBackoff::default();
        lock_backoff.released(HELD);
        assert_eq!(lock_backoff.rest(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn beside_a_rival_the_lock_is_left_alone_for_twice_as_long_as_it_was_held() {
        let mut lock_backoff = LockBackoff::default();
        lock_backoff.found_locked();
        lock_backoff.released(HELD);
        assert_eq!(lock_backoff.rest(), HELD * 2);
        tokio::time::advance(HELD).await;
        assert_eq!(lock_backoff.rest(), HELD);
        tokio::time::advance(HELD * 2).await;
        assert_eq!(lock_backoff.rest(), Duration::ZERO);
        tokio::time::advance(HELD).await;
        lock_backoff.released(HELD);
        assert_eq!(lock_backoff.rest(), HELD * 2, "all before was made up for");
        lock_backoff.released(Duration::from_secs(1));
        assert_eq!(lock_backoff.rest(), REST_MAX, "however long it was held");
    }

    #[tokio::test(start_paused = true)]
    async fn small_transactions_are_let_off_until_there_are_several() {
        let held = CREDIT / 4;
        let mut lock_backoff = LockBackoff::default();
        lock_backoff.found_locked();
        for _ in 0..2 {
            lock_backoff.released(held);
            assert_eq!(lock_backoff.rest(), Duration::ZERO);
        }
        lock_backoff.released(held);
        assert_eq!(
            lock_backoff.rest(),
            held * 3 * REST_FACTOR,
            "for all of them"
        );
        tokio::time::advance(held * 4 * REST_FACTOR).await;
        lock_backoff.released(held);
        assert_eq!(lock_backoff.rest(), Duration::ZERO, "the next ones");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rival_is_forgotten() {
        let mut lock_backoff = LockBackoff::default();
        lock_backoff.found_locked();
        tokio::time::advance(CONTENTION).await;
        lock_backoff.released(HELD);
        assert_eq!(lock_backoff.rest(), Duration::ZERO);
    }
}
