use std::time::Duration;

use super::*;
use crate::domain::{CallbackId, Kind, Verdict};
use crate::store::{Attempt, Origin};

const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An attempt that ended in `outcome` at `now`, of a callback queued two seconds before.
fn end(history: &History, outcome: Outcome, now: Timestamp) {
    let attempt = Attempt {
        started_at: now,
        duration: Duration::ZERO,
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
        phases: Default::default(),
    };
    history.attempts_finished(&[FinishedAttempt {
        id: CallbackId(1),
        kind: Some(Kind::Payment),
        app_id: "6",
        order: "",
        origin: &Origin::new("https://merchant.example"),
        created_at: now.before(seconds(2)),
        attempts: 1,
        attempt: &attempt,
        next: match outcome {
            Outcome::Acknowledged => Next::Delivered,
            _ => Next::RetryAt(now.after(seconds(300))),
        },
        now,
    }]);
}

fn ends(history: &History, minutes: i64, count: i64, now: Timestamp) -> Vec<[u64; 2]> {
    let periods = history.periods(minutes, count, now).into_iter();
    let pick = |period: Period| {
        [
            ends_in(&period.ends, Outcome::Acknowledged),
            ends_in(&period.ends, Outcome::Timeout),
        ]
    };
    periods.map(pick).collect()
}

#[test]
fn counts_by_the_minute_and_adds_minutes_up() {
    let history = History::new(NOON);
    end(&history, Outcome::Acknowledged, NOON);
    end(&history, Outcome::Acknowledged, NOON.after(seconds(59)));
    end(&history, Outcome::Timeout, NOON.after(seconds(60)));
    end(&history, Outcome::Acknowledged, NOON.after(seconds(300)));
    let now = NOON.after(seconds(301));
    let by_minute = [[2, 0], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0]];
    assert_eq!(ends(&history, 1, 6, now), by_minute);
    assert_eq!(ends(&history, 5, 3, now), [[0, 0], [2, 1], [1, 0]]);
    let periods = history.periods(5, 3, now);
    assert_eq!(periods[1].from, NOON);
    assert_eq!(periods[1].lag.count(), 2, "only deliveries have a lag");
    assert!(periods[1].lag.percentile(50) >= Some(seconds(2)));
}

#[test]
fn forgets_what_is_older_than_a_day() {
    let history = History::new(NOON);
    let day = 24 * 3600;
    end(&history, Outcome::Acknowledged, NOON);
    end(&history, Outcome::Acknowledged, NOON.after(seconds(60)));
    end(&history, Outcome::Timeout, NOON.after(seconds(day)));
    assert_eq!(history.kept().minutes.len(), 2);
    assert_eq!(ends(&history, 1, 1, NOON), [[0, 0]]);
}

#[test]
fn clock_set_forward_and_back_hides_nothing_that_happens_afterwards() {
    for step in [seconds(120), seconds(3600), seconds(3 * 86_400)] {
        let history = History::new(NOON);
        end(&history, Outcome::Acknowledged, NOON);
        end(&history, Outcome::Timeout, NOON.after(step));
        let back = NOON.after(seconds(60));
        end(&history, Outcome::Acknowledged, back);
        end(&history, Outcome::Timeout, back);
        let shown = ends(&history, 1, 2, back);
        assert_eq!(shown[1], [1, 1], "{step:?}");
        // Only a step of whole days falls on a minute that was counted before.
        assert_eq!(shown[0], [u64::from(step < seconds(86_400)), 0], "{step:?}");
    }
}

#[test]
fn says_what_is_so_now() {
    let history = History::new(NOON);
    assert_eq!(
        (history.attempts_in_flight(), history.has_own_outage()),
        (0, false)
    );
    history.in_flight(7);
    history.own_outage(true);
    assert_eq!(
        (history.attempts_in_flight(), history.has_own_outage()),
        (7, true)
    );
    history.own_outage(false);
    assert!(!history.has_own_outage());
}

#[test]
fn keeps_the_newest_count_of_the_queue() {
    let history = History::new(NOON);
    assert_eq!(history.counted(), None);
    let count = |pending| Stats {
        depth: vec![(ShownState::Pending, pending), (ShownState::Exhausted, 3)],
        oldest_due: None,
        paused: Vec::new(),
    };
    history.queue_counted(&count(7), NOON);
    history.queue_counted(&count(9), NOON.after(seconds(15)));
    let counted = history.counted().expect("it was counted");
    assert_eq!(counted, (count(9), NOON.after(seconds(15))));
    history.queue_counted(&count(2), NOON.after(seconds(30)));
    history.oldest_due_measured(Some(NOON));
    let (stats, _) = history.counted().expect("it was counted");
    assert_eq!(
        stats.oldest_due,
        Some(NOON),
        "measured more often than counted"
    );
    let periods = history.periods(1, 2, NOON.after(seconds(60)));
    let depth = periods[0].depth.expect("counted in that minute");
    assert_eq!(depth_of(&depth, ShownState::Pending), 9);
    assert_eq!(depth_of(&depth, ShownState::Exhausted), 3);
    assert_eq!(periods[1].depth, None, "not counted since");
}

#[test]
fn a_peak_is_seen_in_every_range() {
    let history = History::new(NOON);
    for (minute, pending) in [(0, 3), (1, 4518), (2, 2)] {
        let stats = Stats {
            depth: vec![(ShownState::Pending, pending)],
            oldest_due: None,
            paused: Vec::new(),
        };
        history.queue_counted(&stats, NOON.after(seconds(60 * minute)));
    }
    for minutes in [5, 60] {
        let periods = history.periods(minutes, 1, NOON.after(seconds(120)));
        let depth = periods[0].depth.expect("counted");
        assert_eq!(depth_of(&depth, ShownState::Pending), 4518, "{minutes}");
    }
}
