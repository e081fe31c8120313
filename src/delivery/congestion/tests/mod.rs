//! The rules one by one, and what they come to against modelled merchants.

use std::time::Duration;

use super::*;
use crate::domain::{CappedBody, Cause, Exchange, ExchangeFault, Phase};

mod merchant;

use merchant::{CEILING, Chance, Merchant, Report, Simulation, Spread};

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

/// All of `callbacks` are sent to `merchant` at once.
fn deliver(merchant: Merchant, callbacks: u64) -> Report {
    Simulation::new(merchant, 1).deliver(callbacks)
}

/// The time that `merchant` needs for `callbacks` in percent of the ideal.
fn percent_of_ideal(merchant: Merchant, callbacks: u64, report: Report) -> u128 {
    let workers = merchant.workers as u128;
    let ideal = merchant.service.as_micros() * u128::from(callbacks) / workers;
    report.took.as_micros() * 100 / ideal
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

#[test]
fn one_worker_of_300_ms_gets_each_of_300_callbacks_once() {
    let merchant = Merchant::new(1, millis(300), Spread::None);
    let report = deliver(merchant, 300);
    assert_eq!((report.posts, report.exhausted), (300, 0));
    assert!(percent_of_ideal(merchant, 300, report) <= 102);
}

#[test]
fn five_workers_of_1_s_get_each_of_600_callbacks_once() {
    for spread in [Spread::None, Spread::Even] {
        let merchant = Merchant::new(5, seconds(1), spread);
        let report = deliver(merchant, 600);
        assert_eq!((report.posts, report.exhausted), (600, 0));
        assert!(percent_of_ideal(merchant, 600, report) <= 106);
    }
}

#[test]
fn merchants_of_all_sizes_are_used_to_capacity_and_exhaust_nothing() {
    let mut chance = Chance(99);
    let (mut posts, mut callbacks, mut percents) = (0, 0, Vec::new());
    for seed in 0..40 {
        let workers = 1 + chance.below(64) as usize;
        // From 20 ms to 2.6 s, as many in each octave.
        let octave = 1 << chance.below(7);
        let service = millis(20) * octave + millis(20) * octave * chance.below(1_000) / 1_000;
        let spread = match chance.below(2) {
            0 => Spread::None,
            _ => Spread::Even,
        };
        let merchant = Merchant::new(workers, service, spread);
        // Ten minutes of work, or less where that is many.
        let work = workers as u128 * 600_000_000 / service.as_micros();
        let due = u64::try_from(work).expect("few").min(10_000);
        let report = Simulation::new(merchant, seed).deliver(due);
        assert_eq!(report.exhausted, 0, "{merchant:?}");
        posts += report.posts;
        callbacks += due;
        percents.push(10_000 / percent_of_ideal(merchant, due, report));
    }
    percents.sort_unstable();
    let mean = percents.iter().sum::<u128>() / percents.len() as u128;
    assert!(mean >= 95 && percents[0] >= 90, "{percents:?}");
    assert!(posts * 100 <= callbacks * 101);
}

#[test]
fn service_times_with_a_long_tail_are_not_taken_for_congestion() {
    for (workers, service) in [(5, 1_000), (20, 200), (32, 500), (64, 100)] {
        let merchant = Merchant::new(workers, millis(service), Spread::Tail);
        let report = deliver(merchant, 12_000);
        assert_eq!(report.exhausted, 0);
        assert!(
            percent_of_ideal(merchant, 12_000, report) <= 170,
            "{merchant:?}"
        );
    }
}

#[test]
fn a_merchant_that_comes_back_after_an_hour_exhausts_nothing() {
    let merchant = Merchant {
        down_until: seconds(3_600),
        ..Merchant::new(8, millis(200), Spread::Even)
    };
    let report = deliver(merchant, 5_000);
    assert_eq!(report.exhausted, 0);
    assert!(report.posts <= 5_000 * 105 / 100);
    assert!(report.in_flight_most <= 32);
    assert!(report.took <= seconds(3_600 + 300));
}

#[test]
fn a_merchant_that_limits_the_rate_exhausts_nothing() {
    for (per_second, callbacks) in [(1, 300), (5, 300), (10, 1_000), (100, 10_000)] {
        let merchant = Merchant {
            one_each: seconds(1) / per_second,
            ..Merchant::new(8, millis(5), Spread::Even)
        };
        let report = deliver(merchant, callbacks);
        assert_eq!(report.exhausted, 0, "{per_second}");
        let most = callbacks / 20 + 10;
        assert!(report.throttled <= most, "{per_second}: {report:?}");
        let ideal = seconds(callbacks) / per_second;
        assert!(
            report.took <= ideal * 5 / 2 + seconds(310),
            "{per_second}: {report:?}"
        );
    }
}

#[test]
fn a_small_backlog_is_not_overrun() {
    let merchant = Merchant {
        backlog: 2,
        ..Merchant::new(1, millis(300), Spread::Even)
    };
    let report = deliver(merchant, 300);
    assert_eq!(report.exhausted, 0);
    assert!(report.posts <= 306);
}

#[test]
fn a_merchant_that_gets_slower_keeps_its_callbacks() {
    let merchant = Merchant {
        slower_from: seconds(60),
        ..Merchant::new(32, millis(500), Spread::Even)
    };
    let report = deliver(merchant, 8_000);
    assert_eq!((report.posts, report.exhausted), (8_000, 0));
    assert!(report.took <= seconds(60 + 180), "190 s at best");
}

#[test]
fn a_few_attempts_that_hang_do_not_hold_up_the_others() {
    let merchant = Merchant {
        hangs_each: 20,
        ..Merchant::new(64, millis(50), Spread::Even)
    };
    let report = deliver(merchant, 10_000);
    assert_eq!(report.exhausted, 0);
    assert!(
        report.took <= seconds(1_200),
        "500 that occupy a slot for 20 s each, and two waits for retries"
    );
}

#[test]
fn a_burst_after_a_quiet_time_begins_low() {
    let merchant = Merchant::new(64, millis(50), Spread::None);
    let mut simulation = Simulation::new(merchant, 1);
    simulation.deliver(2_000);
    assert_eq!(simulation.limit.limit(simulation.now()), CEILING);
    simulation.rest(seconds(600));
    assert_eq!(simulation.limit.limit(simulation.now()), 2);
    let before = simulation.now();
    simulation.deliver(1_000);
    assert!(
        simulation.now() - before <= seconds(2),
        "and is soon what it was"
    );
}
