//! Whether it is us: an outage of our own must not use up the merchants' retries. Pure.
//!
//! If within a minute attempts to five or more origins come to no connection and none to anyone
//! gets an answer, the fault is taken to be on our side: a cable, a router, a resolver, a firewall
//! rule. From then on no failure counts, and what that minute had charged is given back. One
//! answer from anywhere ends it.
//!
//! While it lasts, a few attempts every few seconds, each to another origin, find out whether it
//! is over. The others stay due in the queue.
//!
//! Merchants can be down together without our doing. But as long as anyone at all answers, that
//! is no outage; and if nobody does, nobody can say whose it is, and a merchant who is not told
//! is worse off than one who is told late.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::courier::Ended;
use crate::domain::{LOCAL_FAULT_WAIT, Next, Reach, Timestamp};
use crate::store::{ChargedAttempt, Origin};

/// What is looked at: the last minute.
const WINDOW: Duration = Duration::from_secs(60);

/// As many origins must have failed.
const ORIGINS_MIN: usize = 5;

/// More origins than this tell no more.
const ORIGINS_MAX: usize = 1024;

/// Attempts that can be given back. A window with more of them keeps the newest.
const CHARGED_MAX: usize = 262_144;

/// During an outage: attempts under way at a time, each to another origin.
pub(super) const PROBES_MAX: usize = 8;

/// During an outage: the pause between two claims.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// What stands behind the detail of an attempt that was not counted for this.
pub(super) const NOT_COUNTED: &str =
    "; not counted: no merchant could be reached at the time, so the fault is taken for our own";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The last answer from anywhere.
    answered_at: Option<Timestamp>,
    /// Since then: who could not be reached, and when last.
    unreached: HashMap<Origin, Timestamp>,
    /// Since then: what was charged.
    charged: VecDeque<(Timestamp, ChargedAttempt)>,
    /// The outage that is under way.
    current: Option<Current>,
    /// To be given back.
    refunds: HashSet<ChargedAttempt>,
}

/// An outage under way.
#[derive(Debug)]
struct Current {
    /// The last failure that speaks for it.
    seen_at: Timestamp,
    probed_at: Option<Timestamp>,
}

impl Outage {
    /// Whether there is one.
    pub(super) const fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// How many origins could not be reached.
    pub(super) fn unreached(&self) -> usize {
        self.unreached.len()
    }

    /// Learns from an attempt. During an outage, and for the one that shows it, the attempt is
    /// not counted. Returns whether an outage has begun or ended by this.
    pub(super) fn heard(&mut self, ended: &mut Ended, now: Timestamp) -> bool {
        match ended.about.reach {
            Reach::NotTried => false,
            Reach::Reached => self.answered(now),
            Reach::Unreached | Reach::Silent => self.failed(ended, now),
        }
    }

    fn answered(&mut self, now: Timestamp) -> bool {
        self.answered_at = Some(now);
        if !self.unreached.is_empty() || !self.charged.is_empty() {
            self.unreached.clear();
            self.charged.clear();
        }
        self.current.take().is_some()
    }

    fn failed(&mut self, ended: &mut Ended, now: Timestamp) -> bool {
        if ended.about.reach == Reach::Unreached {
            self.note_unreached(&ended.about.endpoint.origin, now);
        }
        if let Some(current) = &mut self.current {
            current.seen_at = now;
            uncount(ended, now);
            return false;
        }
        if ended.attempt.attempt.verdict.counted {
            self.charged.push_back((now, ended.attempt.lease.attempt()));
        }
        self.forget_what_is_old(now);
        let is_outage = self.unreached.len() >= ORIGINS_MIN
            && !self
                .answered_at
                .is_some_and(|at| is_within(WINDOW, at, now));
        if is_outage {
            self.current = Some(Current {
                seen_at: now,
                probed_at: None,
            });
            self.refunds
                .extend(self.charged.drain(..).map(|(_, attempt)| attempt));
            self.correct(std::slice::from_mut(ended), now);
        }
        is_outage
    }

    fn note_unreached(&mut self, origin: &Origin, now: Timestamp) {
        if let Some(at) = self.unreached.get_mut(origin) {
            *at = now;
        } else if self.unreached.len() < ORIGINS_MAX {
            self.unreached.insert(origin.clone(), now);
        }
    }

