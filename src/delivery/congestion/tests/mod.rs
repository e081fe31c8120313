//! The rules one by one.

use std::time::Duration;

use super::*;
use crate::domain::{CappedBody, Cause, Exchange, ExchangeFault, Phase};

mod merchant;
mod modelled;

const BOUNDS: Bounds = Bounds {
    ceiling: 64,
    deadline: Duration::from_secs(10),
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One round of attempts at the limit that all end alike, as each takes `latency`; returns the first
/// reason for a fall.
fn round(
    limit: &mut LearnedLimit,
    now: &mut Duration,
    signal: Signal,
    latency: Duration,
) -> Option<Reason> {
    let attempts = limit.limit(*now).max(8);
    let begun: Vec<RoundId> = (0..attempts).map(|n| limit.began(n + 1, *now)).collect();
    *now += latency;
    let mut reasons = begun.into_iter().map(|round| {
        let ending = Ending {
            round,
            latency,
            signal,
        };
        limit.ended(ending, BOUNDS, *now)
    });
    let first = reasons.find_map(|reason| reason);
    reasons.for_each(drop);
    limit.advance(*now);
    first
}

fn grown_to(limit: usize) -> (LearnedLimit, Duration) {
    let (mut learned, mut now) = (LearnedLimit::default(), Duration::ZERO);
    while learned.limit(now) < limit {
        round(&mut learned, &mut now, Signal::Answered, millis(50));
    }
    (learned, now)
}

#[test]
fn a_limit_doubles_up_to_the_ceiling_while_answers_come_soon() {
    let (mut limit, mut now) = (LearnedLimit::default(), Duration::ZERO);
    let mut limits = Vec::new();
    for _ in 0..7 {
        limits.push(limit.limit(now));
        round(&mut limit, &mut now, Signal::Answered, millis(50));
    }
    assert_eq!(limits, [2, 4, 8, 16, 32, 64, 64]);
}

#[test]
fn a_limit_that_is_not_reached_does_not_grow() {
    let mut limit = LearnedLimit::default();
    for n in 0..100 {
        let round = limit.began(1, millis(n * 50));
        let ending = Ending {
            round,
            latency: millis(50),
            signal: Signal::Answered,
        };
        limit.ended(ending, BOUNDS, millis(n * 50 + 50));
    }
    assert_eq!(limit.limit(seconds(5)), 2);
}

#[test]
fn two_slow_rounds_bring_the_limit_down_to_what_the_floor_bears() {
    let (mut limit, mut now) = grown_to(16);
    assert_eq!(
        round(&mut limit, &mut now, Signal::Answered, millis(400)),
        None
    );
    let reason = round(&mut limit, &mut now, Signal::Answered, millis(400));
    assert_eq!(reason, Some(Reason::Latency));
    assert_eq!(limit.limit(now), 8, "at most by half at a time");
}

#[test]
fn latency_that_a_fall_does_not_cure_is_the_merchants_own() {
    let (mut limit, mut now) = grown_to(64);
    for _ in 0..100 {
        round(&mut limit, &mut now, Signal::Answered, millis(1_000));
    }
    assert_eq!(limit.limit(now), 64);
}

#[test]
fn attempts_that_time_out_halve_the_limit_once() {
    let (mut limit, mut now) = grown_to(32);
    let reason = round(&mut limit, &mut now, Signal::TimedOut, seconds(10));
    assert_eq!(reason, Some(Reason::Timeouts));
    assert_eq!(limit.limit(now), 16);
}

#[test]
fn an_attempt_that_timed_out_occupies_a_slot_for_another_deadline() {
    let mut limit = LearnedLimit::default();
    let begun = limit.began(1, seconds(0));
    let ending = Ending {
        round: begun,
        latency: seconds(10),
        signal: Signal::TimedOut,
    };
    limit.ended(ending, BOUNDS, seconds(10));
    assert_eq!(limit.slots(64, seconds(10)), 1);
    assert_eq!(limit.reopens_at(), Some(seconds(20)));
    limit.advance(seconds(20));
    assert_eq!(limit.slots(64, seconds(20)), 2);
    assert_eq!(limit.reopens_at(), None);
}

#[test]
fn a_limit_that_fell_stays_below_where_it_fell_for_a_minute() {
    let (mut limit, mut now) = grown_to(8);
    round(&mut limit, &mut now, Signal::Failed, millis(1));
    assert_eq!(limit.limit(now), 4);
    let fell_at = now;
    while now + millis(150) < fell_at + seconds(60) {
        round(&mut limit, &mut now, Signal::Answered, millis(150));
    }
    assert_eq!(limit.limit(now), 7);
    round(&mut limit, &mut now, Signal::Answered, millis(150));
    assert_eq!(limit.limit(now), 14);
}

#[test]
fn an_origin_that_asks_for_less_gets_nothing_for_as_long_as_it_says_within_bounds() {
    for (wait, granted) in [
        (None, seconds(1)),
        (Some(seconds(0)), seconds(0)),
        (Some(seconds(120)), seconds(120)),
        (Some(seconds(86_400)), seconds(300)),
    ] {
        let (mut limit, mut now) = grown_to(8);
        let reason = round(&mut limit, &mut now, Signal::Throttled(wait), millis(5));
        assert_eq!(reason, Some(Reason::Throttled));
        assert_eq!(
            limit.slots(64, now) == 0,
            granted > Duration::ZERO,
            "{wait:?}"
        );
        limit.advance(now + granted);
        assert!(limit.slots(64, now + granted) > 0, "{wait:?}");
    }
}

#[test]
fn an_answer_from_before_a_fall_does_not_make_it_deeper() {
    let (mut limit, mut now) = grown_to(16);
    let late = limit.began(1, now);
    round(&mut limit, &mut now, Signal::Failed, millis(1));
    let ending = Ending {
        round: late,
        latency: seconds(1),
        signal: Signal::Throttled(None),
    };
    assert_eq!(limit.ended(ending, BOUNDS, now), None);
    assert_eq!(limit.limit(now), 8);
}

#[test]
fn a_limit_that_is_not_reached_is_forgotten_by_halves_each_minute() {
    let (limit, now) = grown_to(64);
    for (minutes, left) in [(0, 64), (1, 32), (2, 16), (4, 4), (5, 2), (1_000_000, 2)] {
        assert_eq!(
            limit.limit(now + seconds(60 * minutes)),
            left,
            "{minutes} min"
        );
    }
    let mut trickle = limit;
    for second in 1..=600 {
        trickle.began(1, now + seconds(second));
    }
    assert_eq!(
        trickle.limit(now + seconds(600)),
        2,
        "one at a time does not reach it"
    );
}

#[test]
fn what_ends_an_attempt_says_whether_the_merchant_is_overloaded() {
    let answered = |status| Exchange::Answered {
        status,
        body: CappedBody {
            bytes: Vec::new(),
            oversized: false,
        },
        remote_addr: None,
    };
    let failed = |phase, cause, status| {
        Exchange::Failed(ExchangeFault {
            phase,
            cause,
            detail: String::new(),
            status,
            remote_addr: None,
        })
    };
    let wait = Some(seconds(7));
    for (exchange, signal) in [
        (answered(200), Signal::Answered),
        (answered(404), Signal::Answered),
        (answered(500), Signal::Answered),
        (answered(429), Signal::Throttled(wait)),
        (answered(503), Signal::Throttled(wait)),
        (answered(502), Signal::Failed),
        (answered(504), Signal::Failed),
        (failed(Phase::Dns, Cause::Remote, None), Signal::Silent),
        (failed(Phase::Dns, Cause::Deadline, None), Signal::Silent),
        (failed(Phase::Connect, Cause::Local, None), Signal::Silent),
        (failed(Phase::Connect, Cause::Remote, None), Signal::Failed),
        (
            failed(Phase::Connect, Cause::Deadline, None),
            Signal::Failed,
        ),
        (failed(Phase::Tls, Cause::Deadline, None), Signal::TimedOut),
        (failed(Phase::Head, Cause::Deadline, None), Signal::TimedOut),
        (failed(Phase::Head, Cause::Remote, None), Signal::Failed),
        (
            failed(Phase::Body, Cause::Deadline, Some(200)),
            Signal::TimedOut,
        ),
        (
            failed(Phase::Body, Cause::Remote, Some(503)),
            Signal::Throttled(wait),
        ),
        (
            Exchange::Blocked {
                reason: String::new(),
            },
            Signal::Silent,
        ),
    ] {
        assert_eq!(Signal::of(&exchange, wait), signal, "{exchange:?}");
    }
    // Without a time to wait, 503 is about the one callback, as our documents advise.
    assert_eq!(Signal::of(&answered(503), None), Signal::Failed);
    assert_eq!(Signal::of(&answered(429), None), Signal::Throttled(None));
}
