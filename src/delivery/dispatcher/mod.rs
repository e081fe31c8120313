//! The loop: hears what is due, lets the store record and claim, and sends couriers.
//!
//! One `select!` makes one [`Event`] at a time, and each is handled without waiting for anything:
//! whatever waits (a turn of the store, a look at the queue, an attempt) is a task. At most one
//! turn, one look and one survey are under way at a time.
//!
//! Couriers do not come back to the loop after each attempt: they hand in on the [`Floor`] and
//! take their next errand there. The loop is stirred when that leaves it something to do: a place
//! that only a claim can fill, or outcomes enough for a commit. Fewer wait for company, as long as
//! the store says ([`Queue::linger`]), unless nothing else is under way.
//!
//! What else wakes the loop: a nudge from the store (another process has committed), the moment at
//! which the next known callback is due, new terms, and a slow poll behind all of these.
//!
//! Deliberately absent: schedules (the domain's), SQL (the store's), and any truth of its own; if
//! it forgets everything, the next survey tells it again.

mod commands;
mod drain;
mod scouting;
mod sharing;
mod weather;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::commands::CarryingOut;
use self::scouting::{Looking, Surveying};
use self::sharing::TakingOver;
use self::weather::Weather;
use super::courier::{self, Ended};
use super::floor::{BATCH, Floor, State};
use super::observer::Observer;
use super::roster::Rules;
use super::terms::Terms;
use super::turn::{self, Claimed, Desk, Settled, Turned};
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{CallbackId, Timestamp};
use crate::failpoint;
use crate::store::{
    Arrivals, CarriedOut, Claim, ClaimRequest, ClaimResult, EndpointDue, Queue, StoreError, Survey,
};

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
    /// A courier has left something to do.
    Stirred,
    /// Outcomes have waited long enough.
    Ripe,
    /// The terms have changed.
    Reloaded,
    /// It is time to end.
    Stopped,
    /// The drain has taken as long as it may.
    Overdue,
    /// A task has come back.
    Back(Back),
}

/// What tasks come back with.
enum Back {
    Turned(Box<Turned>),
    Looked(Result<Arrivals, StoreError>),
    Surveyed(Result<Survey, StoreError>),
    CarriedOut(Result<CarriedOut, StoreError>),
    /// A stubborn outcome is recorded.
    Insisted(Result<Vec<EndpointDue>, StoreError>),
    /// Claims are given back.
    Released(Result<(), StoreError>),
    /// What others have left behind is taken over.
    TookOver(Result<usize, StoreError>),
    /// A courier has found nothing more to send.
    Courier,
}

impl Dispatcher {
    /// A dispatcher of `queue` under the newest of `terms`.
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
    /// gives back what has been claimed and not been sent, and waits for the attempts under way to
    /// end and to be recorded, at most `drain_timeout` long.
    /// What is cut off by that is ended as `interrupted` by the next start. Returns how many there
    /// were.
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
        let interrupted = self
            .desk
            .queue
            .interrupt_in_flight(self.desk.clock.now())
            .await?;
        failpoint::here!("start-after-reclaim");
        if interrupted > 0 {
            tracing::warn!(
                callbacks = interrupted,
                "attempts were in flight when the last dispatcher stopped; they are due again"
            );
        }
        // So that a pause that was asked for meanwhile holds from the first claim on.
        commands::begin(&self.desk).await;
        // First the mark, then the survey: what comes between is seen by both.
        let newest = self.desk.queue.newest().await?;
        let mut shift = Shift::new(self, newest, drain_timeout);
        shift.survey();
        shift.work(stop).await
    }
}

/// A dispatcher at work.
struct Shift {
    desk: Desk,
    terms: watch::Receiver<Arc<Terms>>,
    floor: Arc<Floor>,
    tasks: JoinSet<Back>,
    slow_poll: Interval,
    /// Rows above it are new.
    newest: CallbackId,
    /// How many outcomes the turn under way records; `None`: there is no turn under way.
    turning: Option<usize>,
    /// When the outcomes that wait are to be recorded.
    ripe_at: Option<Instant>,
    /// Outcomes that the store takes alone or not at all.
    insisting: usize,
    /// Claims that are being given back.
    releasing: usize,
    looking: Looking,
    surveying: Surveying,
    weather: Weather,
    carrying_out: CarryingOut,
    taking_over: TakingOver,
    /// Since the store last failed.
    failed: Option<Stopwatch>,
    drain_timeout: Duration,
    /// When a drain that is under way must have ended.
    drained_by: Option<Instant>,
}

