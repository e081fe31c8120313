//! Whose turn it is: fairness by origin, as a pure data structure.
//!
//! The roster knows of each origin how many attempts are under way, what has been claimed for it
//! and waits for a place (its stock), and when its next callback in the queue is due. It hands
//! out claims and places round-robin among the origins that have something to send and are below
//! their limit. So a merchant's backlog or hang takes no turn from another, and a claim touches
//! only origins that have something to claim, whatever the depth of the queue.
//!
//! Places are also kept back by [`Pace`]. Origins that take longer than [`SLOW_AFTER`] hold at
//! most half of all places together, and with those that have not yet ended an attempt at most
//! three quarters: when many merchants hang at once, those that answer have the rest.
//!
//! An origin that answers fast is claimed ahead for, as far as it will use up by the next claim,
//! judging by the last one. So places need not wait for a commit, and what hangs has no stock.
//!
//! It is a memory of hints. The truth is in the store: a hint that is too early costs one empty
//! claim, and one that was missed is made good by the next survey.
//!
//! Invariant: an origin stands in `ready` if it is due, below its limit and not part of a claim
//! under way; in `waiting` if and only if it is due later; in `stocked` if it has stock and is
//! below its limit. One at its limit stands nowhere, so work held back by a limit never makes the
//! loop spin. A queue may also hold what has left it by another way: its lane says what counts.

mod lane;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::{ClaimRequest, Endpoint, EndpointDue, Origin};

use lane::{Lane, Pace, Standing};

/// Origins in one claim: bounds its transaction.
const WANTS_MAX: usize = 64;

/// Callbacks claimed ahead of their places: bounds memory, and what a crash leaves as perhaps sent.
const AHEAD_MAX: usize = 2048;

/// How many times what was used up between the last two claims is claimed ahead for the next: a
/// commit may take longer than the one before, and growth shall not wait for it.
const AHEAD_FACTOR: usize = 4;

/// Origins known at a time. Beyond that, those that are not known yet wait for a later survey.
const LANES_MAX: usize = 65_536;

/// An attempt that takes longer makes its endpoint slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How long the pace of an endpoint is remembered that has nothing to send.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// The state of all origins; `T` is what is claimed.
#[derive(Debug)]
pub(super) struct Roster<T> {
    lanes: HashMap<Endpoint, Lane<T>>,
    /// By pace.
    ready: [VecDeque<Endpoint>; Pace::ALL.len()],
    waiting: BTreeSet<(Timestamp, Endpoint)>,
    stocked: VecDeque<Endpoint>,
    /// The origins that have attempts under way.
    origins: HashMap<Origin, BusyOrigin>,
    /// Attempts under way, by place.
    places: Vec<Option<Attempt>>,
    /// The numbers of those that are free.
    free: Vec<usize>,
    in_flight: usize,
    stock: usize,
    /// Attempts under way and stock together, by pace.
    held: [usize; Pace::ALL.len()],
    /// Origins in `ready` that could fill a free place at once, by pace.
    hungry: [usize; Pace::ALL.len()],
    /// Attempts that have ended since the last plan.
    ended: usize,
}

/// An attempt under way.
#[derive(Debug)]
struct Attempt {
    endpoint: Endpoint,
    since: Timestamp,
}

/// An origin that has attempts under way, of whatever app.
#[derive(Debug, Default)]
struct BusyOrigin {
    in_flight: usize,
    /// Those that have stock, but met the origin at its limit.
    waiting: Vec<Endpoint>,
}

/// The number of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaceNumber(usize);

/// Something to send, and the place for it.
#[derive(Debug)]
pub(super) struct Turn<T> {
    pub(super) place: PlaceNumber,
    pub(super) endpoint: Endpoint,
    pub(super) claimed: T,
}

/// What the turns depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// The moment.
    pub(super) now: Timestamp,
    /// `delivery.max_in_flight`
    pub(super) in_flight_max: usize,
    /// `delivery.max_in_flight_per_merchant`
    pub(super) in_flight_per_origin_max: usize,
    /// Whether more may be claimed than there are places.
    pub(super) claims_ahead: bool,
}

