//! The limit that is learned of each origin, and the moments at which one reopens by itself.

use std::time::Duration;

use super::endpoint_queue::{Id, OriginId};
use super::endpoints::{Endpoints, OriginState};
use super::fall::{Fall, Fallen};
use super::{Limits, Scheduler};
#[cfg(test)]
use crate::delivery::congestion::LearnedLimit;
use crate::delivery::congestion::{Bounds, Ending, Reason, RoundId};
use crate::store::{LOWERED_MAX, LoweredLimit};

impl<T> Scheduler<T> {
    /// The limit of every origin that is known.
    pub(in crate::delivery) fn learned_limits(&self, limits: Limits) -> Vec<usize> {
        let origins = self.endpoints.origins.iter();
        origins
            .map(|(_, origin)| Self::shown_limit(origin, limits))
            .collect()
    }

    /// The limits that have fallen and have not grown back, the lowest first.
    pub(in crate::delivery) fn lowered_limits(&self, limits: Limits) -> Vec<LoweredLimit> {
        let origins = self.endpoints.origins.iter();
        let lowered = origins.filter_map(|(name, origin)| {
            let fallen = origin.fallen?;
            Some(LoweredLimit {
                origin: name.clone(),
                at_most: Self::shown_limit(origin, limits) as u64,
                fell_at: fallen.at,
                reason: fallen.reason.as_str().to_owned(),
            })
        });
        let mut lowered: Vec<_> = lowered.collect();
        lowered
            .sort_by(|one, other| (one.at_most, &one.origin).cmp(&(other.at_most, &other.origin)));
        lowered.truncate(LOWERED_MAX);
        lowered
    }

    fn shown_limit(origin: &OriginState, limits: Limits) -> usize {
        let limit = origin.learned.limit(limits.at.steady);
        limit.min(limits.in_flight_per_origin)
    }
}

impl<T> Endpoints<T> {
    /// Whether the origin of `id` has asked to get nothing for now.
    pub(super) fn is_braked(&self, id: Id, limits: Limits) -> bool {
        !limits.is_probing && self.origin(self[id].origin).learned.is_braked()
    }

    /// All endpoints of the origin of `id`.
    pub(super) fn siblings(&self, id: Id) -> Vec<Id> {
        self.origin(self[id].origin).endpoints.clone()
    }

    /// An attempt of `id` begins, and is among those in flight. Returns the round that it is in.
    pub(super) fn began(&mut self, id: Id, limits: Limits) -> RoundId {
        let number = self[id].origin;
        let origin = &mut self.origins.values[number.0];
        match limits.is_probing {
            true => RoundId::default(),
            false => origin
                .learned
                .began(origin.load.in_flight, limits.at.steady),
        }
    }

    /// The origin of `id` learns from an attempt. Returns whether the limit fell for more than latency,
    /// and the fall if it is worth a line in the log.
    pub(super) fn learn(&mut self, id: Id, ending: Ending, limits: Limits) -> (bool, Option<Fall>) {
        let number = self[id].origin;
        let origin = &mut self.origins.values[number.0];
        let now = limits.at.steady;
        let bounds = Bounds {
            ceiling: limits.in_flight_per_origin,
            deadline: limits.deadline,
        };
        origin.peak = origin.peak.max(origin.learned.limit(now));
        let reason = origin.learned.ended(ending, bounds, now);
        let limit = origin.learned.limit(now);
        let is_told = reason.filter(|_| limit * 2 <= origin.peak);
        if origin.fallen.is_some_and(|fallen| limit >= fallen.from) {
            origin.fallen = None;
        }
        let fallen = is_told.map(|reason| Fallen {
            from: std::mem::replace(&mut origin.peak, limit),
            at: limits.at.now,
            reason,
        });
        origin.fallen = fallen.or(origin.fallen);
        let fall = fallen.map(|Fallen { from, reason, .. }| Fall {
            origin: self.name(id).origin.clone(),
            from,
            to: limit,
            reason,
        });
        self.note_reopening(number);
        self.note_free_slot(number, limits);
        (reason.is_some_and(|reason| reason != Reason::Latency), fall)
    }

    /// When the next origin will have more room even if no attempt ends.
    pub(super) fn next_reopening(&self) -> Option<Duration> {
        self.reopenings.first().map(|(reopens_at, _)| *reopens_at)
    }

    /// Takes note of the next origin that has reopened; returns one of its endpoints.
    pub(super) fn reopen(&mut self, limits: Limits) -> Option<Id> {
        let (reopens_at, number) = self.reopenings.first().copied()?;
        if reopens_at > limits.at.steady {
            return None;
        }
        let origin = &mut self.origins.values[number.0];
        origin.learned.advance(limits.at.steady);
        self.note_reopening(number);
        self.note_free_slot(number, limits);
        self.origin(number).endpoints.first().copied()
    }

    fn note_reopening(&mut self, number: OriginId) {
        let origin = &mut self.origins.values[number.0];
        let next = origin.learned.reopens_at();
        let before = std::mem::replace(&mut origin.reopens_at, next);
        if before != next {
            if let Some(before) = before {
                self.reopenings.remove(&(before, number));
            }
            self.reopenings.extend(next.map(|next| (next, number)));
        }
    }

    /// From here on the origin of `id` may have as many attempts in flight as the ceiling says.
    #[cfg(test)]
    pub(super) fn lift_limit(&mut self, id: Id) {
        let number = self[id].origin;
        self.origins.values[number.0].learned = LearnedLimit::of(64);
    }
}
