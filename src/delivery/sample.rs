//! Attempts for tests.

use std::time::Duration;

use super::courier::{About, Ended};
use crate::domain::{CallbackId, Next, Outcome, PhaseTimes, Reach, Timestamp, Verdict};
use crate::store::{Attempt, EndedAttempt, Endpoint, Lease};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The first attempt of callback `id`: counted if it failed.
pub(super) fn ended(id: i64, origin: &str, reach: Reach) -> Ended {
    let outcome = match reach {
        Reach::Reached => Outcome::Acknowledged,
        Reach::Unreached => Outcome::Connect,
        Reach::Silent => Outcome::Timeout,
        Reach::NotTried => Outcome::Unsignable,
    };
    Ended {
        attempt: EndedAttempt {
            lease: Lease::sample(CallbackId(id)),
            attempt: Box::new(Attempt {
                started_at: START,
                duration: Duration::ZERO,
                verdict: Verdict {
                    outcome,
                    counted: outcome.is_counted(),
                    detail: "why".to_owned(),
                },
                http_status: None,
                response_excerpt: None,
                remote_addr: None,
                sent: None,
                phase: None,
                phases: PhaseTimes::default(),
            }),
            next: Next::RetryAt(START),
        },
        about: About {
            id: CallbackId(id),
            endpoint: Endpoint::new("6", origin),
            kind: None,
            app_id: String::new(),
            created_at: START,
            attempts: 0,
            reach,
        },
    }
}