impl Rules {
    /// How much may be claimed ahead when `ended` attempts have ended since the last plan.
    fn ahead(self, ended: usize) -> usize {
        match self.claims_ahead {
            true => (AHEAD_FACTOR * ended).min(AHEAD_MAX),
            false => 0,
        }
    }
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: Default::default(),
            waiting: BTreeSet::new(),
            stocked: VecDeque::new(),
            origins: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            stock: 0,
            held: Default::default(),
            hungry: Default::default(),
            ended: 0,
        }
    }
}

impl<T> Roster<T> {
    /// Attempts under way, of all origins.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Callbacks that are claimed and wait for a place.
    pub(super) const fn stock(&self) -> usize {
        self.stock
    }

    /// A callback of `origin` is due at `due`.
    pub(super) fn heard(&mut self, EndpointDue { endpoint, due }: EndpointDue, rules: Rules) {
        let room = self.lanes.len() < LANES_MAX;
        let lane = match self.lanes.entry(endpoint.clone()) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(_) if !room => return,
            Entry::Vacant(vacant) => vacant.insert(Lane::default()),
        };
        lane.due = Some(lane.due.map_or(due, |known| known.min(due)));
        self.settle(&endpoint, rules);
    }

    /// Whether a claim would fill a place that stands empty otherwise.
    pub(super) fn is_hungry(&mut self, rules: Rules) -> bool {
        self.call_the_due(rules);
        Pace::ALL
            .iter()
            .any(|pace| self.hungry[*pace as usize] > 0 && self.room(*pace, 0, rules) > 0)
    }

    /// Chooses what to claim. The origins chosen are out of turn until [`Roster::claimed`] or
    /// [`Roster::unclaimed`].
    pub(super) fn plan(&mut self, rules: Rules) -> Vec<ClaimRequest> {
        self.call_the_due(rules);
        let ahead = rules.ahead(self.ended);
        self.ended = 0;
        let mut left = (rules.in_flight_max + ahead).saturating_sub(self.in_flight + self.stock);
        let all_ready: usize = self.ready.iter().map(VecDeque::len).sum();
        let mut wants = Vec::new();
        for pace in Pace::ALL {
            let of_this = self.ready[pace as usize].len();
            // So many of them as there are among all, so that none crowds out the others.
            let wants_max = wants.len() + (WANTS_MAX * of_this).div_ceil(all_ready.max(1));
            let mut room = self.room(pace, ahead, rules).min(left);
            while room > 0 && wants.len() < wants_max.min(WANTS_MAX) {
                let Some(endpoint) = self.ready[pace as usize].pop_front() else {
                    break;
                };
                // Those before this pace have had what there is for them.
                let others: usize = self.ready[pace as usize..].iter().map(VecDeque::len).sum();
                let share = left.div_ceil((others + 1).clamp(1, WANTS_MAX - wants.len()));
                let Some(limit) = self.call_for_claim(&endpoint, pace, share.min(room), rules)
                else {
                    continue;
                };
                left -= limit;
                room -= limit;
                wants.push(ClaimRequest { endpoint, limit });
            }
        }
        wants
    }

    /// Puts `origin` out of turn; returns how much to claim for it, or `None` if it was not in
    /// turn any more.
    fn call_for_claim(
        &mut self,
        endpoint: &Endpoint,
        pace: Pace,
        share: usize,
        rules: Rules,
    ) -> Option<usize> {
        let lane = self.lanes.get_mut(endpoint)?;
        if lane.standing != Standing::Ready || lane.pace != pace {
            return None;
        }
        let limit = share.min(lane.room(rules));
        self.hungry[pace as usize] -= usize::from(lane.is_hungry);
        lane.is_hungry = false;
        lane.standing = Standing::Claiming;
        lane.ended = 0;
        // What is heard from here on is news to the claim.
        lane.due = None;
        Some(limit)
    }

    /// A claim brought `claimed` for `origin`; its next is due at `then_due`.
    pub(super) fn claimed(
        &mut self,
        endpoint: &Endpoint,
        claimed: Vec<T>,
        then_due: Option<Timestamp>,
        rules: Rules,
    ) {
        let lane = self.lanes.entry(endpoint.clone()).or_default();
        self.stock += claimed.len();
        self.held[lane.pace as usize] += claimed.len();
        lane.stock.extend(claimed);
        lane.due = earliest(lane.due, then_due);
        lane.standing = Standing::Aside;
        self.stock_up(endpoint);
        self.settle(endpoint, rules);
    }

    /// The claim for `origin` failed: it is as due as it was.
    pub(super) fn unclaimed(&mut self, endpoint: &Endpoint, rules: Rules) {
        self.claimed(endpoint, Vec::new(), Some(rules.now), rules);
    }

    /// The next to be sent, if there is one and a place for it.
    pub(super) fn take(&mut self, rules: Rules) -> Option<Turn<T>> {
        while self.in_flight < rules.in_flight_max
            && let Some(endpoint) = self.stocked.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&endpoint) else {
                continue;
            };
            lane.is_stocked = false;
            if lane.stock.is_empty() {
                continue;
            }
            let busy = self.origins.entry(endpoint.origin.clone()).or_default();
            if busy.in_flight >= rules.in_flight_per_origin_max {
                busy.waiting.push(endpoint);
                continue;
            }
            let Some(claimed) = lane.stock.pop_front() else {
                continue;
            };
            busy.in_flight += 1;
            lane.in_flight += 1;
            self.in_flight += 1;
            self.stock -= 1;
            self.stock_up(&endpoint);
            let place = self.seat(&endpoint, rules.now);
            return Some(Turn {
                place,
                endpoint,
                claimed,
            });
        }
        None
    }

    /// Takes away all that waits for a place.
    pub(super) fn give_up_stock(&mut self) -> Vec<T> {
        let mut given_up = Vec::with_capacity(self.stock);
        for lane in self.lanes.values_mut() {
            self.held[lane.pace as usize] -= lane.stock.len();
            given_up.extend(lane.stock.drain(..));
            lane.is_stocked = false;
        }
        self.stocked.clear();
        self.stock = 0;
        given_up
    }

    fn seat(&mut self, endpoint: &Endpoint, now: Timestamp) -> PlaceNumber {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(Attempt {
            endpoint: endpoint.clone(),
            since: now,
        });
        PlaceNumber(place)
    }

    /// The attempt in `place` has ended.
    pub(super) fn finished(&mut self, place: PlaceNumber, rules: Rules) {
        let Some(Attempt { endpoint, since }) = self.places.get_mut(place.0).and_then(Option::take)
        else {
            return;
        };
        self.free.push(place.0);
        self.in_flight -= 1;
        self.leave_origin(&endpoint.origin);
        self.ended += 1;
        let pace = match rules.now.since(since) > SLOW_AFTER {
            true => Pace::Slow,
            false => Pace::Fast,
        };
        let Some(lane) = self.lanes.get_mut(&endpoint) else {
            return;
        };
        self.held[lane.pace as usize] -= 1;
        lane.in_flight -= 1;
        lane.ended += 1;
        lane.last_end = rules.now;
        self.keep_pace(&endpoint, pace, rules);
        self.stock_up(&endpoint);
        self.settle(&endpoint, rules);
    }

    /// Lets those go on that have waited for an attempt at `origin` to end.
    fn leave_origin(&mut self, origin: &Origin) {
        let Some(busy) = self.origins.get_mut(origin) else {
            return;
        };
        busy.in_flight -= 1;
        let waiting = std::mem::take(&mut busy.waiting);
        if busy.in_flight == 0 {
            self.origins.remove(origin);
        }
        for endpoint in waiting {
            self.stock_up(&endpoint);
        }
    }

    /// The limits may have changed: every endpoint finds its place anew.
    pub(super) fn resettle(&mut self, rules: Rules) {
        let endpoints: Vec<Endpoint> = self.lanes.keys().cloned().collect();
        for endpoint in endpoints {
            self.stock_up(&endpoint);
            self.settle(&endpoint, rules);
        }
    }

    /// Finds the origins with an attempt that has been under way for long.
    pub(super) fn review(&mut self, rules: Rules) {
        let is_slow = |attempt: &&Attempt| rules.now.since(attempt.since) > SLOW_AFTER;
        let attempts = self.places.iter().flatten();
        let slow: Vec<Endpoint> = attempts
            .filter(is_slow)
            .map(|attempt| attempt.endpoint.clone())
            .collect();
        for endpoint in slow {
            self.keep_pace(&endpoint, Pace::Slow, rules);
        }
    }

    /// Forgets the origins that have had nothing to send for long, and what the queues hold of
    /// those that have left them.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.lanes
            .retain(|_, lane| !lane.is_idle() || now.since(lane.last_end) < REMEMBERED);
        for pace in Pace::ALL {
            let mut seen = HashSet::new();
            self.ready[pace as usize].retain(|endpoint| {
                let stands = |lane: &Lane<T>| lane.standing == Standing::Ready && lane.pace == pace;
                self.lanes.get(endpoint).is_some_and(stands) && seen.insert(endpoint.clone())
            });
        }
    }

    /// When the next endpoint that is not due yet will be.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// How much may be claimed for origins of this pace together.
    fn room(&self, pace: Pace, ahead: usize, rules: Rules) -> usize {
        let max = rules.in_flight_max;
        let [slow, unproven, _] = self.held;
        match pace {
            Pace::Slow => max.div_ceil(2).saturating_sub(slow),
            Pace::Unproven => (max - max / 4).saturating_sub(slow + unproven),
            Pace::Fast => max + ahead,
        }
        .min((max + ahead).saturating_sub(self.in_flight + self.stock))
    }

    fn call_the_due(&mut self, rules: Rules) {
        while let Some((due, _)) = self.waiting.first()
            && *due <= rules.now
            && let Some((_, endpoint)) = self.waiting.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.standing = Standing::Aside;
            }
            self.settle(&endpoint, rules);
        }
    }

    /// Puts `origin` in line for places if it has stock. That it is below its limit shows when
    /// its turn comes.
    fn stock_up(&mut self, endpoint: &Endpoint) {
        if let Some(lane) = self.lanes.get_mut(endpoint)
            && !lane.is_stocked
            && !lane.stock.is_empty()
        {
            lane.is_stocked = true;
            self.stocked.push_back(endpoint.clone());
        }
    }

    fn keep_pace(&mut self, endpoint: &Endpoint, pace: Pace, rules: Rules) {
        let Some(lane) = self.lanes.get_mut(endpoint) else {
            return;
        };
        if lane.pace == pace {
            return;
        }
        self.held[lane.pace as usize] -= lane.held();
        self.held[pace as usize] += lane.held();
        if lane.standing == Standing::Ready {
            self.hungry[lane.pace as usize] -= usize::from(lane.is_hungry);
            lane.is_hungry = false;
            lane.standing = Standing::Aside;
        }
        lane.pace = pace;
        self.settle(endpoint, rules);
    }

    /// Puts `origin` where its state says.
    fn settle(&mut self, endpoint: &Endpoint, rules: Rules) {
        let Some(lane) = self.lanes.get_mut(endpoint) else {
            return;
        };
        let standing = match (lane.standing, lane.due) {
            (Standing::Claiming, _) => Standing::Claiming,
            (_, Some(due)) if due > rules.now => Standing::Waiting(due),
            (_, Some(_)) if lane.room(rules) > 0 => Standing::Ready,
            _ => Standing::Aside,
        };
        let is_hungry = standing == Standing::Ready && lane.held() < rules.in_flight_per_origin_max;
        let hungry = &mut self.hungry[lane.pace as usize];
        *hungry += usize::from(is_hungry);
        *hungry -= usize::from(lane.is_hungry);
        lane.is_hungry = is_hungry;
        if standing != lane.standing {
            if let Standing::Waiting(due) = lane.standing {
                self.waiting.remove(&(due, endpoint.clone()));
            }
            match standing {
                Standing::Waiting(due) => {
                    self.waiting.insert((due, endpoint.clone()));
                }
                Standing::Ready => self.ready[lane.pace as usize].push_back(endpoint.clone()),
                Standing::Aside | Standing::Claiming => {}
            }
            lane.standing = standing;
        }
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
