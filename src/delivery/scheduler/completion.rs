//! What follows the end of an attempt: its slot is free, its origin is slow or fast, and the limit of
//! its origin is learned.

use std::time::Duration;

use super::endpoint_queue::Id;
use super::fall::Fall;
use super::latency_class::LatencyClass;
use super::slots::{Occupant, Slot};
use super::{Limits, SLOW_AFTER, Scheduler};
use crate::delivery::congestion::{Ending, Signal};
use crate::store::Endpoint;

impl<T> Scheduler<T> {
    /// Whether claims are to be given back.
    pub(in crate::delivery) const fn has_surplus(&self) -> bool {
        !self.surplus.is_empty()
    }

    /// The claims to be given back. Their endpoints become due when they are.
    pub(in crate::delivery) fn take_surplus(&mut self) -> Vec<(Endpoint, T)> {
        std::mem::take(&mut self.surplus)
    }

    /// What was assigned to `slot` is not sent.
    pub(in crate::delivery) fn not_sent(&mut self, slot: Slot, limits: Limits) {
        self.completed(slot, Duration::ZERO, Signal::Silent, limits);
    }

    /// The attempt in `slot` has ended. Returns whether its origin's limit has fallen, if that is
    /// worth a line in the log.
    pub(in crate::delivery) fn completed(
        &mut self,
        slot: Slot,
        latency: Duration,
        signal: Signal,
        limits: Limits,
    ) -> Option<Fall> {
        let Occupant { id, since, round } = self.slots.free(slot)?;
        self.completed += 1;
        self.change(id, limits, |load| load.in_flight -= 1);
        let queue = &mut self.endpoints[id];
        queue.completed += 1;
        queue.last_completion = limits.at.steady;
        queue.has_answered |= matches!(signal, Signal::Answered | Signal::Throttled(_));
        let class = match limits.at.steady.saturating_sub(since) > SLOW_AFTER {
            true => LatencyClass::Slow,
            false => LatencyClass::Fast,
        };
        self.reclassify(id, class, limits);
        let ending = Ending {
            round,
            latency,
            signal,
        };
        let fall = self.learn(id, ending, limits);
        self.offer_waiting(id);
        self.offer(id);
        self.unblock(id, limits);
        self.requeue(id, limits);
        fall
    }

    /// The origin of `id` learns from an attempt.
    fn learn(&mut self, id: Id, mut ending: Ending, limits: Limits) -> Option<Fall> {
        // An outage of our own says nothing of the origin. But a round ends only when each of its attempts has.
        if limits.is_probing {
            ending.signal = Signal::Silent;
        }
        let (fell, fall) = self.endpoints.learn(id, ending, limits);
        if fell {
            for sibling in self.endpoints.siblings(id) {
                let taken = std::mem::take(&mut self.endpoints[sibling].prefetched);
                self.change(sibling, limits, |load| load.prefetched -= taken.len());
                let endpoint = self.endpoints.name(sibling).clone();
                self.surplus
                    .extend(taken.into_iter().map(|taken| (endpoint.clone(), taken)));
            }
        }
        fall
    }

    /// Finds the origins with an attempt that has been in flight for long.
    pub(in crate::delivery) fn review(&mut self, limits: Limits) {
        for id in self.slots.older_than(SLOW_AFTER, limits.at.steady) {
            self.reclassify(id, LatencyClass::Slow, limits);
        }
    }

    /// Every endpoint of an origin is as fast as its newest attempt.
    fn reclassify(&mut self, id: Id, class: LatencyClass, limits: Limits) {
        if self.endpoints.class(id) == class {
            return;
        }
        for sibling in self.endpoints.reclassify(id, class, &mut self.load, limits) {
            self.requeue(sibling, limits);
        }
    }
}
