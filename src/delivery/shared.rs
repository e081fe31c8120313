//! The state that the dispatch loop, the workers and the recorder share: one lock, held for moments.
//!
//! A worker hands in a completed attempt and takes its next job in one step, so a slot does not
//! stay empty while an outcome waits for its commit. The loop is woken only for what it alone can
//! do: fill slots by a claim, give expired claims back, or report an outage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;

use super::congestion::Signal;
use super::outage::{Change, Observation, Outage, PROBES_MAX};
use super::policy::DeliveryPolicy;
use super::schedule;
use super::scheduler::{Assignment, Limits, Scheduler, Slot};
use crate::clock::Moment;
use crate::domain::Reach;
use crate::store::{AttemptKey, ClaimedCallback, CompletedAttempt, EndpointDue, FleetPosition};

/// Completed attempts that are worth a commit of their own.
const BATCH: usize = 256;

/// Completed attempts that may be unrecorded before claims stop. Those that the store takes alone
/// or not at all are among them.
const UNRECORDED_MAX: usize = 4096;

/// A claimed callback to be sent.
pub(super) type Job = Assignment<ClaimedCallback>;

/// What an attempt shows besides its outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// How far it came: for the outage detector.
    pub(super) reach: Reach,
    /// What it says about the merchant's load: for the learned limit.
    pub(super) signal: Signal,
}

impl Evidence {
    /// Nothing was sent.
    pub(super) const NONE: Self = Self {
        reach: Reach::NotTried,
        signal: Signal::Silent,
    };
}

/// A message to the recorder. The channel keeps the order in which attempts were completed.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) attempt: CompletedAttempt,
    /// Attempts completed earlier that are not to count, because `attempt` has shown an outage.
    pub(super) uncount: Vec<AttemptKey>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    work_available: Notify,
    batch_due: Notify,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) scheduler: Scheduler<ClaimedCallback>,
    pub(super) outage: Outage,
    /// What an attempt that begins now is made under.
    pub(super) policy: Arc<DeliveryPolicy>,
    /// Claims that expired before anything was sent under them.
    pub(super) expired: Vec<ClaimedCallback>,
    pub(super) position: FleetPosition,
    /// Whether a claim is under way; the loop looks at everything when it is done.
    pub(super) is_claiming: bool,
    /// Attempts completed and not recorded.
    pub(super) unrecorded: usize,
    /// Whether the store refuses to record: then nothing is claimed and nothing is sent.
    pub(super) records_fail: bool,
    /// Whether callbacks are due sooner than the scheduler knows.
    pub(super) wants_survey: bool,
    /// Whether more endpoints had something to send than the scheduler can hold.
    has_overflowed: bool,
}

impl Shared {
    pub(super) fn new(policy: Arc<DeliveryPolicy>) -> Self {
        Self {
            state: Mutex::new(State {
                scheduler: Scheduler::default(),
                outage: Outage::default(),
                policy,
                expired: Vec::new(),
                position: FleetPosition::ALONE,
                is_claiming: false,
                unrecorded: 0,
                records_fail: false,
                wants_survey: false,
                has_overflowed: false,
            }),
            work_available: Notify::new(),
            batch_due: Notify::new(),
        }
    }

