//! The dispatch loop: learns what is due, claims what the scheduler plans, and starts workers.
//!
//! One `select!` makes one [`Event`] at a time, and each is handled without waiting for anything:
//! whatever waits (a claim, a poll, a survey, an attempt, a record) is a task. At most one claim, one
//! poll and one survey are under way at a time.
//!
//! Workers go from attempt to attempt by themselves and hand what they complete to the recorder. The
//! loop is woken when that leaves a slot that only a claim can fill. Other wake-ups: another process
//! has committed, the next known callback is due, the policy has changed, and a slow poll.
//!
//! Deliberately absent: schedules (the domain's), SQL (the store's), what is being recorded (the
//! recorder's), and any truth of its own: if the loop forgets everything, the next survey tells it.

mod claiming;
mod commands;
mod discovery;
mod drain;
mod leaving;
mod limit_report;
mod membership;
mod outage_report;
mod seeking;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use self::commands::OperatorCommands;
use self::discovery::Discovery;
use self::drain::Drain;
use self::limit_report::LimitReport;
use self::membership::Membership;
use self::outage_report::OutageReport;
use super::context::Context;
use super::observer::Observer;
use super::outage::Change;
use super::policy::DeliveryPolicy;
use super::recorder::{INBOX_MAX, Recorder};
use super::shared::{Completion, Shared};
use crate::clock::{SharedClock, Stopwatch, until};
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::{
    Arrivals, CarriedOut, ClaimRequest, ClaimResult, EndpointDue, LoweredLimit, Queue, StoreError,
    Survey,
};

/// A poll of the queue that no commit has asked for.
const SLOW_POLL: Duration = Duration::from_millis(500);

/// How long to leave a store alone that has just failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Takes callbacks from a queue to their merchants.
#[derive(Debug)]
pub struct Dispatcher {
    context: Context,
    policies: watch::Receiver<Arc<DeliveryPolicy>>,
}

/// What the loop is told.
enum Event {
    /// Another process may have committed.
    Changed,
    Polled,
    /// A known callback has become due.
    Due,
    WorkAvailable,
    Reloaded,
    Stopped,
    DrainTimedOut,
    TaskDone(TaskResult),
}

/// What a task of the loop ends with.
enum TaskResult {
    Claimed(Vec<ClaimRequest>, Result<Vec<ClaimResult>, StoreError>),
    Polled(Result<Arrivals, StoreError>),
    Surveyed(Result<Survey, StoreError>),
    CarriedOut(Result<CarriedOut, StoreError>),
    /// With what is due again by it.
    Released(Result<(), StoreError>, Vec<EndpointDue>),
    Reclaimed(Result<usize, StoreError>),
    LimitsNoted(Result<Vec<LoweredLimit>, StoreError>),
    /// A worker has found nothing more to send.
    Worker,
    /// Everything is recorded, or the store is beyond healing.
    Recorder(Result<(), StoreError>),
}

impl Dispatcher {
    /// A dispatcher of `queue` under the newest of `policies`.
    pub fn new(
        queue: Arc<dyn Queue>,
        clock: SharedClock,
        observer: Arc<dyn Observer>,
        policies: watch::Receiver<Arc<DeliveryPolicy>>,
    ) -> Self {
        let context = Context {
            queue,
            clock,
            observer,
        };
        Self { context, policies }
    }

    /// Dispatches until `stop` is true (or its sender is gone), then drains: claims nothing more,
    /// gives back what was claimed and not sent, and waits at most `drain_timeout` for the attempts
    /// under way to end and to be recorded. What that cuts off is ended as `interrupted` by the next
    /// start. Returns the number of these.
    ///
    /// # Errors
    ///
    /// The store failed at the start, or is beyond healing.
    pub async fn run(
        self,
        stop: watch::Receiver<bool>,
        drain_timeout: Duration,
    ) -> Result<usize, StoreError> {
        failpoint::here!("start-before-reclaim");
        let Context { queue, clock, .. } = &self.context;
        let interrupted = queue.interrupt_in_flight(clock.now()).await?;
        failpoint::here!("start-after-reclaim");
        if interrupted > 0 {
            tracing::warn!(
                callbacks = interrupted,
                "attempts were in flight when the last dispatcher stopped; they are due again"
            );
        }
        // So that a pause asked for meanwhile holds from the first claim on.
        {
            let post = Arc::clone(&self.policies.borrow().post);
            commands::carry_out_first(&self.context, &*post).await;
        }
        // The newest id before the survey: both see what comes between.
        let newest = queue.newest().await?;
        let mut dispatch_loop = DispatchLoop::new(self, newest, drain_timeout);
        dispatch_loop.survey();
        dispatch_loop.run(stop).await
    }
}

/// A dispatcher at work.
struct DispatchLoop {
    context: Context,
    policies: watch::Receiver<Arc<DeliveryPolicy>>,
    shared: Arc<Shared>,
    /// The way to the recorder; closed at the end of a drain.
    recorder: Option<mpsc::Sender<Completion>>,
    tasks: JoinSet<TaskResult>,
    slow_poll: Interval,
    discovery: Discovery,
    commands: OperatorCommands,
    membership: Membership,
    outage_report: OutageReport,
    limit_report: LimitReport,
    drain: Drain,
    /// Since the store last failed.
    failed: Option<Stopwatch>,
}

