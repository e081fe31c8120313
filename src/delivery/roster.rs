//! Whose turn it is: fairness by origin, as a pure data structure.
//!
//! The roster knows of each origin how many attempts are in flight and when its earliest callback
//! is due, and hands out the free places round-robin among the origins that are due and below
//! their limit. So a merchant's backlog or hang takes no turn from another, and a claim touches
//! only origins that have something to claim, whatever the depth of the queue.
//!
//! It is a memory of hints. The truth is in the store: a hint that is too early costs one empty
//! claim, and one that was missed is made good by the next survey.
//!
//! Invariant: an origin stands in `ready` if and only if it is due, below its limit and not part
//! of a claim under way; in `waiting` if and only if it is due later. One at its limit stands in
//! neither, so work held back by a limit never makes the loop spin.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::domain::Timestamp;
use crate::store::{Origin, OriginDue, Want};

/// Origins in one claim: bounds its transaction.
const WANTS_MAX: usize = 64;

/// Origins known at a time. Beyond that, those that are not known yet wait for a later survey.
const LANES_MAX: usize = 65_536;

/// The state of all origins.
#[derive(Debug, Default)]
pub(super) struct Roster {
    lanes: HashMap<Origin, Lane>,
    ready: VecDeque<Origin>,
    waiting: BTreeSet<(Timestamp, Origin)>,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    due: Option<Timestamp>,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In no queue: nothing due, or at the limit.
    #[default]
    Aside,
    /// In `ready`.
    Ready,
    /// In `waiting` under this moment.
    Waiting(Timestamp),
    /// Part of the claim under way.
    Claiming,
}

impl Roster {
    /// Attempts in flight, of all origins.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A callback of `origin` is due at `due`.
    pub(super) fn heard(&mut self, OriginDue { origin, due }: OriginDue, rules: Rules) {
        let room = self.lanes.len() < LANES_MAX;
        let lane = match self.lanes.entry(origin.clone()) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(_) if !room => return,
            Entry::Vacant(vacant) => vacant.insert(Lane::default()),
        };
        lane.due = Some(lane.due.map_or(due, |known| known.min(due)));
        self.settle(&origin, rules);
    }

    /// Chooses what to claim with `free` places. The origins chosen are out of turn until
    /// [`Roster::claimed`] or [`Roster::unclaimed`].
    pub(super) fn plan(&mut self, free: usize, rules: Rules) -> Vec<Want> {
        self.call_the_due(rules);
        let mut left = free;
        let mut wants = Vec::new();
        while left > 0 && wants.len() < WANTS_MAX {
            let share = left.div_ceil(self.ready.len().clamp(1, WANTS_MAX - wants.len()));
            let Some(origin) = self.ready.pop_front() else {
                break;
            };
            let Some(lane) = self.lanes.get_mut(&origin) else {
                continue;
            };
            let limit = share.min(
                rules
                    .in_flight_per_origin_max
                    .saturating_sub(lane.in_flight),
            );
            lane.place = Place::Claiming;
            // What is heard from here on is news to the claim.
            lane.due = None;
            left -= limit;
            wants.push(Want { origin, limit });
        }
        wants
    }

    /// A claim put `taken` callbacks of `origin` in flight; its next is due at `then_due`.
    pub(super) fn claimed(
        &mut self,
        origin: &Origin,
        taken: usize,
        then_due: Option<Timestamp>,
        rules: Rules,
    ) {
        let lane = self.lanes.entry(origin.clone()).or_default();
        lane.in_flight += taken;
        self.in_flight += taken;
        lane.due = earliest(lane.due, then_due);
        lane.place = Place::Aside;
        self.settle(origin, rules);
    }

    /// The claim for `origin` failed: it is as due as it was.
    pub(super) fn unclaimed(&mut self, origin: &Origin, rules: Rules) {
        self.claimed(origin, 0, Some(rules.now), rules);
    }

    /// An attempt to `origin` has ended; its callback is due again at `retry_at`, if at all.
    pub(super) fn finished(&mut self, origin: &Origin, retry_at: Option<Timestamp>, rules: Rules) {
        let lane = self.lanes.entry(origin.clone()).or_default();
        lane.in_flight = lane.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        lane.due = earliest(lane.due, retry_at);
        self.settle(origin, rules);
    }

    /// The limits may have changed: every origin finds its place anew.
    pub(super) fn resettle(&mut self, rules: Rules) {
        let origins: Vec<Origin> = self.lanes.keys().cloned().collect();
        for origin in origins {
            self.settle(&origin, rules);
        }
    }

    /// When the next origin that is not due yet will be.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(due, _)| *due)
    }

    fn call_the_due(&mut self, rules: Rules) {
        while let Some((due, _)) = self.waiting.first()
            && *due <= rules.now
            && let Some((_, origin)) = self.waiting.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&origin) {
                lane.place = Place::Aside;
            }
            self.settle(&origin, rules);
        }
    }

    /// Puts `origin` where its state says, and forgets it if there is nothing to remember.
    fn settle(&mut self, origin: &Origin, rules: Rules) {
        let Some(lane) = self.lanes.get_mut(origin) else {
            return;
        };
        let below_limit = lane.in_flight < rules.in_flight_per_origin_max;
        let place = match (lane.place, lane.due) {
            (Place::Claiming, _) => Place::Claiming,
            (_, Some(due)) if due > rules.now => Place::Waiting(due),
            (_, Some(_)) if below_limit => Place::Ready,
            _ => Place::Aside,
        };
        if place != lane.place {
            match lane.place {
                Place::Waiting(due) => {
                    self.waiting.remove(&(due, origin.clone()));
                }
                // Leaves in the middle of the queue, which only a lowered limit or a clock that
                // was set back can bring about.
                Place::Ready => self.ready.retain(|other| other != origin),
                Place::Aside | Place::Claiming => {}
            }
            match place {
                Place::Waiting(due) => {
                    self.waiting.insert((due, origin.clone()));
                }
                Place::Ready => self.ready.push_back(origin.clone()),
                Place::Aside | Place::Claiming => {}
            }
            lane.place = place;
        }
        if lane.place == Place::Aside && lane.in_flight == 0 && lane.due.is_none() {
            self.lanes.remove(origin);
        }
    }
}

