//! A finished attempt for the tests of this module.

use std::time::Duration;

use crate::delivery::observer::FinishedAttempt;
use crate::domain::{CallbackId, Kind, Next, Outcome, PhaseTimes, Timestamp, Verdict};
use crate::store::{Attempt, Origin, Sent};

/// When the sample attempt is tried again.
pub(super) const RETRY_AT: Timestamp = Timestamp::from_millis(1_663_738_914_280);

/// An attempt that took 250 ms and ended in `outcome`.
pub(super) fn attempt(outcome: Outcome, detail: &str) -> Attempt {
    Attempt {
        started_at: Timestamp::from_millis(1_663_738_614_280),
        duration: Duration::from_millis(250),
        verdict: Verdict {
            outcome,
            counted: outcome.is_counted(),
            detail: detail.to_owned(),
        },
        http_status: Some(200),
        response_excerpt: Some("EXCERPT".to_owned()),
        remote_addr: None,
        sent: Some(Sent {
            timestamp: Timestamp::from_millis(1_663_738_614_280),
            sign: "SIGNATURE".to_owned(),
            key_id: "2026-11".to_owned(),
            body_sha256: "DIGEST".to_owned(),
        }),
        phase: None,
        phases: PhaseTimes::default(),
    }
}

/// Shows `attempt` of payment 17, queued two seconds before it was recorded.
pub(super) fn with(attempt: &Attempt, next: Next, show: impl FnOnce(&FinishedAttempt<'_>)) {
    let now = attempt.started_at.after(attempt.duration);
    show(&FinishedAttempt {
        id: CallbackId(17),
        kind: Some(Kind::Payment),
        app_id: "6",
        order: "M17",
        origin: &Origin::new("https://merchant.example:443"),
        created_at: now.before(Duration::from_secs(2)),
        attempts: 1,
        attempt,
        next,
        now,
    });
}

/// Shows a refused first attempt that is to be retried.
pub(super) fn with_refused(show: impl FnOnce(&FinishedAttempt<'_>)) {
    let refused = attempt(Outcome::Refused, "the object has no transResult");
    with(&refused, Next::RetryAt(RETRY_AT), show);
}