impl DispatchLoop {
    fn new(dispatcher: Dispatcher, newest: CallbackId, drain_timeout: Duration) -> Self {
        let Dispatcher { context, policies } = dispatcher;
        let mut slow_poll = tokio::time::interval(SLOW_POLL);
        slow_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::new(Shared::new(Arc::clone(&policies.borrow())));
        let (to_recorder, inbox) = mpsc::channel(INBOX_MAX);
        let recorder = Recorder::new(context.clone(), Arc::clone(&shared), inbox);
        let mut tasks = JoinSet::new();
        tasks.spawn(recorder.run().map(TaskResult::Recorder));
        Self {
            context,
            policies,
            shared,
            recorder: Some(to_recorder),
            tasks,
            slow_poll,
            discovery: Discovery::beyond(newest),
            commands: OperatorCommands::default(),
            membership: Membership::new(),
            outage_report: OutageReport::default(),
            limit_report: LimitReport::default(),
            drain: Drain::within(drain_timeout),
            failed: None,
        }
    }

    /// Returns how many attempts a drain has cut off.
    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<usize, StoreError> {
        loop {
            let Context {
                observer, clock, ..
            } = &self.context;
            observer.beat(clock.now());
            self.outage_report.update(&self.shared, &**observer);
            self.follow_fleet();
            self.claim();
            self.start_workers();
            self.release_expired();
            self.release_surplus();
            self.close_recorder_if_drained();
            match self.next_event(&mut stop).await {
                Event::Changed => self.poll(),
                // The next round of this loop sees to it.
                Event::Due | Event::WorkAvailable => {}
                Event::Polled => {
                    self.review();
                    self.reclaim_expired_leases();
                    self.poll();
                    self.survey_if_due();
                    self.report_limits();
                }
                Event::Reloaded => self.reload(),
                Event::Stopped => self.begin_drain(),
                Event::DrainTimedOut => return Ok(self.cut_off()),
                Event::TaskDone(TaskResult::Recorder(ended)) => return ended.map(|()| 0),
                Event::TaskDone(result) => self.on_task_done(result)?,
            }
        }
    }

    async fn next_event(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let at = self.context.clock.moment();
        let due = self.shared.lock().scheduler.next_due(at);
        let due = due.unwrap_or(Timestamp::MAX);
        let is_draining = self.drain.is_under_way();
        let may_claim = !is_draining && !self.is_resting() && !self.shared.lock().is_claiming;
        tokio::select! {
            // In a fixed order, so that a seed of the simulation replays. Rare events come first, so
            // that frequent ones do not keep them waiting.
            biased;
            // A sender that is gone can't ask for more work either.
            _ = stop.wait_for(|stop| *stop), if !is_draining => Event::Stopped,
            () = until(self.drain.deadline()) => Event::DrainTimedOut,
            Ok(()) = self.policies.changed() => Event::Reloaded,
            _ = self.slow_poll.tick() => Event::Polled,
            Some(task) = self.tasks.join_next() => match task {
                Ok(result) => Event::TaskDone(result),
                // Workers catch panics of their own; this is another task of the loop.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = self.context.queue.changed(), if !is_draining => Event::Changed,
            () = self.shared.work_available() => Event::WorkAvailable,
            () = self.context.clock.sleep_until(due), if may_claim => Event::Due,
        }
    }

    fn on_task_done(&mut self, result: TaskResult) -> Result<(), StoreError> {
        match result {
            TaskResult::Claimed(requests, results) => self.on_claimed(requests, results)?,
            TaskResult::Polled(arrivals) => self.on_new_rows(arrivals)?,
            TaskResult::Surveyed(found) => self.on_surveyed(found)?,
            TaskResult::CarriedOut(carried_out) => self.on_carried_out(carried_out),
            TaskResult::Released(released, due) => {
                self.drain.on_released();
                released?;
                self.all_due(due);
            }
            TaskResult::Reclaimed(reclaimed) => {
                if self.membership.on_reclaimed(reclaimed) {
                    self.discovery.ask_for_survey();
                }
            }
            TaskResult::LimitsNoted(noted) => self.on_limits_noted(noted),
            TaskResult::Worker | TaskResult::Recorder(_) => {}
        }
        Ok(())
    }

    /// Judges how fast the endpoints are that have an attempt under way, and whether an outage of our
    /// own has ended.
    fn review(&self) {
        let at = self.context.clock.moment();
        let mut state = self.shared.lock();
        if state.outage.review(at.steady) != Change::Nothing {
            state.requeue_all(at);
        }
        let limits = state.limits(at);
        state.scheduler.review(limits);
    }

    fn reload(&self) {
        let mut state = self.shared.lock();
        state.policy = Arc::clone(&self.policies.borrow());
        if !state.policy.local_fault_protection {
            state.outage.disregard();
        }
        state.requeue_all(self.context.clock.moment());
    }

    fn store_failed(&mut self, error: StoreError, what: &'static str) -> Result<(), StoreError> {
        if error.is_permanent() {
            return Err(error);
        }
        tracing::error!(%error, what, "the store failed; nothing is claimed until it works again");
        self.failed = Some(Stopwatch::start());
        Ok(())
    }

    fn is_resting(&self) -> bool {
        self.failed
            .is_some_and(|since| since.elapsed() < STORE_PAUSE)
    }
}
