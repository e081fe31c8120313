//! Which callbacks are claimed and sent next: fair by app, then by origin. A pure data structure.
//!
//! An endpoint (an app's use of an origin) is what is queued. The scheduler knows when each
//! endpoint's next callback is due, how many of its attempts are in flight, and what has been
//! claimed for it and waits for a slot (prefetched). Claims and slots go round the apps, and within
//! an app round its endpoints. So an app that spreads over a thousand host names has one app's
//! share, and a claim touches only endpoints that have something to claim, whatever the depth of
//! the queue.
//!
//! What is held for an endpoint (in flight, prefetched, or part of a claim under way) is limited
//! three times:
//!
//! - by origin, over all apps that use it: the limit that [`congestion`](super::congestion) learns,
//!   at most [`Limits::in_flight_per_origin`];
//! - by app, over all its origins: [`Limits::in_flight_per_app`];
//! - by latency class, see [`shares`]: endpoints that answer slowly, or have not answered yet, leave
//!   slots free for the others, and one app leaves slots free for the next.
//!
//! An endpoint that answers fast is claimed ahead for, as far as it will use up by the next claim,
//! judging by the last one. So slots need not wait for a commit; an endpoint that hangs has nothing
//! prefetched.
//!
//! The scheduler holds hints. The truth is in the store: a hint that is too early costs one empty
//! claim, and one that was missed is made good by the next survey.
//!
//! Invariants: an endpoint that is due is `Ready` if its origin has room for it and `Blocked`
//! otherwise; what is blocked is looked at again when its origin's load falls or at the moment at
//! which it reopens, never in a loop. Nothing stays claimed for an origin whose limit has fallen.
//! Entries in the round-robin queues may be stale; the endpoint's own state is authoritative.
//!
//! Deliberately absent: a clock, the store, and any record of an attempt.

mod completion;
mod endpoint_queue;
mod endpoints;
mod fall;
mod latency_class;
mod learning;
mod numbered;
mod planning;
mod round_robin;
mod shares;
mod slots;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Moment;
use crate::domain::Timestamp;
use crate::store::{Endpoint, EndpointDue};

use endpoint_queue::{EndpointQueue, Id, QueueState};
use endpoints::Endpoints;
use latency_class::LatencyClass;
use round_robin::RoundRobin;
use shares::Load;
pub(super) use slots::Slot;
use slots::{Occupant, Slots};

/// Callbacks claimed ahead of their slots: bounds memory, and what a crash leaves as perhaps sent.
const PREFETCHED_MAX: usize = 2048;

/// How many times what was used up between the last two claims is claimed ahead for the next: a
/// commit may take longer than the one before, and growth does not wait for it.
const PREFETCH_FACTOR: usize = 4;

/// An attempt that takes longer makes its origin slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Endpoints known at a time: bounds memory to some hundred megabytes.
const KNOWN_MAX: usize = 262_144;

/// Making room for another endpoint looks at all of them, so it is not done more often.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);

/// How long the latency class of an endpoint is remembered that has nothing to send.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// What decisions depend on, besides the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The moment of the decision.
    pub(super) at: Moment,
    /// `delivery.max_in_flight`
    pub(super) in_flight: usize,
    /// `delivery.max_in_flight_per_merchant`: the ceiling of what is learned
    pub(super) in_flight_per_origin: usize,
    /// `delivery.max_in_flight_per_app`
    pub(super) in_flight_per_app: usize,
    /// `delivery.timeout`
    pub(super) deadline: Duration,
    /// Whether an outage of our own is probed: nothing is claimed ahead, and latency says nothing.
    pub(super) is_probing: bool,
}

impl Limits {
    /// How much may be claimed ahead when `completed` attempts have ended since the last plan.
    fn ahead(self, completed: usize) -> usize {
        match self.is_probing {
            false => (PREFETCH_FACTOR * completed).min(PREFETCHED_MAX),
            true => 0,
        }
    }
}

/// Something to send, and the slot for it.
#[derive(Debug)]
pub(super) struct Assignment<T> {
    pub(super) slot: Slot,
    pub(super) endpoint: Endpoint,
    pub(super) claimed: T,
}

/// The state of all endpoints; `T` is what is claimed.
#[derive(Debug)]
pub(super) struct Scheduler<T> {
    endpoints: Endpoints<T>,
    /// Endpoints that are due and have room, by latency class.
    ready: [RoundRobin; LatencyClass::ALL.len()],
    waiting: BTreeSet<(Timestamp, Id)>,
    /// Endpoints that have something prefetched.
    prefetched: RoundRobin,
    slots: Slots,
    /// Of all endpoints.
    load: Load,
    /// Claimed for origins whose limit fell then: to be given back.
    surplus: Vec<(Endpoint, T)>,
    /// Attempts that have ended since the last plan.
    completed: usize,
    /// When idle endpoints were last forgotten to make room for others.
    made_room_at: Option<Duration>,
}

