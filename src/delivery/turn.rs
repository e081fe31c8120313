//! A turn of the store: what has ended is recorded, and what comes next is claimed.
//!
//! Both are asked for at once, so that they share a commit. Nothing that was sent is forgotten: a
//! batch that could not be recorded comes back, and a single attempt that the store takes alone
//! or not at all is tried for as long as the store lives.

use std::sync::Arc;
use std::time::Duration;

use super::courier::{About, Ended};
use super::observer::{FinishedAttempt, Observer};
use super::outage;
use crate::clock::SharedClock;
use crate::domain::{LOCAL_FAULT_WAIT, Next};
use crate::failpoint;
use crate::store::{
    ChargedAttempt, Claim, ClaimRequest, ClaimResult, EndedAttempt, EndpointDue, Queue, Recorded,
    RecordedAttempt, Refund, StoreError, Unrecorded,
};

/// What every task of a dispatcher shares.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: SharedClock,
    pub(super) observer: Arc<dyn Observer>,
}

/// What a turn brings back.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// `None`: nothing was to be claimed.
    pub(super) claimed: Option<Claimed>,
    pub(super) settled: Settled,
    /// `None`: nothing was to be given back.
    pub(super) refunded: Option<Refunded>,
}

/// What a claim brings back: one result for each request.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) requests: Vec<ClaimRequest>,
    pub(super) results: Result<Vec<ClaimResult>, StoreError>,
}

/// What giving back brings.
#[derive(Debug)]
pub(super) struct Refunded {
    pub(super) attempts: Vec<ChargedAttempt>,
    /// Those that the log does not have (yet).
    pub(super) unknown: Result<Vec<ChargedAttempt>, StoreError>,
}

/// What recording brings back.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The retries that recorded attempts have led to.
    pub(super) due: Vec<EndpointDue>,
    /// What could not be recorded, and why.
    pub(super) unrecorded: Option<(Vec<Ended>, StoreError)>,
    /// What the store takes alone or not at all.
    pub(super) stubborn: Vec<Ended>,
}

/// Records `ended`, claims `claim` and gives `refunds` back, whichever there is.
pub(super) async fn turn(
    desk: Desk,
    ended: Vec<Ended>,
    claim: Option<Claim>,
    refunds: Vec<ChargedAttempt>,
) -> Turned {
    let claiming = async {
        let claim = claim?;
        let requests = claim.requests.clone();
        let results = desk.queue.claim(claim).await;
        failpoint::here!("claim-after-commit");
        Some(Claimed { requests, results })
    };
    let (settled, claimed, refunded) =
        futures_util::future::join3(settle(&desk, ended), claiming, give_back(&desk, refunds))
            .await;
    Turned {
        claimed,
        settled,
        refunded,
    }
}

async fn give_back(desk: &Desk, attempts: Vec<ChargedAttempt>) -> Option<Refunded> {
    if attempts.is_empty() {
        return None;
    }
    let refund = Refund {
        attempts: attempts.clone(),
        reason: outage::NOT_COUNTED,
        due: desk.clock.now().after(LOCAL_FAULT_WAIT),
    };
    let unknown = desk.queue.refund(refund).await;
    Some(Refunded { attempts, unknown })
}

async fn settle(desk: &Desk, ended: Vec<Ended>) -> Settled {
    let mut settled = Settled::default();
    if ended.is_empty() {
        return settled;
    }
    let alone = ended.len() == 1;
    match record(desk, ended).await {
        Ok(due) => settled.due = due,
        Err((ended, error)) if !error.is_perhaps_one_rows() => {
            settled.unrecorded = Some((ended, error));
        }
        Err((ended, _)) if alone => settled.stubborn = ended,
        // One of them spoils the batch: each for itself.
        Err((ended, _)) => {
            for ended in ended {
                match record(desk, vec![ended]).await {
                    Ok(due) => settled.due.extend(due),
                    Err((ended, _)) => settled.stubborn.extend(ended),
                }
            }
        }
    }
    settled
}

/// The first wait after a failed record; doubled each time.
const RECORD_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Records one attempt, for as long as it takes: the merchant may have been told, and that must
/// not be forgotten.
pub(super) async fn insist(desk: Desk, ended: Ended) -> Result<Vec<EndpointDue>, StoreError> {
    let id = ended.about.id;
    let mut ended = vec![ended];
    let mut wait = RECORD_WAIT;
    loop {
        match record(&desk, ended).await {
            Ok(due) => return Ok(due),
            Err((_, error)) if error.is_permanent() => {
                lost(id.0, &error);
                return Err(error);
            }
            Err((again, error)) => {
                tracing::warn!(callback_id = id.0, %error, retry_in_ms = wait.as_millis(),
                    "an attempt is not recorded; will try it later");
                ended = again;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RECORD_WAIT_MAX);
            }
        }
    }
}

/// Says that the merchant was perhaps told and the database does not know.
pub(super) fn lost(callback_id: i64, error: &StoreError) {
    tracing::error!(callback_id, %error, "an outcome is lost; its callback will be sent again");
}

/// Records `ended` in one transaction, and tells whoever counts and logs. Returns the retries.
async fn record(
    desk: &Desk,
    ended: Vec<Ended>,
) -> Result<Vec<EndpointDue>, (Vec<Ended>, StoreError)> {
    let (about, attempts): (Vec<About>, Vec<EndedAttempt>) = ended
        .into_iter()
        .map(|Ended { about, attempt }| (about, attempt))
        .unzip();
    match desk.queue.record(attempts).await {
        Ok(recorded) => {
            failpoint::here!("record-after-commit");
            tell(desk, &about, &recorded);
            Ok(about
                .into_iter()
                .zip(recorded)
                .filter_map(|(about, recorded)| match recorded.next {
                    Next::RetryAt(due) => Some(EndpointDue {
                        endpoint: about.endpoint,
                        due,
                    }),
                    Next::Delivered | Next::Exhausted => None,
                })
                .collect())
        }
        Err(Unrecorded { error, ended }) => {
            let again = about.into_iter().zip(ended);
            let again = again.map(|(about, attempt)| Ended { attempt, about });
            Err((again.collect(), error))
        }
    }
}

fn tell(desk: &Desk, about: &[About], recorded: &[RecordedAttempt]) {
    let now = desk.clock.now();
    let mut finished = Vec::with_capacity(recorded.len());
    for (about, recorded) in about.iter().zip(recorded) {
        let attempt = &recorded.attempt;
        match recorded.recorded {
            Recorded::Applied => finished.push(FinishedAttempt {
                id: about.id,
                kind: about.kind,
                app_id: &about.app_id,
                origin: &about.endpoint.origin,
                created_at: about.created_at,
                attempts: about.attempts + u32::from(attempt.verdict.counted),
                attempt,
                next: recorded.next,
                now,
            }),
            Recorded::LeaseLost => tracing::warn!(
                callback_id = about.id.0,
                outcome = attempt.verdict.outcome.as_str(),
                "the callback moved on during its attempt; the attempt is not in the log"
            ),
        }
    }
    desk.observer.attempts_finished(&finished);
}