impl Shift {
    fn new(dispatcher: Dispatcher, newest: CallbackId, drain_timeout: Duration) -> Self {
        let mut slow_poll = tokio::time::interval(SLOW_POLL);
        slow_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let terms = Arc::clone(&dispatcher.terms.borrow());
        Self {
            desk: dispatcher.desk,
            terms: dispatcher.terms,
            floor: Arc::new(Floor::new(terms)),
            tasks: JoinSet::new(),
            slow_poll,
            newest,
            turning: None,
            ripe_at: None,
            insisting: 0,
            releasing: 0,
            looking: Looking::No,
            surveying: Surveying::none_yet(),
            weather: Weather::default(),
            carrying_out: CarryingOut::default(),
            taking_over: TakingOver::none_yet(),
            failed: None,
            drain_timeout,
            drained_by: None,
        }
    }

    /// Returns how many attempts a drain has cut off.
    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<usize, StoreError> {
        loop {
            self.desk.observer.beat(self.desk.clock.now());
            self.tell_of_outage();
            self.take_seat();
            self.turn();
            self.send_out();
            self.give_back_lapsed();
            if self.drained_by.is_some() && self.open() == 0 {
                return Ok(0);
            }
            match self.next_event(&mut stop).await {
                Event::Nudged => self.look(),
                // The next round of this loop sees to it.
                Event::Due | Event::Stirred | Event::Ripe => {}
                Event::Polled => {
                    self.review();
                    self.take_over();
                    self.look();
                    self.survey_if_due();
                }
                Event::Reloaded => self.reload(),
                Event::Stopped => self.begin_drain(),
                Event::Overdue => return Ok(self.cut_off()),
                Event::Back(back) => self.welcome(back)?,
            }
        }
    }

