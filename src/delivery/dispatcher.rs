//! The loop: hears what is due, claims it, sends couriers, and takes them back.
//!
//! One `select!` makes one [`Event`] at a time, and each is handled without waiting for anything:
//! whatever waits (a claim, a look at the queue, an attempt) is a task that comes back as an event.
//! At most one claim, one look and one survey are under way at a time.
//!
//! What wakes the loop: a nudge from the store (another process has committed), the moment at
//! which the next known callback is due, an attempt's end, new terms, and a slow poll behind all
//! of these.
//!
//! Deliberately absent: schedules (the domain's), SQL (the store's), and any truth of its own; if
//! it forgets everything, the next survey tells it again.

mod scouting;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use self::scouting::{Looking, Surveying};
use super::courier::{self, Desk, Return};
use super::observer::Observer;
use super::roster::{Roster, Rules};
use super::terms::Terms;
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{CallbackId, Timestamp};
use crate::store::{Arrivals, Claim, OriginDue, Queue, Share, StoreError, Want};

/// A look at the queue that no nudge has asked for.
const SLOW_POLL: Duration = Duration::from_millis(500);

/// How long to leave a store alone that has just failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Takes callbacks from a queue to their merchants.
#[derive(Debug)]
pub struct Dispatcher {
    desk: Desk,
    terms: watch::Receiver<Arc<Terms>>,
}

/// What the loop is told.
enum Event {
    /// Another process may have committed.
    Nudged,
    /// The slow poll has come round.
    Polled,
    /// Something that is known has become due.
    Due,
    /// The terms have changed.
    Reloaded,
    /// It is time to end.
    Stopped,
    /// A task has come back.
    Back(Back),
}

/// What tasks come back with.
enum Back {
    Claimed(Vec<Want>, Result<Vec<Share>, StoreError>),
    Looked(Result<Arrivals, StoreError>),
    Surveyed(Result<Vec<OriginDue>, StoreError>),
    Delivered(Return),
}

impl Dispatcher {
    /// A dispatcher of `queue`, which it must hold alone, under the newest of `terms`.
    pub fn new(
        queue: Arc<dyn Queue>,
        clock: SharedClock,
        observer: Arc<dyn Observer>,
        terms: watch::Receiver<Arc<Terms>>,
    ) -> Self {
        let desk = Desk {
            queue,
            clock,
            observer,
        };
        Self { desk, terms }
    }

    /// Dispatches until `stop` is true (or its sender is gone), then drains: claims nothing more,
    /// and waits for the attempts in flight, at most `drain_timeout` long. Attempts that are cut
    /// off by that are ended as `interrupted` by the next start. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The store failed at the start, or is beyond healing.
    pub async fn run(
        self,
        stop: watch::Receiver<bool>,
        drain_timeout: Duration,
    ) -> Result<usize, StoreError> {
        let interrupted = self
            .desk
            .queue
            .interrupt_in_flight(self.desk.clock.now())
            .await?;
        if interrupted > 0 {
            tracing::warn!(
                callbacks = interrupted,
                "attempts were in flight when the last dispatcher stopped; they are due again"
            );
        }
        // First the mark, then the survey: what comes between is seen by both.
        let newest = self.desk.queue.newest().await?;
        let mut shift = Shift::new(self, newest);
        shift.survey();
        shift.work(stop).await?;
        Ok(shift.drain(drain_timeout).await)
    }
}

/// A dispatcher at work.
struct Shift {
    desk: Desk,
    terms: watch::Receiver<Arc<Terms>>,
    roster: Roster,
    tasks: JoinSet<Back>,
    slow_poll: Interval,
    /// Rows above it are new.
    newest: CallbackId,
    claiming: bool,
    looking: Looking,
    surveying: Surveying,
    /// Since the store last failed.
    failed: Option<Stopwatch>,
}