impl<T> Default for Scheduler<T> {
    fn default() -> Self {
        Self {
            endpoints: Endpoints::default(),
            ready: Default::default(),
            waiting: BTreeSet::new(),
            prefetched: RoundRobin::default(),
            slots: Slots::default(),
            load: Load::default(),
            surplus: Vec::new(),
            completed: 0,
            made_room_at: None,
        }
    }
}

impl<T> Scheduler<T> {
    /// Attempts in flight, of all endpoints.
    pub(super) const fn in_flight(&self) -> usize {
        self.load.in_flight
    }

    /// Callbacks that are claimed and wait for a slot.
    pub(super) const fn prefetched(&self) -> usize {
        self.load.prefetched
    }

    /// A callback of an endpoint is due. Returns false if so many endpoints have something to send
    /// that this one can't be remembered: the next survey has to tell of it again.
    pub(super) fn became_due(
        &mut self,
        EndpointDue { endpoint, due }: EndpointDue,
        limits: Limits,
    ) -> bool {
        if self.endpoints.len() >= KNOWN_MAX && !self.endpoints.knows(&endpoint) {
            let since = self
                .made_room_at
                .map(|made| limits.at.steady.saturating_sub(made));
            if since.is_none_or(|since| since >= MAKE_ROOM_EVERY) {
                self.made_room_at = Some(limits.at.steady);
                self.forget_idle(Duration::ZERO, limits.at);
            }
            if self.endpoints.len() >= KNOWN_MAX {
                return false;
            }
        }
        let id = self.endpoints.id_of(&endpoint);
        let queue = &mut self.endpoints[id];
        queue.due = Some(queue.due.map_or(due, |known| known.min(due)));
        self.requeue(id, limits);
        true
    }

    /// A claim brought `claimed` for `endpoint`; its next callback is due at `then_due`.
    pub(super) fn claimed(
        &mut self,
        endpoint: &Endpoint,
        claimed: Vec<T>,
        then_due: Option<Timestamp>,
        limits: Limits,
    ) {
        let id = self.endpoints.id_of(endpoint);
        if let QueueState::Claiming(reserved) = self.endpoints[id].state {
            self.change(id, limits, |load| load.reserved -= reserved);
            self.endpoints.set_state(id, QueueState::Idle, limits);
        }
        let queue = &mut self.endpoints[id];
        queue.due = [queue.due, then_due].into_iter().flatten().min();
        if self.endpoints.is_braked(id, limits) {
            let claimed = claimed
                .into_iter()
                .map(|claimed| (endpoint.clone(), claimed));
            self.surplus.extend(claimed);
        } else {
            self.change(id, limits, |load| load.prefetched += claimed.len());
            self.endpoints[id].prefetched.extend(claimed);
        }
        self.offer(id);
        self.requeue(id, limits);
        self.unblock(id, limits);
    }

    /// The claim for `endpoint` failed: it is as due as it was.
    pub(super) fn claim_failed(&mut self, endpoint: &Endpoint, limits: Limits) {
        self.claimed(endpoint, Vec::new(), Some(limits.at.now), limits);
    }

    /// The next callback to send, if there is one and a slot for it.
    pub(super) fn assign(&mut self, limits: Limits) -> Option<Assignment<T>> {
        while self.load.in_flight < limits.in_flight {
            let id = self.prefetched.next()?;
            self.endpoints[id].is_offered = false;
            if !self.endpoints.has_slot(id, limits) {
                self.endpoints.wait_for_origin(id);
                // The slot of its app is for another origin.
                let app = self.endpoints[id].app;
                if self.endpoints.app(app).load.in_flight < limits.in_flight_per_app
                    && let Some(other) = self.endpoints.next_of_app(id)
                {
                    self.offer(other);
                }
                continue;
            }
            let app = self.endpoints[id].app;
            if self.endpoints.app(app).load.in_flight >= limits.in_flight_per_app {
                self.endpoints.wait_for_app(id);
                // The slot of its origin is for another app.
                if let Some(other) = self.endpoints.next_of_origin(id) {
                    self.offer(other);
                }
                continue;
            }
            let Some(claimed) = self.endpoints[id].prefetched.pop_front() else {
                continue;
            };
            self.change(id, limits, |load| {
                load.prefetched -= 1;
                load.in_flight += 1;
            });
            self.offer(id);
            let slot = self.slots.occupy(Occupant {
                id,
                since: limits.at.steady,
                round: self.endpoints.began(id, limits),
            });
            let endpoint = self.endpoints.name(id).clone();
            return Some(Assignment {
                slot,
                endpoint,
                claimed,
            });
        }
        None
    }

