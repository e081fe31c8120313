//! What is known of each endpoint, its app and its origin.
//!
//! All three have small numbers, so that queues hold numbers instead of texts.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::Limits;
use super::endpoint_queue::{App, EndpointQueue, Id, OriginId, QueueState};
use super::fall::Fallen;
use super::latency_class::LatencyClass;
use super::numbered::Numbered;
use super::shares::Load;
use crate::delivery::congestion::LearnedLimit;
use crate::store::{AppId, Endpoint, Origin};

/// One app.
#[derive(Debug, Default)]
pub(super) struct AppState {
    pub(super) load: Load,
    /// Endpoints of it that are ready and for which a claim would fill a slot, by class.
    pub(super) wanting: [usize; LatencyClass::ALL.len()],
    waits_for_slot: VecDeque<Id>,
    endpoints: usize,
}

/// One origin.
#[derive(Debug, Default)]
pub(super) struct OriginState {
    pub(super) load: Load,
    pub(super) class: LatencyClass,
    /// How many attempts it may have in flight, as far as is known.
    pub(super) learned: LearnedLimit,
    /// The highest limit since the log last told of a fall.
    pub(super) peak: usize,
    /// The last fall that the log told of, until the limit has grown back.
    pub(super) fallen: Option<Fallen>,
    /// Its entry among the reopenings.
    pub(super) reopens_at: Option<Duration>,
    /// Whether less is held for it than it may have in flight.
    has_free_slot: bool,
    waits_for_slot: VecDeque<Id>,
    blocked: VecDeque<Id>,
    pub(super) endpoints: Vec<Id>,
}

/// All endpoints.
#[derive(Debug)]
pub(super) struct Endpoints<T> {
    ids: HashMap<Endpoint, Id>,
    apps: Numbered<AppId, AppState>,
    pub(super) origins: Numbered<Origin, OriginState>,
    /// When origins will have more room even if no attempt ends, by the steady clock.
    pub(super) reopenings: BTreeSet<(Duration, OriginId)>,
    queues: Vec<Option<(Endpoint, EndpointQueue<T>)>>,
    free: Vec<usize>,
    /// Endpoints that are ready and for which a claim would fill a slot, by class.
    pub(super) wanting: [usize; LatencyClass::ALL.len()],
}

impl<T> Default for Endpoints<T> {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            apps: Numbered::default(),
            origins: Numbered::default(),
            reopenings: BTreeSet::new(),
            queues: Vec::new(),
            free: Vec::new(),
            wanting: Default::default(),
        }
    }
}

impl<T> Index<Id> for Endpoints<T> {
    type Output = EndpointQueue<T>;

    fn index(&self, Id(id): Id) -> &Self::Output {
        let (_, queue) = self.queues[id]
            .as_ref()
            .expect("ids of what was removed are gone from all queues");
        queue
    }
}

impl<T> IndexMut<Id> for Endpoints<T> {
    fn index_mut(&mut self, Id(id): Id) -> &mut Self::Output {
        let (_, queue) = self.queues[id]
            .as_mut()
            .expect("ids of what was removed are gone from all queues");
        queue
    }
}

impl<T> Endpoints<T> {
    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether this one is known.
    pub(super) fn knows(&self, endpoint: &Endpoint) -> bool {
        self.ids.contains_key(endpoint)
    }

    /// The number of an endpoint, which is known from here on.
    pub(super) fn id_of(&mut self, endpoint: &Endpoint) -> Id {
        if let Some(id) = self.ids.get(endpoint) {
            return *id;
        }
        let app = App(self.apps.number(&endpoint.app_id));
        let origin = OriginId(self.origins.number(&endpoint.origin));
        let queue = EndpointQueue::new(app, origin);
        let number = self.free.pop().unwrap_or_else(|| {
            self.queues.push(None);
            self.queues.len() - 1
        });
        self.queues[number] = Some((endpoint.clone(), queue));
        let id = Id(number);
        self.ids.insert(endpoint.clone(), id);
        self.apps.values[app.0].endpoints += 1;
        self.origins.values[origin.0].endpoints.push(id);
        id
    }

