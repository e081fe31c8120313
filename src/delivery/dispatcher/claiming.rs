//! Claims, and the workers that send what was claimed.

use std::sync::Arc;

use futures_util::FutureExt;

use super::{DispatchLoop, TaskResult};
use crate::delivery::worker;
use crate::failpoint;
use crate::store::{Claim, ClaimRequest, ClaimResult, StoreError};

impl DispatchLoop {
    /// Claims what the scheduler plans, if a free slot can be filled.
    pub(super) fn claim(&mut self) {
        let at = self.context.clock.moment();
        let mut state = self.shared.lock();
        if state.is_claiming || self.is_resting() {
            return;
        }
        let limits = state.limits(at);
        // Asked first: what is due no longer wakes the loop after this, whether or not a claim may be
        // made now. Otherwise the loop would spin until it may.
        let has_use = state.scheduler.has_use_for_a_claim(limits);
        let may_claim = !self.drain.is_under_way()
            && state.outage.may_claim(at.steady)
            && state.can_record_more();
        if !has_use || !may_claim {
            return;
        }
        let requests = state.scheduler.plan(limits);
        if requests.is_empty() {
            return;
        }
        state.outage.claims(at.steady);
        state.is_claiming = true;
        let lease = state.policy.lease();
        drop(state);
        self.shared.share_commit();
        let queue = Arc::clone(&self.context.queue);
        let claim = Claim {
            requests,
            now: at.now,
            lease,
        };
        self.tasks.spawn(async move {
            let requests = claim.requests.clone();
            let results = queue.claim(claim).await;
            failpoint::here!("claim-after-commit");
            TaskResult::Claimed(requests, results)
        });
    }

    pub(super) fn on_claimed(
        &mut self,
        requests: Vec<ClaimRequest>,
        results: Result<Vec<ClaimResult>, StoreError>,
    ) -> Result<(), StoreError> {
        let at = self.context.clock.moment();
        let mut state = self.shared.lock();
        state.is_claiming = false;
        let limits = state.limits(at);
        match results {
            Ok(results) => {
                for (request, result) in requests.iter().zip(results) {
                    let ClaimResult {
                        callbacks,
                        then_due,
                    } = result;
                    state
                        .scheduler
                        .claimed(&request.endpoint, callbacks, then_due, limits);
                }
                drop(state);
                self.failed = None;
                if self.drain.is_under_way() {
                    self.release_prefetched();
                }
                Ok(())
            }
            Err(error) => {
                for request in requests {
                    state.scheduler.claim_failed(&request.endpoint, limits);
                }
                drop(state);
                self.store_failed(error, "claim")
            }
        }
    }

    /// Starts workers for the slots that are free, if something was claimed for them.
    pub(super) fn start_workers(&mut self) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        let at = self.context.clock.moment();
        let mut state = self.shared.lock();
        let mut policy = Arc::clone(&state.policy);
        while let Some(job) = state.take(&mut policy, at) {
            let worker = worker::run(
                Arc::clone(&self.shared),
                Arc::clone(&self.context.clock),
                recorder.clone(),
                Arc::clone(&policy),
                job,
            );
            self.tasks.spawn(worker.map(|()| TaskResult::Worker));
        }
        let in_flight = state.scheduler.in_flight();
        drop(state);
        self.context.observer.in_flight(in_flight);
    }
}
