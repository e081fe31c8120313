//! One attempt after the other: sign, POST, judge.
//!
//! The courier holds the lease from the claim until it hands in how the attempt went. Whatever
//! happens between, a fault of the network, a missing key, an unreadable row or a panic, becomes
//! an [`Attempt`] to be recorded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::floor::{Errand, Floor};
use super::letter::Letter;
use super::terms::Terms;
use super::transport::{Permit, Refusal, WorkerCache};
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{
    self, Callback, Exchange, Kind, Next, Outcome, PhaseTimes, Reach, Timestamp, Verdict, judge,
};
use crate::failpoint;
use crate::store::{Attempt, ClaimedCallback, EndedAttempt, Endpoint, Malformed, excerpt};

/// An attempt that has ended, with what is told of it once it is recorded.
#[derive(Debug)]
pub(super) struct Ended {
    /// What is recorded.
    pub(super) attempt: EndedAttempt,
    /// The rest is for whoever counts and logs.
    pub(super) about: About,
}

/// Whose attempt it was.
#[derive(Debug)]
pub(super) struct About {
    pub(super) id: domain::CallbackId,
    pub(super) endpoint: Endpoint,
    pub(super) kind: Option<Kind>,
    pub(super) app_id: String,
    pub(super) created_at: Timestamp,
    /// Counted attempts in this round before this one.
    pub(super) attempts: u32,
    /// How far it came.
    pub(super) reach: Reach,
}

/// The detail of an attempt whose request was held back.
const TOO_LATE: &str = "the claim lapsed before the request was written: the dispatcher was stopped, \
                        or the database out of reach";

/// The detail of an attempt whose second sending was held back.
const TOO_LATE_TO_RESEND: &str = "perhaps sent, answer unknown: the connection closed without an \
                                  answer, and the claim lapsed before the request was sent again";

/// Makes attempts until there is nothing more to send or no place for it.
pub(super) async fn run(floor: Arc<Floor>, clock: SharedClock, first: Errand) {
    let mut cache = WorkerCache::default();
    let mut next = Some(first);
    while let Some(errand) = next {
        let Errand {
            place,
            endpoint,
            claimed,
            terms,
        } = errand;
        let ended = deliver(&clock, &terms, &mut cache, endpoint, claimed).await;
        next = floor.hand_in(place, ended, terms, clock.now());
    }
}

async fn deliver(
    clock: &SharedClock,
    terms: &Terms,
    cache: &mut WorkerCache,
    endpoint: Endpoint,
    claimed: ClaimedCallback,
) -> Ended {
    let ClaimedCallback {
        lease,
        callback,
        attempts,
        created_at,
    } = claimed;
    let id = lease.id();
    let deadline = lease.deadline();
    let permit = deadline.map(|deadline| Permit::new(move || deadline.is_valid()));
    let started_at = clock.now();
    let stopwatch = Stopwatch::start();
    let (mut attempt, reach) = match AssertUnwindSafe(attempt(
        terms,
        cache,
        &callback,
        permit.as_ref(),
        started_at,
    ))
    .catch_unwind()
    .await
    {
        Ok(ended) => ended,
        Err(_) => (panicked(id, started_at), Reach::NotTried),
    };
    attempt.duration = stopwatch.elapsed();
    if !terms.shield && attempt.verdict.outcome.is_counted() {
        attempt.verdict.counted = true;
    }
    let next = match permit.and_then(|permit| permit.refusal()) {
        Some(_) => Next::RetryAt(clock.now()),
        None => next(terms, &attempt, attempts, clock.now()),
    };
    let message = callback.ok().map(|callback| callback.message);
    Ended {
        attempt: EndedAttempt {
            lease,
            attempt: Box::new(attempt),
            next,
        },
        about: About {
            id,
            endpoint,
            kind: message.as_ref().map(domain::Message::kind),
            app_id: message.map_or_else(String::new, |message| message.app_id().to_owned()),
            created_at,
            attempts,
            reach,
        },
    }
}

async fn attempt(
    terms: &Terms,
    cache: &mut WorkerCache,
    callback: &Result<Box<Callback>, Malformed>,
    permit: Option<&Arc<Permit>>,
    started_at: Timestamp,
) -> (Attempt, Reach) {
    let letter = match callback {
        Ok(callback) => Letter::write(
            &callback.message,
            &terms.keyring,
            &terms.convention,
            started_at,
        )
        .map_err(|why| why.to_string()),
        Err(malformed) => Err(malformed.to_string()),
    };
    match (callback, letter) {
        (Ok(callback), Ok(letter)) => {
            failpoint::here!("send-before-first-byte");
            let (url, body) = (&callback.callback_url, letter.body);
            let report = terms
                .post
                .post_with_cache(cache, url, body, permit.cloned())
                .await;
            failpoint::here!("send-after-answer");
            if let Some(refusal) = permit.and_then(|permit| permit.refusal()) {
                let (detail, sent) = match refusal {
                    Refusal::NothingWritten => (TOO_LATE, None),
                    Refusal::WrittenBefore => (TOO_LATE_TO_RESEND, Some(letter.sent)),
                };
                let attempt = Attempt {
                    sent,
                    ..unsent(Outcome::Interrupted, detail.to_owned(), started_at)
                };
                return (attempt, Reach::NotTried);
            }
            let reach = report.exchange.reach();
            // The second sending may be forbidden although the first was written.
            let was_sent = report.resent || !matches!(report.exchange, Exchange::Blocked { .. });
            let attempt = Attempt {
                phases: report.phases,
                sent: was_sent.then_some(letter.sent),
                ..ended(report.exchange, started_at)
            };
            (attempt, reach)
        }
        (_, letter) => {
            let why = letter.err().unwrap_or_default();
            let attempt = unsent(Outcome::Unsignable, why, started_at);
            (attempt, Reach::NotTried)
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

fn next(terms: &Terms, attempt: &Attempt, attempts: u32, now: Timestamp) -> Next {
    let started_at = attempt.started_at;
    match attempt.verdict.outcome {
        // We are alive, so this was a panic: it would come again at once.
        Outcome::Interrupted => {
            let counted_before = usize::try_from(attempts).unwrap_or(usize::MAX);
            Next::RetryAt(started_at.after(terms.schedule.current_wait(counted_before)))
        }
        _ => terms
            .schedule
            .next(&attempt.verdict, attempts, started_at, now),
    }
}
