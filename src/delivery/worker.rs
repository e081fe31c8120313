//! One attempt after the other: sign, POST, judge.
//!
//! A worker holds the lease from the claim until it hands in the completed attempt. A fault of the
//! network, a missing key, an unreadable row and a panic all become an [`Attempt`] to be recorded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::congestion::Signal;
use super::policy::DeliveryPolicy;
use super::schedule::schedule;
use super::shared::{Completion, Evidence, Job, Shared};
use super::signed_request::SignedRequest;
use super::transport::{Permit, Refusal, WorkerCache};
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{self, Callback, Exchange, Outcome, PhaseTimes, Timestamp, Verdict, judge};
use crate::failpoint;
use crate::store::{Attempt, ClaimedCallback, CompletedAttempt, Endpoint, Malformed, excerpt};

/// The detail of an attempt whose request was held back.
const TOO_LATE: &str = "the claim lapsed before the request was written: the dispatcher was stopped, \
                        or the database out of reach";

/// The detail of an attempt whose second sending was held back.
const TOO_LATE_TO_RESEND: &str = "perhaps sent, answer unknown: the connection closed without an \
                                  answer, and the claim lapsed before the request was sent again";

/// Makes attempts until there is nothing more to send, or no slot for it.
pub(super) async fn run(
    shared: Arc<Shared>,
    clock: SharedClock,
    recorder: mpsc::Sender<Completion>,
    mut policy: Arc<DeliveryPolicy>,
    first: Job,
) {
    let mut cache = WorkerCache::default();
    let mut next = Some(first);
    while let Some(Job {
        slot,
        endpoint,
        claimed,
    }) = next
    {
        let (attempt, evidence) = deliver(&clock, &policy, &mut cache, endpoint, claimed).await;
        // The slot stays occupied until the recorder has room, so that no more is sent than it can
        // keep up with. It ends before its workers only with a store that is beyond healing.
        let Ok(permit) = recorder.reserve().await else {
            return;
        };
        let at = clock.moment();
        next = shared.complete(slot, attempt, evidence, permit, &mut policy, at);
    }
}

async fn deliver(
    clock: &SharedClock,
    policy: &DeliveryPolicy,
    cache: &mut WorkerCache,
    endpoint: Endpoint,
    claimed: ClaimedCallback,
) -> (CompletedAttempt, Evidence) {
    let deadline = claimed.lease.deadline();
    let permit = deadline.map(|deadline| Permit::new(move || deadline.is_valid()));
    let started_at = clock.now();
    let stopwatch = Stopwatch::start();
    let made = attempt(
        policy,
        cache,
        &claimed.callback,
        permit.as_ref(),
        started_at,
    );
    let (mut attempt, evidence) = match AssertUnwindSafe(made).catch_unwind().await {
        Ok(made) => made,
        Err(_) => (panicked(claimed.lease.id(), started_at), Evidence::NONE),
    };
    attempt.duration = stopwatch.elapsed();
    if !policy.local_fault_protection && attempt.verdict.outcome.is_counted() {
        attempt.verdict.counted = true;
    }
    let was_held_back = permit.is_some_and(|permit| permit.refusal().is_some());
    let now = clock.now();
    let next = schedule(policy, &attempt, claimed.attempts, was_held_back, now);
    let completed = CompletedAttempt {
        claimed,
        endpoint,
        attempt: Box::new(attempt),
        next,
    };
    (completed, evidence)
}

async fn attempt(
    policy: &DeliveryPolicy,
    cache: &mut WorkerCache,
    callback: &Result<Box<Callback>, Malformed>,
    permit: Option<&Arc<Permit>>,
    started_at: Timestamp,
) -> (Attempt, Evidence) {
    let request = match callback {
        Ok(callback) => SignedRequest::sign(
            &callback.message,
            &policy.keyring,
            &policy.convention,
            started_at,
        )
        .map_err(|why| why.to_string()),
        Err(malformed) => Err(malformed.to_string()),
    };
    match (callback, request) {
        (Ok(callback), Ok(request)) => {
            failpoint::here!("send-before-first-byte");
            let (url, body) = (&callback.callback_url, request.body);
            let report = policy
                .post
                .post_with_cache(cache, callback.message.app_id(), url, body, permit.cloned())
                .await;
            failpoint::here!("send-after-answer");
            if let Some(refusal) = permit.and_then(|permit| permit.refusal()) {
                let (detail, sent) = match refusal {
                    Refusal::NothingWritten => (TOO_LATE, None),
                    Refusal::WrittenBefore => (TOO_LATE_TO_RESEND, Some(request.sent)),
                };
                let attempt = Attempt {
                    sent,
                    ..unsent(Outcome::Interrupted, detail.to_owned(), started_at)
                };
                return (attempt, Evidence::NONE);
            }
            let evidence = Evidence {
                reach: report.exchange.reach(),
                signal: Signal::of(&report.exchange, report.retry_after),
            };
            // The second sending may be forbidden although the first was written.
            let was_sent = report.resent || !matches!(report.exchange, Exchange::Blocked { .. });
            let attempt = Attempt {
                phases: report.phases,
                sent: was_sent.then_some(request.sent),
                ..ended(report.exchange, started_at)
            };
            (attempt, evidence)
        }
        (_, request) => {
            let why = request.err().unwrap_or_default();
            let attempt = unsent(Outcome::Unsignable, why, started_at);
            (attempt, Evidence::NONE)
        }
    }
}

fn ended(exchange: Exchange, started_at: Timestamp) -> Attempt {
    let verdict = judge(&exchange);
    let phase = match &exchange {
        Exchange::Failed(fault) => Some(fault.phase),
        Exchange::Answered { .. } | Exchange::Blocked { .. } => None,
    };
    let (http_status, response_excerpt, remote_addr) = match exchange {
        Exchange::Answered {
            status,
            body,
            remote_addr,
        } => (Some(status), Some(excerpt(&body.bytes)), remote_addr),
        Exchange::Failed(fault) => (fault.status, None, fault.remote_addr),
        Exchange::Blocked { .. } => (None, None, None),
    };
    Attempt {
        started_at,
        duration: Duration::ZERO,
        verdict,
        http_status,
        response_excerpt,
        remote_addr,
        sent: None,
        phase,
        phases: PhaseTimes::default(),
    }
}

fn unsent(outcome: Outcome, detail: String, started_at: Timestamp) -> Attempt {
    Attempt {
        started_at,
        duration: Duration::ZERO,
        verdict: Verdict {
            outcome,
            counted: false,
            detail,
        },
        http_status: None,
        response_excerpt: None,
        remote_addr: None,
        sent: None,
        phase: None,
        phases: PhaseTimes::default(),
    }
}

fn panicked(id: domain::CallbackId, started_at: Timestamp) -> Attempt {
    tracing::error!(callback_id = id.0, "an attempt panicked; please report it");
    let detail = "the attempt panicked; perhaps sent, answer unknown";
    unsent(Outcome::Interrupted, detail.to_owned(), started_at)
}
