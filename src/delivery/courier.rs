//! One attempt: sign, POST, judge, record.
//!
//! The courier holds the lease from the claim to the record. Whatever happens between, a fault of
//! the network, a missing key, an unreadable row or a panic, becomes an [`Attempt`] that is
//! recorded; only a store that can't record leaves a lease standing, and then the next start ends
//! it as `interrupted`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use super::observer::{FinishedAttempt, Observer};
use super::terms::Terms;
use crate::clock::{SharedClock, Stopwatch};
use crate::domain::{
    self, Callback, Exchange, Next, Outcome, Timestamp, Unsignable, Verdict, judge,
};
use crate::store::{
    Attempt, ClaimedCallback, Lease, Malformed, Origin, Queue, Recorded, Sent, StoreError, excerpt,
};

/// What every courier of a dispatcher shares.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: SharedClock,
    pub(super) observer: Arc<dyn Observer>,
}

/// How a courier comes back.
#[derive(Debug)]
pub(super) struct Return {
    /// Whom it went to.
    pub(super) origin: Origin,
    /// When the callback is due again, if at all.
    pub(super) retry_at: Option<Timestamp>,
    /// Set when the store is beyond healing.
    pub(super) broken: Option<StoreError>,
}

/// A message ready to be sent.
struct Letter {
    body: Vec<u8>,
    sent: Sent,
}

/// Makes one attempt and records it.
pub(super) async fn deliver(
    desk: Desk,
    terms: Arc<Terms>,
    origin: Origin,
    claimed: ClaimedCallback,
) -> Return {
    let ClaimedCallback {
        lease,
        callback,
        attempts,
        created_at,
    } = claimed;
    let started_at = desk.clock.now();
    let stopwatch = Stopwatch::start();
    let mut attempt = match AssertUnwindSafe(attempt(&terms, &callback, started_at))
        .catch_unwind()
        .await
    {
        Ok(attempt) => attempt,
        Err(_) => panicked(lease.id(), started_at),
    };
    attempt.duration = stopwatch.elapsed();
    if !terms.shield && attempt.verdict.outcome.is_counted() {
        attempt.verdict.counted = true;
    }
    let next = next(&terms, &attempt, attempts, desk.clock.now());
    let id = lease.id();
    let broken = match record(&desk, lease, attempt, next).await {
        Ok((attempt, Recorded::Applied)) => {
            desk.observer.attempt_finished(&FinishedAttempt {
                id,
                kind: callback
                    .as_ref()
                    .ok()
                    .map(|callback| callback.message.kind()),
                app_id: callback
                    .as_ref()
                    .map_or("", |callback| callback.message.app_id()),
                origin: &origin,
                created_at,
                attempts: attempts + u32::from(attempt.verdict.counted),
                attempt: &attempt,
                next,
                now: desk.clock.now(),
            });
            None
        }
        Ok((attempt, Recorded::LeaseLost)) => {
            tracing::warn!(
                callback_id = id.0,
                outcome = attempt.verdict.outcome.as_str(),
                "the callback moved on during its attempt; the attempt is not in the log"
            );
            None
        }
        Err(error) => Some(error),
    };
    let retry_at = match next {
        Next::RetryAt(moment) => Some(moment),
        Next::Delivered | Next::Exhausted => None,
    };
    Return {
        origin,
        retry_at,
        broken,
    }
}

async fn attempt(
    terms: &Terms,
    callback: &Result<Callback, Malformed>,
    started_at: Timestamp,
) -> Attempt {
    let letter = match callback {
        Ok(callback) => write_letter(terms, callback, started_at).map_err(|why| why.to_string()),
        Err(malformed) => Err(malformed.to_string()),
    };
    match (callback, letter) {
        (Ok(callback), Ok(letter)) => {
            let report = terms.post.post(&callback.callback_url, letter.body).await;
            ended(report.exchange, letter.sent, started_at)
        }
        (_, letter) => unsent(
            Outcome::Unsignable,
            letter.err().unwrap_or_default(),
            started_at,
        ),
    }
}

fn write_letter(
    terms: &Terms,
    callback: &Callback,
    started_at: Timestamp,
) -> Result<Letter, Unsignable> {
    let message = &callback.message;
    let signer = terms.keyring.signer(message.app_id(), started_at)?;
    let timestamp = started_at.to_wire();
    let members = message.members(&timestamp);
    let canonical_form = terms.convention.canonical_form(&members);
    let sign = signer
        .key
        .sign(&terms.convention, &canonical_form)
        .ok_or_else(|| Unsignable::Failed {
            app_id: message.app_id().to_owned(),
            key_id: signer.id.clone(),
        })?;
    let body = domain::body(&members, &sign);
    let sent = Sent {
        timestamp: started_at,
        sign,
        key_id: signer.id.clone(),
        body_sha256: hex::encode(Sha256::digest(&body)),
    };
    Ok(Letter { body, sent })
}

fn ended(exchange: Exchange, sent: Sent, started_at: Timestamp) -> Attempt {
    let verdict = judge(&exchange);
    let (http_status, response_excerpt, remote_addr, sent) = match exchange {
        Exchange::Answered {
            status,
            body,
            remote_addr,
        } => (
            Some(status),
            Some(excerpt(&body.bytes)),
            remote_addr,
            Some(sent),
        ),
        Exchange::Failed(fault) => (fault.status, None, fault.remote_addr, Some(sent)),
        Exchange::Blocked { .. } => (None, None, None, None),
    };
    Attempt {
        started_at,
        duration: Duration::ZERO,
        verdict,
        http_status,
        response_excerpt,
        remote_addr,
        sent,
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

/// The first wait after a failed record; doubled each time.
const RECORD_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Records the attempt, for as long as it takes: the merchant may have been told, and that must
/// not be forgotten. Claims fail meanwhile too, so nothing more is sent.
async fn record(
    desk: &Desk,
    mut lease: Lease,
    mut attempt: Attempt,
    mut next: Next,
) -> Result<(Attempt, Recorded), StoreError> {
    let mut wait = RECORD_WAIT;
    loop {
        let kept = attempt.clone();
        match desk.queue.record(lease, attempt, next).await {
            Ok(recorded) => return Ok((kept, recorded)),
            Err(unrecorded) if unrecorded.error.is_permanent() => {
                tracing::error!(error = %unrecorded, "an outcome is lost; its callback will be sent again");
                return Err(unrecorded.error);
            }
            Err(unrecorded) => {
                tracing::warn!(error = %unrecorded, retry_in_ms = wait.as_millis(), "will record it later");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RECORD_WAIT_MAX);
                (lease, attempt, next) = (unrecorded.lease, unrecorded.attempt, unrecorded.next);
            }
        }
    }
}