    /// Forgets an endpoint that is idle, and its app and origin if it was their last. It must not
    /// stand in a queue any more.
    pub(super) fn remove(&mut self, id: Id) {
        let Some((name, queue)) = self.queues[id.0].take() else {
            return;
        };
        self.ids.remove(&name);
        self.free.push(id.0);
        let origin = &mut self.origins.values[queue.origin.0];
        for list in [&mut origin.blocked, &mut origin.waits_for_slot] {
            list.retain(|other| *other != id);
        }
        origin.endpoints.retain(|other| *other != id);
        if origin.endpoints.is_empty() {
            if let Some(reopens_at) = origin.reopens_at {
                self.reopenings.remove(&(reopens_at, queue.origin));
            }
            self.origins.remove(&name.origin);
        }
        let app = &mut self.apps.values[queue.app.0];
        app.waits_for_slot.retain(|other| *other != id);
        app.endpoints -= 1;
        if app.endpoints == 0 {
            self.apps.remove(&name.app_id);
        }
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        let known = self.queues.iter().enumerate();
        known
            .filter_map(|(id, queue)| queue.as_ref().map(|_| Id(id)))
            .collect()
    }

    pub(super) fn name(&self, id: Id) -> &Endpoint {
        let (name, _) = self.queues[id.0]
            .as_ref()
            .expect("ids of what was removed are gone from all queues");
        name
    }

    pub(super) fn app(&self, App(app): App) -> &AppState {
        &self.apps.values[app]
    }

    pub(super) fn origin(&self, OriginId(origin): OriginId) -> &OriginState {
        &self.origins.values[origin]
    }

    /// The latency class of an endpoint's origin.
    pub(super) fn class(&self, id: Id) -> LatencyClass {
        self.origin(self[id].origin).class
    }

    /// How many attempts an origin may have in flight.
    fn limit(origin: &OriginState, limits: Limits) -> usize {
        let ceiling = limits.in_flight_per_origin;
        match limits.is_probing {
            // What is to be found out is which origin answers at all.
            true => ceiling,
            false => origin.learned.slots(ceiling, limits.at.steady),
        }
    }

    /// Whether an attempt of `id` may begin, as far as its origin is concerned.
    pub(super) fn has_slot(&self, id: Id, limits: Limits) -> bool {
        let origin = self.origin(self[id].origin);
        origin.load.in_flight < Self::limit(origin, limits)
    }

    /// How much may be claimed for `id`, as far as its origin is concerned.
    pub(super) fn room(&self, id: Id, whole: &Load, limits: Limits) -> usize {
        let origin = self.origin(self[id].origin);
        let limit = Self::limit(origin, limits);
        let ahead = match origin.class {
            LatencyClass::Fast if limit > 0 => limits
                .ahead(self[id].completed)
                .min(whole.left_beyond_origin()),
            LatencyClass::Fast | LatencyClass::Slow | LatencyClass::Unproven => 0,
        };
        (limit + ahead).saturating_sub(origin.load.held())
    }

    /// Applies `change` to the load of an endpoint, its app, its origin and the whole.
    pub(super) fn change(
        &mut self,
        id: Id,
        whole: &mut Load,
        limits: Limits,
        change: impl Fn(&mut Load),
    ) {
        let class = self.class(id);
        let (app, origin) = (self[id].app, self[id].origin);
        let limit = Self::limit(self.origin(origin), limits);
        let load = &mut self[id].load;
        load.change(class, &change);
        let before = load.beyond_origin[class as usize];
        // What is in flight has its slots, even if the limit has fallen since.
        let beyond = load.held() - load.held().min(limit.max(load.in_flight));
        load.beyond_origin[class as usize] = beyond;
        for sum in [
            &mut self.origins.values[origin.0].load,
            &mut self.apps.values[app.0].load,
            whole,
        ] {
            sum.change(class, &change);
            let of_class = &mut sum.beyond_origin[class as usize];
            *of_class = *of_class + beyond - before;
        }
        self.note_free_slot(origin, limits);
    }