    async fn next_event(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let due = self.floor.lock().roster.next_due();
        let due = due.unwrap_or(Timestamp::MAX);
        let is_draining = self.drained_by.is_some();
        let may_turn = self.turning.is_none() && !self.is_resting();
        tokio::select! {
            // A sender that is gone can't ask for more work either.
            _ = stop.wait_for(|stop| *stop), if !is_draining => Event::Stopped,
            () = until(self.drained_by), if is_draining => Event::Overdue,
            Some(task) = self.tasks.join_next() => match task {
                Ok(back) => Event::Back(back),
                // Couriers catch panics of their own; this is one of the loop's tasks.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = self.floor.stirred(), if may_turn => Event::Stirred,
            () = until(self.ripe_at), if may_turn => Event::Ripe,
            Ok(()) = self.terms.changed() => Event::Reloaded,
            () = self.desk.queue.changed(), if !is_draining => Event::Nudged,
            _ = self.slow_poll.tick() => Event::Polled,
            () = self.desk.clock.sleep_until(due), if may_turn && !is_draining => Event::Due,
        }
    }

    fn welcome(&mut self, back: Back) -> Result<(), StoreError> {
        match back {
            Back::Turned(turned) => self.turned(*turned),
            Back::Looked(Ok(arrivals)) => {
                self.heard(arrivals);
                Ok(())
            }
            Back::Looked(Err(error)) => {
                self.looking = Looking::No;
                self.store_failed(error, "look for new rows")
            }
            Back::Surveyed(Ok(found)) => {
                self.surveyed(found);
                Ok(())
            }
            Back::Surveyed(Err(error)) => {
                self.surveying.under_way = false;
                self.store_failed(error, "survey the endpoints")
            }
            Back::CarriedOut(carried_out) => {
                self.carried_out(carried_out);
                Ok(())
            }
            Back::Insisted(recorded) => {
                self.insisting -= 1;
                self.all_due(recorded?);
                self.insisted();
                Ok(())
            }
            Back::Released(released) => {
                self.releasing -= 1;
                released
            }
            Back::TookOver(taken_over) => {
                self.took_over(taken_over);
                Ok(())
            }
            Back::Courier => Ok(()),
        }
    }

    /// Lets the store record and claim, if there is reason to.
    fn turn(&mut self) {
        if self.turning.is_some() || self.is_resting() {
            return;
        }
        let now = self.desk.clock.now();
        let mut state = self.floor.lock();
        let rules = state.rules(now);
        let is_hungry = state.roster.is_hungry(rules);
        let claims = self.drained_by.is_none() && state.outage.may_claim(now);
        let has_reason = Self::is_ripe(&mut self.ripe_at, &state, self.desk.queue.batch_delay())
            || (claims && is_hungry)
            || state.outage.owes();
        if !has_reason {
            return;
        }
        let requests = if claims {
            state.roster.plan(rules)
        } else {
            Vec::new()
        };
        if !requests.is_empty() {
            state.outage.claims(now);
        }
        let mut ended = std::mem::take(&mut state.ended);
        state.outage.correct(&mut ended, now);
        let refunds = state.outage.take_refunds();
        if requests.is_empty() && ended.is_empty() && refunds.is_empty() {
            return;
        }
        state.is_turning = true;
        let lease = state.terms.lease();
        drop(state);
        self.ripe_at = None;
        self.turning = Some(ended.len());
        let claim = (!requests.is_empty()).then_some(Claim {
            requests,
            now,
            lease,
        });
        self.tasks.spawn(
            turn::turn(self.desk.clone(), ended, claim, refunds)
                .map(|turned| Back::Turned(Box::new(turned))),
        );
    }

    fn is_ripe(ripe_at: &mut Option<Instant>, state: &State, linger: Duration) -> bool {
        let waits = state.ended.len();
        if waits == 0 {
            *ripe_at = None;
            return false;
        }
        if waits >= BATCH || state.roster.in_flight() == 0 {
            return true;
        }
        let now = Stopwatch::start();
        let ripe_at = *ripe_at.get_or_insert_with(|| now.deadline(linger));
        ripe_at <= now.deadline(Duration::ZERO)
    }

    fn turned(&mut self, turned: Turned) -> Result<(), StoreError> {
        let Turned {
            claimed,
            settled,
            refunded,
        } = turned;
        self.turning = None;
        self.floor.lock().is_turning = false;
        self.settled(settled)?;
        if let Some(refunded) = refunded {
            self.refunded(refunded)?;
        }
        match claimed {
            None => Ok(()),
            Some(claimed) => self.claimed(claimed),
        }
    }

    fn claimed(&mut self, Claimed { requests, results }: Claimed) -> Result<(), StoreError> {
        let now = self.desk.clock.now();
        let mut state = self.floor.lock();
        let rules = state.rules(now);
        match results {
            Ok(results) => {
                self.failed = None;
                for (ClaimRequest { endpoint, .. }, result) in requests.into_iter().zip(results) {
                    let ClaimResult {
                        callbacks,
                        then_due,
                    } = result;
                    state.roster.claimed(&endpoint, callbacks, then_due, rules);
                }
                // Too late to send it.
                let stock = match self.drained_by {
                    Some(_) => state.roster.give_up_stock(),
                    None => Vec::new(),
                };
                drop(state);
                self.give_back(stock);
                Ok(())
            }
            Err(error) => {
                for request in requests {
                    state.roster.unclaimed(&request.endpoint, rules);
                }
                drop(state);
                self.store_failed(error, "claim")
            }
        }
    }

    fn settled(&mut self, settled: Settled) -> Result<(), StoreError> {
        self.all_due(settled.due);
        for ended in settled.stubborn {
            self.insisting += 1;
            self.tasks
                .spawn(turn::insist(self.desk.clone(), ended).map(Back::Insisted));
        }
        let Some((mut unrecorded, error)) = settled.unrecorded else {
            return Ok(());
        };
        if error.is_permanent() {
            for Ended { about, .. } in &unrecorded {
                turn::lost(about.id.0, &error);
            }
        }
        let mut state = self.floor.lock();
        unrecorded.append(&mut state.ended);
        state.ended = unrecorded;
        drop(state);
        self.store_failed(error, "record")
    }

    fn all_due(&self, due: Vec<EndpointDue>) {
        let rules = self.rules();
        let mut state = self.floor.lock();
        for due in due {
            state.roster.heard(due, rules);
        }
    }

    /// Sends couriers to the places that are free, if something has been claimed for them.
    fn send_out(&mut self) {
        let now = self.desk.clock.now();
        let mut state = self.floor.lock();
        while let Some(errand) = state.take(now) {
            let floor = Arc::clone(&self.floor);
            let courier = courier::run(floor, Arc::clone(&self.desk.clock), errand);
            self.tasks.spawn(courier.map(|()| Back::Courier));
        }
        let in_flight = state.roster.in_flight();
        drop(state);
        self.desk.observer.in_flight(in_flight);
    }

    fn store_failed(&mut self, error: StoreError, what: &'static str) -> Result<(), StoreError> {
        if error.is_permanent() {
            return Err(error);
        }
        tracing::error!(%error, what, "the store failed; nothing is sent until it works again");
        self.failed = Some(Stopwatch::start());
        Ok(())
    }

    fn is_resting(&self) -> bool {
        self.failed
            .is_some_and(|since| since.elapsed() < STORE_PAUSE)
    }

    fn rules(&self) -> Rules {
        self.floor.lock().rules(self.desk.clock.now())
    }

    /// Judges how fast the origins are that have an attempt under way.
    fn review(&self) {
        let mut state = self.floor.lock();
        let now = self.desk.clock.now();
        if state.outage.review(now) {
            let rules = state.rules(now);
            state.roster.resettle(rules);
        }
        let rules = state.rules(now);
        state.roster.review(rules);
    }

    fn reload(&self) {
        let mut state = self.floor.lock();
        state.terms = Arc::clone(&self.terms.borrow());
        if !state.terms.shield {
            state.outage.disregard();
        }
        let rules = state.rules(self.desk.clock.now());
        state.roster.resettle(rules);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
