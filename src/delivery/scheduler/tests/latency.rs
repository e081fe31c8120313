//! What latency an origin has shown decides which slots it may have.

use super::*;

#[test]
fn fast_endpoints_are_claimed_ahead_and_unproven_ones_are_not() {
    let mut scheduler = proven(&["fast@1"]);
    due(&mut scheduler, &["fast@1", "new@2"], at(100));
    let filled = saturate(&mut scheduler, at(100));
    assert_eq!((scheduler.in_flight(), scheduler.prefetched()), (6, 0));
    for (name, slot) in filled {
        if name == "fast@1" {
            answered(&mut scheduler, slot, SOON, at(110));
        }
    }
    assert_eq!(claim(&mut scheduler, at(110)), named(&[("fast@1", 20)]));
    assert_eq!(fill(&mut scheduler, at(110)).len(), 4);
    assert_eq!((scheduler.in_flight(), scheduler.prefetched()), (6, 16));
    assert!(
        !scheduler.has_use_for_a_claim(at(110)),
        "what is prefetched fills the slots"
    );
}

#[test]
fn the_slow_and_the_unproven_leave_slots_to_the_fast() {
    let mut scheduler = proven(&["fast@f"]);
    for name in ["a@1", "b@2", "c@3"] {
        prove(&mut scheduler, name, Duration::from_secs(2), 3_000);
    }
    due(&mut scheduler, &["a@1", "b@2", "c@3"], at(3_000));
    assert_eq!(
        saturate(&mut scheduler, at(3_000)).len(),
        4,
        "half of eight"
    );
    due(&mut scheduler, &["d@4", "e@5", "f@6"], at(3_000));
    assert_eq!(
        saturate(&mut scheduler, at(3_000)).len(),
        2,
        "three quarters together"
    );
    due(&mut scheduler, &["fast@f"], at(3_000));
    assert_eq!(saturate(&mut scheduler, at(3_000)).len(), 2);
    assert!(!scheduler.has_use_for_a_claim(at(3_000)));
}

#[test]
fn one_app_that_hangs_on_many_origins_leaves_a_slot_for_the_next_app() {
    let limits = |millis| Limits {
        in_flight: 512,
        in_flight_per_origin: 64,
        in_flight_per_app: 512,
        ..at(millis)
    };
    for hanging_apps in [1, 2, 5] {
        let mut scheduler = Scheduler::<u32>::default();
        for app in 0..hanging_apps {
            for origin in 0..500 {
                due(
                    &mut scheduler,
                    &[&format!("{app}@{app}-{origin}")],
                    limits(0),
                );
            }
        }
        saturate(&mut scheduler, limits(0));
        due(&mut scheduler, &["healthy@h"], limits(1));
        let filled = saturate(&mut scheduler, limits(1));
        assert!(held_by(&filled, "healthy") >= 1, "beside {hanging_apps}");
        scheduler.review(limits(1_500));
        due(&mut scheduler, &["other@o"], limits(1_501));
        let filled = saturate(&mut scheduler, limits(1_501));
        assert!(
            held_by(&filled, "other") >= 1,
            "beside {hanging_apps} that are slow"
        );
    }
}

#[test]
fn an_app_alone_gets_three_quarters_of_what_the_unproven_may_hold() {
    let mut scheduler = Scheduler::<u32>::default();
    let limits = Limits {
        in_flight: 512,
        in_flight_per_app: 512,
        ..at(0)
    };
    for origin in 0..500 {
        due(&mut scheduler, &[&format!("a@{origin}")], limits);
    }
    assert_eq!(saturate(&mut scheduler, limits).len(), 288);
}

#[test]
fn probes_of_an_outage_are_limited_by_the_ceilings_alone() {
    let mut scheduler = Scheduler::<u32>::default();
    let limits = Limits {
        in_flight_per_origin: 1,
        is_probing: true,
        ..at(0)
    };
    for origin in 0..20 {
        due(&mut scheduler, &[&format!("a@{origin}")], limits);
    }
    assert_eq!(saturate(&mut scheduler, limits).len(), 8);
    assert!(!scheduler.has_use_for_a_claim(limits));
}

#[test]
fn half_of_the_probes_of_an_outage_go_where_answers_came_from_before() {
    let mut scheduler = proven(&["known@1", "known@2", "known@3", "known@4", "known@5"]);
    let limits = Limits {
        in_flight_per_origin: 1,
        is_probing: true,
        ..at(100)
    };
    for origin in 10..40 {
        due(&mut scheduler, &[&format!("a@{origin}")], limits);
    }
    for origin in 1..=5 {
        due(&mut scheduler, &[&format!("known@{origin}")], limits);
    }
    let planned = plan(&mut scheduler, limits);
    let known = planned.iter().filter(|(name, _)| name.starts_with("known"));
    assert_eq!(planned.len(), 8, "{planned:?}");
    assert!(known.count() >= 4, "{planned:?}");
    assert!(
        planned.iter().any(|(name, _)| name.starts_with('a')),
        "{planned:?}"
    );
}

#[test]
fn an_attempt_in_flight_for_long_makes_its_origin_slow() {
    let mut scheduler = proven(&["a@1", "b@1"]);
    due(&mut scheduler, &["a@1"], at(100));
    claim(&mut scheduler, at(100));
    fill(&mut scheduler, at(100));
    scheduler.review(at(1_100));
    assert_eq!(
        scheduler.load.by_class,
        [0, 0, 4],
        "exactly a second is not long"
    );
    scheduler.review(at(1_101));
    assert_eq!(scheduler.load.by_class, [4, 0, 0]);
    due(&mut scheduler, &["b@1"], at(1_101));
    assert!(
        !scheduler.has_use_for_a_claim(at(1_101)),
        "the slow have their half"
    );
}

#[test]
fn setting_the_wall_clock_forward_makes_no_origin_slow() {
    let mut scheduler = proven(&["a@1"]);
    due(&mut scheduler, &["a@1"], at(100));
    claim(&mut scheduler, at(100));
    let mut filled = fill(&mut scheduler, at(100));
    let stepped = Limits {
        at: Moment {
            now: Timestamp::from_millis(3_600_000),
            ..moment(150)
        },
        ..at(0)
    };
    scheduler.review(stepped);
    answered(&mut scheduler, filled.remove(0).1, SOON, stepped);
    assert_eq!(scheduler.load.by_class, [0, 0, 3]);
}
