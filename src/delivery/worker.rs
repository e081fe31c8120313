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
use super::transport::{Permit, PostReport, Refusal, Requests, WorkerCache};
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{
    self, Callback, Exchange, Outcome, PhaseTimes, SENT_BEFORE, Timestamp, Verdict, judge,
};
use crate::failpoint;
use crate::store::{
    Attempt, ClaimedCallback, CompletedAttempt, Endpoint, Malformed, Sent, excerpt,
};

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
        clock,
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
    clock: &SharedClock,
    policy: &DeliveryPolicy,
    cache: &mut WorkerCache,
    callback: &Result<Box<Callback>, Malformed>,
    permit: Option<&Arc<Permit>>,
    started_at: Timestamp,
) -> (Attempt, Evidence) {
    let unsignable = |why| {
        let attempt = unsent(Outcome::Unsignable, why, started_at);
        (attempt, Evidence::NONE)
    };
    let callback = match callback {
        Ok(callback) => callback,
        Err(malformed) => return unsignable(malformed.to_string()),
    };
    let message = &callback.message;
    let sign = |moment| SignedRequest::sign(message, &policy.keyring, &policy.convention, moment);
    let first = match sign(started_at) {
        Ok(request) => request,
        Err(why) => return unsignable(why.to_string()),
    };
    let mut second = None;
    let mut again = || {
        // A later timestamp even if the clock has not moved: merchants refuse what looks replayed.
        let moment = clock.now().max(started_at.after(Duration::from_millis(1)));
        let request = sign(moment).ok()?;
        second = Some(request.sent);
        Some(request.body)
    };
    let requests = Requests {
        first: first.body,
        again: &mut again,
        permit: permit.cloned(),
    };
    failpoint::here!("send-before-first-byte");
    let posting = policy
        .post
        .post_with_cache(cache, message.app_id(), callback.url(), requests);
    let report = posting.await;
    failpoint::here!("send-after-answer");
    match permit.and_then(|permit| permit.refusal()) {
        Some(refusal) => (held_back(refusal, first.sent, started_at), Evidence::NONE),
        None => posted(report, first.sent, second, started_at),
    }
}

/// The attempt whose last sending was held back.
fn held_back(refusal: Refusal, first: Sent, started_at: Timestamp) -> Attempt {
    let (detail, sent) = match refusal {
        Refusal::NothingWritten => (TOO_LATE, None),
        Refusal::WrittenBefore => (TOO_LATE_TO_RESEND, Some(first)),
    };
    Attempt {
        sent,
        ..unsent(Outcome::Interrupted, detail.to_owned(), started_at)
    }
}

/// The attempt that sent `first`, and perhaps `second` instead.
fn posted(
    report: PostReport,
    first: Sent,
    second: Option<Sent>,
    started_at: Timestamp,
) -> (Attempt, Evidence) {
    let evidence = Evidence {
        reach: report.exchange.reach(),
        signal: Signal::of(&report.exchange, report.retry_after),
    };
    let is_blocked = matches!(report.exchange, Exchange::Blocked { .. });
    let mut attempt = Attempt {
        phases: report.phases,
        ..ended(report.exchange, started_at)
    };
    attempt.sent = match (second, is_blocked) {
        (None, true) => None,
        (None, false) | (Some(_), true) => Some(first),
        (Some(second), false) => {
            let detail = &mut attempt.verdict.detail;
            let separator = if detail.is_empty() { "" } else { "; " };
            let timestamp = first.timestamp.to_wire();
            detail.push_str(&format!("{separator}{SENT_BEFORE}{timestamp}"));
            Some(second)
        }
    };
    (attempt, evidence)
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
