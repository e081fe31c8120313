//! The dispatcher's pulse.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::Timestamp;

/// A loop that has not beaten for this long is taken for stuck; a healthy one beats once a second.
pub const BEAT_AGE_MAX: Duration = Duration::from_secs(10);

/// Stands for a loop that has not begun.
const NEVER: i64 = i64::MIN;

/// When the dispatcher's loop last said that it is alive.
#[derive(Debug)]
pub struct Beat {
    last_millis: AtomicI64,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            last_millis: AtomicI64::new(NEVER),
        }
    }
}

impl Beat {
    /// When it last beat; `None`: it has not begun.
    pub fn last(&self) -> Option<Timestamp> {
        let millis = self.last_millis.load(Ordering::Relaxed);
        (millis != NEVER).then(|| Timestamp::from_millis(millis))
    }

    /// Why the loop is not to be called alive at `now`; `None`: it is alive.
    ///
    /// A beat from too far in the future counts as old: the clock was set back since, and a loop
    /// that lives beats by the new time within a second.
    pub fn fault(&self, now: Timestamp) -> Option<String> {
        let Some(last) = self.last() else {
            return Some("the loop has not begun".to_owned());
        };
        let age = now.since(last).max(last.since(now));
        (age > BEAT_AGE_MAX).then(|| format!("the loop last beat at {last}, now it is {now}"))
    }
}

impl Observer for Beat {
    fn attempt_finished(&self, _finished: &FinishedAttempt<'_>) {}

    fn in_flight(&self, _attempts: usize) {}

    fn own_outage(&self, _is_on: bool) {}

    fn beat(&self, now: Timestamp) {
        self.last_millis.store(now.as_millis(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_for_ten_seconds_after_each_beat() {
        let beat = Beat::default();
        let moment = |millis: i64| Timestamp::from_millis(100_000 + millis);
        assert_eq!(
            beat.fault(moment(0)).as_deref(),
            Some("the loop has not begun")
        );
        beat.beat(moment(0));
        assert_eq!(beat.fault(moment(10_000)), None);
        assert!(beat.fault(moment(10_001)).is_some());
        assert_eq!(beat.fault(moment(-10_000)), None);
        assert!(
            beat.fault(moment(-10_001)).is_some(),
            "the clock was set back"
        );
        beat.beat(moment(10_500));
        assert_eq!(beat.fault(moment(10_501)), None);
    }
}
