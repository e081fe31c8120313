//! Time as a parameter: the only file that asks the machine what time it is.
//!
//! Schedules, leases and log lines take their moments from a [`Clock`], so that a test plays
//! fifteen minutes in milliseconds with a [`ManualClock`]. Deadlines on sockets are real time and
//! are tokio's business.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
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

    /// The time since some fixed moment: setting the wall clock does not change it. For windows and
    /// pauses that are measured in the same process.
    fn steady(&self) -> Duration;

    /// Returns at `moment` or a little later, and at once if it is past.
    async fn sleep_until(&self, moment: Timestamp);
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: by it callbacks are due.
    pub now: Timestamp,
    /// The time since some fixed moment: by it durations are measured.
    pub steady: Duration,
}

impl dyn Clock {
    /// Both times.
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            steady: self.steady(),
        }
    }
}

/// A clock that several tasks read.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The longest nap before the wall clock is read again: it may have been set meanwhile.
const NAP_MAX: Duration = Duration::from_secs(30);

/// The moment from which [`SystemClock`] measures steady time.
static STEADY_START: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::start);

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

    fn steady(&self) -> Duration {
        STEADY_START.elapsed()
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

/// Measures a duration as [`Stopwatch`] does, and goes on while the machine is suspended: what others
/// do meanwhile takes no notice of our sleep.
#[derive(Clone, Copy, Debug)]
pub struct BootStopwatch {
    steady: Stopwatch,
    /// CLOCK_BOOTTIME.
    boot: Duration,
}

impl BootStopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self {
            steady: Stopwatch::start(),
            boot: since_boot(),
        }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.steady
            .elapsed()
            .max(since_boot().saturating_sub(self.boot))
    }
}

fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

/// Returns at `deadline`; never, if there is none.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Clone, Debug)]
pub struct ManualClock {
    reading: watch::Sender<Reading>,
}

/// What a [`ManualClock`] shows.
#[derive(Clone, Copy, Debug)]
struct Reading {
    now: Timestamp,
    steady: Duration,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        let steady = Duration::ZERO;
        Self {
            reading: watch::Sender::new(Reading { now, steady }),
        }
    }

    /// Lets time pass, and wakes the tasks that wait for a moment up to there.
    pub fn advance(&self, step: Duration) {
        self.reading.send_modify(|reading| {
            reading.now = reading.now.after(step);
            reading.steady += step;
        });
    }

    /// Sets the wall clock, forwards or back; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.reading.send_modify(|reading| reading.now = now);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.reading.borrow().now
    }

    fn steady(&self) -> Duration {
        self.reading.borrow().steady
    }

    async fn sleep_until(&self, moment: Timestamp) {
        let mut reading = self.reading.subscribe();
        reading
            .wait_for(|reading| reading.now >= moment)
            .await
            .expect("self holds the sender while this waits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_manual_clock_passes_no_steady_time() {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        clock.advance(Duration::from_secs(2));
        clock.set(Timestamp::from_millis(90_000));
        assert_eq!(clock.now(), Timestamp::from_millis(90_000));
        assert_eq!(clock.steady(), Duration::from_secs(2));
    }
}
