//! One round of attempts, and how they ended.

use std::time::Duration;

use super::{Reason, Signal};

/// Tells the attempts of one round from those of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct RoundId(u64);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    id: RoundId,
    begun: u32,
    timed_out: u32,
    failed: u32,
    throttled: bool,
    answered: u32,
    latencies: Duration,
    /// In microseconds.
    squares: u128,
    pub(super) limit_was_reached: bool,
}

impl Round {
    pub(super) fn first() -> Self {
        Self::default().next()
    }

    pub(super) fn next(&self) -> Self {
        Self {
            id: RoundId(self.id.0 + 1),
            ..Self::default()
        }
    }

    /// The round of an attempt that begins. One that is not among the first `size` is in no round.
    pub(super) const fn enter(&mut self, size: u32) -> RoundId {
        if self.begun >= size {
            return RoundId(0);
        }
        self.begun += 1;
        self.id
    }

    pub(super) fn includes(&self, id: RoundId) -> bool {
        self.id == id
    }

    pub(super) fn count(&mut self, signal: Signal, latency: Duration) {
        match signal {
            Signal::Answered => {
                self.answered += 1;
                self.latencies += latency;
                self.squares += latency.as_micros().pow(2);
            }
            Signal::TimedOut => self.timed_out += 1,
            Signal::Failed => self.failed += 1,
            Signal::Throttled(_) => self.throttled = true,
            Signal::Silent => self.begun -= 1,
        }
    }

    /// Why the limit has to fall, whatever the latency.
    pub(super) const fn loss(&self, size: u32) -> Option<Reason> {
        if self.throttled {
            return Some(Reason::Throttled);
        }
        if (self.timed_out + self.failed) * 4 < size {
            return None;
        }
        match self.timed_out >= self.failed {
            true => Some(Reason::Timeouts),
            false => Some(Reason::Failures),
        }
    }

    pub(super) const fn is_complete(&self, size: u32) -> bool {
        self.answered + self.timed_out + self.failed >= size
    }

    /// The mean latency of the answers.
    pub(super) fn mean(&self) -> Duration {
        self.latencies / self.answers().max(1)
    }

    pub(super) const fn answers(&self) -> u32 {
        self.answered
    }

    /// The variance of their latencies, in square microseconds.
    pub(super) fn variance(&self) -> u128 {
        let mean = self.mean().as_micros();
        let mean_square = self.squares / u128::from(self.answers().max(1));
        mean_square.saturating_sub(mean * mean)
    }
}
