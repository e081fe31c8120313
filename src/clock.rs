//! Time as a parameter: the only file that asks the machine what time it is.
//!
//! Schedules, leases and log lines take their moments from a [`Clock`], so that a test plays
//! fifteen minutes in milliseconds with a [`ManualClock`]. Deadlines on sockets are real time and
//! are tokio's business.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::Timestamp;

/// Tells the time and waits for it.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Returns at `moment` or a little later, and at once if it is past.
    async fn sleep_until(&self, moment: Timestamp);
}

/// A clock that several tasks read.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The longest nap before the wall clock is read again: it may have been set meanwhile.
const NAP_MAX: Duration = Duration::from_secs(30);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the time comes from"
        )]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::from_millis(0).after(since_epoch.unwrap_or_default())
    }

    async fn sleep_until(&self, moment: Timestamp) {
        loop {
            let wait = moment.since(self.now());
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(NAP_MAX)).await;
        }
    }
}

/// Measures a duration, unmoved by changes of the wall clock. Goes by tokio's clock, so that a
/// simulation that winds that one moves timers and durations together.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where durations come from"
        )]
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The instant `wait` after the start, as tokio's timers take it.
    pub fn deadline(&self, wait: Duration) -> Instant {
        self.0 + wait
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
        }
    }

    /// Moves on by `step` and wakes who waits for a moment up to there.
    pub fn advance(&self, step: Duration) {
        self.now.send_modify(|now| *now = now.after(step));
    }

    /// Sets the clock, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.now.send_replace(now);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, moment: Timestamp) {
        let mut now = self.now.subscribe();
        now.wait_for(|now| *now >= moment)
            .await
            .expect("self holds the sender while this waits");
    }
}
