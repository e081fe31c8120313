//! When the next attempt is due: "performed every 5 minute, after 3 retries … stopped"
//! (document, section 4.4, 1.1 and 2.1).

use std::time::Duration;

use super::exchange::Verdict;
use super::outcome::Outcome;
use super::timestamp::Timestamp;

/// How long to wait after a failure of our own host that was not charged to the merchant.
pub const LOCAL_FAULT_WAIT: Duration = Duration::from_secs(15);

/// The wait when the schedule has no retry at all and an attempt was not counted.
const WAIT_WITHOUT_SCHEDULE: Duration = Duration::from_secs(300);

/// One wait per retry, each from the start of the attempt before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    waits: Vec<Duration>,
}

/// What becomes of a callback after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Acknowledged: never sent again.
    Delivered,
    /// Due again at this moment.
    RetryAt(Timestamp),
    /// The last retry has failed: given up.
    Exhausted,
}

impl Schedule {
    /// A schedule with one retry for each of `waits`.
    pub const fn new(waits: Vec<Duration>) -> Self {
        Self { waits }
    }

    /// Counted attempts in a full round: the first and its retries.
    pub const fn attempts_max(&self) -> usize {
        self.waits.len() + 1
    }

    /// What follows an attempt that started at `started_at`, ended in `verdict` by `now`, and
    /// had `counted_before` counted attempts before it in its round.
    pub fn next(
        &self,
        verdict: &Verdict,
        counted_before: u32,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Next {
        let counted_before = usize::try_from(counted_before).unwrap_or(usize::MAX);
        match verdict.outcome {
            Outcome::Acknowledged => Next::Delivered,
            Outcome::Interrupted => Next::RetryAt(now),
            Outcome::Unsignable => {
                Next::RetryAt(started_at.after(self.current_wait(counted_before)))
            }
            _ if !verdict.counted => Next::RetryAt(now.after(LOCAL_FAULT_WAIT)),
            _ => match self.waits.get(counted_before) {
                Some(wait) => Next::RetryAt(started_at.after(*wait)),
                None => Next::Exhausted,
            },
        }
    }

    /// The wait that an attempt which takes nothing from the budget is followed by.
    pub fn current_wait(&self, counted_before: usize) -> Duration {
        let current = self.waits.get(counted_before).or(self.waits.last());
        current.copied().unwrap_or(WAIT_WITHOUT_SCHEDULE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome, counted: bool) -> Verdict {
        Verdict {
            outcome,
            counted,
            detail: String::new(),
        }
    }

    fn five_minutes() -> Schedule {
        Schedule::new(vec![Duration::from_secs(300); 3])
    }

    const START: Timestamp = Timestamp::from_millis(1_000_000);
    const END: Timestamp = Timestamp::from_millis(1_007_000);

    #[test]
    fn three_retries_five_minutes_after_each_start_then_exhausted() {
        let refused = verdict(Outcome::Refused, true);
        let due = Next::RetryAt(Timestamp::from_millis(1_300_000));
        for counted_before in 0..3 {
            assert_eq!(
                five_minutes().next(&refused, counted_before, START, END),
                due
            );
        }
        assert_eq!(
            five_minutes().next(&refused, 3, START, END),
            Next::Exhausted
        );
        assert_eq!(
            five_minutes().next(&refused, 9, START, END),
            Next::Exhausted
        );
    }

    #[test]
    fn an_acknowledgement_ends_it_whenever_it_comes() {
        let acknowledged = verdict(Outcome::Acknowledged, true);
        assert_eq!(
            five_minutes().next(&acknowledged, 0, START, END),
            Next::Delivered
        );
        assert_eq!(
            five_minutes().next(&acknowledged, 3, START, END),
            Next::Delivered
        );
    }

    #[test]
    fn what_is_not_counted_never_exhausts() {
        let interrupted = verdict(Outcome::Interrupted, false);
        let unsignable = verdict(Outcome::Unsignable, false);
        let local = verdict(Outcome::Connect, false);
        for counted_before in 0..5 {
            let next = |v| five_minutes().next(v, counted_before, START, END);
            assert_eq!(next(&interrupted), Next::RetryAt(END));
            assert_eq!(
                next(&unsignable),
                Next::RetryAt(Timestamp::from_millis(1_300_000))
            );
            assert_eq!(next(&local), Next::RetryAt(END.after(LOCAL_FAULT_WAIT)));
        }
    }

    #[test]
    fn waits_may_differ_or_be_none() {
        let schedule = Schedule::new(vec![Duration::from_secs(1), Duration::from_secs(60)]);
        let timeout = verdict(Outcome::Timeout, true);
        assert_eq!(
            schedule.next(&timeout, 1, START, END),
            Next::RetryAt(Timestamp::from_millis(1_060_000))
        );
        assert_eq!(schedule.next(&timeout, 2, START, END), Next::Exhausted);
        let none = Schedule::new(vec![]);
        assert_eq!(none.next(&timeout, 0, START, END), Next::Exhausted);
        assert_eq!(none.current_wait(0), WAIT_WITHOUT_SCHEDULE);
        assert_eq!(none.attempts_max(), 1);
        assert_eq!(five_minutes().attempts_max(), 4);
    }
}
