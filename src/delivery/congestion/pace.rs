//! How far apart attempts begin at an origin that limits their rate.
//!
//! A limit on attempts in flight says nothing to a server that answers at once and allows a few requests a
//! second. So each round that is answered with 429 doubles the gap between attempts. Rounds without make it
//! shorter, by an eighth until it is near the gap that was refused last, and by little from there on.

use std::time::Duration;

/// The first gap.
const GAP_FIRST: Duration = Duration::from_millis(50);

/// The longest. An origin that takes even less has to say so by `Retry-After`.
const GAP_MAX: Duration = Duration::from_secs(10);

/// A shorter one is none.
const GAP_MIN: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    gap: Duration,
    /// The gap that was too short last.
    refused: Duration,
}

impl Pace {
    /// A round was answered with 429.
    pub(super) fn slow_down(&mut self) {
        self.refused = self.gap;
        self.gap = match self.gap.is_zero() {
            true => GAP_FIRST,
            false => (self.gap * 2).min(GAP_MAX),
        };
    }

    /// A round was answered without.
    pub(super) fn speed_up(&mut self) {
        let shorter = match self.gap * 7 / 8 {
            much if much > self.refused * 9 / 8 => much,
            _ => self.gap * 63 / 64,
        };
        self.gap = if shorter < GAP_MIN {
            Duration::ZERO
        } else {
            shorter
        };
    }

    /// When the next attempt may begin, if one begins now.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        (!self.gap.is_zero()).then(|| now + self.gap)
    }
}
