//! Where couriers and the loop meet: the roster and the attempts that wait to be recorded, behind
//! one lock that is held for moments.
//!
//! A courier hands in what it brings and takes the next errand in one step, so a place does not
//! stand empty while an outcome waits for its commit. The loop is stirred only when it has
//! something to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::courier::Ended;
use super::outage::{Outage, PROBES_MAX};
use super::roster::{PlaceNumber, Roster, Rules, Turn};
use super::terms::Terms;
use crate::domain::Timestamp;
use crate::store::{ClaimedCallback, Endpoint, FleetPosition};

/// Ended attempts that are worth a commit of their own.
pub(super) const BATCH: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Floor {
    state: Mutex<State>,
    stirred: Notify,
}

/// What is behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) roster: Roster<ClaimedCallback>,
    /// Not recorded yet.
    pub(super) ended: Vec<Ended>,
    pub(super) outage: Outage,
    /// What an attempt that begins now is made under.
    pub(super) terms: Arc<Terms>,
    /// Claims that had lapsed before anything was sent under them.
    pub(super) lapsed: Vec<ClaimedCallback>,
    /// Which of the queue's dispatchers this is.
    pub(super) seat: FleetPosition,
    /// Whether the store is at work for the loop, which looks around anyway when that is done.
    pub(super) is_turning: bool,
}

/// An attempt to be made.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) place: PlaceNumber,
    pub(super) endpoint: Endpoint,
    pub(super) claimed: ClaimedCallback,
    pub(super) terms: Arc<Terms>,
}

impl Floor {
    pub(super) fn new(terms: Arc<Terms>) -> Self {
        Self {
            state: Mutex::new(State {
                roster: Roster::default(),
                ended: Vec::new(),
                outage: Outage::default(),
                terms,
                lapsed: Vec::new(),
                seat: FleetPosition::ALONE,
                is_turning: false,
            }),
            stirred: Notify::new(),
        }
    }

    /// Returns when there is perhaps something for the loop to do.
    pub(super) fn stirred(&self) -> Notified<'_> {
        self.stirred.notified()
    }

    /// No code panics while it holds the lock.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a courier brings back and gives it the next errand, if there is one. `terms` are
    /// those of its last one.
    pub(super) fn hand_in(
        &self,
        place: PlaceNumber,
        mut ended: Ended,
        terms: Arc<Terms>,
        now: Timestamp,
    ) -> Option<Errand> {
        let mut state = self.lock();
        let turns = state.watch_for_outage(&mut ended, now);
        let rules = state.rules(now);
        state.roster.finished(place, rules);
        state.ended.push(ended);
        let errand = state.take_under(Some(terms), now);
        let waits = state.ended.len();
        let stirs = !state.is_turning
            && (turns
                || !state.lapsed.is_empty()
                || waits == 1
                || waits == BATCH
                || state.roster.in_flight() == 0
                || state.roster.is_hungry(rules));
        drop(state);
        if stirs {
            self.stirred.notify_one();
        }
        errand
    }
}

impl State {
    /// The next errand, if there is one and a place for it.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Errand> {
        self.take_under(None, now)
    }

    /// The same for who has the `terms` of an earlier one: mostly they are the newest still, and are
    /// handed on instead of being counted down and up again.
    fn take_under(&mut self, terms: Option<Arc<Terms>>, now: Timestamp) -> Option<Errand> {
        let rules = self.rules(now);
        loop {
            let Turn {
                place,
                endpoint,
                claimed,
            } = self.roster.take(rules)?;
            if claimed.lease.is_valid() {
                return Some(Errand {
                    place,
                    endpoint,
                    claimed,
                    terms: terms
                        .filter(|terms| Arc::ptr_eq(terms, &self.terms))
                        .unwrap_or_else(|| Arc::clone(&self.terms)),
                });
            }
            self.roster.finished(place, rules);
            self.lapsed.push(claimed);
        }
    }

    /// Learns from an attempt whether there is an outage of our own; returns whether one has begun
    /// or ended by this.
    fn watch_for_outage(&mut self, ended: &mut Ended, now: Timestamp) -> bool {
        let turns = self.terms.shield && self.outage.heard(ended, now);
        if turns {
            self.roster.resettle(self.rules(now));
        }
        turns
    }

    /// During an outage of our own, a few attempts find out whether it is over.
    pub(super) fn rules(&self, now: Timestamp) -> Rules {
        let Terms {
            in_flight_max,
            in_flight_per_origin_max,
            ..
        } = *self.terms;
        let in_flight_per_origin_max = self.seat.split(in_flight_per_origin_max);
        match self.outage.is_on() {
            false => Rules {
                now,
                in_flight_max,
                in_flight_per_origin_max,
                claims_ahead: true,
            },
            true => Rules {
                now,
                in_flight_max: in_flight_max.min(PROBES_MAX),
                in_flight_per_origin_max: 1,
                claims_ahead: false,
            },
        }
    }

    /// Attempts under way, to begin, and to be recorded.
    pub(super) fn open(&self) -> usize {
        self.roster.in_flight() + self.roster.stock() + self.ended.len()
    }
}