impl Shift {
    fn new(dispatcher: Dispatcher, newest: CallbackId) -> Self {
        let mut slow_poll = tokio::time::interval(SLOW_POLL);
        slow_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            desk: dispatcher.desk,
            terms: dispatcher.terms,
            roster: Roster::default(),
            tasks: JoinSet::new(),
            slow_poll,
            newest,
            claiming: false,
            looking: Looking::No,
            surveying: Surveying::none_yet(),
            failed: None,
        }
    }

    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        loop {
            self.desk.observer.beat(self.desk.clock.now());
            self.claim();
            match self.next_event(&mut stop).await {
                Event::Nudged => self.look(),
                // The next round of this loop claims it.
                Event::Due => {}
                Event::Polled => {
                    self.look();
                    self.survey_if_due();
                }
                Event::Reloaded => {
                    let rules = self.rules();
                    self.roster.resettle(rules);
                }
                Event::Stopped => return Ok(()),
                Event::Back(back) => self.welcome(back)?,
            }
        }
    }

    async fn next_event(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let due = self.roster.next_due().unwrap_or(Timestamp::MAX);
        tokio::select! {
            // A sender that is gone can't ask for more work either.
            _ = stop.wait_for(|stop| *stop) => Event::Stopped,
            Some(task) = self.tasks.join_next() => match task {
                Ok(back) => Event::Back(back),
                // Couriers catch panics of their own; this is one of the loop's tasks.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            Ok(()) = self.terms.changed() => Event::Reloaded,
            () = self.desk.queue.nudged() => Event::Nudged,
            _ = self.slow_poll.tick() => Event::Polled,
            () = self.desk.clock.sleep_until(due), if self.can_claim() => Event::Due,
        }
    }

    fn welcome(&mut self, back: Back) -> Result<(), StoreError> {
        let rules = self.rules();
        match back {
            Back::Claimed(wants, Ok(shares)) => self.send_out(wants, shares),
            Back::Claimed(wants, Err(error)) => {
                self.claiming = false;
                for want in wants {
                    self.roster.unclaimed(&want.origin, rules);
                }
                self.store_failed(error, "claim")?;
            }
            Back::Looked(Ok(arrivals)) => self.heard(arrivals),
            Back::Looked(Err(error)) => {
                self.looking = Looking::No;
                self.store_failed(error, "look for new rows")?;
            }
            Back::Surveyed(Ok(found)) => self.surveyed(found),
            Back::Surveyed(Err(error)) => {
                self.surveying.under_way = false;
                self.store_failed(error, "survey the origins")?;
            }
            Back::Delivered(courier) => {
                self.roster
                    .finished(&courier.origin, courier.retry_at, rules);
                self.desk.observer.in_flight(self.roster.in_flight());
                if let Some(error) = courier.broken {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn free_places(&self) -> usize {
        let places = self.terms.borrow().in_flight_max;
        places.saturating_sub(self.roster.in_flight())
    }

    fn can_claim(&self) -> bool {
        let resting = self
            .failed
            .is_some_and(|since| since.elapsed() < STORE_PAUSE);
        !self.claiming && !resting && self.free_places() > 0
    }

    /// Claims for the free places, if there are any and something is due.
    fn claim(&mut self) {
        if !self.can_claim() {
            return;
        }
        let rules = self.rules();
        let wants = self.roster.plan(self.free_places(), rules);
        if wants.is_empty() {
            return;
        }
        self.claiming = true;
        let queue = Arc::clone(&self.desk.queue);
        let claim = Claim {
            wants: wants.clone(),
            now: rules.now,
            lease: self.terms.borrow().lease(),
        };
        self.tasks
            .spawn(async move { Back::Claimed(wants, queue.claim(claim).await) });
    }

    fn send_out(&mut self, wants: Vec<Want>, shares: Vec<Share>) {
        self.claiming = false;
        self.failed = None;
        let rules = self.rules();
        let terms = Arc::clone(&self.terms.borrow());
        for (Want { origin, .. }, share) in wants.into_iter().zip(shares) {
            self.roster
                .claimed(&origin, share.callbacks.len(), share.then_due, rules);
            for callback in share.callbacks {
                let (desk, terms) = (self.desk.clone(), Arc::clone(&terms));
                let courier = courier::deliver(desk, terms, origin.clone(), callback);
                self.tasks.spawn(courier.map(Back::Delivered));
            }
        }
        self.desk.observer.in_flight(self.roster.in_flight());
    }

    fn store_failed(&mut self, error: StoreError, what: &'static str) -> Result<(), StoreError> {
        if error.is_permanent() {
            return Err(error);
        }
        tracing::error!(%error, what, "the store failed; nothing is sent until it works again");
        self.failed = Some(Stopwatch::start());
        Ok(())
    }

    fn rules(&self) -> Rules {
        Rules {
            now: self.desk.clock.now(),
            in_flight_per_origin_max: self.terms.borrow().in_flight_per_origin_max,
        }
    }

    /// Takes the couriers back that are still out.
    async fn drain(mut self, timeout: Duration) -> usize {
        let in_flight = self.roster.in_flight();
        tracing::info!(
            in_flight,
            "stopping: no more claims, waiting for the attempts in flight"
        );
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        loop {
            self.desk.observer.beat(self.desk.clock.now());
            let task = tokio::select! {
                task = self.tasks.join_next() => task,
                () = &mut deadline => {
                    let left = self.roster.in_flight();
                    tracing::warn!(
                        left,
                        "the drain timeout has passed; the next start ends these as interrupted"
                    );
                    return left;
                }
            };
            match task {
                None => return 0,
                // The claim that was under way has put them in flight: they are delivered too.
                Some(Ok(Back::Claimed(wants, Ok(shares)))) => self.send_out(wants, shares),
                Some(Ok(Back::Delivered(courier))) => {
                    let rules = self.rules();
                    self.roster
                        .finished(&courier.origin, courier.retry_at, rules);
                    self.desk.observer.in_flight(self.roster.in_flight());
                }
                Some(_) => {}
            }
        }
    }
}