    /// No code panics while it holds the lock.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there may be something for the loop to do.
    pub(super) fn work_available(&self) -> Notified<'_> {
        self.work_available.notified()
    }

    /// Returns at the next moment at which a batch need not wait any longer.
    pub(super) fn batch_due(&self) -> Notified<'_> {
        self.batch_due.notified()
    }

    /// Lets a batch that waits for company be recorded now, in the commit of a claim.
    pub(super) fn share_commit(&self) {
        self.batch_due.notify_waiters();
    }

    /// Takes a completed attempt from a worker and returns the worker's next job, if there is one.
    /// `policy` becomes that of the job.
    pub(super) fn complete(
        &self,
        slot: Slot,
        mut attempt: CompletedAttempt,
        Evidence { reach, mut signal }: Evidence,
        recorder: mpsc::Permit<'_, Completion>,
        policy: &mut Arc<DeliveryPolicy>,
        at: Moment,
    ) -> Option<Job> {
        let mut state = self.lock();
        let change = state.observe(&attempt, reach, at.steady);
        let is_change = change != Change::Nothing;
        if is_change {
            state.requeue_all(at);
        }
        if state.outage.excuses(reach) {
            schedule::uncount(&mut attempt, at.now);
            signal = Signal::Silent;
        }
        let limits = state.limits(at);
        // Without the wait for the recorder, which is not the merchant's doing.
        let latency = attempt.attempt.duration;
        let fall = state.scheduler.completed(slot, latency, signal, limits);
        state.unrecorded += 1;
        let uncount = match change {
            Change::Began { uncount } => uncount,
            Change::Nothing | Change::Ended => Vec::new(),
        };
        // Under the lock: an attempt to be un-counted reaches the recorder before the order to do so.
        recorder.send(Completion { attempt, uncount });
        let job = state.take(policy, at);
        let is_batch_due = state.is_batch_due();
        let is_work_available = !state.is_claiming
            && (is_change
                || !state.expired.is_empty()
                || state.scheduler.has_surplus()
                || state.scheduler.has_use_for_a_claim(limits));
        drop(state);
        if is_batch_due {
            self.batch_due.notify_waiters();
        }
        if is_work_available {
            self.work_available.notify_one();
        }
        if let Some(fall) = fall {
            fall.log();
        }
        job
    }

    /// Attempts were recorded, and led to `retries`.
    pub(super) fn recorded(&self, attempts: usize, retries: Vec<EndpointDue>, at: Moment) {
        let mut state = self.lock();
        state.unrecorded -= attempts;
        let limits = state.limits(at);
        let next_due = state.scheduler.next_due(at);
        for retry in retries {
            state.became_due(retry, limits);
        }
        let is_work_available =
            state.scheduler.next_due(at) != next_due || state.scheduler.has_use_for_a_claim(limits);
        let wakes = is_work_available && !state.is_claiming;
        drop(state);
        if wakes {
            self.work_available.notify_one();
        }
    }

    /// Callbacks are due sooner than the scheduler knows.
    pub(super) fn ask_for_survey(&self) {
        self.lock().wants_survey = true;
    }

    /// Whether the store refuses to record now.
    pub(super) fn set_records_fail(&self, fail: bool) {
        let mut state = self.lock();
        let was = std::mem::replace(&mut state.records_fail, fail);
        drop(state);
        if was && !fail {
            self.work_available.notify_one();
        }
    }
}

impl State {
    /// The next job, if there is one and a slot for it. `policy` becomes that of the job.
    pub(super) fn take(&mut self, policy: &mut Arc<DeliveryPolicy>, at: Moment) -> Option<Job> {
        if self.records_fail {
            return None;
        }
        let limits = self.limits(at);
        loop {
            let job = self.scheduler.assign(limits)?;
            if job.claimed.lease.is_valid() {
                if !Arc::ptr_eq(policy, &self.policy) {
                    *policy = Arc::clone(&self.policy);
                }
                return Some(job);
            }
            self.scheduler.not_sent(job.slot, limits);
            self.expired.push(job.claimed);
        }
    }

    fn observe(&mut self, completed: &CompletedAttempt, reach: Reach, steady: Duration) -> Change {
        if !self.policy.local_fault_protection {
            return Change::Nothing;
        }
        let is_counted = completed.attempt.verdict.counted;
        let observation = Observation {
            app_id: &completed.endpoint.app_id,
            reach,
            counted: is_counted.then(|| completed.claimed.lease.attempt()),
        };
        self.outage.observe(&observation, steady)
    }

    /// Whether another claim may be made, as far as the records go.
    pub(super) const fn can_record_more(&self) -> bool {
        !self.records_fail && self.unrecorded < UNRECORDED_MAX
    }

    /// Whether waiting brings a batch no more company.
    pub(super) const fn is_batch_due(&self) -> bool {
        self.scheduler.in_flight() == 0 || self.unrecorded >= BATCH
    }

    /// A callback of an endpoint is due.
    pub(super) fn became_due(&mut self, due: EndpointDue, limits: Limits) {
        if !self.scheduler.became_due(due, limits) && !self.has_overflowed {
            self.has_overflowed = true;
            tracing::warn!(
                "more endpoints have callbacks due than are scheduled at a time; the others follow as these are done"
            );
        }
    }

    /// The limits have changed.
    pub(super) fn requeue_all(&mut self, at: Moment) {
        let limits = self.limits(at);
        self.scheduler.requeue_all(limits);
    }

    /// During an outage of our own, a few attempts find out whether it is over.
    pub(super) fn limits(&self, at: Moment) -> Limits {
        let DeliveryPolicy {
            timeout,
            in_flight_max,
            in_flight_per_origin_max,
            in_flight_per_app_max,
            ..
        } = *self.policy;
        match self.outage.is_on() {
            false => Limits {
                at,
                in_flight: in_flight_max,
                in_flight_per_origin: self.position.split(in_flight_per_origin_max),
                in_flight_per_app: self.position.split(in_flight_per_app_max),
                deadline: timeout,
                is_probing: false,
            },
            true => Limits {
                at,
                in_flight: in_flight_max.min(PROBES_MAX),
                in_flight_per_origin: 1,
                in_flight_per_app: PROBES_MAX,
                deadline: timeout,
                is_probing: true,
            },
        }
    }

    /// Attempts under way, to begin, and to be recorded.
    pub(super) fn open(&self) -> usize {
        self.scheduler.in_flight() + self.scheduler.prefetched() + self.unrecorded
    }
}
