//! Whether the fault is on our side: an outage of our own must not use up the merchants' retries.
//! Pure.
//!
//! If within a minute attempts for five or more apps fail to connect and none is answered by
//! anyone, the fault is taken to be ours: a cable, a router, a resolver, a firewall rule. From then
//! on no failure counts, and those that the minute had counted are un-counted. One answer from
//! anywhere ends the outage. Apps are unrelated to each other; the origins of one app are not, so
//! thousands of dead host names of one app show nothing.
//!
//! While it lasts, a few attempts every few seconds, each to another origin, find out whether it
//! is over. The others stay due in the queue.
//!
//! Merchants can be down together without our doing. But as long as anyone at all answers, that is
//! no outage; and if nobody does, nobody can say whose fault it is, and a merchant that is not told
//! is worse off than one that is told late.
//!
//! The detector gets observations and answers changes; it touches no attempt. Its moments are steady
//! time: a wall clock that is set neither begins nor ends an outage.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::domain::Reach;
use crate::store::{AppId, AttemptKey};

/// How long an observation is of use.
const WINDOW: Duration = Duration::from_secs(60);

/// Apps that must have failed.
const APPS_MIN: usize = 5;

/// More apps than this tell no more.
const APPS_MAX: usize = 1024;

/// Attempts that can be un-counted. A window with more of them keeps the newest.
const COUNTED_MAX: usize = 262_144;

/// During an outage: attempts under way at a time, each to another origin.
pub(super) const PROBES_MAX: usize = 8;

/// During an outage: the pause between two claims.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// When an answer last came from anywhere.
    answered_at: Option<Duration>,
    /// The apps of which no origin could be reached since then, and when they last failed.
    unreached: HashMap<AppId, Duration>,
    /// What was counted since then.
    counted: VecDeque<(Duration, AttemptKey)>,
    /// The outage under way.
    current: Option<Current>,
}

/// An outage under way.
#[derive(Debug)]
struct Current {
    /// When the last failure that speaks for it was observed.
    seen_at: Duration,
    probed_at: Option<Duration>,
}

/// How far an attempt came.
#[derive(Debug)]
pub(super) struct Observation<'a> {
    pub(super) app_id: &'a AppId,
    pub(super) reach: Reach,
    /// The attempt, if it is to count.
    pub(super) counted: Option<AttemptKey>,
}

/// What an observation changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// An outage has begun.
    Began {
        /// Attempts counted before that are to be un-counted.
        uncount: Vec<AttemptKey>,
    },
    /// The outage has ended.
    Ended,
}

impl Outage {
    /// Whether there is an outage.
    pub(super) const fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// Whether an attempt that ends now and came this far is not to count.
    pub(super) const fn excuses(&self, reach: Reach) -> bool {
        self.is_on() && matches!(reach, Reach::Unreached | Reach::Silent)
    }

    /// The number of apps of which no origin could be reached.
    pub(super) fn unreached(&self) -> usize {
        self.unreached.len()
    }

    /// Learns from an attempt that ended `now`.
    pub(super) fn observe(&mut self, observation: &Observation<'_>, now: Duration) -> Change {
        match observation.reach {
            Reach::NotTried => Change::Nothing,
            Reach::Reached => self.answered(now),
            Reach::Unreached | Reach::Silent => self.failed(observation, now),
        }
    }

    fn answered(&mut self, now: Duration) -> Change {
        self.answered_at = Some(now);
        self.unreached.clear();
        self.counted.clear();
        self.end_if(|_| true)
    }

    fn failed(&mut self, observation: &Observation<'_>, now: Duration) -> Change {
        if observation.reach == Reach::Unreached {
            self.note_unreached(observation.app_id, now);
        }
        if let Some(current) = &mut self.current {
            current.seen_at = now;
            return Change::Nothing;
        }
        self.forget_what_is_old(now);
        let is_outage = self.unreached.len() >= APPS_MIN
            && !self
                .answered_at
                .is_some_and(|at| is_within(WINDOW, at, now));
        if is_outage {
            self.current = Some(Current {
                seen_at: now,
                probed_at: None,
            });
            let uncount = self.counted.drain(..).map(|(_, attempt)| attempt).collect();
            return Change::Began { uncount };
        }
        if let Some(attempt) = observation.counted {
            self.counted.push_back((now, attempt));
        }
        Change::Nothing
    }

    fn note_unreached(&mut self, app_id: &AppId, now: Duration) {
        if let Some(at) = self.unreached.get_mut(app_id) {
            *at = now;
        } else if self.unreached.len() < APPS_MAX {
            self.unreached.insert(app_id.clone(), now);
        }
    }

    fn forget_what_is_old(&mut self, now: Duration) {
        while self.counted.len() >= COUNTED_MAX
            || (self.counted.front()).is_some_and(|(at, _)| !is_within(WINDOW, *at, now))
        {
            self.counted.pop_front();
        }
        if self.unreached.len() >= APPS_MIN {
            self.unreached.retain(|_, at| is_within(WINDOW, *at, now));
        }
    }

    fn end_if(&mut self, ends: impl FnOnce(&mut Current) -> bool) -> Change {
        match self.current.take_if(ends) {
            Some(_) => Change::Ended,
            None => Change::Nothing,
        }
    }

    /// Ends an outage for which nothing has spoken for long: what was due was cancelled or paused.
    pub(super) fn review(&mut self, now: Duration) -> Change {
        let change = self.end_if(|current| !is_within(WINDOW, current.seen_at, now));
        if change == Change::Ended {
            self.unreached.clear();
        }
        change
    }

    /// Forgets everything: the protection was switched off.
    pub(super) fn disregard(&mut self) {
        *self = Self::default();
    }

    /// Whether claims may be made now.
    pub(super) fn may_claim(&self, now: Duration) -> bool {
        let probed_at = self.current.as_ref().and_then(|current| current.probed_at);
        !probed_at.is_some_and(|at| is_within(PROBE_EVERY, at, now))
    }

    /// A claim is being made.
    pub(super) const fn claims(&mut self, now: Duration) {
        if let Some(current) = &mut self.current {
            current.probed_at = Some(now);
        }
    }
}

/// Whether `at` is less than `span` before `now`.
fn is_within(span: Duration, at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < span
}

#[cfg(test)]
mod tests;
