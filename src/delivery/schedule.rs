//! What follows an attempt, and what changes if an outage of our own excuses it.

use super::policy::DeliveryPolicy;
use crate::domain::{LOCAL_FAULT_WAIT, Next, Outcome, Timestamp};
use crate::store::{Attempt, CompletedAttempt};

/// Appended to the detail of an attempt that an outage of our own excuses.
pub(super) const NOT_COUNTED: &str =
    "; not counted: no merchant could be reached at the time, so the fault is taken for our own";

/// What follows `attempt`, after `counted_before` counted ones in its round. `was_held_back`: the
/// lease had expired before the request was written.
pub(super) fn schedule(
    policy: &DeliveryPolicy,
    attempt: &Attempt,
    counted_before: u32,
    was_held_back: bool,
    now: Timestamp,
) -> Next {
    let started_at = attempt.started_at;
    match attempt.verdict.outcome {
        Outcome::Interrupted if was_held_back => Next::RetryAt(now),
        // A panic: it would come again at once.
        Outcome::Interrupted => {
            let counted_before = usize::try_from(counted_before).unwrap_or(usize::MAX);
            Next::RetryAt(started_at.after(policy.schedule.current_wait(counted_before)))
        }
        _ => policy
            .schedule
            .next(&attempt.verdict, counted_before, started_at, now),
    }
}

/// Does not count an attempt that is not recorded yet, because of an outage of our own.
pub(super) fn uncount(completed: &mut CompletedAttempt, now: Timestamp) {
    let verdict = &mut completed.attempt.verdict;
    if verdict.counted {
        verdict.counted = false;
        verdict.detail.push_str(NOT_COUNTED);
        completed.next = Next::RetryAt(now.after(LOCAL_FAULT_WAIT));
    }
}
