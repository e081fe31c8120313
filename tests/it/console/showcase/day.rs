//! The day that the plots of the showcase look back on.

use std::time::Duration;

use callback_dispatcher::admin::History;
use callback_dispatcher::delivery::observer::{FinishedAttempt, Observer as _};
use callback_dispatcher::domain::{
    CallbackId, Kind, Next, Outcome, PhaseTimes, Timestamp, Verdict,
};
use callback_dispatcher::housekeeping::StatsSink as _;
use callback_dispatcher::store::{Attempt, Origin, ShownState, Stats};

use super::MINUTE;

/// What a dispatcher would have told in 22 hours: quiet at night, one merchant's outage, one burst.
pub(super) fn fill(history: &History, now: Timestamp) {
    let mut pending = 40_u64;
    let mut exhausted = 120_u64;
    for minute in (0..22 * 60).rev() {
        let at = now.before(MINUTE * minute);
        let hour = f64::from(minute) / 60.0;
        let busy = 14.0 + 10.0 * (hour * 0.6).sin() + f64::from(minute * 7919 % 13) * 0.4;
        let outage = (35..75).contains(&minute);
        let good = busy as usize;
        let slow = if outage { 2_500 } else { 140 };
        for n in 0..good {
            let lag = slow + (n as u64 * 37 + u64::from(minute) * 11) % 190;
            told(
                history,
                Outcome::Acknowledged,
                at,
                Duration::from_millis(lag),
            );
        }
        // Retries are late by their schedule.
        if minute % 3 == 0 {
            told(history, Outcome::Acknowledged, at, Duration::from_secs(301));
        }
        let failing = if outage {
            9
        } else {
            usize::from(minute % 2 == 0)
        };
        for n in 0..failing {
            let outcome = [Outcome::HttpStatus, Outcome::Timeout, Outcome::Refused][n % 3];
            told(history, outcome, at, Duration::ZERO);
        }
        if minute % 45 == 0 {
            told(history, Outcome::Interrupted, at, Duration::ZERO);
        }
        pending = if outage {
            pending + 8
        } else {
            pending - pending / 30
        };
        exhausted += u64::from((30..60).contains(&minute)) * 3;
        history.queue_counted(&stats(pending, exhausted, at), at);
    }
    history.in_flight(7);
}

fn stats(pending: u64, exhausted: u64, at: Timestamp) -> Stats {
    Stats {
        depth: vec![
            (ShownState::Pending, pending),
            (ShownState::InFlight, 3 + pending / 20),
            (ShownState::Delivered, 1_284_311),
            (ShownState::Exhausted, exhausted),
            (ShownState::Cancelled, 4),
        ],
        oldest_due: Some(at.before(Duration::from_millis(1_400))),
        ..Stats::default()
    }
}

fn told(history: &History, outcome: Outcome, now: Timestamp, lag: Duration) {
    let attempt = Attempt {
        started_at: now,
        duration: lag,
        verdict: Verdict {
            outcome,
            counted: outcome.is_counted(),
            detail: String::new(),
        },
        http_status: None,
        response_excerpt: None,
        remote_addr: None,
        sent: None,
        phase: None,
        phases: PhaseTimes::default(),
    };
    history.attempt_finished(&FinishedAttempt {
        id: CallbackId(1),
        kind: Some(Kind::Payment),
        app_id: "6",
        order: "",
        origin: &Origin::new("https://shop.vientiane.example"),
        created_at: now.before(lag),
        attempts: 1,
        attempt: &attempt,
        next: match outcome {
            Outcome::Acknowledged => Next::Delivered,
            _ => Next::RetryAt(now.after(MINUTE * 5)),
        },
        now,
    });
}
