//! Claims and completed attempts, as a dispatcher passes them to the store.

use std::time::Duration;

use callback_dispatcher::domain::{Next, Outcome, PhaseTimes, Timestamp, Verdict};
use callback_dispatcher::store::{
    Attempt, Claim, ClaimRequest, ClaimResult, ClaimedCallback, CompletedAttempt, Endpoint, Queue,
    Recorded, Sent,
};

/// The timestamp of a first sending that met a closing connection, as an attempt's detail has it.
pub(crate) fn sent_before(detail: &str) -> Option<i64> {
    let words = "sent before, on a kept connection that was no longer good, with timestamp ";
    let rest = detail.split_once(words)?.1;
    let timestamp = rest.split(';').next().unwrap_or_default();
    Some(timestamp.parse().expect("a number"))
}

/// Claims as much of each endpoint as is asked for.
pub(crate) async fn claim(
    queue: &dyn Queue,
    requests: &[(Endpoint, usize)],
    now: Timestamp,
) -> Vec<ClaimResult> {
    let request = |(endpoint, limit): &(Endpoint, usize)| ClaimRequest {
        endpoint: endpoint.clone(),
        limit: *limit,
    };
    let claim = Claim {
        requests: requests.iter().map(request).collect(),
        now,
        lease: Duration::from_secs(60),
    };
    queue.claim(claim).await.expect("claimed")
}

/// Claims callbacks of app 6 at one origin.
pub(crate) async fn claim_of(
    queue: &dyn Queue,
    origin: &str,
    limit: usize,
    now: Timestamp,
) -> Vec<ClaimedCallback> {
    let mut results = claim(queue, &[(Endpoint::new("6", origin), limit)], now).await;
    results.remove(0).callbacks
}

/// An attempt that was sent and answered.
pub(crate) fn attempt(outcome: Outcome, started_at: Timestamp) -> Attempt {
    Attempt {
        started_at,
        duration: Duration::from_millis(120),
        verdict: Verdict {
            outcome,
            counted: outcome.is_counted(),
            detail: format!("it was {outcome}"),
        },
        http_status: Some(200),
        response_excerpt: Some("a\0b ສະບາຍດີ".to_owned()),
        remote_addr: "192.0.2.7:443".parse().ok(),
        sent: Some(Sent {
            timestamp: started_at,
            sign: "c2lnbg==".to_owned(),
            key_id: "2026-11".to_owned(),
            body_sha256: "ab".repeat(32),
        }),
        phase: None,
        phases: PhaseTimes {
            head: Some(Duration::from_millis(7)),
            ..PhaseTimes::default()
        },
    }
}

/// What such an attempt makes of a claimed callback.
pub(crate) fn completed(
    claimed: ClaimedCallback,
    outcome: Outcome,
    next: Next,
    now: Timestamp,
) -> CompletedAttempt {
    CompletedAttempt {
        claimed,
        endpoint: Endpoint::new("6", "https://one.example"),
        attempt: Box::new(attempt(outcome, now)),
        next,
    }
}

/// Records one attempt.
pub(crate) async fn record(
    queue: &dyn Queue,
    claimed: ClaimedCallback,
    outcome: Outcome,
    next: Next,
    now: Timestamp,
) -> Recorded {
    let completed = completed(claimed, outcome, next, now);
    let mut recorded = queue.record(vec![completed]).await.expect("recorded");
    recorded.pop().expect("one answer").recorded
}
