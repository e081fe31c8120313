//! How many attempts an origin gets at a time: learned from its answers, not configured. Pure.
//!
//! Attempts are judged in rounds: as many as the limit, at least [`ROUND_MIN`], one after the other,
//! until all of them have ended. (Those that have ended first are the fast ones; a mean of them
//! alone would mislead.) If the limit was reached in the round and mean latency stayed near the
//! floor, the limit grows: it doubles, or grows by one in the minute after a fall. If latency was
//! far above the floor in two rounds, the limit falls to what the origin bears by its floor. If a
//! quarter of a round timed out or found no answer, or the origin asks for less, it halves.
//!
//! The floor is the mean latency of an origin without a queue of ours, see [`floor`].
//!
//! An attempt that timed out may still occupy a worker of the merchant, and nothing tells us when
//! that ends. It occupies a slot for as long again: its echo.
//!
//! A few attempts that hang while the others are answered in time are not congestion: a queue delays
//! every answer. The limit may grow around them, so that an app of which a few hang does not hold up the other
//! apps of its origin. (One that hangs with a backlog of its own does: what is learned is the origin's.)
//!
//! An origin that answers 429 limits the rate, whatever is in flight: attempts begin further apart, see [`pace`].
//!
//! A limit that is not reached is forgotten, by half each minute: what comes after a pause, an
//! outage or a resend begins low.
//!
//! Invariants: a limit is at least 1, and does not grow beyond the ceiling. All arithmetic is in
//! integers, so that a replay decides the same on every machine. Moments are steady time.
//!
//! Deliberately absent: when a callback is due. A failed one keeps its schedule.

mod floor;
mod pace;
mod round;
mod signal;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use floor::LatencyFloor;
use pace::Pace;
use round::Round;
pub(super) use round::RoundId;
pub(super) use signal::Signal;

/// The limit of an origin of which nothing is known.
const INITIAL: usize = 2;

/// Attempts in a round at least: the mean of fewer says little.
const ROUND_MIN: u32 = 8;

/// Mean latency below this part of the deadline is never congestion: in a queue so short no attempt
/// times out, and the noise of our own machine stays below it.
const SLACK_DIVISOR: u32 = 50;

/// After a fall, the limit grows by one, and not to where it fell, for this long.
const HOLD: Duration = Duration::from_secs(60);

/// A limit that was not reached for this long is halved.
const FORGET_HALF_AFTER: Duration = Duration::from_secs(60);

/// The pause for an origin that asks for less and does not say for how long.
const BRAKE_DEFAULT: Duration = Duration::from_secs(1);

/// The longest pause that an origin is granted.
const BRAKE_MAX: Duration = Duration::from_secs(300);

/// The settings that bound what is learned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The limit does not grow beyond it.
    pub(super) ceiling: usize,
    /// `delivery.timeout`
    pub(super) deadline: Duration,
}

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// What [`LearnedLimit::began`] returned for it.
    pub(super) round: RoundId,
    pub(super) latency: Duration,
    pub(super) signal: Signal,
}

/// Why a limit fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Latency,
    Timeouts,
    Failures,
    Throttled,
}

impl Reason {
    /// For the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "answers take longer than with fewer at a time",
            Self::Timeouts => "attempts time out",
            Self::Failures => "connections fail or a gateway gets no answer",
            Self::Throttled => "the merchant asks for less (429, or 503 with Retry-After)",
        }
    }
}

/// What is known of one origin.
#[derive(Debug)]
pub(super) struct LearnedLimit {
    limit: usize,
    /// When the limit was last reached, or halved because it was not.
    reached_at: Duration,
    floor: LatencyFloor,
    round: Round,
    /// Whether the last round was congested.
    was_congested: bool,
    /// After a fall: the most that the limit may be, and until when.
    held: Option<(usize, Duration)>,
    /// When each attempt that timed out is taken to be over.
    echoes: VecDeque<Duration>,
    braked_until: Option<Duration>,
    pace: Pace,
    /// With a pace: until then no attempt begins.
    paced_until: Option<Duration>,
}

impl Default for LearnedLimit {
    fn default() -> Self {
        Self {
            limit: INITIAL,
            reached_at: Duration::ZERO,
            floor: LatencyFloor::default(),
            round: Round::first(),
            was_congested: false,
            held: None,
            echoes: VecDeque::new(),
            braked_until: None,
            pace: Pace::default(),
            paced_until: None,
        }
    }
}

