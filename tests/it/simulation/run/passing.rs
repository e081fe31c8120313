//! How time passes: from one event to the next, and until all is quiet.

use std::time::Duration;

use super::{Run, Violation};

/// Longer than an outcome waits for company, shorter than every other timer.
const MOMENT: Duration = Duration::from_millis(8);

/// More of them in a row: the dispatcher spins.
const MOMENTS_MAX: usize = 2000;

/// Events that time stops for while it passes; the rest of it passes at once.
const HOPS_MAX: usize = 32;

impl Run {
    /// Lets wall clock and timers go on, from one event to the next.
    pub(super) async fn advance(&mut self, by: Duration) -> Result<(), Violation> {
        let mut left = by;
        for _ in 0..HOPS_MAX {
            if left.is_zero() {
                return Ok(());
            }
            let hop = self.hop().min(left);
            left -= hop;
            self.pass(hop).await?;
            self.restart_if_dead().await?;
        }
        self.pass(left).await
    }

    /// How long until something happens.
    fn hop(&self) -> Duration {
        let mut world = self.world.lock();
        let now = world.now();
        let due = world.oracle.next_due_after(now).map(|due| due - now);
        let due = due.and_then(|millis| u64::try_from(millis).ok());
        let timeout = world
            .next_timeout()
            .map(|left| left + Duration::from_millis(1));
        let answer = world.next_answer();
        let soonest = due
            .map(Duration::from_millis)
            .into_iter()
            .chain(timeout)
            .chain(answer)
            .min();
        soonest
            .unwrap_or(Duration::MAX)
            .max(Duration::from_millis(1))
    }

    pub(super) async fn pass(&self, hop: Duration) -> Result<(), Violation> {
        self.clock.advance(hop);
        tokio::time::advance(hop).await;
        self.world.lock().merchant_works();
        self.settle().await
    }

    /// Waits until nothing happens any more: tokio's clock moves on only when no task can run and
    /// the store is not at work.
    pub(super) async fn settle(&self) -> Result<(), Violation> {
        for _ in 0..MOMENTS_MAX {
            let before = {
                let mut world = self.world.lock();
                world.quiet_at = world.activity;
                world.activity
            };
            tokio::time::sleep(MOMENT).await;
            if self.world.lock().activity == before {
                return Ok(());
            }
        }
        Err("it does not come to rest".to_owned())
    }
}
