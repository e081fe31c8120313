//! Which endpoints a claim asks for, and how much for each.

use super::endpoint_queue::{Id, QueueState};
use super::latency_class::LatencyClass;
use super::round_robin::RoundRobin;
use super::{Limits, Scheduler};
use crate::store::ClaimRequest;

/// Endpoints in one claim: bounds its transaction.
const REQUESTS_MAX: usize = 64;

impl<T> Scheduler<T> {
    /// Whether a claim would fill a slot that stays free otherwise.
    pub(in crate::delivery) fn has_use_for_a_claim(&mut self, limits: Limits) -> bool {
        self.note_what_is_due(limits);
        LatencyClass::ALL.iter().any(|class| {
            self.endpoints.wanting[*class as usize] > 0
                && self.load.room(*class, 0, limits) > 0
                && self.ready[*class as usize].any(|app| {
                    let app = self.endpoints.app(app);
                    app.wanting[*class as usize] > 0
                        && app.load.room_of_app(*class, 0, &self.load, limits) > 0
                })
        })
    }

    /// Chooses what to claim. The endpoints chosen are not scheduled again until
    /// [`Scheduler::claimed`] or [`Scheduler::claim_failed`].
    pub(in crate::delivery) fn plan(&mut self, limits: Limits) -> Vec<ClaimRequest> {
        self.note_what_is_due(limits);
        let ahead = limits.ahead(self.completed);
        self.completed = 0;
        let all_ready: usize = self.ready.iter().map(RoundRobin::len).sum();
        let mut requests = match limits.is_probing {
            true => self.probes_of_the_known(limits),
            false => Vec::new(),
        };
        for class in LatencyClass::ALL {
            let of_this = self.ready[class as usize].len();
            // As many of them as they are among all, so that no class crowds out the others.
            let most = requests.len() + (REQUESTS_MAX * of_this).div_ceil(all_ready.max(1));
            let most = most.min(REQUESTS_MAX);
            let mut without_room = Vec::new();
            while requests.len() < most && self.load.room(class, ahead, limits) > 0 {
                let Some(app) = self.ready[class as usize].next_app() else {
                    break;
                };
                let load = &self.endpoints.app(app).load;
                if load.room_of_app(class, ahead, &self.load, limits) == 0 {
                    without_room.extend(self.ready[class as usize].take_line());
                    continue;
                }
                let Some(id) = self.ready[class as usize].next() else {
                    break;
                };
                self.endpoints[id].is_queued[class as usize] = false;
                let is_ready = self.endpoints[id].state == QueueState::Ready;
                if is_ready && self.endpoints.class(id) == class {
                    requests.extend(self.request(id, class, ahead, limits, requests.len()));
                }
            }
            for (app, line) in without_room {
                for id in line {
                    self.ready[class as usize].push(app, id);
                }
            }
        }
        requests
    }

    /// To find out whether an outage is over: half of the free slots are for endpoints that have answered before.
    fn probes_of_the_known(&mut self, limits: Limits) -> Vec<ClaimRequest> {
        let most = self.load.left(0, limits).div_ceil(2);
        let ready = LatencyClass::ALL.into_iter().flat_map(|class| {
            let ids = self.ready[class as usize].ids();
            ids.map(move |id| (class, id))
        });
        let is_known = |&(class, id): &(LatencyClass, Id)| {
            let queue = &self.endpoints[id];
            let is_ready = queue.state == QueueState::Ready && self.endpoints.class(id) == class;
            is_ready && queue.has_answered
        };
        let known: Vec<_> = ready.filter(is_known).take(most).collect();
        let mut requests = Vec::new();
        for (class, id) in known {
            self.ready[class as usize].remove(self.endpoints[id].app, id);
            self.endpoints[id].is_queued[class as usize] = false;
            requests.extend(self.request(id, class, 0, limits, requests.len()));
        }
        requests
    }

    /// A share of the free slots for `id`, or `None` if it can't use one now.
    fn request(
        &mut self,
        id: Id,
        class: LatencyClass,
        ahead: usize,
        limits: Limits,
        requested: usize,
    ) -> Option<ClaimRequest> {
        let ready = &self.ready[class as usize];
        let siblings = ready.len_of(self.endpoints[id].app) + 1;
        // Its app is in line again if another of its endpoints is.
        let competitors = ready.apps() + usize::from(siblings == 1);
        let left = self.load.left(ahead, limits);
        let of_app = left.div_ceil(competitors);
        let share = of_app.div_ceil(siblings.clamp(1, REQUESTS_MAX - requested));
        let app = self.endpoints.app(self.endpoints[id].app);
        let room = self.load.room(class, ahead, limits);
        let room = room.min(app.load.room_of_app(class, ahead, &self.load, limits));
        let limit = share
            .min(room)
            .min(self.endpoints.room(id, &self.load, limits));
        if limit == 0 {
            // Its origin has no room: it is blocked from here on.
            self.requeue(id, limits);
            return None;
        }
        self.endpoints
            .set_state(id, QueueState::Claiming(limit), limits);
        let queue = &mut self.endpoints[id];
        queue.completed = 0;
        // What becomes due from here on is news to the claim.
        queue.due = None;
        self.change(id, limits, |load| load.reserved += limit);
        let endpoint = self.endpoints.name(id).clone();
        Some(ClaimRequest { endpoint, limit })
    }
}