    fn forget_what_is_old(&mut self, now: Timestamp) {
        while self.charged.len() > CHARGED_MAX
            || (self.charged.front()).is_some_and(|(at, _)| !is_within(WINDOW, *at, now))
        {
            self.charged.pop_front();
        }
        if self.unreached.len() >= ORIGINS_MIN {
            self.unreached.retain(|_, at| is_within(WINDOW, *at, now));
        }
    }

    /// Ends an outage for which nothing has spoken for long: what was due has been cancelled, or
    /// is paused. Returns whether it did.
    pub(super) fn review(&mut self, now: Timestamp) -> bool {
        let is_stale = |current: &mut Current| !is_within(WINDOW, current.seen_at, now);
        let ended = self.current.take_if(is_stale).is_some();
        if ended {
            self.unreached.clear();
        }
        ended
    }

    /// Ends an outage because nobody wants to know any more.
    pub(super) fn disregard(&mut self) -> bool {
        std::mem::take(self).is_on()
    }

    /// Whether claims may be made now.
    pub(super) fn may_claim(&self, now: Timestamp) -> bool {
        let probed_at = self.current.as_ref().and_then(|current| current.probed_at);
        !probed_at.is_some_and(|at| is_within(PROBE_EVERY, at, now))
    }

    /// A claim is being made.
    pub(super) const fn claims(&mut self, now: Timestamp) {
        if let Some(current) = &mut self.current {
            current.probed_at = Some(now);
        }
    }

    /// Gives back what was charged to those that are not recorded yet.
    pub(super) fn correct(&mut self, waiting: &mut [Ended], now: Timestamp) {
        if self.refunds.is_empty() {
            return;
        }
        for ended in waiting {
            if self.refunds.remove(&ended.attempt.lease.attempt()) {
                uncount(ended, now);
            }
        }
    }

    /// Takes what is left to be given back in the store.
    pub(super) fn take_refunds(&mut self) -> Vec<ChargedAttempt> {
        self.refunds.drain().collect()
    }

    /// Puts back what the store could not give back.
    pub(super) fn refund_later(&mut self, attempts: Vec<ChargedAttempt>) {
        self.refunds.extend(attempts);
    }

    /// Whether something is to be given back.
    pub(super) fn owes(&self) -> bool {
        !self.refunds.is_empty()
    }
}

/// Takes an attempt from the merchant's account.
fn uncount(ended: &mut Ended, now: Timestamp) {
    let verdict = &mut ended.attempt.attempt.verdict;
    if verdict.counted {
        verdict.counted = false;
        verdict.detail.push_str(NOT_COUNTED);
        ended.attempt.next = Next::RetryAt(now.after(LOCAL_FAULT_WAIT));
    }
}