    /// Moves `id` to another queue state.
    pub(super) fn set_state(&mut self, id: Id, state: QueueState, limits: Limits) {
        let origin = self[id].origin;
        self.note_free_slot(origin, limits);
        let queue = &mut self[id];
        let was_ready = queue.state == QueueState::Ready;
        queue.state = state;
        let newly_blocked = state == QueueState::Blocked && !queue.is_listed_as_blocked;
        queue.is_listed_as_blocked |= newly_blocked;
        if newly_blocked {
            self.origins.values[origin.0].blocked.push_back(id);
        }
        let is_ready = state == QueueState::Ready;
        if was_ready != is_ready && self.origin(origin).has_free_slot {
            self.count_wish(id, is_ready);
        }
    }

    /// Takes note of whether a claim for an origin would fill a slot.
    pub(super) fn note_free_slot(&mut self, number: OriginId, limits: Limits) {
        let origin = &mut self.origins.values[number.0];
        let has_free_slot = origin.load.held() < Self::limit(origin, limits);
        if origin.has_free_slot == has_free_slot {
            return;
        }
        origin.has_free_slot = has_free_slot;
        for n in 0..self.origin(number).endpoints.len() {
            let id = self.origin(number).endpoints[n];
            if self[id].state == QueueState::Ready {
                self.count_wish(id, has_free_slot);
            }
        }
    }

    /// A claim for `id` would fill a slot, or no longer would.
    fn count_wish(&mut self, id: Id, wants: bool) {
        let class = self.class(id) as usize;
        let app = self[id].app;
        for count in [
            &mut self.apps.values[app.0].wanting[class],
            &mut self.wanting[class],
        ] {
            *count = if wants { *count + 1 } else { *count - 1 };
        }
    }

    /// Gives the origin of `id` another latency class; returns its endpoints, none of which is
    /// ready.
    pub(super) fn reclassify(
        &mut self,
        id: Id,
        class: LatencyClass,
        whole: &mut Load,
        limits: Limits,
    ) -> Vec<Id> {
        let number = self[id].origin;
        let endpoints = self.origin(number).endpoints.clone();
        for id in &endpoints {
            if self[*id].state == QueueState::Ready {
                self.set_state(*id, QueueState::Idle, limits);
            }
        }
        let from = std::mem::replace(&mut self.origins.values[number.0].class, class);
        for id in &endpoints {
            let queue = &mut self[*id];
            let (app, load) = (queue.app, queue.load);
            queue.load.move_class(&load, from, class);
            for sum in [
                &mut self.origins.values[number.0].load,
                &mut self.apps.values[app.0].load,
                &mut *whole,
            ] {
                sum.move_class(&load, from, class);
            }
        }
        endpoints
    }

    /// `id` waits until its origin has a slot.
    pub(super) fn wait_for_origin(&mut self, id: Id) {
        self[id].is_offered = true;
        let origin = self[id].origin;
        self.origins.values[origin.0].waits_for_slot.push_back(id);
    }

    /// `id` waits until its app has a slot.
    pub(super) fn wait_for_app(&mut self, id: Id) {
        self[id].is_offered = true;
        let app = self[id].app;
        self.apps.values[app.0].waits_for_slot.push_back(id);
    }

    /// The endpoint that has waited longest for a slot of the origin of `id`.
    pub(super) fn next_of_origin(&mut self, id: Id) -> Option<Id> {
        let origin = self[id].origin;
        loop {
            let next = self.origins.values[origin.0].waits_for_slot.pop_front()?;
            if self.stops_waiting(next) {
                return Some(next);
            }
        }
    }

    /// The endpoint that has waited longest for a slot of the app of `id`.
    pub(super) fn next_of_app(&mut self, id: Id) -> Option<Id> {
        let app = self[id].app;
        loop {
            let next = self.apps.values[app.0].waits_for_slot.pop_front()?;
            if self.stops_waiting(next) {
                return Some(next);
            }
        }
    }

    /// Returns whether there is still something to send.
    fn stops_waiting(&mut self, id: Id) -> bool {
        self[id].is_offered = false;
        !self[id].prefetched.is_empty()
    }

    /// The endpoint that has been blocked longest at the origin of `id`.
    pub(super) fn next_blocked(&mut self, id: Id) -> Option<Id> {
        let origin = self[id].origin;
        loop {
            let next = self.origins.values[origin.0].blocked.pop_front()?;
            self[next].is_listed_as_blocked = false;
            if self[next].state == QueueState::Blocked {
                return Some(next);
            }
        }
    }
}
