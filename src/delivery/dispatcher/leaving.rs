//! Stopping, and living with other dispatchers: claims that are given back, and leases of others that
//! are reclaimed.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;

use super::drain::release;
use super::{DispatchLoop, TaskResult};
use crate::failpoint;
use crate::store::{ClaimedCallback, Endpoint, EndpointDue};

impl DispatchLoop {
    pub(super) fn begin_drain(&mut self) {
        tracing::info!(
            in_flight = self.shared.lock().scheduler.in_flight(),
            "stopping: no more claims, waiting for the attempts in flight"
        );
        self.drain.begin();
        self.release_prefetched();
        failpoint::here!("drain");
    }

    /// Gives back what was claimed and has no slot yet.
    pub(super) fn release_prefetched(&mut self) {
        let mut state = self.shared.lock();
        let limits = state.limits(self.context.clock.moment());
        let prefetched = state.scheduler.give_up_prefetched(limits);
        drop(state);
        self.release(prefetched, Vec::new());
    }

    /// Gives back the claims that expired before their turn came: this process was stopped for a
    /// while, or the database could not be reached.
    pub(super) fn release_expired(&mut self) {
        let expired = std::mem::take(&mut self.shared.lock().expired);
        if expired.is_empty() {
            return;
        }
        tracing::warn!(
            callbacks = expired.len(),
            "claims have expired before anything was sent under them; they are given back"
        );
        self.discovery.ask_for_survey();
        self.release(expired, Vec::new());
    }

    /// Gives back the claims that an origin will not get to soon: its limit has fallen. A lease is not
    /// to last until the merchant has recovered, and an operator's command does not wait for it.
    pub(super) fn release_surplus(&mut self) {
        let due = self.context.clock.now();
        let surplus = self.shared.lock().scheduler.take_surplus();
        let (endpoints, claims): (BTreeSet<Endpoint>, Vec<ClaimedCallback>) =
            surplus.into_iter().unzip();
        let due = endpoints
            .into_iter()
            .map(|endpoint| EndpointDue { endpoint, due });
        self.release(claims, due.collect());
    }

    /// Afterwards the endpoints of `due` have something to send again.
    fn release(&mut self, claims: Vec<ClaimedCallback>, due: Vec<EndpointDue>) {
        if claims.is_empty() {
            return;
        }
        self.drain.on_release();
        let release = release(Arc::clone(&self.context.queue), claims);
        self.tasks
            .spawn(release.map(|released| TaskResult::Released(released, due)));
    }

    /// Closes the recorder's channel when a drain has nothing left but to record. It ends when
    /// everything is recorded, and so does the loop.
    pub(super) fn close_recorder_if_drained(&mut self) {
        let state = self.shared.lock();
        let is_busy =
            state.is_claiming || state.scheduler.in_flight() + state.scheduler.prefetched() > 0;
        drop(state);
        if self.drain.is_under_way() && !is_busy && self.drain.releasing() == 0 {
            self.recorder = None;
        }
    }

    /// The attempts that a drain leaves behind.
    pub(super) fn cut_off(&self) -> usize {
        let left = self.shared.lock().open();
        tracing::warn!(
            left,
            "the drain timeout has passed; the next start ends these as interrupted"
        );
        left
    }

    /// Goes by this dispatcher's part of the limits, which depends on how many there are.
    pub(super) fn follow_fleet(&self) {
        let position = self.context.queue.fleet_position();
        let mut state = self.shared.lock();
        if state.position == position {
            return;
        }
        tracing::info!(
            number = position.number + 1,
            of = position.of,
            "the number of dispatchers has changed; limits by merchant are split accordingly"
        );
        state.position = position;
        state.requeue_all(self.context.clock.moment());
    }

    /// Looks for expired leases of other dispatchers, if it is time.
    pub(super) fn reclaim_expired_leases(&mut self) {
        let is_needed = self.context.queue.is_shared() && !self.drain.is_under_way();
        if !is_needed || !self.membership.begin_reclaim() {
            return;
        }
        let queue = Arc::clone(&self.context.queue);
        let now = self.context.clock.now();
        self.tasks
            .spawn(async move { TaskResult::Reclaimed(queue.interrupt_in_flight(now).await) });
    }
}
