//! The limit that is learned of each origin, and the moments at which one reopens by itself.

use std::time::Duration;

use super::Limits;
use super::endpoint_queue::{Id, OriginId};
use super::endpoints::Endpoints;
use super::fall::Fall;
#[cfg(test)]
use crate::delivery::congestion::LearnedLimit;
use crate::delivery::congestion::{Bounds, Ending, Reason, RoundId};

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
        let fall = is_told.map(|reason| (std::mem::replace(&mut origin.peak, limit), reason));
        let fall = fall.map(|(from, reason)| Fall {
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