    /// Takes away everything that waits for a slot.
    pub(super) fn give_up_prefetched(&mut self, limits: Limits) -> Vec<T> {
        let mut given_up = Vec::with_capacity(self.load.prefetched);
        for id in self.endpoints.ids() {
            let taken = std::mem::take(&mut self.endpoints[id].prefetched);
            self.change(id, limits, |load| load.prefetched -= taken.len());
            given_up.extend(taken);
        }
        given_up
    }

    /// The limits may have changed, or the wall clock was set: every endpoint is queued again.
    pub(super) fn requeue_all(&mut self, limits: Limits) {
        for id in self.endpoints.ids() {
            self.offer_waiting(id);
            self.offer(id);
            self.requeue(id, limits);
        }
    }

    /// Forgets the endpoints that have had nothing to send for [`REMEMBERED`].
    pub(super) fn forget(&mut self, at: Moment) {
        self.forget_idle(REMEMBERED, at);
    }

    fn forget_idle(&mut self, for_at_least: Duration, at: Moment) {
        for id in self.endpoints.ids() {
            let queue = &self.endpoints[id];
            let idle = at.steady.saturating_sub(queue.last_completion);
            if queue.is_idle() && idle >= for_at_least {
                let app = queue.app;
                self.prefetched.remove(app, id);
                for ready in &mut self.ready {
                    ready.remove(app, id);
                }
                self.endpoints.remove(id);
            }
        }
    }

    /// When the next endpoint that is not due yet will be, or an origin that has no room reopens.
    pub(super) fn next_due(&self, at: Moment) -> Option<Timestamp> {
        let due = self.waiting.first().map(|(due, _)| *due);
        let reopens = self.endpoints.next_reopening().map(|reopens_at| {
            // Rounded up: the wall clock has milliseconds, and a moment too early would be in vain.
            let wait = reopens_at.saturating_sub(at.steady) + Duration::from_millis(1);
            at.now.after(wait)
        });
        due.into_iter().chain(reopens).min()
    }

    fn note_what_is_due(&mut self, limits: Limits) {
        while let Some(id) = self.endpoints.reopen(limits) {
            self.offer_waiting(id);
            self.unblock(id, limits);
        }
        while let Some((due, id)) = self.waiting.first().copied()
            && due <= limits.at.now
        {
            self.requeue(id, limits);
        }
    }

    /// Queues `id` for a slot if it has something prefetched. Whether its origin and its app have
    /// room shows when its turn comes.
    fn offer(&mut self, id: Id) {
        let queue = &mut self.endpoints[id];
        if !queue.is_offered && !queue.prefetched.is_empty() {
            queue.is_offered = true;
            self.prefetched.push(queue.app, id);
        }
    }

    /// The origin of `id` and its app have a slot again: what has waited longest for one is queued.
    fn offer_waiting(&mut self, id: Id) {
        for waiter in [
            self.endpoints.next_of_origin(id),
            self.endpoints.next_of_app(id),
        ]
        .into_iter()
        .flatten()
        {
            self.offer(waiter);
        }
    }

    /// The origin of `id` has room again: the endpoint that has waited longest for it is queued.
    fn unblock(&mut self, id: Id, limits: Limits) {
        if let Some(blocked) = self.endpoints.next_blocked(id) {
            self.requeue(blocked, limits);
        }
    }

    /// Applies `change` to the load of an endpoint, its origin, its app and the whole.
    fn change(&mut self, id: Id, limits: Limits, change: impl Fn(&mut Load)) {
        self.endpoints.change(id, &mut self.load, limits, change);
    }

    /// Queues `id` where its state says.
    fn requeue(&mut self, id: Id, limits: Limits) {
        let EndpointQueue {
            state: before,
            due,
            app,
            ..
        } = self.endpoints[id];
        let state = match (before, due) {
            (QueueState::Claiming(_), _) => return,
            (_, Some(due)) if due > limits.at.now => QueueState::Waiting(due),
            (_, Some(_)) if self.endpoints.room(id, &self.load, limits) > 0 => QueueState::Ready,
            (_, Some(_)) => QueueState::Blocked,
            (_, None) => QueueState::Idle,
        };
        if let QueueState::Waiting(due) = before {
            self.waiting.remove(&(due, id));
        }
        if let QueueState::Waiting(due) = state {
            self.waiting.insert((due, id));
        }
        let class = self.endpoints.class(id) as usize;
        if state == QueueState::Ready && !self.endpoints[id].is_queued[class] {
            self.endpoints[id].is_queued[class] = true;
            self.ready[class].push(app, id);
        }
        self.endpoints.set_state(id, state, limits);
    }
}

#[cfg(test)]
mod tests;