/// What the turns depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// The moment.
    pub(super) now: Timestamp,
    /// `delivery.max_in_flight_per_merchant`
    pub(super) in_flight_per_origin_max: usize,
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: i64) -> Rules {
        Rules {
            now: Timestamp::from_millis(now),
            in_flight_per_origin_max: 4,
        }
    }

    fn due(origin: &str, due: i64) -> OriginDue {
        OriginDue {
            origin: Origin::new(origin),
            due: Timestamp::from_millis(due),
        }
    }

    fn plan(roster: &mut Roster, free: usize, now: i64) -> Vec<(String, usize)> {
        let wants = roster.plan(free, at(now));
        wants
            .into_iter()
            .map(|want| (want.origin.to_string(), want.limit))
            .collect()
    }

    fn named(wants: &[(&str, usize)]) -> Vec<(String, usize)> {
        wants
            .iter()
            .map(|(origin, limit)| ((*origin).to_owned(), *limit))
            .collect()
    }

    fn has_ready(roster: &Roster, rules: Rules) -> bool {
        !roster.ready.is_empty() || roster.next_due().is_some_and(|due| due <= rules.now)
    }

    #[test]
    fn free_places_are_shared_among_the_due() {
        let mut roster = Roster::default();
        for origin in ["a", "b", "c"] {
            roster.heard(due(origin, 0), at(0));
        }
        roster.heard(due("later", 100), at(0));
        assert_eq!(
            plan(&mut roster, 6, 0),
            named(&[("a", 2), ("b", 2), ("c", 2)])
        );
        assert_eq!(plan(&mut roster, 6, 0), named(&[]), "all are being claimed");
        assert_eq!(roster.next_due(), Some(Timestamp::from_millis(100)));
    }

    #[test]
    fn one_backlog_takes_turns_with_the_others() {
        let mut roster = Roster::default();
        let past = Some(Timestamp::from_millis(0));
        roster.heard(due("deep", 0), at(0));
        roster.heard(due("a", 0), at(0));
        assert_eq!(plan(&mut roster, 1, 0), named(&[("deep", 1)]));
        roster.claimed(&Origin::new("deep"), 1, past, at(0));
        assert_eq!(plan(&mut roster, 1, 0), named(&[("a", 1)]));
        roster.claimed(&Origin::new("a"), 1, None, at(0));
        assert_eq!(plan(&mut roster, 1, 0), named(&[("deep", 1)]));
    }

    #[test]
    fn an_origin_at_its_limit_waits_for_an_end_and_does_not_spin() {
        let mut roster = Roster::default();
        let origin = Origin::new("hangs");
        let past = Some(Timestamp::from_millis(0));
        roster.heard(due("hangs", 0), at(0));
        assert_eq!(plan(&mut roster, 100, 0), named(&[("hangs", 4)]));
        roster.claimed(&origin, 4, past, at(0));
        assert!(!has_ready(&roster, at(0)));
        roster.heard(due("hangs", 0), at(0));
        assert!(!has_ready(&roster, at(0)), "still at its limit");
        roster.finished(&origin, Some(Timestamp::from_millis(300)), at(1));
        assert_eq!(plan(&mut roster, 100, 1), named(&[("hangs", 1)]));
    }

    #[test]
    fn news_during_a_claim_is_kept() {
        let mut roster = Roster::default();
        roster.heard(due("a", 0), at(0));
        plan(&mut roster, 1, 0);
        roster.heard(due("a", 0), at(0));
        roster.claimed(&Origin::new("a"), 1, None, at(0));
        assert!(has_ready(&roster, at(0)));
    }

    #[test]
    fn a_failed_claim_is_tried_again() {
        let mut roster = Roster::default();
        roster.heard(due("a", 0), at(0));
        plan(&mut roster, 1, 0);
        roster.unclaimed(&Origin::new("a"), at(0));
        assert_eq!(plan(&mut roster, 1, 0), named(&[("a", 1)]));
        assert_eq!(roster.in_flight(), 0);
    }

    #[test]
    fn what_is_finished_is_forgotten() {
        let mut roster = Roster::default();
        roster.heard(due("a", 0), at(0));
        plan(&mut roster, 1, 0);
        roster.claimed(&Origin::new("a"), 1, None, at(0));
        roster.finished(&Origin::new("a"), None, at(0));
        assert!(roster.lanes.is_empty() && roster.waiting.is_empty());
    }

    #[test]
    fn a_lowered_limit_and_a_clock_set_back_hold() {
        let mut roster = Roster::default();
        roster.heard(due("a", 50), at(60));
        assert!(has_ready(&roster, at(60)));
        roster.resettle(at(40));
        assert!(!has_ready(&roster, at(40)));
        assert_eq!(plan(&mut roster, 9, 40), named(&[]));
        assert_eq!(plan(&mut roster, 9, 50), named(&[("a", 4)]));
    }
}