impl LearnedLimit {
    /// One that was learned before.
    #[cfg(test)]
    pub(super) fn of(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The limit, whatever occupies it.
    pub(super) fn limit(&self, now: Duration) -> usize {
        let unreached = now.saturating_sub(self.reached_at);
        let halvings = u32::try_from(unreached.as_secs() / FORGET_HALF_AFTER.as_secs());
        let halved = self.limit.checked_shr(halvings.unwrap_or(u32::MAX));
        halved.unwrap_or(0).max(self.limit.min(INITIAL))
    }

    /// How many attempts may be in flight, as of the last [`LearnedLimit::advance`].
    pub(super) fn slots(&self, ceiling: usize, now: Duration) -> usize {
        match self.is_braked() || self.paced_until.is_some() {
            true => 0,
            false => self
                .limit(now)
                .min(ceiling)
                .saturating_sub(self.echoes.len()),
        }
    }

    /// Whether the origin has asked to get nothing for now.
    pub(super) const fn is_braked(&self) -> bool {
        self.braked_until.is_some()
    }

    /// When there will be more slots even if no attempt ends.
    pub(super) fn reopens_at(&self) -> Option<Duration> {
        let closed_until = self.braked_until.max(self.paced_until);
        closed_until.or(self.echoes.front().copied())
    }

    /// Forgets the echoes, the brake and the gap that are over.
    pub(super) fn advance(&mut self, now: Duration) {
        self.paced_until = self.paced_until.filter(|until| now < *until);
        self.braked_until = self.braked_until.filter(|until| now < *until);
        while self.echoes.front().is_some_and(|until| *until <= now) {
            self.echoes.pop_front();
        }
    }

    /// An attempt begins; `in_flight` includes it.
    pub(super) fn began(&mut self, in_flight: usize, now: Duration) -> RoundId {
        let limit = self.limit(now);
        if limit < self.limit {
            self.limit = limit;
            self.reached_at = now;
            self.round = self.round.next();
        }
        if in_flight + self.echoes.len() >= limit {
            self.reached_at = now;
            self.round.limit_was_reached = true;
        }
        self.paced_until = self.pace.next(now);
        self.round.enter(self.round_size())
    }

    /// Learns from an attempt. Returns why the limit has fallen, or would have if it could.
    pub(super) fn ended(
        &mut self,
        ending: Ending,
        bounds: Bounds,
        now: Duration,
    ) -> Option<Reason> {
        match ending.signal {
            Signal::TimedOut => self.echoes.push_back(now + bounds.deadline),
            Signal::Throttled(wait) => {
                let until = now + wait.unwrap_or(BRAKE_DEFAULT).min(BRAKE_MAX);
                self.braked_until = self.braked_until.max(Some(until));
            }
            Signal::Answered | Signal::Failed | Signal::Silent => {}
        }
        if !self.round.includes(ending.round) {
            return None;
        }
        self.round.count(ending.signal, ending.latency);
        let size = self.round_size();
        if let Some(reason) = self.round.loss(size) {
            if reason == Reason::Throttled {
                self.pace.slow_down();
            }
            self.fall(self.limit / 2, now);
            return Some(reason);
        }
        match self.round.is_complete(size) {
            true => self.judge_latency(bounds, now),
            false => None,
        }
    }

    fn judge_latency(&mut self, bounds: Bounds, now: Duration) -> Option<Reason> {
        let Bounds { ceiling, deadline } = bounds;
        self.pace.speed_up();
        let next = self.round.next();
        let round = std::mem::replace(&mut self.round, next);
        let slack = deadline / SLACK_DIVISOR;
        let mean = round.mean();
        let level = self.floor.learn(&round, self.limit);
        let is_congested = self.limit > 1 && mean > level.congested.max(slack);
        let was_congested = std::mem::replace(&mut self.was_congested, is_congested);
        if is_congested && (was_congested || mean > deadline / 2) {
            let bearable = scaled(self.limit, level.bearable.max(slack), mean);
            self.floor.expect_relief(mean, self.limit);
            self.fall(bearable.max(self.limit / 2), now);
            return Some(Reason::Latency);
        }
        if round.limit_was_reached && mean <= level.near.max(slack) {
            let wanted = match self.held.filter(|(_, until)| now < *until) {
                Some((most, _)) => (self.limit + 1).min(most),
                None => self.limit * 2,
            };
            // Without capacity to spare, latency grows as the limit does. Even so it has to stay
            // below the deadline.
            let safe = scaled(self.limit, deadline * 7 / 10, mean);
            self.limit = wanted.min(safe).min(ceiling).max(self.limit);
        }
        None
    }

    fn fall(&mut self, to: usize, now: Duration) {
        let most = self.limit.saturating_sub(1).max(1);
        self.held = Some((most, now + HOLD));
        self.limit = to.max(1);
        self.was_congested = false;
        self.round = self.round.next();
    }

    fn round_size(&self) -> u32 {
        u32::try_from(self.limit).unwrap_or(u32::MAX).max(ROUND_MIN)
    }
}

/// `limit · numerator / denominator`
fn scaled(limit: usize, numerator: Duration, denominator: Duration) -> usize {
    let scaled = limit as u128 * numerator.as_micros() / denominator.as_micros().max(1);
    usize::try_from(scaled).unwrap_or(usize::MAX)
}
