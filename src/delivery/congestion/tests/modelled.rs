//! What the rules come to against modelled merchants.

use super::merchant::{CEILING, Chance, Merchant, Report, Simulation, Spread};
use super::{millis, seconds};

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
