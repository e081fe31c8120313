//! The latency of an origin without a queue of ours.
//!
//! One attempt at a time makes no queue, so every round at limit 1 is part of the floor, and a round
//! that is faster than the floor lowers it. If the limit has fallen because of latency and latency
//! stays what it was, it was not a queue of ours: the floor rises to it.

use std::time::Duration;

use super::round::Round;

/// The newest answers that the floor is the mean of.
const ANSWERS_MAX: u32 = 32;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyFloor {
    mean: Duration,
    /// None yet: nothing is known.
    answers: u32,
    /// Mean latency and limit before a fall.
    before_fall: Option<(Duration, usize)>,
}

/// What a round's mean latency is held against. Chance is allowed for: twice the standard error of
/// the difference between two means, at most half the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// No queue worth mentioning.
    pub(super) near: Duration,
    /// Where a limit that falls is to bring latency.
    pub(super) bearable: Duration,
    /// A queue.
    pub(super) congested: Duration,
}

impl LatencyFloor {
    /// Learns from a round at `limit`.
    pub(super) fn learn(&mut self, round: &Round, limit: usize) -> Level {
        let (mean, answers) = (round.mean(), round.answers());
        let error = self.standard_error(round);
        if self.answers == 0 || self.is_without_relief(mean, limit) {
            self.mean = mean;
            self.answers = answers;
        } else if limit == 1 || mean < self.mean {
            let is_lower = mean + error * 2 < self.mean;
            let known = if is_lower { 0 } else { self.answers };
            self.mean = (self.mean * known + mean * answers) / (known + answers).max(1);
            self.answers = known + answers;
        }
        self.answers = self.answers.min(ANSWERS_MAX);
        let chance = (error * 2).min(self.mean / 2);
        let bearable = self.mean * 5 / 4;
        Level {
            near: bearable + chance,
            bearable,
            congested: self.mean * 8 / 5 + chance,
        }
    }

    /// The limit falls because of this latency at this limit.
    pub(super) const fn expect_relief(&mut self, mean: Duration, limit: usize) {
        self.before_fall = Some((mean, limit));
    }

    /// Whether latency has fallen by less than half of what a queue of ours would account for.
    fn is_without_relief(&mut self, mean: Duration, limit: usize) -> bool {
        let Some((mean_before, limit_before)) = self.before_fall.take() else {
            return false;
        };
        let (mean, mean_before) = (mean.as_micros(), mean_before.as_micros());
        let (limit, limit_before) = (limit as u128, limit_before as u128);
        mean * limit_before * 2 > mean_before * (limit_before + limit)
    }

    /// Of the difference between the round's mean and the floor.
    fn standard_error(&self, round: &Round) -> Duration {
        let of_round = u128::from(round.answers().max(1));
        let of_floor = match self.answers {
            0 => of_round,
            answers => u128::from(answers),
        };
        let square = round.variance() * (of_round + of_floor) / (of_round * of_floor);
        Duration::from_micros(u64::try_from(square.isqrt()).unwrap_or(u64::MAX))
    }
}