/// Whether `at` is less than `span` ago. The wall clock can be set back: what seems to lie ahead
/// is of no use.
fn is_within(span: Duration, at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.since(at) < span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::sample;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_700_000_000 + seconds) * 1000)
    }

    /// An attempt to merchant `n`, charged if it failed.
    fn attempt(n: i64, reach: Reach) -> Ended {
        sample::ended(n, &format!("https://m{n}.example"), reach)
    }

    /// Lets `n` fail; returns whether that showed an outage, and whether it was counted.
    fn fails(outage: &mut Outage, n: i64, now: Timestamp) -> (bool, bool) {
        let mut ended = attempt(n, Reach::Unreached);
        let turns = outage.heard(&mut ended, now);
        (turns, ended.attempt.attempt.verdict.counted)
    }

    fn answers(outage: &mut Outage, n: i64, now: Timestamp) -> bool {
        outage.heard(&mut attempt(n, Reach::Reached), now)
    }

    fn refunds(outage: &mut Outage) -> Vec<i64> {
        let mut ids: Vec<i64> = outage.take_refunds().iter().map(|it| it.id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn five_origins_without_an_answer_are_an_outage_and_nothing_of_it_is_charged() {
        let mut outage = Outage::default();
        for n in 1..=4 {
            assert_eq!(fails(&mut outage, n, at(n)), (false, true));
        }
        assert_eq!(fails(&mut outage, 4, at(5)), (false, true), "still four");
        assert_eq!(fails(&mut outage, 5, at(6)), (true, false));
        assert!(outage.is_on());
        assert_eq!(fails(&mut outage, 6, at(7)), (false, false));
        assert_eq!(refunds(&mut outage), [1, 2, 3, 4]);
        assert!(!outage.owes());
    }

    #[test]
    fn one_answer_within_the_minute_and_it_is_the_merchants() {
        let mut outage = Outage::default();
        answers(&mut outage, 9, at(0));
        for n in 1..=20 {
            assert_eq!(fails(&mut outage, n, at(59)), (false, true));
        }
        assert_eq!(fails(&mut outage, 21, at(60)), (true, false));
        assert_eq!(refunds(&mut outage), (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn failures_more_than_a_minute_apart_say_nothing() {
        let mut outage = Outage::default();
        for n in 1..=50 {
            let now = at(15 * n);
            assert_eq!(fails(&mut outage, n, now), (false, true), "merchant {n}");
        }
    }

    #[test]
    fn an_answer_ends_it_and_the_count_begins_anew() {
        let mut outage = Outage::default();
        for n in 1..=5 {
            fails(&mut outage, n, at(0));
        }
        assert!(answers(&mut outage, 6, at(100)));
        assert!(!outage.is_on());
        assert!(!answers(&mut outage, 6, at(200)));
        for n in 1..=4 {
            assert_eq!(fails(&mut outage, n, at(300)), (false, true));
        }
        assert!(
            outage.owes(),
            "what was charged in the beginning is not forgotten"
        );
    }

    #[test]
    fn silence_after_a_connection_is_given_back_but_shows_nothing() {
        let mut outage = Outage::default();
        for n in 1..=9 {
            let mut silent = attempt(n, Reach::Silent);
            assert!(!outage.heard(&mut silent, at(0)));
            assert!(silent.attempt.attempt.verdict.counted);
        }
        for n in 11..=15 {
            fails(&mut outage, n, at(1));
        }
        assert!(outage.is_on());
        let mut silent = attempt(20, Reach::Silent);
        outage.heard(&mut silent, at(2));
        assert!(!silent.attempt.attempt.verdict.counted);
        assert_eq!(
            refunds(&mut outage),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]
        );
    }

    #[test]
    fn what_waits_to_be_recorded_is_corrected_there() {
        let mut outage = Outage::default();
        let mut waiting = [attempt(1, Reach::Unreached), attempt(2, Reach::Unreached)];
        for ended in &mut waiting {
            outage.heard(ended, at(0));
        }
        for n in 3..=5 {
            fails(&mut outage, n, at(0));
        }
        outage.correct(&mut waiting, at(1));
        for ended in &waiting {
            let verdict = &ended.attempt.attempt.verdict;
            assert!(!verdict.counted);
            assert!(verdict.detail.ends_with(NOT_COUNTED), "{}", verdict.detail);
            let soon = Next::RetryAt(at(1).after(LOCAL_FAULT_WAIT));
            assert_eq!(ended.attempt.next, soon);
        }
        assert_eq!(refunds(&mut outage), [3, 4]);
    }

    #[test]
    fn claims_are_made_every_five_seconds_while_it_lasts() {
        let mut outage = Outage::default();
        assert!(outage.may_claim(at(0)));
        outage.claims(at(0));
        assert!(outage.may_claim(at(0)), "there is no outage");
        for n in 1..=5 {
            fails(&mut outage, n, at(0));
        }
        assert!(outage.may_claim(at(0)));
        outage.claims(at(0));
        assert!(!outage.may_claim(at(4)));
        assert!(outage.may_claim(at(5)));
        outage.claims(at(100));
        assert!(outage.may_claim(at(50)), "the clock was set back");
    }

    #[test]
    fn it_ends_when_nothing_speaks_for_it_any_more() {
        let mut outage = Outage::default();
        for n in 1..=5 {
            fails(&mut outage, n, at(0));
        }
        fails(&mut outage, 1, at(50));
        assert!(!outage.review(at(109)));
        assert!(outage.is_on());
        assert!(outage.review(at(110)));
        assert!(!outage.is_on());
    }

    #[test]
    fn what_was_not_tried_says_nothing() {
        let mut outage = Outage::default();
        for n in 1..=9 {
            assert!(!outage.heard(&mut attempt(n, Reach::NotTried), at(0)));
        }
        assert!(!outage.owes());
    }
}
